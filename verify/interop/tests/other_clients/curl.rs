//! curl as the caller of the lab.

use std::fs;
use std::io::Write;
use std::process::Command;

use lambda_interop::Process;
use lambda_lab::Lab;
use serde_json::{Value, json};

use crate::{Folder, LARGEST, Source, misbehave, run};

/// curl without this machine's proxies and settings.
fn curl(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["--disable", "--noproxy", "*", "--silent", "--show-error"]);
    command.args(arguments).arg(lab.url());
    command
}

/// curl's exit code for a body whose end is missing.
const PARTIAL_FILE: Option<i32> = Some(18);

#[test]
fn curl_gets_an_answer() {
    let lab = misbehave();
    let (code, answer, _) = run(&mut curl(&lab, &["-d", r#"{"do":"answer","bytes":3}"#]));
    assert_eq!((code, answer.as_str()), (Some(0), "aaa"));
}

#[test]
fn curl_sends_and_receives_six_mebibytes() {
    let lab = misbehave();
    let folder = Folder::new();
    let event = folder.0.join("event.json");
    let spaces = |event: &str, size: usize| format!("{event}{}", " ".repeat(size - event.len()));
    fs::write(&event, spaces(r#"{"do":"answer","bytes":6291556}"#, LARGEST)).unwrap();
    let file = format!("@{}", event.display());
    let (code, answer, _) = run(&mut curl(&lab, &["--data-binary", &file]));
    assert_eq!((code, answer.len()), (Some(0), LARGEST));

    fs::write(&event, spaces("{}", LARGEST + 1)).unwrap();
    let (code, _, error) = run(&mut curl(&lab, &["--fail", "--data-binary", &file]));
    assert_eq!(code, Some(22), "{error}");
    assert!(error.contains("413"), "{error}");
}

#[test]
fn curl_gets_the_error_document_and_a_header_for_a_failure() {
    let lab = misbehave();
    let event = r#"{"do":"fail","type":"Function.Broken","message":"m"}"#;
    let (code, answer, _) = run(&mut curl(&lab, &["-i", "-d", event]));
    assert_eq!(code, Some(0));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("\r\nx-amz-function-error: unhandled\r\n"), "{head}");
    let error: Value = serde_json::from_str(body).unwrap();
    assert_eq!(error["errorType"], "Function.Broken");
}

#[test]
fn curl_shows_the_chunks_of_a_stream_while_the_function_still_runs() {
    let lab = misbehave();
    let source = Source::new();
    let event = source.event(&Value::Null);
    let mut process = Process::start(&mut curl(&lab, &["--no-buffer", "-d", &event])).unwrap();
    process.wait_for_output("first\n").unwrap();
    let mut function = source.accept();
    assert_eq!(process.exit_status(), None);
    function.write_all(b"second\n").unwrap();
    process.wait_for_output("second\n").unwrap();
    assert_eq!(process.exit_status(), None);
    drop(function);
    assert!(process.wait().unwrap().success());
    assert_eq!(process.output(), "first\nsecond\n");
}

#[test]
fn curl_fails_when_a_stream_fails_and_shows_the_chunks_before_that() {
    let lab = misbehave();
    let source = Source::new();
    let event = source.event(&json!({ "type": "Function.Midway", "message": "m" }));
    let mut process = Process::start(&mut curl(&lab, &["--no-buffer", "-d", &event])).unwrap();
    process.wait_for_output("first\n").unwrap();
    drop(source.accept());
    assert_eq!(process.wait().unwrap().code(), PARTIAL_FILE, "{}", process.output());

    // The same if the failure is known before any byte has been sent.
    let event = r#"{"do":"stream","chunks":2,"bytes":3,"fail":{"type":"T","message":"m"}}"#;
    let (code, answer, _) = run(&mut curl(&lab, &["-d", event]));
    assert_eq!((code, answer.as_str()), (PARTIAL_FILE, "aaabbb"));
}

#[test]
fn curl_that_accepts_trailers_gets_the_failure_of_a_stream_in_trailers() {
    let lab = misbehave();
    let event =
        r#"{"do":"stream","chunks":2,"bytes":3,"fail":{"type":"Function.Midway","message":"m"}}"#;
    let (code, answer, error) = run(&mut curl(&lab, &["-i", "-H", "TE: trailers", "-d", event]));
    assert_eq!(code, Some(0), "{error}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("aaabbb"), "{body}");
    let trailer = "lambda-runtime-function-error-type: function.midway";
    assert!(body.to_lowercase().contains(trailer), "{body}");
}
