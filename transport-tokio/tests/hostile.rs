//! Services that misbehave in ways that concern a task: they hold up one slot, not the others.

mod support;

use std::time::Duration;

use lambda_proto_tokio::ContentType;
use support::{Event, Service};

/// More than the buffers of two sockets hold.
const HUGE: usize = 64 << 20;

#[test]
fn a_service_that_accepts_and_never_answers_is_waited_for_until_the_stop() {
    let service = Service::start();
    let runtime = service.runtime().give_up_after(Duration::from_millis(1));
    let run = service.run_as(runtime, async |_, responder| Ok(responder.send("").await));
    let mut connection = service.connection();
    connection.expect_next();
    connection.expect_silence();
    service.expect_no_connection();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_service_that_sends_one_byte_at_a_time_holds_up_no_other_slot() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(2), async |invocation, responder| {
        Ok(responder.send(invocation.body()).await)
    });
    let mut connections = service.open_slots(2);
    for byte in Event::new("id-1", "slow").bytes() {
        connections[0].send([byte]);
        connections[1].send(Event::new("id-2", "fast").bytes());
        connections[1].request().assert_response("id-2");
        connections[1].take_answer();
        connections[1].expect_next();
    }
    let request = connections[0].request();
    request.assert_response("id-1");
    assert_eq!(request.body, b"slow");
    connections[0].take_answer();
    connections[0].expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_slot_whose_service_always_has_something_to_read_does_not_starve_the_others() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(2), async |invocation, responder| {
        Ok(responder.send(invocation.body().len().to_string()).await)
    });
    let mut connections = service.open_slots(2);
    let mut busy = connections.remove(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A mebibyte that arrives in chunks of one byte keeps the slot busy.
            busy.send(Event::new("id-1", vec![b'x'; 1 << 20]).chunked(1).bytes());
            assert_eq!(busy.request().body, (1 << 20).to_string().into_bytes());
            busy.take_answer();
            busy.expect_next();
        });
        for _ in 0..20 {
            connections[0].send(Event::new("id-2", "").bytes());
            connections[0].request().assert_response("id-2");
            connections[0].take_answer();
            connections[0].expect_next();
        }
    });
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_service_that_ends_a_stream_and_reads_no_more_of_it_does_not_block_the_slot() {
    let service = Service::start();
    let run = service.run(async |_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        let error = stream.write_all(&vec![b'x'; HUGE]).await.expect_err("it is over");
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        Ok(stream.finish().await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    connection.refuse(413, "RequestEntityTooLarge", "no");
    service.connection().expect_next();
    let lines = run.stop();
    assert!(lines.iter().any(|line| line.contains("was answered with 413")), "{lines:?}");
}
