//! Telemetry for external extensions, and of them.

use std::thread;

use serde_json::{Value, json};

use crate::external::{Scripts, WAIT, runtime};
use crate::listener::{Extension, Listener, TELEMETRY, document};
use crate::support::{NEXT, of, request};

fn types(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["type"].as_str().unwrap()).collect()
}

#[test]
fn an_extension_gets_what_waits_before_its_shutdown_and_lines_of_extensions_as_theirs() {
    let (scripts, listener) = (Scripts::new(), Listener::start());
    let function = scripts.function(&[]);
    let file = scripts.add("mine", &format!("echo from the extension; {WAIT}"));
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
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        extension.asks();
        caller.join().unwrap().unwrap();
        assert!(listener.records().is_empty(), "it waits for 30 s");
        let stopping = scope.spawn(|| lab.stop());
        assert_eq!(extension.played.shutdown().0, "spindown");
        // All of it had been delivered by then.
        let records = listener.records();
        assert_eq!(types(&records).last(), Some(&"platform.report"), "{records:?}");
        let lines: Vec<_> = records.iter().filter(|it| it["type"] == "extension").collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["record"], "from the extension");
        let ready = records.iter().find(|it| it["type"] == "platform.extension").unwrap();
        let expected = json!({"name": "mine", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]});
        assert_eq!(ready["record"], expected);
        let starts = &types(&records)[..1];
        assert_eq!(starts, ["platform.initStart"]);
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
            json!({"name": "other", "state": "InitError", "events": [], "errorType": "Extension.InitError"}),
        ]
    );
    let done = records.iter().find(|it| it["type"] == "platform.initRuntimeDone").unwrap();
    assert_eq!(done["record"]["status"], "error");
    assert_eq!(done["record"]["errorType"], "Extension.InitError");
}
