//! The program `capi/aws-lambda-cpp/tests/calls.cpp`, which makes the calls that its arguments name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lambda_interop::Process;
use lambda_proto_service::Service;

use crate::programs::{run, sources};

/// The program with the sanitizers for memory and for undefined behaviour.
pub(crate) fn calls() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled("calls", "address,undefined"))
}

/// The program with the sanitizer for threads.
pub(crate) fn threaded() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled("threaded", "thread"))
}

/// The program with the library's sources, compiled with these sanitizers, and its C library, which is
/// not.
fn compiled(name: &str, sanitizers: &str) -> PathBuf {
    let (prefix, program) = (c_library(), folder().join(name));
    let mut command = Command::new("g++");
    command.args(["-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O1", "-g"]);
    command.arg(format!("-fsanitize={sanitizers}"));
    command.args(["-fno-sanitize-recover=all", "-pthread"]);
    command.arg("-I").arg(sources().join("include")).arg("-I").arg(prefix.join("include"));
    let files = ["pool", "report", "runtime", "session", "socket"]
        .map(|name| sources().join(format!("src/{name}.cpp")));
    command.args(files).arg(sources().join("tests/calls.cpp"));
    run(command.arg(prefix.join("lib/liblambda_proto_core.a")).arg("-o").arg(&program));
    program
}

/// The folder in which the C library is installed.
fn c_library() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = folder().join("lambda_proto");
        fs::create_dir_all(&prefix).unwrap();
        run(Command::new(sources().join("../install")).arg(&prefix));
        prefix
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("aws-lambda-cpp")
}

pub(crate) fn call(service: &Service, calls: &[&str]) -> Process {
    call_with(service, calls, &[])
}

pub(crate) fn call_with(
    service: &Service,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Process {
    start(calls(), service, arguments, variables)
}

/// Starts one of these programs with these calls.
pub(crate) fn start(
    program: &Path,
    service: &Service,
    calls: &[&str],
    variables: &[(&str, &str)],
) -> Process {
    let mut command = Command::new(program);
    command.args(calls).env("AWS_LAMBDA_RUNTIME_API", service.address());
    command.env_remove("AWS_LAMBDA_MAX_CONCURRENCY").envs(variables.iter().copied());
    Process::start(&mut command).unwrap()
}

/// Waits for the end of the process, and checks its lines without its log.
#[track_caller]
pub(crate) fn assert_said(process: &mut Process, expected: &[&str]) {
    let status = process.wait().unwrap();
    if let Some(last) = expected.last() {
        process.wait_for_output(last).unwrap();
    }
    let output = process.output();
    let said: Vec<_> = output.lines().filter(|line| !line.starts_with("lambda_proto: ")).collect();
    assert_eq!(said, expected, "{output}");
    assert_eq!(status.code(), Some(0), "{output}");
}
