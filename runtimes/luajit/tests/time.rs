//! Lua code that does not return in time, or takes too much memory.
#![allow(missing_docs)]

mod support;

use std::time::Duration;

use support::function;

/// A function whose invocations end after half of this, since the default buffer is longer.
const TIMEOUT: Duration = Duration::from_millis(900);

#[track_caller]
fn is_ended(handler: &str) {
    let running = function(handler).timeout(TIMEOUT).start();
    // Loops are compiled when they have run a few times.
    assert_eq!(running.text("\"go\""), "\"go\"");
    let trace = running.fails("\"stop\"", "Function.Timeout", "the time of the invocation is over");
    assert!(trace.contains("loops.lua:"), "{trace}");
    // The same process goes on.
    assert_eq!(running.text("\"go\""), "\"go\"");
    running.fails("\"stop\"", "Function.Timeout", "");
    assert!(!running.log().contains("was ended"), "{}", running.log());
}

#[test]
fn a_compiled_loop_ends_before_the_deadline() {
    is_ended("loops.compiled");
}

#[test]
fn a_loop_that_catches_errors_ends_before_the_deadline() {
    is_ended("loops.caught");
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
    let running = function("loops.matches").timeout(TIMEOUT).start();
    assert_eq!(running.text("\"go\""), "\"go\"");
    running.fails("\"stop\"", "Function.Timeout", "a C function did not return");
    // A new process serves the next one.
    assert_eq!(running.text("\"go\""), "\"go\"");
    assert!(running.log().contains("a C function did not return"), "{}", running.log());
}

#[test]
fn a_system_call_that_waits_is_interrupted() {
    let running = function("loops.sleeps").timeout(TIMEOUT).start();
    running.fails("\"stop\"", "Function.Timeout", "the time of the invocation is over");
    assert_eq!(running.text("\"go\""), "\"go\"");
}

#[test]
fn memory_beyond_the_limit_is_an_error_and_the_loop_goes_on() {
    let running = function("loops.memory").memory(128).start();
    running.fails("\"stop\"", "Function.OutOfMemory", "memory");
    assert_eq!(running.text("\"go\""), "\"go\"");
    running.fails("\"stop\"", "Function.OutOfMemory", "memory");
    assert_eq!(running.text("\"go\""), "\"go\"");
}
