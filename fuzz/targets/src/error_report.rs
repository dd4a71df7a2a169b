//! Encodes error reports, and reads them with serde_json.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_proto::api::{Endpoint, ErrorReport, HttpPrelude, InvocationIds, Request};
use lambda_proto::limits::{MAX_ERROR_BODY, MAX_ERROR_TRAILERS, MAX_ERROR_TYPE, MAX_XRAY_CAUSE};
use serde_json::Value;

use crate::input::Input;
use crate::request::{encode, header_type};
use crate::wire;

/// serde_json reads the same values from a report, cut as documented if it is long; also from the
/// trailers and the header for X-Ray. The same texts are used for the prelude of an HTTP response.
///
/// Two bytes are the limit of the report (0: the default), one says how often the message is
/// repeated. The texts follow, each up to a NUL.
pub fn error_report(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = input.number();
    let mut times = input.clone();
    input.byte();
    let error_type = input.text(0);
    let message = input.text(0);
    let message = message.repeat(1 + times.times(message.len(), 8192));
    let stack = input.text(0);
    let cause = input.text(0);
    let cookie = input.text(0);

    let whole = ErrorReport::new(&error_type, &message).stack_trace(&stack);
    let report = if limit == 0 { whole } else { whole.limit(limit) };
    let json = encode(|out| report.encode_json(out));
    let texts = Texts { error_type: &error_type, message: &message, stack: &stack };
    let limit_of_json = if limit == 0 { MAX_ERROR_BODY } else { limit };
    texts.check(&json, limit_of_json);

    let trailers = encode(|out| report.encode_trailers(out));
    assert!(trailers.len() <= MAX_ERROR_TRAILERS);
    let mut fields = [httparse::EMPTY_HEADER; 4];
    let parsed = httparse::parse_headers(&trailers, &mut fields).expect("trailers");
    let httparse::Status::Complete((length, fields)) = parsed else { panic!("an empty line") };
    assert_eq!(length, trailers.len());
    let [kind, body] = fields else { panic!("two trailers: {fields:?}") };
    assert_eq!(kind.name, "Lambda-Runtime-Function-Error-Type");
    assert_eq!(kind.value, header_type(&error_type).as_bytes());
    assert_eq!(body.name, "Lambda-Runtime-Function-Error-Body");
    let json = STANDARD.decode(body.value).expect("base64");
    let around_it = trailers.len() - body.value.len();
    texts.check(&json, limit_of_json.min((MAX_ERROR_TRAILERS - around_it) / 4 * 3));

    check_cause(&report, &cause);
    check_prelude(limit, &[(&error_type, &message), (&stack, &cause)], &[&cookie, &message]);
}

struct Texts<'a> {
    error_type: &'a str,
    message: &'a str,
    stack: &'a str,
}

/// The length of the shortest report.
const SKELETON: usize = br#"{"errorType":"","errorMessage":""}"#.len();

impl Texts<'_> {
    /// Checks that the JSON has these texts, or as much of them as fits: first the type, then the
    /// message, then frames.
    fn check(&self, json: &[u8], limit: usize) {
        assert!(json.len() <= limit.max(SKELETON));
        let document: Value = serde_json::from_slice(json).expect("JSON");
        let fields = document.as_object().expect("an object");
        let text = |name: &str| fields[name].as_str().expect("a string");
        let (error_type, message) = (text("errorType"), text("errorMessage"));
        let read: Vec<_> = match fields.get("stackTrace") {
            Some(frames) => frames.as_array().expect("a list").iter().map(Value::as_str).collect(),
            None => Vec::new(),
        };
        assert_eq!(fields.len(), 2 + usize::from(!read.is_empty()));

        let given = if self.error_type.is_empty() { "Runtime.Unknown" } else { self.error_type };
        let frames: Vec<_> = self.stack.lines().filter(|line| !line.is_empty()).map(Some).collect();
        assert!(given.starts_with(error_type) && self.message.starts_with(message));
        assert!(frames.starts_with(&read));
        // Anything left out would not have fitted.
        let used = SKELETON + escaped(error_type) + escaped(message);
        if let Some(next) = given[error_type.len()..].chars().next() {
            let next = escaped(next.encode_utf8(&mut [0; 4]));
            assert!(escaped(error_type) + next > MAX_ERROR_TYPE || used + next > limit);
        }
        if let Some(next) = self.message[message.len()..].chars().next() {
            assert!(used + escaped(next.encode_utf8(&mut [0; 4])) > limit);
            assert!(read.is_empty());
        }
        if let Some(Some(next)) = frames.get(read.len()) {
            let around = if read.is_empty() { r#","stackTrace":[""]"#.len() } else { 3 };
            assert!(json.len() + around + escaped(next) > limit);
        }
    }
}

/// The length of a text within a JSON string.
fn escaped(text: &str) -> usize {
    text.chars()
        .map(|character| match character {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            '\0'..='\x1f' => 6,
            _ => character.len_utf8(),
        })
        .sum()
}

/// The header for X-Ray is one line. If the cause is JSON, the header has the same value.
fn check_cause(report: &ErrorReport<'_>, cause: &str) {
    let report = report.xray_cause(cause);
    let endpoint = Endpoint::parse("lab").expect("an address");
    let ids = InvocationIds::new("1", None).expect("an id");
    let request = Request::Error { ids: &ids, report };
    let bytes = encode(|out| request.encode(&endpoint, out));
    let [request] = &wire::requests(&bytes)[..] else { panic!("one request") };
    assert!(request.is_whole);
    assert_eq!(request.body, encode(|out| report.encode_json(out)));
    let Some(header) = request.field("Lambda-Runtime-Function-XRay-Error-Cause") else {
        return assert!(6 * cause.len() > MAX_XRAY_CAUSE);
    };
    assert!(header.iter().all(|byte| (b' '..=b'~').contains(byte)));
    if let Ok(before) = serde_json::from_str::<Value>(cause) {
        let after: Value = serde_json::from_slice(header).expect("still JSON");
        assert_eq!(after, before);
    }
}

fn check_prelude(status: usize, headers: &[(&str, &str)], cookies: &[&str]) {
    let status = u16::try_from(status).expect("two bytes");
    let Ok(prelude) = HttpPrelude::new(status, headers, cookies) else { return };
    let bytes = encode(|out| prelude.encode(out));
    let json = bytes.strip_suffix(&[0; HttpPrelude::END_LEN]).expect("NULs");
    assert!(!json.contains(&0));
    let document: Value = serde_json::from_slice(json).expect("JSON");
    assert_eq!(document["statusCode"], status);
    let read = document["headers"].as_object().expect("an object");
    assert_eq!(read.len(), headers.len());
    for (name, value) in headers {
        assert_eq!(read[*name], *value);
    }
    let read = document["cookies"].as_array().expect("a list");
    assert!(read.iter().eq(cookies));
}
