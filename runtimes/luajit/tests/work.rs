//! Work after the response, hooks of init, and finalizers.
#![allow(missing_docs)]

mod support;

use std::time::Duration;

use support::{Settings, function};

/// A function whose code is interrupted after 4 s, and whose process ends after 6 s.
fn limited(handler: &str) -> Settings {
    let running = function(handler).timeout(Duration::from_secs(8));
    running.variable("LAMBDA_PROTO_CANCELLATION_BUFFER_MS", "4000")
}

#[test]
fn work_runs_in_its_order_after_the_response_and_before_the_next_event() {
    let running = function("work.later").start();
    // The response was made before any work.
    assert_eq!(running.text(r#"{"number":1}"#), r#"{"done":0}"#);
    assert_eq!(running.text(r#"{"number":2}"#), r#"{"done":2}"#);
    assert_eq!(running.text(r#"{"number":3}"#), r#"{"done":4}"#);
    let log = running.log();
    assert!(log.contains("first after the response to\t1"), "{log}");
}

#[test]
fn work_that_fails_is_logged_and_the_rest_runs() {
    let running = function("work.later").start();
    assert_eq!(running.text(r#"{"fail":true}"#), r#"{"done":0}"#);
    assert_eq!(running.text("{}"), r#"{"done":2}"#);
    let log = running.log();
    let line = log.lines().find(|line| line.contains("the work \"first\" after the response"));
    assert!(line.is_some_and(|line| line.contains("the work has failed")), "{log}");
}

#[test]
fn work_runs_after_the_report_of_a_handler_that_fails() {
    let running = function("work.later").start();
    running.fails(r#"{"fail_handler":true}"#, "Function.Error", "the handler has failed");
    assert_eq!(running.text("{}"), r#"{"done":2}"#);
}

#[test]
fn work_that_does_not_end_is_interrupted_and_reported_and_the_caller_keeps_the_response() {
    let settings = function("work.later").timeout(Duration::from_secs(8));
    let running = settings.variable("LAMBDA_PROTO_DRAIN_RESERVE_MS", "4000").start();
    assert_eq!(running.text(r#"{"loop":true}"#), r#"{"done":0}"#);
    // The same state; the second piece of work had no time.
    assert_eq!(running.text("{}"), r#"{"done":1}"#);
    let log = running.log();
    assert!(log.contains("Function.Timeout"), "{log}");
    assert!(log.contains("2 tasks of answered invocations still run"), "{log}");
}

#[test]
fn work_without_time_ends_the_process_if_the_policy_is_strict() {
    let settings = function("work.later").timeout(Duration::from_secs(4));
    let running = settings.variable("LAMBDA_PROTO_WORK", "strict").start();
    assert_eq!(running.text(r#"{"loop":true}"#), r#"{"done":0}"#);
    // A new process.
    assert_eq!(running.text("{}"), r#"{"done":0}"#);
    let log = running.log();
    // The second one on a machine that is too busy to interrupt the work in time.
    let expected = ["still run", "did not return before the deadline"];
    assert!(expected.iter().any(|text| log.contains(text)), "{log}");
}

#[test]
fn wrong_work_is_an_error_at_its_place() {
    let running = function("work.wrong").start();
    let wrong = |event: &str, message: &str| {
        running.fails(format!("{event:?}"), "Function.Error", message);
    };
    wrong(
        "function",
        "work.lua:32: bad argument #2 to 'begin_work' (function expected, got number)",
    );
    wrong("name", "bad argument #1 to 'begin_work' (string expected, got table)");
    wrong("dot", "work.lua:34: call begin_work with a colon");
    wrong("stream dot", "call stream with a colon");
    assert_eq!(running.answer("\"finished\"").body, b"");
    assert_eq!(running.text("\"keep\""), "\"a response\"");
    wrong("kept", "register work before its response");
    wrong("kept stream", "belongs to an earlier invocation");
    let log = running.log();
    assert!(log.contains("false\tthe invocation is answered"), "{log}");
}

#[test]
fn the_functions_of_an_earlier_context_say_that_its_time_is_over() {
    let running = function("work.over").start();
    assert_eq!(running.text("{}"), "[true,false,1]");
    assert_eq!(running.text("{}"), "[0,true,true,2]");
}

#[test]
fn a_hook_of_init_runs_before_the_first_event() {
    assert_eq!(function("work.ready").variable("ON_INIT", "done").start().text("{}"), "\"yes\"");
    let settings = function("work.ready").variable("ON_INIT", "done").concurrency(2);
    assert_eq!(settings.start().text("{}"), "\"yes\"");
}

#[test]
fn a_hook_of_init_that_fails_is_an_error_of_init() {
    let fails = |what: &str, error_type: &str, message: &str| {
        let settings = function("work.ready").variable("ON_INIT", what);
        settings.start().fails("{}", error_type, message)
    };
    let trace = fails("error", "Runtime.InitError", "there is no table");
    assert!(trace.contains("work.lua:9:"), "{trace}");
    fails("exit", "Runtime.InitError", "os.exit(5)");
    fails("false", "Runtime.InitAborted", "lua");
}

#[test]
fn a_hook_of_init_that_does_not_return_is_an_error_of_init() {
    let settings = function("work.ready").variable("ON_INIT", "loop");
    let running = settings.variable("LAMBDA_PROTO_INIT_TIMEOUT_MS", "3000").start();
    let failure = running.failure("{}");
    let error_type = failure.error_type().unwrap_or_default();
    // The second one on a machine that is too busy to interrupt it before the hook's time is over.
    let expected = ["Runtime.InitError", "Runtime.InitTimeout"];
    assert!(expected.contains(&&*error_type), "{failure:?}");
}

#[test]
fn a_finalizer_that_does_not_return_is_reported_and_its_process_ends() {
    for event in ["\"gc\"", "\"cdata\""] {
        let running = limited("work.finalizer").start();
        running.fails(event, "Function.Timeout", "or a finalizer did not return");
        assert_eq!(running.text("\"go\""), "\"go\"");
    }
}

#[test]
fn a_finalizer_that_fails_harms_nothing() {
    let running = function("work.finalizer").start();
    assert_eq!(running.text("\"fails\""), "\"fails\"");
    assert_eq!(running.text("\"go\""), "\"go\"");
    assert!(running.log().contains("finalized"), "{}", running.log());
}
