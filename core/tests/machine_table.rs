//! Every command, every reply and any other input, in every stage of the phase table.

#[path = "phase_table/mod.rs"]
mod phase_table;
mod support;

use lambda_proto::api::Concurrency;
use lambda_proto::machine::Recovery::{
    AskAgain, Exit, FailInvocation, FateUnknown, Reconnect, SendAgain,
};
use lambda_proto::machine::{CommandError, Machine, Phase, ReceiveError};
use phase_table::Input::{
    self, AnyOtherCommand, BrokenEvent, EventEnd, EventHead, Replied, ShutDown, TimedOut, Unasked,
    Violation, Withdraw,
};
use phase_table::Stage::{
    self, Asked, Init, Invoking, Ready, Receiving, Reporting, ReportingAsked, ReportingFailure,
    Restored, Restoring, ShuttingDown, Streaming, Withdrawn,
};
use phase_table::stage::{assert_stage, awaited};
use phase_table::{
    COMMANDS, Loss, Progress, Reached, RecoveryKind, Reply, Row, follow, follow_command,
};
use support::Command::{
    self, Chunk, EmptyChunk, Fail, FailInit, FailRestore, Finish, FinishWithError, Next, Respond,
    RestoreNext, Stream,
};
use support::Step::{self, Bytes, Do, Event, Lost, Say, Sent, SentBut, Status};
use support::{CUT_EVENT, Seen, receive, walk};

const PHASE_MD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/machine/phase.md");

/// A way into a stage.
struct Way {
    stage: Stage,
    label: &'static str,
    steps: &'static [Step],
}

const fn way(stage: Stage, label: &'static str, steps: &'static [Step]) -> Way {
    Way { stage, label, steps }
}

const WAYS: &[Way] = &[
    way(Init, "new", &[]),
    way(Restoring, "restoring", &[Do(RestoreNext)]),
    way(Restored, "restored", &[Do(RestoreNext), Status(200), Lost(Reconnect)]),
    way(Restored, "restored, as far as can be told", &[Do(RestoreNext), Lost(FateUnknown)]),
    way(
        Init,
        "in an environment without restore",
        &[Do(RestoreNext), Status(404), Lost(Reconnect)],
    ),
    way(Asked, "asked", &[Do(Next)]),
    way(Asked, "asked, a part of a head received", &[Do(Next), Bytes(b"HTTP/1.1 200 O")]),
    way(
        Asked,
        "asked, a part of a refusal received",
        &[Do(Next), Bytes(b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\n")],
    ),
    way(Receiving, "receiving", &[Do(Next), Bytes(CUT_EVENT)]),
    way(Ready, "asked in vain, by 204", &[Do(Next), Status(204)]),
    way(Ready, "asked in vain, by a lost connection", &[Do(Next), Lost(AskAgain)]),
    way(Invoking, "invoking", &[Do(Next), Event]),
    way(Invoking, "invoking, the event lost", &[Do(Next), Bytes(CUT_EVENT), Lost(FailInvocation)]),
    way(Streaming, "streaming", &[Do(Next), Event, Do(Stream)]),
    way(Streaming, "streaming after a chunk", &[Do(Next), Event, Do(Stream), Do(Chunk)]),
    way(
        Ready,
        "streaming, refused early",
        &[Do(Next), Event, Do(Stream), Do(Chunk), Status(413), Lost(Reconnect)],
    ),
    way(Reporting, "reporting a response", &[Do(Next), Event, Do(Respond)]),
    way(Reporting, "reporting again", &[Do(Next), Event, Do(Respond), Lost(SendAgain)]),
    way(
        Reporting,
        "reporting again, the pipelined next forgotten",
        &[Do(Next), Event, Say(Respond), Say(Next), Lost(SendAgain)],
    ),
    way(Reporting, "reporting an error", &[Do(Next), Event, Do(Fail)]),
    way(Reporting, "reporting a stream", &[Do(Next), Event, Do(Stream), Do(Finish)]),
    way(
        Reporting,
        "reporting a stream that failed",
        &[Do(Next), Event, Do(Stream), Do(Chunk), Do(FinishWithError)],
    ),
    way(ReportingAsked, "reporting, asked", &[Do(Next), Event, Do(Respond), Do(Next)]),
    way(Reporting, "reporting once", &[Do(Next), Event, Do(Respond), Step::Withdraw]),
    way(Withdrawn, "withdrawn", &[Do(Next), Event, Say(Respond), SentBut(1), Step::Withdraw]),
    way(Withdrawn, "withdrawn in a chunk, a part of a head received", BEGUN),
    way(
        Invoking,
        "invoking, the answer withdrawn",
        &[Do(Next), Event, Say(Respond), Say(Next), Step::Withdraw],
    ),
    way(
        Invoking,
        "invoking, the stream withdrawn",
        &[Do(Next), Event, Say(Stream), Step::Withdraw],
    ),
    way(
        Streaming,
        "streaming, the end withdrawn",
        &[Do(Next), Event, Do(Stream), Say(Finish), Say(Next), Step::Withdraw],
    ),
    way(Ready, "reported", &[Do(Next), Event, Do(Respond), Status(202)]),
    way(Asked, "reported, asked", &[Do(Next), Event, Do(Respond), Do(Next), Status(202)]),
    way(ReportingFailure, "reporting a failed init", &[Do(FailInit)]),
    way(
        ReportingFailure,
        "reporting a failed restore",
        &[Do(RestoreNext), Status(200), Lost(Reconnect), Do(FailRestore)],
    ),
    way(ShuttingDown, "shut down", &[Step::ShutDown]),
];

/// A stream that was withdrawn in the middle of a chunk, while the head of a reply arrived.
const BEGUN: &[Step] =
    &[Do(Next), Event, Do(Stream), Say(Chunk), Sent(1), Bytes(b"HTTP/1.1 "), Step::Withdraw];

/// Ways to an outstanding request of which no byte has been sent.
const UNSENT: &[Way] = &[
    way(Restoring, "restoring, unsent", &[Say(RestoreNext)]),
    way(Asked, "asked, unsent", &[Say(Next)]),
    way(Streaming, "streaming, unsent", &[Do(Next), Event, Say(Stream)]),
    way(Reporting, "reporting, unsent", &[Do(Next), Event, Say(Respond)]),
    way(ReportingAsked, "reporting, asked, unsent", &[Do(Next), Event, Say(Fail), Say(Next)]),
    way(ReportingFailure, "reporting a failed init, unsent", &[Say(FailInit)]),
];

#[test]
fn the_documentation_shows_the_table() {
    let page = phase_table::render::render();
    if std::env::var_os("UPDATE_PHASE_TABLE").is_some() {
        std::fs::write(PHASE_MD, &page).expect("the source directory can be written");
    }
    let stored = std::fs::read_to_string(PHASE_MD).expect("the page is in the source directory");
    assert!(stored == page, "phase.md is out of date; its first line says how to render it");
}

#[test]
fn a_stage_and_an_input_have_at_most_one_row() {
    for rows in [COMMANDS, phase_table::LOSSES] {
        for (at, row) in rows.iter().enumerate() {
            assert!(!row.from.is_empty() && !row.inputs.is_empty(), "{row:?}");
            for other in &rows[at + 1..] {
                let shares_stage = row.from.iter().any(|stage| other.from.contains(stage));
                let shares_input = row.inputs.iter().any(|input| other.inputs.contains(input));
                assert!(!shares_stage || !shares_input, "{row:?} and {other:?}");
            }
        }
    }
}

#[test]
fn every_command_in_every_stage_does_what_the_table_says_or_changes_nothing() {
    let mut reached = Reached::default();
    for Way { stage, label, steps } in WAYS {
        for command in Command::ALL {
            let mut machine = walk(Concurrency::Single, steps);
            let label = format!("{command:?} when {label}");
            assert_stage(&machine, *stage, steps, &label);

            let before = everything_in(&machine);
            let unsent = machine.unsent_len();
            let result = command.give(&mut machine, &mut [0; 1024]);
            let (row, to) = follow_command(*stage, command);
            reached.note((row, *stage));
            if row.is_refused() {
                assert_eq!(result, Err(CommandError::WrongPhase(stage.phase())), "{label}");
                assert_eq!(everything_in(&machine), before, "{label}");
            } else {
                let length = result.unwrap_or_else(|error| panic!("{label}: {error}"));
                let added = machine.unsent_len() - unsent;
                assert_eq!(added, length + command.body().len(), "{label}");
                assert_stage(&machine, to, &[steps, &[Do(command)][..]].concat(), &label);
            }
        }
    }
    reached.check(rows_of(|input| matches!(input, Input::Do(_) | AnyOtherCommand)));
}

#[test]
fn shut_down_is_allowed_in_every_stage() {
    let mut reached = Reached::default();
    for Way { stage, label, steps } in WAYS {
        let mut machine = walk(Concurrency::Single, steps);
        machine.shut_down();
        let to = expect(&mut reached, *stage, ShutDown);
        assert_stage(&machine, to, steps, label);
        assert_eq!(receive(&mut machine, b"whatever"), Ok(vec![]), "{label}");
        assert_eq!(machine.phase(), Phase::ShuttingDown, "{label}");
    }
    reached.check(rows_of(|input| input == ShutDown));
}

/// Ways to an answer, and how far it has come.
const PROGRESS: &[(Stage, &[Step], Progress)] = &[
    (Streaming, &[Do(Next), Event, Say(Stream)], Progress::Unsent),
    (Reporting, &[Do(Next), Event, Say(Respond)], Progress::Unsent),
    (Reporting, &[Do(Next), Event, Say(Respond), SentBut(1), Lost(SendAgain)], Progress::Unsent),
    (ReportingAsked, &[Do(Next), Event, Say(Respond), Say(Next)], Progress::Unsent),
    (Streaming, &[Do(Next), Event, Do(Stream), Say(Chunk)], Progress::UnsentChunk),
    (Streaming, &[Do(Next), Event, Do(Stream), Do(Chunk), Say(Chunk)], Progress::UnsentChunk),
    (Reporting, &[Do(Next), Event, Do(Stream), Say(Finish)], Progress::UnsentEnd),
    (Reporting, &[Do(Next), Event, Do(Stream), Do(Chunk), Say(Finish)], Progress::UnsentEnd),
    (
        ReportingAsked,
        &[Do(Next), Event, Do(Stream), Do(Chunk), Say(Finish), Say(Next)],
        Progress::UnsentEnd,
    ),
    (Streaming, &[Do(Next), Event, Do(Stream), Say(Chunk), Sent(1)], Progress::Part),
    (Streaming, &[Do(Next), Event, Do(Stream), Say(Chunk), SentBut(1)], Progress::Part),
    (Reporting, &[Do(Next), Event, Say(Respond), Sent(1)], Progress::Part),
    (Reporting, &[Do(Next), Event, Say(Respond), SentBut(1)], Progress::Part),
    (Reporting, &[Do(Next), Event, Do(Respond), Lost(SendAgain)], Progress::Part),
    (ReportingAsked, &[Do(Next), Event, Say(Respond), Sent(1), Say(Next)], Progress::Part),
    (Reporting, &[Do(Next), Event, Do(Respond)], Progress::Whole),
    (Reporting, &[Do(Next), Event, Do(Respond), Step::Withdraw], Progress::Whole),
    (ReportingAsked, &[Do(Next), Event, Do(Respond), Say(Next)], Progress::Whole),
    (ReportingAsked, &[Do(Next), Event, Do(Respond), Say(Next), Sent(1)], Progress::Whole),
    (Init, &[], Progress::Other),
    (Restoring, &[Say(RestoreNext)], Progress::Other),
    (Restored, &[Do(RestoreNext), Lost(FateUnknown)], Progress::Other),
    (Ready, &[Do(Next), Status(204)], Progress::Other),
    (Asked, &[Say(Next)], Progress::Other),
    (Asked, &[Do(Next), Event, Do(Respond), Say(Next), Status(202)], Progress::Other),
    (Receiving, &[Do(Next), Bytes(CUT_EVENT)], Progress::Other),
    (Invoking, &[Do(Next), Event], Progress::Other),
    (Streaming, &[Do(Next), Event, Say(Stream), Sent(1)], Progress::Other),
    (Streaming, &[Do(Next), Event, Do(Stream)], Progress::Other),
    (Streaming, &[Do(Next), Event, Do(Stream), Do(Chunk)], Progress::Other),
    (Reporting, &[Do(Next), Event, Say(Fail)], Progress::Other),
    (Reporting, &[Do(Next), Event, Say(Fail), Sent(1)], Progress::Other),
    (Reporting, &[Do(Next), Event, Do(Stream), Say(FinishWithError)], Progress::Other),
    (Reporting, &[Do(Next), Event, Do(Stream), Say(Finish), Sent(1)], Progress::Other),
    (ReportingAsked, &[Do(Next), Event, Say(Fail), Say(Next)], Progress::Other),
    (Withdrawn, &[Do(Next), Event, Say(Respond), Sent(1), Step::Withdraw], Progress::Other),
    (ReportingFailure, &[Say(FailInit)], Progress::Other),
    (ShuttingDown, &[Step::ShutDown], Progress::Other),
];

#[test]
fn withdraw_takes_back_what_the_table_says() {
    let mut reached = Reached::default();
    for (stage, steps, progress) in PROGRESS {
        let label = format!("after {steps:?}");
        let mut machine = walk(Concurrency::Single, steps);
        let before = everything_in(&machine);
        let (unsent, must_reconnect) = (machine.unsent_len(), machine.must_reconnect());
        machine.withdraw();
        let to = expect(&mut reached, *stage, Withdraw(*progress));
        // Half of an answer leaves nothing that may be given or taken.
        let is_kept = matches!(progress, Progress::Whole | Progress::Other);
        assert_eq!(machine.unsent_len(), if is_kept { unsent } else { 0 }, "{label}");
        let is_part = *progress == Progress::Part;
        assert_eq!(machine.must_reconnect(), must_reconnect || is_part, "{label}");
        if *progress == Progress::Other {
            assert_eq!(everything_in(&machine), before, "{label}");
        }
        if machine.unsent_len() == 0 {
            assert_stage(&machine, to, steps, &label);
        }
        if matches!(progress, Progress::Part | Progress::Whole) {
            assert_eq!(machine.on_disconnect(), FateUnknown, "{label}");
        }
    }
    reached.check(rows_of(|input| matches!(input, Withdraw(_))));
}

#[test]
fn an_empty_slice_is_harmless_in_every_stage() {
    for Way { label, steps, .. } in WAYS {
        let mut machine = walk(Concurrency::Single, steps);
        let before = everything_in(&machine);
        assert_eq!(machine.receive(&mut &[][..]), Ok(None), "{label}");
        assert_eq!(everything_in(&machine), before, "{label}");
    }
}

#[test]
fn the_end_of_the_stream_completes_only_a_body_without_length() {
    for Way { label, steps, .. } in WAYS {
        let mut machine = walk(Concurrency::Single, steps);
        let before = everything_in(&machine);
        assert_eq!(machine.end_of_stream(), None, "{label}");
        assert_eq!(everything_in(&machine), before, "{label}");
    }
}

#[test]
fn unsolicited_bytes_cost_only_the_connection() {
    let mut reached = Reached::default();
    let idle = WAYS.iter().filter(|way| awaited(way.stage, way.steps).is_none());
    for Way { stage, label, steps } in idle.chain(UNSENT) {
        let mut machine = walk(Concurrency::Single, steps);
        if *stage == ShuttingDown {
            assert_eq!(receive(&mut machine, support::ACCEPTED), Ok(vec![]), "{label}");
            continue;
        }
        let is_unsent = machine.unsent_len() > 0 && awaited(*stage, steps).is_some();
        let result = receive(&mut machine, support::ACCEPTED);
        assert_eq!(result, Err(ReceiveError::Unsolicited), "{label}");
        let to = expect(&mut reached, *stage, Unasked);
        assert!(machine.must_reconnect(), "{label}");
        assert_stage(&machine, to, steps, label);

        let loss = if is_unsent { Loss::Unsent } else { Loss::Idle };
        let (row, to) = follow(to, Input::Lost(loss)).expect("a connection may be lost");
        let recovery = RecoveryKind::of(machine.on_disconnect());
        assert_eq!(Some(recovery), row.recovery, "{label}");
        assert_stage(&machine, to, steps, label);
        if !is_unsent {
            for command in Command::ALL {
                let is_refused = follow_command(to, command).0.is_refused();
                let result = command.give(&mut machine.clone(), &mut [0; 1024]);
                assert_eq!(result.is_err(), is_refused, "{command:?} when {label}");
            }
        }
    }
    reached.check(rows_of(|input| input == Unasked));
}

#[test]
fn bytes_that_are_not_a_valid_reply_end_the_session() {
    const NO_HTTP: &[u8] = b"HTTP/1.1 ready\r\n\r\n";
    let mut reached = Reached::default();
    for Way { stage, label, steps } in WAYS {
        let mut machine = walk(Concurrency::Single, steps);
        let is_awaiting = awaited(*stage, steps).is_some();
        let is_inside = machine.is_inside_reply() && *stage != Withdrawn;
        if !is_awaiting || is_inside || machine.must_reconnect() || machine.unsent_len() > 0 {
            continue;
        }
        let result = receive(&mut machine, NO_HTTP);
        assert!(matches!(result, Err(ReceiveError::Head(_))), "{label}: {result:?}");
        let to = expect(&mut reached, *stage, Violation);
        assert_stage(&machine, to, steps, label);
        assert_eq!(machine.on_disconnect(), Exit, "{label}");
    }
    reached.check(rows_of(|input| input == Violation));
}

#[test]
fn any_other_input_leads_where_the_table_says() {
    const CHUNKED_EVENT: &[u8] = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b3c\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let arrivals: [(Stage, &[Step], &[u8], Input); 6] = [
        (Asked, &[Do(Next)], CUT_EVENT, EventHead),
        (Receiving, &[Do(Next), Bytes(CUT_EVENT)], b"da, 37\"", EventEnd),
        (Receiving, &[Do(Next), Bytes(CHUNKED_EVENT)], b"so\r\n", BrokenEvent),
        (Reporting, &[Do(Next), Event, Do(Respond)], b"HTTP/1.1 408 X\r\n\r\n", TimedOut),
        (
            ReportingAsked,
            &[Do(Next), Event, Do(Respond), Do(Next)],
            b"HTTP/1.1 408 X\r\n\r\n",
            TimedOut,
        ),
        (Withdrawn, BEGUN, b"HTTP/1.1 408 X\r\n\r\n", TimedOut),
    ];
    let mut reached = Reached::default();
    for (stage, steps, bytes, input) in arrivals {
        let label = format!("{input:?} after {steps:?}");
        let mut machine = walk(Concurrency::Single, steps);
        assert_stage(&machine, stage, steps, &label);
        let result = receive(&mut machine, bytes);
        let is_fault = matches!(result, Err(ReceiveError::Body(_)));
        assert_eq!(is_fault, input == BrokenEvent, "{label}: {result:?}");
        assert_eq!(result.is_err(), is_fault, "{label}: {result:?}");
        let to = expect(&mut reached, stage, input);
        assert_stage(&machine, to, steps, &label);
        let (row, _) = follow(stage, input).expect("it has just been followed");
        assert_eq!(machine.must_reconnect(), row.must_reconnect(), "{label}");
    }
    let others = [EventHead, EventEnd, BrokenEvent, TimedOut];
    reached.check(rows_of(|input| others.contains(&input)));
}

const STATUSES: [u16; 14] = [200, 202, 204, 301, 400, 403, 404, 405, 410, 413, 429, 500, 502, 503];

/// Ways to an outstanding call, and the statuses of its reply that end the process.
const REPLIES: &[(Stage, &[Step], &[u16])] = &[
    (Restoring, &[Do(RestoreNext)], &[500]),
    (Asked, &[Do(Next)], &[301, 400, 403, 404, 405, 410, 413, 500]),
    (Reporting, &[Do(Next), Event, Do(Respond)], &[500]),
    (Reporting, &[Do(Next), Event, Do(Fail)], &[500]),
    (Streaming, &[Do(Next), Event, Do(Stream)], &[500]),
    (Reporting, &[Do(Next), Event, Do(Stream), Do(Chunk), Do(Finish)], &[500]),
    (ReportingAsked, &[Do(Next), Event, Do(Respond), Do(Next)], &[500]),
    (Withdrawn, BEGUN, &[500]),
    (ReportingFailure, &[Do(FailInit)], &STATUSES),
    (
        ReportingFailure,
        &[Do(RestoreNext), Status(200), Lost(Reconnect), Do(FailRestore)],
        &STATUSES,
    ),
];

#[test]
fn every_status_leads_where_the_table_says() {
    let mut reached = Reached::default();
    for (stage, steps, exits) in REPLIES {
        for status in STATUSES {
            if *stage == Asked && matches!(status, 200..=203) {
                continue; // These bring an event.
            }
            let mut machine = walk(Concurrency::Single, steps);
            let call = machine.awaits().expect("a call is outstanding");
            let label = format!("{status} for {call} after {steps:?}");
            assert_stage(&machine, *stage, steps, &label);
            let seen = receive(&mut machine, &support::answer(status, ""));
            assert_eq!(seen, Ok(vec![Seen::reply(call, status)]), "{label}");
            let reply = match status {
                _ if exits.contains(&status) => Reply::Exit,
                200..=299 => Reply::Accepted,
                _ => Reply::Refused,
            };
            let to = expect(&mut reached, *stage, Replied(reply));
            assert_stage(&machine, to, steps, &label);
        }
    }
    reached.check(rows_of(|input| matches!(input, Replied(_))));
}

#[test]
fn unsent_bytes_stop_every_command_but_a_pipelined_next() {
    // The steps, and the commands that would be allowed if all bytes were sent.
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
        assert!(Next.give(&mut machine, &mut [0; 1024]).is_ok(), "next after {answer:?}");
    }
}

#[test]
fn a_wrong_phase_is_reported_before_unsent_bytes() {
    let mut machine = walk(Concurrency::Single, &[Say(Next)]);
    let result = Respond.give(&mut machine, &mut [0; 1024]);
    assert_eq!(result, Err(CommandError::WrongPhase(Phase::Ready)));
}

/// Every field of a machine, to check that nothing has changed.
fn everything_in(machine: &Machine) -> String {
    format!("{machine:?}")
}

/// The stage that an input leads to, as the table says.
fn expect(reached: &mut Reached, from: Stage, input: Input) -> Stage {
    let (row, to) =
        follow(from, input).unwrap_or_else(|| panic!("no row for {input:?} in {from:?}"));
    reached.note((row, from));
    to
}

fn rows_of(is_wanted: impl Fn(Input) -> bool) -> impl Iterator<Item = &'static Row> {
    COMMANDS.iter().filter(move |row| row.inputs.iter().copied().any(&is_wanted))
}
