//! How the lab ends the function's process.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use lambda_lab::InvokeError;

use crate::served::{Served, TELL};
use crate::support::{Connection, NEXT, lives, of, request, script, wait_until};

const REGISTER: &str = "POST /2020-01-01/extension/register";

/// Prints a line on SIGTERM, and exits.
const POLITE: &str = "trap 'echo politely >&2; exit 7' TERM";

/// Ignores SIGTERM.
const DEAF: &str = "trap '' TERM";

/// Waits for signals.
const WAIT: &str = "while :; do sleep 0.01; done";

fn register(api: &mut Connection) {
    assert_eq!(api.request(REGISTER, &[("Lambda-Extension-Name", "mine")], "{}").status, 200);
}

/// A lab whose function runs with this trap; its Runtime API, the id of its process, and a caller.
fn served(options: &[&str], trap: &str) -> (Served, Connection, u32, Connection) {
    let mut served = Served::start(options, &format!("{trap}; {TELL}{WAIT}"));
    let caller = served.invoke_in_background();
    let (api, pid) = served.told();
    (served, api, pid, caller)
}

/// The milliseconds in "ended after 1.23 ms".
fn took(line: &str) -> f64 {
    let (_, rest) = line.split_once("ended after ").expect(line);
    rest.split_once(" ms").expect(line).0.parse().expect(line)
}

#[test]
fn a_process_without_extensions_is_killed_immediately_when_the_lab_ends() {
    let (mut served, _api, pid, _caller) = served(&[], POLITE);
    served.signal("TERM");
    let line = served.line_with("shutdown (spindown): ");
    assert!(line.starts_with("SIGKILL, as no extension is registered; ended after"), "{line}");
    assert_eq!(served.child.wait().unwrap().code(), Some(143));
    assert!(!lives(pid));
    assert!(!served.rest().contains("politely"));
}

#[test]
fn a_process_with_an_extension_gets_sigterm_when_a_signal_ends_the_lab() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let (mut served, mut api, pid, _caller) = served(&[], POLITE);
        register(&mut api);
        served.signal(signal);
        served.line_with("politely");
        let line = served.line_with("shutdown (spindown): ");
        assert!(line.starts_with("SIGTERM; ended after "), "{line}");
        assert!(line.ends_with(" ms, exit status: 7"), "{line}");
        assert_eq!(served.child.wait().unwrap().code(), Some(code));
        assert!(!lives(pid));
    }
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_after_the_shutdown_timeout() {
    for (options, time) in [
        (&[][..], 500),
        (&["--shutdown-timeout", "120ms"], 120),
        (&["--shutdown-timeout", "0"], 0),
        (&["--concurrency", "2"], 600),
    ] {
        let (mut served, mut api, pid, _caller) = served(options, DEAF);
        register(&mut api);
        served.signal("TERM");
        let line = served.line_with("shutdown (spindown): ");
        let expected = format!("SIGTERM, and SIGKILL after {time} ms; ended after ");
        assert!(line.starts_with(&expected), "{line}");
        assert!(took(&line) >= f64::from(time), "{line}");
        served.child.wait().unwrap();
        assert!(!lives(pid));
    }
}

#[test]
fn on_a_timeout_a_process_gets_sigterm_only_if_it_has_an_extension() {
    for (has_extension, how) in [(true, "SIGTERM; ended"), (false, "SIGKILL, as no extension")] {
        let (mut served, mut api, pid, mut caller) = served(&["--timeout", "0.2"], POLITE);
        let _extension = has_extension.then(|| with_extension(&served.api));
        assert_eq!(api.request(NEXT, &[], "").text(), "{}");
        assert_eq!(caller.response().text(), "Task timed out after 0.20 seconds");
        let line = served.line_with("shutdown (timeout): ");
        assert!(line.starts_with(how), "{line}");
        assert!(!lives(pid));
    }
}

#[test]
fn an_answer_after_the_timeout_does_not_reach_the_caller() {
    let files = Files::new("late");
    let lab = script(&files.script())
        .timeout(Duration::from_millis(200))
        .shutdown_timeout(Duration::from_secs(20))
        .start()
        .unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let pid = files.pid();
        let mut runtime = Connection::open(lab.runtime_api());
        let mut extension = with_extension(&lab.runtime_api());
        let next = runtime.request(NEXT, &[], "");
        wait_until("it has got SIGTERM", || files.told.exists());
        // The caller gets the failure at the timeout, not when the process has ended.
        let Err(InvokeError::Function(failure)) = caller.join().unwrap() else {
            panic!("it has timed out")
        };
        assert_eq!(failure.to_string(), "Task timed out after 0.20 seconds");
        runtime.post(&of(&next.id(), "response"), "late").assert_accepted();
        assert!(lives(pid) && extension.has_nothing());
        std::fs::write(&files.may_end, "").unwrap();
        wait_until("it has ended", || !lives(pid));
    });
}

#[test]
fn a_process_that_reports_an_init_error_is_ended_with_the_reason_failure() {
    let (mut served, mut api, pid, mut caller) = served(&[], POLITE);
    register(&mut api);
    api.post("/2018-06-01/runtime/init/error", r#"{"errorType":"T"}"#).assert_accepted();
    assert_eq!(caller.response().status, 502);
    let line = served.line_with("shutdown (failure): ");
    assert!(line.starts_with("SIGTERM; ended after "), "{line}");
    assert!(!lives(pid));
    // The lab starts another process for the next caller.
    let _caller = served.invoke_in_background();
    let (_, again) = served.told();
    assert_ne!(again, pid);
}

#[test]
fn an_answer_between_sigterm_and_the_end_reaches_its_caller() {
    let files = Files::new("answer");
    let lab = script(&files.script()).shutdown_timeout(Duration::from_secs(20)).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let pid = files.pid();
        let mut runtime = Connection::open(lab.runtime_api());
        let _extension = with_extension(&lab.runtime_api());
        let next = runtime.request(NEXT, &[], "");
        let queued = scope.spawn(|| lab.invoke("queued"));
        let began = Instant::now();
        let stop = scope.spawn(|| lab.stop());
        wait_until("it has got SIGTERM", || files.told.exists());
        assert_eq!(queued.join().unwrap().unwrap_err(), InvokeError::Stopped);
        runtime.post(&of(&next.id(), "response"), "out").assert_accepted();
        assert_eq!(caller.join().unwrap().unwrap().body, b"out");
        // There is no further event, and no reply to this while the process runs.
        runtime.send(request(NEXT, &[], ""));
        let mut other = Connection::open(lab.runtime_api());
        assert_eq!(other.request("GET /2018-06-01/ping", &[], "").text(), "pong");
        assert!(runtime.has_nothing() && lives(pid) && !stop.is_finished());
        std::fs::write(&files.may_end, "").unwrap();
        stop.join().unwrap();
        assert!(!lives(pid));
        assert!(began.elapsed() < Duration::from_secs(20));
        assert!(runtime.is_closed() || runtime.response().status == 500);
    });
}

#[test]
fn run_prints_an_answer_that_was_given_before_a_signal_and_exits_with_its_code() {
    let mut command = crate::served::lab();
    let script = format!("{POLITE}; {TELL}{WAIT}");
    let mut child = command.args(["run", "sh", "-c", &script]).spawn().unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("told ") || !seen.ends_with('\n') {
        assert!(std::io::BufRead::read_line(&mut stderr, &mut seen).unwrap() > 0, "{seen}");
    }
    let address = seen.split_once("told ").unwrap().1.split_once(' ').unwrap().0.to_owned();
    let mut runtime = Connection::open(&address);
    let _extension = with_extension(&address);
    let next = runtime.request(NEXT, &[], "");
    runtime.post(&of(&next.id(), "response"), "answered").assert_accepted();
    let pid = child.id().to_string();
    let kill = std::process::Command::new("kill").args(["-s", "INT", &pid]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.stdout, output.status.code()), (b"answered".to_vec(), Some(130)));
}

/// An extension that has asked for its first event.
fn with_extension(address: &str) -> Connection {
    let mut extension = Connection::open(address);
    let name = [("Lambda-Extension-Name", "mine")];
    let registered = extension.request(REGISTER, &name, "{}");
    let id = registered.header("lambda-extension-identifier").unwrap();
    let id = [("Lambda-Extension-Identifier", id)];
    extension.send(request("GET /2020-01-01/extension/event/next", &id, ""));
    extension
}

/// Files by which a process and its test signal each other.
struct Files {
    pid: PathBuf,
    told: PathBuf,
    may_end: PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let file = |what: &str| {
            std::env::temp_dir().join(format!("lambda-lab-{name}-{what}-{}", std::process::id()))
        };
        Self { pid: file("pid"), told: file("told"), may_end: file("may-end") }
    }

    /// Installs a handler for SIGTERM, and then writes its process id. The handler creates `told`,
    /// waits for `may_end`, and exits.
    fn script(&self) -> String {
        let [pid, told, may_end] = [&self.pid, &self.told, &self.may_end].map(|it| it.display());
        let end = format!("touch {told}; while [ ! -e {may_end} ]; do sleep 0.01; done; exit 0");
        format!("trap '{end}' TERM; echo $$ > {pid}; {WAIT}")
    }

    /// Waits until the process handles SIGTERM, and returns its id.
    fn pid(&self) -> u32 {
        let mut pid = None;
        wait_until("it handles SIGTERM", || {
            let read = std::fs::read_to_string(&self.pid).unwrap_or_default();
            pid = read.strip_suffix('\n').and_then(|it| it.parse().ok());
            pid.is_some()
        });
        pid.unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for file in [&self.pid, &self.told, &self.may_end] {
            let _ = std::fs::remove_file(file);
        }
    }
}
