//! The handle that stops a runtime.

mod support;

use std::time::Duration;

use lambda_proto_tokio::Failure;
use support::{Event, Gate, Service, block_on, is_open};

#[test]
fn a_stop_ends_a_run_that_waits_for_an_invocation() {
    let service = Service::start();
    let run = service.run(async |_, responder| Ok(responder.send("").await));
    let mut connection = service.connection();
    connection.expect_next();
    run.tell_to_stop();
    connection.expect_end();
    run.expect_end();
    service.expect_no_connection();
}

#[test]
fn a_stop_lets_a_handler_finish_that_awaits_something() {
    let service = Service::start();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = service.run(async move |_, responder| {
        begins.open();
        is_open(&waits).await;
        Ok(responder.send("answer").await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.tell_to_stop();
    may_answer.open();
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_end();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_failure_and_a_panic_are_reported_even_while_the_runtime_stops() {
    for (does_panic, error_type) in [(false, "Function.AtTheEnd"), (true, "Function.Panic")] {
        let service = Service::start();
        let (has_begun, may_answer) = (Gate::default(), Gate::default());
        let (begins, waits) = (has_begun.clone(), may_answer.clone());
        let run = service.run(async move |_, _| {
            begins.open();
            is_open(&waits).await;
            assert!(!does_panic, "told to");
            Err(Failure::new("Function.AtTheEnd", "told to"))
        });
        let mut connection = service.connection();
        connection.invoke(Event::new("id-1", ""));
        has_begun.wait();
        run.tell_to_stop();
        may_answer.open();
        connection.request().assert_error("id-1", error_type);
        connection.take_answer();
        run.expect_end();
    }
}

#[test]
fn an_event_that_is_arriving_at_the_stop_is_answered() {
    let service = Service::start();
    let runtime = service.runtime();
    let stop = runtime.stop_handle();
    let has_arrived = Gate::default();
    let arrives = has_arrived.clone();
    let run = service.run_loop(stop.clone(), async move || {
        let mut worker = runtime.into_worker();
        tokio::select! {
            _ = worker.next() => panic!("a part is missing"),
            () = is_open(&arrives) => {}
        }
        // What is in the socket is read in the first turn.
        let reads = tokio::time::timeout(Duration::from_millis(10), worker.next()).await;
        assert!(reads.is_err(), "a part is missing");
        stop.stop();
        while let Some((invocation, responder)) = worker.next().await? {
            responder.send(invocation.body()).await;
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.expect_next();
    let event = Event::new("id-1", "whole").bytes();
    let (part, rest) = event.split_at(event.len() - 2);
    connection.send(part);
    has_arrived.open();
    connection.expect_silence();
    connection.send(rest);
    let request = connection.request();
    request.assert_response("id-1");
    assert_eq!(request.body, b"whole");
    connection.take_answer();
    connection.expect_end();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_runtime_that_was_stopped_before_it_ran_asks_for_nothing() {
    let service = Service::start();
    for slots in [1, 3] {
        let runtime = service.runtime().slots(slots);
        runtime.stop_handle().stop();
        let run = service.run_as(runtime, async |_, responder| Ok(responder.send("").await));
        run.expect_end();
        service.expect_no_connection();
    }
}

#[test]
fn stopping_twice_is_the_same_as_stopping_once() {
    let service = Service::start();
    let runtime = service.runtime();
    let handle = runtime.stop_handle();
    let run = service.run_as(runtime, async |_, responder| Ok(responder.send("").await));
    service.connection().expect_next();
    assert!(!handle.is_stopping());
    handle.stop();
    handle.stop();
    assert!(handle.is_stopping());
    run.expect_end();
    handle.stop();
}

#[test]
fn a_task_can_wait_for_the_stop() {
    let service = Service::start();
    let handle = service.runtime().stop_handle();
    let waiting = handle.clone();
    let waits = std::thread::spawn(move || block_on(waiting.stopped()));
    handle.stop();
    waits.join().unwrap();
    // It stays stopped.
    block_on(handle.stopped());
}

#[test]
fn a_handler_can_stop_its_own_runtime() {
    let service = Service::start();
    let runtime = service.runtime().slots(2);
    let handle = runtime.stop_handle();
    let run = service.run_as(runtime, async move |_, responder| {
        handle.stop();
        Ok(responder.send("the last one").await)
    });
    let mut connections = service.open_slots(2);
    connections[0].send(Event::new("id-1", "").bytes());
    connections[0].request().assert_response("id-1");
    connections[0].take_answer();
    for connection in &mut connections {
        connection.expect_end();
    }
    run.expect_end();
}
