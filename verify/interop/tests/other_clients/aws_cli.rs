//! The AWS CLI as the caller of the lab.

use std::fs;
use std::process::Command;

use lambda_lab::Lab;
use serde_json::Value;

use crate::{Folder, Source, misbehave, python, run};

/// The output of the CLI: the function's answer, and its report of the invocation.
struct Invoked {
    code: Option<i32>,
    answer: String,
    said: Value,
    error: String,
}

/// Runs `aws lambda invoke` with these arguments and made-up credentials.
fn invoke(lab: &Lab, arguments: &[&str]) -> Invoked {
    let folder = Folder::new();
    let file = folder.0.join("answer");
    let (python, variables) = python();
    let mut command = Command::new(python);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.envs(variables).args([
        "-m",
        "awscli",
        "lambda",
        "invoke",
        "--function-name",
        "anything",
    ]);
    command.args(["--endpoint-url", &format!("http://{}", lab.address())]);
    command.args(arguments).arg(&file);
    command.envs([
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "nothing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("NO_PROXY", "127.0.0.1"),
    ]);
    let (code, said, error) = run(&mut command);
    let answer = fs::read_to_string(&file).unwrap_or_default();
    let said = serde_json::from_str(&said).unwrap_or_default();
    Invoked { code, answer, said, error }
}

#[test]
fn the_aws_cli_gets_an_answer() {
    let invoked = invoke(&misbehave(), &["--payload", r#"{"do":"answer","bytes":3}"#]);
    assert_eq!(invoked.code, Some(0), "{}", invoked.error);
    assert_eq!(invoked.answer, "aaa");
    assert_eq!(invoked.said["StatusCode"], 200);
    assert_eq!(invoked.said["ExecutedVersion"], "$LATEST");
    assert_eq!(invoked.said.get("FunctionError"), None);
}

#[test]
fn the_aws_cli_reports_the_failure_of_a_function() {
    let event = r#"{"do":"fail","type":"Function.Broken","message":"m"}"#;
    let invoked = invoke(&misbehave(), &["--payload", event]);
    assert_eq!(invoked.code, Some(0), "{}", invoked.error);
    assert_eq!(invoked.said["StatusCode"], 200);
    assert_eq!(invoked.said["FunctionError"], "Unhandled");
    let error: Value = serde_json::from_str(&invoked.answer).unwrap();
    assert_eq!(error["errorType"], "Function.Broken");
}

#[test]
fn the_aws_cli_reports_the_end_of_a_process_as_a_failure_of_the_function() {
    let lab = misbehave();
    let invoked = invoke(&lab, &["--payload", r#"{"do":"exit","code":3}"#]);
    assert_eq!(invoked.code, Some(0), "{}", invoked.error);
    assert_eq!(invoked.said["FunctionError"], "Unhandled");
    let error: Value = serde_json::from_str(&invoked.answer).unwrap();
    assert_eq!(error["errorType"], "Runtime.ExitError");
}

#[test]
fn the_aws_cli_fails_when_a_stream_fails() {
    let event = r#"{"do":"stream","chunks":2,"bytes":3,"fail":{"type":"T","message":"m"}}"#;
    let invoked = invoke(&misbehave(), &["--payload", event]);
    assert_ne!(invoked.code, Some(0), "{} {}", invoked.said, invoked.answer);
    assert!(invoked.error.contains("ncomplete"), "{}", invoked.error);
}

#[test]
fn the_aws_cli_does_not_wait_for_an_asynchronous_invocation_which_still_runs() {
    let lab = misbehave();
    let source = Source::new();
    let event = source.event(&Value::Null);
    let invoked = invoke(&lab, &["--invocation-type", "Event", "--payload", &event]);
    assert_eq!(invoked.code, Some(0), "{}", invoked.error);
    assert_eq!(invoked.said["StatusCode"], 202);
    assert_eq!(invoked.answer, "");
    // The function is still waiting for this connection, although the CLI has its reply.
    drop(source.accept());
}

#[test]
fn the_aws_cli_gets_204_for_a_dry_run() {
    let invoked = invoke(&misbehave(), &["--invocation-type", "DryRun"]);
    assert_eq!(invoked.code, Some(0), "{}", invoked.error);
    assert_eq!(invoked.said["StatusCode"], 204);
}

#[test]
fn a_client_context_of_the_aws_cli_reaches_the_function() {
    let context = "eyJjdXN0b20iOnsiYSI6IjEifX0=";
    let event = r#"{"do":"describe"}"#;
    let invoked = invoke(&misbehave(), &["--client-context", context, "--payload", event]);
    assert_eq!(invoked.code, Some(0), "{}", invoked.error);
    let seen: Value = serde_json::from_str(&invoked.answer).unwrap();
    assert_eq!(seen["client_context"], r#"{"custom":{"a":"1"}}"#);
}

#[test]
fn the_aws_cli_reports_the_reason_of_a_rejected_call() {
    let invoked = invoke(&misbehave(), &["--client-context", "?", "--payload", "{}"]);
    assert_ne!(invoked.code, Some(0));
    let reason = "(InvalidRequestContentException)";
    assert!(invoked.error.contains(reason), "{}", invoked.error);
    assert!(invoked.error.contains("X-Amz-Client-Context"), "{}", invoked.error);
}
