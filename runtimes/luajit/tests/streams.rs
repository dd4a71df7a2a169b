//! Streamed responses and hooks.
#![allow(missing_docs)]

mod support;

use support::function;

#[test]
fn a_streamed_response_has_its_content_type_and_its_bytes() {
    let running = function("streams.bytes").start();
    for event in ["\"leave open\"", "\"finish\""] {
        let answer = running.answer(event);
        assert_eq!(answer.body, b"a,1\n\0\xff");
        assert_eq!(answer.content_type.as_deref(), Some("text/csv"));
    }
    // What is printed after the response is there before the next one.
    running.answer("{}");
    let log = running.log();
    assert!(log.contains(": false\t"), "{log}");
}

#[test]
fn an_error_after_the_first_piece_fails_the_invocation_and_the_loop_goes_on() {
    let running = function("streams.bytes").start();
    let failure = running.failure("\"fail\"");
    assert_eq!(failure.error_type().as_deref(), Some("Function.Midway"), "{failure:?}");
    assert_eq!(running.answer("\"again\"").body, b"a,1\n\0\xff");
}

#[test]
fn an_http_response_begins_with_its_prelude() {
    let running = function("streams.http").start();
    let answer = running.answer("{}");
    let prelude = r#"{"statusCode":404,"headers":{"content-type":"text/plain"},"cookies":["a=1"]}"#;
    assert_eq!(answer.text(), format!("{prelude}{}nothing here", "\0".repeat(8)));
    assert_eq!(
        answer.content_type.as_deref(),
        Some("application/vnd.awslambda.http-integration-response")
    );
}

#[test]
fn a_stream_that_cannot_begin_is_an_error_at_its_place() {
    let running = function("streams.wrong").start();
    running.fails("\"status\"", "Function.Error", "streams.lua:");
    running.fails(
        "\"type\"",
        "Function.Error",
        "takes a content type or a table, and not a boolean",
    );
    running.fails("\"piece\"", "Function.Error", "bad argument #1 to 'write'");
    running.fails("\"twice\"", "Function.Error", "there is no invocation to answer");
    assert_eq!(running.text("\"none\""), "\"a response\"");
}

#[test]
fn the_stream_of_an_earlier_invocation_is_over() {
    let running = function("streams.kept").start();
    assert_eq!(running.text("\"keep\""), "first");
    assert_eq!(running.text("\"stream\""), "second, alone");
    for event in ["\"write\"", "\"finish\""] {
        let failure = running.failure(event);
        assert_eq!(failure.error_type().as_deref(), Some("Function.Error"), "{failure:?}");
    }
    assert_eq!(running.text("\"stream\""), "second, alone");
}

#[test]
fn the_shutdown_hook_runs_before_the_process_ends() {
    let running = function("streams.restored").start();
    assert_eq!(running.text("{}"), "false");
    running.lab.stop();
    let log = running.log();
    assert!(log.contains("INFO invocation") && log.contains("the last words\n"), "{log}");
}

#[test]
fn hooks_run_around_a_snapshot() {
    let running = function("streams.restored").snapstart().start();
    assert_eq!(running.text("{}"), "true");
    let log = running.log();
    let (before, after) = (log.find("before the snapshot"), log.find("after the restore"));
    assert!(before.is_some() && before < after, "{log}");
}

#[test]
fn os_exit_in_a_snapshot_hook_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    for (stage, code, error_type) in [
        ("before_snapshot", 3, "Runtime.BeforeSnapshotError"),
        ("after_restore", 4, "Runtime.AfterRestoreError"),
    ] {
        let main = format!(
            "require('lambda').{stage}(function() os.exit({code}) end) function handle() end"
        );
        std::fs::write(folder.path().join("main.lua"), main).unwrap();
        let running = function("main.handle").root(folder.path()).snapstart().start();
        let message = format!("Function.Exit: the function called os.exit({code})");
        running.fails("{}", error_type, &message);
    }
}
