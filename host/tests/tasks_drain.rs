//! The end of a runtime with open tasks: a drain waits for them, and no longer than it may.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto::api::Concurrency;
use lambda_proto_host::policy::{InvocationNumber, Policy};
use lambda_proto_host::{Log, Task, Tasks};

/// A bound where something is broken.
const LONG: Duration = Duration::from_secs(60);
/// What is far below [`LONG`], for machines with much to do.
const SOON: Duration = Duration::from_secs(20);

fn tasks(concurrency: Concurrency, policy: Policy) -> Tasks {
    Tasks::new(concurrency, policy, Log::to(|_| {}))
}

fn begin(tasks: &Tasks) -> Task {
    tasks.begin(InvocationNumber(1), "7b")
}

#[test]
fn a_drain_waits_for_the_last_task_also_where_nothing_is_frozen() {
    for concurrency in [Concurrency::Single, Concurrency::Multi] {
        let start = Instant::now();
        let tasks = tasks(concurrency, Policy::default());
        let open = [begin(&tasks), begin(&tasks)];
        let (go, goes) = channel::<()>();
        let (ended, has_ended) = channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                goes.recv().unwrap();
                drop(open);
                ended.send(()).unwrap();
            });
            go.send(()).unwrap();
            tasks.drain(Instant::now() + LONG);
        });
        assert_eq!(tasks.outstanding(), 0);
        has_ended.try_recv().unwrap();
        assert!(start.elapsed() < SOON);
    }
}

#[test]
fn a_drain_also_waits_for_what_a_freeze_point_has_left_behind() {
    let tasks = tasks(Concurrency::Single, Policy::Drain { reserve: LONG });
    let task = begin(&tasks);
    let now = lambda_proto_host::lifecycle::clock::now();
    let deadline = lambda_proto::api::Deadline::from_unix_millis(now.wall.as_millis() as u64);
    let limit = lambda_proto::lifecycle::TimeLimit::on_arrival(Some(deadline), now);
    // Nothing is left of this invocation, so the task is left behind.
    assert_eq!(tasks.try_cross(|| limit).unwrap(), lambda_proto_host::Crossed::GoOn);
    let end = thread::spawn(move || drop(task));
    tasks.drain(Instant::now() + LONG);
    assert_eq!(tasks.outstanding(), 0);
    end.join().unwrap();
}

#[test]
fn a_drain_ends_at_its_moment() {
    let tasks = tasks(Concurrency::Single, Policy::default());
    let _open = begin(&tasks);
    let until = Instant::now() + Duration::from_millis(100);
    tasks.drain(until);
    assert!(Instant::now() >= until && until.elapsed() < SOON);
    assert_eq!(tasks.outstanding(), 1);
    // One that has passed is none to wait for.
    tasks.drain(until);
    assert!(until.elapsed() < SOON);
}

#[test]
fn without_tasks_and_under_other_policies_a_drain_waits_for_nothing() {
    let start = Instant::now();
    tasks(Concurrency::Single, Policy::default()).drain(start + LONG);
    for policy in [Policy::Report, Policy::Strict, Policy::Abandon] {
        let tasks = tasks(Concurrency::Multi, policy);
        let _open = begin(&tasks);
        tasks.drain(start + LONG);
    }
    assert!(start.elapsed() < SOON);
}
