//! The ledger of post-response work, and the decisions at freeze points.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lambda_proto::api::{Concurrency, Deadline};
use lambda_proto::lifecycle::{Clocks, TimeLimit};
use lambda_proto_host::policy::{
    EndError, FreezeDecision, FreezePoint, InvocationNumber, Ledger, OpenTask, Policy, TaskToken,
};
use proptest::prelude::*;

const EPOCH: u64 = 1_795_252_819_000;
const ONE: InvocationNumber = InvocationNumber(1);
const TWO: InvocationNumber = InvocationNumber(2);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Clocks {
    Clocks { monotonic: ms(millis), wall: ms(EPOCH + millis) }
}

fn ledger<const T: usize, const I: usize>() -> Ledger<T, I> {
    Ledger::new(Concurrency::Single)
}

/// The freeze point of an invocation that arrived at 0 and may run for 3 s, reached after 1 s.
fn freeze_point(policy: Policy) -> FreezePoint {
    let deadline = Deadline::from_unix_millis(EPOCH + 3_000);
    FreezePoint::reached(policy, TimeLimit::on_arrival(Some(deadline), at(0)), at(1_000))
}

const POLICIES: [Policy; 4] =
    [Policy::Drain { reserve: ms(500) }, Policy::Report, Policy::Strict, Policy::Abandon];

#[test]
fn a_drain_with_half_a_second_in_reserve_is_the_default() {
    assert_eq!(Policy::default(), POLICIES[0]);
}

#[test]
fn without_open_tasks_every_policy_goes_on() {
    for policy in POLICIES {
        let mut ledger = ledger::<4, 2>();
        assert_eq!(ledger.cross(&freeze_point(policy), at(1_000)), FreezeDecision::GoOn);
        let task = ledger.begin(ONE, "7b", at(0));
        ledger.end(task, at(10)).unwrap();
        assert_eq!(ledger.cross(&freeze_point(policy), at(1_000)), FreezeDecision::GoOn);
    }
}

#[test]
fn each_policy_decides_differently_about_open_tasks() {
    let until = ms(2_500);
    let answers = [
        FreezeDecision::Wait { until },
        FreezeDecision::Report,
        FreezeDecision::Fail,
        FreezeDecision::GoOn,
    ];
    for (policy, answer) in POLICIES.into_iter().zip(answers) {
        let mut ledger = ledger::<4, 2>();
        let _runs = ledger.begin(ONE, "7b", at(10));
        assert_eq!(ledger.cross(&freeze_point(policy), at(1_000)), answer, "{policy:?}");
    }
}

#[test]
fn a_drain_waits_until_the_reserve_is_reached_and_then_reports() {
    let mut ledger = ledger::<4, 2>();
    let freeze_point = freeze_point(Policy::default());
    let _first = ledger.begin(ONE, "7b", at(10));
    let second = ledger.begin(ONE, "7b", at(20));
    let until = ms(2_500);
    assert_eq!(ledger.cross(&freeze_point, at(1_000)), FreezeDecision::Wait { until });
    // One task ends, but another is still open.
    ledger.end(second, at(1_100)).unwrap();
    assert_eq!(ledger.cross(&freeze_point, at(1_100)), FreezeDecision::Wait { until });
    assert_eq!(ledger.cross(&freeze_point, at(2_499)), FreezeDecision::Wait { until });
    assert_eq!(ledger.cross(&freeze_point, at(2_500)), FreezeDecision::Report);
}

#[test]
fn a_drain_ends_as_soon_as_the_last_task_does() {
    let mut ledger = ledger::<4, 2>();
    let freeze_point = freeze_point(Policy::default());
    let task = ledger.begin(ONE, "7b", at(10));
    assert!(matches!(ledger.cross(&freeze_point, at(1_000)), FreezeDecision::Wait { .. }));
    assert!(!ledger.end(task, at(1_200)).unwrap().is_late);
    assert_eq!(ledger.cross(&freeze_point, at(1_200)), FreezeDecision::GoOn);
}

#[test]
fn a_drain_ends_by_whichever_clock_is_first() {
    let freeze_point = freeze_point(Policy::default());
    for now in [
        Clocks { monotonic: ms(2_500), wall: ms(EPOCH) },
        Clocks { monotonic: ms(1_000), wall: ms(EPOCH + 2_500) },
    ] {
        let mut ledger = ledger::<4, 2>();
        let _runs = ledger.begin(ONE, "7b", at(10));
        assert_eq!(ledger.cross(&freeze_point, now), FreezeDecision::Report, "{now:?}");
    }
}

#[test]
fn a_drain_does_not_wait_after_the_deadline() {
    let deadline = Some(Deadline::from_unix_millis(EPOCH - 10));
    let limit = TimeLimit::on_arrival(deadline, at(0));
    let mut ledger = ledger::<4, 2>();
    let _runs = ledger.begin(ONE, "7b", at(0));
    let freeze_point = FreezePoint::reached(Policy::default(), limit, at(1));
    assert_eq!(ledger.cross(&freeze_point, at(1)), FreezeDecision::Report);
}

#[test]
fn a_drain_without_a_known_deadline_ends_three_seconds_after_the_freeze_point() {
    let limit = TimeLimit::on_arrival(Some(Deadline::from_unix_millis(600_000)), at(0));
    let freeze_point = FreezePoint::reached(Policy::default(), limit, at(60_000));
    let mut ledger = ledger::<4, 2>();
    let _runs = ledger.begin(ONE, "7b", at(0));
    let until = ms(63_000);
    assert_eq!(ledger.cross(&freeze_point, at(60_000)), FreezeDecision::Wait { until });
    assert_eq!(ledger.cross(&freeze_point, at(62_999)), FreezeDecision::Wait { until });
    assert_eq!(ledger.cross(&freeze_point, at(63_000)), FreezeDecision::Report);
}

#[test]
fn the_report_names_the_invocation_of_each_open_task() {
    let mut ledger = ledger::<4, 2>();
    let _old = ledger.begin(ONE, "7b", at(0));
    let _new = ledger.begin(TWO, "8c", at(900));
    assert_eq!(ledger.cross(&freeze_point(Policy::Report), at(1_000)), FreezeDecision::Report);
    let report = ledger.report(at(1_000));
    assert_eq!((report.outstanding(), report.untracked()), (2, 0));
    assert_eq!(report.oldest_age(), Some(ms(1_000)));
    let tasks: Vec<_> = report.tasks().collect();
    let task = |place, invocation, id, age| {
        let request_id = Some(id);
        OpenTask { place, invocation, request_id, age: ms(age) }
    };
    assert_eq!(tasks, [task(0, ONE, "7b", 1_000), task(1, TWO, "8c", 100)]);
}

#[test]
fn a_report_without_tasks_has_no_age() {
    let ledger = ledger::<4, 2>();
    let report = ledger.report(at(5));
    assert_eq!((report.outstanding(), report.oldest_age(), report.tasks().count()), (0, None, 0));
}

#[test]
fn a_late_end_is_attributed_to_the_invocation_that_began_it() {
    let mut ledger = ledger::<4, 2>();
    let task = ledger.begin(ONE, "7b", at(10));
    assert_eq!(ledger.cross(&freeze_point(Policy::Report), at(1_000)), FreezeDecision::Report);
    let later = ledger.begin(TWO, "8c", at(5_000));

    // Frozen for ten minutes, in which the monotonic clock stood still.
    let now = Clocks { monotonic: ms(5_100), wall: ms(EPOCH + 605_100) };
    let ended = ledger.end(task, now).unwrap();
    assert_eq!((ended.invocation, ended.request_id, ended.is_late), (ONE, Some("7b"), true));
    assert_eq!(ended.age, ms(605_090));
    let ended = ledger.end(later, now).unwrap();
    assert_eq!((ended.invocation, ended.request_id, ended.is_late), (TWO, Some("8c"), false));
}

#[test]
fn work_that_is_left_behind_delays_only_its_own_freeze_point() {
    for policy in [POLICIES[0], Policy::Report] {
        let mut ledger = ledger::<4, 2>();
        let _never_ends = ledger.begin(ONE, "7b", at(10));
        assert_eq!(ledger.cross(&freeze_point(policy), at(2_600)), FreezeDecision::Report);
        assert_eq!(ledger.cross(&freeze_point(policy), at(2_600)), FreezeDecision::GoOn);
        assert_eq!(ledger.report(at(2_600)).outstanding(), 1, "but it is counted");
        // New work is drained again.
        let _runs = ledger.begin(TWO, "8c", at(2_700));
        assert_eq!(ledger.cross(&freeze_point(policy), at(2_700)), FreezeDecision::Report);
    }
}

#[test]
fn a_strict_freeze_point_refuses_open_tasks_again() {
    let mut ledger = ledger::<4, 2>();
    let task = ledger.begin(ONE, "7b", at(10));
    for _ in 0..2 {
        assert_eq!(ledger.cross(&freeze_point(Policy::Strict), at(1_000)), FreezeDecision::Fail);
    }
    ledger.end(task, at(1_001)).unwrap();
    assert_eq!(ledger.cross(&freeze_point(Policy::Strict), at(1_001)), FreezeDecision::GoOn);
}

#[test]
fn under_multi_concurrency_there_is_no_freeze_point_and_shutdown_reports() {
    for policy in POLICIES {
        let mut ledger = Ledger::<4, 2>::new(Concurrency::Multi);
        let task = ledger.begin(ONE, "7b", at(10));
        let _runs = ledger.begin(TWO, "8c", at(20));
        assert_eq!(ledger.cross(&freeze_point(policy), at(1_000)), FreezeDecision::GoOn);
        assert_eq!(ledger.report(at(2_000)).outstanding(), 2);
        assert!(!ledger.end(task, at(2_000)).unwrap().is_late, "nothing was frozen");
        assert_eq!(ledger.report(at(2_000)).tasks().next().unwrap().request_id, Some("8c"));
    }
}

#[test]
fn ending_a_task_twice_is_an_error_and_changes_nothing() {
    let mut ledger = ledger::<2, 2>();
    let first = ledger.begin(ONE, "7b", at(0));
    ledger.end(first, at(1)).unwrap();
    assert_eq!(ledger.end(first, at(2)), Err(EndError));
    // Another task takes the place, and the old token does not end it.
    let second = ledger.begin(ONE, "7b", at(3));
    assert_eq!(ledger.end(first, at(4)), Err(EndError));
    assert_eq!(ledger.outstanding(), 1);
    ledger.end(second, at(5)).unwrap();
    assert_eq!(ledger.end(second, at(6)), Err(EndError));
    assert_eq!(ledger.outstanding(), 0);
}

#[test]
fn a_token_of_another_ledger_ends_nothing_here() {
    let mut here = ledger::<2, 2>();
    let mut elsewhere = ledger::<8, 2>();
    let _runs = here.begin(ONE, "7b", at(0));
    let foreign: Vec<_> = (0..4).map(|_| elsewhere.begin(TWO, "8c", at(0))).collect();
    for token in foreign {
        assert_eq!(here.end(token, at(1)), Err(EndError));
    }
    assert_eq!(here.outstanding(), 1);
    assert_eq!(EndError.to_string(), "this task has already ended, or belongs to another ledger");
}

#[test]
fn a_full_ledger_loses_no_task() {
    let mut ledger = ledger::<2, 1>();
    let tokens: Vec<_> = (0..5).map(|age| ledger.begin(ONE, "7b", at(100 * age))).collect();
    let report = ledger.report(at(1_000));
    assert_eq!((report.outstanding(), report.untracked(), report.tasks().count()), (5, 3, 2));
    assert_eq!(ledger.cross(&freeze_point(Policy::Strict), at(1_000)), FreezeDecision::Fail);

    // The tasks with a place end. Those without are still open, and as old as the oldest of them.
    ledger.end(tokens[0], at(1_000)).unwrap();
    ledger.end(tokens[1], at(1_000)).unwrap();
    assert_eq!(ledger.report(at(1_000)).oldest_age(), Some(ms(800)));
    assert!(matches!(
        ledger.cross(&freeze_point(POLICIES[0]), at(1_000)),
        FreezeDecision::Wait { .. }
    ));
    assert_eq!(ledger.cross(&freeze_point(Policy::Report), at(1_000)), FreezeDecision::Report);
    for token in &tokens[2..] {
        let ended = ledger.end(*token, at(1_100)).unwrap();
        assert_eq!((ended.invocation, ended.is_late, ended.age), (ONE, true, ms(900)));
        assert_eq!(ended.request_id, Some("7b"));
    }
    assert_eq!(ledger.outstanding(), 0);
    for token in tokens {
        assert_eq!(ledger.end(token, at(1_200)), Err(EndError));
    }
}

#[test]
fn tokens_without_a_place_end_nothing_once_all_such_tasks_have_ended() {
    let mut ledger = ledger::<0, 0>();
    let old = ledger.begin(ONE, "7b", at(0));
    ledger.end(old, at(1)).unwrap();
    let new = ledger.begin(TWO, "8c", at(2));
    assert_eq!(ledger.end(old, at(3)), Err(EndError), "of an earlier time");
    let ended = ledger.end(new, at(3)).unwrap();
    assert_eq!((ended.invocation, ended.request_id, ended.age), (TWO, None, ms(1)));
}

#[test]
fn invocations_without_room_for_their_request_id_keep_their_numbers() {
    let mut ledger = ledger::<8, 2>();
    let tokens: Vec<_> = (1..=3)
        .map(|number| ledger.begin(InvocationNumber(number), &format!("id-{number}"), at(number)))
        .collect();
    let ids: Vec<_> = ledger.report(at(9)).tasks().map(|task| task.request_id).collect();
    assert_eq!(ids, [Some("id-1"), Some("id-2"), None]);
    // A request id without open tasks makes room.
    ledger.end(tokens[0], at(9)).unwrap();
    let _fourth = ledger.begin(InvocationNumber(4), "id-4", at(9));
    let tasks = ledger.report(at(9));
    let named: Vec<_> = tasks.tasks().map(|task| (task.invocation.0, task.request_id)).collect();
    assert_eq!(named, [(4, Some("id-4")), (2, Some("id-2")), (3, None)]);
    let ended = ledger.end(tokens[2], at(10)).unwrap();
    assert_eq!((ended.invocation, ended.request_id), (InvocationNumber(3), None));
}

#[test]
fn another_invocation_may_have_the_same_request_id() {
    let mut ledger = ledger::<8, 2>();
    let first = ledger.begin(ONE, "7b", at(0));
    assert_eq!(ledger.cross(&freeze_point(Policy::Abandon), at(1_000)), FreezeDecision::GoOn);
    let second = ledger.begin(TWO, "7b", at(1_100));
    let end = ledger.end(first, at(1_200)).unwrap();
    assert_eq!((end.invocation, end.is_late), (ONE, true));
    let end = ledger.end(second, at(1_200)).unwrap();
    assert_eq!((end.invocation, end.is_late), (TWO, false));
}

#[test]
fn request_ids_are_kept_up_to_their_limit() {
    let mut ledger = ledger::<4, 4>();
    let longest = "x".repeat(256);
    let one = ledger.begin(ONE, &longest, at(0));
    let two = ledger.begin(TWO, &"x".repeat(257), at(0));
    assert_eq!(ledger.end(one, at(1)).unwrap().request_id, Some(&longest[..]));
    assert_eq!(ledger.end(two, at(1)).unwrap().request_id, None);
}

#[test]
fn tasks_may_end_on_other_threads() {
    let ledger = Arc::new(Mutex::new(ledger::<16, 2>()));
    let threads: Vec<_> = (0..32)
        .map(|number| {
            let token = ledger.lock().unwrap().begin(InvocationNumber(number % 2), "7b", at(0));
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || ledger.lock().unwrap().end(token, at(1)).map(drop))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(ledger.lock().unwrap().outstanding(), 0);
}

#[test]
fn a_ledger_fits_in_a_static_and_has_the_documented_size() {
    static LEDGER: Mutex<Ledger<32, 4>> = Mutex::new(Ledger::new(Concurrency::Single));
    assert_eq!(LEDGER.lock().unwrap().outstanding(), 0);
    let with = |tasks: usize| tasks * 32;
    assert_eq!(size_of::<Ledger<64, 0>>() - size_of::<Ledger<0, 0>>(), with(64));
    assert!(size_of::<Ledger<0, 1>>() - size_of::<Ledger<0, 0>>() <= 256 + 24);
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u64),
    End(prop::sample::Index),
    Cross(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4u64).prop_map(Step::Begin),
        3 => any::<prop::sample::Index>().prop_map(Step::End),
        1 => (0..POLICIES.len(), 0..4_000u64).prop_map(|(policy, at)| Step::Cross(policy, at)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Compares the ledger with a map, which never runs out of room.
    #[test]
    fn whatever_happens_no_task_is_lost_and_each_keeps_its_invocation(
        steps in prop::collection::vec(step(), 0..80)
    ) {
        let mut ledger = ledger::<3, 2>();
        let mut open: BTreeMap<usize, (TaskToken, u64, bool)> = BTreeMap::new();
        let mut ended = Vec::new();
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::Begin(number) => {
                    let id = format!("id-{number}");
                    let token = ledger.begin(InvocationNumber(number), &id, at(0));
                    open.insert(index, (token, number, false));
                }
                Step::End(_) if open.is_empty() => {
                    for token in ended.drain(..) {
                        prop_assert_eq!(ledger.end(token, at(0)), Err(EndError));
                    }
                }
                Step::End(which) => {
                    let key = *open.keys().nth(which.index(open.len())).expect("it is not empty");
                    let (token, number, is_late) = open.remove(&key).expect("it is there");
                    let end = ledger.end(token, at(0)).expect("it is open");
                    prop_assert_eq!((end.invocation.0, end.is_late), (number, is_late));
                    if let Some(id) = end.request_id {
                        prop_assert_eq!(id, format!("id-{number}"));
                    }
                    ended.push(token);
                }
                Step::Cross(policy, now) => {
                    let is_new = open.values().any(|task| !task.2);
                    let crossing = ledger.cross(&freeze_point(POLICIES[policy]), at(now));
                    match (POLICIES[policy], crossing) {
                        (_, FreezeDecision::GoOn) if !is_new => {}
                        (Policy::Drain { .. }, FreezeDecision::Wait { until }) => {
                            prop_assert!(is_new && now < 2_500 && until == ms(2_500));
                        }
                        (Policy::Drain { .. }, FreezeDecision::Report) => {
                            prop_assert!(is_new && now >= 2_500);
                        }
                        (Policy::Report, FreezeDecision::Report) | (Policy::Strict, FreezeDecision::Fail) => {
                            prop_assert!(is_new);
                        }
                        (Policy::Abandon, FreezeDecision::GoOn) => {}
                        other => prop_assert!(false, "{other:?}"),
                    }
                    if matches!(crossing, FreezeDecision::GoOn | FreezeDecision::Report) {
                        open.values_mut().for_each(|task| task.2 = true);
                    }
                }
            }
            let report = ledger.report(at(7));
            prop_assert_eq!(report.outstanding(), open.len());
            prop_assert_eq!(ledger.outstanding(), open.len());
            prop_assert_eq!(report.tasks().count() + report.untracked(), open.len());
            let undecided = open.values().filter(|task| !task.2).count();
            prop_assert_eq!(ledger.undecided(), undecided);
            // The places in the report are those of the tokens.
            let by_token: BTreeMap<_, _> = open
                .values()
                .filter_map(|(token, number, _)| Some((token.place()?, *number)))
                .collect();
            let by_report: BTreeMap<_, _> =
                report.tasks().map(|task| (task.place, task.invocation.0)).collect();
            prop_assert_eq!(by_token, by_report);
        }
    }
}
