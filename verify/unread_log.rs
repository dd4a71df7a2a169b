//! A log that nobody reads. A test of each transport includes this file, names its crate `transport`,
//! and has a `serve` that calls the handler for each invocation.

use std::process::{Child, Command, Stdio};

use lambda_proto_service::{Connection, Event, Service};

use crate::serve;
use crate::transport::{Error, Failure, Runtime};

/// Set in a process that runs the program of the test below.
const IS_PROGRAM: &str = "TEST_IS_PROGRAM";

/// The program that the test below runs in its own process.
#[test]
#[ignore = "not a test: another test runs it as a program"]
fn program() -> Result<(), Error> {
    if std::env::var_os(IS_PROGRAM).is_none() {
        return Ok(());
    }
    serve(Runtime::from_env()?, |event| match event {
        b"panic" => panic!("{}", "x".repeat(900)),
        _ => Failure::new("Function.Long", "x".repeat(900)),
    })
}

/// A process that is killed on drop.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _may_have_ended = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn invoke(connection: &mut Connection, event: &str, error_type: &str) {
    connection.send(Event::new("id-1", event).bytes());
    connection.request().assert_error("id-1", error_type);
    connection.take_answer();
    connection.expect_next();
}

#[test]
fn a_log_that_nobody_reads_does_not_block_a_slot() {
    let service = Service::start();
    let program = Command::new(std::env::current_exe().expect("a test binary"))
        .args(["--exact", "unread_log::program", "--ignored", "--nocapture"])
        .env_clear()
        .env(IS_PROGRAM, "1")
        .env("AWS_LAMBDA_RUNTIME_API", service.address())
        .env("AWS_LAMBDA_MAX_CONCURRENCY", "2")
        .env("RUST_BACKTRACE", "1")
        .stdout(Stdio::null())
        // A pipe holds 64 KiB; the lines are three times as long.
        .stderr(Stdio::piped())
        .spawn()
        .expect("a test binary starts");
    let _killed_at_the_end = Program(program);
    let mut connections = service.open_slots(2);
    for _ in 0..50 {
        for connection in &mut connections {
            invoke(connection, "fail", "Function.Long");
            invoke(connection, "panic", "Function.Panic");
        }
    }
}
