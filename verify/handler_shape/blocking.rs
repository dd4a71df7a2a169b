//! One handler for every transport that blocks, with every method that all transports share. A test of
//! each includes this file and names its crate `transport`. `awaited.rs` is the same handler with
//! `async` and `.await`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

use lambda_proto_service::{Running, Service};
use serde_json::{Value, json};

use crate::transport::{
    ContentType, Endpoint, Error, Failure, HttpPrelude, InvocationHead, Response, Runtime,
};

pub(crate) fn runtime(service: &Service) -> Runtime {
    let lines = service.lines().clone();
    let endpoint = Endpoint::parse(&service.address()).expect("the test's address is one");
    Runtime::new(endpoint).log(move |line| lines.push(line.to_string()))
}

/// Runs a handler that does what its event says, with every method that all transports share.
pub(crate) fn run(service: &Service) -> Running<Error> {
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
                    stream.write_all(b"two")?;
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
