//! Every lost connection of the phase table, from every stage.

#[path = "phase_table/mod.rs"]
mod phase_table;
mod support;

use lambda_proto::api::{Concurrency, Meaning, Outcome};
use lambda_proto::machine::Recovery::{self, FateUnknown, Reconnect, SendAgain};
use lambda_proto::machine::{Machine, Phase};
use phase_table::Loss::{self, Idle, Known, Repeatable, Unsent};
use phase_table::Reply::{Accepted, Exit as ExitReply, Refused};
use phase_table::Stage::{
    self, Asked, Init, Invoking, Ready, Receiving, Reporting, ReportingAsked, ReportingFailure,
    Restored, Restoring, ShuttingDown, Streaming, Withdrawn,
};
use phase_table::stage::{assert_stage, awaited};
use phase_table::{Input, LOSSES, Reached, RecoveryKind, follow, follow_command};
use support::Command::{
    self, Chunk, Fail, FailInit, FailRestore, Finish, FinishWithError, Next, Respond, RestoreNext,
    Stream,
};
use support::Step::{
    self, Attempt, Bytes, Do, Event, Lost, Say, Sent, SentBut, ShutDown, Status, Withdraw,
};
use support::{BODY, CUT_EVENT, Seen, answer, flush, receive, walk};

/// Sends fewer bytes than any head has.
const A_FEW: Step = Sent(10);
/// Sends all unsent bytes.
const ALL: Step = Sent(usize::MAX);
const HALF_A_HEAD: Step = Bytes(b"HTTP/1.1 202 Acc");
const INTERIM: Step = Bytes(b"HTTP/1.1 100 X\r\n\r\n");
const CUT_202: Step = Bytes(b"HTTP/1.1 202 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_200: Step = Bytes(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_403: Step = Bytes(b"HTTP/1.1 403 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_413: Step = Bytes(b"HTTP/1.1 413 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_500: Step = Bytes(b"HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n{");
const CUT_503: Step = Bytes(b"HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\n{");

/// A way into a stage, and what is known when the connection is lost there.
struct Way {
    stage: Stage,
    loss: Loss,
    /// The status of the reply whose rest is missing.
    status: Option<u16>,
    steps: &'static [Step],
}

const fn way(stage: Stage, loss: Loss, steps: &'static [Step]) -> Way {
    Way { stage, loss, status: None, steps }
}

const fn known(
    stage: Stage,
    reply: phase_table::Reply,
    status: u16,
    steps: &'static [Step],
) -> Way {
    Way { stage, loss: Known(reply), status: Some(status), steps }
}

/// In an environment of one invocation at a time, without attempt ids.
const SINGLE: &[Way] = &[
    // Nothing outstanding.
    way(Init, Idle, &[]),
    way(Restored, Idle, &[Do(RestoreNext), Status(200)]),
    way(Init, Idle, &[Do(RestoreNext), Status(404)]),
    way(Ready, Idle, &[Do(Next), Status(204)]),
    way(Invoking, Idle, &[Do(Next), Event]),
    way(Ready, Idle, &[Do(Next), Event, Do(Respond), Status(202)]),
    // `next` outstanding, no event begun.
    way(Asked, Unsent, &[Say(Next)]),
    way(Asked, Loss::Sent, &[Say(Next), A_FEW]),
    way(Asked, Loss::Sent, &[Do(Next)]),
    way(Asked, Loss::Sent, &[Do(Next), HALF_A_HEAD]),
    way(Asked, Loss::Sent, &[Do(Next), INTERIM]),
    way(Asked, Loss::Sent, &[Do(Next), Event, Do(Respond), Do(Next), Status(202)]),
    // In the middle of an event.
    way(Receiving, Loss::Sent, &[Do(Next), Bytes(CUT_EVENT)]),
    way(
        Receiving,
        Loss::Sent,
        &[Do(Next), Event, Do(Respond), Do(Next), Status(202), Bytes(CUT_EVENT)],
    ),
    // No byte of the answer sent, in any copy.
    way(Reporting, Unsent, &[Do(Next), Event, Do(Respond), Lost(SendAgain)]),
    way(Streaming, Unsent, &[Do(Next), Event, Say(Stream)]),
    way(Reporting, Unsent, &[Do(Next), Event, Say(Respond)]),
    way(Reporting, Unsent, &[Do(Next), Event, Say(Fail)]),
    way(ReportingAsked, Unsent, &[Do(Next), Event, Say(Respond), Say(Next)]),
    // Some or all bytes of the answer sent, and none of the reply received.
    way(Reporting, Repeatable, &[Do(Next), Event, Say(Respond), A_FEW]),
    way(Reporting, Repeatable, &[Do(Next), Event, Say(Respond), SentBut(1)]),
    way(Reporting, Repeatable, &[Do(Next), Event, Do(Respond)]),
    way(Reporting, Repeatable, &[Do(Next), Event, Do(Fail)]),
    // The embedder keeps the body until the `next` after it is sent whole.
    way(ReportingAsked, Repeatable, &[Do(Next), Event, Say(Respond), Say(Next), A_FEW]),
    way(ReportingAsked, Repeatable, &[Do(Next), Event, Say(Respond), Say(Next), SentBut(1)]),
    way(ReportingAsked, Repeatable, &[Do(Next), Event, Do(Respond), Say(Next), A_FEW]),
    way(ReportingAsked, Loss::Sent, &[Do(Next), Event, Say(Respond), Do(Next)]),
    way(ReportingAsked, Loss::Sent, &[Do(Next), Event, Do(Respond), Do(Next)]),
    way(ReportingAsked, Loss::Sent, &[Do(Next), Event, Say(Fail), Do(Next)]),
    // A part of the reply received, but not its status.
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Respond), HALF_A_HEAD]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Respond), INTERIM]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Fail), HALF_A_HEAD]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Respond), Lost(SendAgain), A_FEW]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Respond), Lost(SendAgain), ALL]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Respond), Lost(SendAgain), ALL, HALF_A_HEAD]),
    // A stream.
    way(Streaming, Loss::Sent, &[Do(Next), Event, Do(Stream)]),
    way(Streaming, Loss::Sent, &[Do(Next), Event, Say(Stream), A_FEW]),
    way(Streaming, Loss::Sent, &[Do(Next), Event, Do(Stream), Do(Chunk)]),
    way(Streaming, Loss::Sent, &[Do(Next), Event, Do(Stream), Say(Chunk)]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Stream), Do(Finish)]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Stream), Say(Finish)]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Stream), Do(FinishWithError)]),
    way(ReportingAsked, Loss::Sent, &[Do(Next), Event, Do(Stream), Say(Finish), Do(Next)]),
    // A restore.
    way(Restoring, Unsent, &[Say(RestoreNext)]),
    way(Restoring, Loss::Sent, &[Say(RestoreNext), A_FEW]),
    way(Restoring, Loss::Sent, &[Do(RestoreNext)]),
    way(Restoring, Loss::Sent, &[Do(RestoreNext), HALF_A_HEAD]),
    // Shutting down.
    way(ShuttingDown, Idle, &[ShutDown]),
    way(ReportingFailure, Unsent, &[Say(FailInit)]),
    way(ReportingFailure, Loss::Sent, &[Say(FailInit), A_FEW]),
    way(ReportingFailure, Loss::Sent, &[Do(FailInit)]),
    way(ShuttingDown, Idle, &[Do(FailInit), Status(202)]),
    way(
        ReportingFailure,
        Loss::Sent,
        &[Do(RestoreNext), Status(200), Lost(Reconnect), Do(FailRestore)],
    ),
    way(ShuttingDown, Idle, &[Do(Next), ShutDown]),
    way(ShuttingDown, Idle, &[Do(Next), Bytes(CUT_EVENT), ShutDown]),
    way(ShuttingDown, Idle, &[Do(Next), Event, Do(Respond), ShutDown]),
    way(ShuttingDown, Idle, &[Do(Next), Event, Do(Respond), CUT_202, ShutDown]),
    way(ShuttingDown, Idle, &[Do(Next), Event, Do(Respond), Status(500)]),
    // The status of the reply received, its rest missing.
    known(Restoring, Accepted, 200, &[Do(RestoreNext), CUT_200]),
    known(Restoring, Refused, 403, &[Do(RestoreNext), CUT_403]),
    known(Asked, Refused, 503, &[Do(Next), CUT_503]),
    known(Asked, ExitReply, 403, &[Do(Next), CUT_403]),
    known(Reporting, Accepted, 202, &[Do(Next), Event, Do(Respond), CUT_202]),
    known(Reporting, Refused, 413, &[Do(Next), Event, Do(Respond), CUT_413]),
    known(Reporting, Refused, 413, &[Do(Next), Event, Say(Respond), A_FEW, CUT_413]),
    known(Reporting, ExitReply, 500, &[Do(Next), Event, Do(Respond), CUT_500]),
    known(Withdrawn, Refused, 413, &[Do(Next), Event, Say(Respond), A_FEW, CUT_413, Withdraw]),
    way(Withdrawn, Loss::Sent, &[Do(Next), Event, Say(Respond), A_FEW, Withdraw]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Respond), Withdraw]),
    way(Invoking, Idle, &[Do(Next), Event, Say(Respond), Withdraw]),
    known(ReportingAsked, Accepted, 202, &[Do(Next), Event, Do(Respond), Do(Next), CUT_202]),
    known(Reporting, Accepted, 202, &[Do(Next), Event, Do(Fail), CUT_202]),
    known(Streaming, Refused, 413, &[Do(Next), Event, Do(Stream), CUT_413]),
    known(Reporting, Accepted, 202, &[Do(Next), Event, Do(Stream), Do(Finish), CUT_202]),
    known(ReportingFailure, ExitReply, 202, &[Do(FailInit), CUT_202]),
];

/// In an environment of several invocations at once, where only the attempt id tells copies apart.
const MULTI: &[Way] = &[
    way(Asked, Loss::Sent, &[Do(Next)]),
    way(Receiving, Loss::Sent, &[Do(Next), Bytes(CUT_EVENT)]),
    way(Reporting, Unsent, &[Do(Next), Event, Say(Respond)]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Say(Respond), A_FEW]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Respond)]),
    way(Reporting, Loss::Sent, &[Do(Next), Event, Do(Fail)]),
    way(Reporting, Repeatable, &[Do(Next), Attempt, Say(Respond), A_FEW]),
    way(Reporting, Repeatable, &[Do(Next), Attempt, Do(Respond)]),
    way(Reporting, Repeatable, &[Do(Next), Attempt, Do(Fail)]),
    way(Reporting, Loss::Sent, &[Do(Next), Attempt, Do(Respond), HALF_A_HEAD]),
    way(ReportingAsked, Loss::Sent, &[Do(Next), Attempt, Do(Respond), Do(Next)]),
    way(Reporting, Loss::Sent, &[Do(Next), Attempt, Do(Stream), Do(Finish)]),
    // The attempt id of an invocation says nothing about the next one.
    way(
        Reporting,
        Loss::Sent,
        &[Do(Next), Attempt, Do(Respond), Status(202), Do(Next), Event, Do(Respond)],
    ),
    known(Reporting, Accepted, 202, &[Do(Next), Event, Do(Respond), CUT_202]),
];

#[test]
fn every_lost_connection_leads_where_the_table_says() {
    let mut reached = Reached::default();
    for (concurrency, ways) in [(Concurrency::Single, SINGLE), (Concurrency::Multi, MULTI)] {
        for Way { stage, loss, status, steps } in ways {
            let label = format!("{concurrency:?}: {steps:?}");
            let mut machine = walk(concurrency, steps);
            assert_stage(&machine, *stage, steps, &label);
            let call = machine.awaits();
            let recovery = machine.on_disconnect();
            let (row, to) = follow(*stage, Input::Lost(*loss)).expect("a connection may be lost");
            reached.note((row, *stage));
            assert_eq!(Some(RecoveryKind::of(recovery)), row.recovery, "{label}");
            if let (Some(call), Some(status)) = (call, *status) {
                let outcome = Outcome::new(call, status).under(concurrency);
                assert_eq!(recovery, Recovery::Answered(outcome), "{label}");
            }
            assert_stage(&machine, to, steps, &label);

            // Nothing is left of the old connection but the bytes to send again.
            let is_to_send = recovery == SendAgain;
            assert_eq!(
                (machine.unsent_len() > 0, awaited(to, steps).is_some()),
                (is_to_send, is_to_send),
                "{label}"
            );
            assert!(!machine.must_reconnect() && !machine.is_inside_reply(), "{label}");
            for command in Command::ALL {
                let is_accepted = command.give(&mut machine.clone(), &mut [0; 1024]).is_ok();
                let has_row = !follow_command(to, command).0.is_refused();
                // Only a command that may share the write of the bytes to send again is accepted.
                let has_room = !is_to_send || (to == Reporting && command == Next);
                assert_eq!(is_accepted, has_row && has_room, "{label}: {command:?}");
            }
        }
    }
    reached.check(LOSSES);
}

#[test]
fn a_further_loss_before_anything_is_sent_on_the_new_connection_changes_nothing() {
    for Way { stage, loss, steps, .. } in SINGLE {
        let mut machine = walk(Concurrency::Single, steps);
        let first = machine.on_disconnect();
        let unsent = machine.unsent_len();
        let (_, to) = follow(*stage, Input::Lost(*loss)).expect("a connection may be lost");
        let loss = if first == SendAgain { Unsent } else { Idle };
        let (row, again) = follow(to, Input::Lost(loss)).expect("a connection may be lost");
        assert_eq!(again, to, "{steps:?}");
        assert_eq!(Some(RecoveryKind::of(machine.on_disconnect())), row.recovery, "{steps:?}");
        assert_stage(&machine, to, steps, &format!("{steps:?}"));
        assert_eq!(machine.unsent_len(), unsent, "{steps:?}");
    }
}

#[test]
fn an_answer_is_sent_at_most_twice_and_the_second_copy_is_identical() {
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
fn a_refusal_of_the_second_copy_means_that_the_first_was_accepted() {
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
fn a_refusal_of_the_second_copy_counts_even_if_its_body_is_lost() {
    let way = [Do(Next), Event, Do(Respond), Lost(SendAgain), ALL, CUT_403];
    let mut machine = walk(Concurrency::Single, &way);
    let Recovery::Answered(reply) = machine.on_disconnect() else { panic!("the status is known") };
    assert_eq!(reply.meaning(), Meaning::AcceptedBefore);
}

#[test]
fn a_refusal_is_a_refusal_if_the_service_cannot_have_accepted_the_first_copy() {
    for sent in [Sent(0), A_FEW, SentBut(1)] {
        let way = [Do(Next), Event, Say(Respond), sent, Lost(SendAgain), ALL];
        for (status, meaning) in [(400, Meaning::BadRequest), (403, Meaning::OutOfOrder)] {
            let mut machine = walk(Concurrency::Single, &way);
            assert_eq!(reply_to(&mut machine, status).meaning(), meaning, "{sent:?}");
        }
    }
}

#[test]
fn an_answer_that_was_whole_before_next_was_cut_off_may_have_been_accepted() {
    let way = [Do(Next), Event, Say(Respond), Say(Next), SentBut(1), Lost(SendAgain), ALL];
    let mut machine = walk(Concurrency::Single, &way);
    assert_eq!(reply_to(&mut machine, 403).meaning(), Meaning::AcceptedBefore);
}

#[test]
fn the_invocation_after_a_second_copy_is_not_affected_by_it() {
    let way = [Do(Next), Event, Do(Respond), Lost(SendAgain), ALL, Status(202)];
    let mut machine = walk(Concurrency::Single, &way);
    [Do(Next), Event, Do(Respond)].iter().for_each(|step| step.take(&mut machine));
    assert_eq!(reply_to(&mut machine.clone(), 403).meaning(), Meaning::OutOfOrder);
    assert_eq!(machine.on_disconnect(), SendAgain);
}

#[test]
fn losses_count_connections_that_brought_no_whole_reply() {
    let mut machine = walk(Concurrency::Single, &[Do(Next)]);
    for losses in 1..4 {
        machine.on_disconnect();
        assert_eq!(machine.losses(), losses);
        Do(Next).take(&mut machine);
    }
    HALF_A_HEAD.take(&mut machine);
    machine.on_disconnect();
    assert_eq!(machine.losses(), 4, "a part of a reply does not count");

    [Do(Next), Event].iter().for_each(|step| step.take(&mut machine));
    assert_eq!(machine.losses(), 0);
    machine.on_disconnect();
    assert_eq!(machine.losses(), 1);
    [Do(Respond), Status(202)].iter().for_each(|step| step.take(&mut machine));
    assert_eq!(machine.losses(), 0, "a reply to a POST counts too");
}

#[test]
fn a_connection_that_the_service_closed_after_a_reply_is_not_a_loss() {
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
