//! How errors and panics of async handlers are reported.

mod support;

use std::error::Error;
use std::fmt;
use std::panic::panic_any;

use lambda_proto_tokio::{ContentType, ErrorType, Failure};
use serde_json::json;
use tokio::task::yield_now;

use support::{Event, Outcome, Service, invoke_once};

/// An error with a cause.
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

impl ErrorType for LayeredError {
    fn error_type(&self) -> &str {
        "Function.Layered"
    }
}

async fn layered() -> Result<(), LayeredError> {
    yield_now().await;
    let disk = LayeredError("the disk is full", None);
    Err(LayeredError("the order was not saved", Some(disk.into())))
}

/// Runs one invocation whose handler panics in this way, after an await or before any.
fn panic_once(awaits: bool, panic: impl Fn() + Send + Sync + 'static) -> Outcome {
    invoke_once(Event::new("id-1", ""), async move |_, responder| {
        if awaits {
            yield_now().await;
        }
        panic();
        Ok(responder.send("").await)
    })
}

#[test]
fn any_std_error_becomes_a_function_error_with_its_message() {
    let outcome = invoke_once(Event::new("id-1", "x"), async |invocation, responder| {
        let number: u32 = std::str::from_utf8(invocation.body())?.parse()?;
        Ok(responder.send(number.to_string()).await)
    });
    outcome.request.assert_error("id-1", "Function.Error");
    let expected =
        json!({"errorType": "Function.Error", "errorMessage": "invalid digit found in string"});
    assert_eq!(outcome.request.json(), expected);
    let line = "invocation id-1: failed: Function.Error: invalid digit found in string";
    assert_eq!(outcome.lines, [line]);
}

#[test]
fn an_error_of_a_future_is_reported_with_its_causes() {
    let outcome = invoke_once(Event::new("id-1", ""), async |_, responder| {
        layered().await?;
        Ok(responder.send("").await)
    });
    let body = outcome.request.json();
    assert_eq!(body["errorMessage"], "the order was not saved");
    assert_eq!(body["stackTrace"], json!(["caused by: the disk is full"]));
}

#[test]
fn an_error_type_that_the_runtime_knows_is_reported_with_its_name() {
    let service = Service::start();
    let runtime = service.runtime().error_type::<LayeredError>();
    let run = service.run_as(runtime, async |_, responder| {
        layered().await?;
        Ok(responder.send("").await)
    });
    let outcome = Outcome::of(&service, run, Event::new("id-1", ""));
    outcome.request.assert_error("id-1", "Function.Layered");
}

#[test]
fn responder_fail_reports_from_inside_the_handler() {
    let outcome = invoke_once(Event::new("id-1", ""), async |_, responder| {
        Ok(responder.fail(Failure::new("Function.Late", "too late for that")).await)
    });
    outcome.request.assert_error("id-1", "Function.Late");
    assert_eq!(outcome.request.json()["errorMessage"], "too late for that");
    assert_eq!(outcome.lines, ["invocation id-1: failed: Function.Late: too late for that"]);
}

#[test]
fn a_panic_before_and_after_an_await_is_reported_with_its_message() {
    let answer = std::hint::black_box(42);
    for awaits in [false, true] {
        let outcome = panic_once(awaits, || panic!("the sky is falling"));
        outcome.request.assert_error("id-1", "Function.Panic");
        assert_eq!(outcome.request.json()["errorMessage"], "the sky is falling");
        let outcome = panic_once(awaits, move || panic!("not {answer}"));
        assert_eq!(outcome.request.json()["errorMessage"], "not 42");
        let outcome = panic_once(awaits, || panic_any(42));
        outcome.request.assert_error("id-1", "Function.Panic");
        assert_eq!(outcome.request.json()["errorMessage"], "the handler panicked");
    }
}

#[test]
fn a_panic_of_a_task_that_the_handler_awaits_fails_like_any_error() {
    let outcome = invoke_once(Event::new("id-1", ""), async |_, responder| {
        tokio::spawn(async { panic!("in a task") }).await?;
        Ok(responder.send("").await)
    });
    outcome.request.assert_error("id-1", "Function.Error");
}

#[test]
fn after_a_panic_the_same_connection_serves_the_next_invocation() {
    let service = Service::start();
    let run = service.run(async |invocation, responder| {
        yield_now().await;
        assert_ne!(invocation.body(), b"panic", "told to");
        Ok(responder.send("fine").await)
    });
    let mut connection = service.connection();
    for _ in 0..3 {
        connection.invoke(Event::new("id-1", "panic"));
        connection.request().assert_error("id-1", "Function.Panic");
        connection.take_answer();
        connection.invoke(Event::new("id-2", ""));
        connection.request().assert_response("id-2");
        connection.take_answer();
    }
    run.stop();
}

#[test]
fn a_panic_after_send_is_logged_and_never_posted() {
    let outcome = invoke_once(Event::new("id-1", ""), async |_, responder| {
        responder.send("fine").await;
        yield_now().await;
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
    let outcome = invoke_once(Event::new("id-1", ""), async |_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(b"half").await?;
        panic!("no more");
    });
    assert_eq!(outcome.request.chunks, [b"half"]);
    let error_type = outcome.request.trailer("Lambda-Runtime-Function-Error-Type");
    assert_eq!(error_type, Some("Function.Panic"));
    assert_eq!(outcome.request.trailer_error()["errorMessage"], "no more");
}

#[test]
fn a_panic_with_an_answer_that_was_not_polled_is_reported() {
    let outcome = invoke_once(Event::new("id-1", ""), async |_, responder| {
        let _never_polled = responder.send("never sent");
        panic!("before the answer");
    });
    outcome.request.assert_error("id-1", "Function.Panic");
}

#[test]
fn an_error_after_an_answer_that_was_not_polled_is_reported() {
    let outcome = invoke_once(Event::new("id-1", ""), async |_, responder| {
        drop(responder.send("never sent"));
        Err(Failure::new("Function.Early", "gave up"))
    });
    outcome.request.assert_error("id-1", "Function.Early");
}
