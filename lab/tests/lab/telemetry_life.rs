//! The whole telemetry of an environment's life, beside the sequence that is expected.

use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::Duration;

use lambda_lab::{Event, Function, Lab};
use serde_json::Value;

use crate::listener::{Extension, LOGS, Listener, Mouth, document, masked};
use crate::support::{
    Connection, NEXT, Response, await_process, is_stopped, of, request, wait_until,
};

const SCHEMA: &str = "2022-12-13";
const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

const INIT_START: &str = r#"platform.initStart {"functionName":"test_function","functionVersion":"$LATEST","initializationType":"on-demand","instanceId":"$LATEST","instanceMaxMemory":3008,"phase":"init"}"#;
const SUBSCRIBED: &str = r#"platform.telemetrySubscription {"name":"mine","state":"Subscribed","types":["platform","function","extension"]}"#;
const INIT_DONE: &str = r#"platform.initRuntimeDone {"initializationType":"on-demand","phase":"init","status":"success"}"#;
const READY: &str = r#"platform.extension {"events":["INVOKE"],"name":"mine","state":"Ready"}"#;
const INIT_REPORT: &str = r##"platform.initReport {"initializationType":"on-demand","metrics":{"durationMs":"#"},"phase":"init","status":"success"}"##;
const START: &str = r#"platform.start {"requestId":"ID","tracing":{"type":"X-Amzn-Trace-Id","value":"TRACE"},"version":"$LATEST"}"#;
const TRACING: &str = r#""tracing":{"type":"X-Amzn-Trace-Id","value":"TRACE"}"#;
const SPANS: &str = r##""spans":[{"durationMs":"#","name":"responseLatency","start":"TIME"},{"durationMs":"#","name":"responseDuration","start":"TIME"},{"durationMs":"#","name":"runtimeOverhead","start":"TIME"}]"##;
const OVERHEAD: &str =
    r##""spans":[{"durationMs":"#","name":"extensionOverhead","start":"TIME"}]"##;

/// The metrics of a report, with another duration before those of the memory, if it has one.
fn metrics(other: &str) -> String {
    let (init, restore) = match other {
        "" => (String::new(), String::new()),
        "initDurationMs" => (r##""initDurationMs":"#","##.to_owned(), String::new()),
        other => (String::new(), format!(r##","{other}":"#""##)),
    };
    format!(
        r##""metrics":{{"billedDurationMs":"#","durationMs":"#",{init}"maxMemoryUsedMB":"#","memorySizeMB":3008{restore}}}"##
    )
}

fn runtime_done(status: &str, produced: u64, spans: &str) -> String {
    let (error, status) = match status.split_once(' ') {
        Some((status, error)) => (format!("\"errorType\":\"{error}\","), status),
        None => (String::new(), status),
    };
    let spans = if spans.is_empty() { String::new() } else { format!("{spans},") };
    format!(
        r##"platform.runtimeDone {{{error}"metrics":{{"durationMs":"#","producedBytes":{produced}}},"requestId":"ID",{spans}"status":"{status}",{TRACING}}}"##
    )
}

fn report(status: &str, metrics: &str, spans: &str) -> String {
    let (error, status) = match status.split_once(' ') {
        Some((status, error)) => (format!("\"errorType\":\"{error}\","), status),
        None => (String::new(), status),
    };
    let spans = if spans.is_empty() { String::new() } else { format!("{spans},") };
    format!(
        r#"platform.report {{{error}{metrics},"requestId":"ID",{spans}"status":"{status}",{TRACING}}}"#
    )
}

#[track_caller]
fn assert_sequence(records: &[Value], expected: &[&str]) {
    let seen = masked(records);
    for (number, pair) in expected.iter().zip(&seen).enumerate() {
        assert_eq!(pair.1, pair.0, "the event {number} of {seen:#?}");
    }
    assert_eq!(seen.len(), expected.len(), "{seen:#?}");
}

/// A function whose parts the test plays, when its process has started for an invocation, and its
/// extension has subscribed.
struct Stage {
    api: String,
    out: File,
    runtime: Connection,
    extension: Extension,
}

impl Stage {
    fn open(lab: &Lab, mouth: &Mouth, schema: &str, events: &str, listener: &Listener) -> Self {
        await_process(lab);
        let out = mouth.open();
        let api = lab.runtime_api();
        let extension = Extension::register(&api, "mine", events);
        extension.listens(schema, listener);
        let runtime = Connection::open(&api);
        Self { api, out, runtime, extension }
    }

    /// Both ask for their first event.
    fn is_ready(&mut self) -> Response {
        self.extension.asks();
        self.runtime.send(request(NEXT, &[], ""));
        self.extension.event();
        self.runtime.response()
    }

    /// Both ask again.
    fn is_done(&mut self) {
        self.runtime.send(request(NEXT, &[], ""));
        self.extension.asks();
    }

    /// Writes a line, and waits until it is delivered.
    fn says(&mut self, line: &str, listener: &Listener) {
        writeln!(self.out, "{line}").unwrap();
        listener.until_line(line);
    }
}

fn on_stage(
    function: impl FnOnce(Function) -> Function,
    play: impl FnOnce(&mut Stage, &Listener),
) -> (Vec<Value>, Lab) {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab = function(mouth.function()).start().unwrap();
    let records = thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end(Event::new("in"), |_| ()));
        let mut stage = Stage::open(&lab, &mouth, SCHEMA, r#"["INVOKE"]"#, &listener);
        play(&mut stage, &listener);
        let _ = caller.join().unwrap();
        listener.until("platform.report")
    });
    (records, lab)
}

#[test]
fn a_success_from_init_to_its_report() {
    let (records, _lab) = on_stage(
        |function| function,
        |stage, listener| {
            stage.says("during init", listener);
            let event = stage.is_ready();
            stage.says("during the invocation", listener);
            stage.runtime.post(&of(&event.id(), "response"), "result").assert_accepted();
            stage.is_done();
        },
    );
    assert_sequence(
        &records,
        &[
            INIT_START,
            SUBSCRIBED,
            r#"function "during init""#,
            INIT_DONE,
            READY,
            INIT_REPORT,
            START,
            r#"function "during the invocation""#,
            &runtime_done("success", 6, SPANS),
            &report("success", &metrics("initDurationMs"), OVERHEAD),
        ],
    );
}

#[test]
fn an_error_that_the_function_reports_is_a_success_of_the_runtime() {
    let (records, _lab) = on_stage(
        |function| function,
        |stage, _| {
            let event = stage.is_ready();
            let failure = r#"{"errorType":"Function.Told","errorMessage":"m"}"#;
            stage.runtime.post(&of(&event.id(), "error"), failure).assert_accepted();
            stage.is_done();
        },
    );
    let done = runtime_done("success", 0, SPANS);
    let report = report("success", &metrics("initDurationMs"), OVERHEAD);
    assert_sequence(
        &records,
        &[INIT_START, SUBSCRIBED, INIT_DONE, READY, INIT_REPORT, START, &done, &report],
    );
}

#[test]
fn a_timeout_is_told_before_the_processes_end() {
    let (records, _lab) = on_stage(
        |function| function.timeout(Duration::from_millis(700)),
        |stage, _| {
            stage.is_ready();
        },
    );
    let done = runtime_done("timeout", 0, "");
    let report = report("timeout", &metrics("initDurationMs"), "");
    assert_sequence(
        &records,
        &[INIT_START, SUBSCRIBED, INIT_DONE, READY, INIT_REPORT, START, &done, &report],
    );
}

#[test]
fn a_crash_is_an_error_of_the_runtime() {
    let (records, _lab) = on_stage(
        |function| function,
        |stage, _| {
            stage.is_ready();
            // The process ends when its input does.
            stage.out = File::create("/dev/null").unwrap();
        },
    );
    let done = runtime_done("error Runtime.ExitError", 0, "");
    let report = report("error Runtime.ExitError", &metrics("initDurationMs"), "");
    assert_sequence(
        &records,
        &[INIT_START, SUBSCRIBED, INIT_DONE, READY, INIT_REPORT, START, &done, &report],
    );
}

#[test]
fn an_init_that_fails_is_told_with_the_type_of_its_error() {
    let (records, _lab) = on_stage(
        |function| function,
        |stage, _| {
            let failure = r#"{"errorType":"Runtime.NoSuchHandler","errorMessage":"m"}"#;
            stage.runtime.post(INIT_ERROR, failure).assert_accepted();
        },
    );
    let failed = r#""errorType":"Runtime.NoSuchHandler","initializationType":"on-demand","#;
    assert_sequence(
        &records,
        &[
            INIT_START,
            SUBSCRIBED,
            &format!(r#"platform.initRuntimeDone {{{failed}"phase":"init","status":"error"}}"#),
            &READY.replace("Ready", "Registered"),
            &format!(
                r##"platform.initReport {{{failed}"metrics":{{"durationMs":"#"}},"phase":"init","status":"error"}}"##
            ),
            START,
            &runtime_done("error Runtime.NoSuchHandler", 0, ""),
            &report("error Runtime.NoSuchHandler", &metrics(""), ""),
        ],
    );
}

#[test]
fn an_init_that_takes_too_long_is_told_and_so_is_the_one_that_repeats_it() {
    let (mouth, first, second) = (Mouth::new(), Listener::start(), Listener::start());
    let lab = mouth.function().init_timeout(Duration::from_secs(2)).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let pid = await_process(&lab);
        let api = lab.runtime_api();
        Extension::register(&api, "mine", r#"["INVOKE"]"#).listens(SCHEMA, &first);
        let timeout = "\"phase\":\"init\",\"status\":\"timeout\"}";
        assert_sequence(
            &first.until("platform.initReport"),
            &[
                INIT_START,
                SUBSCRIBED,
                &format!(
                    r#"platform.initRuntimeDone {{"initializationType":"on-demand",{timeout}"#
                ),
                &READY.replace("Ready", "Registered"),
                &format!(
                    r##"platform.initReport {{"initializationType":"on-demand","metrics":{{"durationMs":"#"}},{timeout}"##
                ),
            ],
        );
        wait_until("another process runs", || await_process(&lab) != pid);
        let mut stage = Stage::open(&lab, &mouth, SCHEMA, r#"["INVOKE"]"#, &second);
        let event = stage.is_ready();
        stage.runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        stage.is_done();
        caller.join().unwrap().unwrap();
        let again = |text: &str| text.replace("\"phase\":\"init\"", "\"phase\":\"invoke\"");
        assert_sequence(
            &second.until("platform.report"),
            &[
                &again(INIT_START),
                SUBSCRIBED,
                &again(INIT_DONE),
                READY,
                &again(INIT_REPORT),
                START,
                &runtime_done("success", 0, SPANS),
                &report("success", &metrics(""), OVERHEAD),
            ],
        );
    });
}

#[test]
fn a_snapshot_has_an_init_of_its_own_and_its_restore_is_told() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab = mouth.function().snapstart().start().unwrap();
    let pid = await_process(&lab);
    let mut stage = Stage::open(&lab, &mouth, SCHEMA, r#"["INVOKE"]"#, &listener);
    stage.extension.asks();
    stage.runtime.send(request("GET /2018-06-01/runtime/restore/next", &[], ""));
    wait_until("the process is stopped", || is_stopped(pid));
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        assert_eq!(stage.runtime.response().status, 200);
        // All connections were cut.
        stage.runtime = Connection::open(&stage.api);
        stage.extension.played.next = Connection::open(&stage.api);
        let event = stage.is_ready();
        stage.runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        stage.is_done();
        caller.join().unwrap().unwrap();
    });
    let snapstart = |text: &str| {
        let text = text.replace("on-demand", "snap-start");
        text.replace("\"phase\":\"init\"", "\"phase\":\"snap-start\"")
    };
    let restored =
        r#"{"functionName":"test_function","functionVersion":"$LATEST","instanceMaxMemory":3008}"#;
    assert_sequence(
        &listener.until("platform.report"),
        &[
            &snapstart(INIT_START).replace(r#""instanceId":"$LATEST","#, ""),
            SUBSCRIBED,
            &snapstart(INIT_DONE),
            READY,
            &snapstart(INIT_REPORT),
            &format!("platform.restoreStart {restored}"),
            r#"platform.restoreRuntimeDone {"status":"success"}"#,
            r##"platform.restoreReport {"metrics":{"durationMs":"#"},"status":"success"}"##,
            START,
            &runtime_done("success", 0, SPANS),
            &report("success", &metrics("restoreDurationMs"), OVERHEAD),
        ],
    );
}

#[test]
fn managed_instances_tell_reports_with_durations_alone_and_errors_as_errors() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab = mouth.function().concurrency(2).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let mut stage = Stage::open(&lab, &mouth, "2025-01-29", "[]", &listener);
        stage.extension.asks();
        let event = stage.runtime.request(NEXT, &[], "");
        writeln!(stage.out, "a line").unwrap();
        listener.until("function");
        stage.runtime.post(&of(&event.id(), "response"), "result").assert_accepted();
        caller.join().unwrap().unwrap();
        listener.until("platform.report");
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let event = stage.runtime.request(NEXT, &[], "");
        let headers = [("Lambda-Runtime-Function-Error-Type", "Unhandled")];
        let line = format!("POST {}", of(&event.id(), "error"));
        stage.runtime.request(&line, &headers, "{}").assert_accepted();
        caller.join().unwrap().unwrap_err();
    });
    wait_until("both are reported", || {
        listener.records().iter().filter(|it| it["type"] == "platform.report").count() == 2
    });
    let managed = |text: &str| text.replace("on-demand", "lambda-managed-instances");
    let spans =
        SPANS.replace(r##",{"durationMs":"#","name":"runtimeOverhead","start":"TIME"}"##, "");
    let arn = r#""functionArn":"arn:aws:lambda:us-east-1:012345678912:function:test_function","#;
    let start = START.replace("\"requestId\"", &format!("{arn}\"requestId\""));
    let metrics = r##""metrics":{"durationMs":"#"}"##;
    let records: Vec<_> = masked(&listener.records());
    let expected = [
        managed(INIT_START).replace("3008", "3154116608"),
        SUBSCRIBED.to_owned(),
        managed(INIT_DONE),
        READY.replace("\"INVOKE\"", ""),
        managed(INIT_REPORT),
        start.clone(),
        r#"function {"level":"INFO","message":"a line","timestamp":"TIME"}"#.to_owned(),
        report("success", metrics, &spans),
        start,
        report("error Runtime.Unknown", metrics, &spans),
    ];
    assert_eq!(records, expected);
}

#[test]
fn the_logs_api_has_its_own_events() {
    for (schema, has_runtime_done) in [("2020-08-15", false), ("2021-03-18", true)] {
        let (mouth, listener) = (Mouth::new(), Listener::start());
        let lab = mouth.function().start().unwrap();
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
            await_process(&lab);
            let (out, api) = (mouth.open(), lab.runtime_api());
            let mut extension = Extension::register(&api, "mine", r#"["INVOKE"]"#);
            extension.is_subscribed(LOGS, &document(schema, listener.port, 25));
            extension.asks();
            let mut runtime = Connection::open(&api);
            runtime.request(NEXT, &[], "");
            extension.event();
            drop(out);
            caller.join().unwrap().unwrap_err();
        });
        let done = r#"platform.runtimeDone {"requestId":"ID","status":"error"}"#;
        let records = listener.until("platform.report");
        let mut seen = masked(&records);
        let fault = seen.remove(5);
        assert!(fault.starts_with(r#"platform.fault "RequestId: "#), "{fault}");
        assert!(
            fault.ends_with(
                r#"Error: Runtime exited without providing a reason\nRuntime.ExitError""#
            ),
            "{fault}"
        );
        let mut expected = vec![
            SUBSCRIBED.replace("telemetry", "logs"),
            r#"platform.initRuntimeDone {"initializationType":"on-demand","status":"success"}"#
                .to_owned(),
            READY.to_owned(),
            r##"platform.initReport {"initializationType":"on-demand","metrics":{"durationMs":"#"}}"##
                .to_owned(),
            r#"platform.start {"requestId":"ID"}"#.to_owned(),
            done.to_owned(),
            r#"platform.end {"requestId":"ID"}"#.to_owned(),
            format!("platform.report {{{},\"requestId\":\"ID\"}}", metrics("initDurationMs")),
        ];
        if !has_runtime_done {
            expected.retain(|event| event != done);
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn what_waits_at_a_shutdown_is_delivered_before_extensions_end() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab = mouth.function().start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        await_process(&lab);
        let (mut out, api) = (mouth.open(), lab.runtime_api());
        let mut extension = Extension::register(&api, "mine", r#"["INVOKE"]"#);
        let document = document(SCHEMA, listener.port, 30_000);
        extension.is_subscribed(crate::listener::TELEMETRY, &document);
        extension.asks();
        let mut runtime = Connection::open(&api);
        let event = runtime.request(NEXT, &[], "");
        extension.event();
        writeln!(out, "said").unwrap();
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        extension.asks();
        caller.join().unwrap().unwrap();
        assert!(listener.records().is_empty(), "it waits for 30 s");
        lab.stop();
    });
    let seen = masked(&listener.records());
    assert!(seen.last().is_some_and(|last| last.starts_with("platform.report ")), "{seen:#?}");
    assert_eq!(seen[0], INIT_START);
}

#[test]
fn the_numbers_of_a_report_are_those_of_the_log() {
    let mouth = Mouth::new();
    let listener = Listener::start();
    let lab = mouth.function().start().unwrap();
    let tail = [("X-Amz-Log-Type", "Tail")];
    let line = "POST /2015-03-31/functions/function/invocations";
    let mut caller = Connection::open(lab.address());
    caller.send(request(line, &tail, "{}"));
    let mut stage = Stage::open(&lab, &mouth, SCHEMA, r#"["INVOKE"]"#, &listener);
    let event = stage.is_ready();
    stage.runtime.post(&of(&event.id(), "response"), "").assert_accepted();
    stage.is_done();
    let answer = caller.response();
    let log = answer.header("x-amz-log-result").expect("a tail");
    let log = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, log).unwrap();
    let log = String::from_utf8(log).unwrap();
    let records = listener.until("platform.report");
    let metrics = &records.last().unwrap()["record"]["metrics"];
    for (name, field) in [
        ("durationMs", "\tDuration: "),
        ("billedDurationMs", "\tBilled Duration: "),
        ("initDurationMs", "\tInit Duration: "),
        ("maxMemoryUsedMB", "\tMax Memory Used: "),
        ("memorySizeMB", "\tMemory Size: "),
    ] {
        let number = log.split_once(field).unwrap_or_else(|| panic!("no {field} in {log}")).1;
        let number = number.split(' ').next().unwrap();
        assert_eq!(metrics[name].as_f64(), number.parse().ok(), "{name}: {log}");
    }
    let init = records.iter().find(|it| it["type"] == "platform.initReport").unwrap();
    assert_eq!(init["record"]["metrics"]["durationMs"], metrics["initDurationMs"]);
}
