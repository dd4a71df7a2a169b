//! Tests the claims of `docs/async-work.md` about work that outlives the answer, with its examples
//! under the lab, which stops their processes.
//!
//! Work of ten minutes stands for unfinished work: no test waits for its end.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lambda_interop::under_lab::{Logged, PATIENCE};
use lambda_lab::{Function, InvokeError, Output};
use lambda_proto_service::Service;
use lambda_proto_std::{Endpoint, Runtime};

const TEN_MINUTES: &str = "600000";

fn frozen(name: &str, arguments: &[&str]) -> Logged {
    Logged::example(name, arguments).with(Function::freeze)
}

#[test]
fn work_finished_before_the_answer_is_done_when_the_caller_has_it() {
    let running = frozen("post_response", &["first", "100"]).start();
    for _ in 0..2 {
        let answer = running.lab.invoke("{}").unwrap();
        running.line_with(&[&answer.request_id, "the work ends before the answer"]);
        running.wait_for_freeze();
    }
}

#[test]
fn drained_work_keeps_the_process_running_but_not_the_caller_waiting() {
    let running = frozen("post_response", &["drain", TEN_MINUTES]).start();
    running.lab.invoke("{}").unwrap();
    assert!(!running.is_frozen());
    assert_eq!(running.find(&["the work ends"]), None, "{}", running.log());
}

#[test]
fn the_next_invocation_begins_when_drained_work_is_done() {
    let running = frozen("post_response", &["drain", "100"]).start();
    let first = running.lab.invoke("{}").unwrap().request_id;
    // The lab sends it when the runtime asks.
    running.lab.invoke("{}").unwrap();
    running.line_with(&[&first, "the work ends"]);
}

#[test]
fn a_caller_receives_the_start_of_a_stream_while_the_function_is_writing() {
    let running = frozen("stream", &[]).start();
    let (mut text, mut was_frozen) = (String::new(), None);
    let broken = running.lab.invoke_streaming("600", |piece| {
        text.push_str(&String::from_utf8_lossy(piece));
        if text.contains("line 1\n") {
            was_frozen.get_or_insert_with(|| running.is_frozen());
            running.lab.stop();
        }
    });
    assert!(broken.is_err());
    assert_eq!(was_frozen, Some(false));
    assert!(!text.contains("line 600\n"), "{text}");
}

#[test]
fn a_process_is_frozen_when_its_stream_has_ended() {
    let running = frozen("stream", &[]).start();
    let answer = running.lab.invoke("2").unwrap();
    assert!(answer.text().ends_with("line 1\nline 2\n"), "{}", answer.text());
    running.wait_for_freeze();
}

#[test]
fn an_extension_ends_its_work_before_the_process_is_frozen() {
    let running = frozen("internal_extension", &["100"]).start();
    for _ in 0..2 {
        let id = running.invoke();
        // By now both the runtime and the extension have asked for the next event.
        running.line_with(&[&id, "the work ends"]);
        running.wait_for_freeze();
    }
}

#[test]
fn work_in_an_extension_keeps_the_process_running_but_not_the_caller_waiting() {
    let running = frozen("internal_extension", &[TEN_MINUTES]).start();
    assert_eq!(running.lab.invoke("{}").unwrap().text(), "answered");
    assert!(!running.is_frozen());
    assert_eq!(running.find(&["the work ends"]), None, "{}", running.log());
}

#[test]
fn an_extension_gets_the_event_of_an_invocation_that_fails() {
    let running = frozen("internal_extension", &["100"]).start();
    let error = running.lab.invoke_to_the_end("fail", |_| ()).unwrap_err();
    assert!(error.to_string().contains("the event wants it"), "{error}");
    running.wait_for_freeze();
    let id = running.invoke();
    running.line_with(&[&id, "the work ends"]);
}

#[test]
fn a_timeout_ends_the_work_of_an_extension_after_the_answer() {
    let running = frozen("internal_extension", &[TEN_MINUTES]);
    // Long enough for an answer, however busy the machine is.
    let running = running.with(|it| it.timeout(Duration::from_secs(5))).start();
    let mut answer = Vec::new();
    running.lab.invoke_to_the_end("{}", |piece| answer.extend_from_slice(piece)).unwrap();
    assert_eq!(answer, b"answered");
    assert_eq!(running.find(&["the work ends"]), None, "{}", running.log());
    // A new process serves this one: the old one's extension never asked for the next event.
    running.lab.invoke("{}").unwrap();
}

#[test]
fn managed_instances_refuse_an_internal_extension_with_events() {
    let function = Logged::example("internal_extension", &[]).with(|it| it.concurrency(2));
    let running = function.start();
    let error = running.lab.invoke("{}").unwrap_err();
    let InvokeError::Function(failure) = &error else { panic!("{error}") };
    assert!(failure.to_string().contains("No events allowed for internal extensions"), "{error}");
}

#[test]
fn handed_over_work_is_done_while_the_first_process_is_frozen() {
    let other = Function::external().output(Output::Discarded).start().unwrap();
    let running = frozen("hand_over", &["front", &other.address().to_string()]).start();
    let runtime = Runtime::new(Endpoint::parse(&other.runtime_api()).unwrap()).log(|_| ());
    let (go, gone) = mpsc::channel();
    let (done, is_done) = mpsc::channel();
    // This thread ends with the test program.
    thread::spawn(move || {
        runtime.run_mut(|invocation, responder| {
            gone.recv()?;
            done.send(String::from_utf8(invocation.body().to_vec())?)?;
            Ok(responder.send("done"))
        })
    });
    assert_eq!(running.lab.invoke("17").unwrap().text(), "accepted");
    running.wait_for_freeze();
    go.send(()).unwrap();
    assert_eq!(is_done.recv_timeout(PATIENCE).unwrap(), "17");
    // It has not been invoked since.
    assert!(running.is_frozen());
}

#[test]
fn work_handed_over_twice_is_done_once() {
    let worker = frozen("hand_over", &["worker", "100"]).start();
    let front = frozen("hand_over", &["front", &worker.lab.address().to_string()]).start();
    for _ in 0..2 {
        assert_eq!(front.lab.invoke("17").unwrap().text(), "accepted");
    }
    worker.wait_for(&["17 was done before and is skipped"]);
    assert_eq!(worker.log().matches("17 is done").count(), 1, "{}", worker.log());
    assert_eq!(front.log(), "");
    front.wait_for_freeze();
    worker.wait_for_freeze();
}

#[test]
fn a_refused_handover_is_reported_to_the_caller() {
    let service = Service::start();
    let address = service.address();
    // Building the example may take longer than the service waits.
    let running = frozen("hand_over", &["front", &address]).start();
    let refusing = thread::spawn(move || {
        let mut connection = service.connection();
        assert_eq!(connection.request().body, b"order 1");
        connection.answer(429, "", "");
    });
    let error = running.lab.invoke("order 1").unwrap_err().to_string();
    assert!(error.contains(&format!("the worker at {address} was not invoked")), "{error}");
    assert!(error.contains("429"), "{error}");
    refusing.join().unwrap();
}

#[test]
fn abandoned_work_is_lost_with_its_environment() {
    let running = frozen("post_response", &["abandon", TEN_MINUTES]).start();
    running.invoke();
    running.wait_for_freeze();
    running.lab.stop();
    assert_eq!(running.find(&["the work ends"]), None, "{}", running.log());
}
