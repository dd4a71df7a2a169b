//! How a runtime with a lifecycle ends: by itself, by its stop handle and by real signals. A test
//! of each transport includes this file and names its crate `transport`.

use std::process::{ExitCode, Termination};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_proto_service::program::{Program, Signal, behaviour, say, wait_for_test};
use lambda_proto_service::{Connection, Event, PATIENCE, Running, Service};

use crate::transport::{Endpoint, Error, Failure, Lifecycle, Options, Policy, Runtime};

/// A value that prints a line when it is dropped, after it has called its function.
struct Table(fn());

impl Drop for Table {
    fn drop(&mut self) {
        (self.0)();
        say("the table is closed");
    }
}

/// The runtime of the tests below, which run it in its own process.
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() {
    let Some(behaviour) = behaviour() else { return };
    let runtime = Runtime::from_env().expect("an address");
    let runtime = runtime.lifecycle(lifecycle(&behaviour));
    let result = runtime.run(move |invocation, responder, context| match invocation.body() {
        b"hang" => {
            say("in flight");
            thread::sleep(PATIENCE);
            Ok(responder.send(""))
        }
        b"work" => {
            let work = context.begin_work(&invocation, "the books");
            thread::spawn(move || {
                wait_for_test();
                say("the work is done");
                drop(work);
            });
            Ok(responder.send(""))
        }
        b"work forever" => {
            std::mem::forget(context.begin_work(&invocation, "the books"));
            Ok(responder.send(""))
        }
        _ => Ok(responder.send("")),
    });
    say("the end of main");
    let code = Termination::report(result);
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

fn lifecycle(behaviour: &str) -> Lifecycle {
    let (duration, buffer) = match behaviour {
        "has no window" => (0, 0),
        "has a buffer as long as its window" => (500, 500),
        // The longest there is, as machines may be busy.
        _ => (2_000, 50),
    };
    let options = Options::new()
        .with_stop_timeout(STOP_TIMEOUT)
        .and_then(|options| options.with_shutdown_duration(Duration::from_millis(duration)))
        .and_then(|options| options.with_shutdown_buffer(Duration::from_millis(buffer)))
        .expect("options that make sense");
    let tables = match behaviour {
        "closes never" => [Table(|| thread::sleep(PATIENCE)), Table(|| {})],
        "panics when it closes" => [Table(|| panic("boom")), Table(|| panic("bang"))],
        _ => [Table(|| {}), Table(|| {})],
    };
    let lifecycle = Lifecycle::new().options(options).on_init("table", |init| {
        let [first, second] = tables;
        init.put(first);
        init.put_named("second", second);
    });
    let lifecycle = match behaviour {
        "starts until cancelled" => lifecycle.on_init("slow", |init| {
            say("init hook");
            assert!(init.cancellation().wait(PATIENCE), "it fires");
            // The shutdown hooks see this value, too.
            init.put_named("late", 17_u8);
        }),
        "ends slowly when cancelled" => lifecycle.on_init("slow", |init| {
            say("init hook");
            assert!(init.cancellation().wait(PATIENCE), "it fires");
            thread::sleep(Duration::from_millis(300));
            say("the init hook has ended");
        }),
        "never starts" => lifecycle.on_init("deaf", |_| {
            say("init hook");
            thread::sleep(PATIENCE);
        }),
        "cannot start" => lifecycle.on_init("fails", |_| -> Result<(), Failure> {
            Err(Failure::new("Function.NoTable", "there is no table"))
        }),
        "only reports work" => lifecycle.work(Policy::Report),
        "has a deaf hook" => lifecycle.on_shutdown("deaf", |_| {
            say("deaf hook");
            thread::sleep(PATIENCE);
            Ok(())
        }),
        "has an obedient hook" => lifecycle.on_shutdown("obedient", |shutdown| {
            say("obedient hook");
            assert!(shutdown.cancellation().wait(PATIENCE), "it fires");
            Ok(())
        }),
        "hooks fail" => lifecycle
            .on_shutdown("flush", |_| Err(Failure::new("Function.Flush", "no space")))
            .on_shutdown("panic", |_| panic("boom")),
        _ => lifecycle,
    };
    lifecycle.on_shutdown("hook", |shutdown| {
        let table = if shutdown.get::<Table>().is_some() { "with" } else { "without" };
        let late = shutdown.get_named::<u8>("late").map_or("", |_| " and more");
        say(&format!("shutdown hook, {table} the table{late}"));
        if shutdown.remaining() > Duration::from_secs(3) {
            say("shutdown hook, in the stop timeout");
        }
        Ok(())
    })
}

/// Longer than any window.
const STOP_TIMEOUT: Duration = Duration::from_secs(9);

/// Panics without a backtrace, which takes long to print.
fn panic<T>(message: &'static str) -> T {
    std::panic::resume_unwind(Box::new(message))
}

const HOOK: &str = "shutdown hook, with the table";
const CLOSED: &str = "the table is closed";

/// The program, after it has registered its extension.
fn start(service: &Service, behaviour: &str, slots: usize) -> (Program, Connection) {
    let slots = slots.to_string();
    let variables = [("AWS_LAMBDA_MAX_CONCURRENCY", &*slots)];
    let address = service.address();
    let program = Program::start_test("lifecycle_end::program", &address, behaviour, &variables);
    (program, service.register_extension())
}

/// The same, with this event sent to its first slot.
fn invoked(
    service: &Service,
    behaviour: &str,
    slots: usize,
    event: &str,
) -> (Program, Connections) {
    let (program, extension) = start(service, behaviour, slots);
    let mut others = service.open_slots(slots);
    let mut first = others.remove(0);
    first.send(due_in_a_minute(event).bytes());
    others.push(extension);
    (program, Connections { first, others })
}

/// The connections of a program, which stay open while the test runs.
struct Connections {
    /// The connection with the invocation.
    first: Connection,
    others: Vec<Connection>,
}

/// The same, after the service has taken the answer.
fn answered(
    service: &Service,
    behaviour: &str,
    slots: usize,
    event: &str,
) -> (Program, Connections) {
    let (program, mut connections) = invoked(service, behaviour, slots, event);
    connections.first.request().assert_response("id-1");
    connections.first.take_answer();
    (program, connections)
}

/// The first invocation, which has time for any work.
fn due_in_a_minute(event: &str) -> Event {
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    let deadline = deadline + Duration::from_secs(60);
    let deadline = deadline.as_millis().to_string();
    Event::new("id-1", event).header("Lambda-Runtime-Deadline-Ms", deadline)
}

/// A program with one slot, which waits for its second invocation.
fn idle(service: &Service, behaviour: &str) -> (Program, Connections) {
    let (program, mut connections) = answered(service, behaviour, 1, "");
    connections.first.expect_next();
    (program, connections)
}

/// The same, after the service has ended the session.
fn refused(service: &Service, behaviour: &str) -> (Program, Connections) {
    let (program, mut connections) = idle(service, behaviour);
    connections.first.refuse(500, "InternalServerError", "no");
    (program, connections)
}

/// Sends the signal, and waits until the program has received it.
fn signal(program: &Program, signal: Signal) {
    program.signal(signal);
    program.lines().wait_for("no more invocations are taken");
}

#[track_caller]
fn assert_said(program: &Program, lines: &[&str]) {
    for line in lines {
        assert!(program.has_said(line), "not said: {line}: {:?}", program.lines().all());
    }
}

/// Most of the window was used up before the values were dropped: on a busy machine, the rest may be
/// too short, and then the log names them.
#[track_caller]
fn assert_closed_or_named(program: &Program) {
    let lines = program.lines().all();
    let is_closed = |line: &String| line == CLOSED || line.contains("did not finish in time");
    assert!(lines.iter().any(is_closed), "neither dropped nor named: {lines:?}");
}

/// The window is 2 s, which a busy machine may use up; one of a few attempts has to do without.
#[track_caller]
fn assert_in_time(attempt: impl Fn() -> bool) {
    assert!((0..4).any(|_| attempt()), "not done in time at any attempt");
}

#[track_caller]
fn assert_logged(program: &Program, part: &str) {
    let lines = program.lines().all();
    assert!(lines.iter().any(|line| line.contains(part)), "not logged: {part}: {lines:?}");
}

#[track_caller]
fn assert_not_logged(program: &Program, part: &str) {
    let lines = program.lines().all();
    assert!(!lines.iter().any(|line| line.contains(part)), "logged: {part}: {lines:?}");
}

#[test]
fn a_signal_cancels_the_init_hooks_and_the_shutdown_hooks_see_their_values() {
    for kind in [Signal::TERM, Signal::INT] {
        let service = Service::start();
        let (mut program, mut extension) = start(&service, "starts until cancelled", 1);
        program.lines().wait_for("init hook");
        signal(&program, kind);
        program.expect_end();
        assert_said(&program, &["shutdown hook, with the table and more", CLOSED]);
        assert_logged(&program, "the start was cancelled");
        assert_said(&program, &["the end of main"]);
        extension.expect_end();
        service.expect_no_connection();
    }
}

#[test]
fn a_start_that_is_cut_off_shows_its_values_to_the_shutdown_hooks_and_names_its_init_hooks() {
    let service = Service::start();
    let (mut program, _extension) = start(&service, "never starts", 1);
    program.lines().wait_for("init hook");
    signal(&program, Signal::TERM);
    program.expect_end();
    assert_said(&program, &[HOOK]);
    assert_closed_or_named(&program);
    assert_logged(&program, "cancelling the start");
    assert_logged(&program, "init hook \"deaf\" had not ended when the process ended");
    service.expect_no_connection();
}

#[test]
fn the_stop_handle_cancels_the_init_hooks() {
    let service = Service::start();
    let (begun, has_begun) = channel();
    let (stopped, has_stopped) = channel();
    let lifecycle = Lifecycle::new()
        .options(Options::new().with_init_timeout(Duration::from_secs(60)).expect("it is one"))
        .on_init("slow", move |init| {
            begun.send(()).expect("the test waits");
            assert!(init.cancellation().wait(PATIENCE), "it fires");
        })
        .on_shutdown("flush", move |_| Ok(stopped.send(())?));
    let endpoint = Endpoint::parse(&service.address()).expect("the test's address is one");
    let lines = service.lines().clone();
    let runtime = Runtime::new(endpoint).log(move |line| lines.push(line.to_string()));
    let runtime = runtime.lifecycle(lifecycle.signals(false));
    let stop = runtime.stop_handle();
    let run = move || runtime.run(|_, responder, _| Ok(responder.send("")));
    let running: Running<Error> = Running::new(service.lines(), move || stop.stop(), run);
    has_begun.recv_timeout(PATIENCE).expect("the hook begins");
    running.stop();
    has_stopped.recv_timeout(PATIENCE).expect("the shutdown hooks run");
    service.lines().wait_for("the start was cancelled");
    service.expect_no_connection();
}

#[test]
fn the_values_are_dropped_before_the_process_ends() {
    let service = Service::start();
    let (mut program, _connections) = idle(&service, "");
    signal(&program, Signal::TERM);
    program.expect_end();
    let lines = program.lines().all();
    let place = |line| lines.iter().position(|other| other == line);
    assert!(place(HOOK).expect("it has run") < place(CLOSED).expect("it is dropped"), "{lines:?}");
}

#[test]
fn values_that_a_never_ending_handler_does_not_use_are_dropped() {
    let service = Service::start();
    let (mut program, _connections) = invoked(&service, "", 1, "hang");
    program.lines().wait_for("in flight");
    signal(&program, Signal::TERM);
    let mut report = service.connection();
    report.request().assert_error("id-1", "Runtime.ShutDown");
    report.take_answer();
    program.expect_end();
    assert_said(&program, &[HOOK]);
    assert_closed_or_named(&program);
}

#[test]
fn a_value_whose_drop_hangs_or_panics_does_not_keep_the_process() {
    for (behaviour, told) in [
        ("closes never", "Table of init hook \"table\" did not finish in time"),
        ("panics when it closes", "Table of init hook \"table\" failed: Function.Panic: boom"),
        (
            "panics when it closes",
            "Table named \"second\" of init hook \"table\" failed: Function.Panic: bang",
        ),
    ] {
        let service = Service::start();
        let (mut program, _connections) = idle(&service, behaviour);
        signal(&program, Signal::TERM);
        program.expect_end();
        assert_logged(&program, told);
        assert_said(&program, &[HOOK, "the end of main"]);
    }
}

#[test]
fn the_values_of_a_start_that_fails_are_dropped() {
    let service = Service::start();
    let (mut program, _extension) = start(&service, "cannot start", 1);
    let mut connection = service.connection();
    connection.request().assert_init_error("Runtime.InitError");
    connection.take_answer();
    program.expect_code(1);
    assert_said(&program, &[CLOSED]);
    assert_not_logged(&program, "shutdown hook");
}

#[test]
fn registered_work_continues_while_the_shutdown_hooks_run() {
    // With several slots nothing else waits for registered work.
    for slots in [1, 2] {
        let service = Service::start();
        let (mut program, _connections) = answered(&service, "", slots, "work");
        signal(&program, Signal::TERM);
        program.lines().wait_for(HOOK);
        program.go_on();
        program.expect_end();
        assert_said(&program, &["the work is done", "the end of main", CLOSED]);
        assert_not_logged(&program, "still runs");
    }
}

#[test]
fn work_that_does_not_end_is_reported_at_the_end_of_the_window() {
    for slots in [1, 2] {
        assert_in_time(|| {
            let service = Service::start();
            let (mut program, _connections) = answered(&service, "", slots, "work forever");
            let signalled = Instant::now();
            program.signal(Signal::TERM);
            let status = program.end();
            // A drain between invocations may take a minute, until the deadline; this end has 2 s.
            let elapsed = signalled.elapsed();
            assert!(elapsed >= Duration::from_millis(1_950), "{elapsed:?}");
            assert_said(&program, &[HOOK]);
            let line = "a task of an answered invocation still runs at the end of the process";
            assert_logged(&program, line);
            status.success() && program.has_said("the end of main")
        });
    }
}

#[test]
fn work_is_not_awaited_under_a_policy_that_only_reports() {
    assert_in_time(|| {
        let service = Service::start();
        let (mut program, mut connections) =
            answered(&service, "only reports work", 1, "work forever");
        connections.first.expect_next();
        let signalled = Instant::now();
        program.signal(Signal::TERM);
        program.expect_end();
        assert_logged(&program, "still runs at the end of the process");
        // It would be waited for until the end of the window.
        signalled.elapsed() < Duration::from_millis(1_900)
    });
}

const TOLD: [&str; 2] = [
    "shutdown hook \"flush\" failed: Function.Flush: no space",
    "shutdown hook \"panic\" failed: Function.Panic: boom",
];

#[test]
fn hooks_that_fail_are_reported_in_one_error_and_by_the_exit_status() {
    let service = Service::start();
    let (mut program, _connections) = idle(&service, "hooks fail");
    signal(&program, Signal::TERM);
    program.expect_code(1);
    let lines = program.lines().all();
    let error = lines.iter().find(|line| line.starts_with("Error: ")).expect("main has an error");
    assert!(TOLD.iter().all(|told| error.contains(told)), "{error}");
    // Each failure also has its own line.
    for told in TOLD {
        let of_its_own = |line: &&String| line.contains(told) && !line.starts_with("Error: ");
        assert_eq!(lines.iter().filter(of_its_own).count(), 1, "{lines:?}");
    }
    assert_said(&program, &[HOOK, CLOSED]);
}

#[test]
fn the_error_of_the_runtime_takes_precedence_over_that_of_its_hooks() {
    let service = Service::start();
    let (mut program, _connections) = refused(&service, "hooks fail");
    program.expect_code(1);
    let lines = program.lines().all();
    let error = lines.iter().find(|line| line.starts_with("Error: ")).expect("main has an error");
    assert!(error.contains("500"), "{error}");
    assert!(TOLD.iter().all(|told| lines.iter().any(|line| line.contains(told))), "{lines:?}");
}

#[test]
fn without_a_window_hooks_run_when_the_runtime_ends_by_itself_and_not_after_a_signal() {
    for behaviour in ["has no window", "has a buffer as long as its window"] {
        let service = Service::start();
        let (mut program, _connections) = refused(&service, behaviour);
        program.expect_code(1);
        assert_said(&program, &[HOOK, "shutdown hook, in the stop timeout", CLOSED]);
    }
    let service = Service::start();
    let (mut program, _connections) = idle(&service, "has no window");
    program.signal(Signal::TERM);
    program.expect_code(1);
    assert_logged(&program, "no time was left for shutdown hooks: \"hook\"");
}

#[test]
fn hooks_get_the_whole_window_if_there_is_nothing_to_report() {
    let service = Service::start();
    let (mut program, mut connections) = invoked(&service, "has a deaf hook", 1, "");
    connections.first.request().assert_response("id-1");
    let signalled = Instant::now();
    program.signal(Signal::TERM);
    // The answer is on its way, so it is not reported; the service never replies to it.
    program.lines().wait_for("shutdown hooks had not ended when their time was over: \"deaf\"");
    assert!(signalled.elapsed() >= Duration::from_millis(1_950), "{:?}", signalled.elapsed());
    program.expect_code(1);
}

#[test]
fn an_invocation_is_reported_while_a_shutdown_hook_hangs() {
    let service = Service::start();
    let (mut program, _connections) = invoked(&service, "has a deaf hook", 1, "hang");
    program.lines().wait_for("in flight");
    signal(&program, Signal::TERM);
    let mut report = service.connection();
    report.request().assert_error("id-1", "Runtime.ShutDown");
    report.take_answer();
    program.expect_code(1);
    assert_logged(&program, "unanswered at the end of the process: 1");
}

#[test]
fn registered_work_continues_while_another_slot_is_cancelled() {
    let service = Service::start();
    let (mut program, mut connections) = answered(&service, "", 2, "work");
    connections.others[0].send(Event::new("id-2", "hang").bytes());
    program.lines().wait_for("in flight");
    signal(&program, Signal::TERM);
    program.lines().wait_for("cancelling the invocations in flight");
    program.go_on();
    let mut report = service.connection();
    report.request().assert_error("id-2", "Runtime.ShutDown");
    report.take_answer();
    program.expect_end();
    assert_said(&program, &["the work is done", HOOK]);
    assert_not_logged(&program, "still runs");
}

#[test]
fn a_cancelled_start_has_the_time_of_the_shutdown_hooks_to_end() {
    let service = Service::start();
    let (mut program, _extension) = start(&service, "ends slowly when cancelled", 1);
    program.lines().wait_for("init hook");
    signal(&program, Signal::TERM);
    program.expect_end();
    assert_said(&program, &["the init hook has ended", HOOK, CLOSED]);
    service.expect_no_connection();
}

#[test]
fn after_a_failed_start_a_signal_runs_no_hooks_and_the_exit_status_is_that_of_the_failure() {
    let service = Service::start();
    let (mut program, _extension) = start(&service, "cannot start", 1);
    let mut connection = service.connection();
    connection.request().assert_init_error("Runtime.InitError");
    // The service does not reply, so the program waits.
    signal(&program, Signal::TERM);
    program.expect_code(1);
    assert_not_logged(&program, "shutdown hook");
}

#[test]
fn a_signal_cancels_the_hooks_of_a_runtime_that_ends_by_itself() {
    assert_in_time(|| {
        let service = Service::start();
        let (mut program, _connections) = refused(&service, "has an obedient hook");
        program.lines().wait_for("obedient hook");
        let signalled = Instant::now();
        program.signal(Signal::TERM);
        program.expect_code(1);
        let is_told = ["the end of main", CLOSED].iter().all(|line| program.has_said(line));
        // Without the signal the hook would have the stop timeout.
        is_told && signalled.elapsed() < STOP_TIMEOUT / 2
    });
}

#[test]
fn a_signal_ends_a_runtime_that_ends_by_itself_and_has_a_deaf_hook() {
    let service = Service::start();
    let (mut program, _connections) = refused(&service, "has a deaf hook");
    program.lines().wait_for("deaf hook");
    let signalled = Instant::now();
    program.signal(Signal::TERM);
    program.expect_code(1);
    assert!(signalled.elapsed() < STOP_TIMEOUT / 2, "{:?}", signalled.elapsed());
    assert_logged(&program, "the runtime did not end in time after the signal: exiting");
}
