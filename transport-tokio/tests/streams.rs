//! Streamed responses whose pieces are awaited.

mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use lambda_proto_tokio::{ContentType, ResponseStream};
use support::{Event, Gate, Service, invoke_once, is_open};

/// More than the buffers of two sockets hold.
const HUGE: usize = 64 << 20;

#[test]
fn pieces_of_several_slots_are_written_alternately_and_arrive_apart() {
    let service = Service::start();
    let barrier = tokio::sync::Barrier::new(2);
    let run = service.run_as(service.runtime().slots(2), async move |invocation, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        for piece in 0..10 {
            barrier.wait().await;
            stream.write_all(format!("{piece} of {}", invocation.request_id()).as_bytes()).await?;
        }
        Ok(stream.finish().await)
    });
    let mut connections = service.open_slots(2);
    for (slot, connection) in connections.iter_mut().enumerate() {
        connection.send(Event::new(&format!("id-{slot}"), "").bytes());
    }
    for (slot, connection) in connections.iter_mut().enumerate() {
        let request = connection.request();
        let expected: Vec<_> =
            (0..10).map(|piece| format!("{piece} of id-{slot}").into_bytes()).collect();
        assert_eq!(request.chunks, expected);
        connection.take_answer();
        connection.expect_next();
    }
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_caller_that_does_not_read_a_stream_holds_up_no_other_slot() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(2), async |invocation, responder| {
        if invocation.body() != b"huge" {
            return Ok(responder.send("small").await);
        }
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(&vec![b'x'; HUGE]).await?;
        Ok(stream.finish().await)
    });
    let mut connections = service.open_slots(2);
    connections[0].send(Event::new("id-1", "huge").bytes());
    connections[0].head().assert_response("id-1");
    for _ in 0..100 {
        connections[1].send(Event::new("id-2", "").bytes());
        connections[1].request().assert_response("id-2");
        connections[1].take_answer();
        connections[1].expect_next();
    }
    assert_eq!(connections[0].chunk().map(|chunk| chunk.len()), Some(HUGE));
    assert_eq!(connections[0].chunk(), None);
    connections[0].trailers();
    connections[0].take_answer();
    connections[0].expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_piece_whose_future_is_dropped_unpolled_is_not_sent_and_the_stream_continues() {
    let outcome = invoke_once(Event::new("id-1", ""), async |_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(b"one").await?;
        drop(stream.write_all(b"never polled"));
        stream.write_all(b"two").await?;
        Ok(stream.finish().await)
    });
    assert_eq!(outcome.request.chunks, [b"one", b"two"]);
    assert_eq!(outcome.lines, [""; 0]);
}

/// Polls the write of a piece once, which writes a part of it, and drops it.
async fn write_a_part(stream: &mut ResponseStream<'_>) {
    let piece = vec![b'x'; HUGE];
    let mut write = pin!(stream.write_all(&piece));
    poll_fn(|context| {
        assert!(write.as_mut().poll(context).is_pending(), "the sockets hold all of it");
        Poll::Ready(())
    })
    .await;
}

#[test]
fn a_piece_whose_future_is_dropped_in_the_middle_ends_the_stream_and_its_connection() {
    let service = Service::start();
    let run = service.run(async |invocation, responder| {
        if invocation.body() != b"cut" {
            return Ok(responder.send("fine").await);
        }
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(b"one").await?;
        write_a_part(&mut stream).await;
        let error = stream.write_all(b"two").await.expect_err("the stream is over");
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        Ok(stream.finish().await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "cut"));
    connection.head().assert_response("id-1");
    assert_eq!(connection.chunk().as_deref(), Some(&b"one"[..]));
    // The next invocation comes on another connection; the first one ended within a chunk.
    let mut next = service.connection();
    next.invoke(Event::new("id-2", ""));
    next.request().assert_response("id-2");
    next.take_answer();
    next.expect_next();
    let lines = run.stop();
    assert!(lines.len() == 1 && lines[0].starts_with("invocation id-1: "), "{lines:?}");
}

#[test]
fn a_stream_that_is_given_up_after_a_timeout_ends_with_an_error_for_the_caller() {
    let outcome = invoke_once(Event::new("id-1", ""), async |_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(b"one").await?;
        let never = Gate::default();
        // The error of the timeout is the failure.
        tokio::time::timeout(Duration::from_millis(10), is_open(&never)).await?;
        Ok(stream.finish().await)
    });
    assert_eq!(outcome.request.chunks, [b"one"]);
    let error_type = outcome.request.trailer("Lambda-Runtime-Function-Error-Type");
    assert_eq!(error_type, Some("Function.Error"));
}

#[test]
fn the_caller_has_a_piece_while_the_handler_awaits_the_next_one() {
    let service = Service::start();
    let has_read = Gate::default();
    let waits = has_read.clone();
    let run = service.run(async move |_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(b"one").await?;
        is_open(&waits).await;
        stream.write_all(b"two").await?;
        Ok(stream.finish().await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    assert_eq!(connection.chunk().as_deref(), Some(&b"one"[..]));
    has_read.open();
    assert_eq!(connection.chunk().as_deref(), Some(&b"two"[..]));
    assert_eq!(connection.chunk(), None);
    connection.trailers();
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}
