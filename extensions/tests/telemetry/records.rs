//! Every type of record, in each schema: protocol.md 7.3 and 7.4.

use std::time::Duration;

use lambda_proto_extension::telemetry::{
    Body, InitPhase, InitializationType, Log, Metrics, Reason, Record, RecordType, Status,
};

use super::{MEMORY, batch, event, post, receive_cut};

/// Reads an event of this type with this record.
fn read(kind: &str, record: &str) -> Record<'static> {
    let event: &'static str = event(kind, record).leak();
    let record = Record::parse(event.as_bytes()).unwrap_or_else(|error| panic!("{event}: {error}"));
    assert_eq!(record.raw(), event);
    assert_eq!(record.record_type.to_string(), kind);
    assert_eq!(record.time.unix_millis(), Some(1_665_532_815_064));
    record
}

const INIT_START: &str = r#"{"initializationType":"on-demand","phase":"init","functionName":"billing","functionVersion":"$LATEST","instanceId":"i-7","instanceMaxMemory":134217728,"runtimeVersion":"nodejs:18.v3","runtimeVersionArn":"arn:aws:lambda:eu-central-1::runtime:07a","functionArn":"arn:aws:lambda:eu-central-1:1:function:billing","tracing":{"spanId":"54565fb4","type":"X-Amzn-Trace-Id","value":"Root=1-62e9;Parent=54;Sampled=1"}}"#;
const SPANS: &str = r#"[{"name":"responseLatency","start":"2022-10-12T00:00:15.100Z","durationMs":23.02},{"name":"responseDuration","start":"2022-10-12T00:00:15.123Z","durationMs":20}]"#;
const TRACING: &str =
    r#"{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2;Sampled=1"}"#;

fn milliseconds(metric: Option<lambda_proto_extension::telemetry::Milliseconds<'_>>) -> Duration {
    metric.expect("it is there").to_duration().expect("it is a time span")
}

#[test]
fn the_start_of_an_init_names_the_function_and_its_runtime() {
    let record = read("platform.initStart", INIT_START);
    let Body::InitStart(start) = record.body else { panic!() };
    assert_eq!(start.initialization_type, Some(InitializationType::OnDemand));
    assert_eq!(start.phase, Some(InitPhase::Init));
    assert_eq!(start.function.name, "billing");
    assert_eq!(start.function.version, "$LATEST");
    assert_eq!(start.function.instance_id, "i-7");
    assert_eq!(start.function.instance_max_memory.unwrap().to_u64(), Some(134_217_728));
    assert_eq!(start.function.runtime_version, "nodejs:18.v3");
    assert_eq!(start.function.runtime_version_arn, "arn:aws:lambda:eu-central-1::runtime:07a");
    assert_eq!(start.function_arn, "arn:aws:lambda:eu-central-1:1:function:billing");
    assert_eq!(start.tracing.span_id, "54565fb4");
    assert_eq!(record.request_id(), None);
}

#[test]
fn initialization_types_and_phases_that_are_new_are_kept() {
    for (word, expected) in [
        ("on-demand", Some(InitializationType::OnDemand)),
        ("provisioned-concurrency", Some(InitializationType::ProvisionedConcurrency)),
        ("snap-start", Some(InitializationType::SnapStart)),
        ("lambda-managed-instances", Some(InitializationType::ManagedInstances)),
        ("on-mars", None),
    ] {
        let record = read("platform.initStart", &format!("{{\"initializationType\":\"{word}\"}}"));
        let Body::InitStart(start) = record.body else { panic!() };
        let read = start.initialization_type.expect("it is there");
        assert_eq!(read.to_string(), word);
        assert_eq!(expected.is_none(), matches!(read, InitializationType::Other(_)), "{word}");
        assert!(expected.is_none_or(|expected| expected == read));
    }
    for word in ["init", "invoke", "snap-start", "else"] {
        let record = read("platform.initReport", &format!("{{\"phase\":\"{word}\"}}"));
        let Body::InitReport(report) = record.body else { panic!() };
        let read = report.phase.expect("it is there");
        assert_eq!(read.to_string(), word);
        assert_eq!(word == "else", matches!(read, InitPhase::Other(_)));
    }
}

#[test]
fn the_end_of_an_init_has_its_status_error_and_spans() {
    let record = read(
        "platform.initRuntimeDone",
        &format!(
            r#"{{"initializationType":"snap-start","phase":"snap-start","status":"error","errorType":"Runtime.ExitError","spans":{SPANS}}}"#
        ),
    );
    let Body::InitRuntimeDone(done) = record.body else { panic!() };
    assert_eq!(done.initialization_type, Some(InitializationType::SnapStart));
    assert_eq!(done.phase, Some(InitPhase::SnapStart));
    assert_eq!(
        (done.status, done.error_type.to_string()),
        (Some(Status::Error), "Runtime.ExitError".into())
    );
    let spans: Vec<_> = done.spans.iter().collect();
    assert_eq!((spans[0].name.to_string(), spans.len()), ("responseLatency".into(), 2));
    assert_eq!(spans[0].start.unix_millis(), Some(1_665_532_815_100));
    assert_eq!(milliseconds(spans[0].duration), Duration::from_micros(23_020));
    assert_eq!(milliseconds(spans[1].duration), Duration::from_millis(20));
}

#[test]
fn the_report_of_an_init_has_a_status_in_new_schemas_only() {
    let old = r#"{"initializationType":"on-demand","phase":"init","metrics":{"durationMs":125.33},"spans":[]}"#;
    let Body::InitReport(report) = read("platform.initReport", old).body else { panic!() };
    assert_eq!((report.status, report.error_type.is_empty()), (None, true));
    assert_eq!(milliseconds(report.metrics.duration), Duration::from_micros(125_330));
    assert_eq!(report.spans.iter().count(), 0);
    let new = r#"{"initializationType":"on-demand","phase":"invoke","status":"timeout","errorType":"Sandbox.Timedout","metrics":{"durationMs":3000}}"#;
    let Body::InitReport(report) = read("platform.initReport", new).body else { panic!() };
    assert_eq!((report.status, report.phase), (Some(Status::Timeout), Some(InitPhase::Invoke)));
    assert_eq!(report.error_type, "Sandbox.Timedout");
}

#[test]
fn the_start_of_an_invocation_has_its_request_id_trace_and_tenant() {
    let record = read(
        "platform.start",
        &format!(
            r#"{{"requestId":"6d68ca91-49c9-448d-89b8-7ca3e6dc66aa","version":"7","tracing":{TRACING},"tenantId":"blue","functionArn":"arn:f"}}"#
        ),
    );
    assert_eq!(record.request_id().unwrap(), "6d68ca91-49c9-448d-89b8-7ca3e6dc66aa");
    let Body::Start(start) = record.body else { panic!() };
    assert_eq!(
        (start.version.to_string(), start.tenant_id.to_string()),
        ("7".into(), "blue".into())
    );
    assert_eq!(start.tracing.kind, "X-Amzn-Trace-Id");
    assert_eq!(start.tracing.value, "Root=1-62e900b2;Sampled=1");
    assert_eq!(start.function_arn, "arn:f");
}

#[test]
fn the_end_of_an_invocation_has_its_request_id_status_and_metrics() {
    let record = read(
        "platform.runtimeDone",
        &format!(
            r#"{{"requestId":"6d68","status":"success","metrics":{{"durationMs":140.0,"producedBytes":16}},"spans":{SPANS},"tracing":{TRACING},"tenantId":"blue"}}"#
        ),
    );
    assert_eq!(record.request_id().unwrap(), "6d68");
    let Body::RuntimeDone(done) = record.body else { panic!() };
    assert_eq!((done.status, done.spans.iter().count()), (Some(Status::Success), 2));
    assert_eq!(milliseconds(done.metrics.duration), Duration::from_millis(140));
    assert_eq!(done.metrics.produced_bytes.unwrap().to_u64(), Some(16));
    assert_eq!(done.tenant_id, "blue");
}

#[test]
fn the_report_of_an_invocation_has_all_metrics_on_demand_and_one_on_managed_instances() {
    let on_demand = r#"{"requestId":"6d68","status":"failure","errorType":"Runtime.ExitError","metrics":{"durationMs":101.51,"billedDurationMs":300,"memorySizeMB":512,"maxMemoryUsedMB":33,"initDurationMs":116.67,"restoreDurationMs":0.5},"spans":[{"name":"extensionOverhead","start":"2022-10-12T00:00:15.1Z","durationMs":5}]}"#;
    let Body::Report(report) = read("platform.report", on_demand).body else { panic!() };
    assert_eq!(
        (report.status, report.error_type.to_string()),
        (Some(Status::Failure), "Runtime.ExitError".into())
    );
    let metrics = report.metrics;
    assert_eq!(milliseconds(metrics.duration), Duration::from_micros(101_510));
    assert_eq!(milliseconds(metrics.billed_duration), Duration::from_millis(300));
    assert_eq!(milliseconds(metrics.init_duration), Duration::from_micros(116_670));
    assert_eq!(milliseconds(metrics.restore_duration), Duration::from_micros(500));
    assert_eq!(metrics.memory_size_mb.unwrap().to_u64(), Some(512));
    assert_eq!(metrics.max_memory_used_mb.unwrap().to_u64(), Some(33));
    let managed =
        r#"{"requestId":"6d68","status":"success","metrics":{"durationMs":12.5},"spans":[]}"#;
    let Body::Report(report) = read("platform.report", managed).body else { panic!() };
    assert_eq!(milliseconds(report.metrics.duration), Duration::from_micros(12_500));
    assert_eq!((report.metrics.billed_duration, report.metrics.memory_size_mb), (None, None));
}

#[test]
fn the_records_of_a_restore_name_the_function_and_tell_how_it_ended() {
    let start = r#"{"functionName":"f","functionVersion":"3","instanceId":"i","instanceMaxMemory":512,"runtimeVersion":"v","runtimeVersionArn":"a"}"#;
    let Body::RestoreStart(start) = read("platform.restoreStart", start).body else { panic!() };
    assert_eq!((start.name.to_string(), start.version.to_string()), ("f".into(), "3".into()));
    let done = r#"{"status":"error","errorType":"Runtime.AfterRestoreError","spans":[]}"#;
    let Body::RestoreRuntimeDone(done) = read("platform.restoreRuntimeDone", done).body else {
        panic!()
    };
    assert_eq!(
        (done.status, done.error_type.to_string()),
        (Some(Status::Error), "Runtime.AfterRestoreError".into())
    );
    let report = r#"{"status":"success","metrics":{"durationMs":15.19},"spans":[]}"#;
    let Body::RestoreReport(report) = read("platform.restoreReport", report).body else { panic!() };
    assert_eq!(milliseconds(report.metrics.duration), Duration::from_micros(15_190));
}

#[test]
fn extensions_and_subscriptions_have_their_names_states_and_lists() {
    let state = r#"{"name":"my-extension","state":"Ready","events":["SHUTDOWN","INVOKE"],"errorType":"Extension.Crash"}"#;
    let Body::Extension(extension) = read("platform.extension", state).body else { panic!() };
    assert_eq!(
        (extension.name.to_string(), extension.state.to_string()),
        ("my-extension".into(), "Ready".into())
    );
    assert_eq!(
        extension.events.iter().map(|event| event.to_string()).collect::<Vec<_>>(),
        ["SHUTDOWN", "INVOKE"]
    );
    assert_eq!(extension.error_type, "Extension.Crash");
    let subscribed = r#"{"name":"bar.bash","state":"Subscribed","types":["platform","function"]}"#;
    let record = read("platform.telemetrySubscription", subscribed);
    let Body::TelemetrySubscription(telemetry) = record.body else { panic!() };
    assert_eq!(
        telemetry.types.iter().map(|it| it.to_string()).collect::<Vec<_>>(),
        ["platform", "function"]
    );
    let record = read("platform.logsSubscription", subscribed);
    let Body::LogsSubscription(logs) = record.body else { panic!() };
    assert_eq!(logs, telemetry);
}

#[test]
fn dropped_logs_and_faults_are_read() {
    let dropped = r#"{"reason":"Consumer seems to have fallen behind as it has not acknowledged receipt of logs.","droppedRecords":123,"droppedBytes":12345}"#;
    let Body::LogsDropped(dropped) = read("platform.logsDropped", dropped).body else { panic!() };
    assert!(dropped.reason.to_string().starts_with("Consumer seems"));
    assert_eq!(dropped.records.unwrap().to_u64(), Some(123));
    assert_eq!(dropped.bytes.unwrap().to_u64(), Some(12_345));
    let fault = r#""RequestId: 4a1c Process exited before completing request""#;
    let Body::Fault(fault) = read("platform.fault", fault).body else { panic!() };
    assert!(fault.to_string().starts_with("RequestId: 4a1c"));
}

#[test]
fn the_records_of_the_logs_api_have_less_to_say() {
    let record = read("platform.end", r#"{"requestId":"6f7f"}"#);
    assert!(matches!(record.body, Body::End(_)));
    assert_eq!(record.request_id().unwrap(), "6f7f");
    let Body::Report(report) = read(
        "platform.report",
        r#"{"requestId":"6f7f","metrics":{"durationMs":1.5,"billedDurationMs":100}}"#,
    )
    .body
    else {
        panic!()
    };
    assert_eq!(report.status, None);
    assert!(matches!(read("platform.restoreStart", "{}").body, Body::RestoreStart(_)));
    let Body::RuntimeDone(done) =
        read("platform.runtimeDone", r#"{"requestId":"6f7f","status":"timeout"}"#).body
    else {
        panic!()
    };
    assert_eq!((done.status, done.metrics), (Some(Status::Timeout), Metrics::default()));
}

#[test]
fn a_log_line_is_text_in_the_first_schema_and_an_object_in_later_ones() {
    // The same line of JSON logging, as the schemas 2022-07-01 and 2022-12-13 have it.
    let text = r#""{\"level\":\"INFO\",\"message\":\"caf\u00e9\\n\"}\n""#;
    let Body::FunctionLog(Log::Text(line)) = read("function", text).body else { panic!() };
    assert_eq!(line, "{\"level\":\"INFO\",\"message\":\"café\\n\"}\n");
    let object = r#"{"timestamp":"2022-10-12T00:03:50.000Z","level":"INFO","requestId":"79b4","message":"hi","deep":{"a":[1,{}]}}"#;
    let Body::FunctionLog(Log::Json(json)) = read("function", object).body else { panic!() };
    assert_eq!(json.as_str(), object);
    assert_eq!(json.member("requestId").unwrap().to_text().unwrap(), "79b4");
    assert_eq!(json.members().count(), 5);
    let Body::ExtensionLog(Log::Text(line)) = read("extension", "\"[ext] hello\"").body else {
        panic!()
    };
    assert_eq!(line, "[ext] hello");
    for odd in ["7", "[1]", "true", "null"] {
        let Body::ExtensionLog(Log::Json(json)) = read("extension", odd).body else { panic!() };
        assert_eq!((json.as_str(), json.is_object()), (odd, false));
    }
}

#[test]
fn unknown_types_and_fields_are_kept() {
    let record = read("platform.nextBigThing", r#"{"a":{"b":[1,2]}}"#);
    let Body::Other(json) = record.body else { panic!() };
    assert_eq!(json.member("a").unwrap().as_str(), r#"{"b":[1,2]}"#);
    assert!(
        matches!(record.record_type, RecordType::Other(name) if name == "platform.nextBigThing")
    );
    let event = br#"{"type":"platform.start","record":{"requestId":"r","new":1},"newer":[{}]}"#;
    let record = Record::parse(event).unwrap();
    assert_eq!(record.raw().as_bytes(), event);
    assert_eq!(record.request_id().unwrap(), "r");
}

#[test]
fn absent_and_null_fields_are_empty() {
    for record in [
        "{}",
        "null",
        r#"{"requestId":null,"status":null,"metrics":null,"spans":null,"tracing":null}"#,
    ] {
        let Body::RuntimeDone(done) = read("platform.runtimeDone", record).body else { panic!() };
        assert_eq!(
            (done.status, done.metrics, done.request_id.is_empty()),
            (None, Metrics::default(), true)
        );
        assert_eq!(read("platform.runtimeDone", record).request_id(), None);
    }
    let record = Record::parse(br#"{"type":"function","record":"x"}"#).unwrap();
    assert_eq!((record.time.text().is_empty(), record.time.unix_millis()), (true, None));
}

#[test]
fn a_malformed_time_is_kept_as_text() {
    let record =
        Record::parse(br#"{"time":"2022-10-12T12:01:23:521Z","type":"function","record":""}"#)
            .unwrap();
    assert_eq!(
        (record.time.to_string().as_str(), record.time.unix_millis()),
        ("2022-10-12T12:01:23:521Z", None)
    );
}

#[test]
fn what_is_no_record_says_why() {
    for (event, reason) in [
        (&b"{\"type\":\"function\",\"record\":\"\xff\"}"[..], Reason::NotUtf8),
        (b"", Reason::NotJson),
        (b"{", Reason::NotJson),
        (b"{\"type\":\"function\",\"record\":\"\x00\"}", Reason::NotJson),
        (b"{\"type\":\"function\",}", Reason::NotJson),
        (b"{\"type\":\"function\"}}", Reason::NotJson),
        (b"{\"type\":\"function\" \"record\":1}", Reason::NotJson),
        (b"{\"type\":\"function\",\"record\":01}", Reason::NotJson),
        (b"{\"type\":\"function\",\"record\":nul}", Reason::NotJson),
        (b"{\"type\":\"function\",\"record\":\"\\x\"}", Reason::NotJson),
        (b"{\"type\":\"function\",\"record\":\"\\u12g4\"}", Reason::NotJson),
        (b"{type:\"function\"}", Reason::NotJson),
        (b"[]", Reason::NotAnObject),
        (b"7", Reason::NotAnObject),
        (b"\"text\"", Reason::NotAnObject),
        (b"{}", Reason::NoType),
        (b"{\"type\":7}", Reason::NoType),
    ] {
        let unread = Record::parse(event).unwrap_err();
        assert_eq!((unread.reason, unread.raw), (reason, event), "{}", event.escape_ascii());
        assert!(unread.to_string().starts_with("a telemetry record cannot be read: "));
    }
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    for (kind, record, field) in [
        ("platform.start", r#"{"requestId":7}"#, "requestId"),
        ("platform.start", r#"{"tracing":"Root=1"}"#, "tracing"),
        ("platform.start", "[]", "record"),
        ("platform.start", "\"text\"", "record"),
        ("platform.fault", "{}", "record"),
        ("platform.runtimeDone", r#"{"status":true}"#, "status"),
        ("platform.runtimeDone", r#"{"metrics":{"durationMs":"1"}}"#, "durationMs"),
        ("platform.runtimeDone", r#"{"spans":{}}"#, "spans"),
        ("platform.runtimeDone", r#"{"spans":[7]}"#, "spans"),
        ("platform.runtimeDone", r#"{"spans":[{"start":7}]}"#, "start"),
        ("platform.extension", r#"{"events":["INVOKE",7]}"#, "events"),
        ("platform.telemetrySubscription", r#"{"types":"all"}"#, "types"),
        ("platform.logsDropped", r#"{"droppedRecords":[]}"#, "droppedRecords"),
    ] {
        let event = event(kind, record);
        let Reason::WrongField { name } = Record::parse(event.as_bytes()).unwrap_err().reason
        else {
            panic!("{event}")
        };
        assert_eq!(name, field, "{event}");
    }
    let time = br#"{"time":1665532815064,"type":"function","record":""}"#;
    assert!(
        matches!(Record::parse(time).unwrap_err().reason, Reason::WrongField { name } if name == "time")
    );
}

#[test]
fn numbers_are_exact_or_none() {
    let number = |text: &str| {
        let Body::LogsDropped(dropped) =
            read("platform.logsDropped", &format!("{{\"droppedRecords\":{text}}}")).body
        else {
            panic!()
        };
        let number = dropped.records.unwrap();
        assert_eq!(number.as_str(), text);
        number.to_u64()
    };
    for (text, value) in [
        ("0", Some(0)),
        ("-0", Some(0)),
        ("-0.0e5", Some(0)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("1e19", Some(10_000_000_000_000_000_000)),
        ("1e20", None),
        ("1.5e1", Some(15)),
        ("1.5", None),
        ("150e-1", Some(15)),
        ("15.0", Some(15)),
        ("-1", None),
        ("-0.5", None),
        ("1e400", None),
        ("1e-400", None),
        ("0e400", Some(0)),
        ("0.0e-99999999999999999999", Some(0)),
        ("1e99999999999999999999", None),
        ("0.00000000000000000000000000000000000000001e41", Some(1)),
    ] {
        assert_eq!(number(text), value, "{text}");
    }
    let duration = |text: &str| {
        let record = format!("{{\"metrics\":{{\"durationMs\":{text}}}}}");
        let Body::Report(report) = read("platform.report", &record).body else { panic!() };
        let duration = report.metrics.duration.unwrap();
        assert_eq!(duration.to_string(), format!("{text} ms"));
        duration.to_duration()
    };
    assert_eq!(duration("0.000001"), Some(Duration::from_nanos(1)));
    assert_eq!(duration("0.0000009"), Some(Duration::ZERO));
    assert_eq!(duration("1.5E+3"), Some(Duration::from_millis(1500)));
    assert_eq!(duration("-1"), None);
    assert_eq!(duration("1e400"), None);
}

#[test]
fn every_type_arrives_in_one_batch_however_it_is_cut() {
    let events = [
        event("platform.initStart", r#"{"phase":"snap-start"}"#),
        event("platform.initRuntimeDone", r#"{"status":"success"}"#),
        event("platform.initReport", r#"{"metrics":{"durationMs":1}}"#),
        event("platform.restoreStart", "{}"),
        event("platform.restoreRuntimeDone", r#"{"status":"success"}"#),
        event("platform.restoreReport", r#"{"status":"success"}"#),
        event("platform.extension", r#"{"events":[]}"#),
        event("platform.telemetrySubscription", r#"{"types":["function"]}"#),
        event("platform.start", r#"{"requestId":"1"}"#),
        event("function", r#""a \"quoted\" line, with ] and } and \\""#),
        event("extension", r#"{"message":"[{"}"#),
        event("platform.runtimeDone", r#"{"requestId":"1"}"#),
        event("platform.report", r#"{"requestId":"1"}"#),
        event("platform.logsDropped", r#"{"droppedRecords":1,"droppedBytes":2}"#),
        event("platform.unheard", "[[[]]]"),
    ];
    let seen = receive_cut(&post(batch(&events)));
    assert_eq!(seen.records, events);
    assert_eq!((seen.statuses(), seen.unread.len()), (vec!["200"], 0));
    assert!(MEMORY > events.concat().len());
}
