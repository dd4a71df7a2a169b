//! Third-party clients under the lab: runtimes and extensions on one side, callers on the other.
//!
//! The output of the lab and the functions is discarded. To see it, run the function with
//! `cargo run -p lambda-lab -- run …`.

mod aws_cli;
mod awslambdaric;
mod curl;
mod extensions;
mod lambda_runtime;
mod shell;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lambda_interop::{fetch, programs};
use lambda_lab::{Answer, Event, Function, FunctionFailure, InvokeError, Lab, Output};
use serde_json::{Value, json};

/// The largest response: 6 MiB and 100 bytes.
const LARGEST: usize = 6 * 1024 * 1024 + 100;

/// How long to wait: no invocation here takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lab for this function.
fn lab(function: Function) -> Lab {
    function.timeout(PATIENCE).output(Output::Discarded).start().unwrap()
}

fn misbehave() -> Lab {
    lab(Function::new(programs::misbehave(programs::Profile::Unwind).unwrap()))
}

/// The folder with the files of these tests.
fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/other_clients")
}

/// `python3`, and variables with which it imports the pinned clients and the files of these tests.
fn python() -> (&'static str, Vec<(&'static str, OsString)>) {
    let paths = std::env::join_paths([fetch::python_clients().unwrap(), files()]);
    let paths = paths.expect("the path of this workspace must not contain a colon");
    // Otherwise Python would write bytecode next to the sources.
    ("python3", vec![("PYTHONPATH", paths), ("PYTHONDONTWRITEBYTECODE", "1".into())])
}

/// The function's response, as JSON.
fn ask(lab: &Lab, event: impl Into<Event>) -> Value {
    let answer = lab.invoke(event).unwrap();
    serde_json::from_slice(&answer.body).expect("the function answers JSON")
}

/// The failure of the function, which must fail.
fn fails(lab: &Lab, event: &Value) -> FunctionFailure {
    match lab.invoke(event.to_string()) {
        Err(InvokeError::Function(failure)) => failure,
        other => panic!("{event} gave {other:?}"),
    }
}

/// Invokes 200 times, four at once, and checks that each caller gets its own answer and that one
/// process gives them all.
fn two_hundred_invocations_are_answered_by_one_process(lab: &Lab) {
    let before = ask(lab, r#"{"do":"describe"}"#);
    let count = Mutex::new(0);
    thread::scope(|scope| {
        for caller in 0..4 {
            let count = &count;
            scope.spawn(move || {
                for number in 0..50 {
                    let value = json!({ "caller": caller, "number": number });
                    let event = json!({ "do": "echo", "value": value }).to_string();
                    assert_eq!(ask(lab, event), value);
                    *count.lock().unwrap() += 1;
                }
            });
        }
    });
    assert_eq!(count.into_inner().unwrap(), 200);
    assert_eq!(ask(lab, r#"{"do":"describe"}"#)["process"], before["process"]);
}

/// Has the function stream a first line, and sends it a second one to stream only after the first
/// has arrived. So the first line arrives while the function is still running.
fn streams_while_it_runs(lab: &Lab) -> (Answer, String) {
    let source = Source::new();
    let mut arrived = String::new();
    let mut connection: Option<TcpStream> = None;
    let answer = lab.invoke_streaming(source.event(&Value::Null), |piece| {
        arrived.push_str(&String::from_utf8_lossy(piece));
        if arrived.ends_with("first\n") {
            let mut function = source.accept();
            function.write_all(b"second\n").unwrap();
            connection = Some(function);
        } else if arrived.ends_with("second\n") {
            connection = None;
        }
    });
    (answer.unwrap(), arrived)
}

/// The source of the bytes that a relaying function streams.
struct Source(TcpListener);

impl Source {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port of loopback is free"))
    }

    /// The event with which the function streams a line and then everything from this source.
    fn event(&self, fail: &Value) -> String {
        let address = self.0.local_addr().unwrap().to_string();
        json!({ "do": "relay", "address": address, "fail": fail }).to_string()
    }

    /// Waits for the connection of the function, up to [`PATIENCE`].
    fn accept(&self) -> TcpStream {
        self.0.set_nonblocking(true).unwrap();
        let began = Instant::now();
        loop {
            match self.0.accept() {
                Ok((function, _)) => return function,
                Err(error) if began.elapsed() > PATIENCE => {
                    panic!("the function did not connect: {error}")
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

/// A temporary folder, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("other-clients-{}-{number}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.0);
    }
}

/// Runs a command; returns its exit code, its standard output and its standard error.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot start {command:?}: {error}; install curl and Python 3")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
