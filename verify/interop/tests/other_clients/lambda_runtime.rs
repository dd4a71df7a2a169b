//! `lambda_runtime`, the client that AWS publishes for Rust, as the client of the lab's Runtime
//! API.

use lambda_interop::programs;
use lambda_lab::{Event, FailureKind, Function, Lab};
use serde_json::{Value, json};

use crate::{LARGEST, ask, fails, lab, streams_while_it_runs};

fn peer() -> Lab {
    lab(function())
}

fn function() -> Function {
    Function::new(programs::peer_lambda_runtime().unwrap())
}

#[test]
fn lambda_runtime_echoes() {
    let lab = peer();
    for value in [json!(null), json!("é🦀\n\u{1}"), json!({ "a": [1, 2.5, {}] })] {
        let event = json!({ "do": "echo", "value": value }).to_string();
        assert_eq!(ask(&lab, event), value);
    }
}

#[test]
fn lambda_runtime_receives_and_sends_six_mebibytes() {
    let lab = peer();
    let frame = r#"{"do":"echo","value":""}"#;
    let text = "e".repeat(LARGEST - frame.len());
    let event = format!(r#"{{"do":"echo","value":"{text}"}}"#);
    assert_eq!(event.len(), LARGEST);
    assert!(ask(&lab, event).as_str() == Some(&text));

    let answer = json!({ "do": "answer", "bytes": LARGEST - 2 }).to_string();
    assert_eq!(lab.invoke(answer).unwrap().body.len(), LARGEST);
}

#[test]
fn a_response_of_lambda_runtime_that_is_too_large_is_refused_and_the_next_invocation_works() {
    let lab = peer();
    let before = ask(&lab, r#"{"do":"describe"}"#);
    let failure = fails(&lab, &json!({ "do": "answer", "bytes": LARGEST - 1 }));
    assert_eq!(failure.kind, FailureKind::AnswerTooLarge);
    assert_eq!(failure.error_type().as_deref(), Some("Function.ResponseSizeTooLarge"));
    assert_eq!(ask(&lab, r#"{"do":"describe"}"#)["process"], before["process"]);
}

#[test]
fn an_error_and_a_panic_under_lambda_runtime_reach_the_caller_and_the_process_continues() {
    let lab = peer();
    let before = ask(&lab, r#"{"do":"describe"}"#);
    let message = "it's \"broken\": é";
    let failure =
        fails(&lab, &json!({ "do": "fail", "type": "Function.Broken", "message": message }));
    assert_eq!(failure.kind, FailureKind::Reported);
    assert_eq!(failure.error_type().as_deref(), Some("Function.Broken"));
    assert_eq!(failure.error_message().as_deref(), Some(message));

    let failure = fails(&lab, &json!({ "do": "panic", "message": "the pump is dry" }));
    assert_eq!(failure.kind, FailureKind::Reported);
    let message = failure.error_message().unwrap();
    assert!(message.contains("the pump is dry"), "{message}");

    let failure = fails(&lab, &json!("not an event that it can parse"));
    assert_eq!(failure.kind, FailureKind::Reported);
    assert_eq!(ask(&lab, r#"{"do":"describe"}"#)["process"], before["process"]);
}

#[test]
fn lambda_runtime_answers_two_hundred_invocations_with_one_process() {
    crate::two_hundred_invocations_are_answered_by_one_process(&peer());
}

#[test]
fn lambda_runtime_reads_the_metadata_of_an_event_and_its_environment() {
    let lab = lab(function().name("greeter").memory(512));
    let event = Event::new(r#"{"do":"describe"}"#)
        .trace_id("Root=1-5759e988-bd862e3f;Sampled=1")
        .client_context(r#"{"client":{"installation_id":"i","app_title":"t","app_version_name":"n","app_version_code":"c","app_package_name":"p"},"custom":{"a":"1"},"env":{"b":"2"}}"#)
        .tenant_id("blue");
    let answer = lab.invoke(event).unwrap();
    let seen: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(seen["request_id"], answer.request_id.as_str());
    assert_eq!(seen["function"], "arn:aws:lambda:us-east-1:012345678912:function:greeter");
    assert_eq!(seen["trace_id"], "Root=1-5759e988-bd862e3f;Sampled=1");
    assert_eq!(seen["client_context"]["custom"]["a"], "1", "{seen}");
    assert_eq!(seen["tenant_id"], "blue");
    assert_eq!(seen["name"], "greeter");
    assert_eq!(seen["memory"], 512);
    assert_eq!(seen["version"], "$LATEST");
    assert_eq!(seen["log_group"], "/aws/lambda/greeter");
    assert_eq!(seen["log_stream"], "$LATEST");
}

#[test]
fn a_stream_of_lambda_runtime_arrives_while_the_function_is_running() {
    let (answer, body) = streams_while_it_runs(&peer());
    let content_type = answer.content_type.as_deref();
    assert_eq!(content_type, Some("application/vnd.awslambda.http-integration-response"));
    let (prelude, body) = body.split_once("\0\0\0\0\0\0\0\0").expect("eight NULs end the prelude");
    assert_eq!(serde_json::from_str::<Value>(prelude).unwrap()["statusCode"], 200);
    assert_eq!(body, "first\nsecond\n");
}
