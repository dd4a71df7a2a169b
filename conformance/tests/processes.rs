//! Every vector for clients against the functions on each transport and on a raw socket, as
//! processes. Each does what the vector says, and none panics, is ended by a signal, spins, or
//! allocates memory for bytes that were announced but not sent.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lambda_conformance::client::{End, File, Patience, Report, Vector, load, play};

/// A program to test.
struct Function {
    name: &'static str,
    program: &'static str,
    /// The needs of vectors that it does not meet.
    lacks: &'static [&'static str],
}

const FUNCTIONS: [Function; 4] = [
    Function { name: "std", program: env!("CARGO_BIN_EXE_function-std"), lacks: &[] },
    Function { name: "tokio", program: env!("CARGO_BIN_EXE_function-tokio"), lacks: &[] },
    Function { name: "mio", program: env!("CARGO_BIN_EXE_function-mio"), lacks: &[] },
    Function {
        name: "socket",
        program: env!("CARGO_BIN_EXE_function-socket"),
        // A loop around one slot: init, snapshots, panics and several slots are the transports'
        // task.
        lacks: &["start", "snapshot", "panic", "concurrency"],
    },
];

/// How many processes run at the same time; they mostly wait.
const AT_ONCE: usize = 16;

/// The limit of the address space, in KiB: a client that reserves what a peer announces runs out of
/// it.
const ADDRESS_SPACE_KIB: u64 = 1024 * 1024;

#[test]
fn every_function_does_what_every_vector_says() {
    let began = Instant::now();
    let files = files();
    let plain = FUNCTIONS.map(|function| {
        let report = run(plainest(&files), limited(function.program), Patience::default());
        assert!(report.conforms(), "{}: {:?}", function.name, report.deviation);
        report.usage.map_or(0, |usage| usage.peak_memory)
    });
    let mut plays = Vec::new();
    for file in &files {
        for vector in &file.vectors {
            for (function, plain) in FUNCTIONS.iter().zip(plain) {
                if !vector.needs.iter().any(|need| function.lacks.contains(&need.as_str())) {
                    plays.push((file, vector, function, plain));
                }
            }
        }
    }
    for need in FUNCTIONS.iter().flat_map(|function| function.lacks) {
        let is_needed = |vector: &Vector| vector.needs.iter().any(|other| other == need);
        let is_needed = files.iter().flat_map(|file| &file.vectors).any(is_needed);
        assert!(is_needed, "no vector needs {need:?}");
    }
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((file, vector, function, plain)) =
                    plays.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let report = run(vector, limited(function.program), Patience::default());
                    let faults = faults(&report, *plain, vector);
                    if !faults.is_empty() {
                        let title = format!("{}: {}", file.name, vector.name);
                        let text = told(&title, function.name, &faults, &report);
                        wrong.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} plays in {:.0?}", plays.len(), began.elapsed());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), plays.len(), wrong.join("\n"));
}

/// What is wrong with the result of a vector: the deviation, and faults of the process.
fn faults(report: &Report, plain_memory: u64, vector: &Vector) -> Vec<String> {
    const MIB: u64 = 1024 * 1024;
    let mut faults: Vec<_> = report.deviation.iter().map(ToString::to_string).collect();
    if report.has_panicked() && !vector.needs.iter().any(|need| need == "panic") {
        faults.push("it has panicked".to_owned());
    }
    if report.end == End::Exited(None) {
        faults.push("a signal has ended it".to_owned());
    }
    let Some(usage) = report.usage else { return faults };
    // The reader and the function each hold the body, and the reader may hold it twice while it
    // grows. A panic may print a backtrace, which reads all symbols of the program.
    let trace = if report.has_panicked() { 256 * MIB } else { 0 };
    let most_memory = plain_memory + 4 * MIB + 4 * report.bytes + trace;
    if usage.peak_memory > most_memory {
        let (peak, bytes) = (usage.peak_memory, report.bytes);
        faults.push(format!("it took {peak} bytes of memory for {bytes} on its connections"));
    }
    // A process that waits uses no processor time, even on a busy machine. The rest is for the
    // start, and for an unoptimized build.
    let most_cpu = Duration::from_millis(300)
        + report.elapsed / 20
        + Duration::from_millis(200) * u32::try_from(report.bytes / MIB).unwrap_or(u32::MAX);
    if usage.cpu > most_cpu {
        let (cpu, elapsed) = (usage.cpu, report.elapsed);
        faults.push(format!("it was busy for {cpu:.1?} of {elapsed:.1?}"));
    }
    faults
}

fn told(title: &str, function: &str, faults: &[String], report: &Report) -> String {
    let mut text = format!("{title}\n  {function}: {}; {:?}", faults.join("; "), report.end);
    let last: Vec<_> = report.output.lines().rev().take(5).collect();
    for line in last.iter().rev() {
        text.push_str("\n  | ");
        text.push_str(line);
    }
    text
}

fn files() -> Vec<File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("client");
    load(&folder).unwrap_or_else(|error| panic!("{error}"))
}

/// A vector with a small event and its answer.
fn plainest(files: &[File]) -> &Vector {
    let file = files.iter().find(|file| file.name == "invocations").expect("the file");
    file.vectors.first().expect("a vector")
}

fn run(vector: &Vector, command: Command, patience: Patience) -> Report {
    play(vector, command, patience).unwrap_or_else(|error| panic!("{}: {error}", vector.name))
}

/// The program with limited address space, where the shell supports that.
fn limited(program: &str) -> Command {
    let limit = format!("ulimit -v {ADDRESS_SPACE_KIB} 2>/dev/null; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limit, program]);
    command
}

/// The faults of a script that is played the plainest vector.
fn faults_of(script: &str) -> Vec<String> {
    faults_within(Duration::from_secs(3), script)
}

fn faults_within(long: Duration, script: &str) -> Vec<String> {
    let files = files();
    let plain = run(plainest(&files), limited(FUNCTIONS[0].program), Patience::default());
    let plain = plain.usage.map_or(0, |usage| usage.peak_memory);
    let mut command = Command::new("bash");
    command.args(["-c", script]);
    let patience = Patience { long, ..Patience::default() };
    faults(&run(plainest(&files), command, patience), plain, plainest(&files))
}

/// The beginning of a script that is connected to the service on descriptor 3.
const CONNECT: &str = "exec 3<>/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}\n";
const ASK: &str = "printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' \
                   $AWS_LAMBDA_RUNTIME_API >&3\n";

#[test]
fn a_program_that_exits_is_reported() {
    let next = "expected GET /2018-06-01/runtime/invocation/next on a new connection";
    let fault = format!("step 1: {next}; the client exited with code 0");
    assert_eq!(faults_of("exec true"), [fault]);
}

#[test]
fn a_program_that_a_signal_ends_is_reported() {
    let faults = faults_of("kill -SEGV $$");
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].ends_with("; the client was ended by a signal"), "{faults:?}");
    assert_eq!(faults[1], "a signal has ended it");
}

#[test]
fn a_program_that_does_nothing_is_reported() {
    let faults = faults_of("exec sleep 60");
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains("expected GET /2018-06-01/runtime/invocation/next on a new connection"),
        "{faults:?}"
    );
}

#[test]
fn a_program_that_sends_another_request_is_reported() {
    let faults = faults_of(&format!(
        "{CONNECT}printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3; sleep 60"
    ));
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].ends_with(", got GET /"), "{faults:?}");
}

#[test]
fn a_program_that_answers_an_unknown_id_is_reported() {
    let answer = "printf 'POST /2018-06-01/runtime/invocation/none/response HTTP/1.1\\r\\nHost: a\\r\\n\
                  Content-Length: 2\\r\\n\\r\\n{}' >&3; sleep 60";
    let faults = faults_of(&format!("{CONNECT}{ASK}read line <&3; {answer}"));
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("step 3: expected POST "), "{faults:?}");
    assert!(faults[0].ends_with("/invocation/none/response"), "{faults:?}");
}

#[test]
fn a_program_that_keeps_connecting_without_a_request_is_reported() {
    let began = Instant::now();
    let faults = faults_of(&format!("while :; do\n{CONNECT}exec 3>&-; sleep 0.05; done"));
    assert!(faults[0].contains("expected GET "), "{faults:?}");
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_children_of_a_program_end_with_it() {
    let began = Instant::now();
    for script in ["sleep 600 & exit 1", "sleep 600 & sleep 600"] {
        assert_eq!(faults_of(script).len(), 1);
    }
    assert!(began.elapsed() < Duration::from_secs(300));
}

#[test]
fn a_program_that_panics_is_reported() {
    let faults = faults_of(&format!(
        "{CONNECT}{ASK}echo \"thread 'main' panicked at a.rs:1:1:\" >&2; exit 101"
    ));
    assert_eq!(faults.last().map(String::as_str), Some("it has panicked"), "{faults:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_spins_is_reported() {
    // Long enough to use noticeable processor time even on a busy machine.
    let script = format!("{CONNECT}{ASK}while :; do :; done");
    let faults = faults_within(Duration::from_secs(10), &script);
    assert!(faults.iter().any(|fault| fault.starts_with("it was busy for ")), "{faults:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_takes_memory_is_reported() {
    let take = "taken=$(head -c 48000000 /dev/zero | tr '\\0' a); sleep 60";
    let faults = faults_of(&format!("{CONNECT}{ASK}{take}"));
    assert!(faults.iter().any(|fault| fault.starts_with("it took ")), "{faults:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_reserves_what_a_peer_announces_runs_out_of_address_space() {
    // The length that a vector announces without sending as much.
    let reserve = "dd if=/dev/zero of=/dev/null bs=2147483647 count=1";
    let mut command = limited("bash");
    let status = command.args(["-c", reserve]).stderr(std::process::Stdio::null()).status();
    assert!(!status.unwrap().success());
    let mut command = limited("bash");
    assert!(command.args(["-c", "exec true"]).status().unwrap().success());
}
