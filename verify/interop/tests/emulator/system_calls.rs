//! Promise 3 of the design: system calls of an invocation, counted by strace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lambda_interop::{Pace, Process, ScriptedService, programs};

/// Up to here an answer of the service comes in one segment, and an event in one read.
const LARGEST_SMALL_EVENT: usize = 2_048;

/// The system calls of all threads of an example, from its start to its end, counted by name.
fn trace(
    example: &str,
    arguments: &[&str],
    events: usize,
    size: usize,
    pace: Pace,
) -> BTreeMap<String, usize> {
    let program = programs::example(example).unwrap();
    let service = ScriptedService::start(events, size, pace).unwrap();
    let log = Log::new(service.address().port());
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(&log.0).arg(program).args(arguments);
    command.env("AWS_LAMBDA_RUNTIME_API", service.address().to_string());
    let started = Process::start(&mut command);
    let mut process = started.unwrap_or_else(|error| {
        panic!("{error}\ninstall strace (apt-get install strace): it counts the system calls")
    });
    assert_eq!(
        service.finish().unwrap_or_else(|error| panic!("{error}: {}", process.output())),
        events
    );
    process.wait().unwrap();
    let text = fs::read_to_string(&log.0).unwrap();
    // Signals and exits have lines of their own, and the second half of an interrupted line is none.
    let is_call = |line: &&str| {
        !line.contains("+++ ") && !line.contains("--- ") && !line.contains(" resumed>")
    };
    let mut calls = BTreeMap::new();
    for line in text.lines().filter(is_call) {
        let call = line.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ');
        let name = call.split('(').next().unwrap_or_default();
        *calls.entry(name.to_owned()).or_default() += 1;
    }
    calls
}

/// What `strace` writes, below the target folder, and gone with the test.
struct Log(PathBuf);

impl Log {
    fn new(port: u16) -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("system-calls-{port}.txt")))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _best_effort = fs::remove_file(&self.0);
    }
}

/// Runs K and 2 K invocations: what comes on top is K times what one costs.
///
/// A line of the log is handed to the thread that writes it, which costs up to 8 calls of `futex`,
/// fewer where the two threads miss each other. Every program writes such a line at its end.
fn assert_each_costs(calls: usize, lines: usize, example: &str, arguments: &[&str], pace: Pace) {
    const EVENTS: usize = 100;
    for size in [LARGEST_SMALL_EVENT, 0, 100] {
        let mut more = trace(example, arguments, 2 * EVENTS, size, pace);
        let mut fewer = trace(example, arguments, EVENTS, size, pace);
        let [on_top, before] = [&mut more, &mut fewer].map(|calls| calls.remove("futex"));
        let handed = on_top.unwrap_or_default().saturating_sub(before.unwrap_or_default());
        assert!(handed <= 8 * (EVENTS * lines + 2), "{handed} calls of futex");
        for (name, count) in fewer {
            let more = more.entry(name).or_default();
            *more = more.saturating_sub(count);
        }
        more.retain(|_, count| *count > 0);
        let total: usize = more.values().sum();
        assert_eq!(total, EVENTS * calls, "{EVENTS} more events of {size} bytes: {more:?}");
    }
}

#[test]
fn a_sequential_invocation_costs_four_system_calls() {
    assert_each_costs(4, 0, "echo", &[], Pace::OneByOne);
}

#[test]
fn a_pipelined_invocation_whose_next_event_waits_costs_two_system_calls() {
    assert_each_costs(2, 0, "echo", &["--pipelined"], Pace::NextIsWaiting);
}

#[test]
fn an_invocation_that_fails_costs_one_more_for_its_line_in_the_log() {
    // The events are no JSON with a name.
    assert_each_costs(5, 1, "hello", &[], Pace::OneByOne);
}
