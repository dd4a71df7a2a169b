//! awslambdaric, with which AWS runs Python functions, as the client of the lab's Runtime API.

use lambda_lab::{Event, FailureKind, Function, Lab};
use serde_json::{Value, json};

use crate::{LARGEST, ask, fails, lab, python};

/// A lab with this handler of `handler.py`.
fn handler(name: &str) -> Lab {
    lab(function(name))
}

fn function(name: &str) -> Function {
    let (python, variables) = python();
    let handler = format!("handler.{name}");
    let function = Function::new(python).argument("-m").argument("awslambdaric").argument(&handler);
    let function =
        variables.into_iter().fold(function, |it, (name, value)| it.variable(name, value));
    function.handler(handler)
}

#[test]
fn awslambdaric_echoes() {
    let lab = handler("handler");
    for value in [json!(null), json!("é🦀\n\u{1}"), json!({ "a": [1, 2.5, {}] })] {
        let event = json!({ "do": "echo", "value": value }).to_string();
        assert_eq!(ask(&lab, event), value);
    }
}

#[test]
fn awslambdaric_receives_and_sends_six_mebibytes() {
    let lab = handler("handler");
    let frame = r#"{"do":"echo","value":""}"#;
    let text = "e".repeat(LARGEST - frame.len());
    let event = format!(r#"{{"do":"echo","value":"{text}"}}"#);
    assert!(ask(&lab, event).as_str() == Some(&text));

    let answer = json!({ "do": "answer", "bytes": LARGEST - 2 }).to_string();
    assert_eq!(lab.invoke(answer).unwrap().body.len(), LARGEST);
}

#[test]
fn a_response_of_awslambdaric_that_is_too_large_is_refused_and_the_next_invocation_works() {
    let lab = handler("handler");
    let failure = fails(&lab, &json!({ "do": "answer", "bytes": LARGEST - 1 }));
    assert_eq!(failure.kind, FailureKind::AnswerTooLarge);
    assert_eq!(ask(&lab, r#"{"do":"echo","value":1}"#), 1);
}

#[test]
fn an_exception_under_awslambdaric_reaches_the_caller_with_its_trace_and_the_process_continues() {
    let lab = handler("handler");
    let before = ask(&lab, r#"{"do":"describe"}"#);
    let failure = fails(&lab, &json!({ "do": "raise", "message": "the pump is dry" }));
    assert_eq!(failure.kind, FailureKind::Reported);
    let error: Value = serde_json::from_slice(&failure.body).unwrap();
    assert_eq!(error["errorType"], "Dry");
    assert_eq!(error["errorMessage"], "the pump is dry");
    assert_eq!(error["requestId"], failure.request_id.as_str());
    assert!(error["stackTrace"][0].as_str().unwrap().contains("handler.py"), "{error}");
    assert_eq!(ask(&lab, r#"{"do":"describe"}"#)["process"], before["process"]);
}

#[test]
fn a_result_that_awslambdaric_cannot_marshal_fails() {
    let failure = fails(&handler("broken_by_json"), &json!({}));
    assert_eq!(failure.error_type().as_deref(), Some("Runtime.MarshalError"));
}

#[test]
fn a_python_process_that_exits_is_reported_and_restarted() {
    let lab = handler("handler");
    let before = ask(&lab, r#"{"do":"describe"}"#);
    let failure = fails(&lab, &json!({ "do": "exit", "code": 3 }));
    assert_eq!(failure.kind, FailureKind::Exit);
    assert!(failure.error_message().unwrap().ends_with("exit status 3"), "{failure}");
    assert_ne!(ask(&lab, r#"{"do":"describe"}"#)["process"], before["process"]);
}

#[test]
fn a_missing_handler_reaches_the_caller_as_an_init_error() {
    let lab = handler("nobody");
    for _ in 0..2 {
        let failure = fails(&lab, &json!({}));
        assert_eq!(failure.kind, FailureKind::Init);
        assert_eq!(failure.error_type().as_deref(), Some("Runtime.HandlerNotFound"));
    }
}

#[test]
fn the_context_of_a_python_handler_has_the_metadata_of_the_event() {
    let lab = lab(function("handler").name("greeter").memory(512));
    let event = Event::new(r#"{"do":"describe"}"#)
        .trace_id("Root=1-5759e988-bd862e3f;Sampled=1")
        .client_context(r#"{"client":{"app_title":"t"},"custom":{"a":"1"}}"#)
        .tenant_id("blue");
    let answer = lab.invoke(event).unwrap();
    assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    let seen: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(seen["request_id"], answer.request_id.as_str());
    assert_eq!(seen["function"], "arn:aws:lambda:us-east-1:012345678912:function:greeter");
    assert_eq!(seen["name"], "greeter");
    assert_eq!(seen["version"], "$LATEST");
    assert_eq!(seen["memory"], "512");
    assert_eq!(seen["log_group"], "/aws/lambda/greeter");
    assert_eq!(seen["tenant_id"], "blue");
    assert_eq!(seen["client"], json!({ "title": "t", "custom": { "a": "1" } }));
    assert_eq!(seen["trace_id"], "Root=1-5759e988-bd862e3f;Sampled=1");
    assert_eq!(seen["handler"], "handler.handler");
    let remaining = seen["remaining"].as_u64().unwrap();
    assert!((1..=30_000).contains(&remaining), "{remaining}");
}

#[test]
fn awslambdaric_answers_two_hundred_invocations_with_one_process() {
    crate::two_hundred_invocations_are_answered_by_one_process(&handler("handler"));
}
