//! The end of a runtime with open tasks: a drain waits for them, but not beyond its time.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto::api::Concurrency;
use lambda_proto_host::policy::{InvocationNumber, Policy};
use lambda_proto_host::{Log, Task, Tasks};

/// A time limit that only a broken test reaches.
const LONG: Duration = Duration::from_secs(60);
/// Far below [`LONG`], but enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);

fn tasks(concurrency: Concurrency, policy: Policy) -> Tasks {
    Tasks::new(concurrency, policy, Log::to(|_| {}))
}

fn begin(tasks: &Tasks) -> Task {
    tasks.begin(InvocationNumber(1), "7b")
}

#[test]
fn a_drain_waits_for_the_last_task_even_under_multi_concurrency() {
    for concurrency in [Concurrency::Single, Concurrency::Multi] {
        let start = Instant::now();
        let tasks = tasks(concurrency, Policy::default());
        let open = [begin(&tasks), begin(&tasks)];
        let (ended, has_ended) = channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                // The drain has most likely begun by then; if not, it finds nothing to wait for.
                thread::sleep(Duration::from_millis(50));
                drop(open);
                ended.send(()).unwrap();
            });
            tasks.drain(Instant::now() + LONG);
            // Before the scope waits for the thread.
            assert_eq!(tasks.outstanding(), 0);
            has_ended.recv_timeout(SOON).unwrap();
        });
        assert!(start.elapsed() < SOON);
    }
}

#[test]
fn a_drain_waits_for_tasks_left_behind_at_a_freeze_point_too() {
    let tasks = tasks(Concurrency::Single, Policy::Drain { reserve: LONG });
    let task = begin(&tasks);
    let now = lambda_proto_host::lifecycle::clock::now();
    let deadline = lambda_proto::api::Deadline::from_unix_millis(now.wall.as_millis() as u64);
    let limit = lambda_proto::lifecycle::TimeLimit::on_arrival(Some(deadline), now);
    // The time of this invocation is over, so the task is left behind.
    assert_eq!(tasks.try_cross(|| limit).unwrap(), lambda_proto_host::Crossed::GoOn);
    let end = thread::spawn(move || drop(task));
    tasks.drain(Instant::now() + LONG);
    assert_eq!(tasks.outstanding(), 0);
    end.join().unwrap();
}

#[test]
fn a_drain_ends_when_its_time_is_over() {
    let tasks = tasks(Concurrency::Single, Policy::default());
    let _open = begin(&tasks);
    let until = Instant::now() + Duration::from_millis(100);
    tasks.drain(until);
    assert!(Instant::now() >= until && until.elapsed() < SOON);
    assert_eq!(tasks.outstanding(), 1);
    // It does not wait for a moment that has passed.
    tasks.drain(until);
    assert!(until.elapsed() < SOON);
}

#[test]
fn without_tasks_or_under_another_policy_it_does_not_wait() {
    let start = Instant::now();
    tasks(Concurrency::Single, Policy::default()).drain(start + LONG);
    for policy in [Policy::Report, Policy::Strict, Policy::Abandon] {
        let tasks = tasks(Concurrency::Multi, policy);
        let _open = begin(&tasks);
        tasks.drain(start + LONG);
    }
    assert!(start.elapsed() < SOON);
}
