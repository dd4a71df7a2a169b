//! A runtime with a lifecycle: its extension, and SIGTERM.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lambda_interop::Function;
use lambda_proto_std::{Lifecycle, Runtime};

/// The variable that tells [`bootstrap`] what to do; without it, `bootstrap` does nothing.
const BEHAVIOUR: &str = "TEST_BEHAVIOUR";

/// The function of the tests below, which run it as another process.
#[test]
#[ignore = "not a test: other tests run it as their function"]
fn bootstrap() {
    let Ok(behaviour) = std::env::var(BEHAVIOUR) else { return };
    let lifecycle = Lifecycle::new().on_init("word", |init| init.put("made at the start"));
    let lifecycle = lifecycle.on_shutdown("flush", |_| {
        eprintln!("shutdown hook");
        Ok(())
    });
    let result = Runtime::from_env().and_then(|runtime| {
        runtime.lifecycle(lifecycle).run(|_, responder, context| {
            if behaviour == "never answers" {
                let limit = Duration::from_secs(20);
                eprintln!("cancelled: {}", context.cancellation().wait(limit));
                loop {
                    thread::park();
                }
            }
            Ok(responder.send(*context.get::<&str>().expect("the hook has put it")))
        })
    });
    eprintln!("the end: {result:?}");
    std::process::exit(0);
}

fn behaving(behaviour: &str) -> Function {
    let program: PathBuf = std::env::current_exe().unwrap();
    let arguments = ["--exact", "lifecycle::bootstrap", "--ignored", "--nocapture"];
    let function = Function::new(program).variable(BEHAVIOUR, behaviour);
    arguments.iter().fold(function, |function, it| function.argument(it))
}

#[test]
fn an_extension_without_events_is_registered_and_invocations_continue() {
    let mut emulator = behaving("answers").start().unwrap();
    for _ in 0..3 {
        assert_eq!(emulator.invoke("{}").unwrap().text(), "made at the start");
    }
    let output = emulator.output();
    assert!(!output.contains("no extension is registered"), "{output}");
}

#[test]
fn a_timeout_sends_sigterm_and_the_process_runs_its_shutdown_hook() {
    let mut emulator = behaving("never answers").timeout_seconds(1).start().unwrap();
    let answer = emulator.invoke("{}").unwrap().text();
    assert!(answer.contains("Task timed out after 1.00 seconds"), "{answer}");
    emulator.wait_for_output("SIGTERM: no more invocations are taken").unwrap();
    emulator.wait_for_output("shutdown hook\n").unwrap();
    let output = emulator.output();
    assert!(output.contains("cancelled: true"), "{output}");
}
