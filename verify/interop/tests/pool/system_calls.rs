//! System calls of an invocation on mio, counted by strace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lambda_interop::programs;

use crate::alone;
use crate::child::Child;
use crate::service::{Answer, Load};

/// Calls by their names.
type Calls = BTreeMap<String, usize>;

/// The system calls of a program from its start to its end.
fn trace(program: &Path, arguments: &[&str], slots: usize, at_once: usize, events: usize) -> Calls {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("pool-system-calls-{}-{slots}-{at_once}-{events}.txt", std::process::id()));
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(&log).arg(program).args(arguments);
    let mut child = Child::start_as(command, slots);
    let event = |number| format!("{{\"number\":{number:07}}}").into_bytes();
    child.service.serve(&Load {
        invocations: events,
        at_once,
        event: &event,
        answer: Answer::Echo,
    });
    let Child { service, mut process, .. } = child;
    service.end();
    process.wait().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    let mut calls = Calls::new();
    // Signals and exits have lines of their own, and the second half of an interrupted line is none.
    let is_call = |line: &&str| {
        !line.contains("+++ ") && !line.contains("--- ") && !line.contains(" resumed>")
    };
    for line in text.lines().filter(is_call) {
        let call = line.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ');
        *calls.entry(call.split('(').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    calls
}

/// What one invocation costs, by K and 2 K of them: what comes on top is K times that.
fn cost(
    program: &Path,
    arguments: &[&str],
    slots: usize,
    at_once: usize,
    events: usize,
) -> BTreeMap<String, f64> {
    let _alone = alone();
    let once = trace(program, arguments, slots, at_once, events);
    let twice = trace(program, arguments, slots, at_once, 2 * events);
    let on_top = |(name, count): (String, usize)| {
        let count = count as f64 - once.get(&name).copied().unwrap_or_default() as f64;
        (count > 0.0).then(|| (name, count / events as f64))
    };
    let cost: BTreeMap<_, _> = twice.into_iter().filter_map(on_top).collect();
    println!("{arguments:?}, {slots} slots, {at_once} at once: {cost:.3?}");
    cost
}

fn pool() -> PathBuf {
    programs::example("pool").unwrap()
}

fn slots_on_mio() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_slots-on-mio"))
}

#[track_caller]
fn assert_at_most(cost: &BTreeMap<String, f64>, most: &[(&str, f64)]) {
    // Rare calls of other kinds, as when the heap grows, are below a hundredth.
    for (name, count) in cost {
        let most = most.iter().find(|(other, _)| other == name).map_or(0.0, |(_, most)| *most);
        assert!(*count <= most + 0.01, "{count} times {name}, {most} at most: {cost:?}");
    }
}

#[test]
fn a_sequential_invocation_costs_two_writes_two_reads_and_two_waits() {
    // The event, and the reply to the answer, are waited for; nothing else is.
    let most = [("writev", 2.0), ("recvfrom", 2.0), ("epoll_wait", 2.0)];
    assert_at_most(&cost(&pool(), &[], 1, 1, 200), &most);
}

#[test]
fn a_pipelined_invocation_whose_next_event_waits_costs_a_write_a_read_and_a_wait() {
    let most = [("writev", 1.0), ("recvfrom", 1.0), ("epoll_wait", 1.0)];
    assert_at_most(&cost(slots_on_mio(), &["--pipelined"], 1, 1, 200), &most);
}

#[test]
fn a_lifecycle_costs_no_system_call() {
    let most = [("writev", 2.0), ("recvfrom", 2.0), ("epoll_wait", 2.0)];
    assert_at_most(&cost(slots_on_mio(), &["--lifecycle"], 1, 1, 200), &most);
    let most = [("writev", 1.0), ("recvfrom", 1.0), ("epoll_wait", 1.0)];
    assert_at_most(&cost(slots_on_mio(), &["--lifecycle", "--pipelined"], 1, 1, 200), &most);
}

#[test]
fn busy_slots_share_their_waits() {
    let most = [("writev", 2.0), ("recvfrom", 2.0), ("epoll_wait", 0.5)];
    assert_at_most(&cost(&pool(), &[], 64, 64, 1_600), &most);
}
