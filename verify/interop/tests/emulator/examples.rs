//! The other examples, and streams.

use lambda_interop::programs;

use crate::{assert_nothing_was_refused, describe, example, misbehave};

#[test]
fn hello_greets() {
    let mut emulator = example("hello").start().unwrap();
    for (name, greeting) in [("Ada", "Hello, Ada!"), ("Zoë \\\"Z\\\"", "Hello, Zoë \\\"Z\\\"!")] {
        let answer = emulator.invoke(format!(r#"{{"name":"{name}"}}"#)).unwrap();
        assert_eq!(answer.text(), format!(r#"{{"greeting":"{greeting}"}}"#));
    }
}

#[test]
fn hello_reports_an_event_that_it_cannot_parse_and_continues() {
    let mut emulator = example("hello").count_connections().start().unwrap();
    for event in ["", "nonsense", "{}", r#"{"name":7}"#] {
        let error = emulator.invoke(event).unwrap().function_error().unwrap();
        assert_eq!(error.error_type, "Runtime.UnmarshalError", "{event:?}");
        assert!(error.error_message.contains("line 1 column"), "{event:?}: {error:?}");
    }
    let answer = emulator.invoke(r#"{"name":"Ada"}"#).unwrap();
    assert_eq!(answer.text(), r#"{"greeting":"Hello, Ada!"}"#);
    assert_eq!(emulator.connections(), 1);
}

#[test]
fn bare_echoes_over_one_connection() {
    let mut emulator = example("bare").count_connections().start().unwrap();
    for length in [0, 1, 2_048, 2_049, 100_000, 5 << 20] {
        let event = "bare ".repeat(length / 5 + 1);
        assert!(emulator.invoke(&event[..length]).unwrap().text() == event[..length], "{length}");
    }
    assert_eq!(emulator.connections(), 1);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn minimal_echoes() {
    let mut emulator = example("minimal").start().unwrap();
    assert_eq!(emulator.invoke("any bytes \u{1}").unwrap().text(), "any bytes \u{1}");
}

#[test]
fn stream_sends_its_lines_after_the_prelude_of_its_http_response() {
    let mut emulator = example("stream").start().unwrap();
    let text = emulator.invoke("2").unwrap().text();
    let (prelude, lines) = text.split_once("\0\0\0\0\0\0\0\0").expect("eight NULs end the prelude");
    let prelude: serde_json::Value = serde_json::from_str(prelude).unwrap();
    assert_eq!(prelude["statusCode"], 200);
    assert_eq!(prelude["headers"]["content-type"], "text/plain");
    assert_eq!(lines, "line 1\nline 2\n");
}

#[test]
fn stream_fails_after_its_first_line_if_the_event_says_so_and_continues() {
    let mut emulator = example("stream").start().unwrap();
    let answer = emulator.invoke(r#""fail""#).unwrap();
    // In on-demand mode the emulator accepts the error trailers and does not show them.
    assert!(answer.text().ends_with("\0\0\0\0\0\0\0\0line 1\n"), "{}", answer.text());
    assert!(emulator.invoke("1").unwrap().text().ends_with("\0line 1\n"));
    assert_nothing_was_refused(&emulator);
}

#[test]
fn the_chunks_of_a_streamed_response_arrive_joined() {
    let mut emulator = misbehave().start().unwrap();
    let event = r#"{"do":"stream","chunks":26,"bytes":10000}"#;
    let expected: String = ('a'..='z').map(|letter| letter.to_string().repeat(10_000)).collect();
    assert!(emulator.invoke(event).unwrap().text() == expected);
    assert_eq!(emulator.invoke(r#"{"do":"stream","chunks":0,"bytes":0}"#).unwrap().text(), "");
    assert_nothing_was_refused(&emulator);
}

#[test]
fn a_stream_that_fails_midway_is_accepted_with_its_error_trailers() {
    let mut emulator = misbehave().count_connections().start().unwrap();
    let before = describe(&mut emulator);
    let fail = r#"{"type":"Function.Midway","message":"half is enough"}"#;
    let event = format!(r#"{{"do":"stream","chunks":2,"bytes":3,"fail":{fail}}}"#);
    assert_eq!(emulator.invoke(event).unwrap().text(), "aaabbb");
    let after = describe(&mut emulator);
    assert_eq!(after["process"], before["process"]);
    assert_eq!(emulator.connections(), 1);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn error_trailers_are_cut_to_their_limit_and_accepted() {
    let mut emulator = misbehave().count_connections().start().unwrap();
    let before = describe(&mut emulator);
    // Escapes and multi-byte characters, so that the cut falls into the middle of some.
    for message in ["m", "\\n", "é", "\\u0001", "🦀"] {
        let fail = format!(r#"{{"type":"Function.Long","message":"{message}","times":100000}}"#);
        let event = format!(r#"{{"do":"stream","chunks":1,"bytes":3,"fail":{fail}}}"#);
        assert_eq!(emulator.invoke(event).unwrap().text(), "aaa", "{message}");
    }
    let after = describe(&mut emulator);
    assert_eq!(after["process"], before["process"]);
    assert_eq!(emulator.connections(), 1);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn an_extension_that_wants_telemetry_goes_on_where_there_is_none() {
    let folder = programs::opt_with(&["extension_flush"]).unwrap();
    let mut emulator = example("minimal").opt(folder.path()).start().unwrap();
    for event in ["one", "two"] {
        assert_eq!(emulator.invoke(event).unwrap().text(), event);
    }
    // The emulator answers 202 to a subscription, and sends nothing.
    emulator
        .wait_for_output("no telemetry comes: telemetry subscription was answered with 202")
        .unwrap();
    emulator.wait_for_output("extension_flush: 0 records (NoTelemetry)").unwrap();
}
