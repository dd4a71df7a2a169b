//! The start: the function's init before the first invocation, and the environment variables.

mod support;

use std::process::{Command, ExitCode, Output, Termination};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use lambda_proto_tokio::{Error, Failure, Runtime};

use lambda_proto_service::Place;
use support::{Connection, Event, Request, Service, block_on};
use tokio::task::yield_now;

/// Runs a start that fails; the service replies to the report with `answer`.
fn fail_start(
    service: &Service,
    start: impl AsyncFnOnce() -> Result<(), Failure> + Send + 'static,
    answer: impl FnOnce(&mut Connection),
) -> (Request, Error) {
    let runtime = service.runtime();
    let stop = runtime.stop_handle();
    let run = service.run_loop(stop, async move || runtime.init(start).await);
    let mut connection = service.connection();
    let request = connection.request();
    answer(&mut connection);
    let error = run.end().expect_err("the start has failed");
    connection.expect_end();
    service.expect_no_connection();
    (request, error)
}

#[test]
fn a_start_that_succeeds_returns_its_value_and_reports_nothing() {
    let service = Service::start();
    let runtime = service.runtime();
    let init = runtime.init(async || {
        yield_now().await;
        Ok(7)
    });
    assert_eq!(block_on(init).unwrap(), 7);
    service.expect_no_connection();
}

#[test]
fn a_start_that_fails_is_reported_and_no_invocation_is_asked_for() {
    let service = Service::start();
    let start = async || Err(Failure::new("Function.NoTable", "there is no \"users\""));
    let (request, error) = fail_start(&service, start, Connection::take_answer);
    request.assert_init_error("Function.NoTable");
    assert_eq!(request.json()["errorMessage"], "there is no \"users\"");
    assert!(matches!(error, Error::Init { .. }));
    assert_eq!(
        error.to_string(),
        "the function could not start: Function.NoTable: there is no \"users\""
    );
    assert_eq!(service.lines().all(), [""; 0]);
}

#[test]
fn any_std_error_of_a_start_is_reported() {
    let service = Service::start();
    let start = async || {
        yield_now().await;
        std::fs::read("/no/such/file")?;
        Ok(())
    };
    let (request, _) = fail_start(&service, start, Connection::take_answer);
    request.assert_init_error("Function.Error");
    let message = request.json()["errorMessage"].to_string();
    assert!(message.contains("No such file"), "{message}");
}

#[test]
fn a_start_that_panics_is_reported() {
    let service = Service::start();
    let start = async || {
        yield_now().await;
        panic!("the disk is gone");
    };
    let (request, error) = fail_start(&service, start, Connection::take_answer);
    request.assert_init_error("Function.Panic");
    assert_eq!(request.json()["errorMessage"], "the disk is gone");
    let expected = "the function could not start: Function.Panic: the disk is gone";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_report_of_a_failed_start_never_carries_an_attempt_id() {
    let service = Service::start();
    let start = async || Err(Failure::new("Function.A", "b"));
    let (request, _) = fail_start(&service, start, Connection::take_answer);
    assert_eq!(request.header("Lambda-Runtime-Invocation-Id"), None);
}

#[test]
fn a_refusal_of_the_report_is_logged_and_the_start_still_fails() {
    for status in [403, 500] {
        let service = Service::start();
        let start = async || Err(Failure::new("Function.A", "b"));
        let refuse = |connection: &mut Connection| connection.refuse(status, "SomeType", "words");
        let (_, error) = fail_start(&service, start, refuse);
        assert!(matches!(error, Error::Init { .. }), "{error}");
        let lines = service.lines().all();
        let expected = format!("init/error was answered with {status}");
        assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{lines:?}");
    }
}

#[test]
fn a_start_that_fails_while_the_service_is_away_says_why_it_failed() {
    let gone = Place::deserted();
    let runtime = support::runtime_at(&gone).give_up_after(Duration::from_millis(10));
    let start = async || -> Result<(), _> { Err(Failure::new("Function.NoTable", "b")) };
    let error = block_on(runtime.init(start)).unwrap_err();
    let told = format!("{:?} {error}", gone.lines().all());
    assert!(told.contains("Function.NoTable"), "{told}");
}

/// Set in the environment of a process that is to run [`program`].
const MARKER: &str = "TEST_IS_A_PROGRAM";

/// A `main` that does nothing but run a runtime, with the environment that a test gives it.
///
/// The tests below run it in its own process.
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() {
    if std::env::var_os(MARKER).is_none() {
        return;
    }
    let ended = block_on(async {
        let runtime = Runtime::from_env()?;
        let init = runtime.init(async || match std::env::var_os("TEST_INIT_FAILS") {
            Some(_) => Err(Failure::new("Function.NotToday", "told to")),
            None => Ok(()),
        });
        init.await?;
        runtime.run(async |invocation, responder| Ok(responder.send(invocation.body()).await)).await
    });
    // As the standard library does with what `main` returns.
    let is_well = ended.report() == ExitCode::SUCCESS;
    std::process::exit(if is_well { 0 } else { 1 });
}

/// Starts [`program`] in its own process, which inherits no environment variables.
fn start_program(variables: &[(&str, &str)]) -> impl FnOnce() -> Output + use<> {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env_clear()
        .env(MARKER, "yes")
        .envs(variables.iter().copied())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, output) = channel();
    thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    move || output.recv_timeout(support::PATIENCE).expect("the program has not ended")
}

#[track_caller]
fn assert_fails_with(output: Output, line: &str) {
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("Error: {line}\n"));
}

#[test]
fn without_an_address_the_program_says_so_in_one_line_and_fails() {
    assert_fails_with(
        start_program(&[])(),
        "AWS_LAMBDA_RUNTIME_API is not set: this program is a Lambda runtime; deploy it to Lambda, or \
         run it locally with: lambda-lab run PROGRAM",
    );
}

#[test]
fn address_and_slots_are_taken_from_the_environment() {
    let service = Service::start();
    let address = service.address();
    let ended =
        start_program(&[("AWS_LAMBDA_RUNTIME_API", &address), ("AWS_LAMBDA_MAX_CONCURRENCY", "3")]);
    let mut connections: Vec<_> = (0..3).map(|_| service.connection()).collect();
    for connection in &mut connections {
        connection.invoke(Event::new("id-1", "x"));
        connection.request().assert_response("id-1");
    }
    for connection in &mut connections {
        connection.refuse(500, "InternalServerError", "no");
    }
    service.expect_no_connection();
    let output = ended();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.lines().count() >= 4, "{stderr}");
    assert!(
        stderr.lines().all(|line| {
            line.starts_with("ERROR lambda-proto: ")
                || line.starts_with("Error: the Runtime API ends")
        }),
        "{stderr}"
    );
}

#[test]
fn a_program_whose_start_fails_reports_it_and_fails() {
    let service = Service::start();
    let address = service.address();
    let ended = start_program(&[("AWS_LAMBDA_RUNTIME_API", &address), ("TEST_INIT_FAILS", "yes")]);
    let mut connection = service.connection();
    connection.request().assert_init_error("Function.NotToday");
    connection.take_answer();
    assert_fails_with(ended(), "the function could not start: Function.NotToday: told to");
}

#[test]
fn what_init_returns_is_borrowed_by_the_handlers_of_all_slots() {
    let service = Service::start();
    let runtime = service.runtime().slots(2);
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let greeting = runtime.init(async || Ok(String::from("hello"))).await?;
        runtime.run(async |_, responder| Ok(responder.send(&greeting).await)).await
    });
    for connection in &mut service.open_slots(2) {
        connection.send(Event::new("id-1", "").bytes());
        assert_eq!(connection.request().body, b"hello");
        connection.take_answer();
    }
    run.stop();
}
