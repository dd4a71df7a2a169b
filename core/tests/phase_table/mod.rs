//! The phase table: every stage of the machine and every transition between them, as data.
//!
//! `core/src/machine/phase.md` is rendered from it, the tests of the machine compare the code with
//! it, and the reference model looks up its transitions in it. The code has no access to it.

// Each test binary uses a part of this.
#![allow(dead_code)]

pub(crate) mod reached;
pub(crate) mod render;
pub(crate) mod stage;

use lambda_proto::machine::Recovery;

pub(crate) use reached::Reached;
pub(crate) use stage::Stage;

use crate::support::Command::{
    self, Chunk, EmptyChunk, Fail, FailInit, FailRestore, Finish, FinishWithError, Next, Respond,
    RestoreNext, Stream,
};
use Input::{
    AnyOtherCommand, BrokenEvent, Do, EventEnd, EventHead, Lost, Replied, ShutDown, TimedOut,
    Unasked, Violation, Withdraw,
};
use Stage::{
    Asked, Init, Invoking, Ready, Receiving, Reporting, ReportingAsked, ReportingFailure, Restored,
    Restoring, ShuttingDown, Streaming, Withdrawn,
};
use Target::{AfterReply, Refused, Same, SameOnce, SameReconnecting, To};

/// A transition, or several that lead to the same stage for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) from: &'static [Stage],
    pub(crate) inputs: &'static [Input],
    /// The inputs in the words of the documentation.
    words: &'static str,
    target: Target,
    /// For a lost connection only.
    pub(crate) recovery: Option<RecoveryKind>,
}

/// Everything that can change the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Do(Command),
    AnyOtherCommand,
    /// The body of this is gone.
    Withdraw(Progress),
    ShutDown,
    EventHead,
    EventEnd,
    /// The framing of an event is broken.
    BrokenEvent,
    Replied(Reply),
    /// A reply of 408 to an answer.
    TimedOut,
    /// Bytes that are not a valid reply.
    Violation,
    /// Bytes that answer no request.
    Unasked,
    Lost(Loss),
}

/// How far an answer had come when its body was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Progress {
    /// No byte of the response or of the head of a stream, and the service cannot have taken an
    /// earlier copy.
    Unsent,
    UnsentChunk,
    UnsentEnd,
    /// A part of the response or of the chunk; or nothing, after a whole first copy.
    Part,
    /// The whole response.
    Whole,
    /// There is no body, or it is not needed.
    Other,
}

/// What a whole reply other than an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Accepted,
    Refused,
    Exit,
}

/// What is known when a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Loss {
    /// Nothing is outstanding.
    Idle,
    /// No byte of the request was sent. A chunk is the continuation of a request.
    Unsent,
    /// An answer was sent that may be sent once more.
    Repeatable,
    /// A request was sent, or a part of it.
    Sent,
    /// The status of the reply has arrived, its end has not.
    Known(Reply),
}

/// A [`Recovery`] without its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RecoveryKind {
    Reconnect,
    AskAgain,
    FailInvocation,
    SendAgain,
    FateUnknown,
    Answered,
    Exit,
}

impl RecoveryKind {
    pub(crate) fn of(recovery: Recovery) -> Self {
        match recovery {
            Recovery::Reconnect => Self::Reconnect,
            Recovery::AskAgain => Self::AskAgain,
            Recovery::FailInvocation => Self::FailInvocation,
            Recovery::SendAgain => Self::SendAgain,
            Recovery::FateUnknown => Self::FateUnknown,
            Recovery::Answered(_) => Self::Answered,
            Recovery::Exit => Self::Exit,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    To(Stage),
    Same,
    /// The same stage, and the connection can carry no further request.
    SameReconnecting,
    /// The same stage, and the answer is not sent again.
    SameOnce,
    /// Where the reply would have led, without a pipelined `next`.
    AfterReply,
    Refused,
}

/// The row of an input, and the stage that it leads to; `None` if there is no transition.
pub(crate) fn follow(from: Stage, input: Input) -> Option<(&'static Row, Stage)> {
    let applies = |row: &&Row| row.from.contains(&from) && row.inputs.contains(&input);
    let row = COMMANDS.iter().chain(LOSSES).find(applies)?;
    let to = match (row.target, input) {
        (To(stage), _) => stage,
        (AfterReply, Lost(Loss::Known(reply))) => {
            let (_, to) = follow(from, Replied(reply))?;
            if to == Asked { Ready } else { to }
        }
        _ => from,
    };
    Some((row, to))
}

/// The same for a command, which has a row even if it is refused.
pub(crate) fn follow_command(from: Stage, command: Command) -> (&'static Row, Stage) {
    follow(from, Do(command))
        .or_else(|| follow(from, AnyOtherCommand))
        .expect("any other command has a row in every stage")
}

impl Row {
    pub(crate) fn is_refused(&self) -> bool {
        self.target == Refused
    }

    pub(crate) fn must_reconnect(&self) -> bool {
        self.target == SameReconnecting
    }
}

/// The stages in which a reply is outstanding and its head has not arrived.
const AWAITING_REPLY: &[Stage] =
    &[Restoring, Asked, Streaming, Reporting, ReportingAsked, Withdrawn, ReportingFailure];

/// The stages in which bytes may be unsolicited: all but those in which every byte is expected or
/// ignored.
const OPEN: &[Stage] = &[
    Init,
    Restoring,
    Restored,
    Ready,
    Asked,
    Invoking,
    Streaming,
    Reporting,
    ReportingAsked,
    ReportingFailure,
];

const WITHOUT_EXIT: &[Input] = &[Replied(Reply::Accepted), Replied(Reply::Refused)];

/// Commands and input.
pub(crate) static COMMANDS: &[Row] = &[
    row(&[Init, Restored], &[Do(Next)], "`next`", To(Asked)),
    row(&[Init], &[Do(RestoreNext)], "`restore_next`", To(Restoring)),
    row(&[Restoring], &[Replied(Reply::Accepted)], "reply of 2xx", To(Restored)),
    row(&[Restoring], &[Replied(Reply::Refused)], "any other reply", To(Init)),
    row(&[Init], &[Do(FailInit)], "`fail_init`", To(ReportingFailure)),
    row(&[Restored], &[Do(FailRestore)], "`fail_restore`", To(ReportingFailure)),
    row(&[Ready], &[Do(Next)], "`next`", To(Asked)),
    row(&[Asked], &[EventHead], "head of an event", To(Receiving)),
    row(&[Asked], WITHOUT_EXIT, "reply without an event", To(Ready)),
    row(&[Receiving], &[EventEnd], "end of the event", To(Invoking)),
    row(&[Receiving], &[BrokenEvent], "broken framing of the event", SameReconnecting),
    row(&[Invoking], &[Do(Respond), Do(Fail)], "`respond`, `fail`", To(Reporting)),
    row(&[Invoking], &[Do(Stream)], "`stream`", To(Streaming)),
    row(&[Streaming], &[Do(Chunk), Do(EmptyChunk)], "`chunk`", To(Streaming)),
    row(
        &[Streaming],
        &[Do(Finish), Do(FinishWithError)],
        "`finish`, `finish_with_error`",
        To(Reporting),
    ),
    row(&[Streaming], WITHOUT_EXIT, "reply before the end of the response", To(Ready)),
    row(&[Reporting], WITHOUT_EXIT, "reply", To(Ready)),
    row(&[Reporting], &[Do(Next)], "`next`", To(ReportingAsked)),
    row(&[ReportingAsked], WITHOUT_EXIT, "reply", To(Asked)),
    row(&[Reporting, ReportingAsked, Withdrawn], &[TimedOut], "reply of 408", SameReconnecting),
    row(&[Withdrawn], WITHOUT_EXIT, "reply that had begun", To(Ready)),
    row(
        &[Streaming, Reporting, ReportingAsked],
        &[Withdraw(Progress::Unsent)],
        "`withdraw`, no byte of the response or of the head of the stream sent, and no whole first \
         copy",
        To(Invoking),
    ),
    row(
        &[Streaming],
        &[Withdraw(Progress::UnsentChunk)],
        "`withdraw`, no byte of the chunk sent",
        To(Streaming),
    ),
    row(
        &[Reporting, ReportingAsked],
        &[Withdraw(Progress::UnsentEnd)],
        "`withdraw`, no byte of the end of the stream sent",
        To(Streaming),
    ),
    row(
        &[Streaming, Reporting, ReportingAsked],
        &[Withdraw(Progress::Part)],
        "`withdraw`, a part of the response or of the chunk sent, or a whole first copy of the \
         response and no whole second one",
        To(Withdrawn),
    ),
    row(
        &[Reporting, ReportingAsked],
        &[Withdraw(Progress::Whole)],
        "`withdraw`, a whole response sent on this connection",
        SameOnce,
    ),
    row(&Stage::ALL, &[Withdraw(Progress::Other)], "`withdraw` of anything else", Same),
    row(
        AWAITING_REPLY,
        &[Replied(Reply::Exit)],
        "reply that says [`Action::Exit`](crate::api::Action::Exit), as every reply to `fail_init` and `fail_restore` does",
        To(ShuttingDown),
    ),
    row(AWAITING_REPLY, &[Violation], "bytes that are not a valid reply", To(ShuttingDown)),
    row(OPEN, &[Unasked], "bytes that answer no request", SameReconnecting),
    row(&Stage::ALL, &[ShutDown], "`shut_down`", To(ShuttingDown)),
    row(&Stage::ALL, &[AnyOtherCommand], "any other command", Refused),
];

/// Lost connections.
pub(crate) static LOSSES: &[Row] = &[
    loss(
        &[Init, Restored, Ready, Invoking],
        &[Lost(Loss::Idle)],
        "nothing outstanding",
        RecoveryKind::Reconnect,
        Same,
    ),
    loss(
        &[Asked],
        &[Lost(Loss::Unsent), Lost(Loss::Sent)],
        "no event begun",
        RecoveryKind::AskAgain,
        To(Ready),
    ),
    loss(
        &[Receiving],
        &[Lost(Loss::Sent)],
        "in the middle of an event",
        RecoveryKind::FailInvocation,
        To(Invoking),
    ),
    loss(
        &[Restoring, Streaming, ReportingFailure],
        &[Lost(Loss::Unsent)],
        "no byte of the request sent",
        RecoveryKind::SendAgain,
        Same,
    ),
    loss(
        &[Reporting, ReportingAsked],
        &[Lost(Loss::Unsent)],
        "no byte of the response or error sent",
        RecoveryKind::SendAgain,
        To(Reporting),
    ),
    loss(
        &[Reporting, ReportingAsked],
        &[Lost(Loss::Repeatable)],
        "buffered response or error sent for the first time, no byte of the reply received, and \
         the service recognises duplicates",
        RecoveryKind::SendAgain,
        To(Reporting),
    ),
    loss(
        &[Streaming, Reporting, ReportingAsked, Withdrawn],
        &[Lost(Loss::Sent)],
        "any other answer, or a part of it, sent",
        RecoveryKind::FateUnknown,
        To(Ready),
    ),
    loss(
        &[Restoring],
        &[Lost(Loss::Sent)],
        "`restore_next`, or a part of it, sent",
        RecoveryKind::FateUnknown,
        To(Restored),
    ),
    loss(
        &[ReportingFailure],
        &[Lost(Loss::Sent)],
        "the report, or a part of it, sent",
        RecoveryKind::Exit,
        To(ShuttingDown),
    ),
    loss(&[ShuttingDown], &[Lost(Loss::Idle)], "nothing outstanding", RecoveryKind::Exit, Same),
    loss(
        AWAITING_REPLY,
        &[
            Lost(Loss::Known(Reply::Accepted)),
            Lost(Loss::Known(Reply::Refused)),
            Lost(Loss::Known(Reply::Exit)),
        ],
        "status of the reply received, its rest missing",
        RecoveryKind::Answered,
        AfterReply,
    ),
];

const fn row(
    from: &'static [Stage],
    inputs: &'static [Input],
    words: &'static str,
    target: Target,
) -> Row {
    Row { from, inputs, words, target, recovery: None }
}

const fn loss(
    from: &'static [Stage],
    inputs: &'static [Input],
    words: &'static str,
    recovery: RecoveryKind,
    target: Target,
) -> Row {
    Row { from, inputs, words, target, recovery: Some(recovery) }
}
