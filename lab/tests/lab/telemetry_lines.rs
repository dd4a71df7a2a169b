//! The output of functions and extensions as telemetry.

use std::io::Write;
use std::thread;

use lambda_lab::{Function, Lab, LogFormat};
use serde_json::{Value, json};

use crate::external::{Scripts, WAIT, respond};
use crate::listener::{Extension, LOGS, Listener, Mouth, assert_is_time, document};
use crate::support::{Connection, NEXT, await_process, of, request};

/// Plays an invocation of a function that writes these bytes during it. Returns the records of the
/// lines, and the request id. The last of the bytes have to be those of a line with the text `end`.
fn lines(
    function: impl FnOnce(Function) -> Function,
    api: &str,
    schema: &str,
    output: &[u8],
) -> (Vec<Value>, String) {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab: Lab = function(mouth.function()).start().unwrap();
    let id = thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        await_process(&lab);
        let (mut out, address) = (mouth.open(), lab.runtime_api());
        let mut extension = Extension::register(&address, "mine", "[]");
        extension.is_subscribed(api, &document(schema, listener.port, 25));
        extension.asks();
        let mut runtime = Connection::open(&address);
        let event = runtime.request(NEXT, &[], "");
        out.write_all(output).unwrap();
        crate::support::wait_until("the last line is delivered", || {
            listener
                .records()
                .iter()
                .any(|record| record["record"] == "end" || record["record"]["message"] == "end")
        });
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        caller.join().unwrap().unwrap();
        event.id()
    });
    let mut records = listener.records();
    records.retain(|record| record["type"] == "function");
    assert!(records.iter().all(|record| record["time"].is_string()));
    (records.into_iter().map(|record| record["record"].clone()).collect(), id)
}

const TELEMETRY: &str = crate::listener::TELEMETRY;

#[test]
fn each_line_is_a_record_without_its_line_end() {
    let output = b"one\ntwo\r\n\n\xff\"\\\t<\n{\"a\":1}\nend\n";
    let expected = json!(["one", "two", "", "\u{fffd}\"\\\t<", "{\"a\":1}", "end"]);
    for (api, schema) in [
        (TELEMETRY, "2022-07-01"),
        (TELEMETRY, "2022-12-13"),
        (TELEMETRY, "2025-01-29"),
        (LOGS, "2020-08-15"),
    ] {
        let (records, _) = lines(|function| function, api, schema, output);
        assert_eq!(Value::Array(records), expected, "{schema}");
    }
}

#[test]
fn with_json_logging_lines_are_objects_in_the_newer_schemas() {
    let object = r#"{"level":"WARN","message":"<m>","more":[1,{}]}"#;
    let output = format!("{object}\nplain\n[1]\nend\n");
    for (api, schema) in [(TELEMETRY, "2022-12-13"), (TELEMETRY, "2025-01-29")] {
        let json = |function: Function| function.log_format(LogFormat::Json);
        let (records, id) = lines(json, api, schema, output.as_bytes());
        assert_eq!(records[0], serde_json::from_str::<Value>(object).unwrap());
        for (record, message) in records[1..].iter().zip(["plain", "[1]", "end"]) {
            assert_is_time(record["timestamp"].as_str().unwrap());
            let time = record["timestamp"].clone();
            let expected =
                json!({"timestamp": time, "level": "INFO", "message": message, "requestId": id});
            assert_eq!(*record, expected);
        }
        assert_eq!(records.len(), 4);
    }
    for (api, schema) in [(TELEMETRY, "2022-07-01"), (LOGS, "2020-08-15")] {
        let json = |function: Function| function.log_format(LogFormat::Json);
        let (records, _) = lines(json, api, schema, output.as_bytes());
        assert_eq!(Value::Array(records), json!([object, "plain", "[1]", "end"]), "{schema}");
    }
}

#[test]
fn a_line_of_more_than_256_kib_becomes_several() {
    let long = "x".repeat(300_000);
    let output = format!("{long}\nend\n");
    let (records, _) = lines(|function| function, TELEMETRY, "2022-12-13", output.as_bytes());
    let lengths: Vec<_> = records.iter().map(|record| record.as_str().unwrap().len()).collect();
    assert_eq!(lengths, [262_144, 300_000 - 262_144, 3]);
}

/// It is not the runtime's end that ends the line of an extension.
#[test]
fn a_line_of_an_extension_that_has_not_ended_counts_when_all_are_done() {
    let (scripts, listener) = (Scripts::new(), Listener::start());
    let write = format!("printf 'no end'; touch \"$0.said\"; {WAIT}");
    let function = scripts.function(&[]).extension(scripts.add("mine", &write));
    let lab = function.start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let api = scripts.start("mine", 1).0;
        crate::support::wait_until("it has written", || scripts.has("mine.said"));
        let mut extension = Extension::register(&api, "mine", r#"["INVOKE"]"#);
        extension.listens("2022-12-13", &listener);
        extension.asks();
        scripts.start("bootstrap", 1);
        respond(&mut crate::external::runtime(&api));
        extension.event();
        listener.until("platform.runtimeDone");
        extension.asks();
        caller.join().unwrap().unwrap();
    });
    let records = listener.until("platform.report");
    let last: Vec<_> = records.iter().rev().take(3).map(|it| it["type"].clone()).collect();
    assert_eq!(last, ["platform.report", "extension", "platform.runtimeDone"]);
    assert_eq!(records[records.len() - 2]["record"], "no end");
}

#[test]
fn a_line_that_has_not_ended_counts_at_the_end_of_the_invocation() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab = mouth.function().start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        await_process(&lab);
        let (mut out, address) = (mouth.open(), lab.runtime_api());
        let mut extension = Extension::register(&address, "mine", "[]");
        extension.listens("2022-12-13", &listener);
        extension.asks();
        let mut runtime = Connection::open(&address);
        runtime.request(NEXT, &[], "");
        out.write_all(b"no end").unwrap();
        // Its process ends, and with it its output.
        drop(out);
        caller.join().unwrap().unwrap_err();
    });
    let types: Vec<_> = listener.until("platform.report");
    let types: Vec<_> = types.iter().map(|it| it["type"].as_str().unwrap().to_owned()).collect();
    let line = types.iter().position(|it| it == "function").expect("the line");
    assert_eq!(types[line + 1..], ["platform.runtimeDone", "platform.report"]);
    assert_eq!(listener.records()[line]["record"], "no end");
}
