//! Programs that tests start and end by a signal. Each runs the binary of the test itself.

use std::io::Write;
use std::process::ExitStatus;

use lambda_proto_service::program::{self, Signal};
use lambda_proto_service::{Lines, Place};

/// A program under a service; it ends with the test.
pub struct Program {
    program: program::Program,
    /// The lines that it prints.
    pub lines: Lines,
}

impl Program {
    pub fn start(place: &Place, does: &str) -> Self {
        Self::start_with(place, does, &[])
    }

    pub fn start_with(place: &Place, does: &str, variables: &[(&str, &str)]) -> Self {
        let program = program::Program::start(place.address(), does, variables);
        Self { lines: program.lines().clone(), program }
    }

    /// Lets the program continue where it waits for the test.
    pub fn go_on(&mut self) {
        self.program.go_on();
    }

    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Sends SIGTERM and waits until the program has received it.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
        self.lines.wait_for("SIGTERM: no more invocations are taken");
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, Vec<String>) {
        (self.program.end(), self.lines.all())
    }

    /// The same for a program that ends with code 0, after its shutdown hook.
    #[track_caller]
    pub fn ends_well(self) -> Vec<String> {
        let (status, lines) = self.end();
        assert_eq!(status.code(), Some(0), "{lines:?}");
        assert_eq!(count(&lines, "the shutdown hook"), 1, "{lines:?}");
        lines
    }

    /// The same for a program that ends with an error.
    #[track_caller]
    pub fn fails(self) -> Vec<String> {
        let (status, lines) = self.end();
        assert_eq!(status.code(), Some(1), "{lines:?}");
        lines
    }
}

pub fn count(lines: &[String], part: &str) -> usize {
    lines.iter().filter(|line| line.contains(part)).count()
}

/// One line, in one write.
pub fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
