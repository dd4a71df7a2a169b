//! Functions in C++ that were written for aws-lambda-cpp.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lambda_interop::under_lab::Logged;
use lambda_interop::{Emulator, Function, aws_clients};
use lambda_lab::{FailureKind, InvokeError};

/// The folder with the sources of the library.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../capi/aws-lambda-cpp")
}

/// Compiles a program of that folder as its users do, and returns its path.
pub(crate) fn program(name: &str, source: &str) -> PathBuf {
    let library = aws_clients::library().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aws-lambda-cpp");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join(name);
    let mut command = Command::new("g++");
    command.args(["-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2"]);
    command.arg("-I").arg(library.join("include")).arg(sources().join(source));
    command.arg("-L").arg(library.join("lib")).args(["-laws-lambda-runtime", "-lcurl", "-pthread"]);
    run(command.arg("-o").arg(&program));
    program
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({}):\n{text}", output.status);
}

fn echo() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("echo", "examples/echo.cpp"))
}

#[test]
fn a_function_for_run_handler_answers_under_the_lab() {
    let running = Logged::program(echo(), &[]).start();
    for event in [r#""""#.to_owned(), format!("\"{}\"", "e".repeat(1_000_000)), "1".into()] {
        let answer = running.lab.invoke(event.as_str()).unwrap();
        assert!(answer.body == event.as_bytes(), "{} bytes", event.len());
        assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    }
    let process = running.pid();
    for (event, error_type) in [("fail", "Function.AsAsked"), ("throw", "Function.Exception")] {
        match running.lab.invoke(format!("\"{event}\"")) {
            Err(InvokeError::Function(failure)) => {
                assert_eq!(failure.kind, FailureKind::Reported);
                assert_eq!(failure.error_type().as_deref(), Some(error_type));
                assert_eq!(failure.error_message().as_deref(), Some("the event asks for it"));
            }
            other => panic!("{event} gave {other:?}\n{}", running.log()),
        }
    }
    for number in 0..1000 {
        let event = format!("\"event {number}\"");
        assert_eq!(running.lab.invoke(event.as_str()).unwrap().body, event.as_bytes());
    }
    assert_eq!(running.pid(), process, "another process: {}", running.log());
}

#[test]
fn a_function_for_run_handler_answers_under_the_emulator() {
    let mut emulator: Emulator = Function::new(echo()).start().unwrap();
    for event in ["{\"name\":\"Ada\"}".to_owned(), format!("\"{}\"", "e".repeat(100_000))] {
        let answer = emulator.invoke(&event).unwrap();
        assert!(answer.body == event.as_bytes(), "{}", answer.text());
    }
    let answer = emulator.invoke("\"fail\"").unwrap();
    assert!(answer.text().contains("Function.AsAsked"), "{}", answer.text());
    assert_eq!(emulator.invoke("1").unwrap().text(), "1");
}

#[test]
fn without_the_address_of_the_runtime_api_a_function_ends_with_a_line_about_it() {
    let output = Command::new(echo()).env_remove("AWS_LAMBDA_RUNTIME_API").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("AWS_LAMBDA_RUNTIME_API"), "{said}");
}
