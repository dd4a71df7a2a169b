//! Promise 3 of the design: the number of system calls per invocation, counted with strace.

use std::path::Path;

use lambda_interop::system_calls::{EachCosts, SystemCalls, Trace};
use lambda_interop::{Pace, Process, ScriptedService, programs};

/// Up to this size a reply of the service comes in one segment, which the runtime gets with one
/// read.
const LARGEST_SMALL_EVENT: usize = 2_048;

/// The system calls of all threads of an example, from its start to its end.
fn trace(example: &str, arguments: &[&str], events: usize, size: usize, pace: Pace) -> SystemCalls {
    let program = programs::example(example).unwrap();
    let service = ScriptedService::start(events, size, pace);
    let log = format!("system-calls-{}.txt", service.address());
    let trace = Trace::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join(log));
    let mut command = trace.command(&program);
    command.args(arguments).env("AWS_LAMBDA_RUNTIME_API", service.address());
    let started = Process::start(&mut command);
    let mut process = started.unwrap_or_else(|error| {
        panic!("{error}\nthis test counts system calls with strace: apt-get install strace")
    });
    assert_eq!(
        service.finish().unwrap_or_else(|error| panic!("{error}: {}", process.output())),
        events
    );
    process.wait().unwrap();
    trace.calls().unwrap()
}

/// The system calls per invocation, for events of several sizes.
fn costs(example: &str, arguments: &[&str], pace: Pace) -> impl Iterator<Item = EachCosts> {
    const EVENTS: usize = 200;
    [LARGEST_SMALL_EVENT, 0, 100].into_iter().map(move |size| {
        let fewer = trace(example, arguments, EVENTS, size, pace);
        trace(example, arguments, 2 * EVENTS, size, pace).each_beyond(&fewer, EVENTS)
    })
}

#[test]
fn a_sequential_invocation_costs_four_system_calls() {
    for cost in costs("echo", &[], Pace::OneByOne) {
        cost.assert_are(&[("writev", 2.0), ("recvfrom", 2.0)]);
    }
}

#[test]
fn a_pipelined_invocation_whose_next_event_waits_costs_two_system_calls() {
    for cost in costs("echo", &["--pipelined"], Pace::NextIsWaiting) {
        cost.assert_are(&[("writev", 1.0), ("recvfrom", 1.0)]);
    }
}

#[test]
fn a_failed_invocation_costs_one_more_write_for_its_log_line() {
    // The events are not JSON with a name. Passing a log line to the thread that writes it costs up
    // to 8 calls of `futex`, fewer if neither thread has to wait for the other.
    for cost in costs("hello", &[], Pace::OneByOne) {
        cost.assert_at_most(&[("writev", 2.0), ("recvfrom", 2.0), ("write", 1.0), ("futex", 8.0)]);
    }
}
