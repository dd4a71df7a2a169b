//! Tests the examples of `core` with their own event loops, `tokio_driver` and `io_uring_driver`:
//! under the lab, and against a service that closes connections, is unreachable, sends invalid
//! replies or ends the runtime.
//!
//! If the machine refuses io_uring, only the error message of `io_uring_driver` is tested.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use lambda_interop::{Process, programs};
use lambda_lab::{Function, Lab, Output};
use lambda_proto_service::{Connection, Event, MOMENT, PATIENCE, Place, Service};

/// The CPU time that an almost idle process may use, in clock ticks of 10 ms: less than 50 ms.
const IDLE: u64 = 4;

/// Makes a test for each function with each of the examples.
macro_rules! for_each_loop {
    ($($test:ident)*) => {
        mod tokio_driver {
            $(#[test] fn $test() { super::$test(&super::example("tokio_driver")); })*
        }
        mod io_uring_driver {
            $(#[test] fn $test() {
                if let Some(driver) = super::allowed_io_uring_driver() { super::$test(driver); }
            })*
        }
    };
}

for_each_loop! {
    events_of_every_size_come_back_equal
    two_thousand_invocations_in_eight_slots_get_their_own_answers
    there_are_as_many_slots_as_the_environment_says
    a_missing_address_is_reported_in_one_line
    the_loop_continues_when_the_service_closes_the_connection
    the_loop_continues_when_the_connection_is_reset
    an_answer_is_sent_again_once
    a_reply_before_the_whole_answer_was_read_is_accepted
    an_unreachable_service_is_waited_for
    a_service_that_keeps_closing_connections_is_asked_less_and_less_often
    an_invalid_reply_ends_the_process
    an_invalid_reply_in_one_of_several_slots_restarts_that_slot
    a_500_ends_the_process_after_the_answers_in_flight
}

fn example(name: &str) -> PathBuf {
    programs::example(name).unwrap()
}

/// The example with io_uring, if this machine allows it.
fn allowed_io_uring_driver() -> Option<&'static Path> {
    static DRIVER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let driver = DRIVER.get_or_init(|| {
        let driver = example("io_uring_driver");
        // It sets up io_uring first and looks for the service later.
        let mut process = Process::start(&mut Command::new(&driver)).unwrap();
        assert_ne!(process.wait().unwrap().code(), Some(0));
        let line = last_line(&process);
        if !line.contains("no io_uring here") {
            return Some(driver);
        }
        assert_names_cause_and_remedy(&line);
        // Not with `eprintln`, whose output is shown only for tests that fail.
        let _is_shown = writeln!(std::io::stderr(), "skipped for io_uring_driver: {line}");
        None
    });
    driver.as_deref()
}

fn lab(driver: &Path, concurrency: Option<usize>) -> Lab {
    let function = Function::new(driver).timeout(PATIENCE).output(Output::Discarded);
    let function = match concurrency {
        Some(most) => function.concurrency(most),
        None => function,
    };
    function.start().unwrap()
}

/// Starts the example with a service at this address; it is killed on drop.
fn start(driver: &Path, service: &str, concurrency: Option<&str>) -> Process {
    let mut command = Command::new(driver);
    command.env("AWS_LAMBDA_RUNTIME_API", service);
    match concurrency {
        Some(number) => command.env("AWS_LAMBDA_MAX_CONCURRENCY", number),
        None => command.env_remove("AWS_LAMBDA_MAX_CONCURRENCY"),
    };
    Process::start(&mut command).unwrap()
}

/// The clock ticks of CPU time that the process has used so far: fields 14 and 15 of its `stat`.
fn ticks(process: &Process) -> u64 {
    let pids = process.family();
    let [pid] = pids[..] else { panic!("not one process but {pids:?}") };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field, a name in parentheses, may hold spaces.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn assert_is_idle(process: &Process) {
    let ticks = ticks(process);
    assert!(ticks <= IDLE, "{} ms of CPU; output: {}", ticks * 10, process.output());
}

/// Asserts that the process fails, and that its last line contains `reason`.
fn assert_fails(process: &mut Process, reason: &str) {
    let status = process.wait().unwrap();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert!(last_line(process).contains(reason), "{}", process.output());
}

/// The last line of the output, which may arrive a little after the process has ended.
fn last_line(process: &Process) -> String {
    let began = Instant::now();
    while process.output().is_empty() && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(50));
    process.output().lines().last().unwrap_or_default().to_owned()
}

/// The next connection of the example, with its `next` open.
fn asking(service: &Service) -> Connection {
    let mut connection = service.connection();
    connection.expect_next();
    connection
}

fn event(id: &str, body: impl Into<Vec<u8>>) -> Event {
    Event::new(id, body).header("Lambda-Runtime-Deadline-Ms", "4102444800000")
}

/// Sends an event whose `next` is open.
fn give(connection: &mut Connection, id: &str, body: impl Into<Vec<u8>>) {
    connection.send(event(id, body).bytes());
}

/// Takes the response to an invocation, without replying, and returns its body.
fn response(connection: &mut Connection, id: &str) -> Vec<u8> {
    let request = connection.request();
    request.assert_response(id);
    request.body
}

/// Sends an event and expects its echo.
fn serve(connection: &mut Connection, id: &str) {
    give(connection, id, "an event");
    assert_eq!(response(connection, id), b"an event");
    connection.take_answer();
    connection.expect_next();
}

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|index| ((index * 31 + index / 251 + seed) % 251) as u8).collect()
}

fn events_of_every_size_come_back_equal(driver: &Path) {
    let lab = lab(driver, None);
    for size in [0, 6 * 1024, 1024 * 1024, 6 * 1024 * 1024, lambda_lab::MAX_PAYLOAD, 0, 1] {
        let event = bytes(size, size);
        let answer = lab.invoke(event.clone()).unwrap();
        assert!(
            answer.body == event,
            "{size} bytes came back as {} different ones",
            answer.body.len()
        );
    }
}

fn two_thousand_invocations_in_eight_slots_get_their_own_answers(driver: &Path) {
    let lab = lab(driver, Some(8));
    let ids = thread::scope(|scope| {
        let callers: Vec<_> = (0..16)
            .map(|caller| {
                let lab = &lab;
                scope.spawn(move || {
                    let mut ids = Vec::new();
                    for number in 0..125 {
                        let mut event = format!("{caller}/{number}:").into_bytes();
                        event.extend(bytes((caller * 997 + number * 13) % 5_000, caller + number));
                        let answer = lab.invoke(event.clone()).unwrap();
                        assert!(answer.body == event, "caller {caller}, number {number}");
                        ids.push(answer.request_id);
                    }
                    ids
                })
            })
            .collect();
        let ids = callers.into_iter().flat_map(|caller| caller.join().unwrap());
        ids.collect::<BTreeSet<_>>()
    });
    assert_eq!(ids.len(), 2_000);
}

fn there_are_as_many_slots_as_the_environment_says(driver: &Path) {
    for (number, slots) in [(None, 1), (Some(""), 1), (Some("0"), 1), (Some("5"), 5)] {
        let service = Service::start();
        let _process = start(driver, &service.address(), number);
        let _connections: Vec<_> = service.open_slots(slots);
        assert!(service.connection_within(MOMENT).is_none(), "{number:?}");
    }
    for number in ["-3", "x"] {
        let service = Service::start();
        let mut process = start(driver, &service.address(), Some(number));
        assert_fails(&mut process, &format!("AWS_LAMBDA_MAX_CONCURRENCY is {number:?}"));
    }
}

fn a_missing_address_is_reported_in_one_line(driver: &Path) {
    let mut process =
        Process::start(Command::new(driver).env_remove("AWS_LAMBDA_RUNTIME_API")).unwrap();
    assert_fails(&mut process, "AWS_LAMBDA_RUNTIME_API: environment variable not found");
    assert_eq!(process.output().lines().count(), 1);
}

fn the_loop_continues_when_the_service_closes_the_connection(driver: &Path) {
    let service = Service::start();
    let process = start(driver, &service.address(), None);
    // The connection is lost between two invocations.
    serve(&mut asking(&service), "a");
    serve(&mut asking(&service), "b");
    // In the middle of an event.
    let mut connection = asking(&service);
    let event = event("c", bytes(100, 0)).bytes();
    connection.send(&event[..event.len() - 96]);
    connection.close();
    let mut connection = service.connection();
    connection.request().assert_error("c", "Runtime.EventTruncated");
    // In the middle of the body of a reply, when its head, which is all that matters, has arrived.
    connection.send("HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{");
    connection.close();
    // In the middle of the head of a reply, when its outcome is still unknown.
    let mut connection = asking(&service);
    give(&mut connection, "d", "an event");
    response(&mut connection, "d");
    connection.send("HTTP/1.1 202 Acc");
    connection.close();
    serve(&mut asking(&service), "e");
    process.wait_for_output("d: connection lost before the reply").unwrap();
    assert_is_idle(&process);
}

fn the_loop_continues_when_the_connection_is_reset(driver: &Path) {
    let service = Service::start();
    let process = start(driver, &service.address(), None);
    // The connection is reset instead of an event.
    service.connection().reset_behind_request();
    // In the middle of an answer that does not fit the buffers of the system.
    let mut connection = asking(&service);
    let event = bytes(6 * 1024 * 1024, 1);
    give(&mut connection, "a", event.as_slice());
    connection.head();
    connection.close();
    let mut connection = service.connection();
    assert!(response(&mut connection, "a") == event);
    connection.take_answer();
    // Between two invocations.
    connection.reset_behind_request();
    serve(&mut asking(&service), "b");
    process.wait_for_output("a: connection lost before the reply; sending").unwrap();
}

fn an_answer_is_sent_again_once(driver: &Path) {
    let service = Service::start();
    let process = start(driver, &service.address(), None);
    let mut connection = asking(&service);
    give(&mut connection, "a", "an event");
    for _ in 0..2 {
        assert_eq!(response(&mut connection, "a"), b"an event");
        connection.close();
        connection = service.connection();
    }
    // Neither copy got a reply. The answer is given up, and the loop continues.
    connection.expect_next();
    serve(&mut connection, "b");
    connection.close();
    // With a reply to the second copy, the fate of the answer is known.
    let mut connection = asking(&service);
    give(&mut connection, "c", "an event");
    response(&mut connection, "c");
    connection.close();
    let mut connection = service.connection();
    assert_eq!(response(&mut connection, "c"), b"an event");
    connection.take_answer();
    connection.expect_next();
    serve(&mut connection, "d");
    process.wait_for_output("a: connection lost before the reply; sending").unwrap();
    process.wait_for_output("a: connection lost before the reply; whether").unwrap();
    process.wait_for_output("c: connection lost before the reply; sending").unwrap();
    assert!(!process.output().contains("c: connection lost before the reply; whether"));
}

fn a_reply_before_the_whole_answer_was_read_is_accepted(driver: &Path) {
    let service = Service::start();
    let process = start(driver, &service.address(), None);
    let mut connection = asking(&service);
    give(&mut connection, "a", bytes(6 * 1024 * 1024, 1));
    connection.head();
    // The reply comes in two pieces; the connection stays open, and nothing more is read from it.
    connection.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\n{");
    thread::sleep(Duration::from_millis(200));
    assert_is_idle_but_for_the_event(&process);
    connection.send("}");
    serve(&mut asking(&service), "b");
    process.wait_for_output("a: response was answered with 413").unwrap();
}

/// As [`assert_is_idle`], with additional time for copying 6 MB.
fn assert_is_idle_but_for_the_event(process: &Process) {
    let ticks = ticks(process);
    assert!(ticks <= 2 * IDLE, "{} ms of CPU", ticks * 10);
}

fn an_unreachable_service_is_waited_for(driver: &Path) {
    let place = Place::deserted();
    let process = start(driver, place.address(), None);
    thread::sleep(Duration::from_secs(1));
    assert_is_idle(&process);
    let service = Service::start_on(&place);
    let mut connection = asking(&service);
    // There is no timeout for the next event.
    thread::sleep(Duration::from_secs(2));
    serve(&mut connection, "a");
    assert_is_idle(&process);
    process.wait_for_output(&format!("no connection to {}", place.address())).unwrap();
}

fn a_service_that_keeps_closing_connections_is_asked_less_and_less_often(driver: &Path) {
    let service = Service::start();
    let process = start(driver, &service.address(), None);
    let began = Instant::now();
    let mut connections = 0;
    while began.elapsed() < Duration::from_secs(2) {
        connections += u32::from(service.connection_within(Duration::from_millis(20)).is_some());
    }
    // The runtime connects after 0, 0, 25–50, 75–150, … ms.
    assert!((4..=9).contains(&connections), "{connections} connections within 2 s");
    assert_is_idle(&process);
    serve(&mut asking(&service), "a");
}

fn an_invalid_reply_ends_the_process(driver: &Path) {
    for nonsense in
        ["SSH-2.0-OpenSSH_9.9\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]
    {
        let service = Service::start();
        let mut process = start(driver, &service.address(), None);
        let mut connection = asking(&service);
        connection.send(nonsense);
        assert_fails(&mut process, "_driver: ");
        println!("{nonsense:?} gives: {}", process.output());
        assert_eq!(process.output().lines().count(), 1, "{}", process.output());
    }
}

fn an_invalid_reply_in_one_of_several_slots_restarts_that_slot(driver: &Path) {
    let service = Service::start();
    let process = start(driver, &service.address(), Some("2"));
    let (mut first, mut second) = (asking(&service), asking(&service));
    first.send("SSH-2.0-OpenSSH_9.9\r\n\r\n");
    let began = Instant::now();
    serve(&mut second, "a");
    let mut third = asking(&service);
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    serve(&mut third, "b");
    serve(&mut second, "c");
    process.wait_for_output("restarting a slot").unwrap();
    assert_is_idle(&process);
}

fn a_500_ends_the_process_after_the_answers_in_flight(driver: &Path) {
    let service = Service::start();
    let mut process = start(driver, &service.address(), Some("3"));
    let (mut first, mut second) = (asking(&service), asking(&service));
    let _idle = asking(&service);
    give(&mut first, "a", "an event");
    assert_eq!(response(&mut first, "a"), b"an event");
    second.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    thread::sleep(Duration::from_millis(200));
    assert!(process.exit_status().is_none(), "{}", process.output());
    first.take_answer();
    assert_fails(&mut process, "500");
}

fn assert_names_cause_and_remedy(line: &str) {
    let causes = ["seccomp", "kernel.io_uring_disabled", "ulimit -l", "refuses", "only Linux"];
    assert!(causes.iter().any(|cause| line.contains(cause)), "{line}");
    for remedy in ["lambda-proto-std", "lambda-proto-tokio", "lambda-proto-mio"] {
        assert!(line.contains(remedy), "{line}");
    }
}

/// Runs the example as in a container that forbids io_uring: a seccomp filter makes its call fail.
#[test]
fn the_error_on_a_machine_without_io_uring_names_the_alternatives() {
    const FILTER: &str = r"
import ctypes, os, struct, sys
# Load the number of the call. If it is 425, io_uring_setup, fail with the errno; else allow it.
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (6, 0, 0, 0x50000 | int(sys.argv[1])), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))
filter = ctypes.create_string_buffer(struct.pack('HxxxxxxP', 4, ctypes.addressof(code)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(38, 1, 0, 0, 0) or prctl(22, 2, filter, 0, 0):
    sys.exit('no filter: ' + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
";
    let driver = example("io_uring_driver");
    for (errno, cause) in
        [(1, "kernel.io_uring_disabled"), (12, "ulimit -l"), (38, "the kernel does not have it")]
    {
        let mut command = Command::new("python3");
        command.args(["-c", FILTER, &errno.to_string()]).arg(&driver);
        let mut process = Process::start(&mut command).unwrap();
        assert_fails(&mut process, cause);
        let line = last_line(&process);
        println!("{line}");
        assert_names_cause_and_remedy(&line);
        assert_eq!(process.output().lines().count(), 1);
    }
}
