//! The memory of the program `lambda-lab`.

#![cfg(target_os = "linux")]

use std::thread;

use crate::served::Served;
use crate::support::{Connection, request, wait_until};

/// The resident memory of a process, in MiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn the_memory_of_large_events_and_answers_is_given_back() {
    const CALLERS: usize = 10;
    let event = format!("\"{}\"", "x".repeat(6_000_000));
    let bootstrap = std::env::current_exe().unwrap();
    let script = format!("exec {} --exact bootstrap --nocapture", bootstrap.display());
    let served = Served::start(&["--environments", "3"], &script);
    for _ in 0..3 {
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    let mut caller = Connection::open(&served.address);
                    let line = "POST /2015-03-31/functions/function/invocations";
                    let answer = caller.request(line, &[], &event);
                    assert_eq!((answer.status, answer.body.len()), (200, event.len()));
                });
            }
        });
    }
    // The bodies of one round had 120 MB together.
    wait_until("the memory is given back", || resident(served.child.id()) < 32);
    // The function that answered them all still answers.
    let mut caller = Connection::open(&served.address);
    caller.send(request("POST /2015-03-31/functions/f/invocations", &[], "1"));
    assert_eq!(caller.response().text(), "1");
}
