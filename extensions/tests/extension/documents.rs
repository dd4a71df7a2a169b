//! Extension names, and the documents in replies.

use lambda_proto::api::Deadline;
use lambda_proto::json::JsonStr;
use lambda_proto_extension::{EnvironmentEvent, ExtensionName, Registration, ShutdownCause};

use super::name;

#[test]
fn the_documents_of_the_recorded_shutdowns_are_read() {
    // As logged by the bootstraps that AWS's emulator ended by SIGTERM (recordings 20b and 20c).
    let document =
        b"{\"functionName\":\"test_function\",\"functionVersion\":\"$LATEST\",\"handler\":\"\"}\n";
    assert_eq!(Registration::parse(document).expect("the document").function_name, "test_function");
    let document = br#"{"eventType":"INVOKE","deadlineMs":1795253272314,"requestId":"ae0ca028-1096-480b-90b8-73d530eb1337","invokedFunctionArn":"arn:aws:lambda:us-east-1:012345678912:function:test_function"}"#;
    let Ok(EnvironmentEvent::Invoke(invoke)) = EnvironmentEvent::parse(document) else { panic!() };
    assert_eq!(invoke.request_id, "ae0ca028-1096-480b-90b8-73d530eb1337");
}

#[test]
fn a_registration_has_the_account_id_only_if_the_service_sends_it() {
    let document =
        br#"{"functionName":"f","functionVersion":"3","handler":"h","accountId":"012345678912"}"#;
    let registration = Registration::parse(document).expect("the document");
    assert_eq!(registration.function_version, "3");
    assert_eq!(registration.account_id, "012345678912");
    assert!(Registration::parse(b"{}").expect("the document").account_id.is_empty());
}

#[test]
fn names_that_could_break_out_of_their_header_field_are_refused() {
    for bad in ["", " ", "a\r\nX: y", "a\n", "a\0", " a", "a ", &"x".repeat(256)] {
        assert!(ExtensionName::new(bad).is_err(), "{bad:?}");
    }
    for good in ["a", "ext.py", "my extension", "\u{e9}", &"x".repeat(255)] {
        assert_eq!(name(good).as_str(), good);
    }
}

#[test]
fn a_shutdown_has_its_reason_as_text_and_its_cause_in_any_letter_case() {
    let parse = |reason: &str| {
        let document =
            format!("{{\"eventType\":\"SHUTDOWN\",\"deadlineMs\":7,\"shutdownReason\":{reason}}}");
        let Ok(EnvironmentEvent::Shutdown(shutdown)) = EnvironmentEvent::parse(document.as_bytes())
        else {
            panic!("{document}")
        };
        assert_eq!(shutdown.deadline, Some(Deadline::from_unix_millis(7)));
        (shutdown.reason.to_string(), shutdown.reason.cause())
    };
    for (reason, text, cause) in [
        ("\"spindown\"", "spindown", Some(ShutdownCause::Spindown)),
        ("\"SPINDOWN\"", "SPINDOWN", Some(ShutdownCause::Spindown)),
        ("\"Timeout\"", "Timeout", Some(ShutdownCause::Timeout)),
        ("\"f\\u0061ilure\"", "failure", Some(ShutdownCause::Failure)),
        ("\"SandboxTerminated\"", "SandboxTerminated", None),
        ("\"ReserveFail\"", "ReserveFail", None),
        ("\"timeouts\"", "timeouts", None),
        ("\"\"", "", None),
        ("null", "", None),
    ] {
        assert_eq!(parse(reason), (text.to_owned(), cause));
    }
}

#[test]
fn an_invoke_has_its_trace_and_unknown_events_their_type() {
    let document = br#"{"eventType":"INVOKE","tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1;Sampled=1"},"new":[{}]}"#;
    let Ok(EnvironmentEvent::Invoke(invoke)) = EnvironmentEvent::parse(document) else { panic!() };
    assert_eq!(invoke.trace_id, "Root=1;Sampled=1");
    assert_eq!((invoke.deadline, invoke.request_id.is_empty()), (None, true));
    for (document, event_type) in [("{\"eventType\":\"RESUME\"}", "RESUME"), ("{}", "")] {
        let event = EnvironmentEvent::parse(document.as_bytes());
        let Ok(EnvironmentEvent::Other { event_type: other, document: raw }) = event else {
            panic!("{document}")
        };
        assert_eq!((other, raw), (JsonStr::from_field(Some(event_type)), document.as_bytes()));
    }
}

#[test]
fn hostile_documents_are_errors() {
    let deep = format!("{{\"tracing\":{}1{}}}", "[".repeat(70), "]".repeat(70));
    for document in [
        "",
        "null",
        "[]",
        "{\"eventType\":1}",
        "{\"eventType\":\"INVOKE\",\"deadlineMs\":-1}",
        "{\"eventType\":\"INVOKE\",\"deadlineMs\":1e3}",
        "{\"eventType\":\"INVOKE\",\"deadlineMs\":99999999999999999999}",
        "{\"eventType\":\"INVOKE\",\"tracing\":7}",
        "{\"eventType\":\"INVOKE\"",
        "{\"eventType\":\"INVOKE\"}{}",
        &deep,
    ] {
        assert!(EnvironmentEvent::parse(document.as_bytes()).is_err(), "{document}");
    }
}
