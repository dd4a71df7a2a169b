//! Runtimes that are started by hand, end, and are started again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use lambda_lab::{FailureKind, Function, FunctionFailure, InvokeError, Lab, Output};

use crate::support::{Connection, NEXT, PATIENCE, Response, external, of, request, wait_until};

const REGISTER: &str = "POST /2020-01-01/extension/register";
const EVENT_NEXT: &str = "GET /2020-01-01/extension/event/next";

/// This program as a runtime with an extension; see `serve_with_extension`.
struct Runtime(Child);

impl Runtime {
    fn start(lab: &Lab) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "bootstrap", "--nocapture"]).env("LAB_TEST", "extension");
        command.env("AWS_LAMBDA_RUNTIME_API", lab.runtime_api());
        Self(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until it has got an event that it does not answer.
    fn waits(&mut self) {
        let lines = BufReader::new(self.0.stderr.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "waits"), "it has ended");
    }

    fn id(&self) -> Vec<u8> {
        self.0.id().to_string().into_bytes()
    }
}

/// Kills it.
impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A lab for one invocation at a time, and one for several.
fn labs() -> [Lab; 2] {
    let managed = Function::external().concurrency(2).timeout(PATIENCE).output(Output::Discarded);
    [external(), managed.start().unwrap()]
}

fn register(connection: &mut Connection, name: &str, body: &str) -> Response {
    connection.request(REGISTER, &[("Lambda-Extension-Name", name)], body)
}

/// Registers an extension on a connection of its own, which is closed. Returns the id.
///
/// A process that another test is starting may keep a closed connection open for a moment, and as
/// long as the earlier runtime seems to be there, the registration is refused.
fn registered(lab: &Lab, body: &str) -> String {
    let mut id = None;
    wait_until("the extension is registered", || {
        let response = register(&mut Connection::open(lab.runtime_api()), "mine", body);
        id = response.header("lambda-extension-identifier").map(str::to_owned);
        id.is_some()
    });
    id.unwrap()
}

/// A new connection on which the extension asks for its next event. The lab knows that the
/// extension is there.
fn asked(lab: &Lab, id: &str) -> Connection {
    let mut connection = Connection::open(lab.runtime_api());
    assert_eq!(connection.request("GET /2018-06-01/ping", &[], "").text(), "pong");
    connection.send(request(EVENT_NEXT, &[("Lambda-Extension-Identifier", id)], ""));
    connection
}

/// Answers one event on this connection, and asks for no other.
fn answer(runtime: &mut Connection, text: &str) -> Response {
    let next = runtime.request(NEXT, &[], "");
    runtime.post(&of(&next.id(), "response"), text).assert_accepted();
    next
}

fn failure(result: Result<lambda_lab::Answer, InvokeError>) -> FunctionFailure {
    match result {
        Err(InvokeError::Function(failure)) => failure,
        other => panic!("no failure of the function: {other:?}"),
    }
}

#[track_caller]
fn assert_exit(failure: &FunctionFailure) {
    let reason = format!(
        "Runtime.ExitError: RequestId: {} Error: Runtime exited without providing a reason",
        failure.request_id
    );
    assert_eq!((failure.kind, failure.to_string()), (FailureKind::Exit, reason));
}

#[test]
fn a_runtime_that_was_killed_and_started_again_gets_the_next_event() {
    for lab in labs() {
        let mut runtime = Runtime::start(&lab);
        for _ in 0..3 {
            assert_eq!(lab.invoke_to_the_end("in", |_| ()).unwrap().request_id.len(), 36);
            assert_eq!(lab.invoke("in").unwrap().body, runtime.id());
            drop(runtime);
            runtime = Runtime::start(&lab);
            assert_eq!(lab.invoke("in").unwrap().body, runtime.id());
        }
        drop(runtime);
        thread::scope(|scope| {
            // It waits for the next runtime.
            let caller = scope.spawn(|| lab.invoke("in"));
            let runtime = Runtime::start(&lab);
            assert_eq!(caller.join().unwrap().unwrap().body, runtime.id());
        });
    }
}

#[test]
fn an_invocation_ends_with_the_runtime_that_was_killed() {
    for lab in labs() {
        let mut runtime = Runtime::start(&lab);
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("wait"));
            runtime.waits();
            drop(runtime);
            assert_exit(&failure(caller.join().unwrap()));
        });
        let runtime = Runtime::start(&lab);
        assert_eq!(lab.invoke("in").unwrap().body, runtime.id());
    }
}

#[test]
fn an_invocation_that_the_runtime_had_got_fails_when_a_waiting_call_of_it_is_cut() {
    for lab in labs() {
        let id = registered(&lab, "{}");
        let extension = asked(&lab, &id);
        let mut runtime = Connection::open(lab.runtime_api());
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            runtime.request(NEXT, &[], "").id();
            drop(runtime);
            drop(extension);
            assert_exit(&failure(caller.join().unwrap()));
        });
        // Everything begins again.
        let id = registered(&lab, "{}");
        let _extension = asked(&lab, &id);
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            answer(&mut Connection::open(lab.runtime_api()), "out");
            assert_eq!(caller.join().unwrap().unwrap().body, b"out");
        });
    }
}

#[test]
fn an_answer_that_was_sent_before_the_end_reaches_its_caller() {
    for lab in labs() {
        for _ in 0..50 {
            let id = registered(&lab, "{}");
            let extension = asked(&lab, &id);
            let mut runtime = Connection::open(lab.runtime_api());
            thread::scope(|scope| {
                let caller = scope.spawn(|| lab.invoke("in"));
                let next = runtime.request(NEXT, &[], "");
                runtime.send(request(&format!("POST {}", of(&next.id(), "response")), &[], "out"));
                drop(extension);
                drop(runtime);
                assert_eq!(caller.join().unwrap().unwrap().body, b"out");
            });
        }
    }
}

#[test]
fn an_event_waits_for_the_next_runtime_if_none_has_got_it() {
    for lab in labs() {
        let id = registered(&lab, "{}");
        drop(asked(&lab, &id));
        let mut gone = Connection::open(lab.runtime_api());
        gone.send(request(NEXT, &[], ""));
        drop(gone);
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let id = registered(&lab, "{}");
            let _extension = asked(&lab, &id);
            let next = answer(&mut Connection::open(lab.runtime_api()), "out");
            assert_eq!(
                (next.text().as_str(), caller.join().unwrap().unwrap().text().as_str()),
                ("in", "out")
            );
        });
    }
}

#[test]
fn a_runtime_may_open_a_connection_for_each_request() {
    let lab = external();
    let id = registered(&lab, r#"{"events":["INVOKE"]}"#);
    for _ in 0..5 {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let mut extension = asked(&lab, &id);
            let next = Connection::open(lab.runtime_api()).request(NEXT, &[], "");
            let event = extension.response();
            assert!(event.text().contains(&next.id()), "{}", event.text());
            drop(extension);
            // Now nothing is open but the connection that sends the answer.
            let path = of(&next.id(), "response");
            Connection::open(lab.runtime_api()).post(&path, "out").assert_accepted();
            assert_eq!(caller.join().unwrap().unwrap().body, b"out");
        });
    }
}

#[test]
fn a_name_may_be_registered_again_only_by_another_runtime() {
    for lab in labs() {
        // Each of these runtimes ends before its first `next`.
        for _ in 0..3 {
            registered(&lab, "{}");
        }
        let id = registered(&lab, "{}");
        let _extension = asked(&lab, &id);
        let mut other = Connection::open(lab.runtime_api());
        let taken = register(&mut other, "mine", "{}");
        assert!(taken.text().contains("already registered"), "{}", taken.text());
        let mut runtime = Connection::open(lab.runtime_api());
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let next = runtime.request(NEXT, &[], "");
            for name in ["mine", "late"] {
                let closed = register(&mut other, name, "{}");
                assert!(closed.text().contains("closed already"), "{}", closed.text());
            }
            runtime.post(&of(&next.id(), "response"), "out").assert_accepted();
            assert_eq!(caller.join().unwrap().unwrap().body, b"out");
        });
    }
}

#[test]
fn an_event_whose_runtime_is_not_seen_to_end_goes_to_the_next_one() {
    let lab = external();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        // Nothing tells this from a runtime that works, and opens a connection for its answer.
        let id = Connection::open(lab.runtime_api()).request(NEXT, &[], "").id();
        let next = answer(&mut Connection::open(lab.runtime_api()), "out");
        assert_eq!((next.id(), next.text().as_str()), (id, "in"));
        assert_eq!(caller.join().unwrap().unwrap().body, b"out");
    });
}
