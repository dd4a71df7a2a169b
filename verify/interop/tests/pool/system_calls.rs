//! Counts the system calls per invocation on mio with strace.

use std::path::{Path, PathBuf};

use lambda_interop::programs;
use lambda_interop::system_calls::{EachCosts, SystemCalls, Trace};

use crate::alone;
use crate::child::Child;
use crate::service::{Answer, Load};

/// The system calls of a program from its start to its end.
fn trace(
    program: &Path,
    arguments: &[&str],
    slots: usize,
    at_once: usize,
    events: usize,
) -> SystemCalls {
    let name = format!("pool-system-calls-{}-{slots}-{at_once}-{events}.txt", std::process::id());
    let trace = Trace::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    let mut command = trace.command(program);
    command.args(arguments);
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
    trace.calls().unwrap()
}

/// The system calls per invocation.
fn cost(
    program: &Path,
    arguments: &[&str],
    slots: usize,
    at_once: usize,
    events: usize,
) -> EachCosts {
    let _alone = alone();
    let once = trace(program, arguments, slots, at_once, events);
    let cost = trace(program, arguments, slots, at_once, 2 * events).each_beyond(&once, events);
    println!("{arguments:?}, {slots} slots, {at_once} at once: {cost:.3?}");
    cost
}

fn pool() -> PathBuf {
    programs::example("pool").unwrap()
}

fn slots_on_mio() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_slots-on-mio"))
}

#[test]
fn a_sequential_invocation_costs_two_writes_two_reads_and_two_waits() {
    // The runtime waits for the event and for the reply to its answer, and for nothing else.
    let most = [("writev", 2.0), ("recvfrom", 2.0), ("epoll_wait", 2.0)];
    cost(&pool(), &[], 1, 1, 200).assert_at_most(&most);
}

#[test]
fn a_pipelined_invocation_whose_next_event_waits_costs_a_write_a_read_and_a_wait() {
    let most = [("writev", 1.0), ("recvfrom", 1.0), ("epoll_wait", 1.0)];
    cost(slots_on_mio(), &["--pipelined"], 1, 1, 200).assert_at_most(&most);
}

#[test]
fn a_lifecycle_adds_no_system_call() {
    let most = [("writev", 2.0), ("recvfrom", 2.0), ("epoll_wait", 2.0)];
    cost(slots_on_mio(), &["--lifecycle"], 1, 1, 200).assert_at_most(&most);
    let most = [("writev", 1.0), ("recvfrom", 1.0), ("epoll_wait", 1.0)];
    cost(slots_on_mio(), &["--lifecycle", "--pipelined"], 1, 1, 200).assert_at_most(&most);
}

#[test]
fn busy_slots_share_their_waits() {
    let most = [("writev", 2.0), ("recvfrom", 2.0), ("epoll_wait", 0.5)];
    cost(&pool(), &[], 64, 64, 1_600).assert_at_most(&most);
}
