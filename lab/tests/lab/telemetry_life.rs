//! The whole telemetry of an environment's life on demand, beside the sequence that is expected.

use std::fs::File;
use std::thread;
use std::time::Duration;

use lambda_lab::Lab;
use serde_json::Value;

use crate::listener::{Extension, LOGS, Listener, Mouth, document, masked};
use crate::support::{
    Connection, NEXT, PATIENCE, await_process, lives, of, raw, request, script, wait_until,
};
use crate::telemetry_stage::{
    INIT_DONE, INIT_ERROR, INIT_REPORT, INIT_START, OVERHEAD, READY, SCHEMA, SPANS, START,
    SUBSCRIBED, Stage, assert_sequence, metrics, on_stage, report, runtime_done,
};

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
fn an_error_that_the_function_reports_is_an_error_with_its_type() {
    let (records, _lab) = on_stage(
        |function| function,
        |stage, _| {
            let event = stage.is_ready();
            let failure = r#"{"errorType":"Function.Told","errorMessage":"m"}"#;
            stage.runtime.post(&of(&event.id(), "error"), failure).assert_accepted();
            stage.is_done();
        },
    );
    let done = runtime_done("error Function.Told", 0, SPANS);
    let report = report("error Function.Told", &metrics("initDurationMs"), OVERHEAD);
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
    for (reported, told) in [
        ("Runtime.NoSuchHandler", "Runtime.NoSuchHandler"),
        // What a runtime reports is none of the service, nor of an extension.
        ("Sandbox.Mine", "Runtime.Unknown"),
        ("Sandbox.Timedout", "Runtime.Unknown"),
        ("Extension.Mine", "Runtime.Unknown"),
    ] {
        let (records, _lab) = on_stage(
            |function| function,
            |stage, _| {
                let failure = format!(r#"{{"errorType":"{reported}","errorMessage":"m"}}"#);
                stage.runtime.post(INIT_ERROR, failure).assert_accepted();
            },
        );
        let failed = format!(r#""errorType":"{told}","initializationType":"on-demand","#);
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
                &runtime_done(&format!("error {told}"), 0, ""),
                &report(&format!("error {told}"), &metrics(""), ""),
            ],
        );
    }
}

#[test]
fn what_a_runtime_writes_after_it_reported_its_failed_init_comes_before_the_end() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let file = mouth.file();
    let function = raw("report-and-write").variable("LAB_TEST_MOUTH", file.to_str().unwrap());
    let lab = function.start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        await_process(&lab);
        let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
        extension.listens(SCHEMA, &listener);
        // Goes on now.
        drop(mouth.open());
        caller.join().unwrap().unwrap_err();
    });
    let mut seen = masked(&listener.until("platform.report"));
    seen.retain(|event| !event.starts_with("function ") || event.contains("last words"));
    let types: Vec<_> = seen.iter().map(|event| event.split(' ').next().unwrap()).collect();
    assert_eq!(
        types,
        [
            "platform.initStart",
            "platform.telemetrySubscription",
            "function",
            "platform.initRuntimeDone",
            "platform.extension",
            "platform.initReport",
            "platform.start",
            "platform.runtimeDone",
            "platform.report",
        ]
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
        repeats_init(&lab, &mouth, &second);
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn the_report_has_the_time_that_extensions_take_and_the_end_of_the_runtime_has_not() {
    const TIME: Duration = Duration::from_millis(300);
    let (records, _lab) = on_stage(
        |function| function,
        |stage, listener| {
            let event = stage.is_ready();
            stage.runtime.post(&of(&event.id(), "response"), "").assert_accepted();
            stage.runtime.send(request(NEXT, &[], ""));
            listener.until("platform.runtimeDone");
            thread::sleep(TIME);
            stage.extension.asks();
        },
    );
    let record = |kind: &str| {
        let found = records.iter().find(|it| it["type"] == kind);
        &found.unwrap_or_else(|| panic!("no {kind}: {records:#?}"))["record"]
    };
    let millis = |of: &Value| of["durationMs"].as_f64().unwrap();
    let (done, report) = (record("platform.runtimeDone"), record("platform.report"));
    // Each number is rounded.
    let least = TIME.as_secs_f64() * 1e3 - 0.1;
    assert!(millis(&report["metrics"]) - millis(&done["metrics"]) >= least, "{records:#?}");
    let overhead = &report["spans"][0];
    assert_eq!(overhead["name"], "extensionOverhead");
    assert!(millis(overhead) >= least, "{report}");
}

#[test]
fn the_init_after_a_crash_is_told_as_a_part_of_the_next_invocation() {
    let (mouth, first, second) = (Mouth::new(), Listener::start(), Listener::start());
    let lab = mouth.function().start().unwrap();
    thread::scope(|scope| {
        let invoke = || lab.invoke_to_the_end("in", |_| ());
        let caller = scope.spawn(invoke);
        let mut stage = Stage::open(&lab, &mouth, SCHEMA, r#"["INVOKE"]"#, &first);
        stage.is_ready();
        // The process ends when its input does.
        drop(stage.out);
        caller.join().unwrap().unwrap_err();
        let caller = scope.spawn(invoke);
        repeats_init(&lab, &mouth, &second);
        caller.join().unwrap().unwrap();
    });
}

/// Plays an invocation that succeeds, and whose init is a part of it by what this listener is told.
#[track_caller]
fn repeats_init(lab: &Lab, mouth: &Mouth, listener: &Listener) {
    let mut stage = Stage::open(lab, mouth, SCHEMA, r#"["INVOKE"]"#, listener);
    let event = stage.is_ready();
    stage.runtime.post(&of(&event.id(), "response"), "").assert_accepted();
    stage.is_done();
    let again = |text: &str| text.replace("\"phase\":\"init\"", "\"phase\":\"invoke\"");
    assert_sequence(
        &listener.until("platform.report"),
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
    // Ends when the test wants it to.
    let function = script(&format!("trap '' TERM; exec cat {}", mouth.file().display()));
    let lab = function.shutdown_timeout(PATIENCE).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let pid = await_process(&lab);
        let (out, api) = (mouth.open(), lab.runtime_api());
        let mut extension = Extension::register(&api, "mine", r#"["INVOKE"]"#);
        let document = document(SCHEMA, listener.port, 30_000);
        extension.is_subscribed(crate::listener::TELEMETRY, &document);
        extension.asks();
        let mut runtime = Connection::open(&api);
        let event = runtime.request(NEXT, &[], "");
        extension.event();
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        extension.asks();
        caller.join().unwrap().unwrap();
        assert!(listener.records().is_empty(), "it waits for 30 s");
        let stopping = scope.spawn(|| lab.stop());
        listener.until("platform.report");
        assert!(lives(pid), "the extension, which is in this process, has not ended yet");
        drop(out);
        stopping.join().unwrap();
    });
    let done = runtime_done("success", 0, SPANS);
    let report = report("success", &metrics("initDurationMs"), OVERHEAD);
    assert_sequence(
        &listener.records(),
        &[INIT_START, SUBSCRIBED, INIT_DONE, READY, INIT_REPORT, START, &done, &report],
    );
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
