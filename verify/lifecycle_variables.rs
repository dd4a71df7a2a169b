//! The environment variables of a lifecycle's options, set for separate processes. A test of each
//! transport includes this file and names its crate `transport`.

use std::time::Duration;

use lambda_proto_service::program::{Program, behaviour, say};
use lambda_proto_service::{Connection, Event, PATIENCE, Service};

use crate::transport::{Error, Lifecycle, Options, Runtime};

/// The runtime of the tests below, which run it in its own process.
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() {
    let Some(behaviour) = behaviour() else { return };
    let code = match run(&behaviour) {
        Ok(()) => 0,
        Err(error) => {
            say(&error.to_string());
            if matches!(error, Error::Init { .. }) { 2 } else { 1 }
        }
    };
    std::process::exit(code);
}

fn run(behaviour: &str) -> Result<(), Error> {
    let runtime = Runtime::from_env()?;
    if behaviour == "has no lifecycle" {
        return runtime.run(|_, responder| Ok(responder.send("")));
    }
    let lifecycle = Lifecycle::new()
        .on_init("slow", |_| {
            say("init hook");
            std::thread::sleep(PATIENCE);
        })
        .on_shutdown("end", |_| {
            say("shutdown hook");
            Ok(())
        });
    let lifecycle = match behaviour {
        "has hooks and sets options" => {
            let options = Options::new().with_init_timeout(Duration::from_millis(100));
            lifecycle.options(options.expect("it is valid")).signals(false)
        }
        _ => lifecycle,
    };
    runtime.lifecycle(lifecycle).run(|_, responder, _| Ok(responder.send("")))
}

/// The program and the connection that it opens first.
fn start(service: &Service, does: &str, variables: &[(&str, &str)]) -> (Program, Connection) {
    let test = "lifecycle_variables::program";
    (Program::start_test(test, &service.address(), does, variables), service.connection())
}

/// Takes the report of a failed start, and returns its message.
#[track_caller]
fn take_report(connection: &mut Connection, error_type: &str) -> String {
    let request = connection.request();
    request.assert_init_error(error_type);
    connection.take_answer();
    request.json()["errorMessage"].as_str().expect("a text").to_owned()
}

#[test]
fn invalid_variables_are_reported_before_any_hook_runs_and_end_the_runtime() {
    let service = Service::start();
    let variables = [
        ("LAMBDA_PROTO_INIT_TIMEOUT_MS", "8 s"),
        ("LAMBDA_PROTO_STOP_TIMEOUT_MS", "100"),
        ("LAMBDA_PROTO_SHUTDOWN_DURATION_MS", "3000"),
        ("LAMBDA_PROTO_WORK", "wait"),
    ];
    // An option that is set in code does not hide its invalid variable.
    for does in ["has hooks", "has hooks and sets options"] {
        let (mut program, mut connection) = start(&service, does, &variables);
        let message = take_report(&mut connection, "Runtime.InvalidConfiguration");
        let expected = "LAMBDA_PROTO_INIT_TIMEOUT_MS is \"8 s\": not a number of milliseconds: \
            write decimal digits only, such as 500; \
            LAMBDA_PROTO_SHUTDOWN_DURATION_MS is \"3000\": a shutdown of more than 2 s: \
            Lambda kills the process earlier, so set 2 s or less; \
            LAMBDA_PROTO_WORK is \"wait\": not a work policy: \
            write drain, report, strict or abandon";
        assert_eq!(message, expected);
        connection.expect_end();
        assert_eq!(program.end().code(), Some(2), "{:?}", program.lines().all());
        program.lines().wait_for(expected);
        assert!(!program.has_said("init hook") && !program.has_said("shutdown hook"));
        service.expect_no_connection();
    }
}

#[test]
fn a_valid_variable_sets_an_option_that_the_code_leaves_open() {
    let service = Service::start();
    let variables = [("LAMBDA_PROTO_INIT_TIMEOUT_MS", "150"), ("LAMBDA_PROTO_SIGNALS", "false")];
    // Without signals, no extension is registered first.
    let (mut program, mut connection) = start(&service, "has hooks", &variables);
    let message = take_report(&mut connection, "Runtime.InitTimeout");
    assert_eq!(message, "init hook \"slow\" had not ended after 150ms");
    assert_eq!(program.end().code(), Some(2));
}

#[test]
fn the_code_wins_over_a_valid_variable() {
    let service = Service::start();
    let variables = [("LAMBDA_PROTO_INIT_TIMEOUT_MS", "900000"), ("LAMBDA_PROTO_SIGNALS", "true")];
    let (mut program, mut connection) = start(&service, "has hooks and sets options", &variables);
    let message = take_report(&mut connection, "Runtime.InitTimeout");
    assert_eq!(message, "init hook \"slow\" had not ended after 100ms");
    assert_eq!(program.end().code(), Some(2));
}

#[test]
fn a_runtime_without_a_lifecycle_does_not_read_the_variables() {
    let service = Service::start();
    let variables = [("LAMBDA_PROTO_INIT_TIMEOUT_MS", "never")];
    let (_program, mut connection) = start(&service, "has no lifecycle", &variables);
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
}
