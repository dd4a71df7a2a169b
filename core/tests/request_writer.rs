//! The writer that other crates use for the requests of their APIs.

use lambda_proto::api::{Endpoint, ErrorReport, RequestWriter};
use lambda_proto::http::BufferTooSmall;
use proptest::prelude::*;

fn endpoint() -> Endpoint {
    let endpoint = Endpoint::parse("http://127.0.0.1:9001/.rt").expect("an address");
    endpoint.with_user_agent("test").expect("a visible word")
}

/// Returns the request, and checks that its length is exact and that every smaller buffer is
/// refused.
fn written(write: impl Fn(&mut [u8]) -> Result<usize, BufferTooSmall>) -> String {
    let needed = write(&mut []).expect_err("there is no request without a byte").needed;
    for size in 0..needed {
        assert_eq!(write(&mut vec![0; size]), Err(BufferTooSmall { needed }));
    }
    let mut out = vec![0; needed + 1];
    assert_eq!(write(&mut out), Ok(needed));
    assert_eq!(out.pop(), Some(0), "nothing is written beyond the request");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_request_has_the_prefix_the_address_and_the_user_agent_of_its_endpoint() {
    let request = written(|out| RequestWriter::get(&endpoint(), "/v1/thing", out).finish());
    assert_eq!(
        request,
        "GET /.rt/v1/thing HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: test\r\n\r\n"
    );
}

#[test]
fn a_put_differs_from_a_post_in_its_method_only() {
    let put = written(|out| RequestWriter::put(&endpoint(), "/v1/thing", out).finish_with([]));
    let post = written(|out| RequestWriter::post(&endpoint(), "/v1/thing", out).finish_with([]));
    assert_eq!(put, post.replacen("POST ", "PUT ", 1));
    assert!(put.starts_with("PUT /.rt/v1/thing HTTP/1.1\r\n"), "{put}");
}

#[test]
fn a_body_in_pieces_has_the_length_of_all_of_them() {
    for (pieces, length) in [(&[][..], "0"), (&[&b""[..], b"{", b"\"a\":1}"], "7")] {
        let request = written(|out| {
            let mut writer = RequestWriter::post(&endpoint(), "/v1/thing", out);
            writer.field("X-A", &[b"b", b"", b"c"]);
            writer.finish_with(pieces.iter().copied())
        });
        let body = String::from_utf8(pieces.concat()).unwrap();
        let end = format!("\r\nX-A: bc\r\nContent-Length: {length}\r\n\r\n{body}");
        assert!(request.starts_with("POST /.rt/v1/thing ") && request.ends_with(&end), "{request}");
    }
}

#[test]
fn a_report_is_the_body_and_its_type_a_field_of_visible_characters() {
    let report = ErrorReport::new("Extension.B\u{e9}\r\nX: y", "it \"broke\"");
    let request = written(|out| {
        let mut writer = RequestWriter::post(&endpoint(), "/v1/error", out);
        writer.error_type("X-Type", &report);
        writer.finish_with_report(&report)
    });
    let mut json = [0; 256];
    let length = report.encode_json(&mut json).unwrap();
    let json = std::str::from_utf8(&json[..length]).unwrap();
    let end = format!("\r\nX-Type: Extension.B___X:_y\r\nContent-Length: {length}\r\n\r\n{json}");
    assert!(request.ends_with(&end), "{request}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_can_end_its_field(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..4)) {
        let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
        let mut out = [0; 256];
        let mut writer = RequestWriter::get(&endpoint(), "/", &mut out);
        writer.field("X-A", &pieces);
        let length = writer.finish().unwrap();

        let mut fields = [httparse::EMPTY_HEADER; 3];
        let mut request = httparse::Request::new(&mut fields);
        prop_assert_eq!(request.parse(&out[..length]), Ok(httparse::Status::Complete(length)));
        let expected: Vec<_> = pieces.concat().iter().map(|&byte| match byte {
            b'\t' | 0x20..=0x7e | 0x80.. => byte,
            _ => b' ',
        }).collect();
        prop_assert_eq!(request.headers[2].value.trim_ascii(), expected.trim_ascii());
    }
}
