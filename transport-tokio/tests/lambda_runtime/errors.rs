//! Errors of handlers, as they are reported.

use std::fmt;
use std::io;

use lambda_proto_service::Service as Lambda;
use lambda_proto_tokio::lambda_runtime::{Diagnostic, Error, LambdaEvent, run_on, service_fn};
use lambda_proto_tokio::{ErrorType, Failure};

use crate::support::{assert_error, event, invoke, invoke_once, runtime, start_on};

#[derive(Debug, thiserror::Error)]
#[error("the table cannot be read")]
struct Unreadable(#[source] io::Error);

impl ErrorType for Unreadable {
    fn error_type(&self) -> &str {
        "Function.Unreadable"
    }
}

async fn fail(event: LambdaEvent<String>) -> Result<u32, Error> {
    match &*event.payload {
        "text" => Err("no luck")?,
        "parse" => Ok("x".parse()?),
        "named" => Err(Failure::new("Function.Named", "by the function").into_boxed_error()),
        "table" => Err(Unreadable(io::Error::other("no disk")))?,
        _ => panic!("told to"),
    }
}

#[test]
fn an_error_is_reported_with_its_message_and_causes_and_the_loop_goes_on() {
    let lambda = Lambda::start();
    let runtime = runtime(&lambda).error_type::<Unreadable>();
    let run = start_on(&lambda, runtime, async |runtime| run_on(runtime, service_fn(fail)).await);
    let mut connection = lambda.connection();
    for (event, error_type, message) in [
        ("text", "Function.Error", "no luck"),
        ("parse", "Function.Error", "invalid digit found in string"),
        ("panic", "Function.Panic", "told to"),
        ("named", "Function.Named", "by the function"),
        ("table", "Function.Unreadable", "the table cannot be read"),
    ] {
        let request = invoke(&mut connection, &format!("{event:?}"));
        assert_error(&request, error_type, message);
        if event == "table" {
            assert_eq!(request.json()["stackTrace"][0], "caused by: no disk");
        }
    }
    connection.expect_next();
    let lines = run.stop();
    let line = "invocation id-1: failed: Function.Error: no luck";
    assert_eq!((lines.len(), &*lines[0]), (5, line));
}

#[test]
fn an_event_that_does_not_fit_is_reported_and_calls_no_handler() {
    async fn never(_: LambdaEvent<Vec<u32>>) -> Result<(), Error> {
        panic!("it is called")
    }

    for body in ["", "{", "[1,", "[\"one\"]", "\u{0}", "[1] [2]"] {
        let request = invoke_once(event(body), service_fn(never));
        request.assert_error("id-1", "Runtime.UnmarshalError");
    }
}

#[test]
fn a_value_that_is_no_json_is_reported() {
    use std::collections::HashMap;

    let no_json =
        service_fn(async |_: LambdaEvent<()>| Ok::<_, Error>(HashMap::from([((1, 2), 3)])));
    let request = invoke_once(event("null"), no_json);
    request.assert_error("id-1", "Runtime.MarshalError");
}

#[derive(Debug)]
struct NotFound(u32);

impl From<NotFound> for Diagnostic {
    fn from(NotFound(order): NotFound) -> Self {
        let error_message = format!("there is no order {order}");
        Self { error_type: "Function.NotFound".to_owned(), error_message }
    }
}

#[test]
fn an_error_of_the_function_converts_into_a_diagnostic() {
    let find = service_fn(async |event: LambdaEvent<u32>| Err::<(), _>(NotFound(event.payload)));
    let request = invoke_once(event("17"), find);
    assert_error(&request, "Function.NotFound", "there is no order 17");
}

/// Checks what is reported for an error of this type.
#[track_caller]
fn assert_reported<E>(error: fn() -> E, error_type: &str, message: &str)
where
    E: Into<Diagnostic> + fmt::Debug + 'static,
{
    let fail = service_fn(move |_: LambdaEvent<()>| async move { Err::<(), E>(error()) });
    assert_error(&invoke_once(event("null"), fail), error_type, message);
}

#[test]
fn every_error_that_lambda_runtime_takes_is_taken() {
    assert_reported(|| "a text", "Function.Error", "a text");
    assert_reported(|| "a text".to_owned(), "Function.Error", "a text");
    assert_reported(|| io::Error::other("no disk"), "Function.Error", "no disk");
    assert_reported::<Box<dyn std::error::Error>>(|| "boxed".into(), "Function.Error", "boxed");
    assert_reported(|| Failure::new("Function.A", "b"), "Function.A", "b");
    let diagnostic = || Diagnostic::from(Failure::new("Function.A", "b").into_boxed_error());
    assert_reported(diagnostic, "Function.A", "b");
    let never = service_fn(async |_: LambdaEvent<()>| Ok::<_, std::convert::Infallible>(1));
    assert_eq!(invoke_once(event("null"), never).body, b"1");
}

#[cfg(feature = "anyhow")]
#[test]
fn an_error_of_anyhow_is_reported_with_its_causes() {
    let fail = service_fn(async |_: LambdaEvent<()>| {
        Err::<(), _>(anyhow::anyhow!("no disk").context("the table cannot be read"))
    });
    let request = invoke_once(event("null"), fail);
    assert_error(&request, "Function.Error", "the table cannot be read");
    assert_eq!(request.json()["stackTrace"][0], "caused by: no disk");
}

#[test]
fn a_diagnostic_has_the_names_of_the_protocol_in_json() {
    let diagnostic =
        Diagnostic { error_type: "Function.A".to_owned(), error_message: "b".to_owned() };
    let json = serde_json::to_value(&diagnostic).expect("JSON");
    assert_eq!(json, serde_json::json!({"errorType": "Function.A", "errorMessage": "b"}));
}
