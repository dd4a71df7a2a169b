//! Error reports: JSON that always reads back, cut to a limit, in bodies, headers and trailers.

use base64::Engine;
use lambda_proto::api::{ContentType, Endpoint, ErrorReport, Request};
use lambda_proto::http::BufferTooSmall;
use lambda_proto::limits::{MAX_ERROR_BODY, MAX_ERROR_TRAILERS, MAX_ERROR_TYPE, MAX_XRAY_CAUSE};
use lambda_proto::machine::{CommandError, Machine, Phase};
use proptest::prelude::*;
use serde_json::Value;

const SKELETON: &str = r#"{"errorType":"","errorMessage":""}"#;

fn encode(report: &ErrorReport<'_>) -> Vec<u8> {
    let BufferTooSmall { needed } = report.encode_json(&mut []).unwrap_err();
    let mut out = vec![0; needed];
    assert_eq!(report.encode_json(&mut out), Ok(needed));
    out
}

fn text(report: &ErrorReport<'_>) -> String {
    String::from_utf8(encode(report)).unwrap()
}

/// Type, message and frames as a JSON library reads them.
fn read(json: &[u8]) -> (String, String, Vec<String>) {
    let value: Value = serde_json::from_slice(json).unwrap();
    let members = value.as_object().unwrap();
    assert_eq!(members.len(), 2 + usize::from(members.contains_key("stackTrace")));
    let string = |value: &Value| value.as_str().unwrap().to_owned();
    let frames = members
        .get("stackTrace")
        .map_or(vec![], |frames| frames.as_array().unwrap().iter().map(string).collect());
    (string(&members["errorType"]), string(&members["errorMessage"]), frames)
}

fn frames(stack_trace: &str) -> Vec<&str> {
    stack_trace.lines().filter(|frame| !frame.is_empty()).collect()
}

/// The head of an init error with this report.
fn head(report: ErrorReport<'_>) -> Vec<u8> {
    let endpoint = Endpoint::parse("a").unwrap();
    let request = Request::InitError { report };
    let BufferTooSmall { needed } = request.encode(&endpoint, &mut []).unwrap_err();
    let mut out = vec![0; needed];
    request.encode(&endpoint, &mut out).unwrap();
    let end = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    out.truncate(end + 4);
    out
}

fn header(report: ErrorReport<'_>, name: &str) -> Option<String> {
    let head = head(report);
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(&head).unwrap();
    let field = request.headers.iter().find(|field| field.name == name)?;
    Some(std::str::from_utf8(field.value).unwrap().to_owned())
}

fn type_header(error_type: &str) -> String {
    header(ErrorReport::new(error_type, "m"), "Lambda-Runtime-Function-Error-Type").unwrap()
}

fn xray_header(cause: &str) -> Option<String> {
    header(
        ErrorReport::new("A.B", "m").xray_cause(cause),
        "Lambda-Runtime-Function-XRay-Error-Cause",
    )
}

/// A machine whose answer is a stream that has no chunk yet.
fn streaming() -> Machine {
    let mut machine = Machine::new(Endpoint::parse("a").unwrap());
    let mut out = [0; 1024];
    let length = machine.next(&mut out).unwrap();
    machine.sent(length);
    let mut input: &[u8] =
        b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 2\r\n\r\n{}";
    while machine.receive(&mut input).unwrap().is_some() {}
    let length = machine.stream(ContentType::TEXT, &mut out).unwrap();
    machine.sent(length);
    machine
}

/// The trailers in which a report is sent, including their last blank line.
fn trailers(report: &ErrorReport<'_>) -> Vec<u8> {
    let mut out = vec![0; 8192];
    let length = streaming().finish_with_error(report, &mut out).unwrap();
    out[..length].strip_prefix(b"0\r\n").unwrap().to_vec()
}

/// The type in the trailers, and the decoded body.
fn read_trailers(trailers: &[u8]) -> (String, Vec<u8>) {
    let mut fields = [httparse::EMPTY_HEADER; 8];
    let (end, fields) = httparse::parse_headers(trailers, &mut fields).unwrap().unwrap();
    assert_eq!(end, trailers.len());
    let [kind, body] = fields else { panic!("{fields:?}") };
    assert_eq!(kind.name, "Lambda-Runtime-Function-Error-Type");
    assert_eq!(body.name, "Lambda-Runtime-Function-Error-Body");
    let body = base64::engine::general_purpose::STANDARD.decode(body.value).unwrap();
    (std::str::from_utf8(kind.value).unwrap().to_owned(), body)
}

#[test]
fn a_report_without_stack_trace_has_two_members() {
    assert_eq!(text(&ErrorReport::new("A.B", "c")), r#"{"errorType":"A.B","errorMessage":"c"}"#);
}

#[test]
fn a_stack_trace_is_its_lines_without_the_empty_ones() {
    let report = ErrorReport::new("A.B", "c").stack_trace("\na\r\n\n  b\n\n");
    let expected = r#"{"errorType":"A.B","errorMessage":"c","stackTrace":["a","  b"]}"#;
    assert_eq!(text(&report), expected);
}

#[test]
fn a_stack_trace_of_empty_lines_is_left_out() {
    let expected = r#"{"errorType":"A.B","errorMessage":""}"#;
    assert_eq!(text(&ErrorReport::new("A.B", "").stack_trace("\n\r\n\n")), expected);
}

#[test]
fn quotes_backslashes_and_controls_are_escaped() {
    let report = ErrorReport::new("A.B", "\"\\/\n\r\t\u{8}\u{0}\u{1f}\u{7f}\u{e9}");
    let expected = "{\"errorType\":\"A.B\",\"errorMessage\":\"\\\"\\\\/\\n\\r\\t\\u0008\\u0000\\u001f\u{7f}\u{e9}\"}";
    assert_eq!(text(&report), expected);
}

#[test]
fn a_buffer_that_is_too_small_yields_the_exact_length_needed() {
    let report = ErrorReport::new("A.B", "\u{e9}\n").stack_trace("f\ng");
    let needed = encode(&report).len();
    for size in 0..needed {
        assert_eq!(report.encode_json(&mut vec![0; size]), Err(BufferTooSmall { needed }));
    }
}

#[test]
fn an_error_type_as_long_as_the_limit_is_whole() {
    let kind = "E".repeat(MAX_ERROR_TYPE);
    assert_eq!(read(&encode(&ErrorReport::new(&kind, "m"))).0, kind);
    assert_eq!(type_header(&kind), kind);
}

#[test]
fn an_error_type_one_byte_over_the_limit_is_cut() {
    let kind = "E".repeat(MAX_ERROR_TYPE + 1);
    assert_eq!(read(&encode(&ErrorReport::new(&kind, "m"))).0, kind[1..]);
    assert_eq!(type_header(&kind), kind[1..]);
}

#[test]
fn the_type_header_is_visible_ascii() {
    for (kind, value) in [
        ("Function.Bad", "Function.Bad"),
        ("a b\r\n\0", "a_b___"),
        ("\u{e9}\u{1f375}.X", "__.X"),
        (" ", "_"),
    ] {
        assert_eq!(type_header(kind), value);
    }
}

#[test]
fn an_empty_type_is_sent_as_unknown_in_header_and_body() {
    assert_eq!(type_header(""), "Runtime.Unknown");
    assert_eq!(read(&encode(&ErrorReport::new("", "m"))).0, "Runtime.Unknown");
}

#[test]
fn a_body_as_long_as_the_limit_is_whole() {
    let message = "m".repeat(MAX_ERROR_BODY - SKELETON.len() - 3);
    let json = encode(&ErrorReport::new("A.B", &message));
    assert_eq!(json.len(), MAX_ERROR_BODY);
    assert_eq!(read(&json).1, message);
}

#[test]
fn a_body_one_byte_over_the_limit_is_cut() {
    let message = "m".repeat(MAX_ERROR_BODY - SKELETON.len() - 2);
    let json = encode(&ErrorReport::new("A.B", &message).limit(usize::MAX));
    assert_eq!(json.len(), MAX_ERROR_BODY);
    assert_eq!(read(&json).1, message[1..]);
}

#[test]
fn a_stack_trace_is_cut_before_the_message() {
    let message = "m".repeat(MAX_ERROR_BODY - SKELETON.len());
    let (_, cut, frames) = read(&encode(&ErrorReport::new("A.B", &message).stack_trace("frame")));
    assert_eq!((&cut[..], frames.len()), (&message[3..], 0));
}

#[test]
fn frames_are_cut_as_a_whole_and_from_the_end() {
    let report = ErrorReport::new("A.B", "m").stack_trace("one\ntwo\nthree");
    let whole = encode(&report).len();
    assert_eq!(read(&encode(&report.limit(whole))).2, ["one", "two", "three"]);
    assert_eq!(read(&encode(&report.limit(whole - 1))).2, ["one", "two"]);
}

#[test]
fn a_report_cut_to_any_limit_is_json_whose_strings_are_prefixes() {
    let (kind, message) = ("Function.B\u{e9}\"d\n", "a\\b\u{1f375}\u{0}c\r\n\u{7ff}\"d");
    let stack_trace = "f\u{e9}\n\"g\"\n\n\u{1f375}\u{1}h\ni";
    let report = ErrorReport::new(kind, message).stack_trace(stack_trace);
    let whole = encode(&report);
    for limit in 0..=whole.len() + 1 {
        let json = encode(&report.limit(limit));
        assert!(json.len() <= limit.max(SKELETON.len()), "{limit}");
        let (cut_kind, cut_message, cut_frames) = read(&json);
        assert!(kind.starts_with(&cut_kind) && message.starts_with(&cut_message), "{limit}");
        assert!(
            cut_frames.iter().zip(frames(stack_trace)).all(|(cut, frame)| cut == frame),
            "{limit}"
        );
        assert!(cut_frames.is_empty() || cut_message == message, "{limit}");
        assert_eq!(json == whole, limit >= whole.len(), "{limit}");
    }
}

#[test]
fn the_smaller_of_two_limits_counts() {
    let report = ErrorReport::new("A.B", "message");
    assert_eq!(text(&report.limit(40).limit(90)), text(&report.limit(40)));
    assert_eq!(text(&report.limit(90).limit(40)), text(&report.limit(40)));
}

#[test]
fn an_xray_cause_is_sent_in_ascii_and_means_the_same() {
    let cause = "{\"working_directory\":\"/\u{e9}\u{1f375}\u{7f}\",\r\n\t\"paths\":[\"a\\n\"]}";
    let sent = xray_header(cause).unwrap();
    assert!(sent.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let same: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(same, serde_json::from_str::<Value>(cause).unwrap());
}

#[test]
fn an_xray_cause_as_long_as_the_limit_is_sent() {
    let cause = format!("\"{}\"", "x".repeat(MAX_XRAY_CAUSE - 2));
    assert_eq!(xray_header(&cause).unwrap(), cause);
    // Escaped, it is six times as long.
    let cause = "\u{7ff}".repeat(MAX_XRAY_CAUSE / 6);
    assert_eq!(xray_header(&cause).unwrap().len(), MAX_XRAY_CAUSE / 6 * 6);
}

#[test]
fn an_xray_cause_one_byte_over_the_limit_is_left_out() {
    assert_eq!(xray_header(&format!("\"{}\"", "x".repeat(MAX_XRAY_CAUSE - 1))), None);
    assert_eq!(xray_header(&"\u{7ff}".repeat(MAX_XRAY_CAUSE / 6 + 1)), None);
}

#[test]
fn a_report_may_be_sent_without_its_xray_cause() {
    let report = ErrorReport::new("A.B", "m").xray_cause("{}").without_xray_cause();
    assert_eq!(header(report, "Lambda-Runtime-Function-XRay-Error-Cause"), None);
}

#[test]
fn error_trailers_have_exactly_these_bytes() {
    assert_eq!(
        String::from_utf8(trailers(&ErrorReport::new("A.B", "c"))).unwrap(),
        "Lambda-Runtime-Function-Error-Type: A.B\r\n\
         Lambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiJBLkIiLCJlcnJvck1lc3NhZ2UiOiJjIn0=\r\n\r\n",
    );
}

#[test]
fn error_trailers_hold_the_report_in_base64() {
    // Three lengths, so that every padding occurs.
    for message in ["", "\u{1f375}\n", "a", "ab", "abc"] {
        let report = ErrorReport::new("A.B", message).stack_trace("f\ng");
        assert_eq!(read_trailers(&trailers(&report)), ("A.B".to_owned(), encode(&report)));
    }
}

#[test]
fn error_trailers_never_exceed_their_limit() {
    let long = "\u{e9}\r\n\"".repeat(MAX_ERROR_BODY);
    for kind in ["", "A.B", &long] {
        for report in
            [ErrorReport::new(kind, &long), ErrorReport::new(kind, "m").stack_trace(&long)]
        {
            let trailers = trailers(&report);
            assert!(trailers.len() <= MAX_ERROR_TRAILERS, "{}", trailers.len());
            let (kind_read, message, _) = read(&read_trailers(&trailers).1);
            assert!(kind.starts_with(&kind_read) || kind.is_empty());
            assert!(long.starts_with(&message) || message == "m");
        }
    }
}

#[test]
fn error_trailers_up_to_the_limit_are_whole_and_beyond_it_cut() {
    let mut length = 0;
    let is_whole = |length: usize| {
        let message = "m".repeat(length);
        let trailers = trailers(&ErrorReport::new("A.B", &message));
        assert!(trailers.len() <= MAX_ERROR_TRAILERS);
        let (_, read, _) = read(&read_trailers(&trailers).1);
        (read == message, trailers.len())
    };
    while is_whole(length + 1).0 {
        length += 1;
    }
    // Base64 comes in groups of four, so up to three bytes cannot be used.
    assert!(is_whole(length).1 > MAX_ERROR_TRAILERS - 4);
    assert!(is_whole(length + 1).1 > MAX_ERROR_TRAILERS - 4);
}

#[test]
fn error_trailers_without_a_machine_are_those_of_a_machine() {
    let report = ErrorReport::new("A.B", "c").stack_trace("f");
    let whole = trailers(&report);
    let needed = whole.len();
    let mut out = vec![0; needed];
    assert_eq!(report.encode_trailers(&mut out[1..]), Err(BufferTooSmall { needed }));
    assert_eq!(report.encode_trailers(&mut out), Ok(needed));
    assert_eq!(out, whole);
}

#[test]
fn error_trailers_after_a_chunk_begin_with_its_line_end() {
    let mut machine = streaming();
    let mut out = [0; 512];
    let length = machine.chunk(3, &mut out).unwrap();
    machine.sent(length + 3);
    let report = ErrorReport::new("A.B", "c");
    let length = machine.finish_with_error(&report, &mut out).unwrap();
    assert_eq!(out[..length], [b"\r\n0\r\n", &trailers(&report)[..]].concat());
}

#[test]
fn error_trailers_in_a_buffer_that_is_too_small_change_nothing() {
    let report = ErrorReport::new("A.B", "c");
    let mut machine = streaming();
    let needed = b"0\r\n".len() + trailers(&report).len();
    let refused = machine.finish_with_error(&report, &mut vec![0; needed - 1]);
    assert_eq!(refused, Err(CommandError::BufferTooSmall(BufferTooSmall { needed })));
    assert_eq!(machine.phase(), Phase::Invoking);
    assert_eq!(machine.finish_with_error(&report, &mut vec![0; needed]), Ok(needed));
}

#[test]
fn json_of_the_program_is_sent_unchanged_up_to_the_limit() {
    let json = r#"{"errorType":"Dry","requestId":"7b","trace":["é"]}"#;
    let report = ErrorReport::new("Dry", "the pump is dry").json(json);
    assert_eq!(text(&report), json);
    assert_eq!(text(&report.limit(json.len())), json);
    let (kind, message, _) = read(&encode(&report.limit(json.len() - 1)));
    assert_eq!(kind, "Dry");
    assert!("the pump is dry".starts_with(&message));

    let longest = format!("\"{}\"", "a".repeat(MAX_ERROR_BODY - 2));
    assert_eq!(text(&report.json(&longest)), longest);
    let too_long = format!("{longest} ");
    assert_eq!(read(&encode(&report.json(&too_long))).1, "the pump is dry");
}

#[test]
fn json_of_the_program_goes_into_trailers() {
    let report = ErrorReport::new("A.B", "m").json("[1]");
    assert_eq!(read_trailers(&trailers(&report)), ("A.B".to_owned(), b"[1]".to_vec()));
    let long = format!("\"{}\"", "a".repeat(MAX_ERROR_TRAILERS));
    let (kind, json) = read_trailers(&trailers(&report.json(&long)));
    assert_eq!((kind.as_str(), read(&json).1.as_str()), ("A.B", "m"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..Default::default() })]

    #[test]
    fn any_strings_read_back(kind in any::<String>(), message: String, stack_trace in "(.|[\r\n]){0,60}") {
        let (kind_read, message_read, frames_read) =
            read(&encode(&ErrorReport::new(&kind, &message).stack_trace(&stack_trace)));
        let kind = if kind.is_empty() { "Runtime.Unknown" } else { &kind };
        prop_assert!(kind.starts_with(&kind_read));
        prop_assert!(kind_read == kind || serde_json::to_string(&kind).unwrap().len() > MAX_ERROR_TYPE);
        prop_assert_eq!(message_read, message);
        prop_assert_eq!(frames_read, frames(&stack_trace));
    }

    #[test]
    fn a_report_of_any_strings_cut_anywhere_is_json(kind: String, message: String, stack_trace: String, limit in 0..300usize) {
        let json = encode(&ErrorReport::new(&kind, &message).stack_trace(&stack_trace).limit(limit));
        prop_assert!(json.len() <= limit.max(SKELETON.len()));
        let (kind_read, message_read, frames_read) = read(&json);
        let kind = if kind.is_empty() { "Runtime.Unknown" } else { &kind };
        prop_assert!(kind.starts_with(&kind_read) && message.starts_with(&message_read));
        prop_assert!(frames_read.iter().zip(frames(&stack_trace)).all(|(cut, frame)| cut == frame));
    }

    #[test]
    fn any_strings_in_trailers_cannot_break_out_of_them(kind: String, message: String, stack_trace: String) {
        let trailers = trailers(&ErrorReport::new(&kind, &message).stack_trace(&stack_trace));
        prop_assert!(trailers.len() <= MAX_ERROR_TRAILERS);
        let (kind_read, json) = read_trailers(&trailers);
        prop_assert!(kind_read.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(message.starts_with(&read(&json).1));
    }
}
