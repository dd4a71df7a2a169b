//! Responders, in handlers and on other threads, and the receipts of their answers.

mod support;

use std::panic::panic_any;
use std::sync::mpsc::channel;
use std::thread;

use lambda_proto_mio::{ContentType, Failure, Invocation, Receipt, Responder, Sent};
use lambda_proto_service::{Connection, Event as Incoming, MOMENT, Outcome, Service};
use serde_json::{Value, json};
use support::{Host, Turner, run, runtime};

fn start(slots: usize) -> (Service, Host, Vec<Connection>) {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), slots));
    let connections = service.open_slots(slots);
    (service, host, connections)
}

/// Serves an event to a handler in the runtime's own loop.
fn outcome_of(
    handler: impl FnMut(Invocation, Responder) -> Result<Sent, Failure> + Send + 'static,
) -> Outcome {
    let service = Service::start();
    let run = run(service.place(), 1, handler);
    Outcome::of(&service, run, Incoming::new("id-1", r#"{"n":1}"#))
}

#[test]
fn a_dropped_responder_is_an_error_of_its_invocation() {
    let (_service, host, mut connections) = start(3);
    connections[1].send(Incoming::new("id-1", "").bytes());
    connections[2].send(Incoming::new("id-2", "").bytes());
    let mut both = host.invocations(2);
    let (_, kept) = both.pop().unwrap();
    let key = both[0].1.key();
    drop(both);
    connections[1].request().assert_error("id-1", "Runtime.NoResponse");
    connections[1].take_answer();
    assert_eq!(host.status(key), 202);
    connections[1].expect_next();
    connections[2].expect_silence();
    kept.send("");
    connections[2].request().assert_response("id-2");
}

#[test]
fn a_responder_dropped_on_another_thread_is_an_error_of_its_invocation() {
    let (service, host, mut connections) = start(1);
    connections[0].send(Incoming::new("id-1", "").bytes());
    let (invocation, responder) = host.invocation();
    let key = responder.key();
    thread::spawn(move || drop((invocation, responder))).join().unwrap();
    connections[0].request().assert_error("id-1", "Runtime.NoResponse");
    connections[0].take_answer();
    assert_eq!(host.status(key), 202);
    service.lines().wait_for("invocation id-1: the handler gave no answer");
    connections[0].expect_next();
    host.stop();
}

#[test]
fn a_handler_that_drops_its_responder_fails_its_invocation() {
    let outcome = outcome_of(|_, responder| Ok(responder.defer().1));
    outcome.request.assert_error("id-1", "Runtime.NoResponse");
}

#[test]
fn a_handler_that_panics_fails_its_invocation_with_its_message() {
    let mut is_first = true;
    let outcome = outcome_of(move |_, responder| {
        if std::mem::take(&mut is_first) {
            let _reply = responder;
            panic!("no {} today", "luck");
        }
        unreachable!("there is one invocation");
    });
    outcome.request.assert_error("id-1", "Function.Panic");
    assert_eq!(outcome.request.json()["errorMessage"], "no luck today");
}

#[test]
fn the_loop_continues_after_panics_of_every_kind() {
    let service = Service::start();
    let run = run(service.place(), 2, |invocation, responder| match invocation.body() {
        b"text" => panic!("text"),
        b"thing" => panic_any(7),
        b"streaming" => {
            let mut stream = responder.stream(ContentType::OCTET_STREAM);
            stream.try_write(b"begun").unwrap();
            panic!("in the middle");
        }
        body => Ok(responder.send(body)),
    });
    let mut connections = service.open_slots(2);
    for (body, message) in [("text", "text"), ("thing", "the handler panicked")] {
        let connection = &mut connections[1];
        connection.send(Incoming::new("id-1", body).bytes());
        let request = connection.request();
        request.assert_error("id-1", "Function.Panic");
        assert_eq!(request.json()["errorMessage"], message);
        connection.take_answer();
        connection.expect_next();
    }
    connections[1].send(Incoming::new("id-1", "streaming").bytes());
    let request = connections[1].request();
    assert_eq!(request.body, b"begun");
    assert_eq!(request.trailer_error()["errorType"], "Function.Panic");
    assert_eq!(request.trailer_error()["errorMessage"], "in the middle");
    connections[1].take_answer();
    connections[0].send(Incoming::new("id-2", "well").bytes());
    assert_eq!(connections[0].request().body, b"well");
    connections[0].take_answer();
    run.stop();
}

#[test]
fn a_handler_that_panics_after_its_answer_changes_nothing_for_the_caller() {
    let outcome = outcome_of(|_, responder| {
        responder.send("sent");
        panic!("too late");
    });
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.body, b"sent");
    let line = "a handler failed after its invocation was answered: Function.Panic: too late";
    assert!(outcome.lines.iter().any(|other| other == line), "{:?}", outcome.lines);
}

#[test]
fn a_worker_that_panics_with_the_responder_fails_its_invocation() {
    let (_service, host, mut connections) = start(2);
    for is_streaming in [false, true] {
        connections[0].send(Incoming::new("id-1", "").bytes());
        let (_, responder) = host.invocation();
        let key = responder.key();
        let worker = thread::spawn(move || {
            if is_streaming {
                let mut stream = responder.stream(ContentType::OCTET_STREAM);
                stream.try_write(b"begun").unwrap();
                panic!("a worker panics in the middle");
            }
            let _reply = responder;
            panic!("a worker panics");
        });
        assert!(worker.join().is_err());
        let request = connections[0].request();
        if is_streaming {
            assert_eq!(request.body, b"begun");
            assert_eq!(request.trailer_error()["errorType"], "Function.Panic");
        } else {
            request.assert_error("id-1", "Function.Panic");
        }
        connections[0].take_answer();
        assert_eq!(host.status(key), 202);
        connections[0].expect_next();
    }
}

#[test]
fn failures_are_reported_with_their_type_and_message() {
    let (service, host, mut connections) = start(2);
    connections[0].send(Incoming::new("id-1", "").bytes());
    let (_, responder) = host.invocation();
    responder.fail(Failure::new("Function.Sad", "no luck"));
    let request = connections[0].request();
    request.assert_error("id-1", "Function.Sad");
    assert_eq!(request.json()["errorMessage"], "no luck");
    service.lines().wait_for("invocation id-1: failed: Function.Sad: no luck");
}

#[test]
fn the_receipt_of_an_answer_comes_once_with_its_key() {
    let (service, host, mut connections) = start(4);
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.send(Incoming::new(&format!("id-{number}"), "").bytes());
    }
    let all = host.invocations(4);
    let keys: Vec<_> = all.iter().map(|(_, responder)| responder.key()).collect();
    let mut replies = all.into_iter().map(|(_, responder)| responder);
    host.expect_nothing();

    replies.next().unwrap().send("taken");
    connections[0].request();
    host.expect_nothing();
    connections[0].take_answer();
    assert_eq!(host.status(keys[0]), 202);

    replies.next().unwrap().send("refused");
    connections[1].request();
    connections[1].refuse(413, "RequestEntityTooLarge", "too much");
    assert_eq!(host.status(keys[1]), 413);
    service.lines().wait_for("too much");

    replies.next().unwrap().send_and_next("pipelined");
    assert_eq!(host.answered(), (keys[2], Receipt::Pipelined));
    connections[2].request();
    connections[2].expect_next();
    connections[2].take_answer();

    replies.next().unwrap().send("lost");
    connections.pop().unwrap().reset_behind_request();
    // Without an attempt id the service cannot recognise a copy, so the answer is not sent again.
    assert_eq!(host.answered(), (keys[3], Receipt::FateUnknown));
    service.connection().expect_next();
    host.expect_nothing();
    host.stop();
}

#[test]
fn an_answer_that_is_sent_again_has_one_receipt() {
    let (service, host, mut connections) = start(1);
    connections[0].send(Incoming::new("id-1", "").bytes());
    let (_, responder) = host.invocation();
    let key = responder.key();
    responder.send("again");
    connections.pop().unwrap().reset_behind_request();
    let mut connection = service.connection();
    let request = connection.request();
    request.assert_response("id-1");
    assert_eq!(request.body, b"again");
    host.expect_nothing();
    connection.take_answer();
    assert_eq!(host.status(key), 202);
    connection.expect_next();
    host.stop();
}

#[test]
fn keys_distinguish_the_invocations_of_one_slot() {
    let (_service, host, mut connections) = start(1);
    let mut keys = Vec::new();
    for _ in 0..5 {
        connections[0].send(Incoming::new("same", "").bytes());
        let (_, responder) = host.invocation();
        let key = responder.key();
        assert!(!keys.contains(&key));
        keys.push(key);
        responder.send("");
        connections[0].request();
        connections[0].take_answer();
        assert_eq!(host.status(key), 202);
        connections[0].expect_next();
    }
    assert!(keys.iter().all(|key| key.slot() == 0));
    host.stop();
}

#[test]
fn a_hold_keeps_the_slot_from_asking_until_it_is_dropped() {
    let (_service, host, mut connections) = start(2);
    for is_elsewhere in [false, true] {
        connections[0].send(Incoming::new("id-1", "").bytes());
        let (_, responder) = host.invocation();
        let key = responder.key();
        let hold = responder.send_and_hold("held");
        assert_eq!(connections[0].request().body, b"held");
        connections[0].take_answer();
        assert_eq!(host.status(key), 202, "the caller has its answer");
        connections[0].expect_silence();
        // The other slot continues.
        connections[1].send(Incoming::new("id-2", "").bytes());
        host.invocation().1.send("");
        connections[1].request();
        connections[1].take_answer();
        host.answered();
        connections[1].expect_next();
        connections[0].expect_silence();
        if is_elsewhere {
            thread::spawn(move || drop(hold)).join().unwrap();
        } else {
            drop(hold);
        }
        connections[0].expect_next();
    }
    host.stop();
}

#[test]
fn a_hold_that_is_dropped_immediately_holds_nothing() {
    let (_service, host, mut connections) = start(1);
    connections[0].send(Incoming::new("id-1", "").bytes());
    drop(host.invocation().1.send_and_hold("held"));
    connections[0].request();
    connections[0].expect_silence();
    connections[0].take_answer();
    host.answered();
    connections[0].expect_next();
    host.stop();
}

#[test]
fn a_hold_outlives_the_connection() {
    let (service, host, mut connections) = start(2);
    connections[0].send(Incoming::new("id-1", "").bytes());
    let hold = host.invocation().1.send_and_hold("held");
    connections[0].request();
    connections[0].take_answer();
    host.answered();
    connections.remove(0).close();
    service.expect_no_connection();
    drop(hold);
    service.connection().expect_next();
    host.stop();
}

#[test]
fn an_old_hold_does_not_concern_the_next_invocation() {
    let (_service, host, mut connections) = start(1);
    let connection = &mut connections[0];
    connection.send(Incoming::new("id-1", "").bytes());
    let first = host.invocation().1.send_and_hold("one");
    connection.request();
    connection.take_answer();
    host.answered();
    drop(first);
    connection.invoke(Incoming::new("id-2", ""));
    let second = host.invocation().1.send_and_hold("two");
    connection.request();
    connection.take_answer();
    host.answered();
    connection.expect_silence();
    drop(second);
    connection.expect_next();
    host.stop();
}

#[test]
fn json_comes_in_and_goes_out() {
    let outcome = outcome_of(|invocation, responder| {
        let event: Value = invocation.json().unwrap();
        responder.json(json!({ "twice": event["n"].as_i64().unwrap() * 2 }))
    });
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.header("Content-Type"), Some("application/json"));
    assert_eq!(outcome.request.json(), json!({ "twice": 2 }));
}

#[test]
fn an_event_of_another_shape_is_a_failure_that_says_where() {
    let outcome = outcome_of(|invocation, responder| match invocation.json::<Vec<u8>>() {
        Ok(_) => panic!("an object is not a list"),
        Err(failure) => Ok(responder.fail(&failure)),
    });
    outcome.request.assert_error("id-1", "Runtime.UnmarshalError");
    assert!(outcome.request.json()["errorMessage"].as_str().unwrap().contains("line 1"));
}

#[test]
fn an_event_that_nests_without_end_is_a_failure_and_the_next_one_is_answered() {
    let service = Service::start();
    let run = run(service.place(), 1, |invocation, responder| {
        responder.json(&invocation.json::<Value>()?)
    });
    let mut connection = service.connection();
    for nested in ["[".repeat(100_000), "[".repeat(100_000) + &"]".repeat(100_000)] {
        connection.invoke(Incoming::new("id-1", nested));
        connection.request().assert_error("id-1", "Runtime.UnmarshalError");
        connection.take_answer();
    }
    connection.invoke(Incoming::new("id-2", "[[1]]"));
    assert_eq!(connection.request().json(), json!([[1]]));
    connection.take_answer();
    run.stop();
}

#[test]
fn a_value_that_cannot_be_json_fails_its_invocation() {
    let outcome =
        outcome_of(|_, responder| responder.json(std::collections::BTreeMap::from([(vec![1], 2)])));
    outcome.request.assert_error("id-1", "Runtime.MarshalError");
}

#[test]
fn a_buffer_from_the_pool_is_empty_and_goes_back_after_the_answer() {
    let (_service, host, mut connections) = start(1);
    let connection = &mut connections[0];
    let mut was = None;
    for round in 0..3 {
        connection.send(Incoming::new("id-1", "").bytes());
        let (_, responder) = host.invocation();
        let mut body = responder.buffer();
        assert!(body.is_empty());
        body.reserve(10_000);
        let place = body.as_ptr();
        assert_eq!(*was.get_or_insert(place), place, "the same memory again");
        body.extend(format!("round {round}").bytes());
        responder.send(body);
        assert_eq!(connection.request().body, format!("round {round}").as_bytes());
        connection.take_answer();
        host.answered();
        connection.expect_next();
    }
    host.stop();
}

#[test]
fn bodies_of_every_kind_are_sent() {
    let (_service, host, mut connections) = start(1);
    let connection = &mut connections[0];
    for kind in 0..4 {
        connection.send(Incoming::new("id-1", "the event").bytes());
        let (invocation, responder) = host.invocation();
        match kind {
            0 => responder.send(invocation.body()),
            1 => responder.send("the event".to_owned()),
            2 => responder.send(b"the event"),
            _ => responder.send(invocation.body().to_vec()),
        };
        assert_eq!(connection.request().body, b"the event");
        connection.take_answer();
        host.answered();
        connection.expect_next();
    }
    host.stop();
}

#[test]
fn a_failed_start_is_reported_by_the_first_of_many_slots() {
    let service = Service::start();
    let runtime = runtime(service.place(), 8);
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(runtime.init(|| Err::<(), _>(Failure::new("A.B", "no")))));
    let mut connection = service.connection();
    connection.request().assert_init_error("A.B");
    connection.take_answer();
    let error = ended.recv_timeout(lambda_proto_service::PATIENCE).unwrap().unwrap_err();
    assert!(error.to_string().contains("A.B: no"), "{error}");
    service.expect_no_connection();
}

#[test]
fn events_come_in_the_order_in_which_things_happen() {
    let service = Service::start();
    let mut turner = Turner::new(runtime(service.place(), 1));
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    let (_, responder) = turner.invocation();
    responder.send_and_next("");
    // The reply and the next event arrive in one segment.
    turner.turn(MOMENT);
    assert!(matches!(
        turner.slots.next_event(std::time::Instant::now()),
        Some(lambda_proto_mio::Event::Settled { .. })
    ));
    connection.request();
    connection.expect_next();
    let event = Incoming::new("id-2", "").bytes();
    connection.send([lambda_proto_service::TAKEN.as_bytes(), &event].concat());
    assert_eq!(turner.invocation().0.request_id(), "id-2");
}
