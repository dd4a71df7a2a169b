//! A handler that waits, where that does not hold up the loop of the extension.

use lambda_proto_service::Gate;

use super::barrier::SHORT;
use super::support::{Run, function, options, request};

#[test]
fn a_handler_that_is_busy_holds_up_neither_the_next_event_nor_other_connections() {
    let gate = Gate::default();
    let opened = gate.clone();
    let handle = move |text: &str| Ok((text == function("slow")).then(|| opened.clone()));
    let mut run = Run::start(options(), Box::new(handle));
    let mut slow = run.client();
    slow.send(&request(&[function("slow")]));
    run.expect(&function("slow"));
    run.invoke("id-1", SHORT);
    // The event is asked for, and given: the handler is still busy.
    run.api.expect_extension_next();
    assert!(!gate.is_open());
    run.service
        .lines()
        .wait_for("the telemetry handler is still busy with a record; flush left out");
    // What needs no handler is answered.
    let mut other = run.client();
    other.send(b"GET / HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
    assert_eq!(other.status(), 405);
    gate.open();
    assert_eq!(slow.status(), 200);
}
