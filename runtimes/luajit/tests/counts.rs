//! Counts that do not depend on the speed of the machine: system calls, memory, the needed glibc.
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use support::{Running, function};

/// The resident memory that is not the program's file, in KiB. The file's part is 4 MiB in a release, and
/// twice that in a program for tests.
const OWN: u64 = 3 * 1024;

/// The newest glibc that `provided.al2023` has: 2.34.
const GLIBC: u32 = 34;

/// The system calls of all threads of a function that is invoked this often, by name.
fn system_calls(invocations: usize) -> BTreeMap<String, f64> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let running = function("values.echo").under(&format!("strace -f -o {}", trace.display()));
    let running = running.start();
    for number in 0..invocations {
        assert_eq!(running.text(format!("[{number}]")), format!("[{number}]"));
    }
    running.lab.stop();
    let trace = fs::read_to_string(&trace).unwrap();
    let mut calls = BTreeMap::new();
    // Signals and ends are not calls, and an interrupted call has two lines.
    for line in trace.lines().filter(|line| !line.contains("+++ ") && !line.contains("--- ")) {
        let call = line.trim_start_matches(|it: char| it.is_ascii_digit() || it == ' ');
        if let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with("<...")) {
            *calls.entry(name.to_owned()).or_default() += 1.0;
        }
    }
    calls
}

#[test]
fn an_invocation_takes_four_system_calls_for_its_two_requests() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: there is no strace");
        return;
    }
    const MORE: usize = 200;
    let (few, many) = (system_calls(50), system_calls(50 + MORE));
    let each =
        |name: &String| (many[name] - few.get(name).copied().unwrap_or_default()) / MORE as f64;
    let each: BTreeMap<_, _> = many.keys().map(|name| (name.clone(), each(name))).collect();
    // Two requests and their replies.
    for name in ["writev", "recvfrom"] {
        assert!((1.95..2.05).contains(&each[name]), "{each:.3?}");
    }
    // The compiler, the allocator and the watchdog make some at any time.
    const AT_ANY_TIME: [&str; 6] = ["brk", "futex", "madvise", "mmap", "mprotect", "munmap"];
    let is_other = |name: &str| !["writev", "recvfrom"].contains(&name);
    let (seldom, none): (Vec<_>, Vec<_>) = each
        .iter()
        .filter(|(name, _)| is_other(name))
        .partition(|(name, _)| AT_ANY_TIME.contains(&name.as_str()));
    let sum = |calls: &[(&String, &f64)]| calls.iter().map(|(_, count)| **count).sum::<f64>();
    assert!(sum(&seldom) < 1.0 && sum(&none) < 0.1, "{each:.3?}");
}

/// The resident memory of the runtime that is not its file, in KiB.
fn own_memory(running: &Running) -> u64 {
    let mark = format!("AWS_LAMBDA_RUNTIME_API={}", running.lab.runtime_api());
    let is_ours = |folder: &fs::DirEntry| {
        let environment = fs::read(folder.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let process = fs::read_dir("/proc").unwrap().flatten().find(is_ours).unwrap();
    let status = fs::read_to_string(process.path().join("status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    value.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_resident_memory_is_small_and_does_not_grow() {
    let running = function("values.echo").start();
    let event = format!("[{}1]", "{\"key\":\"value\",\"list\":[1,2,3]},".repeat(50));
    let invoke = |count: usize| (0..count).for_each(|_| drop(running.text(event.as_str())));
    invoke(100);
    let early = own_memory(&running);
    assert!(early < OWN, "{early} KiB");
    invoke(400);
    let late = own_memory(&running);
    assert!(late < early + 512, "{early} KiB, then {late} KiB");
}

#[test]
fn the_dynamic_program_needs_no_newer_glibc_than_lambda_has() {
    let program = fs::read(env!("CARGO_BIN_EXE_lambda-luajit")).unwrap();
    // The names of versions, as the dynamic linker reads them.
    let mut newest = 0;
    for (at, _) in program.windows(8).enumerate().filter(|(_, bytes)| bytes == b"GLIBC_2.") {
        let digits = program[at + 8..].iter().take_while(|byte| byte.is_ascii_digit());
        let minor = digits.fold(0, |minor, digit| minor * 10 + u32::from(digit - b'0'));
        newest = newest.max(minor);
    }
    assert!(newest > 0, "the program names no version of glibc");
    assert!(newest <= GLIBC, "it needs glibc 2.{newest}: build as the README says");
}
