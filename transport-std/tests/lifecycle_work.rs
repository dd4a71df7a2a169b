//! Work after the answer: what happens to it before the next invocation is asked for.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use lambda_proto_service::Running;
use lambda_proto_std::{Error, Failure, Lifecycle, Policy, Task};

use support::{Connection, Event, PATIENCE, Service};

/// A runtime whose handler begins a task for each invocation and passes it to the test.
struct Host {
    service: Service,
    run: Running<Error>,
    tasks: Receiver<Task>,
}

const NAME: &str = "the books";

impl Host {
    fn start(policy: Policy) -> Self {
        Self::start_with(policy, false, 1)
    }

    /// `is_pipelined`: the handler wants to send its answer together with `next`.
    fn start_with(policy: Policy, is_pipelined: bool, slots: usize) -> Self {
        let service = Service::start();
        let (sender, tasks): (Sender<Task>, _) = channel();
        let lifecycle = Lifecycle::new().work(policy);
        let runtime = service.runtime().slots(slots);
        let run =
            service.run_lifecycle_as(runtime, lifecycle, move |invocation, responder, context| {
                sender.send(context.begin_work(&invocation, NAME)).expect("the test holds it");
                Ok(if is_pipelined { responder.send_and_next("") } else { responder.send("") })
            });
        Self { service, run, tasks }
    }

    /// Serves one invocation up to its answer, and returns its task.
    fn invoke(&self, connection: &mut Connection, id: &str) -> Task {
        connection.invoke(Event::new(id, ""));
        self.answer(connection, id)
    }

    fn answer(&self, connection: &mut Connection, id: &str) -> Task {
        connection.request().assert_response(id);
        let task = self.tasks.recv_timeout(PATIENCE).expect("a task");
        connection.take_answer();
        task
    }
}

/// The log lines about a task that is left behind, and about one that ends late.
const LEFT_BEHIND: &str = "a task of an answered invocation still runs";
const ENDS_LATE: &str = "a task that was left behind at the end of its invocation has ended";

fn drain(reserve: Duration) -> Policy {
    Policy::Drain { reserve }
}

#[test]
fn next_is_not_asked_for_before_the_work_after_the_answer_has_ended() {
    let host = Host::start(Policy::default());
    let mut connection = host.service.connection();
    for id in ["id-1", "id-2"] {
        let task = host.invoke(&mut connection, id);
        connection.expect_silence();
        drop(task);
    }
    connection.expect_next();
    assert_eq!(host.run.stop(), [""; 0]);
}

#[test]
fn a_drain_ends_one_reserve_before_the_deadline_and_reports_remaining_work() {
    // A deadline in an hour, of which the reserve takes all but some milliseconds.
    let host = Host::start(drain(Duration::from_secs(3600)));
    let mut connection = host.service.connection();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let deadline = (now + Duration::from_millis(3_600_000)).as_millis().to_string();
    connection.invoke(Event::new("id-1", "").header("Lambda-Runtime-Deadline-Ms", deadline));
    let task = host.answer(&mut connection, "id-1");
    connection.expect_next();
    host.service.lines().wait_for(LEFT_BEHIND);
    drop(task);
    host.service.lines().wait_for(ENDS_LATE);
    host.run.stop();
}

#[test]
fn a_report_names_the_invocation_and_the_work_and_next_is_asked_for_immediately() {
    let host = Host::start(Policy::Report);
    let mut connection = host.service.connection();
    let task = host.invoke(&mut connection, "id-1");
    connection.expect_next();
    let lines = host.service.lines().all();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in [LEFT_BEHIND, "\"requestId\":\"id-1\"", "\"name\":\"the books\"", "\"ageMs\":"] {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
    drop(task);
    host.run.stop();
}

#[test]
fn work_that_ends_late_is_attributed_to_the_invocation_that_began_it() {
    let host = Host::start(Policy::Report);
    let mut connection = host.service.connection();
    let first = host.invoke(&mut connection, "id-1");
    let second = host.invoke(&mut connection, "id-2");
    connection.expect_next();
    drop(first);
    host.service.lines().wait_for(ENDS_LATE);
    let lines = host.service.lines().all();
    let late: Vec<_> = lines.iter().filter(|line| line.contains(ENDS_LATE)).collect();
    assert_eq!(late.len(), 1, "{lines:?}");
    assert!(late[0].contains("id-1") && late[0].contains(NAME), "{late:?}");
    assert!(!late[0].contains("id-2"), "{late:?}");
    drop(second);
    host.run.stop();
}

#[test]
fn under_the_strict_policy_the_runtime_ends_with_an_error_and_asks_for_no_invocation() {
    let host = Host::start(Policy::Strict);
    let mut connection = host.service.connection();
    let _task = host.invoke(&mut connection, "id-1");
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
    let task = host.invoke(&mut connection, "id-1");
    connection.expect_next();
    drop(task);
    assert_eq!(host.run.stop(), [""; 0]);
}

#[test]
fn an_answer_is_sent_without_next_while_work_is_running_and_with_it_otherwise() {
    let host = Host::start_with(Policy::default(), true, 1);
    let mut connection = host.service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    // It came without `next`, and none follows.
    connection.expect_silence();
    let task = host.tasks.recv_timeout(PATIENCE).expect("a task");
    connection.take_answer();
    connection.expect_silence();
    drop(task);
    connection.expect_next();
    host.run.stop();

    let service = Service::start();
    let run = service.run_lifecycle(Lifecycle::new(), |_, responder, _| {
        Ok(responder.send_and_next("without work"))
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
    let host = Host::start_with(Policy::Strict, false, 2);
    let mut connection = host.service.connection();
    let tasks = ["id-1", "id-2"].map(|id| host.invoke(&mut connection, id));
    connection.expect_next();
    assert_eq!(host.service.lines().all(), [""; 0]);
    let lines = host.run.stop();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = "2 tasks of answered invocations still run at the end of the process";
    assert!(lines[0].contains(line), "{lines:?}");
    for id in ["id-1", "id-2"] {
        assert!(lines[0].contains(&format!("\"requestId\":\"{id}\"")), "{lines:?}");
    }
    drop(tasks);
}

#[test]
fn a_runtime_that_is_stopped_does_not_wait_for_work_and_reports_it() {
    let host = Host::start(Policy::default());
    let mut connection = host.service.connection();
    let task = host.invoke(&mut connection, "id-1");
    connection.expect_silence();
    let lines = host.run.stop();
    assert!(lines.len() == 1 && lines[0].contains("id-1"), "{lines:?}");
    connection.expect_end();
    drop(task);
}

#[test]
fn the_failure_of_a_handler_is_reported_before_its_work_is_awaited() {
    let service = Service::start();
    let (sender, tasks) = channel();
    let run = service.run_lifecycle(Lifecycle::new(), move |invocation, _, context| {
        sender.send(context.begin_work(&invocation, NAME)).expect("the test holds it");
        Err(Failure::new("Function.No", "not today"))
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_error("id-1", "Function.No");
    connection.take_answer();
    connection.expect_silence();
    drop(tasks.recv_timeout(PATIENCE).expect("a task"));
    connection.expect_next();
    run.stop();
}
