//! Services that misbehave in ways that concern a task: they hold up one slot, not the others.

mod support;

use std::time::Duration;

use lambda_proto_service::Running;
use lambda_proto_tokio::Error;
use support::{Connection, Event, Service};

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

/// A run with two slots, the first of which writes a large response that the service refuses and
/// does not read; and how many bytes of it the service has not read.
fn refused_and_not_read(service: &Service) -> (Running<Error>, Vec<Connection>, usize) {
    let run = service.run_as(service.runtime().slots(2), async |invocation, responder| {
        Ok(match invocation.body() {
            b"huge" => responder.send(vec![b'x'; HUGE]).await,
            _ => responder.send("small").await,
        })
    });
    let mut connections = service.open_slots(2);
    connections[0].send(Event::new("id-1", "huge").bytes());
    let begin = connections[0].take_bytes();
    let head = begin.windows(4).position(|end| end == b"\r\n\r\n").expect("a whole head") + 4;
    connections[0].refuse(413, "RequestEntityTooLarge", "no");
    (run, connections, head + HUGE - begin.len())
}

/// The driver reads no reply while a write waits, as the blocking one does not.
#[test]
fn a_refusal_of_a_response_that_is_still_being_written_is_read_once_the_service_reads_the_rest() {
    let service = Service::start();
    let (run, mut connections, mut unread) = refused_and_not_read(&service);
    for _ in 0..10 {
        connections[1].send(Event::new("id-2", "").bytes());
        connections[1].request().assert_response("id-2");
        connections[1].take_answer();
        connections[1].expect_next();
    }
    assert_eq!(service.lines().all(), [""; 0]);
    while unread > 0 {
        unread -= connections[0].take_bytes().len();
    }
    service.lines().wait_for("invocation id-1: response was answered with 413");
    run.stop();
}
