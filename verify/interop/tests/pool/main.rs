//! Tests `lambda-proto-mio` with many slots on one thread, and `lambda-proto-tokio` with many slots in
//! one task, under the lab and many callers. The modules measure memory and system calls of mio.

mod child;
mod memory;
mod service;
mod system_calls;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lambda_interop::programs;
use lambda_lab::{Function, Lab, Output};

/// A lock that runs measuring tests one after the other: their time is bounded, and there may be
/// few cores.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a lab that runs a program with `slots` slots and writes its standard error to `log`.
fn start(program: PathBuf, slots: usize, log: &Path) -> Lab {
    // The lab's log would not keep the runtime's complete output, so it goes to a file.
    let shell = Function::new("/bin/sh").argument("-c").argument("exec \"$0\" 2>\"$1\"");
    let function = shell.argument(program).argument(log);
    let function = function.timeout(Duration::from_secs(60));
    // Without a concurrency, the lab hands out one invocation at a time, as Lambda on demand does.
    let function = if slots == 1 { function } else { function.concurrency(slots) };
    function.output(Output::Discarded).start().expect("the lab starts")
}

/// Makes `invocations` invocations from `callers` threads, each with another event.
fn invoke_many(
    lab: &Lab,
    invocations: usize,
    callers: usize,
    body: impl Fn(usize) -> Vec<u8> + Sync,
) {
    let (next, body) = (&AtomicUsize::new(0), &body);
    thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= invocations {
                        return;
                    }
                    let event = body(number);
                    let answer = lab.invoke(event.clone()).expect("an answer");
                    assert!(answer.body == event, "invocation {number} got another's answer");
                }
            });
        }
    });
}

fn log_file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("{name}-{}.log", std::process::id()))
}

/// Reads the log of a program and removes it.
fn take_log(file: &Path) -> String {
    let log = fs::read_to_string(file).expect("the program has a log");
    fs::remove_file(file).expect("this test has created it");
    log
}

/// Asserts that nothing was refused and no connection lost, which the runtime would log. On a busy
/// machine the lab may accept a connection later than the runtime waits for it, which costs nothing.
fn assert_silent(file: &Path) {
    let log = take_log(file);
    let is_about_connecting = |line: &&str| {
        line.contains("no connection to the Runtime API")
            || line.contains("connected to the Runtime API")
    };
    let lines: Vec<_> = log.lines().filter(|line| !is_about_connecting(line)).collect();
    assert!(lines.is_empty(), "{lines:#?}");
}

/// Runs an example with this number of slots and callers, and checks that each caller gets its own
/// answer, and that no answer was refused.
fn answers_each_once(example: &str, slots: usize, invocations: usize) {
    let _alone = alone();
    let log = log_file(&format!("{example}-{slots}"));
    let lab = start(programs::example(example).unwrap(), slots, &log);
    invoke_many(&lab, invocations, slots, |number| format!("{{\"number\":{number}}}").into_bytes());
    lab.stop();
    assert_silent(&log);
}

#[test]
fn twenty_thousand_invocations_in_1000_slots_are_each_answered_once_and_correctly() {
    answers_each_once("pool", 1000, 20_000);
}

#[test]
fn two_hundred_thousand_invocations_in_64_slots_are_each_answered_once_and_correctly() {
    answers_each_once("pool", 64, 200_000);
}

#[test]
fn twenty_thousand_invocations_in_one_slot_of_a_task_are_each_answered_once_and_correctly() {
    answers_each_once("async_echo", 1, 20_000);
}

#[test]
fn twenty_thousand_invocations_in_1000_slots_of_a_task_are_each_answered_once_and_correctly() {
    answers_each_once("async_echo", 1000, 20_000);
}

#[test]
fn two_hundred_thousand_invocations_in_64_slots_of_a_task_are_each_answered_once_and_correctly() {
    answers_each_once("async_echo", 64, 200_000);
}
