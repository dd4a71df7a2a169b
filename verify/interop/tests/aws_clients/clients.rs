//! The clients as runtimes under the lab.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use lambda_interop::aws_clients;
use lambda_interop::under_lab::{Logged, PATIENCE, Running};
use lambda_lab::{FailureKind, Function, FunctionFailure, InvokeError};
use serde_json::{Value, json};

/// How many invocations each client answers: `AWS_CLIENTS_INVOCATIONS`, or 2,000.
fn invocations() -> usize {
    std::env::var("AWS_CLIENTS_INVOCATIONS").map_or(2_000, |it| it.parse().expect("a number"))
}

/// The largest response: 6 MiB and 100 bytes.
const LARGEST: usize = 6 * 1024 * 1024 + 100;

const CALLERS: usize = 4;

/// How often a test looks for a second worker. With few invocations, or on a busy machine, one of
/// them may answer all.
const ROUNDS: usize = 200;

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws_clients")
}

/// `function.py` on awslambdaric.
fn python(change: impl FnOnce(Function) -> Function) -> Running {
    let folders = aws_clients::python().unwrap();
    let handler = "function.handler";
    let function = Logged::program(Path::new("python3"), &["-m", "awslambdaric", handler]);
    let function = function.with(|it| it.variable("PYTHONPATH", folders).task_root(files()));
    // Otherwise Python would write bytecode next to the sources.
    let function = function.with(|it| it.variable("PYTHONDONTWRITEBYTECODE", "1").handler(handler));
    function.with(|it| change(it.timeout(PATIENCE * 3))).start()
}

/// A function of `function.mjs` on aws-lambda-ric.
fn node(name: &str, change: impl FnOnce(Function) -> Function) -> Running {
    let node = aws_clients::node().unwrap();
    let handler = format!("function.{name}");
    let client = node.client.display().to_string();
    let function = Logged::program(&node.program, &[&client, &handler]);
    let function = function.with(|it| it.task_root(files()).handler(handler));
    function.with(|it| change(it.timeout(PATIENCE * 3))).start()
}

fn as_it_is(function: Function) -> Function {
    function
}

#[track_caller]
fn ask(running: &Running, event: &Value) -> Value {
    let answer = running.lab.invoke(event.to_string()).unwrap_or_else(|error| {
        panic!("{error}\n{}", running.log());
    });
    serde_json::from_slice(&answer.body).expect("the function answers JSON")
}

#[track_caller]
fn fails(running: &Running, event: &Value) -> FunctionFailure {
    match running.lab.invoke(event.to_string()) {
        Err(InvokeError::Function(failure)) => failure,
        other => panic!("{event} gave {other:?}\n{}", running.log()),
    }
}

/// Invokes from several threads. Each caller gets its own answer, and each invocation was handled
/// once. Returns the processes and the threads that answered.
fn none_is_lost_or_crossed(running: &Running, invocations: usize) -> BTreeSet<(u64, u64)> {
    let (ids, workers) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (ids, workers) = (&ids, &workers);
            scope.spawn(move || {
                for number in (caller..invocations).step_by(CALLERS) {
                    let value = json!({ "caller": caller, "number": number, "text": "é🦀" });
                    let event = json!({ "do": "echo", "value": value }).to_string();
                    let answer = running.lab.invoke(event).unwrap_or_else(|error| {
                        panic!("invocation {number}: {error}\n{}", running.log());
                    });
                    let body: Value = serde_json::from_slice(&answer.body).unwrap();
                    assert_eq!(body["value"], value, "crossed");
                    assert_eq!(body["id"], answer.request_id.as_str());
                    assert!(ids.lock().unwrap().insert(answer.request_id), "answered twice");
                    let worker = (body["process"].as_u64(), body["thread"].as_u64());
                    workers.lock().unwrap().insert((worker.0.unwrap(), worker.1.unwrap()));
                }
            });
        }
    });
    assert_eq!(ids.into_inner().unwrap().len(), invocations);
    let log = running.log();
    assert!(!log.contains("lambda_proto:"), "{log}");
    workers.into_inner().unwrap()
}

#[test]
fn awslambdaric_answers_every_invocation_in_one_process() {
    let workers = none_is_lost_or_crossed(&python(as_it_is), invocations());
    assert_eq!(workers.len(), 1, "{workers:?}");
}

#[test]
fn awslambdaric_that_polls_from_new_threads_answers_every_invocation() {
    let running = python(|it| it.variable("AWS_EXECUTION_ENV", "AWS_Lambda_python3.14"));
    let workers = none_is_lost_or_crossed(&running, invocations() / 4);
    assert_eq!(workers.len(), 1, "{workers:?}");
}

#[test]
fn forked_workers_of_awslambdaric_answer_every_invocation() {
    let running = python(|it| it.concurrency(CALLERS));
    let waits = json!({ "do": "wait", "seconds": 0.3 });
    let mut workers = BTreeSet::new();
    for _ in 0..ROUNDS {
        workers.extend(thread::scope(|scope| {
            let waiting = [(); CALLERS].map(|()| scope.spawn(|| ask(&running, &waits)));
            waiting.map(|it| it.join().unwrap().as_u64().unwrap())
        }));
        if workers.len() > 1 {
            break;
        }
    }
    assert!(workers.len() > 1, "one process: {workers:?}");
    none_is_lost_or_crossed(&running, invocations());
}

#[test]
fn aws_lambda_ric_answers_every_invocation_in_one_process() {
    let workers = none_is_lost_or_crossed(&node("handler", as_it_is), invocations());
    assert_eq!(workers.len(), 1, "{workers:?}");
}

#[test]
fn worker_threads_of_aws_lambda_ric_answer_every_invocation() {
    let running = node("handler", |it| {
        it.concurrency(CALLERS).variable("AWS_LAMBDA_NODEJS_WORKER_COUNT", "2")
    });
    let mut workers = none_is_lost_or_crossed(&running, invocations());
    for _ in 0..ROUNDS {
        if workers.len() > 1 {
            break;
        }
        workers.extend(none_is_lost_or_crossed(&running, CALLERS));
    }
    let processes: BTreeSet<_> = workers.iter().map(|(process, _)| process).collect();
    assert_eq!(processes.len(), 1, "{workers:?}");
    assert_eq!(workers.len(), 2, "{workers:?}");
}

#[test]
fn aws_lambda_ric_streams_beside_the_client() {
    let running = node("stream", as_it_is);
    for number in 0..200 {
        let mut body = Vec::new();
        let event = json!({ "value": number }).to_string();
        let answer = running.lab.invoke_streaming(event, |piece| body.extend_from_slice(piece));
        let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", running.log()));
        assert_eq!(answer.content_type.as_deref(), Some("text/plain"));
        assert_eq!(String::from_utf8(body).unwrap(), format!("one\n{number}\n"));
    }
    let log = running.log();
    assert!(!log.contains("lambda_proto:"), "{log}");
}

/// What both clients do with errors, and with the largest events and answers.
fn reports_errors_and_carries_large_bodies(running: &Running, trace: &str) {
    let failure = fails(running, &json!({ "do": "raise", "message": "the pump is dry: é" }));
    let error: Value = serde_json::from_slice(&failure.body).unwrap();
    assert_eq!(error["errorType"], "Dry");
    assert_eq!(error["errorMessage"], "the pump is dry: é");
    // The report arrives as the client has written it.
    assert!(error[trace].is_array(), "{error}");

    let frame = json!({ "do": "echo", "value": "" }).to_string();
    let text = "e".repeat(LARGEST / 2 - frame.len());
    let answer = ask(running, &json!({ "do": "echo", "value": text }));
    assert!(answer["value"].as_str() == Some(&text));
    let answer = json!({ "do": "answer", "bytes": LARGEST - 2 }).to_string();
    assert_eq!(running.lab.invoke(answer).unwrap().body.len(), LARGEST);
    let failure = fails(running, &json!({ "do": "answer", "bytes": LARGEST - 1 }));
    assert_eq!(failure.kind, FailureKind::AnswerTooLarge, "{}", running.log());
    ask(running, &json!({ "do": "echo", "value": 1 }));
}

#[test]
fn awslambdaric_reports_errors_and_carries_large_bodies() {
    let running = python(as_it_is);
    reports_errors_and_carries_large_bodies(&running, "stackTrace");
    let failure = fails(&running, &json!({ "do": "raise", "message": "m" }));
    let error: Value = serde_json::from_slice(&failure.body).unwrap();
    assert_eq!(error["requestId"], failure.request_id.as_str());
}

#[test]
fn aws_lambda_ric_reports_errors_and_carries_large_bodies() {
    reports_errors_and_carries_large_bodies(&node("handler", as_it_is), "trace");
}

/// The names of the libraries that a program needs.
fn needs(library: &Path) -> String {
    let output = Command::new("ldd").arg(library).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn neither_client_contains_curl() {
    let python = aws_clients::python_module(&aws_clients::python_folder().unwrap()).unwrap();
    let node = aws_clients::node().unwrap().client.with_file_name("rapid-client.node");
    for module in [python, node] {
        assert!(!needs(&module).contains("curl"), "{}", module.display());
        let bytes = fs::read(&module).unwrap();
        let has = |text: &[u8]| bytes.windows(text.len()).any(|it| it == text);
        assert!(has(b"lambda-proto/") && !has(b"libcurl"), "{}", module.display());
    }
}
