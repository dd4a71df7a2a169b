//! The handler of `blocking.rs` with `async` and `.await`, and otherwise the same: a test compares the
//! two. A test of each transport that awaits includes this file and names its crate `transport`.

use std::borrow::Cow;
use std::collections::BTreeMap;
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
    Running::new(service.lines(), move || stop.stop(), move || block_on(serve(runtime)))
}

async fn serve(runtime: Runtime) -> Result<(), Error> {
    runtime
        .run(async |invocation, responder| {
            let event: Value = invocation.json()?;
            let task = event["do"].as_str();
            match task.ok_or_else(|| Failure::new("Function.NoTask", "the event has no task"))? {
                "describe" => responder
                    .json(json!({
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
                    }))
                    .await,
                "echo" => {
                    let response = Response::new(invocation.body());
                    Ok(responder.send(response.content_type(invocation.content_type())).await)
                }
                "send and next" => Ok(responder.send_and_next("done").await),
                "send &str" => Ok(responder.send("body").await),
                "send &String" => {
                    let text = String::from("body");
                    let sent = responder.send(&text).await;
                    assert_eq!(text, "body");
                    Ok(sent)
                }
                "send String" => Ok(responder.send(String::from("body")).await),
                "send &[u8]" => Ok(responder.send(&b"body"[..]).await),
                "send &[u8; 4]" => Ok(responder.send(b"body").await),
                "send &Vec<u8>" => {
                    let bytes = b"body".to_vec();
                    let sent = responder.send(&bytes).await;
                    assert_eq!(bytes, b"body");
                    Ok(sent)
                }
                "send Vec<u8>" => Ok(responder.send(b"body".to_vec()).await),
                "send Cow<str>" => Ok(responder.send(Cow::Borrowed("body")).await),
                "send Cow<str>, owned" => Ok(responder.send(Cow::from(String::from("body"))).await),
                "send Cow<[u8]>" => Ok(responder.send(Cow::Borrowed(&b"body"[..])).await),
                "send Response" => Ok(responder.send(Response::new(String::from("body"))).await),
                "send of a type" => {
                    let content_type = event["type"].as_str().unwrap_or_default();
                    let content_type = ContentType::try_from(content_type)?;
                    Ok(responder.send(Response::new("body").content_type(content_type)).await)
                }
                "json of a value" => responder.json(json!({ "of": head_of(&invocation) })).await,
                "json of a reference" => {
                    let sent = responder.json(&event).await;
                    assert!(event.is_object(), "it is still there");
                    sent
                }
                "json of text" => responder.json("text").await,
                "json of a slice" => responder.json(&[1, 2][..]).await,
                "parse" => {
                    let number: u32 = event["text"].as_str().unwrap_or_default().parse()?;
                    responder.json(number).await
                }
                "fail" => Ok(responder.fail(Failure::new("Function.Sad", "no luck")).await),
                "fail by reference" => {
                    let failure = Failure::new("Function.Sad", "no luck");
                    let sent = responder.fail(&failure).await;
                    assert_eq!(failure.message(), "no luck");
                    Ok(sent)
                }
                "fail by an error" => match "x".parse::<u32>() {
                    Ok(number) => responder.json(number).await,
                    Err(error) => Ok(responder.fail(error).await),
                },
                "pass the trace id to a child" => {
                    let trace_id = invocation.trace_id().map(|id| ("_X_AMZN_TRACE_ID", id));
                    let mut child = Command::new("sh");
                    child.args(["-c", "printf %s \"[$_X_AMZN_TRACE_ID]\""]).envs(trace_id);
                    Ok(responder.send(child.output()?.stdout).await)
                }
                "return" => Err(Failure::new("Function.Sad", "no luck")),
                "panic" => panic!("no luck"),
                "send, then return" => {
                    let _sent = responder.send("sent").await;
                    Err(Failure::new("Function.Sad", "no luck"))
                }
                "unwritable" => responder.json(BTreeMap::from([((1, 2), 3)])).await,
                "unwritable, in its own words" => {
                    let result = responder.json(BTreeMap::from([((1, 2), 3)])).await;
                    result.map_err(|failure| failure.error_type("Function.Own"))
                }
                "stream" => {
                    let mut stream = responder.stream(ContentType::new("text/x-own")?);
                    stream.write_all(b"one").await?;
                    stream.write_all(b"two").await?;
                    Ok(stream.finish().await)
                }
                "stream and next" => {
                    let mut stream = responder.stream(ContentType::TEXT);
                    stream.write_all(b"one").await?;
                    Ok(stream.finish_and_next().await)
                }
                "stream http" => {
                    let prelude = HttpPrelude::new(418, &[("X-Own", "yes")], &["a=b"])?;
                    let mut stream = responder.stream_http(&prelude).await;
                    stream.write_all(b"teapot").await?;
                    Ok(stream.finish().await)
                }
                "stream and fail" => {
                    let mut stream = responder.stream(ContentType::TEXT);
                    stream.write_all(b"one").await?;
                    Ok(stream.fail(Failure::new("Function.Sad", "no luck")).await)
                }
                "stream and fail by reference" => {
                    let failure = Failure::new("Function.Sad", "no luck");
                    let mut stream = responder.stream(ContentType::TEXT);
                    stream.write_all(b"one").await?;
                    let sent = stream.fail(&failure).await;
                    assert_eq!(failure.message(), "no luck");
                    Ok(sent)
                }
                "stream and return" => {
                    let mut stream = responder.stream(ContentType::TEXT);
                    stream.write_all(b"one").await?;
                    Err(Failure::new("Function.Sad", "no luck"))
                }
                other => Err(Failure::new("Function.NoTask", format!("{other} is not a task"))),
            }
        })
        .await
}

/// An example of a function that takes only the head of an invocation.
fn head_of<'i>(head: impl Into<InvocationHead<'i>>) -> &'i str {
    head.into().request_id()
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    tokio.enable_all().build().expect("tokio starts").block_on(future)
}

/// The code of the handler without `async` and `.await`, and without what formatting adds.
fn plain(file: &str) -> String {
    let begin = file.find("let event: Value").expect("the first line of the handler");
    let end = begin + file[begin..].find("is not a task").expect("the last line of the handler");
    let code = file[begin..end].replace(".await", "").replace("async ", "");
    code.chars().filter(|it| !it.is_whitespace() && !",{}".contains(*it)).collect()
}

#[test]
fn the_handler_is_the_blocking_one_with_async_and_await() {
    let (blocking, awaited) = (include_str!("blocking.rs"), include_str!("awaited.rs"));
    assert_eq!(plain(awaited), plain(blocking));
    assert!(awaited.matches(".await").count() > 30);
    assert!(!blocking.lines().any(|line| line.contains(".await") && !line.starts_with("//!")));
}
