//! The request id of each slot, for the log lines of the function: all slots share one thread.
#![cfg(any(feature = "log", feature = "tracing"))]

mod support;

use std::sync::{Arc, Mutex};

use lambda_proto_tokio::current;
use support::{Event, Service};
use tokio::sync::Barrier;
use tokio::task::yield_now;

/// What the function has logged: the current request id of each line, and its text.
type Logged = Arc<Mutex<Vec<(String, String)>>>;

fn log(logged: &Logged, text: &str) {
    logged.lock().unwrap().push((current::request_id().to_string(), text.to_owned()));
}

/// What was logged with this id, in order.
fn lines(logged: &Logged, id: &str) -> Vec<String> {
    let logged = logged.lock().unwrap();
    logged.iter().filter(|(other, _)| other == id).map(|(_, text)| text.clone()).collect()
}

#[test]
fn a_handler_knows_its_request_id_before_and_after_its_answer_and_the_loop_has_none() {
    let service = Service::start();
    let logged = Logged::default();
    let logs = logged.clone();
    let runtime = service.runtime();
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let result = runtime.run(async |_, responder| {
            log(&logs, "before");
            let sent = responder.send(&*current::request_id()).await;
            log(&logs, "after");
            Ok(sent)
        });
        let result = result.await;
        assert_eq!(&*current::request_id(), "", "nothing is in flight");
        result
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2"] {
        connection.invoke(Event::new(id, ""));
        assert_eq!(connection.request().body, id.as_bytes());
        connection.take_answer();
    }
    connection.expect_next();
    run.stop();
    for id in ["id-1", "id-2"] {
        assert_eq!(lines(&logged, id), ["before", "after"]);
    }
}

#[test]
fn each_slot_keeps_its_own_request_id_across_awaits() {
    const SLOTS: usize = 4;
    let service = Service::start();
    let logged = Logged::default();
    let logs = logged.clone();
    let barrier = Barrier::new(SLOTS);
    let run = service.run_as(service.runtime().slots(SLOTS), async move |invocation, responder| {
        log(&logs, "begins");
        // All have begun, so each has been polled after another one set its id.
        barrier.wait().await;
        log(&logs, "has met the others");
        for _ in 0..10 {
            yield_now().await;
            assert_eq!(&*current::request_id(), invocation.request_id());
        }
        let sent = responder.send(&*current::request_id()).await;
        log(&logs, "has answered");
        Ok(sent)
    });
    let mut connections = service.open_slots(SLOTS);
    for round in 0..3 {
        for (slot, connection) in connections.iter_mut().enumerate() {
            connection.send(Event::new(&format!("id-{round}-{slot}"), "").bytes());
        }
        for (slot, connection) in connections.iter_mut().enumerate() {
            let id = format!("id-{round}-{slot}");
            let request = connection.request();
            request.assert_response(&id);
            assert_eq!(request.body, id.as_bytes());
            connection.take_answer();
            connection.expect_next();
            assert_eq!(lines(&logged, &id), ["begins", "has met the others", "has answered"]);
        }
    }
    run.stop();
}

#[test]
fn after_a_panic_the_next_invocation_has_its_own_request_id() {
    let service = Service::start();
    let run = service.run(async |invocation, responder| {
        yield_now().await;
        assert_ne!(invocation.body(), b"panic", "told to");
        Ok(responder.send(&*current::request_id()).await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "panic"));
    connection.request().assert_error("id-1", "Function.Panic");
    connection.take_answer();
    connection.invoke(Event::new("id-2", ""));
    assert_eq!(connection.request().body, b"id-2");
    connection.take_answer();
    run.stop();
}

#[test]
fn other_tasks_of_the_thread_have_no_request_id_of_a_slot() {
    let service = Service::start();
    let runtime = service.runtime();
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let other = async {
            loop {
                assert_eq!(&*current::request_id(), "");
                yield_now().await;
            }
        };
        tokio::select! {
            result = runtime.run(async |_, responder| {
                yield_now().await;
                Ok(responder.send(&*current::request_id()).await)
            }) => result,
            () = other => Ok(()),
        }
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2"] {
        connection.invoke(Event::new(id, ""));
        assert_eq!(connection.request().body, id.as_bytes());
        connection.take_answer();
    }
    connection.expect_next();
    run.stop();
}

#[test]
fn a_worker_that_is_pulled_sets_no_request_id_which_other_tasks_would_see() {
    let service = Service::start();
    let runtime = service.runtime();
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let mut worker = runtime.into_worker();
        current::set("of the program");
        while let Some((_, responder)) = worker.next().await? {
            responder.send(&*current::request_id()).await;
        }
        assert_eq!(&*current::request_id(), "of the program");
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    assert_eq!(connection.request().body, b"of the program");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}
