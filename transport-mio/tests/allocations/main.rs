//! Once it is warm, the runtime allocates nothing for an invocation, neither on the thread of the
//! loop nor on a thread that gives the answers.
//!
//! The service runs on the thread of the test, whose allocations are not counted.

mod bench;
mod counting;

use std::io::Write;

use lambda_proto_mio::{ContentType, Failure, Invocation, Responder, Response};
use lambda_proto_service::Event;

use bench::{Bench, Place};
use counting::Count;

/// An event as AWS sends it.
fn event(size: usize) -> Event {
    Event::new("8476a536-e9f4-11e8-9739-2dfe598c3fcd", vec![b'x'; size])
        .header("Content-Type", "application/json")
        .header("Lambda-Runtime-Deadline-Ms", "1795252820229")
        .header("Lambda-Runtime-Invocation-Id", "b8476a53-e9f4-11e8-9739-2dfe598c3fcd")
        .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:1:function:f")
        .header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1")
}

fn echo_slice(invocation: Invocation, responder: Responder) {
    let content_type = invocation.content_type();
    responder.send(Response::from(invocation.body()).content_type(content_type));
}

fn echo_vec(invocation: Invocation, responder: Responder) {
    let mut body = responder.buffer();
    body.extend_from_slice(invocation.body());
    responder.send(body);
}

fn echo_and_next(invocation: Invocation, responder: Responder) {
    let mut body = responder.buffer();
    body.extend_from_slice(invocation.body());
    responder.send_and_next(body);
}

/// The name of a way of answering, and the function that answers.
type Way = (&'static str, fn(Invocation, Responder));

const ECHOES: [Way; 3] = [("slice", echo_slice), ("vec", echo_vec), ("and next", echo_and_next)];

fn fail(_: Invocation, responder: Responder) {
    responder.fail(
        Failure::new("Function.NoSuchTable", "there is no table \"users\"")
            .stack_trace("users::load\nusers::handler\nmain"),
    );
}

fn drop_reply(_: Invocation, responder: Responder) {
    drop(responder);
}

#[cfg(feature = "json")]
fn json(_: Invocation, responder: Responder) {
    responder.json([1, 2, 3]).expect("numbers can be written");
}

/// Streams as much as the queue takes while the loop does not run.
fn stream_small(_: Invocation, responder: Responder) {
    let mut stream = responder.stream(ContentType::TEXT);
    let taken = stream.try_write(&[b'x'; 10_000]).and_then(|_| stream.try_write(b"end"));
    assert_eq!(taken, Ok(3));
    stream.finish();
}

/// Streams more than the queue takes, in small and large pieces.
fn stream_large(_: Invocation, responder: Responder) {
    let mut stream = responder.stream(ContentType::TEXT);
    for _ in 0..1_000 {
        stream.write_all(b"x").expect("it is taken");
    }
    for _ in 0..20 {
        stream.write_all(&[b'x'; 20_000]).expect("it is taken");
    }
    stream.finish();
}

/// Each way to answer, on the loop's thread and on a worker, with 1 slot and with 8.
#[track_caller]
fn assert_allocates_nothing(events: &[Event], rounds: usize, answers: &[Way]) {
    for (name, answer) in answers {
        for (place, slots) in
            [(Place::Loop, 1), (Place::Loop, 8), (Place::Worker, 1), (Place::Worker, 8)]
        {
            // The memory of a pipelined answer is free as soon as it is written, which depends on
            // timing. Answers that wait for their replies need the memory of all slots together.
            let bench = Bench::new(slots).warm_up(echo_vec);
            let count = bench.run(events, rounds, place, *answer);
            assert_eq!(count, Count::default(), "{name}, {place:?}, {slots} slots");
        }
    }
}

#[track_caller]
fn assert_echo_allocates_nothing(size: usize, rounds: usize) {
    assert_allocates_nothing(&[event(size)], rounds, &ECHOES);
}

#[track_caller]
fn assert_echo_of_chunks_allocates_nothing(size: usize, chunk: usize, rounds: usize) {
    assert_allocates_nothing(&[event(size).chunked(chunk)], rounds, &ECHOES);
}

#[test]
fn the_meter_sees_allocations_on_both_threads() {
    let allocating = |invocation: Invocation, responder: Responder| {
        let copy = std::hint::black_box(invocation.body().to_vec());
        responder.send(&copy);
    };
    for place in [Place::Loop, Place::Worker] {
        let count = Bench::new(2).run(&[event(1)], 10, place, allocating);
        assert_eq!(count, Count { allocations: 20, bytes: 0 }, "{place:?}");
    }
}

#[test]
fn an_echo_of_128_bytes_allocates_nothing() {
    assert_echo_allocates_nothing(128, 50);
}

#[test]
fn an_echo_of_6_kb_allocates_nothing() {
    assert_echo_allocates_nothing(6_000, 50);
}

#[test]
fn an_echo_of_1_mb_allocates_nothing() {
    assert_echo_allocates_nothing(1_000_000, 5);
}

#[test]
fn an_echo_of_128_bytes_in_a_chunk_allocates_nothing() {
    assert_echo_of_chunks_allocates_nothing(128, 128, 50);
}

#[test]
fn an_echo_of_6_kb_in_chunks_allocates_nothing() {
    assert_echo_of_chunks_allocates_nothing(6_000, 1_000, 50);
}

#[test]
fn an_echo_of_1_mb_in_a_chunk_allocates_nothing() {
    assert_echo_of_chunks_allocates_nothing(1_000_000, 1_000_000, 5);
}

#[test]
fn an_echo_of_1_mb_in_many_chunks_allocates_nothing() {
    assert_echo_of_chunks_allocates_nothing(1_000_000, 4_000, 5);
}

#[test]
fn a_lifecycle_allocates_nothing() {
    for (name, answer) in ECHOES {
        for (place, slots) in [(Place::Loop, 1), (Place::Worker, 1), (Place::Worker, 8)] {
            let bench = Bench::new(slots).lifecycle().warm_up(echo_vec);
            let count = bench.run(&[event(128)], 50, place, answer);
            assert_eq!(count, Count::default(), "{name}, {place:?}, {slots} slots");
        }
    }
}

#[test]
fn an_error_report_of_ordinary_size_allocates_nothing() {
    assert_allocates_nothing(&[event(128)], 50, &[("fail", fail), ("drop", drop_reply)]);
}

#[cfg(feature = "json")]
#[test]
fn json_that_is_written_allocates_nothing() {
    assert_allocates_nothing(&[event(128)], 50, &[("json", json)]);
}

#[test]
fn a_stream_from_the_thread_of_the_loop_allocates_nothing() {
    for slots in [1, 8] {
        let count = Bench::new(slots).run(&[event(128)], 50, Place::Loop, stream_small);
        assert_eq!(count, Count::default(), "{slots} slots");
    }
}

#[test]
fn a_stream_that_waits_for_the_loop_allocates_nothing() {
    for slots in [1, 8] {
        let bench = Bench::new(slots).one_by_one();
        let count = bench.run(&[event(128)], 20, Place::Worker, stream_large);
        assert_eq!(count, Count::default(), "{slots} slots");
    }
}

#[test]
fn memory_is_steady_over_thousands_of_invocations_of_every_size() {
    let events: Vec<_> = [6_000, 0, 1, 100, 2_048, 5_999].map(event).into();
    let mut all: Vec<_> = events.iter().map(|event| event.clone().chunked(1_000)).collect();
    all.extend(events);
    for (place, slots) in [(Place::Loop, 1), (Place::Worker, 8)] {
        let count = Bench::new(slots).run(&all, 4_000 / slots, place, echo_slice);
        assert_eq!(count, Count::default(), "{place:?}, {slots} slots");
    }
}

#[test]
fn all_memory_beyond_the_cap_is_given_back() {
    for place in [Place::Loop, Place::Worker] {
        let count = Bench::new(8).max_pooled(0).run(&[event(6_000)], 150, place, echo_slice);
        assert!(count.allocations >= 150 * 8 * 3, "{count:?}");
        assert_eq!(count.bytes, 0, "{place:?}");
    }
}
