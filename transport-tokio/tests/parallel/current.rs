//! The current invocation of handlers that move between threads.

use lambda_proto_service::{Event, Service};
use lambda_proto_tokio::current;
use lambda_proto_tokio::parallel::{Invocation, Responder};
use tokio::task::yield_now;

use crate::support::run_parallel;

const SLOTS: usize = 3;

#[test]
fn each_handler_has_its_own_current_invocation_on_every_thread() {
    let service = Service::start();
    let run = run_parallel(&service, SLOTS, |invocation: Invocation, responder: Responder| {
        let at_first = current::request_id();
        assert_eq!(&*at_first, invocation.request_id());
        async move {
            for _ in 0..100 {
                assert_eq!(&*current::request_id(), invocation.request_id());
                yield_now().await;
            }
            let elsewhere = tokio::spawn(async { current::request_id().to_string() }).await?;
            assert_eq!(elsewhere, "");
            // What a handler sets stays until it ends.
            current::set("of my own");
            yield_now().await;
            let sent = responder.send(&*current::request_id()).await;
            assert_eq!(&*current::request_id(), "of my own");
            Ok(sent)
        }
    });
    let mut connections = service.open_slots(SLOTS);
    for round in 0..20 {
        for (slot, connection) in connections.iter_mut().enumerate() {
            connection.send(Event::new(&format!("id-{round}-{slot}"), "").bytes());
        }
        for connection in &mut connections {
            let request = connection.request();
            assert_eq!(request.body, b"of my own", "{request:?}");
            connection.take_answer();
            connection.expect_next();
        }
    }
    assert_eq!(run.stop(), [""; 0]);
}
