//! The common guide's form, unchanged, and what goes wrong with it there.
#![allow(missing_docs)]

mod support;

use lambda_lab::Event;
use support::{Running, function};

fn guide() -> Running {
    function("guide.handler").variable("LAMBDA_LUAJIT_MODE", "script").start()
}

#[test]
fn the_output_of_the_script_is_the_response() {
    let running = guide();
    assert_eq!(running.text(r#"{"a":1}"#), r#"{"length":7}"#);
    // There it is a response of 0 bytes.
    assert_eq!(running.answer("{}").content_type.as_deref(), Some("application/json"));
}

#[test]
fn a_failing_script_is_reported_and_the_next_event_is_served() {
    let running = guide();
    let trace = running.fails("\"fail\"", "Function.Error", "guide.lua:3: told to fail");
    assert!(trace.contains("guide.lua:3: in main chunk"), "{trace}");
    assert_eq!(running.text("{}"), r#"{"length":2}"#);
    running.fails("\"leave\"", "Function.Exit", "os.exit(3)");
    assert_eq!(running.text("\"exit\""), "so far");
}

#[test]
fn a_large_event_is_an_argument() {
    let event = format!("\"{}\"", "x".repeat(200_000));
    assert_eq!(guide().text(event), r#"{"length":200002}"#);
}

#[test]
fn an_error_of_the_start_is_json() {
    let running = function("missing.handler").variable("LAMBDA_LUAJIT_MODE", "script").start();
    running.fails("{}", "Runtime.HandlerFileUnreadable", "missing.lua cannot be read");
    let running = function("syntax.handler").variable("LAMBDA_LUAJIT_MODE", "script").start();
    running.fails("{}", "Runtime.SyntaxError", "syntax.lua:2:");
}

#[test]
fn a_response_that_begins_with_an_at_sign_is_not_a_file() {
    assert_eq!(guide().text("\"at\""), "@/etc/hostname");
}

#[test]
fn each_event_has_a_new_state_and_its_trace_id_as_a_variable() {
    let running = guide();
    for _ in 0..2 {
        // The empty lines at the end are gone, as there.
        assert_eq!(running.text("\"count\""), "1");
    }
    let text =
        running.text(Event::new("\"trace\"").trace_id("Root=1-5759e988-bd862e3fe1be46a994272793"));
    assert!(text.starts_with("Root=1-5759e988-bd862e3fe1be46a994272793"), "{text}");
}

#[test]
fn os_exit_ends_the_script_with_its_first_code_wherever_it_is_called() {
    let running = guide();
    for place in ["pcall", "tail", "xpcall", "coroutine"] {
        assert_eq!(running.text(format!("\"caught {place} 0\"")), "until here", "{place}");
        running.fails(format!("\"caught {place} 3\""), "Function.Exit", "os.exit(3)");
    }
    assert_eq!(running.text("{}"), r#"{"length":2}"#);
}
