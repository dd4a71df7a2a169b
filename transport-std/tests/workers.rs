//! Programs with their own loop pull invocations from workers.

mod support;

use std::io::Write;
use std::sync::{Arc, Barrier};
use std::thread;

use lambda_proto_std::{ContentType, Error, Failure, Receipt, Worker};

use lambda_proto_service::Running;
use support::{Event, Service};

/// Runs a loop around a worker of this service.
fn pull(
    service: &Service,
    run: impl FnOnce(Worker) -> Result<(), Error> + Send + 'static,
) -> Running<Error> {
    let runtime = service.runtime();
    let stop = runtime.stop_handle();
    service.run_loop(stop, move || run(runtime.into_worker()))
}

#[test]
fn a_worker_hands_out_invocations_one_by_one_until_it_is_stopped() {
    let service = Service::start();
    let run = pull(&service, |mut worker| {
        while let Some((invocation, responder)) = worker.next()? {
            responder.send(invocation.body());
        }
        assert!(worker.next()?.is_none(), "stopped for good");
        Ok(())
    });
    let mut connection = service.connection();
    for body in ["one", "two"] {
        connection.invoke(Event::new("id-1", body));
        assert_eq!(connection.request().body, body.as_bytes());
        connection.take_answer();
    }
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_worker_reports_failures_through_its_responder() {
    let service = Service::start();
    let run = pull(&service, |mut worker| {
        while let Some((_, responder)) = worker.next()? {
            responder.fail(Failure::new("Function.Script", "line 3: no such name"));
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_error("id-1", "Function.Script");
    connection.take_answer();
    connection.expect_next();
    let line = "invocation id-1: failed: Function.Script: line 3: no such name";
    assert_eq!(run.stop(), [line]);
}

#[test]
fn a_panic_with_an_invocation_in_flight_is_reported_as_a_panic() {
    let service = Service::start();
    let run = pull(&service, |mut worker| {
        let panicking = std::panic::AssertUnwindSafe(move || {
            let _in_flight = worker.next();
            panic!("the loop of the test panics");
        });
        assert!(std::panic::catch_unwind(panicking).is_err());
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_error("id-1", "Function.Panic");
    connection.take_answer();
    run.stop();
}

#[test]
fn a_worker_answers_without_the_responder_and_only_once() {
    let service = Service::start();
    let run = pull(&service, |mut worker| {
        assert!(worker.send("before the first").is_none());
        let mut count = 0;
        while let Some((invocation, _)) = worker.next()? {
            let answer = invocation.body().to_ascii_uppercase();
            let answered = worker.send(&answer).expect("it is in flight");
            assert!(matches!(answered, Receipt::Known(outcome) if outcome.is_accepted()));
            assert!(worker.send("a second one").is_none());
            count += 1;
        }
        assert_eq!(count, 2);
        Ok(())
    });
    let mut connection = service.connection();
    for (id, event, answer) in [("id-1", "one", b"ONE"), ("id-2", "two", b"TWO")] {
        connection.invoke(Event::new(id, event));
        let request = connection.request();
        request.assert_response(id);
        assert_eq!(request.body, answer);
        connection.take_answer();
    }
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_worker_does_not_send_another_answer_after_a_stream_has_begun() {
    let service = Service::start();
    let run = pull(&service, |mut worker| {
        while let Some((_, responder)) = worker.next()? {
            responder.stream(ContentType::TEXT).write_all(b"half").expect("it is taken");
            assert!(worker.send("instead").is_none());
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    let request = connection.request();
    assert_eq!(request.body, b"half");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

#[test]
fn a_worker_pipelines() {
    let service = Service::start();
    let run = pull(&service, |mut worker| {
        while let Some((invocation, responder)) = worker.next()? {
            responder.send_and_next(invocation.body());
        }
        Ok(())
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2", "id-3"] {
        connection.invoke(Event::new(id, "x"));
        connection.request().assert_response(id);
        connection.take_answer();
    }
    connection.expect_next();
    run.stop();
}

#[test]
fn a_worker_returns_the_error_that_ends_it() {
    let service = Service::start();
    let run = pull(&service, |mut worker| {
        while let Some((_, responder)) = worker.next()? {
            responder.send("");
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request();
    connection.refuse(500, "InternalServerError", "no");
    let error = run.error();
    assert!(error.contains("response was answered with 500"), "{error}");
}

#[test]
fn workers_of_one_runtime_take_invocations_at_the_same_time() {
    let service = Service::start();
    let runtime = service.runtime().slots(3);
    let stop = runtime.stop_handle();
    let run = service.run_loop(stop, move || {
        let barrier = Arc::new(Barrier::new(3));
        let threads = runtime.into_workers().into_iter().map(|mut worker| {
            let barrier = barrier.clone();
            thread::spawn(move || {
                while let Some((invocation, responder)) = worker.next()? {
                    barrier.wait();
                    responder.send(invocation.body());
                }
                Ok(())
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    });
    let mut connections: Vec<_> = (0..3).map(|_| service.connection()).collect();
    for connection in &mut connections {
        connection.invoke(Event::new("id-1", "x"));
    }
    for connection in &mut connections {
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_next();
    }
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn an_error_of_one_worker_ends_the_others_on_which_the_service_counts() {
    let service = Service::start();
    let mut workers = service.runtime().slots(2).into_workers();
    let mut second = workers.pop().unwrap();
    let mut first = workers.pop().unwrap();
    let second = thread::spawn(move || second.next().map(|next| next.is_none()));
    let first = thread::spawn(move || first.next().map(|next| next.is_none()));
    let mut connections = service.open_slots(2);
    connections[0].refuse(500, "InternalServerError", "no");
    let ended = [first, second].map(|worker| worker.join().unwrap());
    assert!(ended.iter().any(|ended| matches!(ended, Err(Error::Service(_)))), "{ended:?}");
    assert!(ended.iter().any(|ended| matches!(ended, Ok(true))), "{ended:?}");
    service.lines().wait_for("a slot has ended: the Runtime API ends this runtime");
}

#[test]
fn a_panic_that_drops_one_worker_ends_the_others() {
    let service = Service::start();
    let mut workers = service.runtime().slots(2).into_workers();
    let mut second = workers.pop().unwrap();
    let mut first = workers.pop().unwrap();
    let second = thread::spawn(move || second.next().map(|next| next.is_none()));
    let first = thread::spawn(move || {
        let _in_flight = first.next().map(|next| next.is_some());
        panic!("the loop of the test panics");
    });
    let mut connections = service.open_slots(2);
    for connection in &mut connections {
        connection.send(Event::new("id-1", "").bytes());
    }
    // Both are dropped with their invocation in flight.
    for connection in &mut connections {
        assert!(connection.request().path.ends_with("/id-1/error"));
        connection.take_answer();
    }
    assert!(first.join().is_err());
    assert!(matches!(second.join().unwrap(), Ok(false)));
    service.lines().wait_for("a slot has ended: Function.Panic");
}
