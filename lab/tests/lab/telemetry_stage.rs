//! A function and an extension that a test plays, and the events that are expected of them.

use std::fs::File;
use std::io::Write;
use std::thread;

use lambda_lab::{Event, Function, Lab};
use serde_json::Value;

use crate::listener::{Extension, Listener, Mouth, masked};
use crate::support::{Connection, NEXT, Response, await_process, request};

pub(crate) const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";
pub(crate) const SCHEMA: &str = "2022-12-13";

pub(crate) const INIT_START: &str = r#"platform.initStart {"functionName":"test_function","functionVersion":"$LATEST","initializationType":"on-demand","instanceId":"$LATEST","instanceMaxMemory":3008,"phase":"init"}"#;
pub(crate) const SUBSCRIBED: &str = r#"platform.telemetrySubscription {"name":"mine","state":"Subscribed","types":["platform","function","extension"]}"#;
pub(crate) const INIT_DONE: &str = r#"platform.initRuntimeDone {"initializationType":"on-demand","phase":"init","status":"success"}"#;
pub(crate) const READY: &str =
    r#"platform.extension {"events":["INVOKE"],"name":"mine","state":"Ready"}"#;
pub(crate) const INIT_REPORT: &str = r##"platform.initReport {"initializationType":"on-demand","metrics":{"durationMs":"#"},"phase":"init","status":"success"}"##;
pub(crate) const START: &str = r#"platform.start {"requestId":"ID","tracing":{"type":"X-Amzn-Trace-Id","value":"TRACE"},"version":"$LATEST"}"#;
const TRACING: &str = r#""tracing":{"type":"X-Amzn-Trace-Id","value":"TRACE"}"#;
pub(crate) const SPANS: &str = r##""spans":[{"durationMs":"#","name":"responseLatency","start":"TIME"},{"durationMs":"#","name":"responseDuration","start":"TIME"},{"durationMs":"#","name":"runtimeOverhead","start":"TIME"}]"##;
pub(crate) const OVERHEAD: &str =
    r##""spans":[{"durationMs":"#","name":"extensionOverhead","start":"TIME"}]"##;

/// The metrics of a report, with another duration before those of the memory, if it has one.
pub(crate) fn metrics(other: &str) -> String {
    let (init, restore) = match other {
        "" => (String::new(), String::new()),
        "initDurationMs" => (r##""initDurationMs":"#","##.to_owned(), String::new()),
        other => (String::new(), format!(r##","{other}":"#""##)),
    };
    format!(
        r##""metrics":{{"billedDurationMs":"#","durationMs":"#",{init}"maxMemoryUsedMB":"#","memorySizeMB":3008{restore}}}"##
    )
}

pub(crate) fn runtime_done(status: &str, produced: u64, spans: &str) -> String {
    let (error, status) = match status.split_once(' ') {
        Some((status, error)) => (format!("\"errorType\":\"{error}\","), status),
        None => (String::new(), status),
    };
    let spans = if spans.is_empty() { String::new() } else { format!("{spans},") };
    format!(
        r##"platform.runtimeDone {{{error}"metrics":{{"durationMs":"#","producedBytes":{produced}}},"requestId":"ID",{spans}"status":"{status}",{TRACING}}}"##
    )
}

pub(crate) fn report(status: &str, metrics: &str, spans: &str) -> String {
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
pub(crate) fn assert_sequence(records: &[Value], expected: &[&str]) {
    let seen = masked(records);
    for (number, pair) in expected.iter().zip(&seen).enumerate() {
        assert_eq!(pair.1, pair.0, "the event {number} of {seen:#?}");
    }
    assert_eq!(seen.len(), expected.len(), "{seen:#?}");
}

/// A function whose parts the test plays, when its process has started for an invocation, and its
/// extension has subscribed.
pub(crate) struct Stage {
    pub(crate) api: String,
    pub(crate) out: File,
    pub(crate) runtime: Connection,
    pub(crate) extension: Extension,
}

impl Stage {
    pub(crate) fn open(
        lab: &Lab,
        mouth: &Mouth,
        schema: &str,
        events: &str,
        listener: &Listener,
    ) -> Self {
        await_process(lab);
        let out = mouth.open();
        let api = lab.runtime_api();
        let extension = Extension::register(&api, "mine", events);
        extension.listens(schema, listener);
        let runtime = Connection::open(&api);
        Self { api, out, runtime, extension }
    }

    /// Both ask for their first event.
    pub(crate) fn is_ready(&mut self) -> Response {
        self.extension.asks();
        self.runtime.send(request(NEXT, &[], ""));
        self.extension.event();
        self.runtime.response()
    }

    /// Both ask again.
    pub(crate) fn is_done(&mut self) {
        self.runtime.send(request(NEXT, &[], ""));
        self.extension.asks();
    }

    /// Writes a line, and waits until it is delivered.
    pub(crate) fn says(&mut self, line: &str, listener: &Listener) {
        writeln!(self.out, "{line}").unwrap();
        listener.until_line(line);
    }
}

pub(crate) fn on_stage(
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
