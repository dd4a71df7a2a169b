//! Several invocations at the same time: a thread for each slot.

mod support;

#[cfg(target_os = "linux")]
use lambda_proto_service::program::{Program, behaviour};

use support::{Event, Service};

#[test]
fn a_panic_on_one_slot_leaves_the_others_alone() {
    let service = Service::start();
    let run = service.run_as(service.runtime().slots(2), |invocation, responder| {
        assert_ne!(invocation.body(), b"panic", "told to");
        Ok(responder.send(invocation.body()))
    });
    let mut connections = service.open_slots(2);
    for _ in 0..2 {
        connections[0].send(Event::new("id-1", "panic").bytes());
        connections[1].send(Event::new("id-2", "fine").bytes());
        connections[0].request().assert_error("id-1", "Function.Panic");
        connections[1].request().assert_response("id-2");
        for connection in &mut connections {
            connection.take_answer();
            connection.expect_next();
        }
    }
    let lines = run.stop();
    assert!(lines.iter().all(|line| line.contains("id-1: failed: ")), "{lines:?}");
}

/// The program that a test below runs in its own process.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() -> Result<(), lambda_proto_std::Error> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    if behaviour().is_none() {
        return Ok(());
    }
    let runtime = lambda_proto_std::Runtime::from_env()?;
    // Room for the stacks of a few threads.
    let size = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: u64 = size.split(' ').next().and_then(|size| size.parse().ok()).expect("a number");
    let limit = Some(4096 * pages + 24 * 1024 * 1024);
    setrlimit(Resource::As, Rlimit { current: limit, maximum: limit }).expect("it is lowered");
    runtime.run(|invocation, responder| Ok(responder.send(invocation.body())))
}

#[cfg(target_os = "linux")]
#[test]
fn a_slot_that_gets_no_thread_ends_the_others_and_the_process_with_an_error() {
    let service = Service::start();
    let concurrency = [("AWS_LAMBDA_MAX_CONCURRENCY", "64")];
    let mut program = Program::start(&service.address(), "run", &concurrency);
    let status = program.end();
    assert!(!status.success(), "{status}");
    let lines = program.lines().all();
    let said = |part: &str| lines.iter().any(|line| line.contains(part));
    assert!(said(" has ended: could not start a thread for a slot: "), "{lines:?}");
}
