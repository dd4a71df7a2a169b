//! Snapshots, and restores from them.

use std::thread;
use std::time::{Duration, Instant};

use lambda_lab::{FailureKind, Function, FunctionFailure, InvokeError, Lab};

use crate::served::{Served, TELL};
use crate::support::{
    Connection, NEXT, await_process, function, is_stopped, lives, of, request, script, wait_until,
};

const RESTORE_NEXT: &str = "GET /2018-06-01/runtime/restore/next";
const RESTORE_ERROR: &str = "/2018-06-01/runtime/restore/error";
const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

/// A lab whose process runs, and whose runtime is played by the test.
fn started(function: Function) -> (Lab, u32) {
    let lab = function.snapstart().start().unwrap();
    let pid = await_process(&lab);
    (lab, pid)
}

fn sleeping() -> (Lab, u32) {
    started(script("exec sleep 1000"))
}

/// Calls `restore/next`, and waits until the process is stopped and all connections are cut, so
/// that one that is opened afterwards stays.
fn snapshot(lab: &Lab, pid: u32) -> Connection {
    let mut idle = Connection::open(lab.runtime_api());
    assert_eq!(idle.request("GET /2018-06-01/ping", &[], "").text(), "pong");
    let mut runtime = Connection::open(lab.runtime_api());
    runtime.send(request(RESTORE_NEXT, &[], ""));
    wait_until("the process is stopped", || is_stopped(pid));
    assert!(idle.is_closed());
    runtime
}

fn failure(result: Result<lambda_lab::Answer, InvokeError>) -> FunctionFailure {
    match result {
        Err(InvokeError::Function(failure)) => failure,
        other => panic!("no failure of the function: {other:?}"),
    }
}

fn respond(lab: &Lab) {
    let mut runtime = Connection::open(lab.runtime_api());
    let next = runtime.request(NEXT, &[], "");
    runtime.post(&of(&next.id(), "response"), &next.body).assert_accepted();
}

#[test]
fn a_function_starts_with_the_lab_and_is_stopped_until_an_invocation_restores_it() {
    let (lab, pid) = sleeping();
    let mut runtime = snapshot(&lab, pid);
    assert!(runtime.has_nothing());
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let restored = runtime.response();
        assert_eq!((restored.status, restored.text().as_str()), (200, ""));
        wait_until("the process is continued", || !is_stopped(pid));
        assert!(!caller.is_finished());
        respond(&lab);
        assert_eq!(caller.join().unwrap().unwrap().body, b"in");
        // The same process, and no further restore.
        let caller = scope.spawn(|| lab.invoke("again"));
        respond(&lab);
        assert_eq!(caller.join().unwrap().unwrap().body, b"again");
    });
    assert!(lives(pid) && !is_stopped(pid));
}

#[test]
fn all_connections_are_dead_after_a_restore() {
    let (lab, pid) = sleeping();
    let mut idle = Connection::open(lab.runtime_api());
    assert_eq!(idle.request("GET /2018-06-01/ping", &[], "").text(), "pong");
    let mut extension = Connection::open(lab.runtime_api());
    let name = [("Lambda-Extension-Name", "mine")];
    let line = "POST /2020-01-01/extension/register";
    let registered = extension.request(line, &name, r#"{"events":["INVOKE"]}"#);
    let id = registered.header("lambda-extension-identifier").unwrap();
    let ask =
        request("GET /2020-01-01/extension/event/next", &[("Lambda-Extension-Identifier", id)], "");
    extension.send(&ask);
    let mut runtime = snapshot(&lab, pid);
    assert!(idle.is_closed() && extension.is_closed());
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        // The reply to `restore/next` comes on the old connection, which is closed after it.
        let restored = runtime.response();
        assert_eq!((restored.status, restored.header("connection")), (200, None));
        runtime.send(request(NEXT, &[], ""));
        assert!(runtime.is_closed());
        let mut extension = Connection::open(lab.runtime_api());
        extension.send(&ask);
        respond(&lab);
        assert_eq!(extension.response().status, 200);
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn a_snapshot_is_not_restored_before_its_pause_is_over() {
    let pause = Duration::from_millis(400);
    let (lab, pid) = started(script("exec sleep 1000").snapshot_pause(pause));
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let mut runtime = Connection::open(lab.runtime_api());
        let began = Instant::now();
        runtime.send(request(RESTORE_NEXT, &[], ""));
        wait_until("the process is stopped", || is_stopped(pid));
        assert_eq!(runtime.response().status, 200);
        assert!(began.elapsed() >= pause, "{:?}", began.elapsed());
        respond(&lab);
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn a_runtime_that_does_not_call_restore_next_is_stopped_as_well() {
    let lab = function().snapstart().start().unwrap();
    let pids = [(); 3].map(|()| lab.invoke("pid").unwrap().text());
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");

    let (lab, pid) = sleeping();
    let mut runtime = Connection::open(lab.runtime_api());
    runtime.send(request(NEXT, &[], ""));
    wait_until("the process is stopped", || is_stopped(pid));
    assert!(runtime.is_closed());
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        respond(&lab);
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn the_environment_of_the_function_says_snap_start() {
    let lab = function().snapstart().start().unwrap();
    for (name, value) in [
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start"),
        ("AWS_LAMBDA_FUNCTION_NAME", "test_function"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", ""),
        ("AWS_LAMBDA_LOG_STREAM_NAME", ""),
    ] {
        assert_eq!(lab.invoke(format!("env {name}")).unwrap().text(), value, "{name}");
    }
}

#[test]
fn calls_out_of_order_are_refused_in_the_words_of_the_service() {
    let (lab, pid) = sleeping();
    let mut other = Connection::open(lab.runtime_api());
    other.post(RESTORE_ERROR, "{}").assert_forbidden("Started", "RuntimeRestoreErrorState");
    let mut runtime = snapshot(&lab, pid);
    let mut other = Connection::open(lab.runtime_api());
    other.request(RESTORE_NEXT, &[], "").assert_forbidden("RestoreReady", "Ready");
    other.request(NEXT, &[], "").assert_forbidden("RestoreReady", "Ready");
    other.post(INIT_ERROR, "{}").assert_forbidden("RestoreReady", "InitError");
    other.post(RESTORE_ERROR, "{}").assert_forbidden("RestoreReady", "RuntimeRestoreErrorState");
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        assert_eq!(runtime.response().status, 200);
        other.request(RESTORE_NEXT, &[], "").assert_forbidden("Restoring", "Ready");
        respond(&lab);
        other
            .post(RESTORE_ERROR, "{}")
            .assert_forbidden("RuntimeResponseSentState", "RuntimeRestoreErrorState");
        other.request(RESTORE_NEXT, &[], "").assert_forbidden("RuntimeResponseSentState", "Ready");
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn without_snapstart_the_restore_paths_do_not_exist() {
    for lab in [crate::support::external(), script("exec sleep 1000").freeze().start().unwrap()] {
        let mut runtime = Connection::open(lab.runtime_api());
        for line in [RESTORE_NEXT, &format!("POST {RESTORE_ERROR}")] {
            let refused = runtime.request(line, &[], "");
            assert_eq!((refused.status, refused.text().as_str()), (404, "404 page not found\n"));
        }
    }
    let (lab, _) = sleeping();
    let mut runtime = Connection::open(lab.runtime_api());
    let refused = runtime.request(&RESTORE_NEXT.replace("GET", "POST"), &[], "");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET")));
    let refused = runtime.request(&format!("GET {RESTORE_ERROR}"), &[], "");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")));
}

#[test]
fn the_next_caller_gets_a_failure_before_the_snapshot_and_the_process_is_restarted() {
    let (lab, pid) = sleeping();
    let report = r#"{"errorType":"Runtime.BeforeSnapshotError","errorMessage":"m"}"#;
    Connection::open(lab.runtime_api()).post(INIT_ERROR, report).assert_accepted();
    wait_until("it has been ended", || !lives(pid));
    let failure = failure(lab.invoke("in"));
    assert_eq!((failure.kind, failure.body.as_slice()), (FailureKind::Init, report.as_bytes()));
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        assert_ne!(await_process(&lab), pid);
        // It is restored immediately, as a caller is waiting.
        let mut runtime = Connection::open(lab.runtime_api());
        assert_eq!(runtime.request(RESTORE_NEXT, &[], "").status, 200);
        respond(&lab);
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn the_next_caller_gets_an_exit_or_a_timeout_before_the_snapshot() {
    let lab = script("exit 9").snapstart().start().unwrap();
    for _ in 0..2 {
        let failure = failure(lab.invoke("in"));
        assert_eq!(failure.kind, FailureKind::Exit);
        assert_eq!(
            failure.to_string(),
            "Runtime.ExitError: Runtime exited with error: exit status 9"
        );
    }
    let lab = script("exec sleep 1000").snapstart().init_timeout(Duration::from_millis(150));
    let lab = lab.start().unwrap();
    for _ in 0..2 {
        let failure = failure(lab.invoke("in"));
        assert_eq!(failure.kind, FailureKind::Init);
        assert_eq!(failure.to_string(), "Sandbox.Timedout: Init timed out after 0.15 seconds");
    }
}

#[test]
fn the_caller_gets_a_restore_error_or_init_error_after_the_restore() {
    for path in [RESTORE_ERROR, INIT_ERROR] {
        let (lab, pid) = sleeping();
        let mut runtime = snapshot(&lab, pid);
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            assert_eq!(runtime.response().status, 200);
            let report = r#"{"errorType":"Runtime.AfterRestoreError","errorMessage":"m"}"#;
            let mut runtime = Connection::open(lab.runtime_api());
            runtime.post(path, report).assert_accepted();
            let failure = failure(caller.join().unwrap());
            assert_eq!(failure.kind, FailureKind::Init);
            assert_eq!(failure.body, report.as_bytes());
            runtime.request(NEXT, &[], "").assert_forbidden("RuntimeRestoreErrorState", "Ready");
        });
        wait_until("it has been ended", || !lives(pid));
    }
}

#[test]
fn the_caller_gets_an_exit_after_the_restore() {
    let (lab, pid) = sleeping();
    let mut runtime = snapshot(&lab, pid);
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        assert_eq!(runtime.response().status, 200);
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let failure = failure(caller.join().unwrap());
        assert_eq!(failure.error_type().as_deref(), Some("Runtime.ExitError"));
    });
}

#[test]
fn a_restore_that_takes_too_long_fails_and_its_process_is_ended() {
    let (lab, pid) = started(script("exec sleep 1000").restore_timeout(Duration::from_millis(150)));
    let mut runtime = snapshot(&lab, pid);
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        assert_eq!(runtime.response().status, 200);
        let failure = failure(caller.join().unwrap());
        assert_eq!(failure.kind, FailureKind::Init);
        assert_eq!(failure.error_type().as_deref(), Some("Runtime.RestoreHookUserTimeout"));
        let message = failure.error_message().unwrap();
        assert!(message.ends_with("Error: Restore timed out after 0.15 seconds"), "{message}");
    });
    assert!(!lives(pid));
}

#[test]
fn the_timeout_begins_after_the_restore() {
    let (lab, pid) = started(script("exec sleep 1000").timeout(Duration::from_millis(300)));
    let mut runtime = snapshot(&lab, pid);
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        assert_eq!(runtime.response().status, 200);
        // The restore hooks take longer than the timeout.
        thread::sleep(Duration::from_millis(400));
        let now = lab.now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let mut runtime = Connection::open(lab.runtime_api());
        let next = runtime.request(NEXT, &[], "");
        let deadline = next.header("lambda-runtime-deadline-ms").unwrap().parse::<u64>().unwrap();
        assert!(Duration::from_millis(deadline + 1) >= now + Duration::from_millis(300));
        runtime.post(&of(&next.id(), "response"), "out").assert_accepted();
        assert_eq!(caller.join().unwrap().unwrap().body, b"out");
    });
}

#[test]
fn snapshots_restores_and_failed_inits_are_logged() {
    let script = format!("{TELL}exec sleep 1000");
    let mut served = Served::start(&["--snapstart", "--snapshot-pause", "1ms"], &script);
    let (mut runtime, pid) = served.told();
    runtime.send(request(RESTORE_NEXT, &[], ""));
    let line = served.line_with("snapshot taken, ");
    assert!(line.starts_with("Init Duration: "), "{line}");
    wait_until("the process is stopped", || is_stopped(pid));
    let mut caller = served.invoke("in");
    assert_eq!(runtime.response().status, 200);
    let mut runtime = Connection::open(&served.api);
    let next = runtime.request(NEXT, &[], "");
    runtime.post(&of(&next.id(), "response"), "out").assert_accepted();
    runtime.send(request(NEXT, &[], ""));
    assert_eq!(caller.response().text(), "out");
    let report = served.line_with("REPORT RequestId: ");
    assert!(report.contains("\tRestore Duration: "), "{report}");
    assert!(!report.contains("Init Duration"), "{report}");

    let served = Served::start(&["--snapstart"], &script);
    let failed = |mut served: Served| {
        let (mut runtime, _) = served.told();
        runtime.post(INIT_ERROR, r#"{"errorType":"Mine.X","errorMessage":"m"}"#).assert_accepted();
        let report = served.line_with("INIT_REPORT ");
        assert!(report.ends_with("Phase: init\tStatus: error\tError Type: Mine.X\t"), "{report}");
        assert_eq!(served.line_with("cannot take a snapshot: "), "Mine.X: m");
    };
    failed(served);
}

#[test]
fn the_pause_after_a_snapshot_is_no_part_of_the_init() {
    let script = format!("{TELL}exec sleep 1000");
    let mut served = Served::start(&["--snapstart", "--snapshot-pause", "1h"], &script);
    let (mut runtime, _) = served.told();
    runtime.send(request(RESTORE_NEXT, &[], ""));
    served.line_with("snapshot taken, ");
}

#[test]
fn a_signal_that_ends_the_lab_also_ends_a_stopped_snapshot() {
    for signal in ["INT", "TERM", "HUP", "KILL"] {
        let script = format!("{TELL}sleep 1000 & exec sleep 1000");
        let mut served = Served::start(&["--snapstart"], &script);
        let (mut runtime, pid) = served.told();
        runtime.send(request(RESTORE_NEXT, &[], ""));
        wait_until("the process is stopped", || is_stopped(pid));
        served.signal(signal);
        served.child.wait().unwrap();
        wait_until("it has ended", || !lives(pid));
    }
}

#[test]
fn a_lab_can_stop_while_it_waits_for_a_snapshot_or_its_pause() {
    for has_asked in [false, true] {
        let (lab, pid) = started(script("exec sleep 1000").snapshot_pause(Duration::from_secs(60)));
        let _runtime = has_asked.then(|| snapshot(&lab, pid));
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let began = Instant::now();
            lab.stop();
            assert!(began.elapsed() < Duration::from_secs(20));
            assert_eq!(caller.join().unwrap().unwrap_err(), InvokeError::Stopped);
        });
        assert!(!lives(pid));
    }
}
