//! Work after the answer: what happens to it before the next invocation is asked for.

#[path = "support/lifecycle.rs"]
mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_proto_service::Running;
use lambda_proto_tokio::{Error, Failure, Lifecycle, Policy};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use support::{Connection, Event, Kind, PATIENCE, Service};

/// A runtime whose handler spawns work for each invocation, which the test ends.
struct Host {
    service: Service,
    run: Running<Error>,
    works: Receiver<Work>,
}

/// Work of an invocation.
struct Work {
    ends: oneshot::Sender<How>,
    task: AbortHandle,
    ended: Receiver<&'static str>,
}

enum How {
    Returns,
    Panics,
}

impl Work {
    fn end(self) -> &'static str {
        self.ends.send(How::Returns).ok().expect("it waits");
        self.ended.recv_timeout(PATIENCE).expect("it ends")
    }

    fn panic(self) -> &'static str {
        self.ends.send(How::Panics).ok().expect("it waits");
        self.ended.recv_timeout(PATIENCE).expect("it ends")
    }

    fn abort(self) -> &'static str {
        self.task.abort();
        self.ended.recv_timeout(PATIENCE).expect("it ends")
    }
}

/// What the future of some work holds: it tells when it is dropped.
struct Held(Sender<&'static str>);

impl Drop for Held {
    fn drop(&mut self) {
        let _the_test_has_ended = self.0.send("dropped");
    }
}

const NAME: &str = "the books";

impl Host {
    fn start(policy: Policy) -> Self {
        Self::start_with(Kind::CurrentThread, policy, false, 1)
    }

    /// `is_pipelined`: the handler wants to send its answer together with `next`.
    fn start_with(kind: Kind, policy: Policy, is_pipelined: bool, slots: usize) -> Self {
        let service = Service::of(kind);
        let (sender, works): (Sender<Work>, _) = channel();
        let lifecycle = Lifecycle::new().work(policy);
        let runtime = service.runtime().slots(slots);
        let run =
            service.run_as(runtime, lifecycle, async move |invocation, responder, context| {
                let (ends, end) = oneshot::channel();
                let (tells, ended) = channel();
                let held = Held(tells);
                let work = context.spawn_work(&invocation, NAME, async move {
                    let held = held;
                    match end.await.expect("the test ends it") {
                        How::Returns => held.0.send("returned").expect("the test waits"),
                        How::Panics => std::panic::resume_unwind(Box::new("boom")),
                    }
                });
                let work = Work { ends, task: work.abort_handle(), ended };
                sender.send(work).expect("the test holds it");
                Ok(match is_pipelined {
                    true => responder.send_and_next("").await,
                    false => responder.send("").await,
                })
            });
        Self { service, run, works }
    }

    /// Serves one invocation up to its answer, and returns its work.
    fn invoke(&self, connection: &mut Connection, id: &str) -> Work {
        connection.invoke(Event::new(id, ""));
        self.answer(connection, id)
    }

    fn answer(&self, connection: &mut Connection, id: &str) -> Work {
        connection.request().assert_response(id);
        let work = self.works.recv_timeout(PATIENCE).expect("work");
        connection.take_answer();
        work
    }
}

/// The log lines about work that is left behind, and about work that ends late.
const LEFT_BEHIND: &str = "a task of an answered invocation still runs";
const ENDS_LATE: &str = "a task that was left behind at the end of its invocation has ended";

/// An event with a deadline in an hour.
fn due_in_an_hour(id: &str) -> Event {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let deadline = (now + Duration::from_secs(3600)).as_millis().to_string();
    Event::new(id, "").header("Lambda-Runtime-Deadline-Ms", deadline)
}

#[test]
fn next_is_not_asked_for_before_the_work_returns_panics_or_is_aborted() {
    for kind in Kind::BOTH {
        let host = Host::start_with(kind, Policy::default(), false, 1);
        let mut connection = host.service.connection();
        let ends: [fn(Work) -> &'static str; 3] = [Work::end, Work::panic, Work::abort];
        for (end, how) in ends.into_iter().zip(["returned", "dropped", "dropped"]) {
            connection.expect_next();
            connection.send(due_in_an_hour("id-1").bytes());
            let work = host.answer(&mut connection, "id-1");
            connection.expect_silence();
            assert_eq!(end(work), how, "{kind:?}");
        }
        connection.expect_next();
        assert_eq!(host.run.stop(), [""; 0]);
    }
}

#[test]
fn a_drain_ends_one_reserve_before_the_deadline_and_reports_remaining_work() {
    // The reserve is the whole time to the deadline.
    let host = Host::start(Policy::Drain { reserve: Duration::from_secs(3600) });
    let mut connection = host.service.connection();
    connection.invoke(due_in_an_hour("id-1"));
    let work = host.answer(&mut connection, "id-1");
    connection.expect_next();
    host.service.lines().wait_for(LEFT_BEHIND);
    work.end();
    host.service.lines().wait_for(ENDS_LATE);
    host.run.stop();
}

#[test]
fn a_drain_without_a_deadline_ends_by_itself() {
    let host = Host::start(Policy::default());
    let mut connection = host.service.connection();
    let work = host.invoke(&mut connection, "id-1");
    // After `Policy::DRAIN_WITHOUT_DEADLINE`, which only a timer ends.
    connection.expect_next();
    host.service.lines().wait_for(LEFT_BEHIND);
    drop(work);
    host.run.stop();
}

#[test]
fn a_report_names_the_invocation_and_the_work_and_next_is_asked_for_immediately() {
    let host = Host::start(Policy::Report);
    let mut connection = host.service.connection();
    let work = host.invoke(&mut connection, "id-1");
    connection.expect_next();
    let lines = host.service.lines().all();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in [LEFT_BEHIND, "\"requestId\":\"id-1\"", "\"name\":\"the books\"", "\"ageMs\":"] {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
    work.end();
    host.run.stop();
}

#[test]
fn work_that_ends_late_is_attributed_to_the_invocation_that_began_it() {
    let host = Host::start(Policy::Report);
    let mut connection = host.service.connection();
    let first = host.invoke(&mut connection, "id-1");
    let second = host.invoke(&mut connection, "id-2");
    connection.expect_next();
    first.abort();
    host.service.lines().wait_for(ENDS_LATE);
    let lines = host.service.lines().all();
    let late: Vec<_> = lines.iter().filter(|line| line.contains(ENDS_LATE)).collect();
    assert_eq!(late.len(), 1, "{lines:?}");
    assert!(late[0].contains("id-1") && late[0].contains(NAME), "{late:?}");
    assert!(!late[0].contains("id-2"), "{late:?}");
    second.end();
    host.run.stop();
}

#[test]
fn under_the_strict_policy_the_runtime_ends_with_an_error_and_asks_for_no_invocation() {
    let host = Host::start(Policy::Strict);
    let mut connection = host.service.connection();
    let _work = host.invoke(&mut connection, "id-1");
    let error = host.run.end().expect_err("work was left behind");
    assert!(matches!(&error, Error::LeftBehind(left) if left.outstanding() == 1), "{error}");
    connection.expect_end();
    host.service.expect_no_connection();
    let lines = host.service.lines().all();
    assert!(lines[0].contains("id-1"), "{lines:?}");
}

#[test]
fn abandoned_work_is_neither_awaited_nor_reported() {
    let host = Host::start(Policy::Abandon);
    let mut connection = host.service.connection();
    let work = host.invoke(&mut connection, "id-1");
    connection.expect_next();
    work.end();
    assert_eq!(host.run.stop(), [""; 0]);
}

#[test]
fn an_answer_is_sent_without_next_while_work_is_running_and_with_it_otherwise() {
    let host = Host::start_with(Kind::CurrentThread, Policy::default(), true, 1);
    let mut connection = host.service.connection();
    connection.invoke(due_in_an_hour("id-1"));
    connection.request().assert_response("id-1");
    // It came without `next`, and none follows.
    connection.expect_silence();
    let work = host.works.recv_timeout(PATIENCE).expect("work");
    connection.take_answer();
    connection.expect_silence();
    work.end();
    connection.expect_next();
    host.run.stop();

    let service = Service::start();
    let run = service.run(Lifecycle::new(), async |_, responder, _| {
        Ok(responder.send_and_next("without work").await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.expect_next();
    connection.take_answer();
    run.stop();
}

#[test]
fn several_slots_have_no_boundary_and_report_remaining_work_at_the_end() {
    let host = Host::start_with(Kind::CurrentThread, Policy::Strict, false, 2);
    let mut connection = host.service.connection();
    let works = ["id-1", "id-2"].map(|id| host.invoke(&mut connection, id));
    connection.expect_next();
    assert_eq!(host.service.lines().all(), [""; 0]);
    let lines = host.run.stop();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = "2 tasks of answered invocations still run at the end of the process";
    assert!(lines[0].contains(line), "{lines:?}");
    for id in ["id-1", "id-2"] {
        assert!(lines[0].contains(&format!("\"requestId\":\"{id}\"")), "{lines:?}");
    }
    drop(works);
}

#[test]
fn a_runtime_that_is_stopped_does_not_wait_for_work_and_reports_it() {
    for policy in [Policy::Report, Policy::Drain { reserve: Duration::ZERO }] {
        let service = Service::start();
        let lifecycle = Lifecycle::new().work(policy);
        let run = service.run(lifecycle, async |invocation, responder, context| {
            context.spawn_work(&invocation, NAME, std::future::pending::<()>());
            Ok(responder.send("").await)
        });
        let mut connection = service.connection();
        connection.invoke(due_in_an_hour("id-1"));
        connection.request().assert_response("id-1");
        connection.take_answer();
        if policy == Policy::Report {
            connection.expect_next();
        } else {
            connection.expect_silence();
        }
        let lines = run.stop();
        let is_report =
            |line: &&String| line.contains("id-1") && line.contains("at the end of the process");
        assert_eq!(lines.iter().filter(is_report).count(), 1, "{lines:?}");
        connection.expect_end();
    }
}

#[test]
fn work_continues_while_the_runtime_ends() {
    let service = Service::start();
    let runtime = service.runtime();
    let stop = runtime.stop_handle();
    let (sender, told) = channel();
    let run =
        service.run_as(runtime, Lifecycle::new(), async move |invocation, responder, context| {
            let (stop, sender) = (stop.clone(), sender.clone());
            context.spawn_work(&invocation, NAME, async move {
                stop.stop();
                // Only a runtime that does not block its thread wakes this.
                tokio::time::sleep(Duration::from_millis(50)).await;
                sender.send(()).expect("the test waits");
            });
            Ok(responder.send("").await)
        });
    let mut connection = service.connection();
    connection.invoke(due_in_an_hour("id-1"));
    connection.request().assert_response("id-1");
    connection.take_answer();
    run.expect_end();
    assert_eq!(told.try_recv(), Ok(()));
    assert_eq!(service.lines().all(), [""; 0]);
}

#[test]
fn the_failure_of_a_handler_is_reported_before_its_work_is_awaited() {
    let service = Service::start();
    let (sender, tasks) = channel();
    let run = service.run(Lifecycle::new(), async move |invocation, _, context| {
        sender.send(context.begin_work(&invocation, NAME)).expect("the test holds it");
        Err(Failure::new("Function.No", "not today"))
    });
    let mut connection = service.connection();
    connection.invoke(due_in_an_hour("id-1"));
    connection.request().assert_error("id-1", "Function.No");
    connection.take_answer();
    connection.expect_silence();
    drop(tasks.recv_timeout(PATIENCE).expect("a task"));
    connection.expect_next();
    run.stop();
}

#[cfg(any(feature = "log", feature = "tracing"))]
#[test]
fn log_lines_of_work_have_the_request_id_of_its_invocation() {
    use lambda_proto_tokio::current;

    for kind in Kind::BOTH {
        let service = Service::of(kind);
        let (sender, told) = channel();
        let lifecycle = Lifecycle::new().work(Policy::Abandon);
        let run = service.run(lifecycle, async move |invocation, responder, context| {
            let id = invocation.request_id().to_owned();
            let sender = sender.clone();
            context.spawn_work(&invocation, NAME, async move {
                for _ in 0..20 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    assert_eq!(*current::request_id(), *id);
                }
                sender.send(id).expect("the test waits");
            });
            Ok(responder.send("").await)
        });
        let mut connection = service.connection();
        for id in ["id-1", "id-2", "id-3"] {
            connection.invoke(Event::new(id, ""));
            connection.request().assert_response(id);
            connection.take_answer();
        }
        let mut ids = [(); 3].map(|()| told.recv_timeout(PATIENCE).expect("it ends"));
        ids.sort();
        assert_eq!(ids, ["id-1", "id-2", "id-3"]);
        run.stop();
    }
}

#[test]
fn the_result_of_work_is_there_once_it_counts_as_ended() {
    let service = Service::start();
    let (sender, told) = channel();
    let run = service.run(Lifecycle::new(), async move |invocation, responder, context| {
        let work = context.spawn_work(&invocation, NAME, async { 17 });
        sender.send(work.await?).expect("the test waits");
        // Nothing is open, so it is pipelined.
        Ok(responder.send_and_next("").await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.expect_next();
    connection.take_answer();
    assert_eq!(told.recv(), Ok(17));
    run.stop();
}
