//! Telemetry for external extensions, and of them.

use std::thread;
use std::time::Duration;

use lambda_lab::{Function, Output};
use serde_json::json;

use crate::external::{Scripts, UNTIL_END, WAIT, runtime};
use crate::listener::{Extension, Listener, TELEMETRY, document};
use crate::support::{NEXT, PATIENCE, of, request, wait_until};
use crate::telemetry_stage::{
    INIT_DONE, INIT_REPORT, INIT_START, OVERHEAD, READY, SPANS, START, SUBSCRIBED, assert_sequence,
    metrics, report, runtime_done,
};

#[test]
fn an_extension_gets_what_waits_before_its_shutdown_and_lines_of_extensions_as_theirs() {
    let (scripts, listener) = (Scripts::new(), Listener::start());
    let function = scripts.function(&[]);
    let said = "echo from the extension; touch \"$0.said\"";
    let file = scripts.add("mine", &format!("{said}; {WAIT}"));
    let lab = function.extension(file).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let api = scripts.start("mine", 1).0;
        let mut extension = Extension::register(&api, "mine", r#"["INVOKE","SHUTDOWN"]"#);
        extension.is_subscribed(TELEMETRY, &document("2022-12-13", listener.port, 30_000));
        extension.asks();
        scripts.start("bootstrap", 1);
        let mut runtime = runtime(&api);
        let event = runtime.response();
        extension.event();
        wait_until("it has written", || scripts.has("mine.said"));
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        extension.asks();
        caller.join().unwrap().unwrap();
        assert!(listener.records().is_empty(), "it waits for 30 s");
        let stopping = scope.spawn(|| lab.stop());
        assert_eq!(extension.played.shutdown().0, "spindown");
        // All of it had been delivered by then.
        let mut records = listener.records();
        // Its process writes the line whenever it is scheduled.
        let lines: Vec<_> = records.extract_if(.., |it| it["type"] == "extension").collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["record"], "from the extension");
        let events = r#""events":["INVOKE","SHUTDOWN"]"#;
        let ready = READY.replace(r#""events":["INVOKE"]"#, events);
        let done = runtime_done("success", 0, SPANS);
        let report = report("success", &metrics("initDurationMs"), OVERHEAD);
        assert_sequence(
            &records,
            &[INIT_START, SUBSCRIBED, INIT_DONE, &ready, INIT_REPORT, START, &done, &report],
        );
        scripts.end("mine");
        stopping.join().unwrap();
    });
}

#[test]
fn extensions_that_did_not_get_ready_are_told_with_their_states() {
    let (scripts, listener) = (Scripts::new(), Listener::start());
    let lab = scripts.function(&["mine", "other"]).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let api = scripts.start("mine", 1).0;
        let mine = Extension::register(&api, "mine", r#"["SHUTDOWN"]"#);
        mine.listens("2022-12-13", &listener);
        let failing = Extension::register(&api, "other", "[]");
        let headers = [
            (crate::external::ID, failing.played.id.as_str()),
            ("Lambda-Extension-Function-Error-Type", "Extension.Mine"),
        ];
        let line = "POST /2020-01-01/extension/init/error";
        let mut connection = crate::support::Connection::open(&api);
        connection.request(line, &headers, "{}").assert_accepted();
        let pid = scripts.pid("other");
        let status = std::process::Command::new("kill").arg(pid.to_string()).status();
        assert!(status.unwrap().success());
        caller.join().unwrap().unwrap_err();
    });
    let records = listener.until("platform.report");
    let told = records.iter().filter(|it| it["type"] == "platform.extension");
    let told: Vec<_> = told.map(|it| it["record"].clone()).collect();
    assert_eq!(
        told,
        [
            json!({"name": "mine", "state": "Registered", "events": ["SHUTDOWN"]}),
            json!({"name": "other", "state": "InitError", "events": [], "errorType": "Extension.Mine"}),
        ]
    );
    let done = records.iter().find(|it| it["type"] == "platform.initRuntimeDone").unwrap();
    assert_eq!(done["record"]["status"], "error");
    assert_eq!(done["record"]["errorType"], "Extension.InitError");
}

/// The extension whose file is still being written keeps the others waiting until it fails.
#[test]
fn an_extension_that_cannot_be_started_is_told_with_the_state_launch_error() {
    let (scripts, listener) = (Scripts::new(), Listener::start());
    let lab = scripts.function(&["mine", "other"]).start().unwrap();
    let writing = std::fs::File::options().append(true).open(scripts.file("other")).unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let api = scripts.start("mine", 1).0;
        Extension::register(&api, "mine", r#"["SHUTDOWN"]"#).listens("2022-12-13", &listener);
        std::fs::remove_file(scripts.file("other")).unwrap();
        drop(writing);
        caller.join().unwrap().unwrap_err();
    });
    let error = "error Extension.LaunchError";
    let failed = r#""errorType":"Extension.LaunchError","initializationType":"on-demand","#;
    assert_sequence(
        &listener.until("platform.report"),
        &[
            INIT_START,
            SUBSCRIBED,
            &format!(r#"platform.initRuntimeDone {{{failed}"phase":"init","status":"error"}}"#),
            r#"platform.extension {"events":["SHUTDOWN"],"name":"mine","state":"Registered"}"#,
            r#"platform.extension {"errorType":"Extension.LaunchError","events":[],"name":"other","state":"LaunchError"}"#,
            &format!(
                r##"platform.initReport {{{failed}"metrics":{{"durationMs":"#"}},"phase":"init","status":"error"}}"##
            ),
            START,
            &runtime_done(error, 0, ""),
            &report(error, &metrics(""), ""),
        ],
    );
}

/// Plays an external extension that has buffered everything until the processes are ended for this
/// reason. It has got all of it before its shutdown, though it is asked to end afterwards.
fn assert_flushed(
    function: impl FnOnce(Function, &Scripts) -> Function,
    end: impl FnOnce(&Scripts),
    reason: &str,
    expected: &[&str],
) {
    let (scripts, listener) = (Scripts::new(), Listener::start());
    let lab = function(scripts.function(&[]), &scripts);
    let lab = lab.extension(scripts.add("mine", UNTIL_END)).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let api = scripts.start("mine", 1).0;
        let mut extension = Extension::register(&api, "mine", r#"["INVOKE","SHUTDOWN"]"#);
        extension.is_subscribed(TELEMETRY, &document("2022-12-13", listener.port, 30_000));
        extension.asks();
        scripts.start("bootstrap", 1);
        let mut runtime = runtime(&api);
        runtime.response();
        extension.event();
        assert!(listener.records().is_empty(), "it waits for 30 s");
        extension.asks();
        end(&scripts);
        assert_eq!(extension.played.shutdown().0, reason);
        let events = r#""events":["INVOKE","SHUTDOWN"]"#;
        let ready = READY.replace(r#""events":["INVOKE"]"#, events);
        let begin = [INIT_START, SUBSCRIBED, INIT_DONE, &ready, INIT_REPORT, START];
        assert_sequence(&listener.records(), &[&begin[..], expected].concat());
        scripts.end("mine");
        caller.join().unwrap().unwrap_err();
    });
}

#[test]
fn an_extension_gets_what_waits_before_its_shutdown_after_a_timeout() {
    assert_flushed(
        |function, _| function.timeout(Duration::from_millis(700)),
        |_| {},
        "timeout",
        &[&runtime_done("timeout", 0, ""), &report("timeout", &metrics("initDurationMs"), "")],
    );
}

#[test]
fn an_extension_gets_what_waits_before_its_shutdown_after_a_crash() {
    assert_flushed(
        |_, scripts| {
            let function = Function::new(scripts.add("bootstrap", UNTIL_END)).timeout(PATIENCE);
            function.output(Output::Discarded)
        },
        |scripts| scripts.end("bootstrap"),
        "failure",
        &[
            &runtime_done("error Runtime.ExitError", 0, ""),
            &report("error Runtime.ExitError", &metrics("initDurationMs"), ""),
        ],
    );
}
