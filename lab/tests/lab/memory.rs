//! The memory of the program `lambda-lab`.

#![cfg(target_os = "linux")]

use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::listener::{Extension, Listener, Mouth, Reply, Reserved, TELEMETRY, document};
use crate::served::{Served, TELL};
use crate::support::{Connection, NEXT, of, request, wait_until};

/// The resident memory of a process, in MiB.
fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most resident memory that a process has had, in MiB.
fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// See `proc(5)`.
fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
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

/// How a listener does not take what it should.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It takes its time for each delivery.
    Slow,
    /// It replies to nothing during the flood.
    Silent,
    /// Nobody listens during the flood.
    Absent,
}

/// Writes 100,000 lines, 70 MB together, to a function whose telemetry a listener does not take in
/// time. In the end, each record and each byte has to be delivered or counted: a witness tells those
/// of the events of the platform.
fn flood(trouble: Trouble) {
    const LINES: u64 = 100_000;
    let mouth = Mouth::new();
    let script = format!("{TELL}exec cat {}", mouth.file().display());
    let mut command = crate::served::lab();
    command.args(["serve", "--port", "0", "sh", "-c", &script]).stdout(Stdio::null());
    let mut served = Served::of(&mut command);
    let mut caller = served.invoke("in");
    let (mut runtime, function) = served.told();
    let mut out = BufWriter::new(mouth.open());
    let is_over = Arc::new(AtomicBool::new(false));
    let reply = {
        let is_over = Arc::clone(&is_over);
        move |_| {
            match trouble {
                Trouble::Slow => thread::sleep(Duration::from_millis(50)),
                Trouble::Silent | Trouble::Absent => {
                    while !is_over.load(Relaxed) {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            }
            Reply::Take
        }
    };
    let (reserved, witness) = (Reserved::new(), Listener::start());
    let port = reserved.port();
    let listen = move |reserved: Reserved| Listener::on(reserved.listen(), reply);
    let (listener, closed) = match trouble {
        Trouble::Slow | Trouble::Silent => (Some(listen.clone()(reserved)), None),
        Trouble::Absent => (None, Some(reserved)),
    };
    let mut extension = Extension::register(&served.api, "mine", "[]");
    let mut other = Extension::register(&served.api, "witness", "[]");
    let (extensions, platform) = (",\"extension\"", ",\"function\"");
    let types = document("2022-12-13", port, 25).replace(extensions, "");
    extension.is_subscribed(TELEMETRY, &types);
    let types = document("2022-12-13", witness.port, 25).replace(extensions, "");
    other.is_subscribed(TELEMETRY, &types.replace(platform, ""));
    extension.asks();
    other.asks();
    let event = runtime.request(NEXT, &[], "");
    witness.until("platform.start");
    let pid = served.child.id();
    let before = peak(pid);
    let text = "x".repeat(690);
    let record = r#"{"time":"2026-11-30T04:05:06.789Z","type":"function","record":""}"#.len();
    let mut expected = witness.account().total();
    let mut expect = |line: &str| {
        expected.0 += 1;
        expected.1 += (record + line.len()) as u64;
    };
    // The first line of the function, from before the subscription.
    expect(&format!("told {} {function}", served.api));
    let began = Instant::now();
    for number in 0..LINES {
        let line = format!("line {number} {text}");
        writeln!(out, "{line}").unwrap();
        expect(&line);
    }
    out.flush().unwrap();
    let took = began.elapsed();
    is_over.store(true, Relaxed);
    let listener = listener.or_else(|| closed.map(listen)).expect("it is open, or opened now");
    wait_until("all records are delivered or counted", || {
        // The last of them are on their way.
        thread::sleep(Duration::from_millis(100));
        listener.account().total().0 >= expected.0
    });
    let account = listener.account();
    assert_eq!(account.total(), expected, "{trouble:?}: {account:?}");
    assert!(account.records > 0 && account.dropped_records > 0, "{trouble:?}: {account:?}");
    listener.lines_of_flood();
    let peak = peak(pid);
    println!(
        "{trouble:?}: {:.0} lines/s; {before} MiB, then {peak} MiB; {account:?}",
        LINES as f64 / took.as_secs_f64()
    );
    // What waits has a megabyte; the output of the function has its own buffers.
    assert!(peak < before + 16, "{trouble:?}: {before} MiB, then {peak} MiB");
    runtime.post(&of(&event.id(), "response"), "1").assert_accepted();
    runtime.send(request(NEXT, &[], ""));
    assert_eq!(caller.response().text(), "1");
}

#[test]
fn a_flood_of_lines_that_no_listener_takes_in_time_does_not_grow_the_memory() {
    for trouble in [Trouble::Slow, Trouble::Silent, Trouble::Absent] {
        flood(trouble);
    }
}
