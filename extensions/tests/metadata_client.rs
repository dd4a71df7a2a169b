//! The metadata endpoint: protocol.md 2.5.

use std::error::Error;
use std::io::ErrorKind;
use std::sync::LazyLock;
use std::thread;
use std::time::Instant;

use lambda_proto::lifecycle::Clocks;
use lambda_proto_extension::metadata::{Metadata, MetadataError};
use lambda_proto_service::{Connection, Service, reply};
use proptest::prelude::*;

const TOKEN: &str = "64875270-0bf8";

/// The time since the first test began, by both clocks.
fn clocks() -> Clocks {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    Clocks { monotonic: ORIGIN.elapsed(), wall: ORIGIN.elapsed() }
}

fn metadata_at(address: &str) -> Metadata {
    Metadata::new(address, TOKEN, clocks).unwrap()
}

/// Asks for the zone while `serve` plays the service; returns both results.
fn ask<T>(
    metadata: &mut Metadata,
    serve: impl FnOnce() -> T,
) -> (Result<String, MetadataError>, T) {
    thread::scope(|scope| {
        let asks = scope.spawn(|| metadata.availability_zone().map(str::to_owned));
        let served = serve();
        (asks.join().unwrap(), served)
    })
}

fn zone(zone: &str, fields: &str) -> Vec<u8> {
    let document = format!("{{\"AvailabilityZoneID\":\"{zone}\",\"More\":[1]}}");
    reply(200, fields, &document)
}

/// Asks a service that sends this reply and closes the connection.
fn ask_one(reply: &[u8]) -> Result<String, MetadataError> {
    let service = Service::start();
    ask(&mut metadata_at(&service.address()), || service.answer_one(reply)).0
}

#[test]
fn the_zone_is_asked_for_with_the_token() {
    let service = Service::start();
    let mut metadata = metadata_at(&service.address());
    let (answer, request) = ask(&mut metadata, || service.answer_one(zone("use1-az1", "")));
    assert_eq!(answer.unwrap(), "use1-az1");
    let path = "/2026-01-15/metadata/execution-environment";
    assert_eq!((&*request.method, &*request.path), ("GET", path));
    assert_eq!(request.header("Host"), Some(&*service.address()));
    assert_eq!(request.header("Authorization"), Some(&*format!("Bearer {TOKEN}")));
}

#[test]
fn nothing_is_sent_before_the_zone_is_asked_for() {
    let service = Service::start();
    let _metadata = metadata_at(&service.address());
    service.expect_no_connection();
}

#[test]
fn the_zone_is_kept_as_long_as_it_may_be() {
    let service = Service::start();
    let mut metadata = metadata_at(&service.address());
    let reply = zone("use1-az1", "Cache-Control: private, max-age=43200, immutable\r\n");
    assert_eq!(ask(&mut metadata, || service.answer_one(&reply)).0.unwrap(), "use1-az1");
    for _ in 0..3 {
        assert_eq!(metadata.availability_zone().unwrap(), "use1-az1");
    }
    service.expect_no_connection();
}

#[test]
fn a_zone_that_may_not_be_kept_is_asked_for_again() {
    for fields in ["", "Cache-Control: no-store, max-age=60\r\n", "Cache-Control: max-age=0\r\n"] {
        let service = Service::start();
        let mut metadata = metadata_at(&service.address());
        for name in ["use1-az1", "use1-az2"] {
            let (answer, _) = ask(&mut metadata, || service.answer_one(zone(name, fields)));
            assert_eq!(answer.unwrap(), name, "{fields}");
        }
    }
}

#[test]
fn a_reply_may_arrive_in_pieces_and_without_a_length() {
    let reply = zone("use1-az1", "Cache-Control: max-age=60\r\n");
    let endless = b"HTTP/1.1 200 OK\r\n\r\n{\"AvailabilityZoneID\":\"use1-az1\"}";
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        10\r\n{\"AvailabilityZo\r\n11\r\nneID\":\"use1-az1\"}\r\n0\r\n\r\n";
    for reply in [&reply[..], endless, chunked] {
        for cut in 0..reply.len() {
            let service = Service::start();
            let (answer, ()) = ask(&mut metadata_at(&service.address()), || {
                let mut connection = service.connection();
                connection.request();
                connection.send(&reply[..cut]);
                connection.send(&reply[cut..]);
            });
            assert_eq!(answer.unwrap(), "use1-az1", "{cut}");
        }
    }
}

#[test]
fn every_refusal_has_its_error() {
    let refuse = |status| ask_one(&reply(status, "", "{}"));
    assert!(matches!(refuse(401), Err(MetadataError::WrongToken)));
    for status in [500, 503] {
        assert!(matches!(refuse(status), Err(MetadataError::NotYet)));
    }
    for status in [404, 405, 302, 502] {
        let error = refuse(status).unwrap_err();
        let MetadataError::Unavailable { reply } = &error else { panic!("{error:?}") };
        assert_eq!(reply.status(), status);
        assert!(error.to_string().ends_with(&format!("status {status}")), "{error}");
    }
}

#[test]
fn a_document_without_a_zone_and_an_unreadable_one_are_different_errors() {
    let ask_with = |document| ask_one(&reply(200, "", document)).unwrap_err();
    for document in ["{}", r#"{"AvailabilityZoneID":""}"#, r#"{"AvailabilityZoneID":null}"#] {
        assert!(matches!(ask_with(document), MetadataError::NoZone), "{document}");
    }
    let endless = format!("{{\"AvailabilityZoneID\":\"{}\"}}", "x".repeat(1_000_000));
    let deep = "[".repeat(50_000);
    for document in ["", "use1-az1", r#"{"AvailabilityZoneID":7}"#, &endless, &deep] {
        assert!(matches!(ask_with(document), MetadataError::Document(_)));
    }
}

#[test]
fn an_error_is_not_kept() {
    let service = Service::start();
    let mut metadata = metadata_at(&service.address());
    let not_yet = reply(503, "Cache-Control: max-age=60\r\n", "");
    let (answer, _) = ask(&mut metadata, || service.answer_one(&not_yet));
    assert!(matches!(answer, Err(MetadataError::NotYet)));
    let (answer, _) = ask(&mut metadata, || service.answer_one(zone("use1-az1", "")));
    assert_eq!(answer.unwrap(), "use1-az1");
}

#[test]
fn an_endpoint_that_closes_early_or_speaks_another_protocol_is_an_error() {
    for reply in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"] {
        let error = ask_one(reply).unwrap_err();
        let MetadataError::Connection(reason) = &error else { panic!("{error:?}") };
        assert_eq!(reason.kind(), ErrorKind::UnexpectedEof);
        // A printer that follows sources would print it twice.
        assert!(error.to_string().contains(&reason.to_string()) && error.source().is_none());
    }
    for reply in [&b"220 mail.example.com ESMTP\r\n"[..], b"HTTP/1.1 101 Switching\r\n\r\n"] {
        assert!(matches!(ask_one(reply), Err(MetadataError::Protocol(_))));
    }
}

#[test]
fn a_missing_endpoint_is_an_error() {
    // A port that was free a moment ago may be in use again; nobody listens at this one.
    let error = metadata_at("127.0.0.1:1").availability_zone().unwrap_err().to_string();
    assert!(error.starts_with("no metadata of the execution environment: "), "{error}");
}

#[test]
fn a_silent_endpoint_times_out_after_two_seconds() {
    let service = Service::start();
    let begun = Instant::now();
    let (answer, _silent): (_, Connection) =
        ask(&mut metadata_at(&service.address()), || service.connection());
    let error = answer.unwrap_err();
    let MetadataError::Connection(reason) = &error else { panic!("{error:?}") };
    assert_eq!(reason.kind(), ErrorKind::TimedOut);
    let seconds = begun.elapsed().as_secs_f32();
    assert!((2.0..10.0).contains(&seconds), "{seconds}");
}

#[test]
fn the_token_is_not_shown() {
    let metadata = metadata_at("127.0.0.1:1");
    let shown = format!("{metadata:?}");
    assert!(shown.contains("127.0.0.1:1") && !shown.contains(TOKEN), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_reply_makes_it_panic_or_wait_in_vain(
        start in prop::sample::select(vec![&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 \r\n\r\n"]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let error = ask_one(&[start, &rest].concat()).unwrap_err();
        if let MetadataError::Connection(reason) = error {
            prop_assert_eq!(reason.kind(), ErrorKind::UnexpectedEof);
        }
    }
}
