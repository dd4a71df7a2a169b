//! The rows of the two tables, and from which phases each can be reached.

use std::collections::BTreeMap;

use super::reference::Reach;
use super::reference::Stage::{self, *};

/// A row of the table of commands and answers, or of that of lost connections, or a sentence below one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Row {
    InitNext,
    Restore,
    FailStart,
    Next,
    EventHead,
    EmptyReply,
    EventEnd,
    Answer,
    Stream,
    Finish,
    EarlyReply,
    Reply,
    Pipeline,
    PipelinedReply,
    StartReply,
    ShutDown,
    ExitReply,
    Violation,
    WrongPhase,
    Unasked,
    BrokenEvent,
    TimedOut,
    LostIdle,
    LostAsked,
    LostEvent,
    LostUnsent,
    LostTwice,
    LostKnown,
    LostAnswer,
    LostRestore,
    LostStart,
    LostOver,
}

/// Each row in the words of the documentation, and the phases from which it must be reached: no other may
/// be, and every one of these must.
const ROWS: [(Row, &str, &[Stage]); 32] = [
    (Row::InitNext, "Init: next", &[Init, Restored]),
    (Row::Restore, "Init: restore_next, then its reply", &[Init, Restoring]),
    (Row::FailStart, "Init: fail_init; after a restore fail_restore", &[Init, Restored]),
    (Row::Next, "Ready: next", &[Ready]),
    (Row::EventHead, "Ready, asked: head of an event", &[Asked]),
    (Row::EmptyReply, "Ready, asked: any other reply to next", &[Asked]),
    (Row::EventEnd, "Ready, receiving: end of the event", &[Receiving]),
    (Row::Answer, "Invoking: respond, fail", &[Invoking]),
    (Row::Stream, "Invoking: stream, then chunk", &[Invoking, Streaming]),
    (Row::Finish, "Invoking, streaming: finish, finish_with_error", &[Streaming]),
    (Row::EarlyReply, "Invoking, streaming: early reply", &[Streaming]),
    (Row::Reply, "Reporting: reply", &[Reporting]),
    (Row::Pipeline, "Reporting: next", &[Reporting]),
    (Row::PipelinedReply, "Reporting, asked: reply", &[ReportingAsked]),
    (Row::StartReply, "ShuttingDown: reply to fail_init or fail_restore", &[ReportingStart]),
    (Row::ShutDown, "any: shut_down", &Stage::ALL),
    (
        Row::ExitReply,
        "any: a reply that says Then::Exit",
        &[Restoring, Asked, Streaming, Reporting, ReportingAsked],
    ),
    (
        Row::Violation,
        "any: an answer that is none",
        &[Restoring, Asked, Streaming, Reporting, ReportingAsked, ReportingStart],
    ),
    (Row::WrongPhase, "any: any other command", &Stage::ALL),
    (
        Row::Unasked,
        "bytes that answer nothing",
        &[
            Init,
            Restoring,
            Restored,
            Ready,
            Asked,
            Invoking,
            Streaming,
            Reporting,
            ReportingAsked,
            ReportingStart,
        ],
    ),
    (Row::BrokenEvent, "an event whose framing breaks after its id is known", &[Receiving]),
    (Row::TimedOut, "408 to an answer", &[Reporting, ReportingAsked]),
    (Row::LostIdle, "nothing outstanding", &[Init, Restored, Ready, Invoking]),
    (Row::LostAsked, "next outstanding, no event begun", &[Asked]),
    (Row::LostEvent, "in the middle of an event", &[Receiving]),
    (
        Row::LostUnsent,
        "no byte of a request sent, other than next and chunks",
        &[Restoring, Streaming, Reporting, ReportingAsked, ReportingStart],
    ),
    (
        Row::LostTwice,
        "a buffered answer or error sent, and the service can tell",
        &[Reporting, ReportingAsked],
    ),
    (
        Row::LostKnown,
        "the status of the reply known, its rest missing",
        &[Restoring, Asked, Streaming, Reporting, ReportingAsked, ReportingStart],
    ),
    (
        Row::LostAnswer,
        "any other answer, or a part of a stream, sent",
        &[Streaming, Reporting, ReportingAsked],
    ),
    (Row::LostRestore, "restore_next sent", &[Restoring]),
    (Row::LostStart, "a report of a failed start sent", &[ReportingStart]),
    (Row::LostOver, "the conversation over", &[ShuttingDown]),
];

/// How often each row was reached, and from where.
#[derive(Default)]
pub(crate) struct Reached(BTreeMap<(Row, Stage), u64>);

impl Reached {
    pub(crate) fn note(&mut self, reach: Reach) {
        *self.0.entry(reach).or_default() += 1;
    }

    /// Prints the table, and fails unless each row was reached from each of its phases, and from no other.
    pub(crate) fn check(&self) {
        println!("how often each row was reached, from each phase:");
        let mut missing = Vec::new();
        for (row, words, from) in ROWS {
            println!("\n  {words}");
            for stage in Stage::ALL {
                let count = self.0.get(&(row, stage)).copied().unwrap_or_default();
                if count > 0 {
                    println!("    {:<16}{count:>10}", format!("{stage:?}"));
                }
                if (count > 0) != from.contains(&stage) {
                    missing.push(format!("{row:?} from {stage:?}: {count} times"));
                }
            }
        }
        let known = self.0.keys().all(|(row, _)| ROWS.iter().any(|(known, ..)| known == row));
        assert!(known, "a row without a place in the table");
        assert!(missing.is_empty(), "not as the table says: {missing:#?}");
    }
}
