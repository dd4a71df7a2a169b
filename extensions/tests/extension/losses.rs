//! Lost connections, and bytes that do not belong to the protocol.

use lambda_proto::http::{HeadError, ReplyError};
use lambda_proto_extension::{CommandError, Event, Phase, ReceiveError, Recovery};

use super::phase_table::Command;
use super::{REFUSED, REGISTERED, answer, fresh, in_phase, next, register};

#[test]
fn a_next_that_gets_no_event_survives_the_loss_of_its_connection() {
    let mut extension = in_phase(Phase::Asking);
    assert_eq!(extension.receive(&mut &[][..]), Ok(None));
    assert_eq!(extension.end_of_stream(), None);
    assert_eq!(extension.on_disconnect(), Recovery::AskAgain);
    assert_eq!(extension.phase(), Phase::Ready);
    assert!(next(&mut extension).contains("Lambda-Extension-Identifier: c7d2\r\n"));
}

#[test]
fn the_status_of_a_registration_counts_even_if_the_rest_is_lost() {
    for (reply, status, after) in
        [(REGISTERED, 200, Phase::Registered), (REFUSED, 403, Phase::Unregistered)]
    {
        let mut extension = in_phase(Phase::Registering);
        let mut input = &reply.as_bytes()[..reply.len() - 1];
        assert!(matches!(extension.receive(&mut input), Ok(Some(Event::Document(_)))));
        assert_eq!(extension.receive(&mut input), Ok(None));
        assert_eq!(extension.end_of_stream(), None);
        let Recovery::Answered(reply) = extension.on_disconnect() else { panic!() };
        assert_eq!((reply.status(), extension.phase()), (status, after));
    }
}

#[test]
fn unsolicited_bytes_are_an_error_that_costs_only_the_connection() {
    for phase in [Phase::Unregistered, Phase::Registered, Phase::Ready] {
        let mut extension = in_phase(phase);
        let mut input: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\r\n";
        assert_eq!(extension.receive(&mut input), Err(ReceiveError::Unsolicited));
        assert_eq!((input, extension.phase()), (&[][..], phase));
        let refused = match phase {
            Phase::Unregistered => Command::Register.give(&mut extension, &mut [0; 512]),
            _ => extension.next(&mut [0; 512]),
        };
        assert_eq!(refused, Err(CommandError::MustReconnect));
        assert_eq!(extension.on_disconnect(), Recovery::Reconnect);
        assert!(!extension.must_reconnect());
    }
    // Bytes that arrive before any of the request was sent are unsolicited too.
    let mut extension = fresh();
    Command::Register.give(&mut extension, &mut [0; 512]).expect("room");
    let result = extension.receive(&mut REGISTERED.as_bytes());
    assert_eq!(result, Err(ReceiveError::Unsolicited));
    assert_eq!(extension.on_disconnect(), Recovery::RegisterAgain);
}

#[test]
fn a_reply_to_a_partly_sent_request_is_taken_and_costs_the_connection() {
    let mut extension = fresh();
    let mut out = [0; 512];
    let length = Command::Register.give(&mut extension, &mut out).expect("room");
    extension.sent(9);
    assert_eq!(extension.unsent(&out).len(), length - 9);
    answer(&mut extension, REFUSED);
    assert_eq!((extension.phase(), extension.must_reconnect()), (Phase::Unregistered, true));
    assert_eq!(extension.unsent(&out), b"");
    extension.on_disconnect();
    register(&mut extension);
}

#[test]
fn a_connection_that_the_service_closes_is_replaced_before_the_next_request() {
    let closing = REGISTERED.replace("Content-Length: 2", "Connection: close\r\nContent-Length: 2");
    let mut extension = in_phase(Phase::Registering);
    answer(&mut extension, &closing);
    assert_eq!(extension.next(&mut [0; 512]), Err(CommandError::MustReconnect));
    assert_eq!(extension.on_disconnect(), Recovery::Reconnect);
    next(&mut extension);

    let endless = "HTTP/1.1 200 OK\r\n\r\n{}";
    let mut input = endless.as_bytes();
    assert_eq!(extension.receive(&mut input), Ok(Some(Event::Document(b"{}"))));
    assert_eq!(extension.receive(&mut input), Ok(None));
    assert!(!extension.must_reconnect(), "the event is not over");
    let Some(Event::Reply(reply)) = extension.end_of_stream() else { panic!("it is now") };
    assert!(reply.is_accepted() && extension.must_reconnect());
    assert_eq!(extension.on_disconnect(), Recovery::Reconnect);
    assert_eq!(extension.phase(), Phase::Ready);
}

#[test]
fn bytes_that_are_not_a_reply_end_the_extension() {
    for (bytes, error) in [
        ("SSH-2.0-x\r\n", ReplyError::Head(HeadError::Malformed)),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", ReplyError::Head(HeadError::LeadingBlankLine)),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", ReplyError::SwitchedProtocols),
        (&"HTTP/1.1 100 Continue\r\n\r\n".repeat(101), ReplyError::TooManyInterimReplies),
    ] {
        let mut extension = in_phase(Phase::Asking);
        let result = extension.receive(&mut bytes.as_bytes());
        assert_eq!(result, Err(ReceiveError::Reply(error)));
        assert_eq!((extension.phase(), extension.must_reconnect()), (Phase::Over, true));
        assert_eq!(extension.on_disconnect(), Recovery::Exit);
    }
    let mut extension = in_phase(Phase::Asking);
    let bad_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    assert!(matches!(
        extension.receive(&mut bad_chunk.as_bytes()),
        Err(ReceiveError::Reply(ReplyError::Body(_)))
    ));
}
