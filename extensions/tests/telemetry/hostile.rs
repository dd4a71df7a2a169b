//! Senders that do not follow the rules.

use lambda_proto::http::{BodyError, HeadError};
use lambda_proto::limits::{MAX_FIELDS, MAX_HEAD, MAX_JSON_DEPTH};
use lambda_proto_extension::telemetry::{Body, Deliveries, Fate, Reason, Record, Refusal};

use super::{MEMORY, WHOLE, event, post, receive, receive_cut};

/// Receives a request whose framing is refused: no record, 400, and the end of the connection.
fn refused(request: &[u8]) -> Refusal {
    let seen = receive_cut(request);
    let shown = request.escape_ascii();
    assert_eq!((seen.statuses(), seen.is_closed), (vec!["400"], true), "{shown}");
    assert!(seen.written().contains("\r\nConnection: close\r\n"));
    assert!(seen.batches.is_empty(), "{shown}");
    let [refusal] = seen.refusals[..] else { panic!("{:?}", seen.refusals) };
    refusal
}

fn with_fields(fields: &str) -> Vec<u8> {
    // What follows the head would be a second request for a reader that sees another length.
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n0\r\n\r\nPOST /smuggled HTTP/1.1\r\n\r\n")
        .into_bytes()
}

#[test]
fn requests_whose_length_is_ambiguous_are_refused() {
    for (fields, error) in [
        // RFC 9112 section 6.3, items 3 to 5, and section 11.2.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", HeadError::LengthWithChunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", HeadError::LengthWithChunked),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", HeadError::BadContentLength),
        ("Content-Length: 5, 6\r\n", HeadError::BadContentLength),
        ("Content-Length: 5, 5\r\n", HeadError::BadContentLength),
        ("Content-Length: +5\r\n", HeadError::BadContentLength),
        ("Content-Length: -1\r\n", HeadError::BadContentLength),
        ("Content-Length: 0x5\r\n", HeadError::BadContentLength),
        ("Content-Length:\r\n", HeadError::BadContentLength),
        ("Content-Length: 18446744073709551616\r\n", HeadError::BadContentLength),
        ("Transfer-Encoding: gzip\r\n", HeadError::UnknownTransferEncoding),
        ("Transfer-Encoding: chunked, gzip\r\n", HeadError::UnknownTransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", HeadError::UnknownTransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", HeadError::UnknownTransferEncoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            HeadError::UnknownTransferEncoding,
        ),
        ("Transfer-Encoding: identity\r\n", HeadError::UnknownTransferEncoding),
        ("Transfer-Encoding : chunked\r\n", HeadError::Malformed),
        (" Transfer-Encoding: chunked\r\n", HeadError::Malformed),
        ("X: a\r\n Content-Length: 5\r\n", HeadError::Malformed),
        ("X: a\nContent-Length: 5\r\n", HeadError::BareLineFeed),
        ("X: a\rContent-Length: 5\r\n", HeadError::Malformed),
        ("X: a\0b\r\nContent-Length: 5\r\n", HeadError::Malformed),
        ("X: a\x7f\r\nContent-Length: 5\r\n", HeadError::Malformed),
        ("Content-Length\0: 5\r\n", HeadError::Malformed),
        (": 5\r\n", HeadError::Malformed),
        ("no colon\r\n", HeadError::Malformed),
        ("Host: b\r\n", HeadError::BadHost),
    ] {
        assert_eq!(refused(&with_fields(fields)), Refusal::Head(error), "{fields:?}");
    }
}

#[test]
fn chunks_in_http_1_0_and_a_missing_host_are_refused() {
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(old), Refusal::Head(HeadError::UnknownTransferEncoding));
    let without = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]";
    assert_eq!(refused(without), Refusal::Head(HeadError::BadHost));
}

#[test]
fn request_lines_that_others_could_read_otherwise_are_refused() {
    for line in [
        "POST  / HTTP/1.1",
        "POST / HTTP/1.1 ",
        "POST / HTTP/1.1 x",
        "POST /a b HTTP/1.1",
        "POST\t/ HTTP/1.1",
        "POST / HTTP/1.2",
        "POST / HTTP/2.0",
        "POST / HTTP/11",
        "POST / http/1.1",
        "POST /",
        "POST",
        "POST / ",
        "P\u{e9}ST / HTTP/1.1",
        "POST /\u{e9} HTTP/1.1",
        "POST /\0 HTTP/1.1",
        " POST / HTTP/1.1",
        "HTTP/1.1 200 OK",
        "PRI * HTTP/2.0",
    ] {
        let request = format!("{line}\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]");
        assert_eq!(refused(request.as_bytes()), Refusal::Head(HeadError::Malformed), "{line:?}");
    }
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    assert_eq!(refused(tls), Refusal::Head(HeadError::Malformed));
}

#[test]
fn broken_chunks_are_refused_after_the_records_before_them() {
    let one = event("function", "\"1\"");
    let first = format!("{:x}\r\n[{one},\r\n", one.len() + 2);
    for (rest, error) in [
        ("x\r\n", BodyError::BadChunkSize),
        ("\r\n", BodyError::BadChunkSize),
        ("-1\r\n", BodyError::BadChunkSize),
        ("0x1\r\n", BodyError::BadChunkSize),
        ("1\n", BodyError::BadChunkSize),
        ("1;a\nb\r\n", BodyError::BadChunkSize),
        ("10000000000000000\r\n", BodyError::BadChunkSize),
        ("1\r\n]]\r\n", BodyError::BadChunkEnd),
        ("1\r\n]\n", BodyError::BadChunkEnd),
        ("0\r\na\nb\r\n", BodyError::BadTrailer),
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let seen = receive_cut(format!("{head}{first}{rest}").as_bytes());
        assert_eq!(seen.refusals, [Refusal::Body(error)], "{rest:?}");
        assert_eq!((seen.statuses(), seen.is_closed), (vec!["400"], true));
        assert_eq!((seen.records, seen.batches.len()), (vec![one.clone()], 0));
    }
}

#[test]
fn an_endless_head_is_refused_at_the_limit() {
    let mut deliveries = Deliveries::new();
    let endless = [b"POST / HTTP/1.1\r\n", &b"X: y\r\n".repeat(100_000)[..]].concat();
    let seen = receive(&mut deliveries, 10 * MAX_HEAD, &endless, &WHOLE, |_| Fate::Taken);
    assert_eq!(seen.refusals, [Refusal::Head(HeadError::TooLarge)]);
    assert_eq!((seen.statuses(), seen.is_closed), (vec!["431"], true));
    let fields = "X: y\r\n".repeat(MAX_FIELDS);
    let many = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let seen = receive(&mut deliveries, MEMORY, many.as_bytes(), &WHOLE, |_| Fate::Taken);
    assert_eq!(seen.refusals, [Refusal::Head(HeadError::TooManyFields)]);
    assert_eq!((seen.statuses(), seen.is_closed), (vec!["431"], true));
}

#[test]
fn a_record_with_anything_in_its_texts_arrives_or_is_handed_out_raw() {
    let good = event("function", "\"good\"");
    for (odd, is_record) in [
        (&b"\"nul \\u0000\""[..], true),
        (b"\"nul \0\"", false),
        (b"\"lone \\ud83c\"", true),
        (b"\"swapped \\udf75\\ud83c\"", true),
        (b"\"\xff\xfe\"", false),
        (b"\"\xed\xa0\x80\"", false),
        (b"\"\xc0\x80\"", false),
        (b"1e400", true),
        (b"-0.0", true),
        (b"123456789012345678901234567890123456789012345678901234567890", true),
        (b"NaN", false),
        (b"Infinity", false),
        (b"'single'", false),
        (b"/* comment */ 1", false),
        (b"{\"a\":1,\"a\":2}", true),
        (b"{\"__proto__\":{}}", true),
    ] {
        let odd = [b"{\"type\":\"function\",\"record\":", odd, b"}"].concat();
        let body = [b"[", good.as_bytes(), b",", &odd, b",", good.as_bytes(), b"]"].concat();
        let seen = receive_cut(&post(body));
        let shown = odd.escape_ascii();
        assert_eq!(
            (seen.records.len(), seen.unread.len()),
            (2 + usize::from(is_record), usize::from(!is_record)),
            "{shown}"
        );
        let raw = if is_record { seen.records[1].as_bytes() } else { &seen.unread[0].0 };
        assert_eq!((raw, seen.statuses()), (&odd[..], vec!["200"]), "{shown}");
    }
}

#[test]
fn half_a_surrogate_pair_becomes_the_replacement_character() {
    let event = event("function", "\"a\\ud83cb\\udf75\"");
    let Body::FunctionLog(line) = Record::parse(event.as_bytes()).unwrap().body else { panic!() };
    assert_eq!(line.to_string(), "a\u{fffd}b\u{fffd}");
}

#[test]
fn endless_nesting_is_one_unreadable_record_that_takes_no_stack() {
    let good = event("function", "\"good\"");
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for levels in [MAX_JSON_DEPTH, 100_000] {
            let deep =
                event("function", &format!("{}0{}", open.repeat(levels), close.repeat(levels)));
            assert_eq!(Record::parse(deep.as_bytes()).unwrap_err().reason, Reason::TooDeep);
            let body = format!("[{good},{deep},{good}]");
            let mut deliveries = Deliveries::new();
            let seen =
                receive(&mut deliveries, body.len() + 200, &post(body), &WHOLE, |_| Fate::Taken);
            assert_eq!((seen.records.len(), seen.unread.len()), (2, 1));
            assert_eq!(seen.unread[0].1, format!("nested deeper than {MAX_JSON_DEPTH}"));
        }
        let levels = MAX_JSON_DEPTH - 1;
        let deep = event("function", &format!("{}0{}", open.repeat(levels), close.repeat(levels)));
        assert!(Record::parse(deep.as_bytes()).is_ok(), "{levels} brackets in one");
    }
}

#[test]
fn the_last_of_several_members_with_one_name_counts() {
    let event = br#"{"type":"function","type":"platform.start","record":{"requestId":"1","requestId":"2"}}"#;
    assert_eq!(Record::parse(event).unwrap().request_id().unwrap(), "2");
}
