//! The barrier: when an extension may ask for its next event. No test looks at a clock.

mod model;
mod table;

use std::time::Duration;

use lambda_proto::api::Deadline;
use lambda_proto::json::JsonStr;
use lambda_proto::lifecycle::Clocks;
use lambda_proto_extension::barrier::{Barrier, Passage, Reason};
use lambda_proto_extension::limits::{MAX_OUTSTANDING, MAX_REQUEST_ID, MAX_WAIT_WITHOUT_DEADLINE};

/// The wall clock when the tests begin, in milliseconds since the Unix epoch.
const EPOCH: u64 = 1_795_252_819_000;
const RESERVE: Duration = Duration::from_millis(100);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Both clocks, this number of milliseconds after the beginning of the test.
fn at(millis: u64) -> Clocks {
    Clocks { monotonic: ms(1_000_000 + millis), wall: ms(EPOCH + millis) }
}

fn deadline(millis: u64) -> Option<Deadline> {
    Some(Deadline::from_unix_millis(EPOCH + millis))
}

fn id(id: &str) -> JsonStr<'_> {
    JsonStr::from_field(Some(id))
}

/// A barrier that waits for the invocation `one`, which began at 0 and has 3 s.
fn waiting() -> Barrier {
    let mut barrier = Barrier::new(RESERVE);
    barrier.invoke(id("one"), deadline(3_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(2_900) });
    barrier
}

fn outstanding(barrier: &Barrier) -> Vec<&str> {
    barrier.outstanding().collect()
}

const TABLE_MD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/barrier/table.md");

#[test]
fn the_documentation_shows_the_table() {
    let page = table::render();
    if std::env::var_os("UPDATE_PHASE_TABLE").is_some() {
        std::fs::write(TABLE_MD, &page).expect("the source directory can be written");
    }
    let stored = std::fs::read_to_string(TABLE_MD).expect("the page is in the source directory");
    assert!(stored == page, "table.md is out of date; its first line says how to render it");
}

#[test]
fn without_an_invocation_there_is_nothing_to_wait_for() {
    let mut barrier = Barrier::new(RESERVE);
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::NoInvocation));
    barrier.shutdown(deadline(2_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::End(Reason::AllReported));
}

#[test]
fn runtime_done_of_the_current_invocation_ends_the_wait() {
    let mut barrier = waiting();
    assert_eq!(barrier.check(at(1_000)), Passage::Wait { at_most: ms(1_900) });
    barrier.runtime_done(id("one"));
    assert_eq!(barrier.check(at(1_000)), Passage::Ask(Reason::RuntimeDone));
    assert_eq!(outstanding(&barrier), ["one"], "its report comes later");
}

#[test]
fn runtime_done_of_another_invocation_does_not_end_the_wait() {
    let mut barrier = waiting();
    for other in ["two", "on", "one ", "ONE", ""] {
        barrier.runtime_done(id(other));
        assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(2_900) }, "{other:?}");
    }
}

#[test]
fn runtime_done_before_its_invoke_saves_the_wait() {
    let mut barrier = Barrier::new(RESERVE);
    barrier.runtime_done(id("one"));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::NoInvocation));
    assert!(outstanding(&barrier).is_empty(), "it has not been invoked");
    barrier.invoke(id("one"), deadline(3_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::RuntimeDone));
    assert_eq!(outstanding(&barrier), ["one"]);
}

#[test]
fn runtime_done_twice_counts_once() {
    let mut barrier = waiting();
    barrier.runtime_done(id("one"));
    barrier.runtime_done(id("one"));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::RuntimeDone));
    barrier.invoke(id("two"), deadline(3_000), at(0));
    barrier.runtime_done(id("one"));
    assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(2_900) });
}

#[test]
fn runtime_done_that_never_comes_ends_the_wait_by_the_reserve_before_the_deadline() {
    let mut barrier = waiting();
    assert_eq!(barrier.check(at(2_899)), Passage::Wait { at_most: ms(1) });
    assert_eq!(barrier.check(at(2_900)), Passage::Ask(Reason::DeadlineNear));
    assert_eq!(outstanding(&barrier), ["one"]);
}

#[test]
fn runtime_done_after_the_wait_is_taken_for_its_own_invocation() {
    let mut barrier = waiting();
    assert_eq!(barrier.check(at(2_950)), Passage::Ask(Reason::DeadlineNear));
    barrier.runtime_done(id("one"));
    barrier.invoke(id("two"), deadline(6_000), at(3_000));
    assert_eq!(barrier.check(at(3_000)), Passage::Wait { at_most: ms(2_900) });
}

#[test]
fn a_listener_that_has_died_unnoticed_costs_one_invocation_only() {
    let mut barrier = waiting();
    assert_eq!(barrier.check(at(2_900)), Passage::Ask(Reason::DeadlineNear));
    for number in 1..40 {
        let begin = number * 3_000;
        barrier.invoke(id(&format!("n{number}")), deadline(begin + 3_000), at(begin));
        assert_eq!(barrier.check(at(begin)), Passage::Ask(Reason::Silent));
    }
    // It has come back to life.
    barrier.report(id("n39"));
    barrier.invoke(id("last"), deadline(203_000), at(200_000));
    assert_eq!(barrier.check(at(200_000)), Passage::Wait { at_most: ms(2_900) });
}

#[test]
fn a_listener_that_is_known_to_have_failed_ends_every_wait() {
    let mut barrier = waiting();
    barrier.no_telemetry();
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::NoTelemetry));
    barrier.invoke(id("two"), deadline(3_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::NoTelemetry));
    barrier.shutdown(deadline(2_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::End(Reason::NoTelemetry));
    // What was outstanding before is still named; of `two`, no report was expected.
    assert_eq!(outstanding(&barrier), ["one"]);
}

#[test]
fn without_a_subscription_nothing_is_waited_for_or_missing() {
    let mut barrier = Barrier::new(RESERVE);
    barrier.no_telemetry();
    for number in 0..3 {
        barrier.invoke(id(&format!("n{number}")), deadline(3_000), at(0));
        assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::NoTelemetry));
    }
    barrier.shutdown(deadline(2_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::End(Reason::NoTelemetry));
    assert!(outstanding(&barrier).is_empty());
}

#[test]
fn the_report_of_the_invocation_before_is_matched_by_its_id() {
    let mut barrier = waiting();
    barrier.runtime_done(id("one"));
    barrier.invoke(id("two"), deadline(3_000), at(0));
    assert_eq!(outstanding(&barrier), ["one", "two"]);
    barrier.report(id("one"));
    assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(2_900) });
    assert_eq!(outstanding(&barrier), ["two"]);
    barrier.report(id("one"));
    barrier.report(id("never invoked"));
    assert_eq!(outstanding(&barrier), ["two"]);
}

#[test]
fn the_report_of_the_current_invocation_says_that_the_runtime_is_done() {
    let mut barrier = waiting();
    barrier.report(id("one"));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::RuntimeDone));
    assert!(outstanding(&barrier).is_empty());
}

#[test]
fn an_invocation_that_is_tried_again_waits_for_its_own_runtime_done() {
    let mut barrier = waiting();
    barrier.runtime_done(id("one"));
    // The environment was frozen before the report of the first attempt arrived.
    barrier.invoke(id("one"), deadline(63_000), at(60_000));
    barrier.report(id("one"));
    assert_eq!(barrier.check(at(60_000)), Passage::Wait { at_most: ms(2_900) });
    assert_eq!(outstanding(&barrier), ["one"]);
    barrier.runtime_done(id("one"));
    assert_eq!(barrier.check(at(60_000)), Passage::Ask(Reason::RuntimeDone));
    barrier.report(id("one"));
    assert!(outstanding(&barrier).is_empty());
}

#[test]
fn a_record_that_comes_again_does_not_count_for_the_next_attempt() {
    // The report of the first attempt may be outstanding when the batch is delivered again.
    for is_reported in [false, true] {
        let mut barrier = waiting();
        for _delivery in 0..3 {
            barrier.runtime_done(id("one"));
            if is_reported {
                barrier.report(id("one"));
            }
        }
        assert_eq!(outstanding(&barrier).is_empty(), is_reported);
        barrier.invoke(id("one"), deadline(63_000), at(60_000));
        assert_eq!(barrier.check(at(60_000)), Passage::Wait { at_most: ms(2_900) });
        barrier.runtime_done(id("one"));
        assert_eq!(barrier.check(at(60_000)), Passage::Ask(Reason::RuntimeDone));
    }
}

#[test]
fn a_record_that_comes_twice_before_its_invoke_counts_once() {
    let mut barrier = Barrier::new(RESERVE);
    barrier.runtime_done(id("one"));
    barrier.runtime_done(id("one"));
    barrier.invoke(id("one"), deadline(3_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::RuntimeDone));
    barrier.invoke(id("one"), deadline(63_000), at(60_000));
    assert_eq!(barrier.check(at(60_000)), Passage::Wait { at_most: ms(2_900) });
}

#[test]
fn an_id_that_is_invoked_any_number_of_times_is_waited_for_each_time() {
    let mut barrier = Barrier::new(RESERVE);
    for _ in 0..600 {
        barrier.invoke(id("one"), deadline(3_000), at(0));
        assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(2_900) });
        barrier.runtime_done(id("one"));
        assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::RuntimeDone));
        barrier.report(id("one"));
        assert!(outstanding(&barrier).is_empty());
    }
}

#[test]
fn ids_of_which_nothing_is_outstanding_make_place_for_others() {
    let mut barrier = Barrier::new(RESERVE);
    for number in 0..3 * MAX_OUTSTANDING {
        barrier.invoke(id(&format!("n{number}")), deadline(3_000), at(0));
        if number > 0 {
            barrier.runtime_done(id(&format!("n{number}")));
            barrier.report(id(&format!("n{number}")));
        }
    }
    assert_eq!((outstanding(&barrier), barrier.forgotten()), (vec!["n0"], 0));
}

#[test]
fn a_request_id_may_have_escapes() {
    let mut barrier = Barrier::new(RESERVE);
    barrier.invoke(id("\\u006fne"), deadline(3_000), at(0));
    assert_eq!(outstanding(&barrier), ["one"]);
    barrier.runtime_done(id("one"));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::RuntimeDone));
}

#[test]
fn an_invocation_without_a_usable_id_is_not_waited_for() {
    let longest = "x".repeat(MAX_REQUEST_ID);
    for (request_id, is_usable) in
        [("", false), (&*longest, true), (&*(longest.clone() + "x"), false)]
    {
        let mut barrier = Barrier::new(RESERVE);
        barrier.invoke(id(request_id), deadline(3_000), at(0));
        let expected = match is_usable {
            true => Passage::Wait { at_most: ms(2_900) },
            false => Passage::Ask(Reason::NoRequestId),
        };
        assert_eq!(barrier.check(at(0)), expected);
        barrier.runtime_done(id(request_id));
        assert!(matches!(barrier.check(at(0)), Passage::Ask(_)));
    }
}

#[test]
fn without_a_plausible_deadline_the_wait_is_short() {
    // No deadline, and a service that sends a duration instead of a date.
    for deadline in [None, Some(Deadline::from_unix_millis(600_000))] {
        let mut barrier = Barrier::new(RESERVE);
        barrier.invoke(id("one"), deadline, at(0));
        let at_most = MAX_WAIT_WITHOUT_DEADLINE;
        assert_eq!(barrier.check(at(0)), Passage::Wait { at_most });
        assert_eq!(barrier.check(at(1_000)), Passage::Ask(Reason::DeadlineNear));

        let mut barrier = waiting();
        barrier.shutdown(deadline, at(0));
        assert_eq!(barrier.check(at(0)), Passage::Wait { at_most });
        assert_eq!(barrier.check(at(1_000)), Passage::End(Reason::DeadlineNear));
    }
}

#[test]
fn a_deadline_that_is_nearer_than_the_reserve_leaves_no_wait() {
    for left in [0, 1, 100] {
        let mut barrier = Barrier::new(RESERVE);
        barrier.invoke(id("one"), deadline(left), at(0));
        assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::DeadlineNear));
    }
}

#[test]
fn the_clock_that_leaves_less_time_counts() {
    // The wall clock was set back by an hour.
    let set_back = Clocks { wall: ms(EPOCH - 3_600_000), ..at(2_900) };
    assert_eq!(waiting().check(set_back), Passage::Ask(Reason::DeadlineNear));
    // The monotonic clock stood still.
    let frozen = Clocks { monotonic: at(0).monotonic, ..at(2_900) };
    assert_eq!(waiting().check(frozen), Passage::Ask(Reason::DeadlineNear));
}

#[test]
fn shutdown_waits_for_outstanding_reports() {
    let mut barrier = waiting();
    barrier.runtime_done(id("one"));
    barrier.invoke(id("two"), deadline(3_000), at(0));
    barrier.runtime_done(id("two"));
    barrier.shutdown(deadline(5_000), at(3_000));
    assert_eq!(barrier.check(at(3_000)), Passage::Wait { at_most: ms(1_900) });
    barrier.report(id("two"));
    assert_eq!(barrier.check(at(3_010)), Passage::Wait { at_most: ms(1_890) });
    barrier.runtime_done(id("one"));
    assert_eq!(barrier.check(at(3_010)), Passage::Wait { at_most: ms(1_890) });
    barrier.report(id("one"));
    assert_eq!(barrier.check(at(3_020)), Passage::End(Reason::AllReported));
}

#[test]
fn shutdown_ends_by_the_reserve_before_its_deadline_and_names_what_is_missing() {
    let mut barrier = waiting();
    barrier.shutdown(deadline(2_000), at(0));
    assert_eq!(barrier.check(at(1_899)), Passage::Wait { at_most: ms(1) });
    assert_eq!(barrier.check(at(1_900)), Passage::End(Reason::DeadlineNear));
    assert_eq!(outstanding(&barrier), ["one"]);
    // A late report changes what is missing, and not the end.
    barrier.report(id("one"));
    assert_eq!(barrier.check(at(1_901)), Passage::End(Reason::DeadlineNear));
    assert!(outstanding(&barrier).is_empty());
}

#[test]
fn shutdown_while_it_waits_for_an_invocation_ends_that_wait() {
    let mut barrier = waiting();
    barrier.shutdown(deadline(2_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(1_900) });
    barrier.no_telemetry();
    assert_eq!(barrier.check(at(0)), Passage::End(Reason::NoTelemetry));
}

#[test]
fn without_invoke_the_start_of_an_invocation_says_that_its_report_is_outstanding() {
    let mut barrier = Barrier::new(RESERVE);
    barrier.started(id("one"));
    barrier.report(id("one"));
    // A batch that is delivered again.
    barrier.started(id("one"));
    barrier.started(id("two"));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::NoInvocation));
    assert_eq!(outstanding(&barrier), ["two"]);
    barrier.shutdown(deadline(2_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(1_900) });
    barrier.report(id("two"));
    assert_eq!(barrier.check(at(10)), Passage::End(Reason::AllReported));
}

#[test]
fn a_start_before_or_after_its_invoke_counts_for_the_same_invocation() {
    for is_before in [true, false] {
        let mut barrier = Barrier::new(RESERVE);
        if is_before {
            barrier.started(id("one"));
        }
        barrier.invoke(id("one"), deadline(3_000), at(0));
        if !is_before {
            barrier.started(id("one"));
        }
        assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(2_900) });
        barrier.runtime_done(id("one"));
        barrier.report(id("one"));
        assert!(outstanding(&barrier).is_empty());
        // It is tried again.
        barrier.started(id("one"));
        barrier.invoke(id("one"), deadline(63_000), at(60_000));
        assert_eq!(barrier.check(at(60_000)), Passage::Wait { at_most: ms(2_900) });
        assert_eq!(outstanding(&barrier), ["one"]);
    }
}

#[test]
fn without_runtime_done_only_shutdown_waits_for_reports() {
    let mut barrier = waiting();
    barrier.no_runtime_done();
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::NoRuntimeDone));
    barrier.invoke(id("two"), deadline(3_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::NoRuntimeDone));
    // A table of all that may run at the same time has no bound.
    (0..3 * MAX_OUTSTANDING).for_each(|number| barrier.started(id(&format!("n{number}"))));
    assert_eq!((outstanding(&barrier), barrier.forgotten()), (vec!["one", "two"], 0));
    barrier.report(id("one"));
    barrier.shutdown(deadline(2_000), at(0));
    assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(1_900) });
    barrier.report(id("two"));
    assert_eq!(barrier.check(at(10)), Passage::End(Reason::AllReported));
    barrier.no_telemetry();
    barrier.no_runtime_done();
    assert_eq!(barrier.check(at(10)), Passage::End(Reason::AllReported));
}

#[test]
fn an_event_after_shutdown_does_not_let_the_extension_ask_again() {
    for request_id in ["one", "two", ""] {
        let mut barrier = waiting();
        barrier.shutdown(deadline(2_000), at(0));
        barrier.invoke(id(request_id), deadline(3_000), at(0));
        assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: ms(1_900) });
        assert_eq!(barrier.check(at(1_900)), Passage::End(Reason::DeadlineNear));
        // The first one counts.
        barrier.shutdown(deadline(9_000), at(1_900));
        assert_eq!(barrier.check(at(1_900)), Passage::End(Reason::DeadlineNear));
    }
}

#[test]
fn more_outstanding_reports_than_it_can_name_are_counted() {
    let mut barrier = Barrier::new(RESERVE);
    for number in 0..MAX_OUTSTANDING + 3 {
        barrier.invoke(id(&format!("n{number}")), deadline(3_000), at(0));
        barrier.runtime_done(id(&format!("n{number}")));
        assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::RuntimeDone));
    }
    assert_eq!(barrier.forgotten(), 3);
    let named: Vec<_> = (3..MAX_OUTSTANDING + 3).map(|number| format!("n{number}")).collect();
    assert_eq!(outstanding(&barrier), named);
}

#[test]
fn records_of_unknown_invocations_never_displace_known_ones() {
    let mut barrier = waiting();
    for number in 0..10 * MAX_OUTSTANDING {
        barrier.runtime_done(id(&format!("stray{number}")));
        barrier.report(id(&format!("other{number}")));
    }
    assert_eq!(outstanding(&barrier), ["one"]);
    assert_eq!(barrier.forgotten(), 0);
    barrier.runtime_done(id("one"));
    assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::RuntimeDone));
}
