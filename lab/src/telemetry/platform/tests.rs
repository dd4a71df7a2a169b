use super::*;

const ID: &str = "6d68ca91-49c9-448d-89b8-7ca3e6dc66aa";
const TRACING: &str = r#""tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1-2-3"}"#;

fn facts() -> Facts {
    Facts {
        name: "my-function".into(),
        memory: 256,
        initialization_type: "on-demand",
        instance_id: Some("$LATEST"),
        is_managed: false,
    }
}

fn managed() -> Facts {
    let initialization_type = "lambda-managed-instances";
    Facts { is_managed: true, initialization_type, ..facts() }
}

fn request() -> Request {
    Request {
        id: ID.into(),
        function_arn: "arn".into(),
        trace_id: "Root=1-2-3".into(),
        tenant_id: Some("t".into()),
    }
}

fn metrics() -> Metrics {
    Metrics {
        duration: Duration::from_micros(101_510),
        init: Some(Duration::from_micros(116_670)),
        restore: None,
        memory: 512,
        memory_used: Some(33),
    }
}

fn spans() -> Vec<Span> {
    let start = Duration::from_millis(1_665_532_953_007);
    vec![Span { name: "responseLatency", start, duration: Duration::from_micros(23_020) }]
}

const SPANS: &str =
    r#""spans":[{"name":"responseLatency","start":"2022-10-12T00:02:33.007Z","durationMs":23.02}]"#;

/// The record of an event in each schema, the oldest first; empty where there is none.
#[track_caller]
fn assert_records(event: &Platform, event_type: &str, records: [&str; 5]) {
    for (schema, expected) in Schema::ALL.into_iter().zip(records) {
        let rendered = event.render(&facts(), schema);
        let expected = (!expected.is_empty()).then(|| (event_type, expected.to_owned()));
        assert_eq!(rendered, expected, "{schema:?}");
    }
}

/// The same record in both schemas of the Logs API, and the same in all of the Telemetry API.
#[track_caller]
fn assert_both(event: &Platform, event_type: &str, logs: &str, telemetry: &str) {
    assert_records(event, event_type, [logs, logs, telemetry, telemetry, telemetry]);
}

#[test]
fn an_init_is_told_with_its_type_its_phase_and_its_outcome() {
    for (phase, name) in
        [(Phase::Init, "init"), (Phase::Invoke, "invoke"), (Phase::SnapStart, "snap-start")]
    {
        let first = format!(r#"{{"initializationType":"on-demand","phase":"{name}","#);
        let function = r#""functionName":"my-function","functionVersion":"$LATEST","instanceId":"$LATEST","instanceMaxMemory":256}"#;
        let event = Platform::InitStart(phase);
        assert_both(&event, "platform.initStart", "", &format!("{first}{function}"));

        let event = Platform::InitRuntimeDone(
            phase,
            Outcome::error(&ErrorType::of_service("Runtime.ExitError")),
        );
        let logs = r#"{"initializationType":"on-demand","status":"error"}"#;
        let outcome = r#""status":"error","errorType":"Runtime.ExitError""#;
        let telemetry = format!("{first}{outcome}}}");
        assert_both(&event, "platform.initRuntimeDone", logs, &telemetry);

        let outcome = Outcome::error(&ErrorType::of_service("Runtime.ExitError"));
        let event = Platform::InitReport(phase, outcome, Duration::from_micros(693_920));
        let metrics = r#""metrics":{"durationMs":693.92}}"#;
        let logs = format!(r#"{{"initializationType":"on-demand",{metrics}"#);
        let outcome = r#""status":"error","errorType":"Runtime.ExitError","#;
        let (old, new) = (format!("{first}{metrics}"), format!("{first}{outcome}{metrics}"));
        assert_records(&event, "platform.initReport", [&logs, &logs, &old, &new, &new]);
    }
}

#[test]
fn a_restore_is_told_with_its_outcome() {
    let function = r#"{"functionName":"my-function","functionVersion":"$LATEST","instanceId":"$LATEST","instanceMaxMemory":256}"#;
    assert_both(&Platform::RestoreStart, "platform.restoreStart", "{}", function);
    let event = Platform::RestoreRuntimeDone(Outcome::success());
    assert_both(&event, "platform.restoreRuntimeDone", "", r#"{"status":"success"}"#);
    let event = Platform::RestoreReport(Outcome::from(&Status::Timeout), Duration::from_millis(9));
    let logs = r#"{"metrics":{"durationMs":9.00}}"#;
    let telemetry = r#"{"status":"timeout","metrics":{"durationMs":9.00}}"#;
    assert_both(&event, "platform.restoreReport", logs, telemetry);
}

#[test]
fn the_start_of_an_invocation_names_it() {
    let event = Platform::Start(request());
    let logs = format!(r#"{{"requestId":"{ID}"}}"#);
    let telemetry =
        format!(r#"{{"requestId":"{ID}","version":"$LATEST",{TRACING},"tenantId":"t"}}"#);
    assert_both(&event, "platform.start", &logs, &telemetry);
    let rendered = event.render(&managed(), Schema::Telemetry20250129).unwrap().1;
    assert!(rendered.contains(r#""version":"$LATEST","functionArn":"arn","tracing":"#));
    let request = Request { trace_id: String::new(), tenant_id: None, ..request() };
    let telemetry = format!(r#"{{"requestId":"{ID}","version":"$LATEST"}}"#);
    assert_both(&Platform::Start(request), "platform.start", &logs, &telemetry);
}

#[test]
fn a_runtime_that_is_done_is_told_with_metrics_and_spans() {
    let mut event = Platform::RuntimeDone {
        request: request(),
        outcome: Outcome::success(),
        duration: Duration::from_micros(102_000),
        produced: 29,
        spans: spans(),
    };
    let logs = format!(r#"{{"requestId":"{ID}","status":"success"}}"#);
    let metrics = r#""metrics":{"durationMs":102.00,"producedBytes":29}"#;
    let telemetry = format!(
        r#"{{"requestId":"{ID}","status":"success",{metrics},{SPANS},{TRACING},"tenantId":"t"}}"#
    );
    let records = ["", &logs, &telemetry, &telemetry, &telemetry];
    assert_records(&event, "platform.runtimeDone", records);
    if let Platform::RuntimeDone { outcome, spans, request, .. } = &mut event {
        *outcome = Outcome::error(&ErrorType::of_service("Sandbox.Failure"));
        spans.clear();
        *request = Request { trace_id: String::new(), tenant_id: None, ..request.clone() };
    }
    let logs = format!(r#"{{"requestId":"{ID}","status":"failure"}}"#);
    let telemetry = format!(
        r#"{{"requestId":"{ID}","status":"failure","errorType":"Sandbox.Failure",{metrics}}}"#
    );
    let records = ["", &logs, &telemetry, &telemetry, &telemetry];
    assert_records(&event, "platform.runtimeDone", records);
}

#[test]
fn a_report_has_the_numbers_of_the_log_and_the_logs_api_has_an_end_before_it() {
    let outcome = Outcome::from(&Status::Timeout);
    let (request, metrics) = (request(), metrics());
    let event = Platform::Report { request, outcome, metrics: metrics.clone(), spans: spans() };
    let numbers = r#""metrics":{"durationMs":101.51,"billedDurationMs":219,"memorySizeMB":512,"maxMemoryUsedMB":33,"initDurationMs":116.67}"#;
    let logs = format!(r#"{{"requestId":"{ID}",{numbers}}}"#);
    let telemetry = format!(
        r#"{{"requestId":"{ID}","status":"timeout",{numbers},{SPANS},{TRACING},"tenantId":"t"}}"#
    );
    assert_both(&event, "platform.report", &logs, &telemetry);
    for schema in Schema::ALL {
        let end = event.end(schema);
        let expected = ("platform.end", format!(r#"{{"requestId":"{ID}"}}"#));
        assert_eq!(end, (schema.api() == Api::Logs).then_some(expected));
    }
    assert_eq!(Platform::RestoreStart.end(Schema::Logs20200815), None);
    let managed = event.render(&managed(), Schema::Telemetry20250129).unwrap().1;
    assert!(managed.contains(r#""metrics":{"durationMs":101.510},"#), "{managed}");

    let restore = Some(Duration::from_millis(5));
    let metrics = Metrics { init: None, restore, memory_used: None, ..metrics };
    let expected = r#"{"durationMs":101.51,"billedDurationMs":102,"memorySizeMB":512,"maxMemoryUsedMB":512,"restoreDurationMs":5.00}"#;
    assert_eq!(rendered(&metrics, &facts()), expected);
}

#[test]
fn extensions_and_subscriptions_are_told_with_their_names() {
    let events = vec!["INVOKE", "SHUTDOWN"];
    let name = "my \"ext\"".to_owned();
    let mut event =
        Platform::Extension { name: name.clone(), state: "Ready", events, error_type: None };
    let begin = r#"{"name":"my \"ext\"","state":"Ready","events":["INVOKE","SHUTDOWN"]"#;
    let record = format!("{begin}}}");
    assert_both(&event, "platform.extension", &record, &record);
    if let Platform::Extension { error_type, .. } = &mut event {
        *error_type = Some("Extension.InitError".into());
    }
    let record = format!("{begin},\"errorType\":\"Extension.InitError\"}}");
    assert_both(&event, "platform.extension", &record, &record);

    let types = vec![Kind::Platform, Kind::Function];
    let record = r#"{"name":"my \"ext\"","state":"Subscribed","types":["platform","function"]}"#;
    let (name, api) = (name.clone(), Api::Telemetry);
    let event = Platform::Subscription { api, name: name.clone(), types: types.clone() };
    assert_both(&event, "platform.telemetrySubscription", "", record);
    let event = Platform::Subscription { api: Api::Logs, name, types };
    assert_both(&event, "platform.logsSubscription", record, "");
}

#[test]
fn only_the_logs_api_is_told_of_faults_as_text() {
    let event = Platform::Fault("RequestId: 1 Error: it ended\nRuntime.ExitError".into());
    let record = r#""RequestId: 1 Error: it ended\nRuntime.ExitError""#;
    assert_both(&event, "platform.fault", record, "");
}

#[test]
fn every_record_is_json() {
    let events = [
        Platform::InitStart(Phase::Init),
        Platform::Start(request()),
        Platform::Report {
            request: Request { id: "\u{1}\"\\\u{2028}".into(), ..request() },
            outcome: Outcome::success(),
            metrics: metrics(),
            spans: Vec::new(),
        },
    ];
    for event in events {
        for schema in Schema::ALL {
            for facts in [facts(), managed()] {
                if let Some((_, record)) = event.render(&facts, schema) {
                    serde_json::from_str::<serde_json::Value>(&record).expect("JSON");
                }
            }
        }
    }
}

#[test]
fn error_types_are_recorded_as_the_service_does() {
    let unknown = "Runtime.Unknown";
    for (name, recorded) in [
        ("Runtime.ExitError", "Runtime.ExitError"),
        ("Function.TooLarge", "Function.TooLarge"),
        ("xRuntime.Foo.bar", "xRuntime.Foo.bar"),
        ("Function.", "Function.Unknown"),
        ("Function.x", "Function.Unknown"),
        ("Runtime.X", unknown),
        ("Runtime.X1", unknown),
        ("Unhandled", unknown),
        ("", unknown),
        // What a runtime reports is none of the service, whatever it says.
        ("Sandbox.Timedout", unknown),
        ("Extension.Crash", unknown),
    ] {
        let expected = Outcome { status: "error", error_type: Some(recorded.into()) };
        let reported = ErrorType { name: name.into(), origin: Origin::Runtime };
        assert_eq!(Outcome::error(&reported), expected, "{name}");
        assert_eq!(Outcome::reported(name), expected, "{name}");
    }
    for (name, status) in [
        ("Runtime.ExitError", "error"),
        ("Extension.Crash", "error"),
        ("Sandbox.Failure", "failure"),
    ] {
        let expected = Outcome { status, error_type: Some(name.into()) };
        assert_eq!(Outcome::error(&ErrorType::of_service(name)), expected);
    }
}

#[test]
fn the_error_type_of_an_extension_is_its_own_if_it_is_well_formed() {
    for (given, recorded) in [
        ("Extension.Mine", "Extension.Mine"),
        ("xExtension.Mine!", "xExtension.Mine!"),
        ("Extension.M", "Extension.InitError"),
        ("Extension.mine", "Extension.InitError"),
        ("Runtime.Mine", "Extension.InitError"),
        ("", "Extension.InitError"),
    ] {
        assert_eq!(of_extension(given, "Extension.InitError"), recorded, "{given}");
    }
}
