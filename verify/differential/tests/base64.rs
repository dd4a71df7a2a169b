//! Base64, which core writes and never reads: the body of an error in the trailers of a stream,
//! compared with the base64 crate.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_proto::api::ErrorReport;
use lambda_proto::limits::MAX_ERROR_TRAILERS;
use proptest::prelude::*;

/// The value of the trailer, and the JSON that it should encode.
fn encoded(report: &ErrorReport<'_>) -> (String, Vec<u8>) {
    let (mut trailers, mut json) = ([0; MAX_ERROR_TRAILERS], [0; MAX_ERROR_TRAILERS]);
    let length = report.encode_trailers(&mut trailers).expect("the limit is room enough");
    let json_length = report.encode_json(&mut json).expect("the limit is room enough");
    let trailers = str::from_utf8(&trailers[..length]).expect("ASCII");
    let (_, body) =
        trailers.split_once("\r\nLambda-Runtime-Function-Error-Body: ").expect("a body");
    let body = body.strip_suffix("\r\n\r\n").expect("the end of the trailers");
    (body.to_owned(), json[..json_length].to_vec())
}

#[test]
fn messages_of_every_length_are_encoded_as_by_the_base64_crate() {
    let mut seen = BTreeSet::new();
    // Up to the length that the limit of the trailers does not cut.
    for length in 0..2_900 {
        // Characters of one to four bytes, at every offset to the groups of three bytes.
        let message: String = "aé€🍵~?>".chars().cycle().take(length / 3).collect();
        let message = message + &"x".repeat(length % 3);
        let report = ErrorReport::new("A.B", &message);
        let (encoded, json) = encoded(&report);
        assert_eq!(encoded, STANDARD.encode(&json), "{length}");
        assert_eq!(STANDARD.decode(&encoded).expect("canonical base64"), json, "{length}");
        seen.insert((json.len() % 3, encoded.bytes().filter(|byte| *byte == b'=').count()));
    }
    assert_eq!(seen, BTreeSet::from([(0, 0), (1, 2), (2, 1)]));
}

#[test]
fn every_digit_is_encoded_as_by_the_base64_crate() {
    let mut seen = BTreeSet::new();
    for code in (0x20..=0x2fff).step_by(64) {
        let some = (code..code + 64).filter_map(char::from_u32);
        let message: String = some.collect();
        let (encoded, json) = encoded(&ErrorReport::new("A.B", &message));
        assert_eq!(encoded, STANDARD.encode(&json), "{code:x}");
        seen.extend(encoded.bytes());
    }
    // 64 digits and the padding.
    assert_eq!(seen.len(), 65);
}

proptest! {
    // Integration tests have no place for regression files; a counterexample belongs in a test.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..Default::default() })]

    #[test]
    fn any_report_is_encoded_as_by_the_base64_crate(message: String, stack_trace: String) {
        let (encoded, json) = encoded(&ErrorReport::new("A.B", &message).stack_trace(&stack_trace));
        prop_assert_eq!(&encoded, &STANDARD.encode(&json));
    }
}
