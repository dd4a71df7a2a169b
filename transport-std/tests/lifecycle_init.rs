//! Hooks before the first and after the last invocation of a runtime.

mod support;

use std::sync::mpsc::channel;
use std::time::Duration;

use lambda_proto_std::{Error, Failure, Lifecycle, Options};

use support::{Event, Gate, PATIENCE, Request, Service};

struct Table(&'static str);

/// Runs a start that fails; returns the report, the error and the service.
fn fail_start(lifecycle: Lifecycle) -> (Request, Error, Service) {
    let service = Service::start();
    let run = service.run_lifecycle(lifecycle, |_, _, _| unreachable!("nothing was asked for"));
    let mut connection = service.connection();
    let request = connection.request();
    connection.take_answer();
    let error = run.end().expect_err("the start has failed");
    // No `next` follows, on this connection or another.
    connection.expect_end();
    service.expect_no_connection();
    (request, error, service)
}

fn message(request: &Request) -> String {
    request.json()["errorMessage"].as_str().expect("a text").to_owned()
}

#[test]
fn a_failed_init_hook_is_reported_with_every_hook_that_failed_and_ends_the_runtime() {
    let both = Gate::default();
    let (opens, waits) = (both.clone(), both);
    let lifecycle = Lifecycle::new()
        .on_init("table", move |init| -> Result<(), Failure> {
            waits.wait();
            assert!(init.cancellation().wait(PATIENCE), "the other has failed");
            panic!("no disk")
        })
        .on_init("secret", move |_| -> Result<(), Failure> {
            opens.open();
            Err(Failure::new("Function.NoSecret", "it is gone"))
        })
        .on_init("fine", |_| {});
    let (request, error, service) = fail_start(lifecycle);
    request.assert_init_error("Runtime.InitError");
    let expected = "init hook \"secret\" failed: Function.NoSecret: it is gone; \
        init hook \"table\" failed: Function.Panic: no disk";
    assert_eq!(message(&request), expected);
    assert!(matches!(error, Error::Init { .. }), "{error}");
    assert!(error.to_string().ends_with(expected), "{error}");
    service.lines().wait_for("init hook \"secret\" failed: Function.NoSecret: it is gone");
}

#[test]
fn an_init_hook_that_aborts_is_reported_as_such() {
    let (request, error, _) = fail_start(Lifecycle::new().on_init("licence", |_| false));
    request.assert_init_error("Runtime.InitAborted");
    assert_eq!(message(&request), "init hook \"licence\" aborted the start");
    assert!(matches!(error, Error::Init { .. }), "{error}");
}

#[test]
fn init_hooks_that_ignore_their_cancellation_time_out_and_do_not_block_the_runtime() {
    let never = Gate::default();
    let (first, second) = (never.clone(), never.clone());
    let options = Options::new().with_init_timeout(Duration::from_millis(200)).unwrap();
    let lifecycle = Lifecycle::new()
        .options(options)
        .on_init("slow", move |_| first.wait())
        .on_init("quick", |_| {})
        .on_init("slower", move |_| second.wait());
    let (request, error, _) = fail_start(lifecycle);
    assert!(!never.is_open());
    never.open();
    request.assert_init_error("Runtime.InitTimeout");
    let expected = "init hook \"slow\" had not ended after 200ms; \
        init hook \"slower\" had not ended after 200ms";
    assert_eq!(message(&request), expected);
    assert!(matches!(error, Error::Init { .. }), "{error}");
}

#[test]
fn shutdown_hooks_do_not_run_after_a_start_that_failed() {
    let is_shut_down = Gate::default();
    let opens = is_shut_down.clone();
    let lifecycle =
        Lifecycle::new().on_init("no", |_| false).signals(false).on_shutdown("end", move |_| {
            opens.open();
            Ok(())
        });
    fail_start(lifecycle);
    assert!(!is_shut_down.is_open());
}

#[test]
fn no_invocation_is_asked_for_before_the_last_init_hook_has_ended() {
    let service = Service::start();
    let may_end = Gate::default();
    let waits = may_end.clone();
    let lifecycle = Lifecycle::new().on_init("slow", move |_| waits.wait());
    let run = service.run_lifecycle(lifecycle, |_, responder, _| Ok(responder.send("")));
    service.expect_no_connection();
    may_end.open();
    service.connection().expect_next();
    run.stop();
}

#[test]
fn values_of_init_hooks_are_available_to_invocations_and_shutdown_hooks() {
    let service = Service::start();
    let (sender, told) = channel();
    let lifecycle = Lifecycle::new()
        .on_init("table", |init| init.put(Table("users")))
        .on_init("number", |init| init.put(17_u32))
        .signals(false)
        .on_shutdown("end", move |shutdown| {
            let Table(name) = shutdown.get().expect("the table");
            sender.send((*name, shutdown.get::<u32>().copied())).expect("the test waits");
            Ok(())
        });
    let run = service.run_lifecycle(lifecycle, |_, responder, context| {
        let Table(name) = context.get().expect("the table");
        assert!(context.get::<String>().is_none());
        Ok(responder.send(format!("{name} {}", context.get::<u32>().expect("a number")).as_str()))
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2"] {
        connection.invoke(Event::new(id, ""));
        assert_eq!(connection.request().body, b"users 17");
        connection.take_answer();
    }
    connection.expect_next();
    assert!(told.try_recv().is_err(), "it is not over");
    run.stop();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(("users", Some(17))));
}

#[test]
fn a_runtime_that_ends_with_an_error_runs_its_shutdown_hooks_and_logs_those_that_fail() {
    let service = Service::start();
    let is_shut_down = Gate::default();
    let opens = is_shut_down.clone();
    let lifecycle = Lifecycle::new()
        .signals(false)
        .on_shutdown("fails", |_| Err(Failure::new("Function.Flush", "no space")))
        .on_shutdown("ends", move |_| {
            opens.open();
            Ok(())
        });
    let run = service.run_lifecycle(lifecycle, |_, responder, _| Ok(responder.send("")));
    let mut connection = service.connection();
    connection.expect_next();
    connection.refuse(500, "InternalServerError", "no");
    assert!(matches!(run.end(), Err(Error::Service(_))));
    assert!(is_shut_down.is_open());
    let lines = service.lines().all();
    let line = "shutdown hook \"fails\" failed: Function.Flush: no space";
    assert_eq!(lines.iter().filter(|other| *other == line).count(), 1, "{lines:?}");
}

#[test]
fn a_lifecycle_that_handles_no_signals_registers_no_extension() {
    let service = Service::start();
    let run = service.run_lifecycle(Lifecycle::new(), |_, responder, _| Ok(responder.send("")));
    let mut connection = service.connection();
    connection.expect_next();
    service.expect_no_connection();
    run.stop();
}

#[test]
fn an_extension_that_is_refused_is_logged_and_the_runtime_continues() {
    let service = Service::start();
    let lifecycle = Lifecycle::new().signals(true);
    let run = service.run_lifecycle(lifecycle, |_, responder, _| Ok(responder.send("fine")));
    let mut extension = service.connection();
    assert_eq!(extension.request().path, "/2020-01-01/extension/register");
    extension.answer(404, "", "no such page");
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    let lines = run.stop();
    assert!(lines.iter().any(|line| line.contains("Lambda would not send SIGTERM")), "{lines:?}");
}
