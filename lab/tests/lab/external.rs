//! External extensions and runtimes for tests: their processes are scripts, which only wait, and
//! their calls are made by the test.

use std::fs;
use std::path::PathBuf;

use lambda_lab::{Function, Lab, Output};
use tempfile::TempDir;

use crate::program_files::write_program;
use crate::support::{Connection, NEXT, PATIENCE, Response, of, request, wait_until};

pub(crate) const REGISTER: &str = "POST /2020-01-01/extension/register";
pub(crate) const EVENT_NEXT: &str = "GET /2020-01-01/extension/event/next";
pub(crate) const ID: &str = "Lambda-Extension-Identifier";

/// Waits until it is killed.
pub(crate) const WAIT: &str = "exec sleep 1000";

/// Waits until the test [ends](Scripts::end) it, with exit status 7.
pub(crate) const UNTIL_END: &str =
    "while [ ! -e \"$0.end\" ]; do sleep 0.01; done; rm \"$0.end\"; exit 7";

/// Ignores SIGTERM.
pub(crate) const DEAF: &str = "trap '' TERM; while :; do sleep 0.01; done";

/// Ends on SIGTERM, but not before the test [ends](Scripts::end) it. The file `told` says that it
/// has got the signal.
pub(crate) const POLITE: &str = "trap 'touch \"$0.told\"; while [ ! -e \"$0.end\" ]; do \
                                 sleep 0.01; done; exit 0' TERM; while :; do sleep 0.01; done";

/// Scripts in a folder of their own.
pub(crate) struct Scripts(TempDir);

impl Scripts {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A script that writes that it has started, and then does this.
    pub(crate) fn add(&self, name: &str, then: &str) -> PathBuf {
        let file = self.file(name);
        let new = self.file(&format!("{name}.new"));
        let tell = "echo $AWS_LAMBDA_RUNTIME_API $$ >> \"$0.starts\"";
        write_program(&new, &format!("#!/bin/sh\n{tell}\n{then}\n"), "755");
        fs::rename(new, &file).unwrap();
        file
    }

    /// A function whose runtime is played by the test, with extensions that wait.
    pub(crate) fn function(&self, extensions: &[&str]) -> Function {
        let runtime = Function::new(self.add("bootstrap", WAIT));
        let function = runtime.timeout(PATIENCE).output(Output::Discarded);
        let extensions = extensions.iter().map(|name| self.add(name, WAIT));
        extensions.fold(function, Function::extension)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Whether a script has made this file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// Ends a script that waits for that.
    pub(crate) fn end(&self, name: &str) {
        fs::write(self.file(&format!("{name}.end")), "").unwrap();
    }

    /// The address of the Runtime API and the process id of each start of a script so far.
    pub(crate) fn starts(&self, name: &str) -> Vec<(String, u32)> {
        let starts = fs::read_to_string(self.file(&format!("{name}.starts"))).unwrap_or_default();
        let lines = starts.split_inclusive('\n').filter_map(|it| it.strip_suffix('\n'));
        let starts = lines.map(|line| {
            let (api, pid) = line.split_once(' ').unwrap();
            (api.to_owned(), pid.parse().unwrap())
        });
        starts.collect()
    }

    /// Waits until a script has been started as often as that. Returns the address of the Runtime
    /// API and the process id.
    #[track_caller]
    pub(crate) fn start(&self, name: &str, number: usize) -> (String, u32) {
        wait_until(&format!("{name} has been started {number} times"), || {
            self.starts(name).len() >= number
        });
        self.starts(name)[number - 1].clone()
    }

    /// The id of the process of a script that has been started once.
    #[track_caller]
    pub(crate) fn pid(&self, name: &str) -> u32 {
        self.start(name, 1).1
    }
}

/// An external extension that the test plays.
pub(crate) struct Played {
    pub(crate) id: String,
    pub(crate) next: Connection,
}

impl Played {
    /// Registers the extension of this name, whose script runs, for these events.
    #[track_caller]
    pub(crate) fn register(api: &str, name: &str, events: &str) -> Self {
        let registered = register(api, name, &format!(r#"{{"events":{events}}}"#));
        assert_eq!(registered.status, 200, "{}", registered.text());
        let id = registered.header("lambda-extension-identifier").unwrap().to_owned();
        Self { id, next: Connection::open(api) }
    }

    /// Asks for an event.
    pub(crate) fn ask(&mut self) {
        self.next.send(request(EVENT_NEXT, &[(ID, &self.id)], ""));
    }

    /// Registers, and asks for the first event.
    #[track_caller]
    pub(crate) fn ready(api: &str, name: &str, events: &str) -> Self {
        let mut played = Self::register(api, name, events);
        played.ask();
        played
    }

    #[track_caller]
    pub(crate) fn event(&mut self) -> Response {
        let event = self.next.response();
        assert_eq!(event.status, 200, "{}", event.text());
        event
    }

    /// The reason of a shutdown, and its deadline.
    #[track_caller]
    pub(crate) fn shutdown(&mut self) -> (String, u64) {
        let event = self.event();
        let text = event.text();
        let rest = text.strip_prefix(r#"{"eventType":"SHUTDOWN","deadlineMs":"#).expect(&text);
        let (deadline, rest) = rest.split_once(r#","shutdownReason":""#).expect(&text);
        (rest.strip_suffix(r#""}"#).expect(&text).to_owned(), deadline.parse().unwrap())
    }
}

pub(crate) fn register(api: &str, name: &str, body: &str) -> Response {
    Connection::open(api).request(REGISTER, &[("Lambda-Extension-Name", name)], body)
}

/// Answers the event, and asks for the next one.
pub(crate) fn respond(runtime: &mut Connection) -> Response {
    let event = runtime.response();
    runtime.post(&of(&event.id(), "response"), &event.body).assert_accepted();
    runtime.send(request(NEXT, &[], ""));
    event
}

/// A runtime that has asked for its first event.
pub(crate) fn runtime(api: &str) -> Connection {
    let mut runtime = Connection::open(api);
    runtime.send(request(NEXT, &[], ""));
    runtime
}

/// Waits for a reply. By then, the lab has most likely read what other connections sent before.
pub(crate) fn ping(api: &str) {
    assert_eq!(Connection::open(api).request("GET /2018-06-01/ping", &[], "").text(), "pong");
}

/// The failure of an invocation: its error type, and its message without the request id.
#[track_caller]
pub(crate) fn failure(lab: &Lab, event: &str) -> (String, String) {
    let error = lab.invoke(event).unwrap_err();
    let lambda_lab::InvokeError::Function(failure) = error else { panic!("{error:?}") };
    // That of a timeout is plain text.
    let message = failure.error_message().unwrap_or_else(|| failure.to_string());
    let start = format!("RequestId: {} Error: ", failure.request_id);
    let message = message.strip_prefix(&start).unwrap_or(&message).to_owned();
    (failure.error_type().unwrap_or_default(), message)
}
