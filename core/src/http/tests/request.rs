//! Requests, as a server reads them.

use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use crate::http::{
    BodyError, BodyLength, HeadError, RequestError, RequestHead, RequestPart, RequestReader,
};
use crate::limits::{MAX_FIELDS, MAX_HEAD};

/// The heads and bodies of requests, and the error that ended them.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    heads: Vec<String>,
    bodies: Vec<Vec<u8>>,
    error: Option<RequestError>,
    left: usize,
}

/// Reads requests that arrive in pieces which end at these positions.
fn read_cut(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Seen {
    let mut reader = RequestReader::default();
    let (mut seen, mut body) = (Seen::default(), Vec::new());
    let mut consumed = 0;
    for end in cuts.into_iter().chain([bytes.len()]) {
        let mut input = &bytes[consumed..end];
        loop {
            match reader.read(&mut input, &mut |_, _| false) {
                Ok(None) => break,
                Ok(Some(RequestPart::Head(head))) => seen.heads.push(shown(&head)),
                Ok(Some(RequestPart::Body(piece))) => {
                    assert!(!piece.is_empty());
                    assert_eq!(piece.as_ptr_range().end, input.as_ptr());
                    body.extend_from_slice(piece);
                }
                Ok(Some(RequestPart::End)) => seen.bodies.push(core::mem::take(&mut body)),
                Err(error) => return Seen { error: Some(error), ..seen },
            }
        }
        consumed = end - input.len();
    }
    assert_eq!(reader.is_inside(), consumed < bytes.len() || seen.bodies.len() < seen.heads.len());
    Seen { left: bytes.len() - consumed, ..seen }
}

fn shown(head: &RequestHead<'_>) -> String {
    let (method, target) = (head.method.escape_ascii(), head.target.escape_ascii());
    let RequestHead { is_http_1_1, body, is_persistent, .. } = head;
    format!("{method} {target} {is_http_1_1} {body:?} {is_persistent}")
}

/// Reads requests whole, byte by byte, and cut at each position.
fn read(bytes: &[u8]) -> Seen {
    let whole = read_cut(bytes, []);
    assert_eq!(read_cut(bytes, 1..bytes.len()), whole, "byte by byte");
    for cut in 1..bytes.len() {
        assert_eq!(read_cut(bytes, [cut]), whole, "cut at {cut}");
    }
    whole
}

fn error(head: &str) -> Option<RequestError> {
    read(head.as_bytes()).error
}

#[test]
fn requests_follow_each_other() {
    let seen = read(
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
          POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi\
          PUT * HTTP/1.0\r\nContent-Length: 0\r\n\r\n\
          POST / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n\
          2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\nPOST",
    );
    let expected = [
        "GET /a true Fixed(0) true",
        "POST /b true Fixed(2) true",
        "PUT * false Fixed(0) false",
        "POST / true Chunked false",
    ];
    assert_eq!(seen.heads, expected);
    assert_eq!(seen.bodies, [&b""[..], b"hi", b"", b"hello"]);
    assert_eq!((seen.error, seen.left), (None, 4));
}

#[test]
fn one_blank_line_may_precede_each_request() {
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let seen = read(format!("\r\n{request}\r\n{request}\r\n").as_bytes());
    assert_eq!((seen.heads.len(), seen.error, seen.left), (2, None, 0));
    for start in ["\r\n\r\n", "\n", "\rX", "\r\n\n"] {
        let blank = Some(HeadError::LeadingBlankLine.into());
        assert_eq!(error(&format!("{start}{request}")), blank, "{start:?}");
    }
}

#[test]
fn a_head_without_exactly_one_host_is_refused_in_http_1_1() {
    let bad = Some(HeadError::BadHost.into());
    assert_eq!(error("GET / HTTP/1.1\r\n\r\n"), bad);
    assert_eq!(error("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), bad);
    assert_eq!(error("GET / HTTP/1.0\r\n\r\n"), None);
    assert_eq!(error("GET / HTTP/1.1\r\nHost:\r\n\r\n"), None);
}

#[test]
fn values_with_control_characters_are_refused() {
    for control in ["\0", "\x01", "\x1f", "\x7f"] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: a{control}b\r\n\r\n");
        assert_eq!(error(&head), Some(HeadError::Malformed.into()), "{control:?}");
    }
    assert_eq!(error("GET / HTTP/1.1\r\nHost: a\r\nX: \ta\tb\u{e9} \r\n\r\n"), None);
}

#[test]
fn the_end_of_a_request_is_never_ambiguous() {
    for (fields, expected) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", HeadError::LengthWithChunked),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", HeadError::BadContentLength),
        ("Content-Length: 1,1\r\n", HeadError::BadContentLength),
        ("Transfer-Encoding: chunked, identity\r\n", HeadError::UnknownTransferEncoding),
        ("Transfer-Encoding: identity\r\n", HeadError::UnknownTransferEncoding),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(error(&head), Some(expected.into()), "{fields}");
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(error(old), Some(HeadError::UnknownTransferEncoding.into()));
    let seen = read(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab");
    assert_eq!(seen.error, Some(BodyError::BadChunkEnd.into()));
}

#[test]
fn heads_over_a_limit_are_refused() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\n";
    let fields = "X: y\r\n".repeat(MAX_FIELDS);
    let many = format!("{start}{fields}\r\n");
    assert_eq!(read_cut(many.as_bytes(), []).error, Some(HeadError::TooManyFields.into()));
    let long = format!("{start}X: {}", "y".repeat(MAX_HEAD));
    for cuts in [vec![], vec![MAX_HEAD - 1, MAX_HEAD], (1..long.len()).collect()] {
        assert_eq!(read_cut(long.as_bytes(), cuts).error, Some(HeadError::TooLarge.into()));
    }
}

/// A request that is valid, before something is changed in it.
const REQUEST: &[u8] =
    b"POST /a?b HTTP/1.1\r\nHost: x\r\nX-Some: \tvalue\r\nContent-Length: 1\r\n\r\n";

proptest! {
    #[test]
    fn accepted_heads_are_read_alike_by_httparse(
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(b"\0\t\r\n :/1.aPH\x7f\x80\xff".to_vec())),
            0..4,
        ),
    ) {
        let mut request = REQUEST.to_vec();
        for (at, byte) in changes {
            let at = at.index(request.len());
            request[at] = byte;
        }
        let mut reader = RequestReader::default();
        let (mut input, mut fields) = (&request[..], Vec::new());
        let mut note = |name: &[u8], value: &[u8]| {
            fields.push((name.to_vec(), value.to_vec()));
            false
        };
        let Ok(Some(RequestPart::Head(head))) = reader.read(&mut input, &mut note) else {
            return Ok(());
        };
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut theirs = httparse::Request::new(&mut headers);
        let skipped = request.len() - request.strip_prefix(b"\r\n").unwrap_or(&request).len();
        let parsed = theirs.parse(&request[skipped..]);
        let length = request.len() - input.len() - skipped;
        prop_assert_eq!(parsed, Ok(httparse::Status::Complete(length)));
        prop_assert_eq!(theirs.method.map(str::as_bytes), Some(head.method));
        prop_assert_eq!(theirs.path.map(str::as_bytes), Some(head.target));
        prop_assert_eq!(theirs.version, Some(u8::from(head.is_http_1_1)));
        let theirs = theirs.headers.iter().map(|it| (it.name.as_bytes().to_vec(), it.value.to_vec()));
        prop_assert!(theirs.eq(fields.into_iter().rev().take(headers_of(&request)).rev()));
        prop_assert!(matches!(head.body, BodyLength::Fixed(_) | BodyLength::Chunked));
    }
}

/// The number of fields in the head; those of a failed attempt may be shown before them.
fn headers_of(request: &[u8]) -> usize {
    let head = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(request.len());
    let lines = request[..head].windows(2).filter(|end| *end == b"\r\n").count();
    lines - usize::from(request.starts_with(b"\r\n"))
}
