//! What response heads say about the body and the connection.

use std::format;

use super::read;
use crate::http::{BodyLength, HeadError, HeadParser};

fn body(fields: &str) -> Result<BodyLength, HeadError> {
    read("HTTP/1.1 200 OK", fields).map(|response| response.body)
}

fn is_persistent(version: &str, fields: &str) -> bool {
    let fields = format!("Content-Length: 0\r\n{fields}");
    read(&format!("{version} 200 OK"), &fields).unwrap().is_persistent
}

#[test]
fn control_characters_in_a_length_are_bad() {
    for (fields, error) in [
        ("Content-Length: 5\0\r\n", HeadError::BadContentLength),
        ("Content-Length: 5\r\nContent-Length: \u{1}5\r\n", HeadError::BadContentLength),
        ("Transfer-Encoding: chunked\u{7f}\r\n", HeadError::UnknownTransferEncoding),
        (
            "A: \0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            HeadError::LengthWithChunked,
        ),
    ] {
        assert_eq!(body(fields), Err(error), "{fields:?}");
    }
    for status_line in ["HTTP/1.1 99 OK", "HTTP/1.2 200 OK"] {
        assert_eq!(read(status_line, "A: \0\r\n"), Err(HeadError::Malformed), "{status_line:?}");
    }
}

#[test]
fn a_content_length_is_decimal_digits_below_2_to_the_64th() {
    for (value, length) in [
        ("0", 0),
        ("6291556", 6_291_556),
        ("0042", 42),
        ("18446744073709551615", u64::MAX),
        (" 7\t", 7),
    ] {
        let fields = format!("content-LENGTH:{value}\r\n");
        assert_eq!(body(&fields), Ok(BodyLength::Fixed(length)), "{value:?}");
    }
}

#[test]
fn any_other_content_length_is_bad() {
    let values = "|-1|+1|1,1|1, 1|1 1|0x10|1.0|1e3|18446744073709551616|\u{664}|a";
    for value in values.split('|') {
        let fields = format!("Content-Length: {value}\r\n");
        assert_eq!(body(&fields), Err(HeadError::BadContentLength), "{value:?}");
    }
}

#[test]
fn a_content_length_may_occur_twice_if_both_are_equal() {
    assert_eq!(body("Content-Length: 5\r\nContent-Length: 5\r\n"), Ok(BodyLength::Fixed(5)));
}

#[test]
fn two_content_lengths_that_differ_are_bad() {
    for (one, two) in [(5, 6), (0, 6), (6, 0)] {
        let fields = format!("Content-Length: {one}\r\nContent-Length: {two}\r\n");
        assert_eq!(body(&fields), Err(HeadError::BadContentLength), "{fields:?}");
    }
}

#[test]
fn chunked_is_known_in_any_case() {
    for value in ["chunked", "Chunked", "CHUNKED", " chunked\t"] {
        let fields = format!("transfer-Encoding: {value}\r\n");
        assert_eq!(body(&fields), Ok(BodyLength::Chunked), "{value:?}");
    }
}

#[test]
fn any_other_transfer_encoding_is_unknown() {
    let values = "|identity|gzip|gzip, chunked|chunked, gzip|chunked, chunked|chunked;q=1|xchunked|\"chunked\"";
    for value in values.split('|') {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        assert_eq!(body(&fields), Err(HeadError::UnknownTransferEncoding), "{value:?}");
    }
    let twice = "Transfer-Encoding: chunked\r\n".repeat(2);
    assert_eq!(body(&twice), Err(HeadError::UnknownTransferEncoding));
}

#[test]
fn a_length_together_with_chunks_is_refused_as_ambiguous() {
    let (length, chunked) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    for fields in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
        assert_eq!(body(&fields), Err(HeadError::LengthWithChunked));
    }
}

#[test]
fn a_body_without_length_goes_to_the_end_of_the_stream_and_ends_the_connection() {
    let response = read("HTTP/1.1 200 OK", "Connection: keep-alive\r\n").unwrap();
    assert_eq!(response.body, BodyLength::ToEnd);
    assert!(!response.is_persistent);
}

#[test]
fn interim_replies_204_and_304_have_no_body_whatever_they_say() {
    for status in [100, 101, 103, 199, 204, 304] {
        for fields in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            let response = read(&format!("HTTP/1.1 {status} X"), fields).unwrap();
            assert_eq!(response.body, BodyLength::Fixed(0), "{status} {fields:?}");
            assert!(response.is_persistent, "{status} {fields:?}");
        }
    }
}

#[test]
fn neighbouring_statuses_have_a_body() {
    for status in [200, 203, 205, 303, 305] {
        let response = read(&format!("HTTP/1.1 {status} X"), "Content-Length: 5\r\n").unwrap();
        assert_eq!(response.body, BodyLength::Fixed(5), "{status}");
    }
}

#[test]
fn a_connection_persists_in_http_1_1_unless_the_head_says_close() {
    assert!(is_persistent("HTTP/1.1", ""));
    assert!(is_persistent("HTTP/1.1", "Connection: keep-alive\r\n"));
    assert!(is_persistent("HTTP/1.1", "Connection: closed\r\nX: close\r\n"));
    for value in
        ["close", "Close", "CLOSE", " close ", "upgrade, close", "close,upgrade", ",close,"]
    {
        assert!(!is_persistent("HTTP/1.1", &format!("connection: {value}\r\n")), "{value:?}");
    }
    assert!(!is_persistent("HTTP/1.1", "Connection: upgrade\r\nConnection: close\r\n"));
}

#[test]
fn a_connection_persists_in_http_1_0_only_if_the_head_says_keep_alive() {
    assert!(!is_persistent("HTTP/1.0", ""));
    assert!(!is_persistent("HTTP/1.0", "Connection: close\r\n"));
    for value in ["keep-alive", "Keep-Alive", "x, keep-alive"] {
        assert!(is_persistent("HTTP/1.0", &format!("Connection: {value}\r\n")), "{value:?}");
    }
}

#[test]
fn close_wins_over_keep_alive_in_any_order() {
    // RFC 9112 section 9.3: `close` is the first rule.
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        for value in ["keep-alive, close", "close, keep-alive", "close\r\nConnection: keep-alive"] {
            assert!(
                !is_persistent(version, &format!("Connection: {value}\r\n")),
                "{version} {value:?}"
            );
        }
    }
}

#[test]
fn chunks_in_http_1_0_are_unknown() {
    // RFC 9112 section 6.1: such framing must be treated as faulty.
    let response = read("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n");
    assert_eq!(response, Err(HeadError::UnknownTransferEncoding));
}

#[test]
fn framing_fields_take_effect_even_if_the_caller_knows_them() {
    for (fields, length) in [
        ("Content-Length: 5\r\nConnection: close\r\n", BodyLength::Fixed(5)),
        ("Transfer-Encoding: chunked\r\nConnection: close\r\n", BodyLength::Chunked),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let parsed = HeadParser::default().parse_known(head.as_bytes(), &mut |_, _| true);
        let (_, response) = parsed.unwrap().expect("the head is whole");
        assert_eq!((response.body, response.is_persistent), (length, false), "{fields:?}");
    }
    let both = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let parsed = HeadParser::default().parse_known(both, &mut |_, _| true);
    assert_eq!(parsed, Err(HeadError::LengthWithChunked));
}
