//! Programs that wait for an invocation, and look at it and answer it later or elsewhere.

#[path = "loops/awaiting.rs"]
#[allow(dead_code, reason = "the scripts of the drivers use the rest")]
mod loops;
mod memory;

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use lambda_proto::api::ContentType;
use lambda_proto::async_driver::{Driver, DriverError};
use lambda_proto::client::Receipt;
use lambda_proto::machine::Machine;
use memory::{ACCEPTED, Memory, Script, endpoint, event};

fn memory() -> Memory {
    Memory::new(4096, 4096)
}

fn driver(script: Script) -> Driver<Script, Memory> {
    Driver::new(Machine::new(endpoint()), script, memory(), memory())
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn poll<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return output;
        }
    }
}

/// Waits for an invocation, with a new future for each poll. Returns the number of those dropped.
fn wait_with_new_futures(driver: &mut Driver<Script, Memory>) -> usize {
    let mut dropped = 0;
    loop {
        match poll_once(driver.wait()) {
            Poll::Ready(has_arrived) => {
                assert_eq!(has_arrived, Ok(true));
                return dropped;
            }
            Poll::Pending => dropped += 1,
        }
    }
}

#[test]
fn a_wait_that_is_dropped_and_called_again_loses_nothing() {
    let first = event("a", b"1");
    let second = [ACCEPTED, &event("b", b"2")].concat();
    let reads: Vec<&[u8]> = first.chunks(3).chain(second.chunks(4)).collect();
    let mut script = Script::new(&[&reads]);
    script.connection(0).takes = 5;
    let seen = script.seen.clone();
    let mut driver = driver(script);
    // It connects, and asks in writes of 5 bytes.
    assert!(wait_with_new_futures(&mut driver) > first.len() / 3);
    let (invocation, responder) = driver.in_flight().unwrap();
    assert_eq!((invocation.request_id(), invocation.body()), ("a", &b"1"[..]));
    assert_eq!(poll(responder.send_and_next(invocation.body())).receipt(), Receipt::Pipelined);
    assert!(wait_with_new_futures(&mut driver) > second.len() / 4);
    let (invocation, _) = driver.in_flight().unwrap();
    assert_eq!((invocation.request_id(), invocation.body()), ("b", &b"2"[..]));
    let seen = seen.borrow();
    let requests = ["GET /invocation/next", "POST /invocation/a/response", "GET /invocation/next"];
    assert_eq!(seen.requests(0), requests);
    assert_eq!(seen.losses, [0]);
    assert!(seen.warnings.is_empty(), "{:?}", seen.warnings);
}

#[test]
fn a_taken_event_leaves_its_responder_and_outlives_the_invocation() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED, &event("b", b"2"), ACCEPTED]]);
    let seen = script.seen.clone();
    let mut driver = driver(script);
    assert_eq!(poll(driver.wait()), Ok(true));
    let held = driver.take_event(memory()).expect("it is in flight");
    assert!(driver.take_event(memory()).is_none());
    assert!(driver.in_flight().is_none() && driver.invocation().is_none());
    let responder = driver.responder().expect("nothing is answered");
    let sent = poll(responder.send(held.invocation().body()));
    assert!(matches!(sent.receipt(), Receipt::Known(outcome) if outcome.is_accepted()));
    assert!(driver.take_event(memory()).is_none());
    let (invocation, responder) = poll(driver.next()).unwrap().expect("there is another one");
    assert_eq!((invocation.request_id(), invocation.body()), ("b", &b"2"[..]));
    let held = held.invocation();
    assert_eq!((held.request_id(), held.body()), ("a", &b"1"[..]));
    poll(responder.send(held.body()));
    let seen = seen.borrow();
    let answers = ["POST /invocation/a/response", "POST /invocation/b/response"];
    assert_eq!([&seen.requests(0)[1], &seen.requests(0)[3]], answers);
    assert!(seen.text(0).ends_with("\r\n\r\n1"));
    assert!(seen.warnings.is_empty(), "{:?}", seen.warnings);
}

#[test]
fn what_is_in_flight_can_be_had_until_an_answer_begins() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED, &event("b", b"2"), ACCEPTED]]);
    let mut driver = driver(script);
    assert!(driver.in_flight().is_none());
    assert_eq!(poll(driver.wait()), Ok(true));
    assert!(driver.in_flight().is_some());
    let (_, responder) = driver.in_flight().expect("looking changes nothing");
    poll(responder.send(b"x"));
    assert!(driver.in_flight().is_none());
    assert_eq!(poll(driver.wait()), Ok(true));
    let (invocation, responder) = driver.in_flight().unwrap();
    assert_eq!(invocation.request_id(), "b");
    let _unfinished = responder.stream(ContentType::TEXT);
    assert!(driver.in_flight().is_none());
    let sent = poll(driver.stream().expect("it has begun").finish());
    assert!(matches!(sent.receipt(), Receipt::Known(outcome) if outcome.is_accepted()));
}

#[test]
fn a_response_that_was_dropped_before_its_first_byte_leaves_the_event() {
    for is_taken in [false, true] {
        let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
        let seen = script.seen.clone();
        let mut driver = driver(script);
        assert_eq!(poll(driver.wait()), Ok(true));
        let (_, responder) = driver.in_flight().unwrap();
        assert!(poll_once(responder.send(b"dropped")).is_pending());
        if is_taken {
            let held = driver.take_event(memory()).expect("nothing is answered");
            poll(driver.responder().unwrap().send(held.invocation().body()));
        } else {
            let (invocation, responder) = driver.in_flight().expect("nothing is answered");
            poll(responder.send(invocation.body()));
        }
        let text = seen.borrow().text(0);
        assert!(text.ends_with("\r\n\r\n1") && !text.contains("dropped"), "{text}");
    }
}

#[test]
fn an_invocation_that_was_waited_for_and_not_answered_is_reported() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED, &event("b", b"2")]]);
    let seen = script.seen.clone();
    let mut driver = driver(script);
    assert_eq!(poll(driver.wait()), Ok(true));
    assert_eq!(poll(driver.wait()), Ok(true));
    assert_eq!(driver.in_flight().unwrap().0.request_id(), "b");
    let seen = seen.borrow();
    let requests = ["GET /invocation/next", "POST /invocation/a/error", "GET /invocation/next"];
    assert_eq!(seen.requests(0), requests);
    assert_eq!(seen.warnings, ["invocation a: the handler gave no answer"]);
}

#[test]
fn a_wait_ends_without_an_invocation_when_the_connector_stops_or_gives_up() {
    let script = Script::new(&[]);
    script.is_stopping.set(true);
    let mut stopping = driver(script);
    assert_eq!(poll(stopping.wait()), Ok(false));
    assert!(stopping.in_flight().is_none());
    let ended = poll(driver(Script::new(&[])).wait());
    assert_eq!(ended, Err(DriverError::Connect("the script is over")));
}
