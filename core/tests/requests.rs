//! Requests: their exact bytes, and that no input of a caller can break out of its place in them.

use lambda_proto::api::{
    ContentType, Endpoint, ErrorReport, InvocationHead, InvocationIds, Request, ResponseLength,
};
use lambda_proto::http::BufferTooSmall;
use lambda_proto::limits::*;
use proptest::prelude::*;

/// A request as a server reads it.
#[derive(Debug)]
struct Parsed {
    method: String,
    path: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Parsed {
    fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| &name[..]).collect()
    }

    fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| &value[..])
    }
}

fn endpoint() -> Endpoint {
    Endpoint::parse("127.0.0.1:9001").unwrap().with_user_agent("test/1").unwrap()
}

fn ids(request_id: &str, attempt_id: Option<&[u8]>) -> InvocationIds {
    let mut head =
        format!("HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {request_id}\r\n").into_bytes();
    if let Some(attempt_id) = attempt_id {
        head.extend_from_slice(&[b"Lambda-Runtime-Invocation-Id: ", attempt_id, b"\r\n"].concat());
    }
    head.extend_from_slice(b"\r\n");
    InvocationIds::of(&InvocationHead::parse(&head).unwrap().0).unwrap()
}

/// Encodes into a buffer of exactly the size that the first call asks for.
fn encode(request: &Request<'_>, endpoint: &Endpoint) -> Vec<u8> {
    let BufferTooSmall { needed } = request.encode(endpoint, &mut []).unwrap_err();
    let mut out = vec![0; needed];
    assert_eq!(request.encode(endpoint, &mut out), Ok(needed));
    out
}

fn text(request: &Request<'_>) -> String {
    String::from_utf8(encode(request, &endpoint())).unwrap()
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let end = request.parse(bytes).unwrap().unwrap();
    Parsed {
        method: request.method.unwrap().to_owned(),
        path: request.path.unwrap().to_owned(),
        fields: request
            .headers
            .iter()
            .map(|field| (field.name.to_owned(), field.value.to_vec()))
            .collect(),
        body: bytes[end..].to_vec(),
    }
}

fn parsed(request: &Request<'_>) -> Parsed {
    parse(&encode(request, &endpoint()))
}

fn reported(report: ErrorReport<'_>) -> Parsed {
    parsed(&Request::Error { ids: &ids("7b", None), report })
}

/// One of each request.
fn all_requests<'a>(ids: &'a InvocationIds, report: ErrorReport<'a>) -> [Request<'a>; 7] {
    let content_type = Some(ContentType::TEXT);
    [
        Request::Next,
        Request::Response { ids, content_type, length: ResponseLength::Buffered(5) },
        Request::Response { ids, content_type, length: ResponseLength::Streamed },
        Request::Error { ids, report },
        Request::InitError { report },
        Request::RestoreNext,
        Request::RestoreError { report },
    ]
}

#[test]
fn next_has_exactly_these_bytes() {
    assert_eq!(
        text(&Request::Next),
        "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\
         Host: 127.0.0.1:9001\r\nUser-Agent: test/1\r\n\r\n",
    );
}

#[test]
fn restore_next_has_exactly_these_bytes() {
    assert_eq!(
        text(&Request::RestoreNext),
        "GET /2018-06-01/runtime/restore/next HTTP/1.1\r\n\
         Host: 127.0.0.1:9001\r\nUser-Agent: test/1\r\n\r\n",
    );
}

#[test]
fn a_buffered_response_has_exactly_these_bytes() {
    let (ids, content_type) = (ids("7b", Some(b"9f")), Some(ContentType::JSON));
    let length = ResponseLength::Buffered(6_291_556);
    assert_eq!(
        text(&Request::Response { ids: &ids, content_type, length }),
        "POST /2018-06-01/runtime/invocation/7b/response HTTP/1.1\r\n\
         Host: 127.0.0.1:9001\r\nUser-Agent: test/1\r\n\
         Lambda-Runtime-Invocation-Id: 9f\r\nContent-Type: application/json\r\n\
         Content-Length: 6291556\r\n\r\n",
    );
}

#[test]
fn a_response_without_content_type_and_attempt_id_has_no_header_for_them() {
    let length = ResponseLength::Buffered(0);
    let request = Request::Response { ids: &ids("7b", None), content_type: None, length };
    assert_eq!(parsed(&request).names(), ["Host", "User-Agent", "Content-Length"]);
}

#[test]
fn a_streamed_response_has_exactly_these_bytes() {
    let (ids, content_type) = (ids("7b", None), Some(ContentType::OCTET_STREAM));
    assert_eq!(
        text(&Request::Response { ids: &ids, content_type, length: ResponseLength::Streamed }),
        "POST /2018-06-01/runtime/invocation/7b/response HTTP/1.1\r\n\
         Host: 127.0.0.1:9001\r\nUser-Agent: test/1\r\nContent-Type: application/octet-stream\r\n\
         Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\
         Trailer: Lambda-Runtime-Function-Error-Type\r\n\
         Trailer: Lambda-Runtime-Function-Error-Body\r\n\r\n",
    );
}

#[test]
fn an_error_has_exactly_these_bytes() {
    let report =
        ErrorReport::new("Function.Bad", "no").stack_trace("f\ng").xray_cause("{\"paths\":[]}");
    assert_eq!(
        text(&Request::Error { ids: &ids("7b", Some(b"9f")), report }),
        "POST /2018-06-01/runtime/invocation/7b/error HTTP/1.1\r\n\
         Host: 127.0.0.1:9001\r\nUser-Agent: test/1\r\nLambda-Runtime-Invocation-Id: 9f\r\n\
         Content-Type: application/vnd.aws.lambda.error+json\r\n\
         Lambda-Runtime-Function-Error-Type: Function.Bad\r\n\
         Lambda-Runtime-Function-XRay-Error-Cause: {\"paths\":[]}\r\nContent-Length: 71\r\n\r\n\
         {\"errorType\":\"Function.Bad\",\"errorMessage\":\"no\",\"stackTrace\":[\"f\",\"g\"]}",
    );
}

#[test]
fn an_init_error_and_a_restore_error_differ_only_in_the_path() {
    let report = ErrorReport::new("Runtime.Init", "no");
    let rest = "HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: test/1\r\n\
                Content-Type: application/vnd.aws.lambda.error+json\r\n\
                Lambda-Runtime-Function-Error-Type: Runtime.Init\r\nContent-Length: 48\r\n\r\n\
                {\"errorType\":\"Runtime.Init\",\"errorMessage\":\"no\"}";
    let init_error = text(&Request::InitError { report });
    assert_eq!(init_error, format!("POST /2018-06-01/runtime/init/error {rest}"));
    let restore_error = text(&Request::RestoreError { report });
    assert_eq!(restore_error, format!("POST /2018-06-01/runtime/restore/error {rest}"));
}

#[test]
fn every_path_follows_the_path_prefix() {
    let ids = ids("7b", None);
    let prefixed = Endpoint::parse("http://[::1]:9000/.rt/hello").unwrap();
    for request in all_requests(&ids, ErrorReport::new("A.B", "")) {
        let (plain, request) = (parsed(&request), parse(&encode(&request, &prefixed)));
        assert_eq!(request.path, format!("/.rt/hello{}", plain.path));
        assert_eq!(request.field("Host"), Some(&b"[::1]:9000"[..]));
        assert_eq!(request.method, plain.method);
    }
}

#[test]
fn a_buffer_that_is_too_small_yields_the_exact_length_needed() {
    let ids = ids("7b", Some(b"9f"));
    for request in all_requests(&ids, ErrorReport::new("A.B", "c").xray_cause("{}")) {
        let whole = encode(&request, &endpoint());
        let too_small = Err(BufferTooSmall { needed: whole.len() });
        for size in 0..whole.len() {
            assert_eq!(request.encode(&endpoint(), &mut vec![0; size]), too_small, "{size}");
        }
        let mut roomy = vec![0xaa; whole.len() + 9];
        assert_eq!(request.encode(&endpoint(), &mut roomy), Ok(whole.len()));
        assert_eq!(roomy, [&whole[..], &[0xaa; 9]].concat());
    }
}

#[test]
fn characters_of_a_request_id_that_a_path_segment_may_not_hold_are_percent_encoded() {
    let table = [
        ("8476a536-e9f4-11e8-9739-2dfe598c3fcd", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        // RFC 3986 section 3.3: a pchar stands for itself, except for five that Go escapes too.
        ("AZaz09-._~$&+,;=:@", "AZaz09-._~$&+,;=:@"),
        ("!'()*", "%21%27%28%29%2A"),
        ("a/b?c#d%e f", "a%2Fb%3Fc%23d%25e%20f"),
        ("\"<>[\\]^`{|}", "%22%3C%3E%5B%5C%5D%5E%60%7B%7C%7D"),
        ("\u{e9}\u{1f375}", "%C3%A9%F0%9F%8D%B5"),
        ("a\tb", "a%09b"),
        ("../x", "..%2Fx"),
    ];
    for (id, segment) in table {
        let request = Request::Error { ids: &ids(id, None), report: ErrorReport::new("A.B", "") };
        assert_eq!(
            parsed(&request).path,
            format!("/2018-06-01/runtime/invocation/{segment}/error")
        );
    }
}

#[test]
fn an_attempt_id_is_echoed_byte_for_byte() {
    // Every byte that a field value may hold (RFC 9110 section 5.5).
    let attempt_id: Vec<u8> = (0x21..=0x7e).chain(0x80..=0xff).chain(*b"\t a").collect();
    let ids = ids("7b", Some(&attempt_id));
    let report = ErrorReport::new("A.B", "");
    let length = ResponseLength::Buffered(0);
    for request in [
        Request::Error { ids: &ids, report },
        Request::Response { ids: &ids, content_type: None, length },
    ] {
        assert_eq!(parsed(&request).field("Lambda-Runtime-Invocation-Id"), Some(&attempt_id[..]));
    }
}

#[test]
fn ids_read_from_other_bytes_add_no_header_line() {
    let bytes = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\n\
                  Lambda-Runtime-Invocation-Id: 0123456789\r\n\r\n";
    let index = InvocationHead::parse(bytes).unwrap().0.index();
    let mut other = bytes.to_vec();
    other.truncate(other.len() - 14);
    other.extend_from_slice(b"\r\nX: 1\r\nY: 2\r\n");
    let ids = InvocationIds::of(&index.on(&other)).unwrap();
    let length = ResponseLength::Buffered(0);
    let names = ["Host", "User-Agent", "Lambda-Runtime-Invocation-Id", "Content-Length"];
    let request = parsed(&Request::Response { ids: &ids, content_type: None, length });
    assert!(request.names().iter().all(|name| names.contains(name)), "{request:?}");
}

#[test]
fn the_longest_head_fits_max_request_head() {
    let authority = format!("{}:65535", "a".repeat(MAX_AUTHORITY - 6));
    let endpoint = Endpoint::parse(&format!("{authority}/{}", "p".repeat(MAX_PATH_PREFIX - 1)))
        .unwrap()
        .with_user_agent(&"u".repeat(MAX_USER_AGENT))
        .unwrap();
    let ids = ids(&"%".repeat(MAX_ID), Some(&[b'i'; MAX_ID]));
    let error_type = "E".repeat(MAX_ERROR_TYPE);
    let report = ErrorReport::new(&error_type, "").limit(0);
    let content_type = Some(ContentType::from_bytes(&[b'c'; MAX_CONTENT_TYPE]).unwrap());
    let length = ResponseLength::Buffered(u64::MAX);
    let mut lengths = all_requests(&ids, report)
        .iter()
        .chain(&[
            Request::Response { ids: &ids, content_type, length },
            Request::Response { ids: &ids, content_type, length: ResponseLength::Streamed },
        ])
        .map(|request| encode(request, &endpoint))
        .map(|bytes| bytes.len() - parse(&bytes).body.len())
        .collect::<Vec<_>>();
    lengths.sort_unstable();
    let longest = *lengths.last().unwrap();
    // The bound is at most 300 bytes too high.
    assert!((MAX_REQUEST_HEAD - 300..=MAX_REQUEST_HEAD).contains(&longest), "{longest}");
}

#[test]
fn a_content_type_as_long_as_the_limit_is_accepted() {
    assert!(ContentType::from_bytes(&[b'c'; MAX_CONTENT_TYPE]).is_ok());
    assert!(ContentType::from_bytes(b"a").is_ok());
}

#[test]
fn a_content_type_that_is_empty_or_too_long_is_refused() {
    assert!(ContentType::from_bytes(&[b'c'; MAX_CONTENT_TYPE + 1]).is_err());
    assert!(ContentType::from_bytes(b"").is_err());
}

#[test]
fn a_content_type_with_a_control_character_is_refused() {
    for control in (0..0x20).filter(|byte| *byte != b'\t').chain([0x7f]) {
        assert!(ContentType::from_bytes(&[b'a', control, b'b']).is_err(), "{control}");
    }
    assert!(ContentType::from_bytes(b"text/plain\r\nX: 1").is_err());
}

#[test]
fn a_content_type_is_made_from_text_and_read_as_text() {
    let csv = ContentType::try_from("text/csv").unwrap();
    assert_eq!(csv.as_str(), Some("text/csv"));
    assert_eq!(ContentType::try_from(&b"text/csv"[..]), Ok(csv));
    assert_eq!(ContentType::TEXT.as_str(), Some("text/plain; charset=utf-8"));
    for refused in ["", "text/plain\r\nX: 1"] {
        assert!(ContentType::try_from(refused).is_err(), "{refused:?}");
        assert!(ContentType::try_from(refused.as_bytes()).is_err(), "{refused:?}");
    }
    let latin1 = ContentType::from_bytes(b"text/x; name=\xe9").unwrap();
    assert_eq!(latin1.as_str(), None);
}

#[test]
fn any_accepted_content_type_stays_in_its_header() {
    let value: Vec<u8> = (0x20..0x7f).chain(0x80..=0xff).chain(*b"\t.").collect();
    let content_type = Some(ContentType::from_bytes(&value).unwrap());
    let length = ResponseLength::Buffered(0);
    let request = parsed(&Request::Response { ids: &ids("7b", None), content_type, length });
    assert_eq!(request.names(), ["Host", "User-Agent", "Content-Type", "Content-Length"]);
    assert_eq!(request.field("Content-Type"), Some(value.trim_ascii_start()));
}

/// Texts that try to end a header line, or the head.
fn hostile() -> Vec<String> {
    let mut texts: Vec<_> =
        ["", "\r\nX-Evil: 1", "\nX-Evil: 1", "\rX-Evil: 1", "\r\n\r\nGET / HTTP/1.1", "\0"]
            .into_iter()
            .chain([
                "a\u{85}b\u{2028}c\u{feff}",
                "\u{e9}\u{1f375}",
                "\u{7f}\u{1}\u{b}",
                "\"\\",
                " a: b ",
                "a,b;c",
            ])
            .map(str::to_owned)
            .collect();
    texts.push("x\r\n".repeat(100_000));
    texts.push("\u{1f375}".repeat(100_000));
    texts
}

/// Checks that a report has exactly these headers, and a JSON body of the announced length.
fn check_report(request: &Parsed, has_cause: bool) {
    let mut names =
        vec!["Host", "User-Agent", "Content-Type", "Lambda-Runtime-Function-Error-Type"];
    names.extend(has_cause.then_some("Lambda-Runtime-Function-XRay-Error-Cause"));
    names.push("Content-Length");
    assert_eq!(request.names(), names);
    assert!(
        request
            .fields
            .iter()
            .all(|(_, value)| value.iter().all(|byte| (b' '..=b'~').contains(byte)))
    );
    assert_eq!(request.field("Content-Length"), Some(request.body.len().to_string().as_bytes()));
    assert!(serde_json::from_slice::<serde_json::Value>(&request.body).unwrap().is_object());
}

#[test]
fn an_error_type_message_or_stack_trace_adds_no_header_line() {
    for text in hostile() {
        check_report(&reported(ErrorReport::new(&text, "m")), false);
        check_report(&reported(ErrorReport::new("A.B", &text)), false);
        check_report(&reported(ErrorReport::new("A.B", "m").stack_trace(&text)), false);
        let report = ErrorReport::new(&text, &text).stack_trace(&text);
        check_report(&parsed(&Request::InitError { report }), false);
        check_report(&parsed(&Request::RestoreError { report }), false);
    }
}

#[test]
fn an_xray_cause_adds_no_header_line() {
    for text in hostile() {
        let request = reported(ErrorReport::new("A.B", "m").xray_cause(&text));
        check_report(&request, request.field("Lambda-Runtime-Function-XRay-Error-Cause").is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..Default::default() })]

    #[test]
    fn any_text_in_a_report_cannot_break_out_of_its_place(kind: String, message: String, stack: String, cause: String) {
        let report = ErrorReport::new(&kind, &message).stack_trace(&stack).xray_cause(&cause);
        check_report(&reported(report), true);
    }

    #[test]
    fn the_path_decodes_to_the_request_id(id in "[!-~\u{e9}\u{2603}]([ -~\t\u{e9}\u{1f375}]{0,50}[!-~])?") {
        let ids = ids(&id, None);
        prop_assert_eq!(ids.request_id(), &id);
        let length = ResponseLength::Buffered(0);
        let path = parsed(&Request::Response { ids: &ids, content_type: None, length }).path;
        let segments: Vec<_> = path.split('/').collect();
        prop_assert_eq!(segments.len(), 6);
        prop_assert_eq!(percent_decoded(segments[4]), id.into_bytes());
    }
}

fn percent_decoded(segment: &str) -> Vec<u8> {
    let mut parts = segment.split('%');
    let mut decoded = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        decoded.push(u8::from_str_radix(&part[..2], 16).unwrap());
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    decoded
}
