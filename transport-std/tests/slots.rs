//! Several invocations at once: a thread and a connection for each slot.

mod support;

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use lambda_proto_std::Failure;

use support::{Connection, Event, Gate, Service};

/// The connections of all slots, each with its `next` open.
fn open_slots(service: &Service, slots: usize) -> Vec<Connection> {
    let mut connections: Vec<_> = (0..slots).map(|_| service.connection()).collect();
    for connection in &mut connections {
        connection.expect_next();
    }
    connections
}

#[test]
fn each_slot_has_a_next_open_on_a_connection_of_its_own() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(8), |_, reply| Ok(reply.send("")));
    let _connections = open_slots(&service, 8);
    service.expect_no_connection();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn no_slots_are_one_slot() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(0), |_, reply| Ok(reply.send("")));
    let _connections = open_slots(&service, 1);
    service.expect_no_connection();
    run.stop();
}

#[test]
fn handlers_run_at_the_same_time() {
    let service = Service::start();
    let barrier = Arc::new(Barrier::new(4));
    let meeting = barrier.clone();
    let run = service.run_as(service.runtime().slots(4), move |invocation, reply| {
        meeting.wait();
        Ok(reply.send(invocation.body()))
    });
    let mut connections = open_slots(&service, 4);
    for (slot, connection) in connections.iter_mut().enumerate() {
        connection.send(Event::new(&format!("id-{slot}"), format!("event {slot}")).bytes());
    }
    for (slot, connection) in connections.iter_mut().enumerate() {
        let response = connection.request();
        response.assert_response(&format!("id-{slot}"));
        assert_eq!(response.body, format!("event {slot}").as_bytes());
        connection.take_answer();
    }
    run.stop();
}

#[test]
fn a_failing_handler_leaves_the_other_slots_alone() {
    let service = Service::start();
    let run =
        service.run_as(service.runtime().slots(2), |invocation, reply| match invocation.body() {
            b"panic" => panic!("told to"),
            b"fail" => Err(Failure::new("Function.Told", "to")),
            body => Ok(reply.send(body)),
        });
    let mut connections = open_slots(&service, 2);
    for (body, error_type) in [("panic", "Function.Panic"), ("fail", "Function.Told")] {
        connections[0].send(Event::new("id-1", body).bytes());
        connections[1].send(Event::new("id-2", "fine").bytes());
        connections[0].request().assert_error("id-1", error_type);
        connections[1].request().assert_response("id-2");
        for connection in &mut connections {
            connection.take_answer();
            connection.expect_next();
        }
    }
    let lines = run.stop();
    assert!(lines.iter().all(|line| line.contains("id-1: failed: ")), "{lines:?}");
}

#[test]
fn a_lost_connection_of_one_slot_leaves_the_others_alone() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(2), |_, reply| Ok(reply.send("")));
    let mut connections = open_slots(&service, 2);
    drop(connections.remove(0));
    let mut replacement = service.connection();
    replacement.expect_next();
    connections[0].send(Event::new("id-1", "").bytes());
    connections[0].request().assert_response("id-1");
    connections[0].take_answer();
    connections[0].expect_next();
    service.expect_no_connection();
    run.stop();
}

#[test]
fn a_500_ends_the_run_when_what_is_in_hand_has_been_answered() {
    let service = Service::start();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = service.run_as(service.runtime().slots(3), move |_, reply| {
        begins.open();
        waits.wait();
        Ok(reply.send("answer"))
    });
    let mut connections = open_slots(&service, 3);
    connections[1].send(Event::new("id-1", "").bytes());
    has_begun.wait();
    connections[0].refuse(500, "InternalServerError", "no");
    connections[0].expect_end();
    connections[2].expect_end();
    may_answer.open();
    connections[1].request().assert_response("id-1");
    connections[1].take_answer();
    let error = run.error();
    assert!(error.contains("next was answered with 500"), "{error}");
    service.expect_no_connection();
}

#[test]
fn a_slot_whose_connection_speaks_nonsense_begins_anew_and_leaves_the_others_alone() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(2), |_, reply| Ok(reply.send("")));
    let mut connections = open_slots(&service, 2);
    connections[0].send("220 mail.example.com ESMTP\r\n");
    connections[0].expect_end();
    connections[1].send(Event::new("id-1", "").bytes());
    connections[1].request().assert_response("id-1");
    connections[1].take_answer();
    connections[1].expect_next();
    service.connection().expect_next();
    let lines = run.stop();
    assert!(lines.len() == 1 && lines[0].contains("begins anew: "), "{lines:?}");
}

#[test]
fn an_error_of_one_slot_is_returned_although_the_others_were_stopped() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(2), |_, reply| Ok(reply.send("")));
    let mut connections = open_slots(&service, 2);
    connections[0].refuse(500, "InternalServerError", "no");
    service.lines().wait_for("has ended");
    run.stop_handle().stop();
    let error = run.error();
    assert!(error.contains("next was answered with 500"), "{error}");
}

#[test]
fn with_several_slots_a_403_on_next_is_asked_again_with_pauses() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(2), |_, reply| Ok(reply.send("")));
    let mut connections = open_slots(&service, 2);
    let began = Instant::now();
    for _ in 0..3 {
        connections.remove(0).refuse(403, "InvalidStateTransition", "not now");
        let mut connection = service.connection();
        connection.expect_next();
        connections.insert(0, connection);
    }
    assert!(began.elapsed() >= Duration::from_millis(175), "{:?}", began.elapsed());
    connections[0].send(Event::new("id-1", "").bytes());
    connections[0].request().assert_response("id-1");
    connections[0].take_answer();
    run.stop();
}

#[test]
fn each_slot_gives_up_a_service_that_is_gone() {
    let service = Service::start();
    let gone = std::net::TcpListener::bind("127.0.2.1:0").unwrap().local_addr().unwrap();
    let runtime = support::runtime_at(&gone.to_string(), service.lines()).slots(3);
    let run = service
        .run_as(runtime.give_up_after(Duration::from_millis(100)), |_, reply| Ok(reply.send("")));
    let error = run.error();
    assert!(error.contains("giving up"), "{error}");
    let lines = service.lines().all();
    assert_eq!(lines.iter().filter(|line| line.contains("has ended")).count(), 3, "{lines:?}");
}
