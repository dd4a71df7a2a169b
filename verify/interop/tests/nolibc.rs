//! Tests the bootstrap of `examples/nolibc/`, which has neither libc nor `std`: under the lab,
//! against a service that closes connections, and its resource usage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lambda_interop::Process;
use lambda_lab::{FailureKind, Function, Lab, Output};
use lambda_proto_service::{Connection, Event, Place, Service};

/// The bound of resident memory, in KiB: 100 KB.
const MAX_RESIDENT: usize = 97;

/// The bound of the file in bytes, as in `.ci/sizes`.
fn max_file() -> u64 {
    let gate = include_str!("../../../.ci/sizes");
    let line = gate.lines().find_map(|line| line.strip_prefix("nolibc_most=")).expect("its bound");
    line.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a number")
}

/// The program, built once.
fn nolibc() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nolibc");
        let manifest =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nolibc/Cargo.toml");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(manifest);
        assert!(cargo.arg("--target-dir").arg(&target).status().unwrap().success());
        target.join("release/nolibc")
    })
}

/// A lab, and the program as the runtime of its function.
fn start_under_lab() -> (Lab, Process) {
    let lab = Function::external().output(Output::Discarded).start().unwrap();
    let process = start(&lab.runtime_api());
    (lab, process)
}

fn start(service: &str) -> Process {
    Process::start(Command::new(nolibc()).env("AWS_LAMBDA_RUNTIME_API", service)).unwrap()
}

fn event(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// The resident memory of the process in KiB: all of it, its anonymous part, and pages of files.
fn resident(process: &Process) -> [usize; 3] {
    let pids = process.family();
    let [pid] = pids[..] else { panic!("not one process but {pids:?}") };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    ["VmRSS:", "RssAnon:", "RssFile:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    })
}

/// Waits until it has ended with code 1 after `lines` lines, the last of which contains `words`.
fn assert_fails(process: &mut Process, lines: usize, words: &str) {
    assert_eq!(process.wait().unwrap().code(), Some(1));
    process.wait_for_output(words).unwrap();
    let output = process.output();
    assert!(output.lines().last().is_some_and(|line| line.contains(words)), "{output}");
    assert_eq!(output.lines().count(), lines, "{output}");
}

#[test]
fn events_are_echoed_and_too_large_ones_are_reported_as_errors() {
    let (lab, process) = start_under_lab();
    for length in [0, 128, 6 * 1024] {
        assert!(lab.invoke(event(length)).unwrap().body == event(length), "{length} bytes");
    }
    for length in [20_000, 1_000_000] {
        let error = lab.invoke(event(length)).unwrap_err();
        let failure = error.function().expect("the runtime is there");
        assert_eq!(failure.kind, FailureKind::Reported);
        assert_eq!(failure.error_type().as_deref(), Some("Runtime.EventTooLarge"));
        process
            .wait_for_output(&format!(
                "nolibc: invocation {}: the event does not fit the buffer\n",
                failure.request_id
            ))
            .unwrap();
        assert!(lab.invoke(event(128)).unwrap().body == event(128));
    }
    assert_eq!(process.output().lines().count(), 2, "{}", process.output());
}

/// `VmRSS` counts both mapped pages of the file and anonymous memory.
#[test]
fn its_file_and_its_resident_memory_are_small() {
    let file = fs::metadata(nolibc()).unwrap().len();
    let (lab, process) = start_under_lab();
    for length in [128, 6 * 1024, 15_000, 1_000_000, 128] {
        let _too_large_is_an_error = lab.invoke(event(length));
    }
    for _ in 0..1000 {
        lab.invoke(event(128)).unwrap();
    }
    let [all, own, of_file] = resident(&process);
    println!("file: {file} bytes; resident: {all} KiB, {own} anonymous, {of_file} of the file");
    assert!(file <= max_file(), "{file} bytes");
    assert!((1..=MAX_RESIDENT).contains(&all), "{all} KiB");
}

/// The next connection of the program, with its `next` open.
fn asking(service: &Service) -> Connection {
    let mut connection = service.connection();
    connection.expect_next();
    connection
}

#[test]
fn lost_connections_are_survived() {
    let place = Place::deserted();
    let service = Service::start_on(&place);
    let mut process = start(place.address());
    // The connection is lost instead of an event.
    asking(&service).close();
    // In the middle of an event.
    let mut connection = asking(&service);
    let event = Event::new("a", [b'x'; 100]).bytes();
    connection.send(&event[..event.len() - 96]);
    connection.close();
    let mut connection = service.connection();
    connection.request().assert_error("a", "Runtime.EventTruncated");
    connection.take_answer();
    // After an answer.
    connection.invoke(Event::new("b", "event"));
    let answer = connection.request();
    answer.assert_response("b");
    assert_eq!(answer.body, b"event");
    connection.close();
    let mut connection = service.connection();
    let answer = connection.request();
    answer.assert_response("b");
    assert_eq!(answer.body, b"event");
    connection.take_answer();
    connection.expect_next();
    // The service stops, and starts again at the same address.
    drop((connection, service));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let service = Service::start_on(&place);
    let mut connection = asking(&service);
    connection.send(Event::new("c", "").bytes());
    let answer = connection.request();
    answer.assert_response("c");
    assert_eq!(answer.body, b"");
    connection.take_answer();
    connection.expect_next();
    connection.answer(500, "", "");
    assert_fails(&mut process, 4, "nolibc: the Runtime API ends this runtime");
    let output = process.output();
    let lines = [
        "invocation a: connection lost in the middle of the event",
        "invocation b: connection lost before the reply; sending the answer again",
        "refused with 500",
    ];
    for (line, expected) in output.lines().zip(lines) {
        assert_eq!(line, format!("nolibc: {expected}"));
    }
}

#[test]
fn an_unusable_address_is_reported_in_one_line() {
    let mut process =
        Process::start(Command::new(nolibc()).env_remove("AWS_LAMBDA_RUNTIME_API")).unwrap();
    assert_fails(&mut process, 1, "nolibc: AWS_LAMBDA_RUNTIME_API is not set");
    for (address, words) in [
        ("", "is not the address of a Runtime API"),
        ("https://127.0.0.1", "is not the address of a Runtime API: https://127.0.0.1"),
        ("localhost:9001", "must be an IPv4 address with a port here, not localhost:9001"),
    ] {
        assert_fails(&mut start(address), 1, words);
    }
}

#[test]
fn an_invalid_reply_ends_the_process_with_one_line() {
    let service = Service::start();
    let mut process = start(&service.address());
    asking(&service).send("SSH-2.0-OpenSSH_9.9\r\n\r\n");
    assert_fails(&mut process, 1, "nolibc: the Runtime API sent an invalid reply");
}
