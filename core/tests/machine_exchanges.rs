//! Scripted exchanges, with every byte in both directions.

mod support;

use lambda_proto::api::{Action, Call, Concurrency, Endpoint, Meaning, ServiceError};
use lambda_proto::limits::{MAX_ID, MAX_INTERIM_REPLIES};
use lambda_proto::machine::{CommandError, Machine, Phase, ReceiveError, Recovery};
use support::Command::{Fail, FailInit, FailRestore, Next, Respond, RestoreNext, Stream};
use support::Step::{self, Bytes, Do, Lost, Say};
use support::{
    ACCEPTED, BODY, Command, Seen, answer, event, halves, machine, receive, receive_cut, send,
    text, walk,
};

const STATE_403: &str = "{\"errorMessage\":\"State transition from Ready to Ready failed\",\"errorType\":\"InvalidStateTransition\"}\n";
const ID_400: &str =
    "{\"errorMessage\":\"Invalid request ID\",\"errorType\":\"InvalidRequestID\"}\n";
const TIMEOUT_410: &str = "{\"errorMessage\":\"Invoke timeout\",\"errorType\":\"InvokeTimeout\"}\n";
const SIZE_413: &str = "{\"errorMessage\":\"Exceeded maximum allowed payload size (6291556 bytes).\",\"errorType\":\"RequestEntityTooLarge\"}\n";
const BROKEN_500: &str =
    "{\"errorMessage\":\"Internal Server Error\",\"errorType\":\"InternalServerError\"}\n";

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A machine with an invocation in flight.
fn invoking() -> Machine {
    walk(Concurrency::Single, &[Do(Next), Step::Event])
}

fn reporting() -> Machine {
    walk(Concurrency::Single, &[Do(Next), Step::Event, Do(Respond)])
}

#[test]
fn three_invocations_share_one_connection() {
    let mut machine = machine();
    for round in 0..3 {
        let asked = send(&mut machine, Next);
        assert_eq!(
            text(&asked),
            format!(
                "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\
                 User-Agent: {}\r\n\r\n",
                Endpoint::DEFAULT_USER_AGENT,
            ),
        );
        let id = format!("id-{round}");
        let arriving = event(&id, "", "\"Ada\"");
        let head = arriving[..arriving.len() - 5].to_vec();
        let body = Seen::Body(b"\"Ada\"".to_vec());
        let seen = receive(&mut machine, &arriving);
        assert_eq!(seen, Ok(vec![Seen::Invocation(head), body, Seen::InvocationEnd]));

        let answered = send(&mut machine, Respond);
        let (head, body) = halves(&answered);
        assert!(head.starts_with(&format!("POST /2018-06-01/runtime/invocation/{id}/response ")));
        assert!(head.contains("\r\nContent-Type: application/json\r\n"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", BODY.len())));
        assert_eq!(body.as_bytes(), BODY);
        let seen = receive(&mut machine, ACCEPTED);
        assert_eq!(seen, Ok(vec![Seen::reply(Call::Response, 202)]));
        assert!(!machine.must_reconnect());
    }
}

#[test]
fn every_call_has_its_own_request_line() {
    let restored = [Do(RestoreNext), Step::Status(200), Lost(Recovery::Reconnect)];
    let invoked = [Do(Next), Step::Event];
    let rows: [(&[Step], Command, &str); 7] = [
        (&[], Next, "GET /2018-06-01/runtime/invocation/next HTTP/1.1"),
        (&invoked, Respond, "POST /2018-06-01/runtime/invocation/7b3c/response HTTP/1.1"),
        (&invoked, Stream, "POST /2018-06-01/runtime/invocation/7b3c/response HTTP/1.1"),
        (&invoked, Fail, "POST /2018-06-01/runtime/invocation/7b3c/error HTTP/1.1"),
        (&[], FailInit, "POST /2018-06-01/runtime/init/error HTTP/1.1"),
        (&[], RestoreNext, "GET /2018-06-01/runtime/restore/next HTTP/1.1"),
        (&restored, FailRestore, "POST /2018-06-01/runtime/restore/error HTTP/1.1"),
    ];
    for (way, command, line) in rows {
        let wire = send(&mut walk(Concurrency::Single, way), command);
        assert_eq!(text(&wire).lines().next(), Some(line), "{command:?}");
    }
}

#[test]
fn a_failed_start_is_reported_and_ends_the_process_whatever_the_reply_is() {
    // A second slot that fails gets 403; some services have no such call.
    for (status, document) in [(202, ""), (403, STATE_403), (404, "404 page not found\n")] {
        let mut machine = machine();
        let wire = send(&mut machine, FailInit);
        let (head, body) = halves(&wire);
        assert!(head.contains("\r\nLambda-Runtime-Function-Error-Type: Function.Broken\r\n"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        assert_eq!(body, r#"{"errorType":"Function.Broken","errorMessage":"it broke"}"#);

        let seen = receive(&mut machine, &answer(status, document)).expect("an answer");
        let Some(Seen::Outcome(reply)) = seen.last() else { panic!("{seen:?}") };
        assert_eq!((reply.call(), reply.action()), (Call::InitError, Action::Exit));
        assert_eq!((machine.phase(), machine.awaits()), (Phase::ShuttingDown, None));
    }
}

#[test]
fn a_snapshot_is_announced_restored_and_followed_by_the_first_event() {
    let mut machine = machine();
    send(&mut machine, RestoreNext);
    assert_eq!(machine.awaits(), Some(Call::RestoreNext));
    let seen = receive(&mut machine, &answer(200, ""));
    assert_eq!(seen, Ok(vec![Seen::reply(Call::RestoreNext, 200)]));

    // The environment was restored on another machine, so the connection is gone [protocol.md 1.8].
    assert!(machine.must_reconnect());
    assert_eq!(machine.on_disconnect(), Recovery::Reconnect);
    assert_eq!(machine.phase(), Phase::Init);
    send(&mut machine, Next);
    receive(&mut machine, &event("1", "", "{}")).expect("an event");
    assert_eq!(machine.phase(), Phase::Invoking);
}

#[test]
fn a_failed_restore_is_reported_and_ends_the_process() {
    let mut machine = machine();
    send(&mut machine, RestoreNext);
    receive(&mut machine, &answer(200, "")).expect("an answer");
    assert_eq!(machine.on_disconnect(), Recovery::Reconnect);
    let wire = send(&mut machine, FailRestore);
    assert!(halves(&wire).1.contains("\"errorType\":\"Function.Broken\""));
    let seen = receive(&mut machine, ACCEPTED).expect("an answer");
    let [Seen::Outcome(reply)] = seen[..] else { panic!("{seen:?}") };
    assert_eq!((reply.call(), reply.action()), (Call::RestoreError, Action::Exit));
    assert_eq!(machine.phase(), Phase::ShuttingDown);
}

#[test]
fn without_snapshots_the_start_continues_as_if_nothing_had_been_asked() {
    let mut machine = machine();
    send(&mut machine, RestoreNext);
    let seen = receive(&mut machine, &answer(404, "404 page not found\n"));
    let detail = Seen::Detail(b"404 page not found\n".to_vec());
    assert_eq!(seen, Ok(vec![detail, Seen::reply(Call::RestoreNext, 404)]));
    assert_eq!(machine.on_disconnect(), Recovery::Reconnect);
    let mut failing = machine.clone();
    send(&mut failing, FailInit);
    send(&mut machine, Next);
}

#[test]
fn a_refused_next_shows_why_and_what_to_do() {
    let rows = [
        (403, STATE_403, Meaning::OutOfOrder, Action::Exit, Phase::ShuttingDown),
        (404, "404 page not found\n", Meaning::NoSuchCall, Action::Exit, Phase::ShuttingDown),
        (500, BROKEN_500, Meaning::ServiceFailed, Action::Exit, Phase::ShuttingDown),
        (503, "busy", Meaning::Unexpected, Action::ContinueAfterBackoff, Phase::Ready),
    ];
    for (status, document, meaning, then, phase) in rows {
        let mut machine = walk(Concurrency::Single, &[Do(Next)]);
        let seen = receive(&mut machine, &answer(status, document)).expect("an answer");
        let [Seen::Detail(detail), Seen::Outcome(reply)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!(detail, document.as_bytes());
        assert_eq!((reply.call(), reply.status()), (Call::Next, status));
        assert_eq!((reply.meaning(), reply.action()), (meaning, then));
        assert_eq!((machine.phase(), machine.awaits()), (phase, None));
    }
}

#[test]
fn no_content_on_next_means_ask_again() {
    // `cargo lambda watch` sends this. A length must be ignored, as a 204 has no body (RFC 9112
    // section 6.3).
    for head in [&b"HTTP/1.1 204 X\r\n\r\n"[..], b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n"] {
        let mut machine = walk(Concurrency::Single, &[Do(Next)]);
        let seen = receive(&mut machine, head).expect("an answer");
        let [Seen::Outcome(reply)] = seen[..] else { panic!("{seen:?}") };
        assert_eq!((reply.meaning(), reply.action()), (Meaning::NoInvocation, Action::Continue));
        assert!(!machine.must_reconnect());
        send(&mut machine, Next);
    }
}

#[test]
fn repeated_no_content_means_a_pause_that_does_not_grow() {
    let mut machine = walk(Concurrency::Single, &[Do(Next)]);
    receive(&mut machine, b"HTTP/1.1 204 X\r\n\r\n").expect("an answer");
    for _ in 0..3 {
        send(&mut machine, Next);
        receive(&mut machine, b"HTTP/1.1 204 X\r\n\r\n").expect("an answer");
        assert!(machine.must_reconnect());
        machine.on_disconnect();
        assert_eq!(machine.losses(), 2);
    }
}

#[test]
fn no_content_does_not_count_as_repeated_if_another_reply_came_in_between() {
    const EMPTY: &[u8] = b"HTTP/1.1 204 X\r\n\r\n";
    let ways: [&[Step]; 2] = [
        // The answer to the event is lost, so no reply comes in between.
        &[Step::Event, Do(Stream), Lost(Recovery::FateUnknown)],
        &[Step::Status(503), Lost(Recovery::Reconnect)],
    ];
    for way in ways {
        let mut machine = walk(Concurrency::Single, &[Do(Next), Bytes(EMPTY), Do(Next)]);
        way.iter().for_each(|step| step.take(&mut machine));
        [Do(Next), Bytes(EMPTY)].iter().for_each(|step| step.take(&mut machine));
        assert!(!machine.must_reconnect(), "{way:?}");
        assert_eq!(machine.losses(), 0, "{way:?}");
    }
}

#[test]
fn a_refused_answer_shows_why_and_the_session_continues() {
    // The service's documents [protocol.md 1.4].
    let rows = [
        (400, ID_400, Meaning::BadRequest, "InvalidRequestID"),
        (403, STATE_403, Meaning::OutOfOrder, "InvalidStateTransition"),
        (410, TIMEOUT_410, Meaning::TooLate, "InvokeTimeout"),
        (413, SIZE_413, Meaning::TooLarge, "RequestEntityTooLarge"),
    ];
    for command in [Respond, Fail] {
        for (status, document, meaning, error_type) in rows {
            let mut machine = invoking();
            send(&mut machine, command);
            let seen = receive(&mut machine, &answer(status, document)).expect("an answer");
            let [Seen::Detail(detail), Seen::Outcome(reply)] = &seen[..] else {
                panic!("{seen:?}")
            };
            let error = ServiceError::parse(detail).expect("the service's document");
            assert_eq!(error.error_type, error_type);
            assert_eq!((reply.meaning(), reply.action()), (meaning, Action::Continue));
            assert!(!reply.is_accepted());
            // No second answer may follow: after a 413, the service would refuse an error with 403.
            let error = Fail.give(&mut machine, &mut [0; 512]);
            assert_eq!(error, Err(CommandError::WrongPhase(Phase::Ready)));
            send(&mut machine, Next);
        }
    }
}

#[test]
fn a_service_that_failed_ends_the_process() {
    let mut machine = reporting();
    let seen = receive(&mut machine, &answer(500, BROKEN_500)).expect("an answer");
    let [Seen::Detail(_), Seen::Outcome(reply)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((reply.meaning(), reply.action()), (Meaning::ServiceFailed, Action::Exit));
    assert_eq!(machine.phase(), Phase::ShuttingDown);
    assert_eq!(machine.on_disconnect(), Recovery::Exit);
}

#[test]
fn any_success_accepts_an_answer_and_the_body_of_the_reply_is_ignored() {
    // AWS sends 202, cargo-lambda 200 without a body, and no known service 204.
    let ok = answer(200, "");
    let chatty = answer(200, "thank you very much");
    for bytes in [ACCEPTED, &ok, &chatty, b"HTTP/1.1 204 No Content\r\n\r\n"] {
        let mut machine = reporting();
        let seen = receive(&mut machine, bytes).expect("an answer");
        let [Seen::Outcome(reply)] = seen[..] else { panic!("{seen:?}") };
        assert_eq!((reply.meaning(), reply.action()), (Meaning::Accepted, Action::Continue));
        assert_eq!(machine.phase(), Phase::Ready);
    }
}

#[test]
fn interim_replies_before_the_reply_are_skipped() {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let mut machine = walk(Concurrency::Single, &[Do(Next)]);
    let arriving = [&interim[..], &event("1", "", "{}")].concat();
    assert!(matches!(receive(&mut machine, &arriving).as_deref(), Ok([Seen::Invocation(_), ..])));
    send(&mut machine, Respond);
    assert_eq!(receive(&mut machine, interim), Ok(vec![]));
    assert_eq!(machine.phase(), Phase::Reporting);
    let seen = receive(&mut machine, ACCEPTED);
    assert_eq!(seen, Ok(vec![Seen::reply(Call::Response, 202)]));
    assert!(!machine.must_reconnect());
}

#[test]
fn interim_replies_are_skipped_up_to_a_limit_for_each_reply() {
    let most = INTERIM.repeat(MAX_INTERIM_REPLIES);
    let replies = [&most[..], &event("1", "", "{}")].concat();
    let cut = |machine: &mut Machine, bytes: &[u8], step: usize| {
        receive_cut(machine, bytes, (step..bytes.len()).step_by(step))
    };
    for step in [1, 7, INTERIM.len(), usize::MAX] {
        let mut machine = walk(Concurrency::Single, &[Do(Next)]);
        let (seen, error) = cut(&mut machine, &replies, step);
        assert!(matches!(seen[..], [Seen::Invocation(_), ..]), "{seen:?}");
        assert_eq!((machine.phase(), error), (Phase::Invoking, None));
        send(&mut machine, Respond);
        assert_eq!(cut(&mut machine, &most, step), (vec![], None));
        let one_too_many = Some(ReceiveError::TooManyInterimReplies);
        assert_eq!(cut(&mut machine, INTERIM, step), (vec![], one_too_many));
        assert_eq!(machine.phase(), Phase::ShuttingDown);
    }
}

#[test]
fn a_switch_to_another_protocol_is_a_violation() {
    for way in [&[Do(Next)][..], &[Do(RestoreNext)]] {
        let mut machine = walk(Concurrency::Single, way);
        let seen = receive(&mut machine, b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        assert_eq!(seen, Err(ReceiveError::SwitchedProtocols));
        assert_eq!(machine.phase(), Phase::ShuttingDown);
    }
}

#[test]
fn replies_may_come_in_chunks() {
    let mut machine = reporting();
    let seen = receive(
        &mut machine,
        b"HTTP/1.1 413 X\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntoo \r\n5;a=b\r\nlarge\r\n0\r\nDate: now\r\n\r\n",
    );
    let detail = Seen::Detail(b"too large".to_vec());
    assert_eq!(seen, Ok(vec![detail, Seen::reply(Call::Response, 413)]));
    assert!(!machine.must_reconnect());
}

#[test]
fn an_answer_and_next_in_one_write_get_their_replies_one_after_the_other() {
    for command in [Respond, Fail] {
        let mut machine = invoking();
        let mut out = [0; 1024];
        let first = command.give(&mut machine, &mut out).expect("room");
        let second = machine.next(&mut out[first..]).expect("room");
        let wire = support::flush(&mut machine, &out[..first + second], command.body());
        assert!(text(&wire).contains("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n"));
        assert_eq!((machine.phase(), machine.unsent_len()), (Phase::Reporting, 0));

        let both = [ACCEPTED, &event("second", "", "{}")].concat();
        let seen = receive(&mut machine, &both).expect("two answers");
        assert!(matches!(&seen[0], Seen::Outcome(reply) if reply.is_accepted()));
        assert_eq!(seen.last(), Some(&Seen::InvocationEnd));
        assert_eq!(machine.invocation().map(|ids| ids.request_id()), Some("second"));
        assert!(!machine.must_reconnect());
    }
}

#[test]
fn a_refused_answer_does_not_stop_the_next_after_it() {
    // The emulator replies with 413 and then with the next event.
    let mut machine = walk(Concurrency::Single, &[Do(Next), Step::Event, Say(Respond)]);
    Do(Next).take(&mut machine);
    let both = [answer(413, SIZE_413), event("2", "", "{}")].concat();
    let seen = receive(&mut machine, &both).expect("two answers");
    assert_eq!(seen[1], Seen::reply(Call::Response, 413));
    assert_eq!((machine.phase(), machine.must_reconnect()), (Phase::Invoking, false));
}

#[test]
fn a_refused_next_of_one_of_several_slots_does_not_end_the_process() {
    let mut machine = walk(Concurrency::Multi, &[Do(Next)]);
    let seen = receive(&mut machine, &answer(403, STATE_403)).expect("an answer");
    let Some(Seen::Outcome(reply)) = seen.last() else { panic!("{seen:?}") };
    assert_eq!(reply.action(), Action::ContinueAfterBackoff);
    assert_eq!(machine.phase(), Phase::Ready);
}

#[test]
fn an_event_that_cannot_be_answered_is_a_violation() {
    let longest = "i".repeat(MAX_ID);
    let mut machine = walk(Concurrency::Single, &[Do(Next)]);
    receive(&mut machine, &event(&longest, "", "")).expect("an event");
    let path = format!("POST /2018-06-01/runtime/invocation/{longest}/response HTTP/1.1\r\n");
    assert!(text(&send(&mut machine, Respond)).starts_with(&path));

    let too_long = event(&"i".repeat(MAX_ID + 1), "", "");
    let empty = event("", "", "");
    let no_text = [
        &b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: "[..],
        b"\xff\r\nContent-Length: 0\r\n\r\n",
    ]
    .concat();
    let absent = answer(200, "{}");
    for bytes in [too_long, empty, no_text, absent] {
        let mut machine = walk(Concurrency::Single, &[Do(Next)]);
        assert_eq!(receive(&mut machine, &bytes), Err(ReceiveError::UnusableRequestId));
        assert_eq!((machine.phase(), machine.invocation()), (Phase::ShuttingDown, None));
    }
}
