//! The service's own JSON documents, and the strings in them.

use lambda_proto::api::{ClientContext, CognitoIdentity, ServiceError};
use lambda_proto::json::JsonError;
use lambda_proto::limits::MAX_JSON_DEPTH;
use proptest::prelude::*;

/// Decodes the text between the quotes of a JSON string.
fn decode(escaped: &str) -> String {
    let document = format!("{{\"errorMessage\":\"{escaped}\"}}");
    ServiceError::parse(document.as_bytes()).unwrap().error_message.to_string()
}

/// A document with an unknown member that gives the document this depth.
fn nested(open: &str, close: &str, depth: usize) -> String {
    let levels = depth - 1;
    let inside = format!("{}0{}", open.repeat(levels), close.repeat(levels));
    format!("{{\"unknown\":{inside},\"errorType\":\"T\"}}")
}

fn error_type(document: &str) -> Result<String, JsonError> {
    ServiceError::parse(document.as_bytes()).map(|error| error.error_type.to_string())
}

#[test]
fn a_service_error_is_read_as_the_service_writes_it() {
    let document =
        b"{\"errorMessage\":\"Invalid request ID\",\"errorType\":\"InvalidRequestID\"}\n";
    let error = ServiceError::parse(document).unwrap();
    assert_eq!(error.error_type, "InvalidRequestID");
    assert_eq!(error.error_message, "Invalid request ID");
}

#[test]
fn unknown_members_are_skipped() {
    let document = r#" { "stackTrace" : [ "a" , {"b":[-1.5e3,true,null]} ] , "errorType" : "T" , "x" : { } } "#;
    assert_eq!(error_type(document).as_deref(), Ok("T"));
}

#[test]
fn absent_members_are_empty() {
    let error = ServiceError::parse(b"{}").unwrap();
    assert!(error.error_type.is_empty() && error.error_message.is_empty());
    assert_eq!(error, ServiceError::default());
}

#[test]
fn a_cognito_identity_is_read() {
    let identity = CognitoIdentity::parse(
        br#"{"cognitoIdentityId":"a\"","cognitoIdentityPoolId":"us-east-1:b"}"#,
    )
    .unwrap();
    assert_eq!(identity.identity_id, "a\"");
    assert_eq!(identity.identity_pool_id, "us-east-1:b");
}

#[test]
fn a_client_context_is_read_and_its_free_form_maps_are_skipped() {
    let context = ClientContext::parse(
        br#"{"client":{"installation_id":"i","app_title":"t","app_version_name":"n","app_version_code":"c",
            "app_package_name":"p"},"custom":{"k":{"l":[1]}},"env":{"locale":"de"},"services":{}}"#,
    );
    let client = context.unwrap().client;
    assert_eq!(client.installation_id, "i");
    assert_eq!(client.app_title, "t");
    assert_eq!(client.app_version_name, "n");
    assert_eq!(client.app_version_code, "c");
    assert_eq!(client.app_package_name, "p");
}

#[test]
fn anything_but_a_document_of_the_service_is_an_error() {
    for document in [
        "",
        " ",
        "404 page not found\n",
        "null",
        "[]",
        "\"errorType\"",
        "{",
        "{}}",
        "{} x",
        "{}{}",
        "{\"errorType\"}",
        "{\"errorType\":}",
        "{\"errorType\":1}",
        "{\"errorType\":[]}",
        "{\"errorType\":\"a}",
        "{\"errorType\":\"a\\\"}",
        "{\"errorType\":\"a\",}",
        "{errorType:\"a\"}",
        "\u{feff}{}",
    ] {
        assert_eq!(error_type(document), Err(JsonError::NotTheDocument), "{document:?}");
    }
}

#[test]
fn a_string_that_is_not_utf_8_is_an_error() {
    let parsed = ServiceError::parse(b"{\"errorType\":\"\xff\"}");
    assert_eq!(parsed, Err(JsonError::NotTheDocument));
}

#[test]
fn base64_in_place_of_a_client_context_is_an_error_and_not_a_panic() {
    assert_eq!(ClientContext::parse(b"eyJjbGllbnQiOnt9fQ=="), Err(JsonError::NotTheDocument));
}

#[test]
fn nesting_as_deep_as_the_limit_is_read() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let document = nested(open, close, MAX_JSON_DEPTH);
        assert_eq!(error_type(&document).as_deref(), Ok("T"), "{open}");
    }
}

#[test]
fn nesting_one_level_deeper_is_too_deep() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert_eq!(
            error_type(&nested(open, close, MAX_JSON_DEPTH + 1)),
            Err(JsonError::TooDeep),
            "{open}"
        );
    }
}

#[test]
fn nesting_that_never_closes_is_too_deep() {
    let document = format!("{{\"a\":{}", "[".repeat(1_000_000));
    assert_eq!(error_type(&document), Err(JsonError::TooDeep));
}

#[test]
fn brackets_in_strings_do_not_nest() {
    let document = format!("{{\"a\":\"\\\"{}\",\"errorType\":\"T\"}}", "[{".repeat(100));
    assert_eq!(error_type(&document).as_deref(), Ok("T"));
}

#[test]
fn brackets_side_by_side_do_not_nest() {
    let document = format!("{{\"a\":[{}0],\"errorType\":\"T\"}}", "[],{},".repeat(100));
    assert_eq!(error_type(&document).as_deref(), Ok("T"));
}

#[test]
fn a_quote_out_of_place_hides_no_nesting() {
    // A reader that skips `x"` as if it were a number sees a key next, while one that counts quotes
    // sees the end of a string. So brackets could be inside a string for only one of them. The key
    // may consist of characters that can precede a string.
    let levels = MAX_JSON_DEPTH + 1;
    let nested = format!("{}0{}", "[".repeat(levels), "]".repeat(levels));
    for junk in ["x\"", "1\"", "x:\"", "x \"", "x{\"", "x[\"", "-\"\"\"", ":\"", ": \""] {
        for key in ["b", ":", ",", "[", "{", " : "] {
            let document = format!("{{\"a\":{junk},\"{key}\":{nested}}}");
            assert!(error_type(&document).is_err(), "{document}");
        }
        let document = format!("{{\"a\":[{junk},{nested}]}}");
        assert!(error_type(&document).is_err(), "{document}");
    }
}

#[test]
fn every_escape_of_json_is_decoded() {
    let escaped = r#"\"\\\/\b\f\n\r\t\u0041\u00e9\u00E9\u2603"#;
    assert_eq!(decode(escaped), "\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{e9}\u{2603}");
}

#[test]
fn escapes_are_decoded_at_every_place_of_a_long_text() {
    for (escape, decoded) in
        [(r"\n", "\n"), (r#"\""#, "\""), (r"\\", "\\"), (r"\u00e9", "\u{e9}"), (r"\/\\\t", "/\\\t")]
    {
        for (before, after) in (0..20).flat_map(|before| (0..20).map(move |after| (before, after)))
        {
            let (before, after) = ("\u{e9}[".repeat(before), "]".repeat(after));
            let escaped = format!("{before}{escape}{after}{escape}{escape}");
            assert_eq!(decode(&escaped), format!("{before}{decoded}{after}{decoded}{decoded}"));
        }
    }
}

#[test]
fn surrogate_pairs_are_one_character() {
    assert_eq!(decode(r"\ud83c\udf75"), "\u{1f375}");
    assert_eq!(decode(r"\uD800\uDC00\udbff\udfff"), "\u{10000}\u{10ffff}");
}

#[test]
fn half_a_surrogate_pair_is_replaced_and_what_follows_it_stays() {
    for (escaped, decoded) in [
        (r"\ud83c", "\u{fffd}"),
        (r"\udf75", "\u{fffd}"),
        (r"\ud83cx", "\u{fffd}x"),
        (r"\ud83c\n", "\u{fffd}\n"),
        (r"\ud83c\u0041", "\u{fffd}A"),
        (r"\ud83c\u12", "\u{fffd}\u{fffd}12"),
        (r"\ud83c\ud83c\udf75", "\u{fffd}\u{1f375}"),
        (r"\udf75\ud83c", "\u{fffd}\u{fffd}"),
    ] {
        assert_eq!(decode(escaped), decoded, "{escaped}");
    }
}

#[test]
fn an_escape_that_json_does_not_have_is_replaced() {
    for (escaped, decoded) in [
        (r"\x41", "\u{fffd}41"),
        (r"\u12", "\u{fffd}12"),
        (r"\u+123", "\u{fffd}+123"),
        (r"\ué123", "\u{fffd}\u{e9}123"),
    ] {
        assert_eq!(decode(escaped), decoded, "{escaped}");
    }
}

#[test]
fn a_string_is_compared_by_its_characters() {
    let error = ServiceError::parse(br#"{"errorType":"\u0041\n"}"#).unwrap();
    assert_eq!(error.error_type, "A\n");
    assert_ne!(error.error_type, "A");
    assert_ne!(error.error_type, *"A\n!");
    assert_eq!(error.error_type.as_escaped(), r"\u0041\n");
}

/// A JSON string of `text` in which the characters that `escape_it` picks are \u escapes.
fn escaped_here_and_there(text: &str, escape_it: &[bool]) -> String {
    let mut units = [0; 2];
    text.chars()
        .zip(escape_it.iter().cycle())
        .map(|(character, escape_it)| {
            if !escape_it {
                let quoted = serde_json::to_string(&character).unwrap();
                return quoted[1..quoted.len() - 1].to_owned();
            }
            character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..Default::default() })]

    #[test]
    fn strings_decode_as_a_json_library_decodes_them(
        text in prop_oneof![any::<String>(), "[\u{0}-\u{20}\"\\\\/\u{7f}-\u{ff}\u{1f375}]{0,20}"],
        escape_it in prop::collection::vec(any::<bool>(), 1..9),
    ) {
        let escaped = escaped_here_and_there(&text, &escape_it);
        let theirs: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
        prop_assert_eq!(&theirs, &text);
        prop_assert_eq!(decode(&escaped), theirs);
    }

    #[test]
    fn documents_of_a_json_library_are_read(kind: String, message: String, extra: Vec<String>) {
        let document = serde_json::json!({"errorType": kind, "extra": extra, "errorMessage": message});
        let document = document.to_string();
        let error = ServiceError::parse(document.as_bytes()).unwrap();
        prop_assert_eq!(error.error_type, &kind[..]);
        prop_assert_eq!(error.error_message, &message[..]);
    }

    #[test]
    fn any_backslashes_decode_to_something(escaped in "([a-z0-9é]|\\\\[u\\\\/\"bdx]){0,20}") {
        // An escape never decodes to more characters than it has.
        prop_assert!(decode(&escaped).chars().count() <= escaped.chars().count());
    }

    #[test]
    fn garbage_never_panics(
        garbage in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            "[{}\\[\\]:,\"\\\\ax1 ]{0,60}".prop_map(String::into_bytes),
            "\\{\"(errorType|client)\":[{}\\[\\]:,\"\\\\ax1 ]{0,40}".prop_map(String::into_bytes),
        ],
    ) {
        let service = ServiceError::parse(&garbage).map(|error| error.error_type.to_string());
        let identity = CognitoIdentity::parse(&garbage).map(|identity| identity.identity_id.to_string());
        let context = ClientContext::parse(&garbage).map(|context| context.client.app_title.to_string());
        // Only an object can be one of the documents.
        let is_object = garbage.trim_ascii_start().first() == Some(&b'{');
        prop_assert!(is_object || (service.is_err() && identity.is_err() && context.is_err()));
    }
}
