//! The headers of an event (protocol.md 1.3): present, empty, repeated, malformed.

use std::time::Duration;

use lambda_proto::api::{Deadline, HeadIndex, InvocationHead, InvocationIds};
use lambda_proto::http::{BodyLength, HeadError};
use lambda_proto::limits::{MAX_CONTENT_TYPE, MAX_ID};
use proptest::prelude::*;

const REQUEST_ID: &str = "Lambda-Runtime-Aws-Request-Id";

/// Reads an optional header and returns its bytes.
type Reader = for<'b> fn(&InvocationHead<'b>) -> Option<Vec<u8>>;
const OPTIONAL: [(&str, &str, Reader); 8] = [
    ("Lambda-Runtime-Invocation-Id", "9f2c", |head| head.attempt_id().map(<[u8]>::to_vec)),
    ("Lambda-Runtime-Deadline-Ms", "1795252820229", |head| {
        head.deadline().map(|deadline| deadline.as_unix_millis().to_string().into_bytes())
    }),
    (
        "Lambda-Runtime-Invoked-Function-Arn",
        "arn:aws:lambda:us-east-1:012345678912:function:f:live",
        |head| head.invoked_function_arn().map(|arn| arn.as_bytes().to_vec()),
    ),
    (
        "Lambda-Runtime-Trace-Id",
        "Root=1-5e1b4151-5ac6c58f3c4a6a8b2a3d4e5f;Parent=53995c3f42cd8ad8;Sampled=1",
        |head| head.trace_id().map(|trace| trace.as_bytes().to_vec()),
    ),
    ("Lambda-Runtime-Client-Context", r#"{"client":{"app_title":"a"}}"#, |head| {
        head.client_context().map(<[u8]>::to_vec)
    }),
    (
        "Lambda-Runtime-Cognito-Identity",
        r#"{"cognitoIdentityId":"a","cognitoIdentityPoolId":"b"}"#,
        |head| head.cognito_identity().map(<[u8]>::to_vec),
    ),
    ("Lambda-Runtime-Aws-Tenant-Id", "tenant-1", |head| {
        head.tenant_id().map(|tenant| tenant.as_bytes().to_vec())
    }),
    ("Content-Type", "application/json; charset=utf-8", |head| {
        head.content_type().map(|content_type| content_type.as_bytes().to_vec())
    }),
];

fn head_bytes<'f>(fields: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in fields {
        bytes.extend_from_slice(format!("{name}: ").as_bytes());
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"Content-Length: 2\r\n\r\n");
    bytes
}

/// A head with a request id and these fields.
fn answerable<'f>(fields: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Vec<u8> {
    head_bytes([(REQUEST_ID, &b"7b"[..])].into_iter().chain(fields))
}

fn parse(bytes: &[u8]) -> InvocationHead<'_> {
    InvocationHead::parse(bytes).unwrap().0
}

fn parse_request_id(value: &[u8]) -> Option<String> {
    let bytes = head_bytes([(REQUEST_ID, value)]);
    InvocationIds::of(&parse(&bytes)).map(|ids| ids.request_id().to_owned())
}

fn deadline(value: &str) -> Option<Deadline> {
    parse(&answerable([("Lambda-Runtime-Deadline-Ms", value.as_bytes())])).deadline()
}

fn alternating_case(name: &str) -> String {
    let cased = |(at, byte): (usize, char)| {
        if at % 2 == 0 { byte.to_ascii_lowercase() } else { byte.to_ascii_uppercase() }
    };
    name.chars().enumerate().map(cased).collect()
}

const CASES: [fn(&str) -> String; 4] =
    [str::to_owned, str::to_ascii_lowercase, str::to_ascii_uppercase, alternating_case];

#[test]
fn every_header_is_read_whatever_its_case() {
    for case in CASES {
        for (name, value, read) in OPTIONAL {
            let bytes = answerable([(&case(name)[..], value.as_bytes())]);
            assert_eq!(read(&parse(&bytes)).as_deref(), Some(value.as_bytes()), "{}", case(name));
        }
        let bytes = head_bytes([(&case(REQUEST_ID)[..], &b"7b"[..])]);
        assert_eq!(parse(&bytes).request_id(), "7b", "{}", case(REQUEST_ID));
    }
}

#[test]
fn all_headers_in_one_head_are_told_apart() {
    let bytes = answerable(OPTIONAL.map(|(name, value, _)| (name, value.as_bytes())));
    let head = parse(&bytes);
    for (name, value, read) in OPTIONAL {
        assert_eq!(read(&head).as_deref(), Some(value.as_bytes()), "{name}");
    }
}

#[test]
fn every_header_but_the_request_id_may_be_absent() {
    let bytes = answerable([]);
    for (name, _, read) in OPTIONAL {
        assert_eq!(read(&parse(&bytes)), None, "{name}");
    }
}

#[test]
fn an_empty_header_counts_as_absent() {
    for (name, _, read) in OPTIONAL {
        for empty in ["", "   ", "\t"] {
            let bytes = answerable([(name, empty.as_bytes())]);
            assert_eq!(read(&parse(&bytes)), None, "{name} {empty:?}");
            assert_eq!(parse(&bytes).header(name), None, "{name} {empty:?}");
        }
    }
}

#[test]
fn the_first_value_that_is_not_empty_counts() {
    for (name, value, read) in OPTIONAL {
        let bytes = answerable([
            (name, &b""[..]),
            (name, value.as_bytes()),
            (name, &b"1"[..]),
            (name, b""),
        ]);
        assert_eq!(read(&parse(&bytes)).as_deref(), Some(value.as_bytes()), "{name}");
        assert_eq!(parse(&bytes).header(name), Some(value.as_bytes()), "{name}");
    }
    let bytes =
        head_bytes([(REQUEST_ID, &b""[..]), (REQUEST_ID, b"first"), (REQUEST_ID, b"second")]);
    assert_eq!(parse(&bytes).request_id(), "first");
}

#[test]
fn a_head_without_request_id_is_unusable() {
    let bytes = head_bytes([]);
    assert_eq!(InvocationIds::of(&parse(&bytes)), None);
}

#[test]
fn a_request_id_that_is_empty_or_not_utf_8_is_unusable() {
    for value in [&b""[..], b"  ", b"\xff", b"abc\xc3"] {
        assert_eq!(parse_request_id(value), None, "{value:?}");
    }
}

#[test]
fn a_request_id_as_long_as_the_limit_is_read() {
    let id = "i".repeat(MAX_ID);
    assert_eq!(parse_request_id(id.as_bytes()), Some(id));
}

#[test]
fn a_request_id_one_byte_over_the_limit_is_unusable() {
    let id = "i".repeat(MAX_ID + 1);
    assert_eq!(parse_request_id(id.as_bytes()), None);
}

#[test]
fn an_attempt_id_as_long_as_the_limit_is_kept() {
    let id = vec![0xe9; MAX_ID];
    let bytes = answerable([("Lambda-Runtime-Invocation-Id", &id[..])]);
    assert_eq!(InvocationIds::of(&parse(&bytes)).unwrap().attempt_id(), Some(&id[..]));
}

#[test]
fn an_attempt_id_one_byte_over_the_limit_is_left_out_of_the_ids() {
    let id = vec![b'a'; MAX_ID + 1];
    let bytes = answerable([("Lambda-Runtime-Invocation-Id", &id[..])]);
    let ids = InvocationIds::of(&parse(&bytes)).unwrap();
    assert_eq!((ids.request_id(), ids.attempt_id()), ("7b", None));
}

#[test]
fn a_content_type_as_long_as_the_limit_is_read() {
    let value = vec![b'c'; MAX_CONTENT_TYPE];
    let bytes = answerable([("Content-Type", &value[..])]);
    assert_eq!(parse(&bytes).content_type().unwrap().as_bytes(), value);
}

#[test]
fn a_content_type_one_byte_over_the_limit_is_only_found_by_header_name() {
    let value = vec![b'c'; MAX_CONTENT_TYPE + 1];
    let bytes = answerable([("Content-Type", &value[..])]);
    assert_eq!(parse(&bytes).content_type(), None);
    assert_eq!(parse(&bytes).header("content-type"), Some(&value[..]));
}

#[test]
fn deadlines_are_decimal_milliseconds() {
    for (value, millis) in
        [("0", 0), ("3000", 3000), ("007", 7), ("18446744073709551615", u64::MAX)]
    {
        assert_eq!(deadline(value), Some(Deadline::from_unix_millis(millis)), "{value}");
    }
}

#[test]
fn malformed_deadlines_count_as_absent() {
    for value in
        ["-1", "+1", "1.5", "1e3", "0x1", "1 2", "1,2", "soon", "18446744073709551616", "\u{661}"]
    {
        assert_eq!(deadline(value), None, "{value}");
    }
}

#[test]
fn a_deadline_in_1970_has_passed_and_has_no_other_effect() {
    let deadline = deadline("3000").unwrap();
    assert_eq!(deadline.remaining(Duration::from_secs(1_795_252_820)), Duration::ZERO);
    assert_eq!(deadline.remaining(Duration::ZERO), Duration::from_secs(3));
}

#[test]
fn a_deadline_at_the_end_of_time_does_not_overflow() {
    let deadline = deadline("18446744073709551615").unwrap();
    assert_eq!(deadline.remaining(Duration::ZERO), Duration::from_millis(u64::MAX));
    assert_eq!(deadline.remaining(Duration::MAX), Duration::ZERO);
}

#[test]
fn text_that_is_not_utf_8_counts_as_absent() {
    for name in [
        "Lambda-Runtime-Invoked-Function-Arn",
        "Lambda-Runtime-Trace-Id",
        "Lambda-Runtime-Aws-Tenant-Id",
    ] {
        let bytes = answerable([(name, &b"a\xff"[..])]);
        let head = parse(&bytes);
        assert_eq!(
            (head.invoked_function_arn(), head.trace_id(), head.tenant_id()),
            (None, None, None)
        );
        assert_eq!(head.header(name), Some(&b"a\xff"[..]));
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_returned_unchanged() {
    for (name, _, read) in [OPTIONAL[0], OPTIONAL[4], OPTIONAL[5], OPTIONAL[7]] {
        let bytes = answerable([(name, &b"a\xff\tb"[..])]);
        assert_eq!(read(&parse(&bytes)).as_deref(), Some(&b"a\xff\tb"[..]), "{name}");
    }
}

#[test]
fn any_other_header_is_found_by_name_in_any_case() {
    let bytes = answerable([("X-Other", &b""[..]), ("x-other", b"1"), ("X-OTHER", b"2")]);
    for case in CASES {
        assert_eq!(parse(&bytes).header(&case("X-Other")), Some(&b"1"[..]));
    }
    assert_eq!(parse(&bytes).header("X-Othe"), None);
    assert_eq!(parse(&bytes).header(""), None);
}

#[test]
fn a_head_keeps_its_bytes_and_parsing_returns_the_length_of_the_body() {
    let bytes = answerable([]);
    let (head, response) = InvocationHead::parse(&bytes).unwrap();
    assert_eq!(head.as_bytes(), bytes);
    assert_eq!((response.status, response.body), (200, BodyLength::Fixed(2)));
}

#[test]
fn bytes_that_are_not_a_head_are_a_head_error() {
    let invalid = InvocationHead::parse(b"HTTP/1.1 200 OK\r\n").unwrap_err();
    assert_eq!(invalid, HeadError::Malformed);
}

#[test]
fn an_index_finds_the_same_values_after_the_bytes_have_moved() {
    let bytes = answerable(OPTIONAL.map(|(name, value, _)| (name, value.as_bytes())));
    let index = parse(&bytes).index();
    let moved = bytes.clone();
    drop(bytes);
    let head = index.on(&moved);
    assert_eq!(head.request_id(), "7b");
    for (name, value, read) in OPTIONAL {
        assert_eq!(read(&head).as_deref(), Some(value.as_bytes()), "{name}");
    }
}

#[test]
fn a_default_index_finds_nothing() {
    let bytes = answerable(OPTIONAL.map(|(name, value, _)| (name, value.as_bytes())));
    let head = HeadIndex::default().on(&bytes);
    assert_eq!(head.request_id(), "");
    for (name, _, read) in OPTIONAL {
        assert_eq!(read(&head), None, "{name}");
    }
}

#[test]
fn ids_of_a_head_whose_index_finds_no_request_id_are_unusable() {
    let head = HeadIndex::default().on(b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(InvocationIds::of(&head), None);
}

#[test]
fn an_index_of_a_reply_without_an_invocation_finds_nothing() {
    let bytes = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let (index, response) = HeadIndex::parse(bytes).unwrap();
    assert_eq!((index, response.status), (HeadIndex::default(), 403));
}

#[test]
fn values_at_the_end_of_the_largest_head_are_found() {
    let filler =
        vec![b'f'; 65_536 - answerable([("X", &b""[..]), ("Lambda-Runtime-Trace-Id", b"t")]).len()];
    let bytes = answerable([("X", &filler[..]), ("Lambda-Runtime-Trace-Id", b"t")]);
    assert_eq!(bytes.len(), lambda_proto::limits::MAX_HEAD);
    assert_eq!(parse(&bytes).trace_id(), Some("t"));
    assert_eq!(parse(&bytes).header("x"), Some(&filler[..]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..Default::default() })]

    #[test]
    fn an_index_over_other_bytes_never_panics(
        values in prop::collection::vec("[ -~\u{e9}]{0,30}", OPTIONAL.len()),
        other in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400),
            "\u{e9}{0,200}".prop_map(String::into_bytes),
            "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: [\u{e9}a]{0,200}\r\n\r\n".prop_map(String::into_bytes),
        ],
    ) {
        let fields = OPTIONAL.iter().zip(&values).map(|((name, ..), value)| (*name, value.as_bytes()));
        let bytes = answerable(fields);
        let head = parse(&bytes).index().on(&other);
        for (name, _, read) in OPTIONAL {
            let _whatever = (read(&head), head.header(name));
        }
        if let Some(ids) = InvocationIds::of(&head) {
            prop_assert!((1..=MAX_ID).contains(&ids.request_id().len()));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let head = [b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: ", &bytes[..], b"\r\n\r\n"].concat();
        if let Ok((head, _)) = InvocationHead::parse(&head) {
            let is_usable = (1..=MAX_ID).contains(&head.request_id().len());
            prop_assert_eq!(InvocationIds::of(&head).is_some(), is_usable);
        }
    }
}
