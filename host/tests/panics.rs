//! Panics in the log. Each test runs a child process, since the panic hook is global.

use std::panic::{self, catch_unwind};
use std::process::{Command, exit};
use std::thread;

use lambda_proto::client::{Warning, WarningKind};
use lambda_proto_host::{Failure, Settings, catch};
use serde_json::Value;

/// The variable that names the task of [`program`].
const TASK: &str = "TEST_TASK";

fn handler() -> Result<(), Failure> {
    panic!("first\nsecond")
}

/// The program that the tests below run as a child process.
#[test]
#[ignore = "is not a test but the child process of others"]
fn program() {
    let Ok(task) = std::env::var(TASK) else { return };
    if task == "a hook with values before" {
        let name = task.clone();
        panic::set_hook(Box::new(move |_| eprintln!("{name}")));
    }
    let settings = Settings::from_env().unwrap();
    match &*task {
        "a thread" => {
            drop(thread::Builder::new().name("own".into()).spawn(handler).unwrap().join());
        }
        "a handler that catches" => catch(|| {
            drop(catch_unwind(handler));
            Ok(())
        })
        .unwrap(),
        "a hook after" => {
            panic::set_hook(Box::new(|_| eprintln!("a hook after")));
            fail(&settings);
        }
        "a failure of before" => {
            drop(catch_unwind(handler));
            let failure = catch(|| -> Result<(), _> { Err("another")? }).unwrap_err();
            assert_eq!(failure.to_string(), "Function.Error: another");
        }
        _ => fail(&settings),
    }
    exit(0);
}

/// Logs a failure as a runtime does.
fn fail(settings: &Settings) {
    let failure = catch(handler).unwrap_err();
    let logged = format!("{failure:?}");
    let stack_trace = logged.split("stack_trace: \"").nth(1).unwrap().split('"').next().unwrap();
    let stack_trace = stack_trace.replace("\\n", "\n");
    let (error_type, message) = ("Function.Panic", failure.message());
    let kind = WarningKind::Failed { error_type, message, stack_trace: &stack_trace };
    settings.log.warning(&Warning { request_id: "8476a536", kind });
}

/// The lines that a program writes to standard error.
fn lines_of(task: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .env(TASK, task)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{lines}");
    lines.lines().map(str::to_owned).collect()
}

const JSON: (&str, &str) = ("AWS_LAMBDA_LOG_FORMAT", "JSON");

/// The only record that a program writes.
#[track_caller]
fn record_of(task: &str, variables: &[(&str, &str)]) -> Value {
    let lines = lines_of(task, &[variables, &[JSON]].concat());
    assert_eq!(lines.len(), 1, "{lines:#?}");
    serde_json::from_str(&lines[0]).unwrap()
}

#[test]
#[cfg_attr(not(feature = "log-config"), ignore = "needs the feature log-config")]
fn a_panic_of_a_handler_is_one_record_with_message_and_place() {
    let record = record_of("panic", &[]);
    assert_eq!(record["requestId"], "8476a536");
    assert_eq!(record["errorType"], "Function.Panic");
    assert_eq!(record["errorMessage"], "first\nsecond");
    let frames = record["stackTrace"].as_array().unwrap();
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert!(frames[0].as_str().unwrap().contains("panics.rs:"), "{frames:?}");
}

#[test]
#[cfg_attr(not(feature = "log-config"), ignore = "needs the feature log-config")]
fn the_record_has_a_backtrace_if_it_is_requested() {
    let record = record_of("panic", &[("RUST_BACKTRACE", "1")]);
    let frames = record["stackTrace"].to_string();
    assert!(frames.contains("panics::handler"), "{frames}");
}

#[test]
#[cfg_attr(not(feature = "log-config"), ignore = "needs the feature log-config")]
fn a_panic_of_another_thread_is_one_record() {
    let record = record_of("a thread", &[]);
    assert_eq!(record["message"], "thread own panicked: first second");
    assert_eq!(record["level"], "ERROR");
    assert_eq!(record["errorMessage"], "first\nsecond");
}

#[test]
#[cfg_attr(not(feature = "log-config"), ignore = "needs the feature log-config")]
fn a_panic_that_the_handler_catches_is_one_record_too() {
    let record = record_of("a handler that catches", &[]);
    assert_eq!(record["errorMessage"], "first\nsecond");
}

#[test]
fn a_panic_is_one_record_in_text_too() {
    let lines = lines_of("panic", &[]);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let first = "ERROR lambda-proto: invocation 8476a536: failed: Function.Panic: first second";
    assert_eq!(lines[0], first);
    assert!(lines[1].starts_with("    ") && lines[1].contains("panics.rs:"), "{lines:#?}");
}

#[test]
fn the_panic_hook_of_the_program_is_called() {
    let lines = lines_of("a hook with values before", &[]);
    assert_eq!(lines[0], "a hook with values before");
    assert!(lines[1].contains("failed: Function.Panic: first second"), "{lines:#?}");
    let lines = lines_of("a hook after", &[]);
    assert_eq!(lines[0], "a hook after");
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[test]
fn an_earlier_panic_is_not_taken_for_that_of_a_handler() {
    assert_eq!(lines_of("a failure of before", &[]).len(), 2);
}
