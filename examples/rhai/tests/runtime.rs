//! Runs the program as a process, under a service that each test scripts.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use lambda_proto_service::{Connection, Event, Lines, Request, Service};
use rustix::process::{Pid, Signal, kill_process};

/// A running program, killed on drop.
struct Program {
    child: Child,
    lines: Lines,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    fn start(service: &Service, handler: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rhai"))
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", service.address())
            .env("LAMBDA_TASK_ROOT", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts"))
            .env("_HANDLER", handler)
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Lines::default();
        let pushed = lines.clone();
        let reader = thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| pushed.push(line));
        });
        Self { child, lines, reader: Some(reader) }
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits until the program exits.
    fn end(&mut self) -> ExitStatus {
        // The reader ends when the program does.
        self.reader.take().unwrap().join().unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _may_have_ended = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Accepts the registration of the extension, without which Lambda sends the runtime no SIGTERM.
fn register_extension(service: &Service) -> Connection {
    let mut connection = service.connection();
    assert_eq!(connection.request().path, "/2020-01-01/extension/register");
    connection.answer(200, "Lambda-Extension-Identifier: c7d2\r\n", "{}");
    assert_eq!(connection.request().path, "/2020-01-01/extension/event/next");
    connection
}

/// A program that runs `test.rhai`.
struct Running {
    program: Program,
    connection: Connection,
    _extension: Connection,
}

impl Running {
    fn start(service: &Service) -> Self {
        let program = Program::start(service, "test.handle", &[]);
        let extension = register_extension(service);
        Self { program, connection: service.connection(), _extension: extension }
    }

    fn invoke(&mut self, event: &str) -> Request {
        self.connection.invoke(Event::new("id-1", event));
        let request = self.connection.request();
        self.connection.take_answer();
        request
    }

    #[track_caller]
    fn expect_response(&mut self, event: &str, response: &str) {
        let request = self.invoke(event);
        request.assert_response("id-1");
        assert_eq!(String::from_utf8_lossy(&request.body), response);
    }

    #[track_caller]
    fn expect_error(&mut self, event: &str, error_type: &str, message: &str) -> Request {
        let request = self.invoke(event);
        request.assert_error("id-1", error_type);
        assert_eq!(request.json()["errorMessage"], message);
        request
    }
}

#[test]
fn events_and_results_are_values_of_the_script() {
    let service = Service::start();
    let mut run = Running::start(&service);
    for value in [r#"[1,2.5,"a",true,null,{"b":[]}]"#, "9007199254740993", "{}", "null"] {
        run.expect_response(&format!(r#"{{"task":"echo","value":{value}}}"#), value);
    }
    run.expect_response(r#"{"task":"tell"}"#, r#"{"has_time":true,"id":"id-1"}"#);
}

#[test]
fn numbers_that_cannot_be_converted_are_errors() {
    let service = Service::start();
    let mut run = Running::start(&service);
    let request = run.invoke(r#"{"task":"echo","value":[18446744073709551615]}"#);
    request.assert_error("id-1", "Runtime.UnmarshalError");
    assert!(request.json()["errorMessage"].to_string().contains("18446744073709551615"));
    let request = run.invoke(r#"{"task":"no number"}"#);
    request.assert_error("id-1", "Runtime.MarshalError");
    run.invoke("no JSON").assert_error("id-1", "Runtime.UnmarshalError");
}

#[test]
fn a_thrown_value_is_reported_as_the_error_of_the_invocation() {
    let service = Service::start();
    let mut run = Running::start(&service);
    run.expect_error(r#"{"task":"throw"}"#, "Function.NotFound", "there is no order 7");
    run.expect_error(r#"{"task":"throw text"}"#, "Function.ScriptError", "plain text");
    let message = "Function not found: nothing_like_it (map)";
    let request = run.expect_error(r#"{"task":"break"}"#, "Function.ScriptError", message);
    let frame = request.json()["stackTrace"][0].to_string();
    assert!(frame.contains("line ") && frame.contains("position "), "{frame}");
    run.expect_response(r#"{"task":"echo","value":1}"#, "1");
}

#[test]
fn a_script_streams_its_response() {
    let service = Service::start();
    let mut run = Running::start(&service);
    let request = run.invoke(r#"{"task":"stream"}"#);
    request.assert_response("id-1");
    assert_eq!(request.header("Content-Type"), Some("text/plain"));
    assert_eq!(request.chunks, [b"one", b"two"]);
    let request = run.invoke(r#"{"task":"stream and throw"}"#);
    assert_eq!(request.chunks, [b"half"]);
    let error_type = request.trailer("Lambda-Runtime-Function-Error-Type");
    assert_eq!(error_type, Some("Function.Half"));
    let event = r#"{"task":"fail before the first piece"}"#;
    run.expect_error(event, "Function.Early", "nothing was written");
    for event in [r#"{"task":"wrong content type"}"#, r#"{"task":"write first"}"#] {
        run.invoke(event).assert_error("id-1", "Function.ScriptError");
    }
}

#[test]
fn sigterm_runs_the_shutdown_function_and_ends_the_program() {
    let service = Service::start();
    let mut run = Running::start(&service);
    run.expect_response(r#"{"task":"echo","value":1}"#, "1");
    run.invoke(r#"{"task":"tell"}"#);
    run.connection.expect_next();
    run.program.terminate();
    let status = run.program.end();
    let lines = run.program.lines.all().join("\n");
    assert_eq!(status.code(), Some(0), "{lines}");
    let said: Vec<_> = ["statements run once", "after echo of id-1", "too late", "the script ends"]
        .iter()
        .map(|part| lines.find(part).unwrap_or_else(|| panic!("no {part:?} in {lines}")))
        .collect();
    assert!(said.is_sorted(), "{lines}");
}

#[test]
fn statements_run_again_after_a_restore() {
    let service = Service::start();
    let snapshot = [("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];
    let mut program = Program::start(&service, "test.handle", &snapshot);
    let _extension = register_extension(&service);
    let mut connection = service.connection();
    assert_eq!(connection.request().path, "/2018-06-01/runtime/restore/next");
    connection.answer(200, "", "");
    assert_eq!(service.connection().request().path, "/2020-01-01/extension/event/next");
    service.connection().expect_next();
    // A thread of the program writes the log, all of it before the end.
    program.terminate();
    program.end();
    let lines = program.lines.all();
    let count = lines.iter().filter(|line| line.contains("statements run once")).count();
    assert_eq!(count, 2, "{lines:?}");
}

#[test]
fn an_unusable_handler_is_reported_as_an_init_error() {
    for (handler, error_type, part) in [
        ("", "Runtime.InvalidHandler", "not of the form file.function"),
        ("test", "Runtime.InvalidHandler", "not of the form file.function"),
        ("missing.handle", "Runtime.ScriptUnreadable", "missing.rhai cannot be read"),
        ("../tests/broken.handle", "Runtime.ScriptInvalid", "broken.rhai does not compile"),
        ("test.missing", "Runtime.HandlerNotFound", "has no function missing(event)"),
    ] {
        let service = Service::start();
        let mut program = Program::start(&service, handler, &[]);
        let _extension = register_extension(&service);
        let mut connection = service.connection();
        let request = connection.request();
        assert_eq!(request.path, "/2018-06-01/runtime/init/error");
        connection.take_answer();
        let message = request.json()["errorMessage"].to_string();
        assert!(message.contains(error_type) && message.contains(part), "{message}");
        assert!(!program.end().success());
    }
}
