//! What follows a lost connection, as data: every row of the table in `machine::phase`, from every state.

mod support;

use lambda_proto::Recovery::{
    self, AskAgain, Exit, FailInvocation, FateUnknown, Reconnect, SendAgain,
};
use lambda_proto::api::{Call, Meaning, Outcome};
use lambda_proto::{Concurrency, Machine, Phase};
use support::Command::{
    self, Chunk, Fail, FailInit, FailRestore, Finish, FinishWithError, Next, Respond, RestoreNext,
    Stream,
};
use support::Step::{self, Attempt, Bytes, Do, Event, Lost, Say, Sent, SentBut, ShutDown, Status};
use support::{BODY, CUT_EVENT, Seen, answer, flush, receive, walk};

/// Fewer bytes than any head has.
const A_FEW: Step = Sent(10);
/// As many as there are.
const ALL: Step = Sent(usize::MAX);
const HALF_A_HEAD: Step = Bytes(b"HTTP/1.1 202 Acc");
const CUT_202: Step = Bytes(b"HTTP/1.1 202 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_200: Step = Bytes(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_403: Step = Bytes(b"HTTP/1.1 403 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_413: Step = Bytes(b"HTTP/1.1 413 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_500: Step = Bytes(b"HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_503: Step = Bytes(b"HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\n{");

struct Row {
    way: &'static [Step],
    recovery: Recovery,
    phase: Phase,
    /// A command that must be possible then, on the next connection.
    then: Option<Command>,
}

const fn again(way: &'static [Step], phase: Phase) -> Row {
    Row { way, recovery: SendAgain, phase, then: None }
}

const fn row(way: &'static [Step], recovery: Recovery, phase: Phase, then: Option<Command>) -> Row {
    Row { way, recovery, phase, then }
}

const fn answered(way: &'static [Step], call: Call, status: u16, phase: Phase) -> Row {
    let then = match (phase, call) {
        (Phase::ShuttingDown, _) => None,
        (Phase::Init, _) if status == 403 => Some(RestoreNext),
        (Phase::Init, _) => Some(FailRestore),
        _ => Some(Next),
    };
    Row { way, recovery: Recovery::Answered(Outcome::new(call, status)), phase, then }
}

/// In an environment of one invocation at a time, without attempt ids.
const SINGLE: &[Row] = &[
    // Nothing outstanding.
    row(&[], Reconnect, Phase::Init, Some(FailInit)),
    row(&[Do(RestoreNext), Status(200)], Reconnect, Phase::Init, Some(FailRestore)),
    row(&[Do(RestoreNext), Status(404)], Reconnect, Phase::Init, Some(FailInit)),
    row(&[Do(Next), Status(204)], Reconnect, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event], Reconnect, Phase::Invoking, Some(Respond)),
    row(&[Do(Next), Event, Do(Respond), Status(202)], Reconnect, Phase::Ready, Some(Next)),
    // `next` outstanding, no event begun.
    row(&[Say(Next)], AskAgain, Phase::Ready, Some(Next)),
    row(&[Say(Next), A_FEW], AskAgain, Phase::Ready, Some(Next)),
    row(&[Do(Next)], AskAgain, Phase::Ready, Some(Next)),
    row(&[Do(Next), HALF_A_HEAD], AskAgain, Phase::Ready, Some(Next)),
    row(&[Do(Next), Bytes(b"HTTP/1.1 100 X\r\n\r\n")], AskAgain, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Respond), Do(Next), Status(202)], AskAgain, Phase::Ready, Some(Next)),
    // In the middle of an event.
    row(&[Do(Next), Bytes(CUT_EVENT)], FailInvocation, Phase::Invoking, Some(Fail)),
    row(
        &[Do(Next), Event, Do(Respond), Do(Next), Status(202), Bytes(CUT_EVENT)],
        FailInvocation,
        Phase::Invoking,
        Some(Fail),
    ),
    // No byte of the answer sent, of whatever copy.
    again(&[Do(Next), Event, Do(Respond), Lost(SendAgain)], Phase::Reporting),
    again(&[Do(Next), Event, Say(Stream)], Phase::Invoking),
    again(&[Do(Next), Event, Say(Respond)], Phase::Reporting),
    again(&[Do(Next), Event, Say(Fail)], Phase::Reporting),
    again(&[Do(Next), Event, Say(Respond), Say(Next)], Phase::Reporting),
    // Some bytes, or all, and none of the reply.
    again(&[Do(Next), Event, Say(Respond), A_FEW], Phase::Reporting),
    again(&[Do(Next), Event, Say(Respond), SentBut(1)], Phase::Reporting),
    again(&[Do(Next), Event, Do(Respond)], Phase::Reporting),
    again(&[Do(Next), Event, Do(Fail)], Phase::Reporting),
    // The host holds the body until `next` behind it is sent whole.
    again(&[Do(Next), Event, Say(Respond), Say(Next), A_FEW], Phase::Reporting),
    again(&[Do(Next), Event, Say(Respond), Say(Next), SentBut(1)], Phase::Reporting),
    again(&[Do(Next), Event, Do(Respond), Say(Next), A_FEW], Phase::Reporting),
    row(&[Do(Next), Event, Say(Respond), Do(Next)], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Respond), Do(Next)], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Say(Fail), Do(Next)], FateUnknown, Phase::Ready, Some(Next)),
    // A part of the reply, but not its status.
    row(&[Do(Next), Event, Do(Respond), HALF_A_HEAD], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Fail), HALF_A_HEAD], FateUnknown, Phase::Ready, Some(Next)),
    row(
        &[Do(Next), Event, Do(Respond), Lost(SendAgain), A_FEW],
        FateUnknown,
        Phase::Ready,
        Some(Next),
    ),
    row(
        &[Do(Next), Event, Do(Respond), Lost(SendAgain), ALL],
        FateUnknown,
        Phase::Ready,
        Some(Next),
    ),
    row(
        &[Do(Next), Event, Do(Respond), Lost(SendAgain), ALL, HALF_A_HEAD],
        FateUnknown,
        Phase::Ready,
        Some(Next),
    ),
    // A stream.
    row(&[Do(Next), Event, Do(Stream)], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Say(Stream), A_FEW], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Stream), Do(Chunk)], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Stream), Say(Chunk)], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Stream), Do(Finish)], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Stream), Say(Finish)], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Stream), Do(FinishWithError)], FateUnknown, Phase::Ready, Some(Next)),
    row(
        &[Do(Next), Event, Do(Stream), Say(Finish), Do(Next)],
        FateUnknown,
        Phase::Ready,
        Some(Next),
    ),
    // A restore.
    again(&[Say(RestoreNext)], Phase::Init),
    row(&[Say(RestoreNext), A_FEW], FateUnknown, Phase::Init, Some(FailRestore)),
    row(&[Do(RestoreNext)], FateUnknown, Phase::Init, Some(Next)),
    row(&[Do(RestoreNext), HALF_A_HEAD], FateUnknown, Phase::Init, Some(FailRestore)),
    // Shutting down.
    row(&[ShutDown], Exit, Phase::ShuttingDown, None),
    again(&[Say(FailInit)], Phase::ShuttingDown),
    row(&[Say(FailInit), A_FEW], Exit, Phase::ShuttingDown, None),
    row(&[Do(FailInit)], Exit, Phase::ShuttingDown, None),
    row(&[Do(FailInit), Status(202)], Exit, Phase::ShuttingDown, None),
    row(
        &[Do(RestoreNext), Status(200), Lost(Reconnect), Do(FailRestore)],
        Exit,
        Phase::ShuttingDown,
        None,
    ),
    row(&[Do(Next), ShutDown], Exit, Phase::ShuttingDown, None),
    row(&[Do(Next), Bytes(CUT_EVENT), ShutDown], Exit, Phase::ShuttingDown, None),
    row(&[Do(Next), Event, Do(Respond), ShutDown], Exit, Phase::ShuttingDown, None),
    row(&[Do(Next), Event, Do(Respond), CUT_202, ShutDown], Exit, Phase::ShuttingDown, None),
    row(&[Do(Next), Event, Do(Respond), Status(500)], Exit, Phase::ShuttingDown, None),
    // The status known, the rest missing.
    answered(&[Do(RestoreNext), CUT_200], Call::RestoreNext, 200, Phase::Init),
    answered(&[Do(RestoreNext), CUT_403], Call::RestoreNext, 403, Phase::Init),
    answered(&[Do(Next), CUT_503], Call::Next, 503, Phase::Ready),
    answered(&[Do(Next), CUT_403], Call::Next, 403, Phase::ShuttingDown),
    answered(&[Do(Next), Event, Do(Respond), CUT_202], Call::Response, 202, Phase::Ready),
    answered(&[Do(Next), Event, Do(Respond), CUT_413], Call::Response, 413, Phase::Ready),
    answered(&[Do(Next), Event, Say(Respond), A_FEW, CUT_413], Call::Response, 413, Phase::Ready),
    answered(&[Do(Next), Event, Do(Respond), CUT_500], Call::Response, 500, Phase::ShuttingDown),
    answered(&[Do(Next), Event, Do(Respond), Do(Next), CUT_202], Call::Response, 202, Phase::Ready),
    answered(&[Do(Next), Event, Do(Fail), CUT_202], Call::Error, 202, Phase::Ready),
    answered(&[Do(Next), Event, Do(Stream), CUT_413], Call::Response, 413, Phase::Ready),
    answered(
        &[Do(Next), Event, Do(Stream), Do(Finish), CUT_202],
        Call::Response,
        202,
        Phase::Ready,
    ),
    answered(&[Do(FailInit), CUT_202], Call::InitError, 202, Phase::ShuttingDown),
];

/// In an environment of several invocations at once, where only the attempt id tells copies apart.
const MULTI: &[Row] = &[
    row(&[Do(Next)], AskAgain, Phase::Ready, Some(Next)),
    row(&[Do(Next), Bytes(CUT_EVENT)], FailInvocation, Phase::Invoking, Some(Fail)),
    again(&[Do(Next), Event, Say(Respond)], Phase::Reporting),
    row(&[Do(Next), Event, Say(Respond), A_FEW], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Respond)], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Event, Do(Fail)], FateUnknown, Phase::Ready, Some(Next)),
    again(&[Do(Next), Attempt, Say(Respond), A_FEW], Phase::Reporting),
    again(&[Do(Next), Attempt, Do(Respond)], Phase::Reporting),
    again(&[Do(Next), Attempt, Do(Fail)], Phase::Reporting),
    row(&[Do(Next), Attempt, Do(Respond), HALF_A_HEAD], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Attempt, Do(Respond), Do(Next)], FateUnknown, Phase::Ready, Some(Next)),
    row(&[Do(Next), Attempt, Do(Stream), Do(Finish)], FateUnknown, Phase::Ready, Some(Next)),
    // The attempt id of an invocation says nothing about the next one.
    row(
        &[Do(Next), Attempt, Do(Respond), Status(202), Do(Next), Event, Do(Respond)],
        FateUnknown,
        Phase::Ready,
        Some(Next),
    ),
    Row {
        way: &[Do(Next), Event, Do(Respond), CUT_202],
        recovery: Recovery::Answered(Outcome::new(Call::Response, 202).under(Concurrency::Multi)),
        phase: Phase::Ready,
        then: Some(Next),
    },
];

#[test]
fn every_lost_connection_leads_where_the_table_says() {
    for (concurrency, rows) in [(Concurrency::Single, SINGLE), (Concurrency::Multi, MULTI)] {
        for row in rows {
            let label = format!("{concurrency:?}: {:?}", row.way);
            let mut machine = walk(concurrency, row.way);
            assert_eq!(machine.on_disconnect(), row.recovery, "{label}");
            assert_eq!(machine.phase(), row.phase, "{label}");

            // Of the old connection nothing is left but what is to be sent again.
            let is_to_send = row.recovery == SendAgain;
            assert_eq!(
                (machine.unsent_len() > 0, machine.awaits().is_some()),
                (is_to_send, is_to_send),
                "{label}"
            );
            assert!(!machine.must_reconnect() && !machine.is_inside_answer(), "{label}");
            for command in Command::ALL {
                let accepted = command.give(&mut machine.clone(), &mut [0; 1024]).is_ok();
                if Some(command) == row.then {
                    assert!(accepted, "{label}: {command:?} must be possible");
                }
                let may_be_possible = match row.recovery {
                    // Nothing but what may go in the same write.
                    SendAgain => row.phase == Phase::Reporting && command == Next,
                    _ => row.phase != Phase::ShuttingDown,
                };
                assert!(!accepted || may_be_possible, "{label}: {command:?}");
            }
        }
    }
}

#[test]
fn a_connection_that_is_lost_before_anything_was_sent_over_it_changes_nothing_more() {
    for row in SINGLE {
        let mut machine = walk(Concurrency::Single, row.way);
        machine.on_disconnect();
        let unsent = machine.unsent_len();
        let again = machine.on_disconnect();
        let expected = match row.recovery {
            SendAgain => SendAgain,
            _ if row.phase == Phase::ShuttingDown => Exit,
            _ => Reconnect,
        };
        assert_eq!((again, machine.phase()), (expected, row.phase), "{:?}", row.way);
        assert_eq!(machine.unsent_len(), unsent, "{:?}", row.way);
    }
}

#[test]
fn an_answer_is_sent_twice_at_most_and_the_second_copy_is_a_copy() {
    for (command, ways) in [(Respond, [ALL, SentBut(1)]), (Fail, [ALL, A_FEW])] {
        for sent in ways {
            let mut machine = walk(Concurrency::Single, &[Do(Next), Attempt]);
            let mut out = [0; 1024];
            let length = command.give(&mut machine, &mut out).expect("room");
            let whole = machine.unsent(&out[..length], command.body()).concat();
            sent.take(&mut machine);
            assert_eq!(machine.on_disconnect(), SendAgain);
            assert_eq!(flush(&mut machine, &out[..length], command.body()), whole);
            assert_eq!(machine.on_disconnect(), FateUnknown);
            assert_eq!((machine.phase(), machine.invocation()), (Phase::Ready, None));
        }
    }
}

#[test]
fn a_pipelined_next_is_not_part_of_the_second_copy_and_may_be_added_to_it() {
    let mut machine = walk(Concurrency::Single, &[Do(Next), Event]);
    let mut out = [0; 1024];
    let head = Respond.give(&mut machine, &mut out).expect("room");
    let next = machine.next(&mut out[head..]).expect("room");
    machine.sent(head + BODY.len() + next - 1);
    assert_eq!(machine.on_disconnect(), SendAgain);
    assert!(!machine.is_asked());
    assert_eq!(machine.unsent(&out, BODY), [&out[..head], BODY, b""]);

    let mut asking = machine.clone();
    assert_eq!(asking.next(&mut out[head..]), Ok(next));
    assert_eq!(
        asking.unsent(&out[..head + next], BODY),
        [&out[..head], BODY, &out[head..head + next]]
    );

    ALL.take(&mut machine);
    receive(&mut machine, &answer(202, "")).expect("a reply");
    assert_eq!((machine.phase(), machine.awaits()), (Phase::Ready, None));
}

#[test]
fn copies_of_which_no_byte_was_sent_do_not_count() {
    let unsent = [Lost(SendAgain); 3];
    let way = [&[Do(Next), Event, Say(Respond)], &unsent[..], &[ALL], &unsent[..], &[ALL]].concat();
    let mut machine = walk(Concurrency::Single, &way);
    assert_eq!(machine.on_disconnect(), FateUnknown);
}

#[test]
fn a_refusal_of_the_second_copy_means_that_the_first_was_taken() {
    let meanings = [
        (202, Meaning::Accepted),
        (400, Meaning::AcceptedBefore),
        (403, Meaning::AcceptedBefore),
        (410, Meaning::TooLate),
        (413, Meaning::TooLarge),
        (500, Meaning::ServiceFailed),
    ];
    for (status, meaning) in meanings {
        let way = [Do(Next), Event, Do(Respond), Lost(SendAgain), ALL];
        let mut machine = walk(Concurrency::Single, &way);
        let reply = reply_to(&mut machine, status);
        assert_eq!((reply.status(), reply.meaning()), (status, meaning));
        assert_eq!(reply.is_accepted(), status < 410);
    }
}

#[test]
fn a_refusal_of_the_second_copy_counts_although_its_body_is_lost_too() {
    let way = [Do(Next), Event, Do(Respond), Lost(SendAgain), ALL, CUT_403];
    let mut machine = walk(Concurrency::Single, &way);
    let Recovery::Answered(reply) = machine.on_disconnect() else { panic!("the status is known") };
    assert_eq!(reply.meaning(), Meaning::AcceptedBefore);
}

#[test]
fn a_refusal_is_one_if_the_service_cannot_have_taken_the_copy_before() {
    for sent in [Sent(0), A_FEW, SentBut(1)] {
        let way = [Do(Next), Event, Say(Respond), sent, Lost(SendAgain), ALL];
        for (status, meaning) in [(400, Meaning::BadRequest), (403, Meaning::OutOfOrder)] {
            let mut machine = walk(Concurrency::Single, &way);
            assert_eq!(reply_to(&mut machine, status).meaning(), meaning, "{sent:?}");
        }
    }
}

#[test]
fn an_answer_that_was_whole_before_next_was_cut_off_may_have_been_taken() {
    let way = [Do(Next), Event, Say(Respond), Say(Next), SentBut(1), Lost(SendAgain), ALL];
    let mut machine = walk(Concurrency::Single, &way);
    assert_eq!(reply_to(&mut machine, 403).meaning(), Meaning::AcceptedBefore);
}

#[test]
fn the_invocation_after_a_second_copy_starts_afresh() {
    let way = [Do(Next), Event, Do(Respond), Lost(SendAgain), ALL, Status(202)];
    let mut machine = walk(Concurrency::Single, &way);
    [Do(Next), Event, Do(Respond)].iter().for_each(|step| step.take(&mut machine));
    assert_eq!(reply_to(&mut machine.clone(), 403).meaning(), Meaning::OutOfOrder);
    assert_eq!(machine.on_disconnect(), SendAgain);
}

#[test]
fn losses_count_connections_that_brought_no_answer() {
    let mut machine = walk(Concurrency::Single, &[Do(Next)]);
    for losses in 1..4 {
        machine.on_disconnect();
        assert_eq!(machine.losses(), losses);
        Do(Next).take(&mut machine);
    }
    HALF_A_HEAD.take(&mut machine);
    machine.on_disconnect();
    assert_eq!(machine.losses(), 4, "a part of an answer is none");

    [Do(Next), Event].iter().for_each(|step| step.take(&mut machine));
    assert_eq!(machine.losses(), 0);
    machine.on_disconnect();
    assert_eq!(machine.losses(), 1);
    [Do(Respond), Status(202)].iter().for_each(|step| step.take(&mut machine));
    assert_eq!(machine.losses(), 0, "an answer to a post is one, too");
}

#[test]
fn a_connection_that_the_service_gave_up_in_order_is_no_loss() {
    const CLOSING: Step = Bytes(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n");
    let mut machine = walk(Concurrency::Single, &[Do(Next), CLOSING, Lost(Reconnect)]);
    assert_eq!(machine.losses(), 0);
    Do(Next).take(&mut machine);
    machine.on_disconnect();
    assert_eq!(machine.losses(), 1);
}

#[test]
fn a_service_that_asks_for_a_pause_gets_a_longer_one_each_time() {
    for status in
        [Status(503), Bytes(b"HTTP/1.1 503 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")]
    {
        let mut machine = walk(Concurrency::Single, &[]);
        let mut earlier = 1;
        for _ in 0..3 {
            [Do(Next), status, Lost(Reconnect)].iter().for_each(|step| step.take(&mut machine));
            assert!(machine.losses() > earlier, "{status:?}: {} losses", machine.losses());
            earlier = machine.losses();
        }
        [Do(Next), Event].iter().for_each(|step| step.take(&mut machine));
        assert_eq!(machine.losses(), 0);
    }
}

fn reply_to(machine: &mut Machine, status: u16) -> Outcome {
    let seen = receive(machine, &answer(status, "")).expect("a reply");
    let [Seen::Outcome(reply)] = seen[..] else { panic!("{seen:?}") };
    reply
}
