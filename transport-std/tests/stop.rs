//! A stop handle ends a runtime between invocations, promptly and without losing an answer.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::{Event, Gate, Lines, PATIENCE, Running, Service, runtime_at};

#[test]
fn a_runtime_that_waits_for_an_event_stops_at_once() {
    let service = Service::start();
    let run = service.run(|_, reply| Ok(reply.send("")));
    let mut connection = service.connection();
    connection.expect_next();
    let began = Instant::now();
    assert_eq!(run.stop(), [""; 0]);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    connection.expect_end();
}

#[test]
fn a_runtime_whose_handler_runs_stops_when_its_answer_was_sent() {
    let service = Service::start();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = service.run(move |_, reply| {
        begins.open();
        waits.wait();
        Ok(reply.send("answer"))
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.stop_handle().stop();
    connection.expect_silence();
    may_answer.open();
    let response = connection.request();
    response.assert_response("id-1");
    assert_eq!(response.body, b"answer");
    connection.take_answer();
    run.end().unwrap();
    connection.expect_end();
}

#[test]
fn a_pipelined_answer_asks_for_nothing_once_the_runtime_stops() {
    let service = Service::start();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = service.run(move |_, reply| {
        begins.open();
        waits.wait();
        Ok(reply.send_and_next("answer"))
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.stop_handle().stop();
    may_answer.open();
    connection.request().assert_response("id-1");
    connection.take_answer();
    run.end().unwrap();
    connection.expect_end();
}

#[test]
fn an_answer_is_sent_again_although_the_runtime_stops() {
    let service = Service::start();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = service.run(move |_, reply| {
        begins.open();
        waits.wait();
        Ok(reply.send("answer"))
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.stop_handle().stop();
    connection.close();
    may_answer.open();
    let mut connection = service.connection();
    connection.request().assert_response("id-1");
    connection.take_answer();
    run.end().unwrap();
    connection.expect_end();
}

#[test]
fn a_failing_handler_is_reported_although_the_runtime_stops() {
    let service = Service::start();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = service.run(move |_, _| {
        begins.open();
        waits.wait();
        panic!("at the end");
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.stop_handle().stop();
    may_answer.open();
    connection.request().assert_error("id-1", "Function.Panic");
    connection.take_answer();
    run.end().unwrap();
}

#[test]
fn a_runtime_that_was_stopped_before_it_ran_asks_for_nothing() {
    let service = Service::start();
    for slots in [1, 3] {
        let runtime = service.runtime().slots(slots);
        runtime.stop_handle().stop();
        let run = service.run_as(runtime, |_, reply| Ok(reply.send("")));
        run.end().unwrap();
        service.expect_no_connection();
    }
}

#[test]
fn a_runtime_without_a_connection_stops_during_its_pause() {
    let lines = Lines::default();
    // On Linux all of 127.0.0.0/8 is loopback, and no other test is given this port.
    let gone = std::net::TcpListener::bind("127.0.3.1:0").unwrap().local_addr().unwrap();
    let runtime = runtime_at(&gone.to_string(), &lines);
    let stop = runtime.stop_handle();
    let run = Running::new(&lines, stop, move || runtime.run(|_, reply| Ok(reply.send(""))));
    lines.wait_for("no connection");
    run.stop();
}

#[test]
fn a_runtime_that_stops_during_a_pause_asks_for_nothing_more() {
    let service = Service::start();
    let run = service.run(|_, reply| Ok(reply.send("")));
    for _ in 0..6 {
        service.connection().close();
    }
    // The pause now is at least 400 ms long, and this waits until it has begun.
    service.expect_no_connection();
    run.stop();
    if let Some(mut connection) = service.connection_within(support::MOMENT) {
        connection.expect_end();
    }
}

#[test]
fn every_slot_stops() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(4), |_, reply| Ok(reply.send("")));
    let mut connections: Vec<_> = (0..4).map(|_| service.connection()).collect();
    for connection in &mut connections {
        connection.expect_next();
    }
    assert_eq!(run.stop(), [""; 0]);
    for connection in &mut connections {
        connection.expect_end();
    }
}

#[test]
fn one_slot_that_is_busy_sends_its_answer_while_the_others_stop() {
    let service = Service::start();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = service.run_as(service.runtime().slots(2), move |_, reply| {
        begins.open();
        waits.wait();
        Ok(reply.send("answer"))
    });
    let (mut busy, mut idle) = (service.connection(), service.connection());
    busy.expect_next();
    idle.expect_next();
    busy.send(Event::new("id-1", "").bytes());
    has_begun.wait();
    run.stop_handle().stop();
    idle.expect_end();
    busy.expect_silence();
    may_answer.open();
    busy.request().assert_response("id-1");
    busy.take_answer();
    run.end().unwrap();
}

#[test]
fn stopping_twice_is_stopping_once() {
    let service = Service::start();
    let run = service.run(|_, reply| Ok(reply.send("")));
    service.connection().expect_next();
    let handle = run.stop_handle().clone();
    assert!(!handle.is_stopping());
    handle.stop();
    handle.stop();
    assert!(handle.is_stopping());
    run.end().unwrap();
    handle.stop();
}

/// Stops runtimes, each a little later in the life of its first invocation, and returns what they
/// have logged.
fn stop_at_many_moments() -> Vec<String> {
    let mut lines = Vec::new();
    for round in 0..200 {
        let service = Service::start();
        let run = service.run(|_, reply| Ok(reply.send("")));
        let logged = service.lines().clone();
        thread::spawn(move || {
            while let Some(mut connection) = service.connection_within(PATIENCE) {
                connection.serve_until_it_ends();
            }
        });
        for _ in 0..round * 100 {
            std::hint::spin_loop();
        }
        run.stop_handle().stop();
        run.end().unwrap_or_else(|error| panic!("round {round}: {error}"));
        lines.extend(logged.all());
    }
    lines
}

#[test]
fn a_stop_at_any_moment_ends_the_run() {
    stop_at_many_moments();
}

#[test]
fn a_stop_at_any_moment_leaves_the_connection_of_an_answer_alone() {
    assert_eq!(stop_at_many_moments(), [""; 0]);
}
