//! Post-response work: which tasks are drained or reported, and for which invocation.

#[path = "../../verify/allocations.rs"]
mod allocations;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use allocations::allocations;
use lambda_proto::api::{Concurrency, Deadline};
use lambda_proto::lifecycle::{Clocks, TimeLimit};
use lambda_proto_host::policy::{InvocationNumber, Policy};
use lambda_proto_host::{Crossed, Format, Level, Log, Task, Tasks};
use proptest::prelude::*;
use serde_json::Value;

const ONE: InvocationNumber = InvocationNumber(1);
const TWO: InvocationNumber = InvocationNumber(2);
/// Longer than any test may take: code that returns earlier has not waited that long.
const LONG: Duration = Duration::from_secs(20);
const DRAIN: Policy = Policy::Drain { reserve: Duration::ZERO };
const POLICIES: [Policy; 4] = [DRAIN, Policy::Report, Policy::Strict, Policy::Abandon];

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Lines {
    fn log(&self) -> Log {
        let lines = self.clone();
        Log::to(move |record| {
            lines.0.lock().unwrap().push((record.level(), record.to_string()));
        })
    }

    fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    #[track_caller]
    fn take_one(&self) -> (Level, String) {
        let lines = self.take();
        let [line] = &lines[..] else { panic!("one line was expected: {lines:?}") };
        line.clone()
    }

    #[track_caller]
    fn take_json(&self) -> (Level, Value) {
        let (level, line) = self.take_one();
        (level, serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }
}

fn tasks(policy: Policy) -> (Tasks, Lines) {
    let lines = Lines::default();
    (Tasks::new(Concurrency::Single, policy, lines.log().with_format(Format::Json)), lines)
}

/// The limit of an invocation with this much time left.
fn limit(left: Duration) -> TimeLimit {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let deadline = Deadline::from_unix_millis((wall + left).as_millis() as u64);
    // After this arrival no monotonic time passes, which leaves the decision to the wall clock.
    TimeLimit::on_arrival(Some(deadline), Clocks { monotonic: Duration::MAX, wall })
}

fn goes_on() -> bool {
    false
}

#[track_caller]
fn assert_short(begun: Instant) {
    assert!(begun.elapsed() < LONG / 4, "{:?}", begun.elapsed());
}

#[test]
fn tasks_can_go_to_other_threads() {
    fn is_send_and_sync<T: Send + Sync + 'static>() {}
    is_send_and_sync::<Tasks>();
    is_send_and_sync::<Task>();
}

#[test]
fn an_invocation_without_tasks_neither_asks_for_its_limit_nor_allocates() {
    for policy in POLICIES {
        let (tasks, lines) = tasks(policy);
        let cross = || {
            let limit = || -> TimeLimit { panic!("nobody asks for it") };
            assert_eq!(tasks.try_cross(limit).unwrap(), Crossed::GoOn);
            tasks.cross(limit, &|| panic!("nor for this")).unwrap();
            tasks.report_at_shutdown();
            assert_eq!(tasks.outstanding(), 0);
        };
        assert_eq!(allocations(cross), 0);
        // Nor does one after tasks that have all ended.
        drop(tasks.begin(ONE, "7b"));
        assert_eq!(allocations(cross), 0);
        assert_eq!(lines.take(), []);
    }
}

#[test]
fn an_invocation_does_not_allocate_while_an_earlier_task_is_left_behind() {
    for policy in [Policy::Report, Policy::Abandon] {
        let (tasks, lines) = tasks(policy);
        let _left_behind = tasks.begin(ONE, "7b");
        assert_eq!(tasks.try_cross(|| limit(LONG)).unwrap(), Crossed::GoOn);
        lines.take();
        let again = || {
            tasks.cross(|| panic!("nobody asks for it"), &|| panic!("nor for this")).unwrap();
        };
        assert_eq!(allocations(again), 0);
        assert_eq!((tasks.outstanding(), lines.take()), (1, vec![]));
    }
}

#[test]
fn a_task_begins_and_ends_without_allocating() {
    let (tasks, _) = tasks(DRAIN);
    assert_eq!(allocations(|| drop(tasks.begin_named(ONE, "7b", "flush"))), 0);
}

#[test]
fn a_task_ends_when_dropped_on_any_thread_and_in_a_panic() {
    let (tasks, lines) = tasks(Policy::Strict);
    let [here, there, panicking] = [(); 3].map(|()| tasks.begin(ONE, "7b"));
    assert_eq!(tasks.outstanding(), 3);
    drop(here);
    assert_eq!(tasks.outstanding(), 2);
    thread::spawn(move || drop(there)).join().unwrap();
    assert_eq!(tasks.outstanding(), 1);
    let panics = move || {
        let _task = panicking;
        std::panic::resume_unwind(Box::new("on purpose"));
    };
    thread::spawn(panics).join().unwrap_err();
    assert_eq!(tasks.outstanding(), 0);
    tasks.cross(|| limit(LONG), &goes_on).unwrap();
    assert_eq!(lines.take(), []);
}

#[test]
fn a_drain_ends_as_soon_as_the_last_task_ends() {
    let (tasks, lines) = tasks(DRAIN);
    let work = [tasks.begin(ONE, "7b"), tasks.begin(ONE, "7b")];
    let (crosses, is_crossing) = channel();
    let worker = thread::spawn(move || {
        is_crossing.recv_timeout(LONG).unwrap();
        for task in work {
            drop(task);
        }
    });
    let begun = Instant::now();
    let is_stopping = || {
        let _the_worker_may_be_gone = crosses.send(());
        false
    };
    tasks.cross(|| limit(LONG), &is_stopping).unwrap();
    assert_eq!(tasks.outstanding(), 0);
    assert_short(begun);
    worker.join().unwrap();
    assert_eq!(lines.take(), [], "there is nothing to report");
}

#[test]
fn a_drain_reports_when_its_reserve_is_reached_and_goes_on() {
    let waited = Duration::from_millis(50);
    let (tasks, lines) = tasks(Policy::Drain { reserve: LONG - waited });
    let _runs = tasks.begin_named(ONE, "7b", "flush");
    let begun = Instant::now();
    // Rounded down to a millisecond, like deadlines.
    tasks.cross(|| limit(LONG), &goes_on).unwrap();
    assert!(begun.elapsed() >= waited - Duration::from_millis(2), "{:?}", begun.elapsed());
    assert_short(begun);
    let (level, line) = lines.take_json();
    assert_eq!((level, &line["outstanding"]), (Level::Warn, &Value::from(1)));
    assert!(line["oldestAgeMs"].as_u64().unwrap() >= 48, "{line}");
}

#[test]
fn a_drain_does_not_wait_if_only_its_reserve_is_left() {
    let (tasks, lines) = tasks(Policy::Drain { reserve: LONG });
    let _runs = tasks.begin(ONE, "7b");
    let begun = Instant::now();
    tasks.cross(|| limit(LONG / 2), &goes_on).unwrap();
    assert_short(begun);
    assert_eq!(lines.take_json().1["outstanding"], 1);
}

#[test]
fn a_drain_without_a_known_deadline_ends_too() {
    let (tasks, _) = tasks(DRAIN);
    let _runs = tasks.begin(ONE, "7b");
    let arrival = Clocks { monotonic: Duration::ZERO, wall: Duration::ZERO };
    let before = Instant::now();
    let crossed = tasks.try_cross(|| TimeLimit::on_arrival(None, arrival)).unwrap();
    let Crossed::Wait { until } = crossed else { panic!("{crossed:?}") };
    assert!(until >= before + Policy::DRAIN_WITHOUT_DEADLINE);
    assert!(until <= Instant::now() + Policy::DRAIN_WITHOUT_DEADLINE);
}

#[test]
fn the_report_names_each_task_its_invocation_and_its_age() {
    let (tasks, lines) = tasks(Policy::Report);
    let _first = tasks.begin_named(ONE, "7b", "flush");
    let _second = tasks.begin(TWO, "8c");
    tasks.cross(|| limit(LONG), &goes_on).unwrap();
    let (level, line) = lines.take_json();
    assert_eq!(level, Level::Warn);
    assert_eq!((&line["level"], &line["logger"]), (&"WARN".into(), &"lambda-proto".into()));
    let message = line["message"].as_str().unwrap();
    assert!(message.starts_with("2 tasks of answered invocations still run"), "{message}");
    assert_eq!((&line["outstanding"], line.get("untracked")), (&2.into(), None));
    let [first, second] = &line["tasks"].as_array().unwrap()[..] else { panic!("{line}") };
    assert_eq!((&first["requestId"], &first["name"]), (&"7b".into(), &"flush".into()));
    assert_eq!((&second["requestId"], second.get("name")), (&"8c".into(), None));
    let [first, second] = [first, second].map(|task| task["ageMs"].as_u64().unwrap());
    assert!(first >= second, "{line}");
    assert_eq!(line["oldestAgeMs"], first);
}

#[test]
fn a_report_can_be_read_as_text() {
    let lines = Lines::default();
    let tasks = Tasks::new(Concurrency::Single, Policy::Report, lines.log());
    let _task = tasks.begin_named(ONE, "7b", "flush");
    tasks.try_cross(|| limit(LONG)).unwrap();
    let (_, line) = lines.take_one();
    let start = "a task of an answered invocation still runs, and asking for the next invocation";
    assert!(line.starts_with(start), "{line}");
    assert!(line.contains(r#" tasks=[{"requestId":"7b","name":"flush","ageMs":"#), "{line}");
}

#[test]
fn no_request_id_breaks_the_report() {
    for id in ["\"}],\"level\":\"INFO", "a\nb\r\u{1b}[31m", "\\", "\u{2028}é💥", ""] {
        let (tasks, lines) = tasks(Policy::Report);
        let task = tasks.begin(ONE, id);
        tasks.try_cross(|| limit(LONG)).unwrap();
        let line = lines.take_json().1;
        assert_eq!(line["tasks"][0]["requestId"].as_str().unwrap_or_default(), id);
        assert_eq!(line["level"], "WARN");
        drop(task);
        assert_eq!(lines.take_json().1["requestId"].as_str().unwrap_or_default(), id);
    }
    // A request id that is too long to keep is left out.
    let (tasks, lines) = tasks(Policy::Report);
    let _task = tasks.begin(ONE, &"x".repeat(100_000));
    tasks.try_cross(|| limit(LONG)).unwrap();
    assert_eq!(lines.take_json().1["tasks"][0].get("requestId"), None);
}

#[test]
fn a_strict_freeze_point_is_an_error_until_the_task_has_ended() {
    let (tasks, lines) = tasks(Policy::Strict);
    let task = tasks.begin(ONE, "7b");
    for _ in 0..2 {
        let error = tasks.cross(|| limit(LONG), &goes_on).unwrap_err();
        assert_eq!(error.outstanding(), 1);
        let (level, line) = lines.take_json();
        assert_eq!((level, &line["message"]), (Level::Error, &error.to_string().into()));
        assert_eq!(line["tasks"][0]["requestId"], "7b");
    }
    drop(task);
    tasks.cross(|| limit(LONG), &goes_on).unwrap();
    assert_eq!(lines.take(), []);
}

#[test]
fn abandoned_tasks_are_not_logged() {
    let (tasks, lines) = tasks(Policy::Abandon);
    let task = tasks.begin(ONE, "7b");
    tasks.cross(|| limit(LONG), &goes_on).unwrap();
    tasks.report_at_shutdown();
    assert_eq!(tasks.outstanding(), 1);
    drop(task);
    assert_eq!((tasks.outstanding(), lines.take()), (0, vec![]));
}

#[test]
fn a_late_end_is_logged_for_the_invocation_that_began_the_task() {
    let (tasks, lines) = tasks(Policy::Report);
    let late = tasks.begin_named(ONE, "7b", "flush");
    tasks.try_cross(|| limit(LONG)).unwrap();
    lines.take();
    let in_time = tasks.begin(TWO, "8c");
    thread::spawn(move || drop(late)).join().unwrap();
    let (level, line) = lines.take_json();
    assert_eq!((level, &line["requestId"]), (Level::Info, &"7b".into()));
    assert_eq!((&line["name"], line["ageMs"].is_u64()), (&"flush".into(), true), "{line}");
    drop(in_time);
    assert_eq!(lines.take(), [], "its invocation is not over");
}

#[test]
fn a_task_that_never_ends_delays_only_its_own_freeze_point() {
    let (tasks, lines) = tasks(Policy::Drain { reserve: LONG });
    let _forever = tasks.begin(ONE, "7b");
    tasks.cross(|| limit(LONG), &goes_on).unwrap();
    lines.take();
    tasks.cross(|| limit(LONG), &goes_on).unwrap();
    assert_eq!(lines.take(), []);
    // The freeze point after a later task counts it.
    let _later = tasks.begin(TWO, "8c");
    tasks.cross(|| limit(LONG), &goes_on).unwrap();
    assert_eq!(lines.take_json().1["outstanding"], 2);
}

#[test]
fn under_multi_concurrency_only_shutdown_reports() {
    for policy in [DRAIN, Policy::Report, Policy::Strict] {
        let lines = Lines::default();
        let log = lines.log().with_format(Format::Json);
        let tasks = Tasks::new(Concurrency::Multi, policy, log);
        tasks.report_at_shutdown();
        let task = tasks.begin_named(ONE, "7b", "flush");
        tasks.cross(|| panic!("nobody asks for it"), &|| panic!("nor for this")).unwrap();
        assert_eq!(lines.take(), []);
        tasks.report_at_shutdown();
        let (level, line) = lines.take_json();
        assert_eq!((level, &line["tasks"][0]["name"]), (Level::Warn, &"flush".into()));
        assert!(line["message"].as_str().unwrap().contains("the end of the process"), "{line}");
        drop(task);
        tasks.report_at_shutdown();
        assert_eq!(lines.take(), [], "nothing was frozen, and no task is open");
    }
}

#[test]
fn a_stop_ends_the_wait_and_leaves_the_report_to_shutdown() {
    let (tasks, lines) = tasks(DRAIN);
    let _runs = tasks.begin(ONE, "7b");
    let is_stopping = Arc::new(AtomicBool::new(false));
    let (crosses, is_crossing) = channel();
    let stopper = thread::spawn({
        let (tasks, is_stopping) = (tasks.clone(), Arc::clone(&is_stopping));
        move || {
            is_crossing.recv_timeout(LONG).unwrap();
            is_stopping.store(true, Ordering::SeqCst);
            tasks.wake();
        }
    });
    let begun = Instant::now();
    let asked = || {
        let value = is_stopping.load(Ordering::SeqCst);
        let _the_stopper_may_be_gone = crosses.send(());
        value
    };
    tasks.cross(|| limit(LONG), &asked).unwrap();
    assert_short(begun);
    stopper.join().unwrap();
    assert_eq!(lines.take(), []);
    tasks.report_at_shutdown();
    assert_eq!(lines.take_json().1["outstanding"], 1);
}

#[test]
fn a_wake_without_a_stop_does_not_end_the_wait() {
    let (tasks, _) = tasks(DRAIN);
    let task = Cell::new(Some(tasks.begin(ONE, "7b")));
    let asked = Cell::new(0);
    let is_stopping = || {
        asked.set(asked.get() + 1);
        match asked.get() {
            1..=3 => tasks.wake(),
            _ => drop(task.take()),
        }
        false
    };
    let begun = Instant::now();
    tasks.cross(|| limit(LONG), &is_stopping).unwrap();
    assert_eq!(asked.get(), 4);
    assert_short(begun);
}

#[test]
fn no_end_and_no_stop_is_missed_whenever_it_comes() {
    for round in 0..300 {
        let (tasks, _) = tasks(DRAIN);
        let task = tasks.begin(ONE, "7b");
        let (is_stopping, start) = (AtomicBool::new(false), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                if round % 2 == 0 {
                    drop(task);
                } else {
                    is_stopping.store(true, Ordering::SeqCst);
                    tasks.wake();
                }
            });
            start.wait();
            let begun = Instant::now();
            tasks.cross(|| limit(LONG), &|| is_stopping.load(Ordering::SeqCst)).unwrap();
            assert_short(begun);
        });
    }
}

#[test]
fn an_event_loop_is_woken_when_the_last_task_ends_and_not_before() {
    let (tasks, lines) = tasks(DRAIN);
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    tasks.set_waker(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    // The event loop does not wait for this task.
    drop(tasks.begin(ONE, "7b"));
    let [first, last] = [(); 2].map(|()| tasks.begin(ONE, "7b"));
    let Crossed::Wait { until } = tasks.try_cross(|| limit(LONG)).unwrap() else { panic!() };
    assert!(until > Instant::now() + LONG / 2 && until <= Instant::now() + LONG);
    drop(first);
    assert_eq!(woken.load(Ordering::SeqCst), 0);
    thread::spawn(move || drop(last)).join().unwrap();
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    drop(tasks.begin(ONE, "7b"));
    assert_eq!(woken.load(Ordering::SeqCst), 1, "the loop has already been woken");
    let again = tasks.try_cross(|| panic!("it is the same freeze point")).unwrap();
    assert_eq!((again, lines.take()), (Crossed::GoOn, vec![]));
    // The freeze point is crossed.
    drop(tasks.begin(TWO, "8c"));
    assert_eq!(woken.load(Ordering::SeqCst), 1);
}

#[test]
fn an_event_loop_that_has_to_wait_again_is_woken_again() {
    let (tasks, _) = tasks(DRAIN);
    let (wakes, woken) = channel();
    tasks.set_waker(move || wakes.send(()).unwrap());
    let mut task = tasks.begin(ONE, "7b");
    for _ in 0..3 {
        assert!(matches!(tasks.try_cross(|| limit(LONG)).unwrap(), Crossed::Wait { .. }));
        assert!(woken.try_recv().is_err());
        drop(task);
        assert!(woken.try_recv().is_ok());
        // Another task begins before the loop has tried again.
        task = tasks.begin(ONE, "7b");
    }
}

#[test]
fn tasks_that_begin_others_do_not_extend_the_drain() {
    let (tasks, _) = tasks(DRAIN);
    let task = tasks.begin(ONE, "7b");
    let arrival = Clocks { monotonic: Duration::ZERO, wall: Duration::ZERO };
    let unknown = || TimeLimit::on_arrival(None, arrival);
    let Crossed::Wait { until } = tasks.try_cross(unknown).unwrap() else { panic!() };
    drop(task);
    let _next = tasks.begin(ONE, "7b");
    let again = tasks.try_cross(|| panic!("it is the same freeze point")).unwrap();
    let Crossed::Wait { until: later } = again else { panic!("{again:?}") };
    assert_eq!(later, until);
}

#[test]
fn a_freeze_point_that_waited_is_not_taken_for_the_next_one() {
    let (tasks, _) = tasks(DRAIN);
    let task = tasks.begin(ONE, "7b");
    assert!(matches!(tasks.try_cross(|| limit(LONG / 2)).unwrap(), Crossed::Wait { .. }));
    drop(task);
    assert_eq!(tasks.try_cross(|| limit(LONG / 2)).unwrap(), Crossed::GoOn);
    let _task = tasks.begin(TWO, "8c");
    let Crossed::Wait { until } = tasks.try_cross(|| limit(LONG)).unwrap() else { panic!() };
    assert!(until > Instant::now() + LONG / 2, "the time of the new invocation");
}

#[test]
fn the_log_and_the_waker_may_use_tasks_themselves() {
    let own: Arc<OnceLock<Tasks>> = Arc::default();
    let (ended, has_ended) = channel();
    let worker = thread::spawn(move || {
        let count = Arc::new(AtomicUsize::new(0));
        let use_it = {
            let (own, count) = (Arc::clone(&own), Arc::clone(&count));
            move || {
                let tasks = own.get().unwrap();
                drop(tasks.begin(TWO, "8c"));
                tasks.wake();
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        let log = Log::to({
            let use_it = use_it.clone();
            move |_| use_it()
        });
        let tasks = Tasks::new(Concurrency::Single, Policy::Drain { reserve: LONG / 2 }, log);
        own.set(tasks.clone()).unwrap();
        tasks.set_waker(use_it);
        // A report, a late end, and a task that is drained.
        let late = tasks.begin(ONE, "7b");
        tasks.try_cross(|| limit(LONG / 4)).unwrap();
        drop(late);
        let task = tasks.begin(ONE, "7b");
        assert!(matches!(tasks.try_cross(|| limit(LONG)).unwrap(), Crossed::Wait { .. }));
        drop(task);
        ended.send(count.load(Ordering::SeqCst)).unwrap();
    });
    assert_eq!(has_ended.recv_timeout(LONG / 4).unwrap(), 3);
    worker.join().unwrap();
}

#[test]
fn tasks_without_a_place_are_counted_drained_and_reported() {
    let (tasks, lines) = tasks(Policy::Report);
    let many: Vec<_> = (0..100).map(|_| tasks.begin_named(ONE, "7b", "many")).collect();
    tasks.try_cross(|| limit(LONG)).unwrap();
    let line = lines.take_json().1;
    let named = line["tasks"].as_array().unwrap();
    assert_eq!(
        (&line["outstanding"], &line["untracked"], named.len()),
        (&100.into(), &36.into(), 64)
    );
    drop(many);
    assert_eq!(tasks.outstanding(), 0);
    let late = lines.take();
    assert_eq!(late.len(), 100);
    for (_, line) in late {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["requestId"], &line["name"]), (&"7b".into(), &"many".into()));
    }
}

#[test]
fn a_reused_place_has_the_name_of_its_new_task() {
    let (tasks, lines) = tasks(Policy::Report);
    drop(tasks.begin_named(ONE, "7b", "old"));
    let _unnamed = tasks.begin(TWO, "8c");
    tasks.try_cross(|| limit(LONG)).unwrap();
    assert_eq!(lines.take_json().1["tasks"][0].get("name"), None);
}

#[test]
fn many_threads_lose_no_task() {
    let (tasks, lines) = tasks(DRAIN);
    let begun = Instant::now();
    thread::scope(|scope| {
        for thread in 0..8 {
            let task = tasks.begin(ONE, "7b");
            let tasks = &tasks;
            scope.spawn(move || {
                for number in 0..200 {
                    let id = InvocationNumber(thread * 1000 + number);
                    drop([tasks.begin(id, "7b"), tasks.begin(id, "7b")]);
                }
                drop(task);
            });
        }
        tasks.cross(|| limit(LONG), &goes_on).unwrap();
        assert_eq!(tasks.outstanding(), 0);
    });
    assert_short(begun);
    assert_eq!(lines.take(), []);
}

#[test]
fn a_panic_in_the_callers_code_leaves_the_tasks_usable() {
    let (tasks, _) = tasks(Policy::Report);
    let task = tasks.begin(ONE, "7b");
    let limit_panics = || tasks.try_cross(|| std::panic::resume_unwind(Box::new("on purpose")));
    catch_unwind(AssertUnwindSafe(limit_panics)).unwrap_err();
    drop(task);
    assert_eq!(tasks.outstanding(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u64),
    End(prop::sample::Index),
    Cross,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4u64).prop_map(Step::Begin),
        3 => any::<prop::sample::Index>().prop_map(Step::End),
        1 => Just(Step::Cross),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Compares it with a list of the tasks that a freeze point has left behind.
    #[test]
    fn every_task_is_reported_once_and_its_late_end_is_logged(
        steps in prop::collection::vec(step(), 0..60)
    ) {
        let (tasks, lines) = tasks(Policy::Report);
        let mut open: Vec<(Task, u64, bool)> = Vec::new();
        for step in steps {
            match step {
                Step::Begin(number) => {
                    let id = format!("id-{number}");
                    open.push((tasks.begin(InvocationNumber(number), &id), number, false));
                }
                Step::End(_) if open.is_empty() => {}
                Step::End(which) => {
                    let (task, number, is_late) = open.swap_remove(which.index(open.len()));
                    drop(task);
                    if is_late {
                        let id = format!("id-{number}");
                        prop_assert_eq!(&lines.take_json().1["requestId"], &Value::from(id));
                    }
                }
                Step::Cross => {
                    let has_new = open.iter().any(|task| !task.2);
                    prop_assert_eq!(tasks.try_cross(|| limit(LONG)).unwrap(), Crossed::GoOn);
                    if has_new {
                        let line = lines.take_json().1;
                        prop_assert_eq!(&line["outstanding"], &Value::from(open.len()));
                    }
                    open.iter_mut().for_each(|task| task.2 = true);
                }
            }
            prop_assert_eq!(lines.take(), vec![]);
            prop_assert_eq!(tasks.outstanding(), open.len());
        }
    }
}
