//! What a service sees of the handler that every transport runs. A test of each includes this file,
//! names its crate `transport`, and its `handler` is `blocking.rs` or `awaited.rs`.

use lambda_proto_service::{Event, Outcome, Request, Service};
use serde_json::{Value, json};

use crate::handler::run;

/// Sends the handler one event.
fn outcome_of(event: Value) -> Outcome {
    let service = Service::start();
    let run = run(&service);
    Outcome::of(&service, run, Event::new("id-1", event.to_string()))
}

/// Sends the handler one task, and checks that it fails in this way.
#[track_caller]
fn assert_fails(task: &str, error_type: &str, message: &str) {
    let Outcome { request, lines } = outcome_of(json!({ "do": task, "text": "x" }));
    request.assert_error("id-1", error_type);
    let said = request.json()["errorMessage"].as_str().expect("a message").to_owned();
    assert!(said.contains(message), "{said}");
    assert_eq!(lines, [format!("invocation id-1: failed: {error_type}: {said}")]);
}

/// Sends the handler one task, and checks that it streams its answer.
#[track_caller]
fn streamed(task: &str, content_type: &str) -> Request {
    let request = outcome_of(json!({ "do": task })).request;
    request.assert_response("id-1");
    assert_eq!(request.header("Content-Type"), Some(content_type));
    request
}

#[test]
fn an_invocation_gives_access_to_its_whole_head() {
    let service = Service::start();
    let event = Event::new("id-1", r#"{"do":"describe"}"#)
        .header("Lambda-Runtime-Invocation-Id", "attempt-1")
        .header("Lambda-Runtime-Deadline-Ms", "1795252820229")
        .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:1:function:f")
        .header("Lambda-Runtime-Trace-Id", "Root=1-2-3")
        .header("Lambda-Runtime-Client-Context", "{}")
        .header("Lambda-Runtime-Cognito-Identity", "[]")
        .header("Lambda-Runtime-Aws-Tenant-Id", "tenant")
        .header("X-Own", "own");
    let run = run(&service);
    let outcome = Outcome::of(&service, run, event);
    let expected = json!({
        "request_id": "id-1",
        "attempt_id": "attempt-1",
        "deadline": 1_795_252_820_229_u64,
        "time_left": true,
        "function": "arn:aws:lambda:eu-west-1:1:function:f",
        "trace_id": "Root=1-2-3",
        "client_context": "{}",
        "identity": "[]",
        "tenant_id": "tenant",
        "own": "own",
        "head": "id-1",
    });
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.json(), expected);
}

#[test]
fn answers_are_sent() {
    let service = Service::start();
    let run = run(&service);
    let event = Event::new("id-1", r#"{"do":"echo"}"#).header("Content-Type", "text/x-own");
    let echo = Outcome::of(&service, run, event).request;
    assert_eq!(echo.body, br#"{"do":"echo"}"#);
    assert_eq!(echo.header("Content-Type"), Some("text/x-own"));
    let outcome = outcome_of(json!({ "do": "send and next" }));
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.body, b"done");
    assert_eq!(outcome.lines, [""; 0]);
    let parsed = outcome_of(json!({ "do": "parse", "text": "7" })).request;
    assert_eq!(parsed.header("Content-Type"), Some("application/json"));
    assert_eq!(parsed.body, b"7");
}

#[cfg(unix)]
#[test]
fn a_child_process_gets_the_trace_id_of_its_invocation() {
    let trace_id = "Root=1-5e724476-c67b46bf2d130f10d11a427d;Parent=2981f7c8188419dc;Sampled=1";
    for (trace_id, seen) in [(Some(trace_id), format!("[{trace_id}]")), (None, "[]".to_owned())] {
        let service = Service::start();
        let run = run(&service);
        let mut event = Event::new("id-1", r#"{"do":"pass the trace id to a child"}"#);
        if let Some(trace_id) = trace_id {
            event = event.header("Lambda-Runtime-Trace-Id", trace_id);
        }
        let outcome = Outcome::of(&service, run, event);
        outcome.request.assert_response("id-1");
        assert_eq!(String::from_utf8_lossy(&outcome.request.body), seen);
    }
}

#[test]
fn text_and_bytes_are_sent_owned_or_borrowed() {
    for kind in [
        "&str",
        "&String",
        "String",
        "&[u8]",
        "&[u8; 4]",
        "&Vec<u8>",
        "Vec<u8>",
        "Cow<str>",
        "Cow<str>, owned",
        "Cow<[u8]>",
        "Response",
    ] {
        let outcome = outcome_of(json!({ "do": format!("send {kind}") }));
        outcome.request.assert_response("id-1");
        assert_eq!(outcome.request.body, b"body", "{kind}");
        assert_eq!(outcome.request.header("Content-Type"), None, "{kind}");
        assert_eq!(outcome.lines, [""; 0], "{kind}");
    }
}

#[test]
fn a_content_type_is_taken_from_text_and_checked() {
    let outcome = outcome_of(json!({ "do": "send of a type", "type": "text/x-own" }));
    assert_eq!(outcome.request.body, b"body");
    assert_eq!(outcome.request.header("Content-Type"), Some("text/x-own"));
    let outcome = outcome_of(json!({ "do": "send of a type", "type": "a\r\nX-Own: b" }));
    outcome.request.assert_error("id-1", "Function.Error");
}

#[test]
fn values_are_sent_as_json_owned_or_borrowed() {
    for (task, body) in [
        ("json of a value", json!({ "of": "id-1" })),
        ("json of a reference", json!({ "do": "json of a reference" })),
        ("json of text", json!("text")),
        ("json of a slice", json!([1, 2])),
    ] {
        let request = outcome_of(json!({ "do": task })).request;
        request.assert_response("id-1");
        assert_eq!(request.json(), body, "{task}");
        assert_eq!(request.header("Content-Type"), Some("application/json"), "{task}");
    }
}

#[test]
fn failures_of_every_kind_are_reported() {
    assert_fails("fail", "Function.Sad", "no luck");
    assert_fails("fail by reference", "Function.Sad", "no luck");
    assert_fails("fail by an error", "Function.Error", "invalid digit");
    assert_fails("return", "Function.Sad", "no luck");
    assert_fails("parse", "Function.Error", "invalid digit");
    assert_fails("unknown", "Function.NoTask", "unknown is not a task");
    assert_fails("panic", "Function.Panic", "no luck");
    assert_fails("unwritable", "Runtime.MarshalError", "as JSON");
    assert_fails("unwritable, in its own words", "Function.Own", "as JSON");
    let outcome = outcome_of(json!([]));
    outcome.request.assert_error("id-1", "Function.NoTask");
}

#[test]
fn a_failure_after_the_answer_changes_nothing_for_the_caller() {
    let outcome = outcome_of(json!({ "do": "send, then return" }));
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.body, b"sent");
    assert!(outcome.lines.iter().any(|line| line.contains("no luck")), "{:?}", outcome.lines);
}

#[test]
fn answers_are_streamed() {
    let request = streamed("stream", "text/x-own");
    assert_eq!(request.chunks, [b"one", b"two"]);
    let request = streamed("stream and next", "text/plain; charset=utf-8");
    assert_eq!(request.chunks, [b"one"]);
    let request = streamed("stream http", "application/vnd.awslambda.http-integration-response");
    assert_eq!(request.chunks.last().expect("there is a body"), b"teapot");
    let head: Value = serde_json::from_slice(&request.chunks[0]).expect("a prelude");
    assert_eq!(head["statusCode"], 418);
}

#[test]
fn a_stream_that_fails_ends_with_the_failure() {
    for task in ["stream and fail", "stream and fail by reference", "stream and return"] {
        let request = outcome_of(json!({ "do": task })).request;
        assert_eq!(request.body, b"one");
        assert_eq!(request.trailer_error()["errorType"], "Function.Sad", "{task}");
        assert_eq!(request.trailer_error()["errorMessage"], "no luck", "{task}");
    }
}
