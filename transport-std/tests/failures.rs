//! How Rust errors and panics are reported.

mod support;

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::panic::panic_any;

use lambda_proto_std::{ContentType, Failure};
use serde_json::json;

use support::{Event, Outcome, Service, invoke_once};

/// An error with a chain of causes.
#[derive(Debug)]
struct LayeredError(&'static str, Option<Box<Self>>);

impl fmt::Display for LayeredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for LayeredError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

fn layered() -> Result<(), LayeredError> {
    let disk = LayeredError("the disk is full", None);
    let file = LayeredError("a.txt cannot be written", Some(disk.into()));
    Err(LayeredError("the order was not saved", Some(file.into())))
}

/// Runs one invocation whose handler panics in this way.
fn panic_once(panic: impl Fn() + Send + Sync + 'static) -> Outcome {
    invoke_once(Event::new("id-1", ""), move |_, responder| {
        panic();
        Ok(responder.send(""))
    })
}

#[test]
fn any_std_error_becomes_a_function_error_with_its_message() {
    let outcome = invoke_once(Event::new("id-1", "x"), |invocation, responder| {
        let number: u32 = std::str::from_utf8(invocation.body())?.parse()?;
        Ok(responder.send(number.to_string()))
    });
    outcome.request.assert_error("id-1", "Function.Error");
    let expected =
        json!({"errorType": "Function.Error", "errorMessage": "invalid digit found in string"});
    assert_eq!(outcome.request.json(), expected);
    let line = "invocation id-1: failed: Function.Error: invalid digit found in string";
    assert_eq!(outcome.lines, [line]);
}

#[test]
fn the_causes_of_an_error_are_its_stack_trace() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, responder| {
        layered()?;
        Ok(responder.send(""))
    });
    let body = outcome.request.json();
    assert_eq!(body["errorMessage"], "the order was not saved");
    assert_eq!(
        body["stackTrace"],
        json!(["caused by: a.txt cannot be written", "caused by: the disk is full"])
    );
}

#[test]
fn no_rust_type_name_leaks() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, responder| {
        layered()?;
        Ok(responder.send(""))
    });
    let head = format!("{:?}", outcome.request.headers);
    let body = String::from_utf8(outcome.request.body).unwrap();
    assert!(!head.contains("Layered") && !body.contains("Layered"), "{head} {body}");
}

#[test]
fn responder_fail_reports_from_inside_the_handler() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, responder| {
        Ok(responder.fail(Failure::new("Function.Late", "too late for that")))
    });
    outcome.request.assert_error("id-1", "Function.Late");
    assert_eq!(outcome.request.json()["errorMessage"], "too late for that");
    assert_eq!(outcome.lines, ["invocation id-1: failed: Function.Late: too late for that"]);
}

#[test]
fn a_panic_with_a_literal_is_reported_with_its_message() {
    let outcome = panic_once(|| panic!("the sky is falling"));
    outcome.request.assert_error("id-1", "Function.Panic");
    assert_eq!(outcome.request.json()["errorMessage"], "the sky is falling");
}

#[test]
fn a_panic_with_a_formatted_message_is_reported_with_it() {
    let answer = std::hint::black_box(42);
    let outcome = panic_once(move || panic!("not {answer}"));
    outcome.request.assert_error("id-1", "Function.Panic");
    assert_eq!(outcome.request.json()["errorMessage"], "not 42");
}

#[test]
fn a_panic_with_any_other_payload_is_reported_as_a_panic() {
    let outcome = panic_once(|| panic_any(42));
    outcome.request.assert_error("id-1", "Function.Panic");
    assert_eq!(outcome.request.json()["errorMessage"], "the handler panicked");
}

#[test]
fn after_a_panic_the_same_connection_serves_the_next_invocation() {
    let service = Service::start();
    let run = service.run(|invocation, responder| {
        assert_ne!(invocation.body(), b"panic", "told to");
        Ok(responder.send("fine"))
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "panic"));
    connection.request().assert_error("id-1", "Function.Panic");
    connection.take_answer();
    connection.invoke(Event::new("id-2", ""));
    connection.request().assert_response("id-2");
    connection.take_answer();
    run.stop();
}

#[test]
fn a_panic_after_send_is_logged_and_never_posted() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, responder| {
        responder.send("fine");
        panic!("the metrics are lost");
    });
    outcome.request.assert_response("id-1");
    assert_eq!(
        outcome.lines,
        ["invocation id-1: failed after it was answered: Function.Panic: the metrics are lost"]
    );
}

#[test]
fn a_panic_in_the_middle_of_a_stream_ends_it_with_trailers() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(b"half")?;
        panic!("no more");
    });
    assert_eq!(outcome.request.chunks, [b"half"]);
    let error_type = outcome.request.trailer("Lambda-Runtime-Function-Error-Type");
    assert_eq!(error_type, Some("Function.Panic"));
    assert_eq!(outcome.request.trailer_error()["errorMessage"], "no more");
}
