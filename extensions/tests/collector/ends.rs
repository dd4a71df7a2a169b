//! When the extension asks for its next event, and when it ends.

use std::time::Duration;

use lambda_proto_extension::EnvironmentEvent;
use lambda_proto_extension::barrier::{Passage, Reason};
use lambda_proto_extension::collector::{Collector, OwnLogs, Step, TelemetryOptions};
use lambda_proto_extension::limits::{
    MAX_OUTSTANDING, MAX_WAIT_FOR_BATCHES, MAX_WAIT_WITHOUT_DEADLINE,
};
use lambda_proto_extension::subscription::{Buffering, LogsSchema, TelemetryTypes};
use lambda_proto_extension::telemetry::Losses;

use super::{
    ALL, Connection, at, collector, function, invoke, of_invocation, post, receive, shutdown,
    takes_all,
};

#[test]
fn a_report_that_never_comes_is_named_at_the_end() {
    let mut collector = collector();
    invoke(&mut collector, "8f18", 0);
    let _seen =
        receive(&mut collector, &post("", &[of_invocation("runtimeDone", "8f18")]), takes_all);
    shutdown(&mut collector, 1_000);
    // 2 s, less the reserve.
    let at_most = Duration::from_millis(1_800);
    assert_eq!(collector.check(at(1_000)), Passage::Wait { at_most });
    assert_eq!(collector.check(at(2_800)), Passage::End(Reason::DeadlineNear));
    let summary = collector.summary().unwrap().to_string();
    assert!(summary.starts_with("telemetry at the end: no platform.report of 8f18; "), "{summary}");
}

#[test]
fn an_extension_that_lost_nothing_has_nothing_to_say_at_the_end() {
    let mut collector = collector();
    invoke(&mut collector, "id", 0);
    let records = [of_invocation("runtimeDone", "id"), of_invocation("report", "id")];
    let _seen = receive(&mut collector, &post("", &records), takes_all);
    shutdown(&mut collector, 10);
    assert_eq!(collector.check(at(10)), Passage::End(Reason::AllReported));
    assert!(collector.summary().is_none());
}

/// The quiet that ends an extension: the shortest time of a batch, and that of its way.
const QUIET: u64 = 125;

fn quiet() -> Passage {
    Passage::Wait { at_most: Duration::from_millis(QUIET) }
}

#[test]
fn without_records_of_the_platform_shutdown_waits_until_it_is_quiet() {
    let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
    for is_invoked in [false, true] {
        let mut collector = Collector::new(&options, OwnLogs::Extension);
        if is_invoked {
            invoke(&mut collector, "id", 0);
        }
        shutdown(&mut collector, 1_000);
        assert_eq!(collector.check(at(1_000)), quiet());
        let left = Passage::Wait { at_most: Duration::from_millis(QUIET - 100) };
        assert_eq!(collector.check(at(1_100)), left);
        // The last lines of the function.
        let seen = receive(&mut collector, &post("", &[function("last")]), takes_all);
        assert_eq!(seen.records.len(), 1);
        assert_eq!(collector.check(at(1_101)), quiet());
        assert_eq!(collector.check(at(1_101 + QUIET)), Passage::End(Reason::Quiet));
        assert!(collector.take_flush());
    }
}

#[test]
fn an_extension_without_invocations_waits_for_reports_and_then_until_it_is_quiet() {
    let mut collector = collector();
    let _seen = receive(&mut collector, &post("", &[of_invocation("start", "8f18")]), takes_all);
    shutdown(&mut collector, 0);
    assert_eq!(collector.check(at(0)), Passage::Wait { at_most: Duration::from_millis(1_800) });
    assert!(collector.summary().unwrap().to_string().contains("no platform.report of 8f18;"));
    let records = [of_invocation("runtimeDone", "8f18"), of_invocation("report", "8f18")];
    let _seen = receive(&mut collector, &post("", &records), takes_all);
    assert_eq!(collector.check(at(500)), quiet());
    assert_eq!(collector.check(at(500 + QUIET)), Passage::End(Reason::Quiet));
    assert!(collector.summary().is_none());
}

#[test]
fn on_managed_instances_shutdown_waits_until_it_is_quiet() {
    let mut collector = collector();
    collector.no_runtime_done();
    let starts: Vec<_> = (0..40).map(|n| of_invocation("start", &format!("n{n}"))).collect();
    let _seen = receive(&mut collector, &post("", &starts), takes_all);
    shutdown(&mut collector, 0);
    // Reports are delivered before the event is, and invocations that were cut off have none.
    assert_eq!(collector.check(at(0)), quiet());
    let _seen = receive(&mut collector, &post("", &[of_invocation("report", "n7")]), takes_all);
    assert_eq!(collector.check(at(QUIET)), quiet());
    assert_eq!(collector.check(at(2 * QUIET)), Passage::End(Reason::Quiet));
    assert!(collector.summary().is_none());
}

#[test]
fn the_wait_until_it_is_quiet_ends_by_the_reserve_before_the_deadline() {
    let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
    let mut collector = Collector::new(&options, OwnLogs::Extension);
    shutdown(&mut collector, 0);
    let mut now = 0;
    // It never becomes quiet.
    while let Passage::Wait { at_most } = collector.check(at(now)) {
        assert!(at_most <= Duration::from_millis(QUIET) && now < 2_000);
        let _seen = receive(&mut collector, &post("", &[function("more")]), takes_all);
        now += 50;
    }
    assert_eq!((now, collector.check(at(now))), (1_800, Passage::End(Reason::DeadlineNear)));

    // The same without a plausible deadline.
    let mut collector = Collector::new(&options, OwnLogs::Extension);
    let event = br#"{"eventType":"SHUTDOWN","deadlineMs":7}"#;
    collector.event(&EnvironmentEvent::parse(event).unwrap(), at(0));
    let mut now = 0;
    while let Passage::Wait { .. } = collector.check(at(now)) {
        let _seen = receive(&mut collector, &post("", &[function("more")]), takes_all);
        now += 50;
    }
    assert_eq!(Duration::from_millis(now), MAX_WAIT_WITHOUT_DEADLINE);
}

#[test]
fn a_subscription_with_large_batches_is_waited_for_longer() {
    let second = Buffering::DEFAULT.with_timeout(Duration::from_secs(1)).unwrap();
    for buffering in [Buffering::DEFAULT, second] {
        let options = TelemetryOptions::new(TelemetryTypes::FUNCTION).buffering(buffering);
        let mut collector = Collector::new(&options, OwnLogs::Extension);
        shutdown(&mut collector, 0);
        let at_most = Duration::from_secs(1) + MAX_WAIT_FOR_BATCHES;
        assert_eq!(collector.check(at(0)), Passage::Wait { at_most });
    }
}

#[test]
fn a_record_that_the_handler_has_is_waited_for_although_nothing_arrives() {
    let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
    let mut collector = Collector::new(&options, OwnLogs::Extension);
    let mut connection = Connection::new();
    let request = post("", &[function("a"), function("b")]);
    connection.intake.room()[..request.len()].copy_from_slice(&request);
    connection.intake.received(request.len(), at(0));
    assert!(matches!(connection.intake.step(&mut collector), Step::Hand(_)));
    shutdown(&mut collector, 0);
    for now in [0, 200, 400] {
        assert!(matches!(collector.check(at(now)), Passage::Wait { .. }), "{now}");
    }
    connection.intake.handled(&mut collector, true);
    let seen = connection.receive(&mut collector, &[], takes_all);
    assert_eq!((seen.records.len(), &seen.statuses[..]), (1, &["200".to_owned()][..]));
    assert_eq!(collector.check(at(500)), quiet());
    assert_eq!(collector.check(at(500 + QUIET)), Passage::End(Reason::Quiet));
}

#[test]
fn where_no_telemetry_comes_shutdown_waits_for_nothing() {
    let mut collector = collector();
    collector.no_telemetry();
    shutdown(&mut collector, 0);
    assert_eq!(collector.check(at(0)), Passage::End(Reason::NoTelemetry));
}

#[test]
fn the_oldest_schema_of_the_logs_api_has_reports_for_shutdown() {
    let options = TelemetryOptions::new(ALL).logs(LogsSchema::V2020_08_15);
    let mut collector = Collector::new(&options, OwnLogs::Extension);
    invoke(&mut collector, "id", 0);
    assert_eq!(collector.check(at(0)), Passage::Ask(Reason::NoRuntimeDone));
    shutdown(&mut collector, 0);
    assert!(matches!(collector.check(at(0)), Passage::Wait { .. }));
    let _seen = receive(&mut collector, &post("", &[of_invocation("report", "id")]), takes_all);
    assert_eq!(collector.check(at(10)), Passage::End(Reason::AllReported));
}

#[test]
fn an_open_batch_that_does_not_tell_its_end_holds_up_no_invocation() {
    let stuck = post("", &[function("a"), function("never whole")]);
    let mut collector = collector();
    let mut other = Connection::new();
    let _seen = other.receive(&mut collector, &stuck[..stuck.len() - 3], takes_all);
    for (number, id) in ["one", "two"].into_iter().enumerate() {
        let now = 1_000 * number as u64;
        invoke(&mut collector, id, now);
        let _seen =
            receive(&mut collector, &post("", &[of_invocation("runtimeDone", id)]), takes_all);
        assert_eq!(collector.check(at(now)), Passage::Ask(Reason::RuntimeDone));
        assert!(collector.take_flush());
    }
    // The batch that told the end of one invocation is nothing to the next one.
    let mut last = Connection::new();
    invoke(&mut collector, "three", 2_000);
    let telling = post("", &[of_invocation("runtimeDone", "three"), function("never whole")]);
    let _seen = last.receive(&mut collector, &telling[..telling.len() - 3], takes_all);
    assert!(matches!(collector.check(at(2_000)), Passage::Wait { .. }));
    assert_eq!(collector.check(at(2_100)), Passage::Ask(Reason::RuntimeDone));
    invoke(&mut collector, "four", 3_000);
    let _seen =
        receive(&mut collector, &post("", &[of_invocation("runtimeDone", "four")]), takes_all);
    assert_eq!(collector.check(at(3_000)), Passage::Ask(Reason::RuntimeDone));
    // The end of the environment concerns all of them.
    let _seen = receive(
        &mut collector,
        &post("", &["one", "two", "three", "four"].map(|id| of_invocation("report", id))),
        takes_all,
    );
    shutdown(&mut collector, 4_000);
    assert_eq!(collector.check(at(4_000)), Passage::Wait { at_most: MAX_WAIT_FOR_BATCHES });
    assert_eq!(collector.check(at(4_100)), Passage::End(Reason::AllReported));
    let summary = collector.summary().unwrap().to_string();
    assert!(summary.ends_with("; batches that had begun and were not taken: 2"), "{summary}");
}

#[test]
fn a_batch_that_tells_the_end_of_an_invocation_before_its_event_is_waited_for() {
    let mut collector = collector();
    let mut connection = Connection::new();
    let request = post("", &[of_invocation("runtimeDone", "id"), function("late")]);
    let (first, rest) = request.split_at(request.len() - 3);
    let _seen = connection.receive(&mut collector, first, takes_all);
    invoke(&mut collector, "id", 0);
    assert_eq!(collector.check(at(0)), Passage::Wait { at_most: MAX_WAIT_FOR_BATCHES });
    let _seen = connection.receive(&mut collector, rest, takes_all);
    assert_eq!(collector.check(at(1)), Passage::Ask(Reason::RuntimeDone));
}

#[test]
fn a_batch_whose_reply_is_not_sent_is_waited_for_and_is_no_loss() {
    let mut collector = collector();
    let mut connection = Connection::new();
    invoke(&mut collector, "id", 0);
    let records = [of_invocation("runtimeDone", "id"), of_invocation("report", "id")];
    let request = post("", &records);
    connection.intake.room()[..request.len()].copy_from_slice(&request);
    connection.intake.received(request.len(), at(0));
    loop {
        match connection.intake.step(&mut collector) {
            Step::Hand(_) => drop(connection.intake.handled(&mut collector, true)),
            Step::Write => break,
            _ => {}
        }
    }
    assert!(matches!(collector.check(at(0)), Passage::Wait { .. }));
    assert!(collector.summary().is_none());
}

#[test]
fn a_batch_that_has_begun_is_waited_for_but_not_for_long() {
    let request = post("", &[of_invocation("runtimeDone", "id"), function("late")]);
    for is_completed in [true, false] {
        let mut collector = collector();
        let mut connection = Connection::new();
        invoke(&mut collector, "id", 0);
        let _seen = connection.receive(&mut collector, &request[..request.len() - 3], takes_all);
        assert_eq!(collector.check(at(1)), Passage::Wait { at_most: MAX_WAIT_FOR_BATCHES });
        if is_completed {
            let _seen =
                connection.receive(&mut collector, &request[request.len() - 3..], takes_all);
            assert_eq!(collector.check(at(2)), Passage::Ask(Reason::RuntimeDone));
        } else {
            assert!(matches!(collector.check(at(100)), Passage::Wait { .. }));
            assert_eq!(collector.check(at(101)), Passage::Ask(Reason::RuntimeDone));
            connection.intake.lost();
            let seen = connection.receive(&mut collector, &[], takes_all);
            assert_eq!(seen.warnings, ["a telemetry batch broke off with its connection"]);
            assert_eq!(collector.losses(), broken(1));
        }
    }
}

fn broken(batches: u64) -> Losses {
    let mut losses = Losses::default();
    losses.broken_batches = batches;
    losses
}

#[test]
fn a_batch_without_an_array_is_over_although_it_is_never_decided() {
    let mut collector = collector();
    invoke(&mut collector, "id", 0);
    let request = b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\n{}";
    let seen = receive(&mut collector, request, takes_all);
    assert_eq!(seen.statuses, ["400"]);
    let _seen =
        receive(&mut collector, &post("", &[of_invocation("runtimeDone", "id")]), takes_all);
    assert_eq!(collector.check(at(1)), Passage::Ask(Reason::RuntimeDone));
}

#[test]
fn a_batch_that_was_sent_back_is_waited_for_after_shutdown() {
    let every_kind = [ALL, TelemetryTypes::FUNCTION];
    for (types, is_invoked) in every_kind.into_iter().zip([true, false]) {
        let mut collector = Collector::new(&TelemetryOptions::new(types), OwnLogs::Extension);
        if is_invoked {
            invoke(&mut collector, "id", 0);
            let records = [of_invocation("runtimeDone", "id"), of_invocation("report", "id")];
            let _seen = receive(&mut collector, &post("", &records), takes_all);
        }
        let request = post("", &[function("last")]);
        assert_eq!(receive(&mut collector, &request, |_| false).statuses, ["503"]);
        shutdown(&mut collector, 0);
        // 2 s, less the reserve.
        assert_eq!(collector.check(at(0)), Passage::Wait { at_most: Duration::from_millis(1_800) });
        assert_eq!(
            collector.clone().check(at(1_800)),
            Passage::End(Reason::DeadlineNear),
            "it never comes"
        );
        assert_eq!(receive(&mut collector, &request, takes_all).statuses, ["200"]);
        if is_invoked {
            assert_eq!(collector.check(at(1_000)), Passage::End(Reason::AllReported));
        } else {
            assert_eq!(collector.check(at(1_000)), quiet());
            assert_eq!(collector.check(at(1_000 + QUIET)), Passage::End(Reason::Quiet));
        }
    }
}

#[test]
fn a_batch_that_was_given_up_is_not_waited_for() {
    let mut collector =
        Collector::new(&TelemetryOptions::new(TelemetryTypes::FUNCTION), OwnLogs::Extension);
    let request = post("", &[function("last")]);
    for status in ["503", "503", "200"] {
        assert_eq!(receive(&mut collector, &request, |_| false).statuses, [status]);
    }
    shutdown(&mut collector, 0);
    assert_eq!(collector.check(at(0)), quiet());
}

#[test]
fn where_no_telemetry_comes_any_more_no_batch_is_waited_for() {
    let mut collector = collector();
    let request = post("", &[function("last")]);
    assert_eq!(receive(&mut collector, &request, |_| false).statuses, ["503"]);
    collector.no_telemetry();
    shutdown(&mut collector, 0);
    assert_eq!(collector.check(at(0)), Passage::End(Reason::NoTelemetry));
}

#[test]
fn the_report_of_a_batch_that_was_given_up_is_not_waited_for() {
    for records in [
        [of_invocation("report", "id"), function("a")],
        [function("a"), of_invocation("report", "id")],
    ] {
        let mut collector = collector();
        invoke(&mut collector, "id", 0);
        let request = post("", &records);
        for status in ["503", "503", "200"] {
            let fails = |record: &str| !record.contains("function");
            assert_eq!(receive(&mut collector, &request, fails).statuses, [status]);
        }
        shutdown(&mut collector, 0);
        assert_eq!(collector.check(at(0)), Passage::End(Reason::AllReported));
        let summary = collector.summary().unwrap().to_string();
        assert!(!summary.contains("no platform.report"), "{summary}");
    }
}

#[test]
fn a_batch_that_was_taken_and_comes_again_begins_no_invocation() {
    let mut collector = collector();
    let request = post("Sequence-Id: YQ==\r\n", &[of_invocation("start", "first")]);
    let _seen = receive(&mut collector, &request, takes_all);
    let _seen = receive(&mut collector, &post("", &[of_invocation("report", "first")]), takes_all);
    // Enough invocations to forget the first one.
    for number in 0..=MAX_OUTSTANDING {
        let id = format!("n{number}");
        let records = [of_invocation("start", &id), of_invocation("report", &id)];
        let _seen = receive(&mut collector, &post("", &records), takes_all);
    }
    let seen = receive(&mut collector, &request, takes_all);
    assert_eq!((seen.records.len(), &seen.statuses[..]), (0, &["200".to_owned()][..]));
    shutdown(&mut collector, 0);
    assert_eq!(collector.check(at(0)), quiet());
    assert!(collector.summary().is_none());
}

#[test]
fn it_is_not_quiet_while_a_batch_arrives_slowly() {
    let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
    let mut collector = Collector::new(&options, OwnLogs::Extension);
    let mut connection = Connection::new();
    let request = post("", &[function("a long line of the function")]);
    let (head, rest) = request.split_at(request.len() - 20);
    shutdown(&mut collector, 0);
    let _seen = connection.receive(&mut collector, head, takes_all);
    assert_eq!(collector.check(at(0)), quiet());
    let mut now = 0;
    for byte in rest {
        now += 60;
        let _seen = connection.receive(&mut collector, std::slice::from_ref(byte), takes_all);
        assert_eq!(collector.check(at(now)), quiet(), "{now}");
    }
    assert_eq!(collector.check(at(now + QUIET)), Passage::End(Reason::Quiet));
    assert!(collector.summary().is_none());
}

#[test]
fn a_flush_without_a_plausible_deadline_has_time() {
    let mut collector = collector();
    assert_eq!(collector.time_left(at(0)), Duration::ZERO);
    let event = br#"{"eventType":"INVOKE","deadlineMs":7,"requestId":"id"}"#;
    collector.event(&EnvironmentEvent::parse(event).unwrap(), at(0));
    // The wait ends after this time; half of the reserve of 200 ms is left then.
    let wait = MAX_WAIT_WITHOUT_DEADLINE;
    assert_eq!(collector.check(at(0)), Passage::Wait { at_most: wait });
    assert_eq!(collector.time_left(at(0)), wait + Duration::from_millis(100));
    assert_eq!(collector.time_left(at(1_000)), Duration::from_millis(100));
    assert_eq!(collector.time_left(at(1_100)), Duration::ZERO);
}
