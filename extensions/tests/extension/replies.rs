//! Replies in every form, and the phases after them.

use lambda_proto_extension::{Call, Event, Phase, ReceiveError, Registration};

use super::{ACCEPTED, REFUSED, REGISTERED, answer, in_phase, next, replies};

#[test]
fn delivery_byte_by_byte_and_in_chunks_changes_nothing() {
    let chunked = "HTTP/1.1 100 Continue\r\nLambda-Extension-Identifier: wrong\r\n\r\nHTTP/1.1 200 OK\r\n\
        lambda-extension-identifier: c7d2\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\n{\"h\r\n8\r\nandler\":\r\n4\r\n\"h\"}\r\n0\r\n\r\n";
    for cuts in [vec![], (1..chunked.len()).collect()] {
        let mut extension = in_phase(Phase::Registering);
        let replies = replies(&mut extension, chunked.as_bytes(), cuts).expect("a reply");
        let [(Call::Register, 200, document)] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(Registration::parse(document).expect("the document").handler, "h");
        assert_eq!((extension.identifier(), extension.phase()), ("c7d2", Phase::Registered));
    }
}

#[test]
fn a_report_ends_the_extension_whatever_the_service_says() {
    for call in [Call::InitError, Call::ExitError] {
        for reply in [ACCEPTED, REFUSED] {
            let mut extension = in_phase(Phase::Reporting { call });
            answer(&mut extension, reply);
            assert_eq!(extension.phase(), Phase::Over);
            let mut more: &[u8] = b"anything";
            assert_eq!((extension.receive(&mut more), more), (Ok(None), &[][..]));
        }
    }
}

#[test]
fn only_500_ends_the_process() {
    for (status, is_accepted, must_exit) in [
        (200, true, false),
        (202, true, false),
        (400, false, false),
        (403, false, false),
        (500, false, true),
    ] {
        let bytes = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let mut extension = in_phase(Phase::Asking);
        let mut input = bytes.as_bytes();
        let Ok(Some(Event::Reply(reply))) = extension.receive(&mut input) else { panic!() };
        assert_eq!((reply.is_accepted(), reply.must_exit()), (is_accepted, must_exit));
        assert_eq!(reply.to_string(), format!("extension/event/next was answered with {status}"));
    }
}

#[test]
fn an_event_has_whichever_identifier_the_service_sends_or_none() {
    for (fields, identifier) in [
        ("Lambda-Extension-Event-Identifier: e824\r\n", "e824"),
        ("lambda-extension-identifier: e824\r\n", "e824"),
        (
            "Lambda-Extension-Identifier: c7d2\r\nLambda-Extension-Event-Identifier: e824\r\n",
            "e824",
        ),
        (
            "Lambda-Extension-Event-Identifier:\r\nLambda-Extension-Event-Identifier: e824\r\n",
            "e824",
        ),
        ("Content-Type: text/plain; charset=utf-8\r\n", ""),
        ("Lambda-Extension-Event-Identifier: with a space\r\n", ""),
    ] {
        let mut extension = in_phase(Phase::Asking);
        let reply = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\n{{}}");
        answer(&mut extension, &reply);
        assert_eq!(extension.event_identifier(), identifier, "{fields}");
        assert_eq!(extension.identifier(), "c7d2", "its own stays");
        next(&mut extension);
        assert_eq!(extension.event_identifier(), "", "the identifier of the event before is gone");
    }
}

#[test]
fn a_registration_without_a_usable_identifier_is_an_error() {
    let long = "x".repeat(65);
    for value in ["", " ", "with space", "\u{e9}", "a\u{1}b", &long] {
        let mut extension = in_phase(Phase::Registering);
        let reply = format!(
            "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: {value}\r\nContent-Length: 0\r\n\r\n"
        );
        let result = replies(&mut extension, reply.as_bytes(), []);
        assert_eq!(result, Err(ReceiveError::UnusableIdentifier), "{value:?}");
        assert_eq!((extension.phase(), extension.must_reconnect()), (Phase::Over, true));
    }
    let longest = "x".repeat(64);
    let mut extension = in_phase(Phase::Registering);
    answer(&mut extension, &REGISTERED.replace("c7d2", &longest));
    assert_eq!(extension.identifier(), longest);
}
