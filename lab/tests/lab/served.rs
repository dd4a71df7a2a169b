//! `lambda-lab serve` as a child process of a test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::support::{Connection, event};

pub(crate) fn lab() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lambda-lab"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `lambda-lab` with these options and the bootstrap of the tests. Events that are not JSON become
/// JSON strings.
pub(crate) fn with_bootstrap(command: &str, options: &[&str]) -> Command {
    let mut lab = lab();
    lab.arg(command);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        lab.arg(option);
        if *option == "--event" {
            let text = options.next().expect("an event");
            lab.arg(if text.starts_with('@') { (*text).to_owned() } else { event(text) });
        }
    }
    lab.arg(std::env::current_exe().unwrap()).args(["--exact", "bootstrap", "--nocapture"]);
    lab
}

/// `lambda-lab serve` with a script as the function, and the address that it prints.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// The address of the Runtime API, once [`told`](Self::told) has read it.
    pub(crate) api: String,
    pub(crate) stderr: BufReader<std::process::ChildStderr>,
    /// The lines that were printed before the address.
    before: Vec<String>,
}

impl Served {
    pub(crate) fn start(options: &[&str], script: &str) -> Self {
        let mut command = lab();
        command.args(["serve", "--port", "0"]).args(options);
        if !script.is_empty() {
            command.args(["sh", "-c", script]);
        }
        Self::of(&mut command)
    }

    /// The `serve` that this command starts, with its standard error in a pipe.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (mut before, mut line) = (Vec::new(), String::new());
        while !line.contains("curl ") {
            before.push(std::mem::take(&mut line));
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it has ended");
        }
        let url = line.split_once("http://").expect("a URL").1;
        let address = url.split('/').next().unwrap().to_owned();
        assert_eq!(url, format!("{address}/2015-03-31/functions/function/invocations\n"));
        Self { child, address, api: String::new(), stderr, before }
    }

    pub(crate) fn invoke_in_background(&self) -> Connection {
        self.invoke("{}")
    }

    /// Posts an event, as JSON, without waiting for the answer.
    pub(crate) fn invoke(&self, event: &str) -> Connection {
        let mut caller = Connection::open(&self.address);
        let line = "POST /2015-03-31/functions/function/invocations";
        caller.send(crate::support::request(line, &[], crate::support::event(event)));
        caller
    }

    /// Waits for a line that contains this text, and returns what follows the text.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let mut seen = String::new();
        let mut before = std::mem::take(&mut self.before).into_iter();
        loop {
            let line = before.next().unwrap_or_else(|| {
                let mut line = String::new();
                assert!(self.stderr.read_line(&mut line).unwrap() > 0, "no {text}: {seen}");
                line
            });
            if let Some((_, rest)) = line.split_once(text) {
                self.before = before.collect();
                return rest.trim_end_matches('\n').to_owned();
            }
            seen.push_str(&line);
        }
    }

    /// A connection to the Runtime API of the function, and the id of its process, both from the
    /// line that [`TELL`] prints.
    pub(crate) fn told(&mut self) -> (Connection, u32) {
        let told = self.line_with("told ");
        let (address, pid) = told.split_once(' ').unwrap();
        self.api = address.to_owned();
        (Connection::open(address), pid.parse().unwrap())
    }

    /// The lines before the address that have not been read yet.
    pub(crate) fn before(&self) -> String {
        self.before.concat()
    }

    /// Everything that the program still prints until it ends.
    pub(crate) fn rest(mut self) -> String {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap();
        rest
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

/// The part of a script that prints what [`Served::told`] reads.
pub(crate) const TELL: &str = "echo told $AWS_LAMBDA_RUNTIME_API $$ >&2; ";

/// Ends the program even if the test fails.
impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
