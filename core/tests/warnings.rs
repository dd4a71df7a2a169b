//! The one line that a warning displays.

use lambda_proto::api::{Call, Outcome};
use lambda_proto::client::{Warning, WarningKind};

fn refused_with(detail: &[u8]) -> String {
    let outcome = Outcome::new(Call::Response, 413);
    let said =
        Warning { request_id: "", kind: WarningKind::Refused { outcome, detail } }.to_string();
    let rest = said.strip_prefix("response was answered with 413: the body is too large");
    rest.expect("what the status means").to_owned()
}

#[test]
fn a_refusal_shows_the_type_and_message_of_its_document() {
    let document = br#"{"errorMessage":"Exceeded","errorType":"RequestEntityTooLarge"}"#;
    assert_eq!(refused_with(document), " (RequestEntityTooLarge: Exceeded)");
    assert_eq!(refused_with(br#"{"errorType":"A"}"#), " (A: )");
    assert_eq!(refused_with(br#"{"errorMessage":"caf\u00e9\r\nb"}"#), " (: café  b)");
}

#[test]
fn a_refusal_without_type_and_message_shows_the_whole_document() {
    assert_eq!(refused_with(b""), "");
    assert_eq!(refused_with(b" {}\n"), " ({})");
    assert_eq!(refused_with(br#"{"message":"busy"}"#), r#" ({\"message\":\"busy\"})"#);
    assert_eq!(refused_with(b"404 page not found\n"), " (404 page not found)");
    assert_eq!(refused_with(b"\0\r\n\xff{"), r" (\x00\r\n\xff{)");
}

#[test]
fn a_refusal_with_a_deep_document_shows_its_beginning() {
    assert_eq!(refused_with(&[b'['; 512]), format!(" ({})", "[".repeat(512)));
}
