//! Signals, sent to async runtimes in processes of their own: SIGTERM and SIGINT at every step of
//! their lives, SIGSTOP and SIGCONT between invocations.
#![cfg(unix)]

#[path = "support/lifecycle.rs"]
mod support;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_proto_service::program::{Program, Signal, behaviour, say, wait_for_test};
use lambda_proto_tokio::{
    Context, Error, Failure, Invocation, Lifecycle, Options, Responder, Runtime, Sent, cancelled,
};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use support::{Connection, Event, Kind, PATIENCE, Service};

struct Table;

/// Selects the runtime with several threads.
const MULTI_THREAD: (&str, &str) = ("TEST_TOKIO", "multi-thread");

fn variables(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::CurrentThread => &[],
        Kind::MultiThread => &[MULTI_THREAD],
    }
}

/// The runtime of the tests below, which run it in its own process.
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() {
    let Some(behaviour) = behaviour() else { return };
    let kind = match std::env::var(MULTI_THREAD.0) {
        Ok(_) => Kind::MultiThread,
        Err(_) => Kind::CurrentThread,
    };
    let result = kind.block_on(run(&behaviour));
    if behaviour == "outlives its runtime" {
        say("continues");
        wait_for_test();
    }
    say("the end of main");
    let code = std::process::Termination::report(result);
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

async fn run(behaviour: &str) -> Result<(), Error> {
    let runtime = Runtime::from_env()?.lifecycle(lifecycle(behaviour));
    match behaviour {
        "pulls" | "pulls and drops" | "pulls and ends early" => {
            let Some(mut worker) = runtime.into_worker().await? else { return Ok(()) };
            while let Some((_, responder, _)) = worker.next().await? {
                if behaviour == "pulls and ends early" {
                    break;
                }
                responder.send("answer").await;
            }
            say("the end of the loop");
            if behaviour == "pulls and drops" {
                drop(worker);
                return Ok(());
            }
            worker.end().await
        }
        _ => {
            let run = runtime.run(async |invocation, responder, context| {
                handle(behaviour, invocation, responder, context).await
            });
            run.await
        }
    }
}

fn lifecycle(behaviour: &str) -> Lifecycle {
    let (duration, buffer) = match behaviour {
        // The buffer is the time for invocations in flight, or for what follows the hooks.
        "answers when told" | "has an obedient hook" | "pulls and drops" => (2_000, 1_000),
        "is patient" => (2_000, 2_000),
        _ => (2_000, 50),
    };
    let millis = Duration::from_millis;
    let options = Options::new()
        .with_shutdown_duration(millis(duration))
        .and_then(|options| options.with_shutdown_buffer(millis(buffer)))
        .expect("options that make sense");
    let lifecycle =
        Lifecycle::new().options(options).on_init("table", async |init| init.put(Table));
    let lifecycle = match behaviour {
        "starts until cancelled" => lifecycle.on_init("slow", async |init| {
            say("init hook");
            cancelled(init.cancellation()).await;
            init.put(17_u8);
        }),
        "has an obedient hook" => lifecycle.on_shutdown("obedient", async |shutdown| {
            say("obedient hook");
            cancelled(shutdown.cancellation()).await;
            Ok(())
        }),
        _ => lifecycle,
    };
    lifecycle
        .on_shutdown("first", async |shutdown| {
            let table = if shutdown.get::<Table>().is_some() { "with" } else { "without" };
            let more = shutdown.get::<u8>().map_or("", |_| " and more");
            say(&format!("first hook, {table} the table{more}"));
            Ok(())
        })
        .on_shutdown("second", async |_| {
            // Only a runtime that runs wakes it.
            sleep(Duration::from_millis(20)).await;
            say("second hook");
            Ok(())
        })
}

async fn handle<'i>(
    behaviour: &str,
    invocation: Invocation<'i>,
    responder: Responder<'i>,
    context: Context,
) -> Result<Sent<'i>, Failure> {
    match behaviour {
        "answers when told" | "is patient" => {
            say("in flight");
            spawn_blocking(wait_for_test).await?;
            Ok(responder.send("told").await)
        }
        "never answers" => {
            say(&format!("in flight: {}", invocation.request_id()));
            context.cancelled().await;
            say("cancelled");
            std::future::pending().await
        }
        "blocks" => {
            say("in flight");
            thread::sleep(2 * PATIENCE);
            Ok(responder.send("").await)
        }
        "ends when cancelled" => {
            say("in flight");
            context.cancelled().await;
            Err(Failure::new("Function.Cancelled", "the process has to end"))
        }
        #[cfg(feature = "tokio-util")]
        "ends when its token is cancelled" => {
            say("in flight");
            context.cancellation_token().cancelled().await;
            Err(Failure::new("Function.Cancelled", "the process has to end"))
        }
        "works until told" => {
            context.spawn_work(&invocation, "the books", async {
                spawn_blocking(wait_for_test).await.expect("the test tells it");
                say("the work is done");
            });
            Ok(responder.send("").await)
        }
        "tells how long it was frozen" => {
            let frozen = context.idle_gap().and_then(|gap| gap.thawed_after(FREEZE / 2));
            let left = context.remaining().map(|left| left.as_secs().to_string());
            let left = left.unwrap_or_default();
            let frozen = if frozen.is_some() { "frozen" } else { "not frozen" };
            Ok(responder.send(format!("{frozen}, {left} s left")).await)
        }
        _ => Ok(responder.send("answer").await),
    }
}

/// The program, after it has registered its extension.
fn start(service: &Service, kind: Kind, behaviour: &str) -> (Program, Connection) {
    let program = Program::start(&service.address(), behaviour, variables(kind));
    (program, service.register_extension())
}

/// The same, after it has asked for an invocation.
fn start_waiting(
    service: &Service,
    kind: Kind,
    behaviour: &str,
) -> (Program, Connection, Connection) {
    let (program, extension) = start(service, kind, behaviour);
    let mut connection = service.connection();
    connection.expect_next();
    (program, extension, connection)
}

/// The same, with an invocation in flight.
fn start_invoked(
    service: &Service,
    kind: Kind,
    behaviour: &str,
) -> (Program, Connection, Connection) {
    let (program, extension, mut connection) = start_waiting(service, kind, behaviour);
    connection.send(Event::new("id-1", "").bytes());
    program.lines().wait_for("in flight");
    (program, extension, connection)
}

#[track_caller]
fn assert_said(program: &Program, lines: &[&str]) {
    for line in lines {
        assert!(program.has_said(line), "not said: {line}: {:?}", program.lines().all());
    }
}

const HOOKS: [&str; 2] = ["first hook, with the table", "second hook"];
const END: &str = "the end of main";

/// Sends the signal, and waits until the runtime has received it.
fn signal(program: &Program, signal: Signal) {
    program.signal(signal);
    program.lines().wait_for("no more invocations are taken");
}

#[test]
fn a_process_that_waits_for_an_invocation_runs_its_hooks_and_exits_with_0() {
    for kind in Kind::BOTH {
        for signal in [Signal::TERM, Signal::INT] {
            let service = Service::start();
            let (mut program, mut extension, mut connection) = start_waiting(&service, kind, "");
            extension.expect_silence();
            program.signal(signal);
            program.expect_end();
            assert_said(&program, &HOOKS);
            assert_said(&program, &[END]);
            connection.expect_end();
            extension.expect_end();
            service.expect_no_connection();
        }
    }
}

#[test]
fn an_invocation_in_flight_is_answered_before_the_end() {
    let service = Service::start();
    let (mut program, _extension, mut connection) =
        start_invoked(&service, Kind::CurrentThread, "answers when told");
    signal(&program, Signal::TERM);
    program.go_on();
    let answer = connection.request();
    answer.assert_response("id-1");
    assert_eq!(answer.body, b"told");
    connection.take_answer();
    program.expect_end();
    assert_said(&program, &HOOKS);
    assert_said(&program, &[END]);
    connection.expect_end();
    service.expect_no_connection();
}

#[test]
fn a_handler_that_never_ends_is_cancelled_and_its_invocation_is_reported() {
    for kind in Kind::BOTH {
        let service = Service::start();
        let (mut program, _extension, mut connection) =
            start_invoked(&service, kind, "never answers");
        program.signal(Signal::TERM);
        // On a separate connection, since the handler holds that of the worker.
        let mut reporting = service.connection();
        reporting.request().assert_error("id-1", "Runtime.ShutDown");
        reporting.take_answer();
        program.expect_end();
        assert_said(&program, &["cancelled", "first hook, with the table", "second hook"]);
        assert!(!program.has_said(END), "nothing waits for the handler");
        connection.expect_end();
        program.lines().wait_for("unanswered at the end of the process: 1");
    }
}

#[test]
fn the_failure_of_a_handler_that_ends_when_it_is_cancelled_is_the_only_answer() {
    for kind in Kind::BOTH {
        let behaviours: &[_] = match cfg!(feature = "tokio-util") {
            true => &["ends when cancelled", "ends when its token is cancelled"],
            false => &["ends when cancelled"],
        };
        for behaviour in behaviours {
            let service = Service::start();
            let (mut program, _extension, mut connection) =
                start_invoked(&service, kind, behaviour);
            program.signal(Signal::TERM);
            connection.request().assert_error("id-1", "Function.Cancelled");
            connection.take_answer();
            program.expect_end();
            assert_said(&program, &HOOKS);
            connection.expect_end();
            service.expect_no_connection();
        }
    }
}

#[test]
fn a_blocked_thread_holds_up_only_hooks_that_wait_for_timers_and_only_for_their_time() {
    let service = Service::start();
    let (mut program, _extension, _connection) =
        start_invoked(&service, Kind::CurrentThread, "blocks");
    let signalled = Instant::now();
    program.signal(Signal::TERM);
    let mut reporting = service.connection();
    reporting.request().assert_error("id-1", "Runtime.ShutDown");
    reporting.take_answer();
    program.expect_code(1);
    // Two seconds, and what a busy machine adds; the handler blocks longer.
    assert!(signalled.elapsed() < PATIENCE, "{:?}", signalled.elapsed());
    assert_said(&program, &["first hook, with the table"]);
    assert!(!program.has_said("second hook"));
    program.lines().wait_for("shutdown hooks had not ended when their time was over: \"second\"");
}

#[test]
fn a_blocked_thread_of_several_holds_up_no_hook() {
    let service = Service::start();
    let (mut program, _extension, _connection) =
        start_invoked(&service, Kind::MultiThread, "blocks");
    program.signal(Signal::TERM);
    let mut reporting = service.connection();
    reporting.request().assert_error("id-1", "Runtime.ShutDown");
    reporting.take_answer();
    program.expect_end();
    assert_said(&program, &HOOKS);
}

#[test]
fn every_slot_is_cancelled_and_every_invocation_in_flight_is_reported() {
    let service = Service::start();
    let variables = [("AWS_LAMBDA_MAX_CONCURRENCY", "3")];
    let mut program = Program::start(&service.address(), "never answers", &variables);
    let _extension = service.register_extension();
    let mut connections = service.open_slots(3);
    for (connection, id) in connections.iter_mut().zip(["id-1", "id-2"]) {
        connection.send(Event::new(id, "").bytes());
        program.lines().wait_for(&format!("in flight: {id}"));
    }
    signal(&program, Signal::TERM);
    connections[2].expect_end();
    let mut reported: Vec<_> = (0..2)
        .map(|_| {
            let mut report = service.connection();
            let request = report.request();
            report.take_answer();
            request.path
        })
        .collect();
    reported.sort();
    let path = |id| format!("/2018-06-01/runtime/invocation/{id}/error");
    assert_eq!(reported, ["id-1", "id-2"].map(path));
    program.expect_end();
    let lines = program.lines().all();
    assert_eq!(lines.iter().filter(|line| *line == "cancelled").count(), 2, "{lines:?}");
}

#[test]
fn a_signal_cancels_async_init_hooks_and_the_shutdown_hooks_see_their_values() {
    for kind in Kind::BOTH {
        let service = Service::start();
        let (mut program, mut extension) = start(&service, kind, "starts until cancelled");
        program.lines().wait_for("init hook");
        signal(&program, Signal::TERM);
        program.expect_end();
        assert_said(&program, &["first hook, with the table and more", "second hook", END]);
        program.lines().wait_for("the start was cancelled");
        extension.expect_end();
        service.expect_no_connection();
    }
}

#[test]
fn a_signal_cancels_the_hooks_of_a_runtime_that_ends_by_itself() {
    let service = Service::start();
    let (mut program, _extension, mut connection) =
        start_waiting(&service, Kind::CurrentThread, "has an obedient hook");
    connection.refuse(500, "InternalServerError", "no");
    program.lines().wait_for("obedient hook");
    program.signal(Signal::TERM);
    program.expect_code(1);
    assert_said(&program, &HOOKS);
    assert_said(&program, &[END]);
}

#[test]
fn work_that_ends_after_the_signal_is_awaited_and_no_invocation_follows() {
    for kind in Kind::BOTH {
        let service = Service::start();
        let (mut program, _extension, mut connection) =
            start_waiting(&service, kind, "works until told");
        connection.send(due_in_a_minute("id-1").bytes());
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_silence();
        signal(&program, Signal::TERM);
        program.lines().wait_for("second hook");
        program.go_on();
        program.expect_end();
        assert_said(&program, &["the work is done", END]);
        connection.expect_end();
        let lines = program.lines().all();
        assert!(!lines.iter().any(|line| line.contains("still runs")), "{lines:?}");
    }
}

#[test]
fn a_second_signal_ends_the_process_immediately() {
    let service = Service::start();
    let (mut program, _extension, mut connection) =
        start_invoked(&service, Kind::CurrentThread, "is patient");
    signal(&program, Signal::TERM);
    program.signal(Signal::TERM);
    assert_eq!(program.end().code(), Some(143), "{:?}", program.lines().all());
    assert!(!program.has_said("second hook"), "{:?}", program.lines().all());
    connection.expect_end();
}

#[test]
fn after_its_runtime_has_ended_a_signal_kills_the_process_as_usual() {
    use std::os::unix::process::ExitStatusExt;

    let service = Service::start();
    let (mut program, _extension, mut connection) =
        start_waiting(&service, Kind::CurrentThread, "outlives its runtime");
    connection.refuse(500, "InternalServerError", "no");
    program.lines().wait_for("continues");
    program.signal(Signal::TERM);
    let status = program.end();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status}");
}

#[test]
fn a_worker_that_is_pulled_returns_at_a_signal_and_its_end_runs_the_hooks() {
    for kind in Kind::BOTH {
        let service = Service::start();
        let (mut program, _extension, mut connection) = start_waiting(&service, kind, "pulls");
        connection.send(Event::new("id-1", "").bytes());
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_next();
        program.signal(Signal::TERM);
        program.expect_end();
        assert_said(&program, &["the end of the loop", END]);
        assert_said(&program, &HOOKS);
        connection.expect_end();
    }
}

#[test]
fn a_worker_that_is_dropped_runs_the_hooks_and_those_that_wait_for_timers_on_several_threads() {
    for kind in Kind::BOTH {
        let service = Service::start();
        let (mut program, _extension, _connection) =
            start_waiting(&service, kind, "pulls and drops");
        program.signal(Signal::TERM);
        program.expect_end();
        assert_said(&program, &["the end of the loop", "first hook, with the table", END]);
        assert_eq!(program.has_said("second hook"), kind == Kind::MultiThread);
    }
}

#[test]
fn a_worker_that_ends_with_an_invocation_in_flight_reports_it_and_runs_the_hooks() {
    let service = Service::start();
    let (mut program, _extension, mut connection) =
        start_waiting(&service, Kind::CurrentThread, "pulls and ends early");
    connection.send(Event::new("id-1", "").bytes());
    connection.request().assert_error("id-1", "Runtime.NoResponse");
    connection.expect_silence();
    assert!(!program.has_said("second hook"), "not before the report is taken");
    connection.take_answer();
    program.expect_end();
    assert_said(&program, &HOOKS);
    assert_said(&program, &[END]);
}

/// How long the process is stopped.
const FREEZE: Duration = Duration::from_millis(400);

/// An event whose deadline is in a minute.
fn due_in_a_minute(id: &str) -> Event {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    let deadline = (now + Duration::from_secs(60)).as_millis().to_string();
    Event::new(id, "").header("Lambda-Runtime-Deadline-Ms", deadline)
}

#[test]
fn a_process_that_is_stopped_between_invocations_continues_and_notices_the_gap() {
    for kind in Kind::BOTH {
        let service = Service::start();
        let (mut program, mut extension, mut connection) =
            start_waiting(&service, kind, "tells how long it was frozen");
        for (id, is_frozen) in [("id-1", false), ("id-2", true), ("id-3", true)] {
            if is_frozen {
                program.signal(Signal::STOP);
                thread::sleep(FREEZE);
            }
            // The service hands it out, and thaws the environment.
            connection.send(due_in_a_minute(id).bytes());
            if is_frozen {
                connection.expect_silence();
                program.signal(Signal::CONT);
            }
            let answer = connection.request();
            answer.assert_response(id);
            let answer = String::from_utf8(answer.body).expect("it is text");
            let expected = if is_frozen { "frozen, " } else { "not frozen, " };
            assert!(answer.starts_with(expected), "{kind:?}, {id}: {answer}");
            // By the wall clock, which continues while the process is stopped.
            assert!(!answer.contains(" 0 s left"), "{answer}");
            connection.take_answer();
            connection.expect_next();
        }
        extension.expect_silence();
        program.signal(Signal::TERM);
        program.expect_end();
        assert_said(&program, &HOOKS);
    }
}
