//! When a connection can be reused, and when it must be replaced.

mod support;

use lambda_proto::api::{Call, Concurrency, Meaning};
use lambda_proto::http::{BodyError, HeadError};
use lambda_proto::limits::MAX_PAYLOAD;
use lambda_proto::machine::{CommandError, Event, Machine, Phase, ReceiveError, Recovery};
use support::Command::{Fail, FailInit, FailRestore, Finish, Next, Respond, RestoreNext, Stream};
use support::Step::{self, Bytes, Do, Say, Status};
use support::{ACCEPTED, BODY, Command, Seen, answer, event, machine, receive, send, text, walk};

const SIZE_413: &str = "{\"errorMessage\":\"Exceeded maximum allowed payload size (6291556 bytes).\",\"errorType\":\"RequestEntityTooLarge\"}\n";

/// A machine with an invocation in flight.
fn invoking() -> Machine {
    walk(Concurrency::Single, &[Do(Next), Step::Event])
}

fn reporting() -> Machine {
    walk(Concurrency::Single, &[Do(Next), Step::Event, Do(Respond)])
}

#[test]
fn replies_may_last_to_the_end_of_the_stream() {
    // Go's server replies to syntax errors like this.
    let mut machine = reporting();
    let seen = receive(&mut machine, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 B");
    assert_eq!(seen, Ok(vec![Seen::Detail(b"400 B".to_vec())]));
    assert_eq!(receive(&mut machine, b"ad"), Ok(vec![Seen::Detail(b"ad".to_vec())]));
    assert_eq!((machine.phase(), machine.must_reconnect()), (Phase::Reporting, false));
    let Some(Event::Outcome(reply)) = machine.end_of_stream() else { panic!("the reply is whole") };
    assert_eq!(reply.meaning(), Meaning::BadRequest);
    assert_eq!((machine.phase(), machine.must_reconnect()), (Phase::Ready, true));
    assert_eq!(machine.on_disconnect(), Recovery::Reconnect);
    assert!(!machine.must_reconnect());
}

#[test]
fn events_may_last_to_the_end_of_the_stream() {
    // Managed instances send such events.
    let mut machine = walk(Concurrency::Single, &[Do(Next)]);
    let head = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\n\r\n";
    receive(&mut machine, head).expect("a head");
    assert_eq!(receive(&mut machine, b"{}"), Ok(vec![Seen::Body(b"{}".to_vec())]));
    assert_eq!(machine.end_of_stream(), Some(Event::InvocationEnd));
    assert_eq!((machine.phase(), machine.must_reconnect()), (Phase::Invoking, true));
    assert_eq!(machine.on_disconnect(), Recovery::Reconnect);
    assert!(text(&send(&mut machine, Respond)).contains("/invocation/1/response"));
}

#[test]
fn a_connection_that_the_service_closes_must_be_replaced_once_the_reply_has_arrived() {
    let mut machine = walk(Concurrency::Single, &[Do(Next)]);
    let arriving = event("1", "connection: Close\r\n", "{}");
    receive(&mut machine, &arriving[..arriving.len() - 1]).expect("most of an event");
    assert!(!machine.must_reconnect(), "the rest of the event still arrives on it");
    receive(&mut machine, &arriving[arriving.len() - 1..]).expect("the rest");
    assert!(machine.must_reconnect());
    assert_eq!(machine.on_disconnect(), Recovery::Reconnect);
    send(&mut machine, Respond);
    receive(&mut machine, b"HTTP/1.0 202 X\r\nContent-Length: 0\r\n\r\n").expect("an answer");
    assert!(machine.must_reconnect(), "HTTP/1.0 closes unless it says otherwise");
}

#[test]
fn a_pipelined_next_is_sent_again_if_the_connection_closes_after_the_reply_to_the_answer() {
    let mut machine = reporting();
    Do(Next).take(&mut machine);
    let closing = b"HTTP/1.1 202 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(receive(&mut machine, closing), Ok(vec![Seen::reply(Call::Response, 202)]));
    assert!(machine.must_reconnect());
    assert_eq!(machine.on_disconnect(), Recovery::AskAgain);
}

#[test]
fn a_refusal_before_the_body_is_sent_ends_the_answer_and_the_connection() {
    let mut machine = invoking();
    let mut out = [0; 512];
    let length = machine.respond(None, MAX_PAYLOAD + 1, &mut out).expect("room");
    machine.sent(length + 70_000);
    let seen = receive(&mut machine, &answer(413, SIZE_413)).expect("an answer");
    assert_eq!(seen.last(), Some(&Seen::reply(Call::Response, 413)));
    assert_eq!(machine.phase(), Phase::Ready);
    // The service does not want the rest of the body, and would not know where the next request
    // starts.
    assert_eq!(machine.unsent_len(), 0);
    assert!(machine.must_reconnect());
    machine.sent(4096); // A write that was in progress returns.
    assert_eq!(machine.on_disconnect(), Recovery::Reconnect);
    send(&mut machine, Next);
}

#[test]
fn a_reply_that_comes_while_only_next_is_unsent_keeps_the_connection() {
    // The service has read the whole request that it replies to, so the connection is still usable.
    for is_next_added_late in [false, true] {
        for next_sent in [0, 1, 50] {
            let mut machine = invoking();
            let mut out = [0; 512];
            let head = Respond.give(&mut machine, &mut out).expect("room");
            if is_next_added_late {
                machine.sent(head + BODY.len());
            }
            let next = machine.next(&mut out[head..]).expect("room");
            machine.sent(machine.unsent_len() - next + next_sent);

            receive(&mut machine, ACCEPTED).expect("the reply");
            assert_eq!(machine.awaits(), Some(Call::Next));
            assert!(!machine.must_reconnect(), "added late: {is_next_added_late}");
            assert_eq!(machine.unsent_len(), next - next_sent, "the rest is still to be sent");
        }
    }
}

#[test]
fn an_event_that_comes_before_all_of_next_is_sent_needs_another_connection() {
    for is_pipelined in [false, true] {
        let mut machine = if is_pipelined { reporting() } else { machine() };
        Say(Next).take(&mut machine);
        machine.sent(50);
        if is_pipelined {
            receive(&mut machine, ACCEPTED).expect("a reply");
        }
        receive(&mut machine, &event("2", "", "{}")).expect("an event");
        assert_eq!(machine.phase(), Phase::Invoking);
        assert_eq!(machine.unsent_len(), 0, "pipelined: {is_pipelined}");
        assert!(machine.must_reconnect(), "the rest of next would be taken for a request");
    }
}

#[test]
fn an_event_that_comes_before_any_of_next_is_sent_is_unsolicited() {
    for is_pipelined in [false, true] {
        let mut machine = if is_pipelined { reporting() } else { machine() };
        Say(Next).take(&mut machine);
        if is_pipelined {
            receive(&mut machine, ACCEPTED).expect("a reply");
        }
        let result = receive(&mut machine, &event("2", "", "{}"));
        assert_eq!(result, Err(ReceiveError::Unsolicited), "pipelined: {is_pipelined}");
        assert_eq!(machine.on_disconnect(), Recovery::AskAgain);
    }
}

#[test]
fn an_event_that_comes_before_any_of_next_is_sent_is_unsolicited_after_a_stream_too() {
    let mut machine = invoking();
    send(&mut machine, Stream);
    Say(Finish).take(&mut machine);
    let length = machine.unsent_len();
    Say(Next).take(&mut machine);
    machine.sent(length);
    receive(&mut machine, ACCEPTED).expect("a reply");
    let result = receive(&mut machine, &event("2", "", "{}"));
    assert_eq!(result, Err(ReceiveError::Unsolicited));
    assert_eq!(machine.on_disconnect(), Recovery::AskAgain);
}

#[test]
fn bytes_after_the_last_reply_are_unsolicited_and_cost_the_connection() {
    let mut machine = reporting();
    let twice = [ACCEPTED, ACCEPTED].concat();
    let (seen, error) = support::receive_cut(&mut machine, &twice, []);
    assert_eq!(seen, [Seen::reply(Call::Response, 202)]);
    assert_eq!(error, Some(ReceiveError::Unsolicited));
    assert_eq!((machine.phase(), machine.must_reconnect()), (Phase::Ready, true));
    assert_eq!(machine.on_disconnect(), Recovery::Reconnect);
    send(&mut machine, Next);
}

#[test]
fn broken_framing_is_reported_with_its_cause() {
    let rows: [(&[u8], ReceiveError); 5] = [
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", ReceiveError::Head(HeadError::LeadingBlankLine)),
        (b"HTTP/1.1 200 OK\n", ReceiveError::Head(HeadError::BareLineFeed)),
        (b"HTTP/1.1 200 OK\r\nno field\r\n\r\n", ReceiveError::Head(HeadError::Malformed)),
        (
            b"HTTP/1.1 403 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            ReceiveError::Head(HeadError::BadContentLength),
        ),
        (
            b"HTTP/1.1 403 X\r\nTransfer-Encoding: chunked\r\n\r\nzz",
            ReceiveError::Body(BodyError::BadChunkSize),
        ),
    ];
    for (bytes, error) in rows {
        let mut machine = reporting();
        assert_eq!(receive(&mut machine, bytes), Err(error));
        assert_eq!(machine.phase(), Phase::ShuttingDown);
        assert_eq!(receive(&mut machine, bytes), Ok(vec![]), "what follows is ignored");
        assert_eq!(machine.on_disconnect(), Recovery::Exit);
    }
}

#[test]
fn an_event_whose_framing_breaks_is_reported_for_its_id() {
    let head =
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut machine = walk(Concurrency::Single, &[Do(Next)]);
    let result = receive(&mut machine, format!("{head}2\r\n{{}}!!").as_bytes());
    assert_eq!(result, Err(ReceiveError::Body(BodyError::BadChunkEnd)));
    assert!(machine.must_reconnect());
    assert_eq!(machine.on_disconnect(), Recovery::FailInvocation);
    assert!(text(&send(&mut machine, Fail)).contains("/invocation/1/error HTTP/1.1\r\n"));
}

#[test]
fn bytes_that_arrive_before_any_request_are_unsolicited() {
    for way in [&[Say(Next)][..], &[Say(RestoreNext)], &[Say(FailInit)]] {
        let mut machine = walk(Concurrency::Single, way);
        let result = receive(&mut machine, ACCEPTED);
        assert_eq!(result, Err(ReceiveError::Unsolicited), "{way:?}");
        assert!(machine.must_reconnect(), "{way:?}");
    }
}

#[test]
fn a_connection_that_takes_no_further_request_refuses_every_command() {
    const CLOSING: &[u8] = b"HTTP/1.1 202 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const CLOSING_EVENT: &[u8] = b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 0\r\nLambda-Runtime-Aws-Request-Id: 1\r\n\r\n";
    let rows: [(&[Step], &[Command]); 5] = [
        // The environment has been restored on another machine since [protocol.md 1.8].
        (&[Do(RestoreNext), Status(200)], &[Next, FailRestore]),
        (&[Do(RestoreNext), Status(404)], &[Next, RestoreNext, FailInit]),
        (&[Do(Next), Bytes(CLOSING_EVENT)], &[Respond, Fail, Stream]),
        (&[Do(Next), Step::Event, Do(Respond), Bytes(CLOSING)], &[Next]),
        (&[Do(Next), Step::Event, Do(Stream), Status(413)], &[Next]),
    ];
    for (way, commands) in rows {
        let machine = walk(Concurrency::Single, way);
        assert!(machine.must_reconnect(), "{way:?}");
        for command in commands {
            let mut refusing = machine.clone();
            let result = command.give(&mut refusing, &mut [0; 1024]);
            assert_eq!(result, Err(CommandError::MustReconnect), "{command:?} after {way:?}");
            assert_eq!(format!("{refusing:?}"), format!("{machine:?}"));
            assert_eq!(refusing.on_disconnect(), Recovery::Reconnect, "{way:?}");
            assert!(command.give(&mut refusing, &mut [0; 1024]).is_ok(), "{command:?}");
        }
    }
}

#[test]
fn further_bytes_on_a_connection_that_is_over_are_ignored() {
    const CLOSING: &[u8] = b"HTTP/1.1 202 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let way = [Do(Next), Step::Event, Do(Respond), Do(Next), Bytes(CLOSING)];
    let mut machine = walk(Concurrency::Single, &way);
    let before = format!("{machine:?}");
    assert_eq!(receive(&mut machine, support::CUT_EVENT), Ok(vec![]));
    assert_eq!(format!("{machine:?}"), before);
    assert_eq!(machine.on_disconnect(), Recovery::AskAgain);
}
