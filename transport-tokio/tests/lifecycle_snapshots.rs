//! The hooks around a snapshot, in processes whose environment says that they are snapshotted.
#![cfg(unix)]

#[path = "support/lifecycle.rs"]
mod support;

use std::process::{ExitCode, Termination};
use std::time::Duration;

use lambda_proto_service::program::{Program, Signal, behaviour, say};
use lambda_proto_tokio::{Failure, Lifecycle, Resources, Runtime};
use tokio::time::sleep;

use support::{Connection, Event, Kind, Request, Service};

struct Table(&'static str);

/// The runtime of the tests below, which run it in its own process.
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() {
    let Some(behaviour) = behaviour() else { return };
    let hook = |name: &'static str| {
        let fails = behaviour == format!("fails {name}");
        let panics = behaviour == format!("panics {name}");
        async move |resources: &Resources| {
            sleep(Duration::from_millis(1)).await;
            let Table(table) = resources.get().expect("the init hook has put it there");
            say(&format!("{name}, with the {table}"));
            assert!(!panics, "no room");
            if fails { Err(Failure::new("Function.NoSnapshot", "no room")) } else { Ok(()) }
        }
    };
    let lifecycle = Lifecycle::new()
        .on_init("table", async |init| {
            say("init");
            init.put(Table("table"));
        })
        .before_snapshot("a", hook("before a"))
        .before_snapshot("b", hook("before b"))
        .after_restore("a", hook("after a"))
        .after_restore("b", hook("after b"))
        .signals(behaviour == "hears signals")
        .on_shutdown("end", async |_| {
            say("shutdown");
            Ok(())
        });
    let result = Kind::CurrentThread.block_on(async {
        let runtime = Runtime::from_env()?.lifecycle(lifecycle);
        let run = runtime.run(async |_, responder, context| {
            say(if context.idle_gap().is_none() { "no idle gap" } else { "an idle gap" });
            let Table(table) = context.get().expect("the init hook has put it there");
            Ok(responder.send(*table).await)
        });
        run.await
    });
    std::process::exit(if result.report() == ExitCode::SUCCESS { 0 } else { 1 });
}

const SNAPSHOT: &[(&str, &str)] = &[("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];

/// The lines of the hooks up to this one, without the runtime's own lines.
#[track_caller]
fn said_until(program: &Program, last: &str) -> Vec<String> {
    program.lines().wait_for(last);
    said(program)
}

fn said(program: &Program) -> Vec<String> {
    let own = |line: &String| !line.contains("lambda-proto: ") && !line.starts_with("Error: ");
    program.lines().all().into_iter().filter(own).collect()
}

#[track_caller]
fn assert_restore_next(request: &Request) {
    let expected = ("GET", "/2018-06-01/runtime/restore/next");
    assert_eq!((&*request.method, &*request.path), expected, "{request:?}");
}

/// Replies to the wait for the restore. The runtime sends its next request on a new connection.
#[track_caller]
fn restore(connection: &mut Connection) {
    connection.answer(200, "", "");
    connection.expect_end();
}

#[track_caller]
fn assert_fails(program: &mut Program, with: &str) {
    assert_eq!(program.end().code(), Some(1), "{:?}", program.lines().all());
    let lines = program.lines().all();
    let last = lines.last().expect("the error of main");
    assert!(last.starts_with("Error: ") && last.contains(with), "{lines:?}");
}

#[test]
fn hooks_run_in_reverse_before_the_snapshot_and_in_order_after_the_restore() {
    let service = Service::start();
    let mut program = Program::start(&service.address(), "", SNAPSHOT);
    let mut connection = service.connection();
    assert_restore_next(&connection.request());
    let before = ["init", "before b, with the table", "before a, with the table"];
    assert_eq!(said_until(&program, before[2]), before);
    // No other request comes before the restore.
    connection.expect_silence();
    service.expect_no_connection();
    restore(&mut connection);
    let mut connection = service.connection();
    connection.expect_next();
    let after = ["after a, with the table", "after b, with the table"];
    assert_eq!(said_until(&program, after[1])[before.len()..], after);
    for id in ["id-1", "id-2"] {
        connection.send(Event::new(id, "").bytes());
        let answer = connection.request();
        answer.assert_response(id);
        assert_eq!(answer.body, b"table");
        connection.take_answer();
        connection.expect_next();
    }
    let invocations = ["no idle gap", "an idle gap"];
    let said_so_far = said_until(&program, invocations[1]);
    assert_eq!(said_so_far[before.len() + after.len()..], invocations);
    connection.refuse(500, "InternalServerError", "no");
    assert_fails(&mut program, "answered with 500");
    assert_eq!(said(&program).last().unwrap(), "shutdown");
}

#[test]
fn a_connection_that_the_snapshot_has_cut_means_a_restore_and_next_uses_a_new_one() {
    let service = Service::start();
    let program = Program::start(&service.address(), "", SNAPSHOT);
    let mut connection = service.connection();
    assert_restore_next(&connection.request());
    connection.close();
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    program.lines().wait_for("after b, with the table");
}

#[test]
fn without_the_variable_there_is_no_snapshot_and_no_snapshot_hook_runs() {
    let others = [None, Some("on-demand"), Some("provisioned-concurrency"), Some("SNAP-START")];
    for value in others {
        let service = Service::start();
        let variables: Vec<_> =
            value.map(|value| ("AWS_LAMBDA_INITIALIZATION_TYPE", value)).into_iter().collect();
        let program = Program::start(&service.address(), "fails before a", &variables);
        let mut connection = service.connection();
        connection.expect_next();
        assert_eq!(said_until(&program, "init"), ["init"], "{value:?}");
    }
}

#[test]
fn a_hook_that_fails_before_the_snapshot_is_reported_as_an_init_error() {
    for (behaviour, reason) in [
        ("fails before b", "Function.NoSnapshot: no room"),
        ("panics before b", "Function.Panic: no room"),
    ] {
        let service = Service::start();
        let mut program = Program::start(&service.address(), behaviour, SNAPSHOT);
        let mut connection = service.connection();
        let report = connection.request();
        report.assert_init_error("Runtime.BeforeSnapshotError");
        let message = format!("before-snapshot hook \"b\" failed: {reason}");
        assert_eq!(report.json()["errorMessage"], *message);
        connection.take_answer();
        assert_fails(&mut program, &message);
        // No later hook runs, and no invocation is asked for.
        let hooks: Vec<_> = said(&program);
        assert!(!hooks.iter().any(|line| line.starts_with("before a")), "{hooks:?}");
        assert!(!program.has_said("shutdown"));
        connection.expect_end();
        service.expect_no_connection();
    }
}

#[test]
fn a_hook_that_fails_after_the_restore_is_reported_as_a_restore_error() {
    for (behaviour, reason) in [
        ("fails after a", "Function.NoSnapshot: no room"),
        ("panics after a", "Function.Panic: no room"),
    ] {
        let service = Service::start();
        let mut program = Program::start(&service.address(), behaviour, SNAPSHOT);
        let mut connection = service.connection();
        assert_restore_next(&connection.request());
        restore(&mut connection);
        let mut connection = service.connection();
        let report = connection.request();
        assert_eq!((&*report.method, &*report.path), ("POST", "/2018-06-01/runtime/restore/error"));
        let error_type = "Runtime.AfterRestoreError";
        assert_eq!(report.header("Lambda-Runtime-Function-Error-Type"), Some(error_type));
        let message = format!("after-restore hook \"a\" failed: {reason}");
        assert_eq!(report.json()["errorType"], error_type);
        assert_eq!(report.json()["errorMessage"], *message);
        connection.take_answer();
        assert_fails(&mut program, &message);
        let hooks = said(&program);
        assert!(!hooks.iter().any(|line| line.starts_with("after b")), "{hooks:?}");
        connection.expect_end();
        service.expect_no_connection();
    }
}

#[test]
fn a_service_that_refuses_the_restore_ends_the_process_in_an_orderly_way() {
    let service = Service::start();
    let mut program = Program::start(&service.address(), "", SNAPSHOT);
    let mut connection = service.connection();
    assert_restore_next(&connection.request());
    connection.refuse(403, "InvalidStateTransition", "not now");
    assert_fails(&mut program, "403");
    assert!(!program.has_said("after a, with the table"));
    assert!(program.has_said("shutdown"), "{:?}", program.lines().all());
    service.expect_no_connection();
}

#[test]
fn sigterm_while_waiting_for_the_restore_ends_the_process_in_an_orderly_way() {
    let service = Service::start();
    let mut program = Program::start(&service.address(), "hears signals", SNAPSHOT);
    let mut extension = service.register_extension();
    let mut connection = service.connection();
    assert_restore_next(&connection.request());
    program.signal(Signal::TERM);
    program.expect_end();
    assert!(program.has_said("shutdown"), "{:?}", program.lines().all());
    assert!(!program.has_said("after a, with the table"));
    connection.expect_end();
    extension.expect_end();
    service.expect_no_connection();
}

#[test]
fn the_extension_asks_again_on_a_new_connection_after_the_restore() {
    let service = Service::start();
    let mut program = Program::start(&service.address(), "hears signals", SNAPSHOT);
    let extension = service.register_extension();
    let mut connection = service.connection();
    assert_restore_next(&connection.request());
    // A snapshot does this to every connection.
    extension.close();
    restore(&mut connection);
    let mut extension = service.connection();
    let request = extension.request();
    assert_eq!(request.path, "/2020-01-01/extension/event/next");
    assert_eq!(request.header("Lambda-Extension-Identifier"), Some("c7d2"));
    let mut connection = service.connection();
    connection.expect_next();
    extension.expect_silence();
    program.signal(Signal::TERM);
    program.expect_end();
    assert!(program.has_said("shutdown"), "{:?}", program.lines().all());
}
