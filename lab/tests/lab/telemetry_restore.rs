//! The telemetry of functions with SnapStart, beside the sequence that is expected.

use std::fs::File;
use std::thread;
use std::time::Duration;

use lambda_lab::{Function, Lab};

use crate::listener::{Listener, Mouth};
use crate::support::{Connection, await_process, is_stopped, of, request, wait_until};
use crate::telemetry_stage::{
    INIT_DONE, INIT_ERROR, INIT_REPORT, INIT_START, OVERHEAD, READY, SCHEMA, SPANS, START,
    SUBSCRIBED, Stage, assert_sequence, metrics, report, runtime_done,
};

const RESTORE_NEXT: &str = "GET /2018-06-01/runtime/restore/next";
const RESTORE_ERROR: &str = "/2018-06-01/runtime/restore/error";

/// The event with the phase and the type of an init for a snapshot.
fn snapstart(text: &str) -> String {
    let text = text.replace("on-demand", "snap-start");
    let text = text.replace("\"phase\":\"init\"", "\"phase\":\"snap-start\"");
    text.replace(r#""instanceId":"$LATEST","#, "")
}

/// Takes a snapshot of a function, and plays its restore, which begins with the reply to
/// `restore/next`. The events of the snapshot have to be as expected, and those of the restore like
/// these.
fn on_restore(
    function: impl FnOnce(Function) -> Function,
    play: impl FnOnce(&mut Stage),
    expected: &[&str],
) {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab: Lab = function(mouth.function().snapstart()).start().unwrap();
    let pid = await_process(&lab);
    let mut stage = Stage::open(&lab, &mouth, SCHEMA, r#"["INVOKE"]"#, &listener);
    stage.extension.asks();
    stage.runtime.send(request(RESTORE_NEXT, &[], ""));
    wait_until("the process is stopped", || is_stopped(pid));
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        assert_eq!(stage.runtime.response().status, 200);
        // All connections were cut.
        stage.runtime = Connection::open(&stage.api);
        stage.extension.played.next = Connection::open(&stage.api);
        play(&mut stage);
        let _ = caller.join().unwrap();
    });
    let before = [
        &snapstart(INIT_START),
        SUBSCRIBED,
        &snapstart(INIT_DONE),
        READY,
        &snapstart(INIT_REPORT),
        r#"platform.restoreStart {"functionName":"test_function","functionVersion":"$LATEST","instanceMaxMemory":3008}"#,
    ];
    let expected = [&before[..], expected].concat();
    assert_sequence(&listener.until("platform.report"), &expected);
}

/// The end of a restore that failed with this status, and of the invocation that caused it.
fn failed(status: &str, error_type: &str) -> [String; 4] {
    let outcome = format!(r#""errorType":"{error_type}","#);
    let metrics_of_restore = r##""metrics":{"durationMs":"#"},"##;
    let error = format!("error {error_type}");
    [
        format!(r#"platform.restoreRuntimeDone {{{outcome}"status":"{status}"}}"#),
        format!(r#"platform.restoreReport {{{outcome}{metrics_of_restore}"status":"{status}"}}"#),
        runtime_done(&error, 0, ""),
        report(&error, &metrics(""), ""),
    ]
}

fn assert_fails(
    function: impl FnOnce(Function) -> Function,
    play: impl FnOnce(&mut Stage),
    status: &str,
    error_type: &str,
) {
    let [done, restored, runtime_done, report] = failed(status, error_type);
    on_restore(function, play, &[&done, &restored, START, &runtime_done, &report]);
}

#[test]
fn a_snapshot_has_an_init_of_its_own_and_its_restore_is_told() {
    on_restore(
        |function| function,
        |stage| {
            let event = stage.is_ready();
            stage.runtime.post(&of(&event.id(), "response"), "").assert_accepted();
            stage.is_done();
        },
        &[
            r#"platform.restoreRuntimeDone {"status":"success"}"#,
            r##"platform.restoreReport {"metrics":{"durationMs":"#"},"status":"success"}"##,
            START,
            &runtime_done("success", 0, SPANS),
            &report("success", &metrics("restoreDurationMs"), OVERHEAD),
        ],
    );
}

#[test]
fn a_restore_that_the_runtime_reports_as_failed_is_an_error_with_its_type() {
    for path in [RESTORE_ERROR, INIT_ERROR] {
        let play = |stage: &mut Stage| {
            let failure = r#"{"errorType":"Runtime.AfterRestoreError","errorMessage":"m"}"#;
            stage.runtime.post(path, failure).assert_accepted();
        };
        assert_fails(|function| function, play, "error", "Runtime.AfterRestoreError");
    }
}

#[test]
fn a_restore_whose_runtime_exits_is_an_error() {
    // The process ends when its input does.
    let play = |stage: &mut Stage| stage.out = File::create("/dev/null").unwrap();
    assert_fails(|function| function, play, "error", "Runtime.ExitError");
}

#[test]
fn a_restore_that_takes_too_long_is_a_timeout_and_its_invocation_an_error() {
    let function = |function: Function| function.restore_timeout(Duration::from_millis(300));
    assert_fails(function, |_| {}, "timeout", "Runtime.RestoreHookUserTimeout");
}

#[test]
fn an_init_that_fails_before_its_snapshot_is_told_when_the_processes_end() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab = mouth.function().snapstart().start().unwrap();
    let mut stage = Stage::open(&lab, &mouth, SCHEMA, r#"["INVOKE"]"#, &listener);
    let failure = r#"{"errorType":"Runtime.BeforeSnapshotError","errorMessage":"m"}"#;
    stage.runtime.post(INIT_ERROR, failure).assert_accepted();
    let failed = r#""errorType":"Runtime.BeforeSnapshotError","initializationType":"snap-start","#;
    let status = r#""phase":"snap-start","status":"error""#;
    assert_sequence(
        &listener.until("platform.initReport"),
        &[
            &snapstart(INIT_START),
            SUBSCRIBED,
            &format!("platform.initRuntimeDone {{{failed}{status}}}"),
            &READY.replace("Ready", "Registered"),
            &format!(
                r##"platform.initReport {{{failed}"metrics":{{"durationMs":"#"}},{status}}}"##
            ),
        ],
    );
}
