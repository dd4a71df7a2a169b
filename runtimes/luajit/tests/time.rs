//! Lua code that does not return in time, or takes too much memory.
#![allow(missing_docs)]

mod support;

use std::time::{Duration, Instant};

use support::{Settings, function};

/// A function whose code is interrupted after 4 s, and whose process ends after 6 s: a busy machine
/// may need some time to run the code again.
fn limited(handler: &str) -> Settings {
    let buffer = ("LAMBDA_PROTO_CANCELLATION_BUFFER_MS", "4000");
    function(handler).timeout(Duration::from_secs(8)).variable(buffer.0, buffer.1)
}

#[track_caller]
fn is_ended(handler: &str) {
    let running = limited(handler).start();
    let began = Instant::now();
    let trace = running.fails("\"stop\"", "Function.Timeout", "the time of the invocation is over");
    // Not before; the clock of the deadline counts milliseconds.
    assert!(began.elapsed() > Duration::from_millis(3_990), "{:?}", began.elapsed());
    assert!(trace.contains("loops.lua:"), "{trace}");
    // The same process goes on.
    assert_eq!(running.text("\"go\""), "\"go\"");
    assert!(!running.log().contains("was ended"), "{}", running.log());
}

#[test]
fn a_compiled_loop_ends_before_the_deadline() {
    is_ended("loops.compiled");
}

#[test]
fn loops_are_compiled_and_no_hook_is_set_while_they_run() {
    let running = function("values.eval").start();
    assert_eq!(running.eval("return { (jit.status()), debug.gethook() == nil }"), "[true,true]");
}

#[test]
fn a_loop_that_catches_errors_ends_before_the_deadline() {
    is_ended("loops.caught");
}

#[test]
fn an_interrupted_handler_fails_even_if_it_returns_the_error_as_a_result() {
    let running = limited("loops.returned").start();
    for event in ["\"pcall\"", "\"xpcall\"", "\"coroutine\""] {
        running.fails(event, "Function.Timeout", "the time of the invocation is over");
        assert_eq!(running.text("\"go\""), "\"go\"");
    }
}

#[test]
fn a_loop_in_coroutines_ends_before_the_deadline() {
    is_ended("loops.coroutine");
}

#[test]
fn endless_calls_end_before_the_deadline() {
    is_ended("loops.calls");
}

#[test]
fn a_c_function_that_does_not_return_is_reported_and_its_process_ends() {
    let running = limited("loops.matches").start();
    assert_eq!(running.text("\"go\""), "\"go\"");
    running.fails("\"stop\"", "Function.Timeout", "a C function or a finalizer did not return");
    // A new process serves the next one.
    assert_eq!(running.text("\"go\""), "\"go\"");
    assert!(running.log().contains("a C function or a finalizer"), "{}", running.log());
}

#[test]
fn a_system_call_that_waits_is_interrupted() {
    let running = limited("loops.sleeps").start();
    running.fails("\"stop\"", "Function.Timeout", "the time of the invocation is over");
    assert_eq!(running.text("\"go\""), "\"go\"");
}

#[test]
fn a_hook_of_the_function_stays_from_one_invocation_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let code = "local count = 0 \
        local function hook() count = count + 1 end \
        debug.sethook(hook, 'l', 7) \
        function handle(event) \
          while event == 'stop' do end \
          local current, mask, period = debug.gethook() \
          return { current == hook, mask, period } \
        end";
    std::fs::write(folder.path().join("main.lua"), code).unwrap();
    let running = limited("main.handle").root(folder.path()).start();
    for _ in 0..2 {
        assert_eq!(running.text("{}"), r#"[true,"l",7]"#);
    }
    running.fails("\"stop\"", "Function.Timeout", "the time of the invocation is over");
    assert_eq!(running.text("{}"), r#"[true,"l",7]"#);
}

#[test]
fn a_signal_that_the_watchdog_has_not_sent_interrupts_nothing() {
    let running = function("values.eval").start();
    let code = "local ffi = require 'ffi' ffi.cdef 'int raise(int);' \
        local sum = 0 for i = 1, 1000 do ffi.C.raise(23) sum = sum + 1 end return sum";
    assert_eq!(running.eval(code), "1000");
}

#[test]
fn memory_beyond_the_limit_is_an_error_and_the_loop_goes_on() {
    let running = function("loops.memory").memory(128).start();
    running.fails("\"stop\"", "Function.OutOfMemory", "memory");
    assert_eq!(running.text("\"go\""), "\"go\"");
    running.fails("\"stop\"", "Function.OutOfMemory", "memory");
    assert_eq!(running.text("\"go\""), "\"go\"");
}

#[test]
fn live_data_of_more_than_half_of_the_limit_leaves_the_rest_for_garbage() {
    let running = function("loops.keeps").memory(128).start();
    // 96 MB are for Lua.
    assert_eq!(running.text("60"), "60");
    for _ in 0..3 {
        assert_eq!(running.text("\"garbage\""), "200");
    }
}

#[test]
fn an_event_that_does_not_fit_fails_and_what_was_read_of_it_is_collected() {
    // A busy machine may take minutes for this.
    let settings = function("loops.keeps").timeout(Duration::from_secs(900));
    let running = settings.memory(128).start();
    let event = format!("[{}1]", "[],".repeat(1_500_000));
    for _ in 0..2 {
        running.fails(event.as_str(), "Function.OutOfMemory", "memory");
        assert_eq!(running.text("40"), "40");
    }
}
