//! Programs that tests start and end by a signal. Each runs the binary of the test itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;

use lambda_proto_service::{Lines, Place};

/// A program under a service; it ends with the test.
pub struct Program {
    child: Child,
    input: ChildStdin,
    /// The lines that it prints.
    pub lines: Lines,
}

impl Program {
    pub fn start(place: &Place, does: &str) -> Self {
        Self::start_with(place, does, &[])
    }

    pub fn start_with(place: &Place, does: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "program", "--ignored", "--nocapture"])
            .env("DOES", does)
            .env("AWS_LAMBDA_RUNTIME_API", place.address())
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, said) = (Lines::default(), BufReader::new(child.stderr.take().unwrap()));
        let written = lines.clone();
        thread::spawn(move || {
            said.lines().map_while(Result::ok).for_each(|line| written.push(line));
            written.push(END.to_owned());
        });
        Self { input: child.stdin.take().unwrap(), child, lines }
    }

    /// Lets the program continue where it waits for the test.
    pub fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Sends SIGTERM and waits until the program has received it.
    pub fn terminate(&self) {
        self.signal("TERM");
        self.lines.wait_for("SIGTERM: no more invocations are taken");
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, Vec<String>) {
        self.lines.wait_for(END);
        (self.child.wait().unwrap(), self.lines.all())
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

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _may_be_gone = self.child.kill();
        let _may_be_gone = self.child.wait();
    }
}

const END: &str = "(end of output)";

pub fn count(lines: &[String], part: &str) -> usize {
    lines.iter().filter(|line| line.contains(part)).count()
}

/// One line, in one write.
pub fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
