//! A runtime in its own process: a test binary that runs itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::{Lines, PATIENCE};

/// The variable that says what the program does; without it, the program does nothing.
const BEHAVIOUR: &str = "TEST_BEHAVIOUR";

/// What this process should do, if it is a program.
pub fn behaviour() -> Option<String> {
    std::env::var(BEHAVIOUR).ok()
}

/// Prints a line for the test. Called in the program.
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// Waits for [`Program::go_on`]. Called in the program.
pub fn wait_for_test() {
    let read = std::io::stdin().read_line(&mut String::new());
    assert!(read.expect("a standard input") > 0, "the test has ended");
}

/// The child process, which is killed on drop.
pub struct Program {
    child: Child,
    lines: Lines,
    end: Receiver<()>,
}

impl Program {
    /// Starts the (ignored) test `program` of this binary as the bootstrap of a service at this
    /// address. It inherits no environment variables.
    pub fn start(address: &str, behaviour: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_test("program", address, behaviour, variables)
    }

    /// The same, with an (ignored) test of this name.
    pub fn start_test(
        test: &str,
        address: &str,
        behaviour: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a test binary"))
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env_clear()
            .env(BEHAVIOUR, behaviour)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a test binary starts");
        let stderr = child.stderr.take().expect("it is piped");
        let lines = Lines::default();
        let (ended, end) = channel();
        let pushed = lines.clone();
        thread::spawn(move || {
            // Lines of several threads, which may be mixed up.
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                pushed.push(line);
            }
            drop(ended);
        });
        Self { child, lines, end }
    }

    /// The lines that it prints, including the runtime's own lines.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Whether it has printed this line.
    pub fn has_said(&self, line: &str) -> bool {
        self.lines.all().iter().any(|other| other == line)
    }

    /// Lets a program continue that waits for the test.
    pub fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"go on\n").expect("the program reads");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("it has not been waited for");
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        // Its standard error ends when the process ends.
        let ended = self.end.recv_timeout(PATIENCE);
        assert!(
            matches!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected)),
            "it has not ended: {:?}",
            self.lines.all()
        );
        self.child.wait().expect("it is our child")
    }

    /// Waits until it ends by itself, with code 0.
    #[track_caller]
    pub fn expect_end(&mut self) {
        self.expect_code(0);
    }

    /// Waits until it ends by itself, with this code.
    #[track_caller]
    pub fn expect_code(&mut self, code: i32) {
        let status = self.end();
        assert_eq!(status.code(), Some(code), "{status}: {:?}", self.lines.all());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _may_have_ended = self.child.kill();
        let _ = self.child.wait();
    }
}
