//! The effect of a handler's result on its invocation.

mod support;

use std::sync::mpsc::channel;

use lambda_proto_mio::{ContentType, Failure, Responder, Sent};
use lambda_proto_service::{Event as Incoming, PATIENCE, Service};
use support::run;

const SAD: &str = "Function.Sad";

fn sad() -> Failure {
    Failure::new(SAD, "no luck")
}

#[test]
fn a_deferred_responder_answers_after_the_handler_has_returned() {
    let service = Service::start();
    let (sender, replies) = channel();
    let run = run(service.place(), 1, move |_, responder| {
        let (responder, sent) = responder.defer();
        sender.send(responder)?;
        Ok(sent)
    });
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    let responder = replies.recv_timeout(PATIENCE).unwrap();
    connection.expect_silence();
    responder.send("later");
    assert_eq!(connection.request().body, b"later");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn the_proof_of_an_earlier_invocation_is_refused_and_logged() {
    // The handler keeps the responder, or has answered.
    for is_answered in [false, true] {
        let service = Service::start();
        let mut earlier: Option<Sent> = None;
        let mut kept = Vec::new();
        let run = run(service.place(), 1, move |_, responder: Responder| {
            let Some(stale) = earlier.take() else {
                let (responder, first) = responder.defer();
                earlier = Some(first);
                return Ok(responder.send("first"));
            };
            if is_answered {
                responder.send("second");
            } else {
                kept.push(responder);
            }
            Ok(stale)
        });
        let mut connection = service.connection();
        connection.invoke(Incoming::new("id-1", ""));
        assert_eq!(connection.request().body, b"first");
        connection.take_answer();
        connection.invoke(Incoming::new("id-2", ""));
        let request = connection.request();
        if is_answered {
            assert_eq!(request.body, b"second");
        } else {
            request.assert_error("id-2", "Runtime.NoResponse");
        }
        connection.take_answer();
        connection.expect_next();
        service.lines().wait_for("slot 0: the handler returned the proof of another invocation");
        run.stop();
    }
}

#[test]
fn a_failure_is_reported_even_if_another_thread_has_the_responder_which_is_too_late() {
    let service = Service::start();
    let (sender, replies) = channel();
    let run = run(service.place(), 1, move |_, responder| {
        sender.send(responder)?;
        Err(sad())
    });
    let mut connection = service.connection();
    for is_streamed in [false, true] {
        connection.invoke(Incoming::new("id-1", ""));
        connection.request().assert_error("id-1", SAD);
        let responder = replies.recv_timeout(PATIENCE).unwrap();
        // Before and after the service has taken the error.
        if is_streamed {
            connection.take_answer();
            connection.expect_next();
            let mut stream = responder.stream(ContentType::TEXT);
            std::io::Write::write_all(&mut stream, &[b'x'; 1_000_000]).unwrap_err();
            connection.send(Incoming::new("id-2", "").bytes());
            connection.request().assert_error("id-2", SAD);
        } else {
            responder.send("late");
            service.lines().wait_for("its invocation is over");
        }
        connection.take_answer();
    }
    run.stop();
}

#[test]
fn a_failure_ends_a_stream_that_another_thread_still_writes() {
    let service = Service::start();
    let (sender, streams) = channel();
    let run = run(service.place(), 1, move |_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.try_write(b"begun")?;
        sender.send(stream)?;
        Err(sad())
    });
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    let request = connection.request();
    assert_eq!(request.body, b"begun");
    assert_eq!(request.trailer_error()["errorType"], SAD);
    let mut stream = streams.recv_timeout(PATIENCE).unwrap();
    connection.take_answer();
    connection.expect_next();
    stream.try_write(b"more").unwrap_err();
    stream.finish();
    run.stop();
}
