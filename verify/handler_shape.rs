//! One handler for every transport. A test of each includes this file and names its crate
//! `transport`; what the service sees must be the same.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

use lambda_proto_service::{Event, Outcome, Request, Running, Service};
use serde_json::{Value, json};

use crate::transport::{
    ContentType, Endpoint, Error, Failure, HttpPrelude, InvocationHead, Lifecycle, Response,
    Runtime,
};

fn runtime(service: &Service) -> Runtime {
    let lines = service.lines().clone();
    let endpoint = Endpoint::parse(&service.address()).expect("the test's address is one");
    Runtime::new(endpoint).log(move |line| lines.push(line.to_string()))
}

/// Runs a handler that does what its event says, with every method that all transports share.
fn run(service: &Service) -> Running<Error> {
    let runtime = runtime(service);
    let stop = runtime.stop_handle();
    let run = || {
        runtime.run(|invocation, responder| {
            let event: Value = invocation.json()?;
            let task = event["do"].as_str();
            match task.ok_or_else(|| Failure::new("Function.NoTask", "the event has no task"))? {
                "describe" => responder.json(json!({
                    "request_id": invocation.request_id(),
                    "attempt_id": invocation.attempt_id().map(String::from_utf8_lossy),
                    "deadline": invocation.deadline().map(|deadline| deadline.as_unix_millis()),
                    "time_left": invocation.time_left().is_some(),
                    "function": invocation.invoked_function_arn(),
                    "trace_id": invocation.trace_id(),
                    "client_context": invocation.client_context().map(String::from_utf8_lossy),
                    "identity": invocation.cognito_identity().map(String::from_utf8_lossy),
                    "tenant_id": invocation.tenant_id(),
                    "own": invocation.header("X-Own").map(String::from_utf8_lossy),
                    "head": invocation.head().request_id(),
                })),
                "echo" => {
                    let response = Response::new(invocation.body());
                    Ok(responder.send(response.content_type(invocation.content_type())))
                }
                "send and next" => Ok(responder.send_and_next("done")),
                "send &str" => Ok(responder.send("body")),
                "send &String" => {
                    let text = String::from("body");
                    let sent = responder.send(&text);
                    assert_eq!(text, "body");
                    Ok(sent)
                }
                "send String" => Ok(responder.send(String::from("body"))),
                "send &[u8]" => Ok(responder.send(&b"body"[..])),
                "send &[u8; 4]" => Ok(responder.send(b"body")),
                "send &Vec<u8>" => {
                    let bytes = b"body".to_vec();
                    let sent = responder.send(&bytes);
                    assert_eq!(bytes, b"body");
                    Ok(sent)
                }
                "send Vec<u8>" => Ok(responder.send(b"body".to_vec())),
                "send Cow<str>" => Ok(responder.send(Cow::Borrowed("body"))),
                "send Cow<str>, owned" => Ok(responder.send(Cow::from(String::from("body")))),
                "send Cow<[u8]>" => Ok(responder.send(Cow::Borrowed(&b"body"[..]))),
                "send Response" => Ok(responder.send(Response::new(String::from("body")))),
                "send of a type" => {
                    let content_type = event["type"].as_str().unwrap_or_default();
                    let content_type = ContentType::try_from(content_type)?;
                    Ok(responder.send(Response::new("body").content_type(content_type)))
                }
                "json of a value" => responder.json(json!({ "of": head_of(&invocation) })),
                "json of a reference" => {
                    let sent = responder.json(&event);
                    assert!(event.is_object(), "it is still there");
                    sent
                }
                "json of text" => responder.json("text"),
                "json of a slice" => responder.json(&[1, 2][..]),
                "parse" => {
                    let number: u32 = event["text"].as_str().unwrap_or_default().parse()?;
                    responder.json(number)
                }
                "fail" => Ok(responder.fail(Failure::new("Function.Sad", "no luck"))),
                "fail by reference" => {
                    let failure = Failure::new("Function.Sad", "no luck");
                    let sent = responder.fail(&failure);
                    assert_eq!(failure.message(), "no luck");
                    Ok(sent)
                }
                "fail by an error" => match "x".parse::<u32>() {
                    Ok(number) => responder.json(number),
                    Err(error) => Ok(responder.fail(error)),
                },
                "pass the trace id to a child" => {
                    let trace_id = invocation.trace_id().map(|id| ("_X_AMZN_TRACE_ID", id));
                    let mut child = Command::new("sh");
                    child.args(["-c", "printf %s \"[$_X_AMZN_TRACE_ID]\""]).envs(trace_id);
                    Ok(responder.send(child.output()?.stdout))
                }
                "return" => Err(Failure::new("Function.Sad", "no luck")),
                "panic" => panic!("no luck"),
                "send, then return" => {
                    let _sent = responder.send("sent");
                    Err(Failure::new("Function.Sad", "no luck"))
                }
                "unwritable" => responder.json(BTreeMap::from([((1, 2), 3)])),
                "unwritable, in its own words" => {
                    let result = responder.json(BTreeMap::from([((1, 2), 3)]));
                    result.map_err(|failure| failure.error_type("Function.Own"))
                }
                "stream" => {
                    let mut stream = responder.stream(ContentType::new("text/x-own")?);
                    stream.write_all(b"one")?;
                    write!(stream, "two")?;
                    stream.flush()?;
                    Ok(stream.finish())
                }
                "stream and next" => {
                    let mut stream = responder.stream(ContentType::TEXT);
                    stream.write_all(b"one")?;
                    Ok(stream.finish_and_next())
                }
                "stream http" => {
                    let prelude = HttpPrelude::new(418, &[("X-Own", "yes")], &["a=b"])?;
                    let mut stream = responder.stream_http(&prelude);
                    stream.write_all(b"teapot")?;
                    Ok(stream.finish())
                }
                "stream and fail" => {
                    let mut stream = responder.stream(ContentType::TEXT);
                    stream.write_all(b"one")?;
                    Ok(stream.fail(Failure::new("Function.Sad", "no luck")))
                }
                "stream and fail by reference" => {
                    let failure = Failure::new("Function.Sad", "no luck");
                    let mut stream = responder.stream(ContentType::TEXT);
                    stream.write_all(b"one")?;
                    let sent = stream.fail(&failure);
                    assert_eq!(failure.message(), "no luck");
                    Ok(sent)
                }
                "stream and return" => {
                    let mut stream = responder.stream(ContentType::TEXT);
                    stream.write_all(b"one")?;
                    Err(Failure::new("Function.Sad", "no luck"))
                }
                other => Err(Failure::new("Function.NoTask", format!("{other} is not a task"))),
            }
        })
    };
    Running::new(service.lines(), move || stop.stop(), run)
}

/// An example of a function that takes only the head of an invocation.
fn head_of<'i>(head: impl Into<InvocationHead<'i>>) -> &'i str {
    head.into().request_id()
}

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
