//! The transition table of the machine, as data: every state against every command and every answer.

mod support;

use lambda_proto::api::Call;
use lambda_proto::{CommandError, Concurrency, Machine, Phase, ReceiveError};
use support::Command::{
    Chunk, EmptyChunk, Fail, FailInit, FailRestore, Finish, FinishWithError, Next, Respond,
    RestoreNext, Stream,
};
use support::Step::{self, Bytes, Do, Event, Lost, Say, Sent, SentBut, ShutDown, Status};
use support::{Command, Seen, receive, walk};

use lambda_proto::Recovery::{AskAgain, Exit, FailInvocation, FateUnknown, Reconnect, SendAgain};

/// A state: how to get there, what is seen of it, and which commands lead where. All others are
/// refused there.
struct Row {
    state: &'static str,
    way: &'static [Step],
    phase: Phase,
    awaits: Option<Call>,
    commands: &'static [(Command, Phase, Option<Call>)],
}

const FROM_INIT: &[(Command, Phase, Option<Call>)] = &[
    (Next, Phase::Ready, Some(Call::Next)),
    (RestoreNext, Phase::Init, Some(Call::RestoreNext)),
    (FailInit, Phase::ShuttingDown, Some(Call::InitError)),
];
const FROM_RESTORED: &[(Command, Phase, Option<Call>)] = &[
    (Next, Phase::Ready, Some(Call::Next)),
    (FailRestore, Phase::ShuttingDown, Some(Call::RestoreError)),
];
const FROM_IDLE: &[(Command, Phase, Option<Call>)] = &[(Next, Phase::Ready, Some(Call::Next))];
const FROM_INVOKING: &[(Command, Phase, Option<Call>)] = &[
    (Respond, Phase::Reporting, Some(Call::Response)),
    (Fail, Phase::Reporting, Some(Call::Error)),
    (Stream, Phase::Invoking, Some(Call::Response)),
];
const FROM_STREAMING: &[(Command, Phase, Option<Call>)] = &[
    (Chunk, Phase::Invoking, Some(Call::Response)),
    (EmptyChunk, Phase::Invoking, Some(Call::Response)),
    (Finish, Phase::Reporting, Some(Call::Response)),
    (FinishWithError, Phase::Reporting, Some(Call::Response)),
];

const TABLE: &[Row] = &[
    Row { state: "new", way: &[], phase: Phase::Init, awaits: None, commands: FROM_INIT },
    Row {
        state: "restoring",
        way: &[Do(RestoreNext)],
        phase: Phase::Init,
        awaits: Some(Call::RestoreNext),
        commands: &[],
    },
    Row {
        state: "restored",
        way: &[Do(RestoreNext), Status(200), Lost(Reconnect)],
        phase: Phase::Init,
        awaits: None,
        commands: FROM_RESTORED,
    },
    Row {
        state: "restored, as far as one can tell",
        way: &[Do(RestoreNext), Lost(FateUnknown)],
        phase: Phase::Init,
        awaits: None,
        commands: FROM_RESTORED,
    },
    Row {
        state: "in an environment without restore",
        way: &[Do(RestoreNext), Status(404), Lost(Reconnect)],
        phase: Phase::Init,
        awaits: None,
        commands: FROM_INIT,
    },
    Row {
        state: "asked",
        way: &[Do(Next)],
        phase: Phase::Ready,
        awaits: Some(Call::Next),
        commands: &[],
    },
    Row {
        state: "asked, a part of a head in",
        way: &[Do(Next), Bytes(b"HTTP/1.1 200 O")],
        phase: Phase::Ready,
        awaits: Some(Call::Next),
        commands: &[],
    },
    Row {
        state: "asked, a refusal half in",
        way: &[Do(Next), Bytes(b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\n")],
        phase: Phase::Ready,
        awaits: Some(Call::Next),
        commands: &[],
    },
    Row {
        state: "receiving",
        way: &[Do(Next), Bytes(support::CUT_EVENT)],
        phase: Phase::Ready,
        awaits: Some(Call::Next),
        commands: &[],
    },
    Row {
        state: "asked in vain, by 204",
        way: &[Do(Next), Status(204)],
        phase: Phase::Ready,
        awaits: None,
        commands: FROM_IDLE,
    },
    Row {
        state: "asked in vain, by a lost connection",
        way: &[Do(Next), Lost(AskAgain)],
        phase: Phase::Ready,
        awaits: None,
        commands: FROM_IDLE,
    },
    Row {
        state: "invoking",
        way: &[Do(Next), Event],
        phase: Phase::Invoking,
        awaits: None,
        commands: FROM_INVOKING,
    },
    Row {
        state: "invoking, the event lost",
        way: &[Do(Next), Bytes(support::CUT_EVENT), Lost(FailInvocation)],
        phase: Phase::Invoking,
        awaits: None,
        commands: FROM_INVOKING,
    },
    Row {
        state: "streaming",
        way: &[Do(Next), Event, Do(Stream)],
        phase: Phase::Invoking,
        awaits: Some(Call::Response),
        commands: FROM_STREAMING,
    },
    Row {
        state: "streaming behind a chunk",
        way: &[Do(Next), Event, Do(Stream), Do(Chunk)],
        phase: Phase::Invoking,
        awaits: Some(Call::Response),
        commands: FROM_STREAMING,
    },
    Row {
        state: "streaming, refused early",
        way: &[Do(Next), Event, Do(Stream), Do(Chunk), Status(413), Lost(Reconnect)],
        phase: Phase::Ready,
        awaits: None,
        commands: FROM_IDLE,
    },
    Row {
        state: "reporting a response",
        way: &[Do(Next), Event, Do(Respond)],
        phase: Phase::Reporting,
        awaits: Some(Call::Response),
        commands: &[(Next, Phase::Reporting, Some(Call::Response))],
    },
    Row {
        state: "reporting again",
        way: &[Do(Next), Event, Do(Respond), Lost(SendAgain)],
        phase: Phase::Reporting,
        awaits: Some(Call::Response),
        commands: &[(Next, Phase::Reporting, Some(Call::Response))],
    },
    Row {
        state: "reporting again, what was asked forgotten",
        way: &[Do(Next), Event, Say(Respond), Say(Next), Lost(SendAgain)],
        phase: Phase::Reporting,
        awaits: Some(Call::Response),
        commands: &[(Next, Phase::Reporting, Some(Call::Response))],
    },
    Row {
        state: "reporting an error",
        way: &[Do(Next), Event, Do(Fail)],
        phase: Phase::Reporting,
        awaits: Some(Call::Error),
        commands: &[(Next, Phase::Reporting, Some(Call::Error))],
    },
    Row {
        state: "reporting a stream",
        way: &[Do(Next), Event, Do(Stream), Do(Finish)],
        phase: Phase::Reporting,
        awaits: Some(Call::Response),
        commands: &[(Next, Phase::Reporting, Some(Call::Response))],
    },
    Row {
        state: "reporting a stream that failed",
        way: &[Do(Next), Event, Do(Stream), Do(Chunk), Do(FinishWithError)],
        phase: Phase::Reporting,
        awaits: Some(Call::Response),
        commands: &[(Next, Phase::Reporting, Some(Call::Response))],
    },
    Row {
        state: "reporting, asked",
        way: &[Do(Next), Event, Do(Respond), Do(Next)],
        phase: Phase::Reporting,
        awaits: Some(Call::Response),
        commands: &[],
    },
    Row {
        state: "reported",
        way: &[Do(Next), Event, Do(Respond), Status(202)],
        phase: Phase::Ready,
        awaits: None,
        commands: FROM_IDLE,
    },
    Row {
        state: "reported, asked",
        way: &[Do(Next), Event, Do(Respond), Do(Next), Status(202)],
        phase: Phase::Ready,
        awaits: Some(Call::Next),
        commands: &[],
    },
    Row {
        state: "reporting a failed start",
        way: &[Do(FailInit)],
        phase: Phase::ShuttingDown,
        awaits: Some(Call::InitError),
        commands: &[],
    },
    Row {
        state: "reporting a failed restore",
        way: &[Do(RestoreNext), Status(200), Lost(Reconnect), Do(FailRestore)],
        phase: Phase::ShuttingDown,
        awaits: Some(Call::RestoreError),
        commands: &[],
    },
    Row {
        state: "shut down",
        way: &[ShutDown],
        phase: Phase::ShuttingDown,
        awaits: None,
        commands: &[],
    },
];

#[test]
fn every_command_in_every_state_does_what_the_table_says_or_changes_nothing() {
    for row in TABLE {
        for command in Command::ALL {
            let mut machine = walk(Concurrency::Single, row.way);
            let label = format!("{command:?} when {}", row.state);
            assert_eq!((machine.phase(), machine.awaits()), (row.phase, row.awaits), "{label}");

            let before = everything_in(&machine);
            let unsent = machine.unsent_len();
            let result = command.give(&mut machine, &mut [0; 1024]);
            let after = (machine.phase(), machine.awaits());
            match row.commands.iter().find(|(allowed, ..)| *allowed == command) {
                Some((_, phase, awaits)) => {
                    let length = result.unwrap_or_else(|error| panic!("{label}: {error}"));
                    let added = machine.unsent_len() - unsent;
                    assert_eq!(added, length + command.body().len(), "{label}");
                    assert_eq!(after, (*phase, *awaits), "{label}");
                }
                None => {
                    assert_eq!(result, Err(CommandError::WrongPhase(row.phase)), "{label}");
                    assert_eq!(everything_in(&machine), before, "{label}");
                }
            }
        }
    }
}

#[test]
fn the_end_can_be_declared_in_every_state() {
    for row in TABLE {
        let mut machine = walk(Concurrency::Single, row.way);
        machine.shut_down();
        assert_eq!(machine.phase(), Phase::ShuttingDown, "{}", row.state);
        assert_eq!((machine.awaits(), machine.invocation()), (None, None), "{}", row.state);
        assert_eq!(receive(&mut machine, b"whatever"), Ok(vec![]), "{}", row.state);
    }
}

#[test]
fn the_invocation_is_known_from_its_head_to_its_reply() {
    for row in TABLE {
        let machine = walk(Concurrency::Single, row.way);
        let is_in_hand =
            row.state == "receiving" || matches!(row.phase, Phase::Invoking | Phase::Reporting);
        let id = machine.invocation().map(|ids| ids.request_id());
        assert_eq!(id, is_in_hand.then_some(support::REQUEST_ID), "{}", row.state);
    }
}

#[test]
fn an_empty_slice_is_harmless_in_every_state() {
    for row in TABLE {
        let mut machine = walk(Concurrency::Single, row.way);
        let before = everything_in(&machine);
        assert_eq!(machine.receive(&mut &[][..]), Ok(None), "{}", row.state);
        assert_eq!(everything_in(&machine), before, "{}", row.state);
    }
}

#[test]
fn an_end_of_stream_completes_nothing_but_a_body_without_length() {
    for row in TABLE {
        let mut machine = walk(Concurrency::Single, row.way);
        let before = everything_in(&machine);
        assert_eq!(machine.end_of_stream(), None, "{}", row.state);
        assert_eq!(everything_in(&machine), before, "{}", row.state);
    }
}

#[test]
fn bytes_that_answer_nothing_cost_the_connection_and_nothing_else() {
    for row in TABLE.iter().filter(|row| row.awaits.is_none()) {
        let mut machine = walk(Concurrency::Single, row.way);
        if row.phase == Phase::ShuttingDown {
            assert_eq!(receive(&mut machine, support::ACCEPTED), Ok(vec![]), "{}", row.state);
            continue;
        }
        let result = receive(&mut machine, support::ACCEPTED);
        assert_eq!(result, Err(ReceiveError::Unsolicited), "{}", row.state);
        assert!(machine.must_reconnect(), "{}", row.state);
        assert_eq!(machine.on_disconnect(), Reconnect, "{}", row.state);
        assert_eq!(machine.phase(), row.phase, "{}", row.state);
        for (command, ..) in row.commands {
            assert!(command.give(&mut machine.clone(), &mut [0; 1024]).is_ok(), "{}", row.state);
        }
    }
}

#[test]
fn an_answer_that_is_none_ends_the_conversation() {
    const NO_HTTP: &[u8] = b"220 ready\r\n\r\n";
    for row in TABLE.iter().filter(|row| row.awaits.is_some()) {
        let mut machine = walk(Concurrency::Single, row.way);
        if machine.is_inside_answer() || machine.unsent_len() > 0 {
            continue;
        }
        let result = receive(&mut machine, NO_HTTP);
        assert!(matches!(result, Err(ReceiveError::Head(_))), "{}: {result:?}", row.state);
        assert_eq!((machine.phase(), machine.awaits()), (Phase::ShuttingDown, None));
        assert_eq!(machine.on_disconnect(), Exit, "{}", row.state);
    }
}

/// A call that is outstanding, and to which phase each status of its answer leads.
struct Answers {
    way: &'static [Step],
    call: Call,
    /// The phase for every status that is not in `exits`.
    phase: Phase,
    exits: &'static [u16],
}

const STATUSES: [u16; 14] = [200, 202, 204, 301, 400, 403, 404, 405, 410, 413, 429, 500, 502, 503];

const ANSWERS: &[Answers] = &[
    Answers { way: &[Do(RestoreNext)], call: Call::RestoreNext, phase: Phase::Init, exits: &[500] },
    Answers {
        way: &[Do(Next)],
        call: Call::Next,
        phase: Phase::Ready,
        exits: &[301, 400, 403, 404, 405, 410, 413, 500],
    },
    Answers {
        way: &[Do(Next), Event, Do(Respond)],
        call: Call::Response,
        phase: Phase::Ready,
        exits: &[500],
    },
    Answers {
        way: &[Do(Next), Event, Do(Fail)],
        call: Call::Error,
        phase: Phase::Ready,
        exits: &[500],
    },
    Answers {
        way: &[Do(Next), Event, Do(Stream)],
        call: Call::Response,
        phase: Phase::Ready,
        exits: &[500],
    },
    Answers {
        way: &[Do(Next), Event, Do(Stream), Do(Chunk), Do(Finish)],
        call: Call::Response,
        phase: Phase::Ready,
        exits: &[500],
    },
    Answers {
        way: &[Do(Next), Event, Do(Respond), Do(Next)],
        call: Call::Response,
        phase: Phase::Ready,
        exits: &[500],
    },
    Answers { way: &[Do(FailInit)], call: Call::InitError, phase: Phase::ShuttingDown, exits: &[] },
    Answers {
        way: &[Do(RestoreNext), Status(200), Lost(Reconnect), Do(FailRestore)],
        call: Call::RestoreError,
        phase: Phase::ShuttingDown,
        exits: &[],
    },
];

#[test]
fn every_status_is_an_event_that_leads_to_the_phase_of_the_table() {
    for row in ANSWERS {
        for status in STATUSES {
            if row.call == Call::Next && matches!(status, 200..=203) {
                continue; // These bring an event.
            }
            let mut machine = walk(Concurrency::Single, row.way);
            let seen = receive(&mut machine, &support::answer(status, ""));
            let label = format!("{status} for {} after {:?}", row.call, row.way);
            assert_eq!(seen, Ok(vec![Seen::reply(row.call, status)]), "{label}");
            let exits = row.exits.contains(&status);
            let phase = if exits { Phase::ShuttingDown } else { row.phase };
            assert_eq!(machine.phase(), phase, "{label}");
            assert_eq!(machine.invocation(), None, "{label}");
        }
    }
}

#[test]
fn unsent_bytes_stop_every_command_but_a_pipelined_next() {
    // The command before, and what would be allowed if its bytes were sent.
    let rows: [(&[Step], &[Command]); 4] = [
        (&[Do(Next), Event, Say(Stream)], &[Chunk, EmptyChunk, Finish, FinishWithError]),
        (&[Do(Next), Event, Do(Stream), Say(Chunk)], &[Chunk, Finish, FinishWithError]),
        (&[Do(Next), Event, Do(Stream), Say(Chunk), Sent(3)], &[Chunk, Finish]),
        (&[Do(Next), Event, Do(Stream), Say(Chunk), SentBut(1)], &[Chunk, Finish]),
    ];
    for (way, commands) in rows {
        for command in commands {
            let mut machine = walk(Concurrency::Single, way);
            let before = everything_in(&machine);
            let length = machine.unsent_len();
            let result = command.give(&mut machine, &mut [0; 1024]);
            assert_eq!(result, Err(CommandError::Unsent { length }), "{command:?} after {way:?}");
            assert_eq!(everything_in(&machine), before);
        }
    }
    for answer in [Respond, Fail, Finish] {
        let mut machine = walk(Concurrency::Single, &[Do(Next), Event]);
        if answer == Finish {
            support::send(&mut machine, Stream);
        }
        Say(answer).take(&mut machine);
        assert!(Next.give(&mut machine, &mut [0; 1024]).is_ok(), "next behind {answer:?}");
    }
}

#[test]
fn a_wrong_phase_is_told_before_unsent_bytes_are() {
    let mut machine = walk(Concurrency::Single, &[Say(Next)]);
    let result = Respond.give(&mut machine, &mut [0; 1024]);
    assert_eq!(result, Err(CommandError::WrongPhase(Phase::Ready)));
}

/// Every field of a machine, so that "nothing has changed" can be said of all of them.
fn everything_in(machine: &Machine) -> String {
    format!("{machine:?}")
}
