//! Tests with AWS's emulator in its on-demand mode, in one test program.

mod echo;
mod examples;
mod failures;
mod harness;
mod lifecycle;
mod system_calls;

use lambda_interop::{Emulator, Function, programs};
use serde_json::Value;

/// `misbehave`, ready to start.
fn misbehave() -> Function {
    Function::new(programs::misbehave(programs::Profile::Unwind).unwrap())
}

/// An example, ready to start.
fn example(name: &str) -> Function {
    Function::new(programs::example(name).unwrap())
}

/// What `misbehave` answers about its process and the invocation.
fn describe(emulator: &mut Emulator) -> Value {
    let answer = emulator.invoke(r#"{"do":"describe"}"#).unwrap();
    assert_eq!(answer.failure(), None);
    serde_json::from_slice(&answer.body).unwrap()
}

/// The runtime logs a line for every answer that the service refuses.
fn assert_nothing_was_refused(emulator: &Emulator) {
    let output = emulator.output();
    assert!(!output.contains("was answered with"), "{output}");
}
