//! The shape of a handler with a lifecycle, and of a stream that is an `io::Write`, on the transports
//! that block. A test of each includes this file beside `blocking.rs`.

use std::io::Write;

use lambda_proto_service::{Event, Outcome, Running, Service};

use crate::handler::runtime;
use crate::transport::{ContentType, Lifecycle};

#[test]
fn a_stream_takes_formatted_text() {
    let service = Service::start();
    let runtime = runtime(&service);
    let stop = runtime.stop_handle();
    let run = || {
        runtime.run(|_, responder| {
            let mut stream = responder.stream(ContentType::TEXT);
            write!(stream, "one")?;
            stream.flush()?;
            Ok(stream.finish())
        })
    };
    let run = Running::new(service.lines(), move || stop.stop(), run);
    let outcome = Outcome::of(&service, run, Event::new("id-1", ""));
    assert_eq!(outcome.request.chunks, [b"one"]);
}

#[test]
fn a_lifecycle_adds_a_context() {
    struct Greeting(&'static str);
    let service = Service::start();
    let lifecycle =
        Lifecycle::new().signals(false).on_init("greeting", |init| init.put(Greeting("hello")));
    // The methods that configure a runtime also work with a lifecycle.
    let runtime = runtime(&service).lifecycle(lifecycle).slots(1).max_event(1_000);
    let stop = runtime.stop_handle();
    let run = || {
        runtime.run(|invocation, responder, context| {
            let work = context.begin_work(&invocation, "nothing");
            let greeting = context.get().map(|Greeting(text)| *text);
            let sent = responder.json(greeting)?;
            drop(work);
            Ok(sent)
        })
    };
    let run = Running::new(service.lines(), move || stop.stop(), run);
    let outcome = Outcome::of(&service, run, Event::new("id-1", ""));
    assert_eq!(outcome.request.json(), "hello");
    assert_eq!(outcome.lines, [""; 0]);
}

#[test]
fn a_hook_sees_each_invocation_before_its_handler_and_its_panic_fails_nothing() {
    let service = Service::start();
    let (sender, seen) = std::sync::mpsc::channel();
    let lifecycle = Lifecycle::new()
        .signals(false)
        .before_invocation("broken", |_| panic!("no luck"))
        .before_invocation("trace id", move |invocation| {
            sender.send(invocation.request_id().to_owned()).expect("the handler listens");
        });
    let runtime = runtime(&service).lifecycle(lifecycle);
    let stop = runtime.stop_handle();
    let seen = std::sync::Mutex::new(seen);
    let run = move || {
        runtime.run(|invocation, responder, _| {
            let seen = seen.lock().expect("no handler panics").try_recv()?;
            responder.json(seen == invocation.request_id())
        })
    };
    let run = Running::new(service.lines(), move || stop.stop(), run);
    let outcome = Outcome::of(&service, run, Event::new("id-1", ""));
    assert_eq!(outcome.request.json(), true);
    let line = "invocation id-1: before-invocation hook \"broken\" failed: Function.Panic: no luck";
    assert_eq!(outcome.lines, [line]);
}
