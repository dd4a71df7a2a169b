//! Signals that end a whole process, and snapshots of it. The test binary starts itself as the
//! program under test.
#![cfg(unix)]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_mio::{
    Context, Error, Event, Failure, Invocation, Lifecycle, Options, Responder, Runtime,
};
use lambda_proto_service::program::{Signal, behaviour};
use lambda_proto_service::{Connection, Event as Incoming, MOMENT, PATIENCE, Place, Service};
use mio::Token;
use support::Turner;
use support::program::{Program, count, say};

/// A program with an invocation in flight; the connections are the extension's and the slot's.
#[track_caller]
fn invoked(service: &Service, does: &str) -> (Program, Connection, Connection) {
    let program = Program::start(service.place(), does);
    let extension = service.register_extension();
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    // An earlier signal would lose the invocation.
    program.lines.wait_for(ARRIVED);
    (program, extension, connection)
}

const ARRIVED: &str = "an invocation has arrived";

/// The program that the tests start; it does what the variable says.
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() {
    let Some(does) = behaviour() else { return };
    let code = match run(&does) {
        Ok(()) => 0,
        Err(error) => {
            say(&error.to_string());
            1
        }
    };
    std::process::exit(code);
}

fn run(does: &str) -> Result<(), Error> {
    let runtime = Runtime::from_env()?.log(|line| say(&line.to_string()));
    let runtime = runtime.lifecycle(lifecycle(does));
    match does {
        "own loop" => run_in_own_loop(runtime),
        "work" => runtime.run(|invocation, responder, context| {
            std::mem::forget(context.begin_work(&invocation, "books"));
            Ok(responder.send(""))
        }),
        "answer late" => runtime.run(|_, responder, _| {
            let (responder, sent) = responder.defer();
            thread::spawn(move || {
                std::io::stdin().read_line(&mut String::new()).unwrap();
                responder.send("late");
            });
            Ok(sent)
        }),
        "answer when cancelled" => runtime.run(|invocation, responder, context| {
            let (responder, sent) = responder.defer();
            thread::spawn(move || {
                assert!(context.cancellation().wait(PATIENCE));
                responder.send(invocation.request_id());
            });
            Ok(sent)
        }),
        "answer never" => {
            let mut in_flight = 0;
            runtime.run(move |_, responder, context| {
                in_flight += 1;
                say(&format!("in flight: {in_flight}"));
                let (responder, sent) = responder.defer();
                thread::spawn(move || {
                    assert!(context.cancellation().wait(PATIENCE));
                    say("cancelled");
                    std::mem::forget(responder);
                });
                Ok(sent)
            })
        }
        "block" => runtime.run(|_, responder, context| {
            // The loop does not run until then.
            assert!(context.cancellation().wait(PATIENCE));
            say("cancelled");
            thread::sleep(PATIENCE);
            Ok(responder.send(""))
        }),
        _ => runtime.run(|_, responder, _| Ok(responder.send(""))),
    }
}

fn lifecycle(does: &str) -> Lifecycle {
    let is_failing = |hook: &str| does == format!("fail {hook}");
    let hook = |name: &'static str| {
        let result = if is_failing(name) { Err(Failure::new("Own.Error", "gone")) } else { Ok(()) };
        (name, move |_: &_| {
            say(name);
            result
        })
    };
    let (before_a, before_b) = (hook("before a"), hook("before b"));
    let (after_a, after_b) = (hook("after a"), hook("after b"));
    let options = match does {
        // Time for invocations in flight.
        "answer late" | "own loop" => Options::new()
            .with_shutdown_duration(Duration::from_secs(2))
            .and_then(|options| options.with_shutdown_buffer(Duration::from_millis(1_500))),
        // More time for invocations that were cancelled, and for answers on their way.
        "echo" | "answer when cancelled" => {
            Options::new().with_shutdown_duration(Duration::from_secs(2))
        }
        _ => Ok(Options::new()),
    };
    Lifecycle::new()
        .options(options.unwrap())
        .before_snapshot(before_a.0, before_a.1)
        .before_snapshot(before_b.0, before_b.1)
        .after_restore(after_a.0, after_a.1)
        .after_restore(after_b.0, after_b.1)
        .before_invocation("arrival", |_| say(ARRIVED))
        .on_shutdown("flush", |_| {
            say("the shutdown hook");
            Ok(())
        })
}

/// Another thread answers the invocations of this loop.
fn run_in_own_loop(runtime: Runtime<Lifecycle>) -> Result<(), Error> {
    let mut turner = Turner::of(|registry| runtime.register(registry, Token(0)));
    let (give, work) = std::sync::mpsc::channel::<(Invocation, Responder, Context)>();
    thread::spawn(move || {
        for (invocation, responder, context) in work {
            assert!(!context.cancellation().is_cancelled());
            std::io::stdin().read_line(&mut String::new()).unwrap();
            responder.send(invocation.request_id());
        }
    });
    loop {
        while let Some(event) = turner.slots.next_event(Instant::now()) {
            match event {
                Event::Invocation(mut invocation, responder) => {
                    let context = invocation.take_context().unwrap();
                    give.send((invocation, responder, context)).unwrap();
                }
                Event::Ended(result) => {
                    let result = result.and(turner.slots.finish());
                    say("after the hooks");
                    return result;
                }
                _ => {}
            }
        }
        // It sleeps until something wakes it.
        turner.turn(Duration::MAX);
    }
}

#[test]
fn a_signal_ends_a_runtime_that_waits() {
    let (term, int) = ((Signal::TERM, "TERM"), (Signal::INT, "INT"));
    for ((signal, name), does) in [(term, "echo"), (int, "echo"), (term, "own loop")] {
        let service = Service::start();
        let program = Program::start(service.place(), does);
        let mut extension = service.register_extension();
        let mut connection = service.connection();
        connection.expect_next();
        program.signal(signal);
        let lines = program.ends_well();
        assert_eq!(count(&lines, name), 1, "{lines:?}");
        connection.expect_end();
        extension.expect_end();
        service.expect_no_connection();
    }
}

#[test]
fn an_invocation_in_flight_is_answered_before_the_hooks_run() {
    for does in ["answer late", "own loop"] {
        let service = Service::start();
        let (mut program, mut extension, mut connection) = invoked(&service, does);
        program.terminate();
        connection.expect_silence();
        program.go_on();
        connection.request().assert_response("id-1");
        assert_eq!(count(&program.lines.all(), "the shutdown hook"), 0);
        connection.take_answer();
        connection.expect_end();
        extension.expect_end();
        let lines = program.ends_well();
        assert_eq!(count(&lines, "cancelled"), 0, "{lines:?}");
        assert_eq!(count(&lines, "after the hooks"), usize::from(does == "own loop"));
        service.expect_no_connection();
    }
}

#[test]
fn an_unanswered_invocation_is_cancelled_and_then_reported() {
    // The second handler does not even return to the loop.
    for does in ["answer never", "block"] {
        let service = Service::start();
        let (program, _extension, mut connection) = invoked(&service, does);
        program.terminate();
        program.lines.wait_for("cancelled");
        let mut report = service.connection();
        report.request().assert_error("id-1", "Runtime.ShutDown");
        report.take_answer();
        let lines = program.ends_well();
        assert_eq!(count(&lines, "unanswered at the end of the process: 1"), 1, "{lines:?}");
        connection.expect_end();
    }
}

#[test]
fn every_slot_reports_its_invocation_in_flight() {
    let service = Service::start();
    let variables = [("AWS_LAMBDA_MAX_CONCURRENCY", "3")];
    let program = Program::start_with(service.place(), "answer never", &variables);
    let _extension = service.register_extension();
    let mut connections = service.open_slots(3);
    for (connection, id) in connections.iter_mut().zip(["id-1", "id-2"]) {
        connection.send(Incoming::new(id, "").bytes());
    }
    program.lines.wait_for("in flight: 2");
    program.terminate();
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
    let lines = program.ends_well();
    assert_eq!(count(&lines, "unanswered at the end of the process: 2"), 1, "{lines:?}");
}

#[test]
fn an_answer_that_follows_the_cancellation_is_the_only_one() {
    let service = Service::start();
    let (program, _extension, mut connection) = invoked(&service, "answer when cancelled");
    program.terminate();
    connection.request().assert_response("id-1");
    connection.take_answer();
    let lines = program.ends_well();
    assert_eq!(count(&lines, "unanswered"), 0, "{lines:?}");
    connection.expect_end();
    service.expect_no_connection();
}

#[test]
fn an_answer_on_its_way_is_neither_killed_nor_reported() {
    let service = Service::start();
    let (program, _extension, mut connection) = invoked(&service, "echo");
    connection.request().assert_response("id-1");
    program.terminate();
    // The time for invocations in flight is over.
    program.lines.wait_for("the shutdown hook");
    connection.expect_silence();
    connection.take_answer();
    let lines = program.ends_well();
    assert_eq!(count(&lines, "unanswered"), 0, "{lines:?}");
    connection.expect_end();
    service.expect_no_connection();
}

#[test]
fn a_signal_ends_a_runtime_that_cannot_reach_its_service() {
    let place = Place::deserted();
    let service = Service::start_on(&place);
    let program = Program::start(&place, "echo");
    let extension = service.register_extension();
    let mut connection = service.connection();
    connection.expect_next();
    drop((service, connection, extension));
    program.lines.wait_for("no connection to the Runtime API");
    program.terminate();
    program.ends_well();
}

#[test]
fn a_signal_ends_a_runtime_that_waits_for_work() {
    let service = Service::start();
    let (program, _extension, mut connection) = invoked(&service, "work");
    connection.request().assert_response("id-1");
    connection.take_answer();
    // Otherwise it would wait for 3 s.
    connection.expect_silence();
    program.terminate();
    connection.expect_end();
    let lines = program.ends_well();
    assert_eq!(count(&lines, "still runs at the end of the process"), 1, "{lines:?}");
}

/// A program that waits for a snapshot: it has sent its `restore/next`.
#[track_caller]
fn restoring(service: &Service, does: &str) -> (Program, Connection, Connection) {
    let variables = [("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];
    let program = Program::start_with(service.place(), does, &variables);
    let extension = service.register_extension();
    let mut connection = service.connection();
    let request = connection.request();
    assert_eq!(request.path, "/2018-06-01/runtime/restore/next");
    (program, extension, connection)
}

#[test]
fn a_snapshot_runs_its_hooks_and_the_invocations_after_it_use_a_new_connection() {
    // The service replies, or the snapshot has cut the connection.
    for is_answered in [true, false] {
        let service = Service::start();
        let (program, mut old, mut connection) = restoring(&service, "echo");
        program.lines.wait_for("before a");
        let said = program.lines.all();
        let hooks = |lines: Vec<String>| -> Vec<String> {
            let is_hook = |line: &String| line.starts_with("before") || line.starts_with("after");
            lines.into_iter().filter(is_hook).collect()
        };
        assert_eq!(hooks(said), ["before b", "before a"]);
        connection.expect_silence();
        if is_answered {
            connection.answer(200, "", "");
        } else {
            connection.close();
        }
        let mut extension = service.connection();
        extension.expect_extension_next();
        old.expect_end();
        let mut connection = service.connection();
        connection.invoke(Incoming::new("id-1", ""));
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_next();
        program.terminate();
        let lines = program.ends_well();
        assert_eq!(hooks(lines), ["before b", "before a", "after a", "after b"]);
    }
}

#[test]
fn a_hook_that_fails_before_the_snapshot_fails_the_start() {
    let service = Service::start();
    let variables = [("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];
    let program = Program::start_with(service.place(), "fail before b", &variables);
    let _extension = service.register_extension();
    let mut connection = service.connection();
    connection.request().assert_init_error("Runtime.BeforeSnapshotError");
    connection.take_answer();
    let lines = program.fails();
    assert_eq!(count(&lines, "before a"), 0, "{lines:?}");
    service.expect_no_connection();
}

#[test]
fn a_hook_that_fails_after_the_restore_is_reported_as_a_restore_error() {
    for is_answered in [true, false] {
        let service = Service::start();
        let (program, _old, mut connection) = restoring(&service, "fail after a");
        if is_answered {
            connection.answer(200, "", "");
            connection.expect_end();
        } else {
            connection.close();
        }
        let mut extension = service.connection();
        extension.expect_extension_next();
        let mut connection = service.connection();
        let request = connection.request();
        assert_eq!(request.path, "/2018-06-01/runtime/restore/error");
        assert_eq!(request.json()["errorType"], "Runtime.AfterRestoreError");
        connection.take_answer();
        let lines = program.fails();
        assert_eq!(count(&lines, "after b"), 0, "{lines:?}");
        service.expect_no_connection();
    }
}

#[test]
fn a_signal_ends_a_runtime_that_waits_for_its_restore() {
    let service = Service::start();
    let (program, _extension, mut connection) = restoring(&service, "echo");
    program.terminate();
    connection.expect_end();
    let lines = program.ends_well();
    assert_eq!(count(&lines, "after"), 0, "{lines:?}");
    assert!(service.connection_within(MOMENT).is_none());
}

#[test]
fn a_service_without_snapshots_ends_the_runtime_with_an_error() {
    let service = Service::start();
    let (program, _extension, mut connection) = restoring(&service, "echo");
    connection.refuse(404, "NotFound", "no snapshots here");
    let lines = program.fails();
    assert_eq!(count(&lines, "404"), 2, "a warning and the error: {lines:?}");
    service.expect_no_connection();
}
