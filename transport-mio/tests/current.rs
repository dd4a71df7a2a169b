//! The request id that a thread works on, for the log lines of the function.
#![cfg(any(feature = "log", feature = "tracing"))]

mod support;

use std::sync::mpsc::channel;

use lambda_proto_mio::{Responder, current};
use lambda_proto_service::{Event as Incoming, PATIENCE, Service};
use support::run;

#[test]
fn the_thread_knows_the_request_id_for_which_its_handler_is_called() {
    let service = Service::start();
    let (sender, is_kept) = channel();
    let mut kept: Vec<Responder> = Vec::new();
    let run = run(service.place(), 2, move |invocation, responder| {
        if invocation.body() == b"keep" {
            // It stays in flight while the other invocation is handled.
            let (responder, sent) = responder.defer();
            kept.push(responder);
            sender.send(())?;
            return Ok(sent);
        }
        let sent = responder.send(&*current::request_id());
        kept.drain(..).for_each(|responder| {
            responder.send("kept");
        });
        Ok(sent)
    });
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("id-1", "keep").bytes());
    is_kept.recv_timeout(PATIENCE).unwrap();
    connections[1].send(Incoming::new("id-2", "").bytes());
    assert_eq!(connections[1].request().body, b"id-2");
    connections[1].take_answer();
    assert_eq!(connections[0].request().body, b"kept");
    connections[0].take_answer();
    run.stop();
}
