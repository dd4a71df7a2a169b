//! The telemetry of managed instances, beside the sequence that is expected.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::listener::{Listener, Mouth, masked};
use crate::support::{Connection, NEXT, await_process, of, wait_until};
use crate::telemetry_stage::{
    INIT_DONE, INIT_REPORT, INIT_START, READY, SPANS, START, SUBSCRIBED, Stage, report,
};

const SCHEMA: &str = "2025-01-29";
const DURATION: &str = r##""metrics":{"durationMs":"#"}"##;

fn managed(text: &str) -> String {
    text.replace("on-demand", "lambda-managed-instances")
}

/// The events of init.
fn init() -> Vec<String> {
    vec![
        managed(INIT_START).replace("3008", "3154116608"),
        SUBSCRIBED.to_owned(),
        managed(INIT_DONE),
        READY.replace("\"INVOKE\"", ""),
        managed(INIT_REPORT),
    ]
}

fn start() -> String {
    let arn = r#""functionArn":"arn:aws:lambda:us-east-1:012345678912:function:test_function","#;
    START.replace("\"requestId\"", &format!("{arn}\"requestId\""))
}

/// Both spans of an answer.
fn spans() -> String {
    SPANS.replace(r##",{"durationMs":"#","name":"runtimeOverhead","start":"TIME"}"##, "")
}

fn await_reports(listener: &Listener, count: usize) {
    wait_until(&format!("{count} invocations are reported"), || {
        listener.records().iter().filter(|it| it["type"] == "platform.report").count() == count
    });
}

#[test]
fn managed_instances_tell_reports_with_durations_alone_and_errors_as_errors() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab = mouth.function().concurrency(2).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let mut stage = Stage::open(&lab, &mouth, SCHEMA, "[]", &listener);
        stage.extension.asks();
        let event = stage.runtime.request(NEXT, &[], "");
        writeln!(stage.out, "a line").unwrap();
        listener.until("function");
        stage.runtime.post(&of(&event.id(), "response"), "result").assert_accepted();
        caller.join().unwrap().unwrap();
        await_reports(&listener, 1);
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let event = stage.runtime.request(NEXT, &[], "");
        let headers = [("Lambda-Runtime-Function-Error-Type", "Unhandled")];
        let line = format!("POST {}", of(&event.id(), "error"));
        stage.runtime.request(&line, &headers, "{}").assert_accepted();
        caller.join().unwrap().unwrap_err();
        await_reports(&listener, 2);
    });
    let mut expected = init();
    expected.extend([
        start(),
        r#"function {"level":"INFO","message":"a line","timestamp":"TIME"}"#.to_owned(),
        report("success", DURATION, &spans()),
        start(),
        report("error Runtime.Unknown", DURATION, &spans()),
    ]);
    assert_eq!(masked(&listener.records()), expected);
}

#[test]
fn a_crash_on_managed_instances_is_the_error_of_each_invocation_in_flight() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab = mouth.function().concurrency(2).start().unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let mut stage = Stage::open(&lab, &mouth, SCHEMA, "[]", &listener);
        stage.extension.asks();
        stage.runtime.request(NEXT, &[], "");
        let second = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        Connection::open(&stage.api).request(NEXT, &[], "");
        // The process ends when its input does.
        drop(stage.out);
        for caller in [first, second] {
            caller.join().unwrap().unwrap_err();
        }
    });
    await_reports(&listener, 2);
    let crash = report("error Runtime.ExitError", DURATION, "");
    let mut expected = init();
    expected.extend([start(), start(), crash.clone(), crash]);
    assert_eq!(masked(&listener.records()), expected);
}

#[test]
fn a_timeout_on_managed_instances_is_told_with_its_type_and_ends_no_process() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let function = mouth.function().concurrency(2).timeout(Duration::from_millis(700));
    let lab = function.start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let pid = await_process(&lab);
        let mut stage = Stage::open(&lab, &mouth, SCHEMA, "[]", &listener);
        stage.extension.asks();
        stage.runtime.request(NEXT, &[], "");
        caller.join().unwrap().unwrap_err();
        await_reports(&listener, 1);
        assert_eq!(await_process(&lab), pid);
    });
    let mut expected = init();
    expected.extend([start(), report("timeout Sandbox.Timedout", DURATION, "")]);
    assert_eq!(masked(&listener.records()), expected);
}
