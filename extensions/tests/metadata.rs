//! The metadata endpoint: protocol.md 2.5.

use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto::http::{BufferTooSmall, HeadError, ReplyError};
use lambda_proto::json::JsonError;
use lambda_proto_extension::metadata::{
    self, ExecutionEnvironment, MetadataEvent, MetadataMeaning, MetadataReader, MetadataReply,
    MetadataToken,
};
use proptest::prelude::*;

const DOCUMENT: &str = "{\"AvailabilityZoneID\":\"use1-az1\"}";

fn endpoint() -> Endpoint {
    Endpoint::parse("169.254.100.1:9001").expect("an address").with_user_agent("test").expect("one")
}

fn reply(status: u16, fields: &str, document: &str) -> Vec<u8> {
    let length = document.len();
    format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {length}\r\n\r\n{document}")
        .into_bytes()
}

/// Reads bytes that arrive in pieces ending at `cuts`; returns the reply and its document.
fn read(
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<(Option<MetadataReply>, Vec<u8>), ReplyError> {
    let mut reader = MetadataReader::default();
    let (mut document, mut found, mut consumed) = (Vec::new(), None, 0);
    for arrived in cuts.into_iter().chain([bytes.len()]) {
        let mut input = &bytes[consumed..arrived];
        while let Some(event) = reader.receive(&mut input)? {
            match event {
                MetadataEvent::Document(piece) => document.extend_from_slice(piece),
                MetadataEvent::Reply(reply) => {
                    assert_eq!(found.replace(reply), None, "there is one reply");
                }
            }
        }
        consumed = arrived - input.len();
    }
    Ok((found, document))
}

fn read_whole(bytes: &[u8]) -> MetadataReply {
    read(bytes, []).expect("a reply").0.expect("a whole one")
}

#[test]
fn the_request_carries_the_token() {
    let token = MetadataToken::new("64875270-a1f8-474e-a159-82fa16c2105a").expect("a token");
    let mut out = [0; 512];
    let length = metadata::encode_request(&endpoint(), token, &mut out).expect("room");
    assert_eq!(
        std::str::from_utf8(&out[..length]).expect("text"),
        "GET /2026-01-15/metadata/execution-environment HTTP/1.1\r\nHost: 169.254.100.1:9001\r\n\
         User-Agent: test\r\nAuthorization: Bearer 64875270-a1f8-474e-a159-82fa16c2105a\r\n\r\n"
    );
    for size in 0..length {
        let error = metadata::encode_request(&endpoint(), token, &mut out[..size]);
        assert_eq!(error, Err(BufferTooSmall { needed: length }));
    }
}

#[test]
fn tokens_that_could_break_out_of_their_header_field_are_refused() {
    for bad in ["", " ", "a b", "a\r\nX: y", "a\n", "a\r", "a\0", "\u{e9}", "a\u{7f}"] {
        assert!(MetadataToken::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_token_is_not_shown() {
    let token = MetadataToken::new("secret").expect("a token");
    assert_eq!(format!("{token:?}"), "MetadataToken(..)");
}

#[test]
fn the_zone_and_its_age_are_read_wherever_the_bytes_are_cut() {
    let fields =
        "Content-Type: application/json\r\nCache-Control: private, max-age=43200, immutable\r\n";
    let bytes = reply(200, fields, DOCUMENT);
    let whole = read(&bytes, []).expect("a reply");
    let (Some(answer), document) = &whole else { panic!("a whole reply") };
    assert_eq!((answer.status(), answer.meaning()), (200, MetadataMeaning::Available));
    assert_eq!(answer.max_age(), Some(Duration::from_secs(43_200)));
    assert!(answer.is_persistent());
    let environment = ExecutionEnvironment::parse(document).expect("the document");
    assert_eq!(environment.availability_zone_id, "use1-az1");
    for cut in 0..=bytes.len() {
        assert_eq!(read(&bytes, [cut]).as_ref(), Ok(&whole), "cut at {cut}");
    }
    assert_eq!(read(&bytes, 1..bytes.len()), Ok(whole), "byte by byte");
}

#[test]
fn each_status_has_its_meaning() {
    for (status, meaning) in [
        (200, MetadataMeaning::Available),
        (401, MetadataMeaning::WrongToken),
        (404, MetadataMeaning::Unavailable),
        (405, MetadataMeaning::Unavailable),
        (500, MetadataMeaning::NotYet),
        (503, MetadataMeaning::NotYet),
        (204, MetadataMeaning::Unavailable),
    ] {
        assert_eq!(read_whole(&reply(status, "", "")).meaning(), meaning, "{status}");
    }
}

#[test]
fn the_age_is_read_in_every_form_and_is_none_if_keeping_is_forbidden() {
    for (fields, seconds) in [
        ("Cache-Control: max-age=7\r\n", Some(7)),
        ("cache-control: private,MAX-AGE=7,immutable\r\n", Some(7)),
        ("Cache-Control: max-age=\"7\"\r\n", Some(7)),
        ("Cache-Control: private\r\nCache-Control:  max-age=7 \r\n", Some(7)),
        ("Cache-Control: max-age=7, max-age=9\r\n", Some(7)),
        ("Cache-Control: max-age=18446744073709551615\r\n", Some(u64::MAX)),
        ("Cache-Control: max-age=18446744073709551616\r\n", None),
        ("Cache-Control: max-age=7, no-store\r\n", None),
        ("Cache-Control: no-cache\r\nCache-Control: max-age=7\r\n", None),
        ("Cache-Control: max-age=0\r\n", None),
        ("Cache-Control: max-age=-1\r\n", None),
        ("Cache-Control: max-age=\"7\r\n", None),
        ("Cache-Control: max-age\r\n", None),
        ("Cache-Control: max-agency=7\r\n", None),
        ("Cache-Control: =,,;\r\n", None),
        ("", None),
    ] {
        let answer = read_whole(&reply(200, fields, DOCUMENT));
        assert_eq!(answer.max_age(), seconds.map(Duration::from_secs), "{fields}");
    }
}

#[test]
fn cache_control_of_an_interim_reply_is_ignored() {
    let mut bytes = b"HTTP/1.1 103 Early Hints\r\nCache-Control: max-age=7\r\n\r\n".to_vec();
    bytes.extend(reply(200, "", DOCUMENT));
    assert_eq!(read_whole(&bytes).max_age(), None);
}

#[test]
fn a_document_in_chunks_or_up_to_the_end_of_the_stream_is_read() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    let (found, document) = read(chunked.as_bytes(), 1..chunked.len()).expect("a reply");
    assert_eq!((found.is_some(), &document[..]), (true, &b"{}"[..]));

    let mut reader = MetadataReader::default();
    let mut input: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n{}";
    assert_eq!(reader.receive(&mut input), Ok(Some(MetadataEvent::Document(b"{}"))));
    assert_eq!(reader.receive(&mut input), Ok(None));
    let answer = reader.end_of_stream().expect("it is complete");
    assert_eq!((answer.status(), answer.is_persistent()), (200, false));
    assert_eq!(reader.end_of_stream(), None);
}

#[test]
fn a_stream_that_ends_early_gives_no_reply() {
    let bytes = reply(200, "", DOCUMENT);
    for end in 0..bytes.len() {
        let mut reader = MetadataReader::default();
        let mut input = &bytes[..end];
        while let Some(event) = reader.receive(&mut input).expect("no violation") {
            assert!(matches!(event, MetadataEvent::Document(_)));
        }
        assert_eq!(reader.end_of_stream(), None, "after {end} bytes");
    }
}

#[test]
fn nothing_is_consumed_after_the_reply() {
    let more = reply(200, "", DOCUMENT);
    let bytes = [reply(401, "", ""), more.clone()].concat();
    let mut reader = MetadataReader::default();
    let mut input = &bytes[..];
    assert!(matches!(reader.receive(&mut input), Ok(Some(MetadataEvent::Reply(_)))));
    assert_eq!((reader.receive(&mut input), input), (Ok(None), &more[..]));
}

#[test]
fn bytes_that_are_not_a_reply_are_an_error_once() {
    let mut reader = MetadataReader::default();
    let mut input: &[u8] = b"220 smtp\r\n";
    assert_eq!(reader.receive(&mut input), Err(ReplyError::Head(HeadError::Malformed)));
    assert_eq!(reader.receive(&mut input), Ok(None));
}

#[test]
fn unknown_fields_are_ignored_and_absent_fields_are_empty() {
    let parse = |document: &'static str| {
        ExecutionEnvironment::parse(document.as_bytes())
            .map(|environment| environment.availability_zone_id.to_string())
    };
    assert_eq!(
        parse("{\"Region\":[{}],\"AvailabilityZoneID\":\"euc1-az2\"}").as_deref(),
        Ok("euc1-az2")
    );
    assert_eq!(parse("{\"AvailabilityZoneID\":null}").as_deref(), Ok(""));
    assert_eq!(parse("{}").as_deref(), Ok(""));
    for hostile in ["", "[]", "use1-az1", "{\"AvailabilityZoneID\":7}"] {
        assert_eq!(parse(hostile), Err(JsonError::NotTheDocument), "{hostile}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic_or_loop(
        bytes in prop::collection::vec(any::<u8>(), 0..200), has_start: bool, cut: prop::sample::Index,
    ) {
        let start: &[u8] = if has_start { b"HTTP/1.1 200 OK\r\nCache-Control: " } else { b"" };
        let bytes = [start, &bytes].concat();
        let cut = cut.index(bytes.len() + 1);
        let result = read(&bytes, [cut]);
        if let Ok((Some(reply), _)) = result {
            prop_assert!((200..=999).contains(&reply.status()));
        }
    }
}
