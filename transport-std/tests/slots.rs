//! Several invocations at once: a thread for each slot.

mod support;

use std::time::Duration;

use lambda_proto_service::{Place, Running};
use support::{Event, Service, runtime_at};

#[test]
fn a_panic_on_one_slot_leaves_the_others_alone() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(2), |invocation, responder| {
        assert_ne!(invocation.body(), b"panic", "told to");
        Ok(responder.send(invocation.body()))
    });
    let mut connections = service.open_slots(2);
    for _ in 0..2 {
        connections[0].send(Event::new("id-1", "panic").bytes());
        connections[1].send(Event::new("id-2", "fine").bytes());
        connections[0].request().assert_error("id-1", "Function.Panic");
        connections[1].request().assert_response("id-2");
        for connection in &mut connections {
            connection.take_answer();
            connection.expect_next();
        }
    }
    let lines = run.stop();
    assert!(lines.iter().all(|line| line.contains("id-1: failed: ")), "{lines:?}");
}

#[test]
fn each_slot_gives_up_a_service_that_is_gone() {
    let gone = Place::deserted();
    let runtime = runtime_at(&gone).slots(3).give_up_after(Duration::from_millis(100));
    let stop = runtime.stop_handle();
    let run = Running::new(
        gone.lines(),
        move || stop.stop(),
        move || runtime.run(|_, responder| Ok(responder.send(""))),
    );
    let error = run.error();
    assert!(error.contains("giving up"), "{error}");
    let lines = gone.lines().all();
    assert_eq!(lines.iter().filter(|line| line.contains("has ended")).count(), 3, "{lines:?}");
}
