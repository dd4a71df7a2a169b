//! Many slots on one thread: each answer belongs to its slot.

mod support;

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::thread;

use lambda_proto_mio::{Invocation, Responder};
use lambda_proto_service::{Connection, Event as Incoming, Service};
use support::{Dice, Host, run, runtime};

const SLOTS: usize = 16;

/// Sends each connection its own event, in a random order.
fn invoke_all(connections: &mut [Connection], round: usize, dice: &mut Dice) {
    let mut order: Vec<_> = (0..connections.len()).collect();
    dice.shuffle(&mut order);
    for number in order {
        let event = Incoming::new(&id(number), format!("event {round}.{number}"));
        connections[number].send(event.bytes());
    }
}

fn id(number: usize) -> String {
    format!("id-{number:02}")
}

/// Checks that each connection carries the answer to its own event.
#[track_caller]
fn take_all(connections: &mut [Connection], round: usize) {
    for (number, connection) in connections.iter_mut().enumerate() {
        let request = connection.request();
        request.assert_response(&id(number));
        let expected = format!("answer to event {round}.{number}");
        assert_eq!(request.body, expected.as_bytes());
        connection.take_answer();
        connection.expect_next();
    }
}

fn answer(invocation: &Invocation, responder: Responder) {
    responder.send([b"answer to ".as_slice(), invocation.body()].concat());
}

#[test]
fn answers_in_any_order_go_out_each_on_its_own_connection() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), SLOTS));
    let mut connections = service.open_slots(SLOTS);
    service.expect_no_connection();
    let mut dice = Dice::new(1);
    for round in 0..10 {
        invoke_all(&mut connections, round, &mut dice);
        let mut all = host.invocations(SLOTS);
        let slots: BTreeSet<_> =
            all.iter().map(|(invocation, _)| invocation.key().slot()).collect();
        assert_eq!(slots, (0..SLOTS).collect(), "each in its own slot");
        if round == 0 {
            all.reverse();
        } else {
            dice.shuffle(&mut all);
        }
        for (invocation, responder) in all {
            assert_eq!(invocation.key(), responder.key());
            answer(&invocation, responder);
        }
        take_all(&mut connections, round);
        let keys: BTreeSet<_> = (0..SLOTS).map(|_| host.answered().0.slot()).collect();
        assert_eq!(keys.len(), SLOTS, "one receipt for each");
    }
    host.stop();
}

#[test]
fn answers_from_many_threads_at_the_same_time_go_out_each_on_its_own_connection() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), SLOTS));
    let mut connections = service.open_slots(SLOTS);
    let mut dice = Dice::new(2);
    for round in 0..20 {
        invoke_all(&mut connections, round, &mut dice);
        let mut all = host.invocations(SLOTS);
        dice.shuffle(&mut all);
        thread::scope(|scope| {
            for _ in 0..8 {
                let mine = all.split_off(all.len() - SLOTS / 8);
                scope.spawn(move || {
                    mine.into_iter().for_each(|(i, responder)| answer(&i, responder));
                });
            }
        });
        take_all(&mut connections, round);
        for _ in 0..SLOTS {
            host.answered();
        }
    }
    host.stop();
}

#[test]
fn a_handler_may_keep_responders_and_use_them_in_a_later_call() {
    let service = Service::start();
    let mut kept = Vec::new();
    let run = run(service.place(), SLOTS, move |invocation, responder| {
        let (responder, sent) = responder.defer();
        kept.push((invocation, responder));
        if kept.len() == SLOTS {
            kept.drain(..).rev().for_each(|(invocation, responder)| answer(&invocation, responder));
        }
        Ok(sent)
    });
    let mut connections = service.open_slots(SLOTS);
    for round in 0..5 {
        invoke_all(&mut connections, round, &mut Dice::new(3));
        take_all(&mut connections, round);
    }
    run.stop();
}

#[test]
fn a_handler_may_give_everything_to_workers() {
    let service = Service::start();
    let (sender, work) = channel::<(Invocation, Responder)>();
    let worker =
        thread::spawn(move || work.iter().for_each(|(i, responder)| answer(&i, responder)));
    let run = run(service.place(), SLOTS, move |invocation, responder| {
        let (responder, sent) = responder.defer();
        sender.send((invocation, responder)).unwrap();
        Ok(sent)
    });
    let mut connections = service.open_slots(SLOTS);
    for round in 0..5 {
        invoke_all(&mut connections, round, &mut Dice::new(4));
        take_all(&mut connections, round);
    }
    run.stop();
    worker.join().unwrap();
}

#[test]
fn one_slot_serves_invocations_while_the_others_are_in_flight() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 3));
    let mut connections = service.open_slots(3);
    connections[0].send(Incoming::new("slow", "").bytes());
    let (_, slow) = host.invocation();
    connections[1].send(Incoming::new("slower", "").bytes());
    let (_, slower) = host.invocation();
    for round in 0..50 {
        let id = format!("quick-{round}");
        connections[2].send(Incoming::new(&id, "").bytes());
        let (_, responder) = host.invocation();
        responder.send_and_next(id.as_bytes());
        connections[2].request().assert_response(&id);
        connections[2].expect_next();
        connections[2].take_answer();
        host.answered();
    }
    slower.send("");
    connections[1].request().assert_response("slower");
    slow.send("");
    connections[0].request().assert_response("slow");
    host.tell_to_stop();
    connections.iter_mut().take(2).for_each(Connection::take_answer);
    host.answered();
    host.answered();
    host.end().unwrap();
}

#[test]
fn two_attempts_of_one_invocation_each_echo_their_own_id() {
    const ATTEMPT: &str = "Lambda-Runtime-Invocation-Id";
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 2));
    let mut connections = service.open_slots(2);
    for (attempt, connection) in ["attempt-a", "attempt-b"].iter().zip(&mut connections) {
        connection.send(Incoming::new("same", *attempt).header(ATTEMPT, attempt).bytes());
    }
    let (one, other) = (host.invocation(), host.invocation());
    assert_eq!(one.0.request_id(), other.0.request_id());
    assert_ne!(one.0.key(), other.0.key());
    for (invocation, responder) in [other, one] {
        assert_eq!(invocation.head().attempt_id(), Some(invocation.body()));
        responder.send(invocation.body());
    }
    for (attempt, connection) in ["attempt-a", "attempt-b"].iter().zip(&mut connections) {
        let request = connection.request();
        request.assert_response("same");
        assert_eq!(request.header(ATTEMPT), Some(*attempt));
        assert_eq!(request.body, attempt.as_bytes());
    }
}

#[test]
fn the_trace_id_stays_in_the_invocation() {
    const TRACE: &str = "Lambda-Runtime-Trace-Id";
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 2));
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("id-0", "").header(TRACE, "Root=1-0;Sampled=1").bytes());
    connections[1].send(Incoming::new("id-1", "").header(TRACE, "Root=1-1;Sampled=1").bytes());
    for (number, (invocation, responder)) in host.invocations(2).into_iter().enumerate() {
        let expected = format!("Root=1-{number};Sampled=1");
        assert_eq!(invocation.head().trace_id(), Some(expected.as_str()));
        // One variable cannot hold a value that differs from slot to slot.
        assert_eq!(std::env::var_os("_X_AMZN_TRACE_ID"), None);
        responder.send("");
    }
}

#[test]
fn invocations_outlive_their_answers() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 1));
    let mut connection = service.connection();
    let mut kept = Vec::new();
    for round in 0..20 {
        let body = vec![round; 20_000];
        connection.invoke(Incoming::new(&format!("id-{round}"), body));
        let (invocation, responder) = host.invocation();
        kept.push(invocation);
        responder.send("");
        connection.request();
        connection.take_answer();
        host.answered();
    }
    for (round, invocation) in kept.iter().enumerate() {
        assert_eq!(invocation.request_id(), format!("id-{round}"));
        assert_eq!(invocation.body(), vec![round as u8; 20_000]);
    }
    connection.expect_next();
    host.stop();
}
