//! The internal extension without events: protocol.md 6.

use std::error::Error;
use std::io::ErrorKind;
use std::thread;
use std::time::Instant;

use lambda_proto::api::Endpoint;
use lambda_proto::limits::{MAX_PATH_PREFIX, MAX_USER_AGENT};
use lambda_proto_extension::limits::MAX_EXTENSION_ID;
use lambda_proto_extension::{InternalExtension, NotAvailable};
use lambda_proto_service::{Connection, Service, reply};
use proptest::prelude::*;

const REGISTER: &str = "/2020-01-01/extension/register";
const NEXT: &str = "/2020-01-01/extension/event/next";

fn registered() -> Vec<u8> {
    let document = r#"{"functionName":"f","functionVersion":"$LATEST","handler":""}"#;
    reply(200, "Lambda-Extension-Identifier: c7d2\r\n", document)
}

/// Registers with a service that `serve` plays; returns both results.
fn register<T>(serve: impl FnOnce(&Service) -> T) -> (Result<InternalExtension, NotAvailable>, T) {
    let service = Service::start();
    let endpoint = Endpoint::parse(&service.address()).unwrap();
    thread::scope(|scope| {
        let registers = scope.spawn(move || InternalExtension::register(&endpoint, "my-runtime"));
        let served = serve(&service);
        (registers.join().unwrap(), served)
    })
}

/// The error of a registration with a service that sends this reply and closes the connection.
fn register_refused(reply: &[u8]) -> NotAvailable {
    register(|service| service.answer_one(reply)).0.unwrap_err()
}

#[test]
fn it_registers_without_events_and_leaves_its_next_open() {
    let (extension, mut connection): (_, Connection) = register(|service| {
        let mut connection = service.connection();
        let request = connection.request();
        assert_eq!((&*request.method, &*request.path), ("POST", REGISTER));
        assert_eq!(request.header("Lambda-Extension-Name"), Some("my-runtime"));
        assert_eq!(request.body, br#"{"events":[]}"#);
        connection.send(registered());
        let request = connection.request();
        assert_eq!((&*request.method, &*request.path), ("GET", NEXT));
        assert_eq!(request.header("Lambda-Extension-Identifier"), Some("c7d2"));
        connection
    });
    let extension = extension.unwrap();
    // It waits forever.
    connection.expect_silence();
    // It can be moved to another thread; dropping it closes the connection.
    thread::spawn(move || drop(extension)).join().unwrap();
    connection.expect_end();
}

#[test]
fn a_registration_may_arrive_in_pieces() {
    let reply = registered();
    for cut in 1..reply.len() {
        let (extension, ()) = register(|service| {
            let mut connection = service.connection();
            connection.request();
            let (first, second) = reply.split_at(cut);
            connection.send(first);
            connection.send(second);
            connection.expect_extension_next();
        });
        extension.unwrap();
    }
}

#[test]
fn next_uses_a_new_connection_if_the_service_closes_after_its_reply() {
    let whole = registered();
    let replies: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nLambda-Extension-Identifier: c7d2\r\n\
            Content-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nLambda-Extension-Identifier: c7d2\r\nContent-Length: 2\r\n\r\n{}",
        // Only the last byte is missing, which nothing needs.
        &whole[..whole.len() - 1],
        // The end of the connection ends the document.
        b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: c7d2\r\n\r\n{}",
    ];
    for reply in replies {
        let (extension, mut connection) = register(|service| {
            service.answer_one(reply);
            let mut connection = service.connection();
            let request = connection.request();
            assert_eq!((&*request.method, &*request.path), ("GET", NEXT));
            assert_eq!(request.header("Lambda-Extension-Identifier"), Some("c7d2"));
            connection
        });
        let _open = extension.unwrap();
        connection.expect_silence();
    }
}

#[test]
fn a_service_without_the_extensions_api_refuses_to_register() {
    for reply in [
        &b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n\r\n404 page not found\n"[..],
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n<html>",
    ] {
        let error = register_refused(reply);
        let NotAvailable::Refused { reply, reason } = &error else { panic!("{error:?}") };
        assert_eq!((reply.status(), reason.as_str()), (404, ""));
        let text = "no extension is registered: extension/register was answered with 404";
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_refusal_says_why() {
    let document = r#"{"errorMessage":"Extension registration closed already","errorType":"Extension.RegistrationClosed"}"#;
    let error = register_refused(&reply(403, "", document));
    assert_eq!(
        error.to_string(),
        "no extension is registered: extension/register was answered with 403 \
         (Extension.RegistrationClosed: Extension registration closed already)",
    );
}

#[test]
fn a_refusal_of_any_length_is_read() {
    let document = format!("{{\"errorType\":\"{}\"}}", "x".repeat(1_000_000));
    let error = register_refused(&reply(403, "", &document));
    let NotAvailable::Refused { reason, .. } = &error else { panic!("{error:?}") };
    assert_eq!(reason, "", "it was cut, and no longer parses");
}

#[test]
fn a_service_that_closes_early_is_a_connection_error() {
    let refused = reply(403, "", "{}");
    for reply in [&b""[..], b"HTTP/1.1 200", &refused[..refused.len() - 1]] {
        let error = register_refused(reply);
        let NotAvailable::Connection(reason) = &error else { panic!("{error:?}") };
        assert_eq!(reason.kind(), ErrorKind::UnexpectedEof);
        // A printer that follows sources would print it twice.
        assert!(error.to_string().contains(&reason.to_string()) && error.source().is_none());
    }
}

#[test]
fn a_service_that_speaks_another_protocol_is_a_protocol_error() {
    for reply in [
        &b"220 mail.example.com ESMTP\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        // Without an identifier the extension cannot ask for events.
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: a b\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let error = register_refused(reply);
        assert!(matches!(error, NotAvailable::Protocol(_)), "{error:?}");
    }
}

#[test]
fn a_missing_service_is_a_connection_error() {
    // A port that was free a moment ago may be in use again; nobody listens at this one.
    let endpoint = Endpoint::parse("127.0.0.1:1").unwrap();
    let error = InternalExtension::register(&endpoint, "my-runtime").unwrap_err();
    let NotAvailable::Connection(reason) = &error else { panic!("{error:?}") };
    assert_eq!(reason.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_silent_service_times_out_after_two_seconds() {
    let begun = Instant::now();
    let (result, _silent) = register(Service::connection);
    let error = result.unwrap_err();
    let NotAvailable::Connection(reason) = &error else { panic!("{error:?}") };
    assert_eq!(reason.kind(), ErrorKind::TimedOut);
    let seconds = begun.elapsed().as_secs_f32();
    assert!((2.0..10.0).contains(&seconds), "{seconds}");
}

#[test]
fn an_invalid_name_is_refused_before_connecting() {
    let service = Service::start();
    let endpoint = Endpoint::parse(&service.address()).unwrap();
    for name in ["", " x", "a\r\nHost: b", &"x".repeat(256)] {
        let error = InternalExtension::register(&endpoint, name).unwrap_err();
        assert!(matches!(error, NotAvailable::Name(_)), "{error:?}");
    }
    service.expect_no_connection();
}

#[test]
fn the_longest_requests_are_sent_whole() {
    let service = Service::start();
    let prefix = format!("/{}", "p".repeat(MAX_PATH_PREFIX - 1));
    let endpoint = Endpoint::parse(&format!("http://{}{prefix}", service.address())).unwrap();
    let endpoint = endpoint.with_user_agent(&"u".repeat(MAX_USER_AGENT)).unwrap();
    let (name, identifier) = ("n".repeat(255), "i".repeat(MAX_EXTENSION_ID));
    thread::scope(|scope| {
        let registers = scope.spawn(|| InternalExtension::register(&endpoint, &name).unwrap());
        let mut connection = service.connection();
        let request = connection.request();
        assert_eq!((&*request.method, request.path.clone()), ("POST", prefix.clone() + REGISTER));
        assert_eq!(request.header("Lambda-Extension-Name"), Some(&*name));
        let head = format!("HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: {identifier}\r\n");
        connection.send(head + "Content-Length: 0\r\n\r\n");
        let request = connection.request();
        assert_eq!((&*request.method, request.path.clone()), ("GET", prefix.clone() + NEXT));
        assert_eq!(request.header("Lambda-Extension-Identifier"), Some(&*identifier));
        drop(registers.join().unwrap());
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_reply_makes_it_panic_or_wait_in_vain(
        start in prop::sample::select(vec![&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 403 \r\n\r\n"]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        // Without an identifier, no reply is accepted.
        let error = register_refused(&[start, &rest].concat());
        if let NotAvailable::Connection(reason) = error {
            prop_assert_eq!(reason.kind(), ErrorKind::UnexpectedEof);
        }
    }
}
