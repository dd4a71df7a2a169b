//! The failure of a function reaches its caller, and the next invocation works.

use std::time::{SystemTime, UNIX_EPOCH};

use lambda_interop::{Emulator, Function, FunctionError, programs};
use serde_json::{Value, json};

use crate::{assert_nothing_was_refused, describe, misbehave};

/// The largest response: 6 MiB and 100 bytes.
const LARGEST: usize = 6 * 1024 * 1024 + 100;

/// Invokes with an event that fails, and checks that the same process continues, on its one
/// connection.
fn fails_and_goes_on(event: &Value) -> (FunctionError, Emulator) {
    let mut emulator = misbehave().count_connections().start().unwrap();
    let before = describe(&mut emulator);
    let answer = emulator.invoke(event.to_string()).unwrap();
    let Some(error) = answer.function_error() else {
        panic!("{event} gave {}\n{}", answer.text(), emulator.output())
    };
    assert_eq!(answer.status, 200, "in on-demand mode the emulator sends 200 for failed functions");
    let after = describe(&mut emulator);
    assert_eq!(after["process"], before["process"]);
    assert_ne!(after["request_id"], before["request_id"]);
    assert_eq!(emulator.connections(), 1);
    (error, emulator)
}

#[test]
fn an_error_of_the_handler_reaches_the_caller_complete() {
    let message = "it's \"broken\": \\ \u{1} \n <é&🦀>";
    let event = json!({
        "do": "fail", "type": "Function.Broken", "message": message, "stack_trace": "in a\nin b"
    });
    let (error, emulator) = fails_and_goes_on(&event);
    assert_eq!(error.error_type, "Function.Broken");
    assert_eq!(error.error_message, message);
    assert_eq!(error.stack_trace, ["in a", "in b"]);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn an_error_of_megabytes_reaches_the_caller_cut() {
    let event =
        json!({ "do": "fail", "type": "Function.Long", "message": "é\n", "times": 2_000_000 });
    let (error, emulator) = fails_and_goes_on(&event);
    assert_eq!(error.error_type, "Function.Long");
    assert!(error.error_message.starts_with("é\né\né"), "{}", error.error_message.len());
    // An error report has at most 1 MiB, and in JSON a line feed takes two bytes.
    let length = error.error_message.len();
    assert!((700_000..1 << 20).contains(&length), "{length}");
    assert_nothing_was_refused(&emulator);
}

#[test]
fn a_panic_reaches_the_caller_with_its_message() {
    let (error, emulator) =
        fails_and_goes_on(&json!({ "do": "panic", "message": "the pump is dry" }));
    assert_eq!(error.error_type, "Function.Panic");
    assert_eq!(error.error_message, "the pump is dry");
    assert_nothing_was_refused(&emulator);
}

#[test]
fn a_result_that_json_cannot_represent_is_a_marshal_error() {
    let (error, emulator) = fails_and_goes_on(&json!({ "do": "unserialisable" }));
    assert_eq!(error.error_type, "Runtime.MarshalError");
    assert!(error.error_message.contains("key must be a string"), "{error:?}");
    assert_nothing_was_refused(&emulator);
}

#[test]
fn a_response_above_the_limit_is_refused_reported_and_logged() {
    let (error, emulator) = fails_and_goes_on(&json!({ "do": "answer", "bytes": LARGEST + 1 }));
    assert_eq!(error.error_type, "Function.ResponseSizeTooLarge");
    assert!(error.error_message.contains("6291556 bytes"), "{error:?}");
    let output = emulator.output();
    assert!(output.contains("response was answered with 413"), "{output}");
}

#[test]
fn a_response_at_the_limit_is_accepted() {
    let mut emulator = misbehave().start().unwrap();
    let answer = emulator.invoke(json!({ "do": "answer", "bytes": LARGEST }).to_string()).unwrap();
    assert_eq!(answer.body.len(), LARGEST);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn a_panic_after_the_answer_is_logged_and_the_caller_keeps_the_answer() {
    let mut emulator = misbehave().start().unwrap();
    let before = describe(&mut emulator);
    let event = json!({ "do": "answer_then_panic", "message": "too late" });
    assert_eq!(emulator.invoke(event.to_string()).unwrap().text(), "sent");
    assert_eq!(describe(&mut emulator)["process"], before["process"]);
    emulator.wait_for_output("failed after it was answered: Function.Panic: too late").unwrap();
    assert_nothing_was_refused(&emulator);
}

#[test]
fn a_panic_in_a_stream_ends_it_and_the_next_invocation_works() {
    let mut emulator = misbehave().start().unwrap();
    let before = describe(&mut emulator);
    let event = json!({ "do": "stream_then_panic", "message": "midway" });
    assert_eq!(emulator.invoke(event.to_string()).unwrap().text(), "half");
    assert_eq!(describe(&mut emulator)["process"], before["process"]);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn a_panic_that_aborts_the_process_reaches_the_caller_with_its_message() {
    let program = programs::misbehave(programs::Profile::Abort).unwrap();
    let mut emulator = Function::new(program).start().unwrap();
    let before = describe(&mut emulator);
    let event = json!({ "do": "panic", "message": "the last words" });
    let answer = emulator.invoke(event.to_string()).unwrap();
    let error = answer.function_error().unwrap_or_else(|| panic!("{}", answer.text()));
    assert_eq!(error.error_type, "Function.Panic", "{}", emulator.output());
    assert_eq!(error.error_message, "the last words");
    assert!(error.stack_trace[0].contains("misbehave.rs:"), "{error:?}");
    // The process has ended; the emulator starts another.
    assert_ne!(describe(&mut emulator)["process"], before["process"]);
}

#[test]
fn a_process_that_exits_without_an_answer_is_reported_by_the_emulator_and_restarted() {
    let mut emulator = misbehave().start().unwrap();
    let answer = emulator.invoke(json!({ "do": "exit", "code": 3 }).to_string()).unwrap();
    let error = answer.function_error().unwrap();
    assert_eq!(error.error_type, "Runtime.ExitError");
    assert!(error.error_message.contains("exit status 3"), "{error:?}");
    describe(&mut emulator);
}

#[test]
fn an_init_error_reaches_the_caller_and_the_process_ends_with_an_exit_code() {
    let mut emulator = misbehave().argument("--fail-init").argument("no config").start().unwrap();
    for _ in 0..2 {
        let answer = emulator.invoke("{}").unwrap();
        assert_eq!(answer.status, 502);
        let error = answer.function_error().unwrap();
        assert_eq!(error.error_type, "Function.NoStart");
        assert_eq!(error.error_message, "no config");
        assert_eq!(error.stack_trace, ["in misbehave"]);
    }
    emulator.wait_for_output("Runtime exited with error: exit status 1").unwrap();
    emulator.wait_for_output("the function could not start: Function.NoStart: no config").unwrap();
}

#[test]
fn a_panic_in_init_reaches_the_caller_as_an_init_error() {
    let mut emulator = misbehave().argument("--panic-init").argument("no luck").start().unwrap();
    let answer = emulator.invoke("{}").unwrap();
    assert_eq!(answer.status, 502);
    let error = answer.function_error().unwrap();
    assert_eq!(
        (error.error_type.as_str(), error.error_message.as_str()),
        ("Function.Panic", "no luck")
    );
    emulator.wait_for_output("Runtime exited with error: exit status 1").unwrap();
}

#[test]
fn a_panic_in_init_that_aborts_the_process_reaches_the_caller_with_its_message() {
    let program = programs::misbehave(programs::Profile::Abort).unwrap();
    let function = Function::new(program).argument("--panic-init").argument("no luck");
    let mut emulator = function.start().unwrap();
    let answer = emulator.invoke("{}").unwrap();
    assert_eq!(answer.status, 502);
    let error = answer.function_error().unwrap();
    assert_eq!(
        (error.error_type.as_str(), error.error_message.as_str()),
        ("Function.Panic", "no luck")
    );
}

#[test]
fn a_function_that_takes_too_long_is_killed_and_started_again() {
    let mut emulator = misbehave().timeout_seconds(1).start().unwrap();
    let before = describe(&mut emulator);
    let answer = emulator.invoke(json!({ "do": "sleep", "millis": 60_000 }).to_string()).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "Task timed out after 1.00 seconds"));
    assert!(answer.failure().is_some());
    assert_ne!(describe(&mut emulator)["process"], before["process"]);
}

#[test]
fn the_deadline_is_the_timeout_from_now_in_unix_time() {
    let mut emulator = misbehave().timeout_seconds(17).start().unwrap();
    describe(&mut emulator);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let before = now();
    let deadline = describe(&mut emulator)["deadline"].as_u64().unwrap();
    // One second of tolerance: the emulator reads its clock twice.
    assert!((before + 16_000..=now() + 18_000).contains(&deadline), "{before} {deadline}");
}
