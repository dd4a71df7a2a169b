//! JSON that `lambda-proto` and its transports write.

use lambda_proto::api::{ErrorReport, HttpPrelude};
use lambda_proto::limits::MAX_ERROR_TYPE;
use lambda_proto_differential::{Call, Parts, serve};
use lambda_proto_host::{Fields, Format, Level, Record};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::any_json;

proptest! {
    // Integration tests have no place for regression files; a counterexample belongs in a test.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..Default::default() })]

    #[test]
    fn a_cause_for_x_ray_means_the_same_in_its_header(cause in any_json(), is_pretty: bool) {
        let text = if is_pretty { format!("{cause:#}") } else { cause.to_string() };
        let parts = Parts { xray_cause: Some(text.clone()), ..Parts::harmless() };
        let request = serve(&Call::InitError.encode(&parts).expect("a request")).one().expect("one request");
        let header = request.field("lambda-runtime-function-xray-error-cause").expect("it is there");
        let header: Value = serde_json::from_slice(header).expect("JSON");
        // Not compared with the value itself: serde_json does not read every number back as
        // written.
        prop_assert_eq!(header, serde_json::from_str::<Value>(&text).expect("JSON"));
    }

    #[test]
    fn a_report_of_any_strings_is_read(
        // So long that nothing is cut even if each character needs an escape.
        error_type in prop::collection::vec(any::<char>(), 0..MAX_ERROR_TYPE / 6),
        message: String,
        frames in prop::collection::vec("[^\r\n]{1,20}", 0..4),
    ) {
        let error_type: String = error_type.into_iter().collect();
        let report = encoded(&ErrorReport::new(&error_type, &message).stack_trace(&frames.join("\n")));
        let error_type = if error_type.is_empty() { "Runtime.Unknown" } else { &error_type };
        let mut expected = json!({"errorType": error_type, "errorMessage": message});
        if !frames.is_empty() {
            expected["stackTrace"] = json!(frames);
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(&report).expect("JSON"), expected);
    }
}

fn encoded(report: &ErrorReport<'_>) -> Vec<u8> {
    let mut json = vec![0; 100_000];
    let length = report.encode_json(&mut json).expect("room");
    json.truncate(length);
    json
}

/// All characters, some thousands at a time.
fn all_characters() -> Vec<String> {
    let all: Vec<char> = ('\0'..=char::MAX).collect();
    all.chunks(8_192).map(|some| some.iter().collect()).collect()
}

#[test]
fn every_character_of_a_message_and_of_a_stack_trace_is_read() {
    for text in all_characters() {
        // A line end would end a frame.
        let frame = text.replace(['\r', '\n'], "");
        let report = encoded(&ErrorReport::new("A.B", &text).stack_trace(&frame));
        let expected = json!({"errorType": "A.B", "errorMessage": text, "stackTrace": [frame]});
        assert!(
            serde_json::from_slice::<Value>(&report).expect("JSON") == expected,
            "{:?}",
            text.chars().next()
        );
    }
}

#[test]
fn every_character_of_a_prelude_is_read_or_refused() {
    let mut out = vec![0; 100_000];
    for text in all_characters() {
        let is_control = |it: char| it.is_ascii_control() && it != '\t';
        let plain = text.replace(is_control, "");
        let (headers, cookies) = ([("x-a", &*plain)], [&*plain]);
        let prelude = HttpPrelude::new(200, &headers, &cookies).expect("no control characters");
        let length = prelude.encode(&mut out).expect("room");
        let json = out[..length].strip_suffix(&[0; HttpPrelude::END_LEN]).expect("its end");
        let expected = json!({"statusCode": 200, "headers": {"x-a": plain}, "cookies": [plain]});
        assert!(
            serde_json::from_slice::<Value>(json).expect("JSON") == expected,
            "{:?}",
            text.chars().next()
        );
        for control in text.chars().filter(|it| is_control(*it)) {
            let control = control.to_string();
            assert!(HttpPrelude::new(200, &[("x-a", &control)], &[]).is_err(), "{control:?}");
            assert!(HttpPrelude::new(200, &[], &[&control]).is_err(), "{control:?}");
        }
    }
}

#[test]
fn every_character_of_a_log_line_is_read() {
    for text in all_characters() {
        let fields = |fields: &mut Fields<'_>| fields.text(&text, format_args!("{text}"));
        let line = Record::new(Level::Warn, format_args!("{text}"))
            .logger(&text)
            .request_id(&text)
            .fields(&fields)
            .format(Format::Json)
            .to_string();
        let line: Value = serde_json::from_str(&line).expect("JSON");
        for name in ["message", "logger", "requestId", &text] {
            assert!(line[name] == *text, "{name:.20} {:?}", text.chars().next());
        }
    }
}
