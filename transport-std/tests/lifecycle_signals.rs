//! SIGTERM and SIGINT, sent to a runtime in its own process at every step of its life.
#![cfg(unix)]

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lambda_proto_std::{
    Context, Failure, Invocation, Lifecycle, Options, Responder, Runtime, Sent,
};

use lambda_proto_service::program::{Program, Signal, behaviour, say, wait_for_test};
use support::{Connection, Event, PATIENCE, Service};

struct Table;

/// The runtime of the tests below, which run it in its own process.
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() {
    let Some(behaviour) = behaviour() else { return };
    let runtime = Runtime::from_env().expect("an address");
    let stop = runtime.stop_handle();
    let result = runtime
        .lifecycle(lifecycle(&behaviour))
        .run(|invocation, responder, context| handle(&behaviour, invocation, responder, &context));
    if behaviour == "outlives its runtime" {
        assert!(stop.is_stopping() || result.is_err());
        say("continues");
        wait_for_test();
    }
    say("the end of main");
    let code = std::process::Termination::report(result);
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

fn lifecycle(behaviour: &str) -> Lifecycle {
    let millis = Duration::from_millis;
    let (duration, buffer) = match behaviour {
        // The buffer is the time for invocations in flight: half of the shutdown, or all of it.
        "answers when told" | "starts when told" => (2_000, 1_000),
        "is patient" => (2_000, 2_000),
        "answers slowly" | "ends when cancelled" => (2_000, 50),
        // Twice the default, for busy machines.
        _ => (1_000, 50),
    };
    let options = Options::new()
        .with_shutdown_duration(millis(duration))
        .and_then(|options| options.with_shutdown_buffer(millis(buffer)))
        .expect("options that make sense");
    let lifecycle = Lifecycle::new().options(options).on_init("table", |init| init.put(Table));
    let lifecycle = match behaviour {
        "starts when told" => lifecycle.on_init("slow", |_| {
            say("init hook");
            wait_for_test();
        }),
        _ => lifecycle,
    };
    match behaviour {
        "has no hooks" => lifecycle,
        "has no hooks and handles signals" => lifecycle.signals(true),
        "has hooks and handles no signals" => {
            lifecycle.signals(false).on_shutdown("hook", |_| Ok(()))
        }
        _ => lifecycle
            .on_shutdown("first", |shutdown| {
                let table = if shutdown.get::<Table>().is_some() { "with" } else { "without" };
                say(&format!("first hook, {table} the table"));
                Ok(())
            })
            .on_shutdown("second", |_| {
                say("second hook");
                Ok(())
            }),
    }
}

fn handle<'i>(
    behaviour: &str,
    _: Invocation<'i>,
    responder: Responder<'i>,
    context: &Context,
) -> Result<Sent<'i>, Failure> {
    match behaviour {
        "answers when told" | "is patient" => {
            say("in flight");
            wait_for_test();
            Ok(responder.send("told"))
        }
        "never answers" => {
            say("in flight");
            assert!(context.cancellation().wait(PATIENCE), "it fires");
            say("the token has fired");
            loop {
                std::thread::park();
            }
        }
        "ends when cancelled" => {
            say("in flight");
            assert!(context.cancellation().wait(PATIENCE), "it fires");
            Err(Failure::new("Function.Cancelled", "the process has to end"))
        }
        _ => Ok(responder.send("answer")),
    }
}

/// The program, after it has registered its extension.
fn start(service: &Service, behaviour: &str) -> (Program, Connection) {
    let program = Program::start(&service.address(), behaviour, &[]);
    (program, service.register_extension())
}

/// The same, after it has asked for an invocation.
fn start_waiting(service: &Service, behaviour: &str) -> (Program, Connection, Connection) {
    let (program, extension) = start(service, behaviour);
    let mut connection = service.connection();
    connection.expect_next();
    (program, extension, connection)
}

/// The same, with an invocation in flight.
fn start_invoked(service: &Service, behaviour: &str) -> (Program, Connection, Connection) {
    let (program, extension, mut connection) = start_waiting(service, behaviour);
    connection.send(Event::new("id-1", "").bytes());
    program.lines().wait_for("in flight");
    (program, extension, connection)
}

#[track_caller]
fn assert_hooks_ran(program: &Program) {
    program.lines().wait_for("first hook, with the table");
    program.lines().wait_for("second hook");
}

/// Waits until the runtime has received the signal.
fn wait_for_signal(program: &Program) {
    program.lines().wait_for("no more invocations are taken");
}

#[test]
fn a_process_that_waits_for_an_invocation_runs_its_hooks_and_exits_with_0() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let service = Service::start();
        let (mut program, mut extension, mut connection) = start_waiting(&service, "");
        extension.expect_silence();
        program.signal(signal);
        program.expect_end();
        assert_hooks_ran(&program);
        assert!(program.has_said("the end of main"));
        program.lines().wait_for(&format!("{name}: no more invocations are taken"));
        connection.expect_end();
        extension.expect_end();
        service.expect_no_connection();
    }
}

#[test]
fn an_invocation_in_flight_is_answered_before_the_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let service = Service::start();
        let (mut program, _extension, mut connection) =
            start_invoked(&service, "answers when told");
        program.signal(signal);
        wait_for_signal(&program);
        program.go_on();
        let answer = connection.request();
        answer.assert_response("id-1");
        assert_eq!(answer.body, b"told");
        connection.take_answer();
        program.expect_end();
        assert_hooks_ran(&program);
        assert!(program.has_said("the end of main"));
        connection.expect_end();
        service.expect_no_connection();
    }
}

#[test]
fn a_handler_that_ignores_everything_is_cancelled_and_its_invocation_is_reported() {
    let service = Service::start();
    let (mut program, _extension, mut connection) = start_invoked(&service, "never answers");
    program.signal(Signal::TERM);
    // On a separate connection, since the handler holds that of the worker.
    let mut reporting = service.connection();
    let report = reporting.request();
    report.assert_error("id-1", "Runtime.ShutDown");
    program.lines().wait_for("the token has fired");
    assert_hooks_ran(&program);
    reporting.take_answer();
    program.expect_end();
    assert!(!program.has_said("the end of main"), "nothing waits for the handler");
    connection.expect_end();
    program.lines().wait_for("unanswered at the end of the process: 1");
}

#[test]
fn a_report_without_a_reply_does_not_keep_the_process_beyond_its_window() {
    let service = Service::start();
    let (mut program, _extension, _connection) = start_invoked(&service, "never answers");
    let signalled = Instant::now();
    program.signal(Signal::TERM);
    let mut reporting = service.connection();
    reporting.request().assert_error("id-1", "Runtime.ShutDown");
    program.expect_end();
    // A second, and what a busy machine adds; nobody takes the report for longer than that.
    assert!(signalled.elapsed() < PATIENCE / 2, "{:?}", signalled.elapsed());
}

#[test]
fn the_failure_of_a_handler_that_ends_when_it_is_cancelled_is_sent() {
    let service = Service::start();
    let (mut program, _extension, mut connection) = start_invoked(&service, "ends when cancelled");
    program.signal(Signal::TERM);
    connection.request().assert_error("id-1", "Function.Cancelled");
    connection.take_answer();
    program.expect_end();
    assert_hooks_ran(&program);
    connection.expect_end();
    service.expect_no_connection();
}

#[test]
fn an_answer_on_its_way_is_not_killed_before_its_reply() {
    let service = Service::start();
    let (mut program, _extension, mut connection) = start_waiting(&service, "answers slowly");
    connection.send(Event::new("id-1", "").bytes());
    connection.request().assert_response("id-1");
    program.signal(Signal::TERM);
    // The time for the invocation is over, and everything else has ended.
    program.lines().wait_for("cancelling the invocations in flight");
    program.lines().wait_for("second hook");
    connection.expect_silence();
    connection.take_answer();
    program.expect_end();
    connection.expect_end();
    // The invocation has been answered, so it is not reported.
    service.expect_no_connection();
}

#[test]
fn an_answer_whose_reply_never_comes_keeps_the_process_to_the_end_of_its_window() {
    let service = Service::start();
    let (mut program, _extension, mut connection) = start_waiting(&service, "");
    connection.send(Event::new("id-1", "").bytes());
    connection.request().assert_response("id-1");
    let signalled = Instant::now();
    program.signal(Signal::TERM);
    program.expect_end();
    assert!(signalled.elapsed() >= Duration::from_millis(1_000), "{:?}", signalled.elapsed());
    assert_hooks_ran(&program);
    service.expect_no_connection();
}

#[test]
fn a_runtime_that_tries_to_reach_an_absent_service_ends_immediately() {
    let service = Service::start();
    let (mut program, extension, connection) = start_waiting(&service, "");
    drop((service, extension, connection));
    program.lines().wait_for("trying again");
    program.signal(Signal::TERM);
    // Otherwise it would try for a minute.
    program.expect_end();
    assert_hooks_ran(&program);
}

#[test]
fn an_answer_whose_service_is_gone_does_not_keep_the_process() {
    let service = Service::start();
    let (mut program, extension, connection) = start_invoked(&service, "answers when told");
    drop((service, extension, connection));
    program.go_on();
    program.lines().wait_for("trying again");
    program.signal(Signal::TERM);
    program.expect_end();
    assert_hooks_ran(&program);
}

#[test]
fn a_start_that_ends_in_time_runs_the_hooks_and_asks_for_no_invocation() {
    let service = Service::start();
    let (mut program, mut extension) = start(&service, "starts when told");
    program.lines().wait_for("init hook");
    program.signal(Signal::TERM);
    wait_for_signal(&program);
    program.go_on();
    program.expect_end();
    assert_hooks_ran(&program);
    extension.expect_end();
    service.expect_no_connection();
}

#[test]
fn a_second_signal_ends_the_process_immediately() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let service = Service::start();
        let (mut program, _extension, mut connection) = start_invoked(&service, "is patient");
        program.signal(Signal::TERM);
        wait_for_signal(&program);
        program.signal(second);
        assert_eq!(program.end().code(), Some(code), "{:?}", program.lines().all());
        assert!(!program.has_said("second hook"), "{:?}", program.lines().all());
        connection.expect_end();
    }
}

#[test]
fn signals_are_handled_without_hooks_if_the_lifecycle_says_so() {
    let service = Service::start();
    let behaviour = "has no hooks and handles signals";
    let (mut program, _extension, mut connection) = start_waiting(&service, behaviour);
    program.signal(Signal::TERM);
    program.expect_end();
    assert!(program.has_said("the end of main"));
    connection.expect_end();
}

#[test]
fn without_hooks_a_signal_kills_the_process_as_usual() {
    for behaviour in ["has no hooks", "has hooks and handles no signals"] {
        for signal in [Signal::TERM, Signal::INT].into_iter().filter(|it| !is_ignored_here(*it)) {
            let service = Service::start();
            // No extension is registered: the first connection is the runtime's.
            let mut program = Program::start(&service.address(), behaviour, &[]);
            let mut connection = service.connection();
            connection.expect_next();
            program.signal(signal);
            assert_killed_by(&mut program, signal);
            connection.expect_end();
        }
    }
}

/// Whether this process ignores the signal, which the programs that it starts inherit. Shells set
/// this for SIGINT in background jobs.
fn is_ignored_here(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal.as_raw() - 1)) != 0
}

#[test]
fn after_its_runtime_has_ended_a_signal_kills_the_process_as_usual() {
    for signal in [Signal::TERM, Signal::INT] {
        let service = Service::start();
        let (mut program, _extension, mut connection) =
            start_waiting(&service, "outlives its runtime");
        connection.refuse(500, "InternalServerError", "no");
        program.lines().wait_for("continues");
        program.signal(signal);
        assert_killed_by(&mut program, signal);
    }
}

#[track_caller]
fn assert_killed_by(program: &mut Program, signal: Signal) {
    use std::os::unix::process::ExitStatusExt;
    let status = program.end();
    assert_eq!(status.signal(), Some(signal.as_raw()), "{status}: {:?}", program.lines().all());
}
