//! The transitions: the only file that decides which phase follows which.
//!
//! The tables in the documentation of [`machine`](super) say the same. They are rendered from the
//! data that the tests compare this code with.

use crate::api::{Action, Call, Outcome};

/// Where a runtime is in its life. The transitions are [here](crate::machine#commands-and-input).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The function starts. Nothing has been asked for, except perhaps a restore.
    Init,
    /// No invocation is in flight: the next one can be asked for, is awaited, or arrives.
    Ready,
    /// An invocation is in flight and must be answered.
    Invoking,
    /// The invocation has been answered; the reply is outstanding.
    Reporting,
    /// The session is over, except for the reply to the report of a failed init or restore.
    ShuttingDown,
}

impl core::fmt::Display for Phase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self, f)
    }
}

/// What follows a lost connection. The table is [here](crate::machine#lost-connections).
///
/// In every case, bytes read from the lost connection are void. Connect immediately after the first
/// loss; while [`losses`](crate::machine::Machine::losses) grows, wait before every further
/// attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Connect when there is something to send.
    Reconnect,
    /// Connect and call `next`.
    AskAgain,
    /// Connect and call `fail`: the event is lost, but its invocation is known.
    FailInvocation,
    /// Connect and send again everything that [`unsent`](crate::machine::Machine::unsent) returns,
    /// from the same buffers. This excludes a pipelined `next`; ask again after the outcome.
    SendAgain,
    /// The invocation is over, and it is unknown whether the service took the answer: warn, then
    /// connect and call `next`. After `restore_next`, continue as after a restore.
    FateUnknown,
    /// The outcome of the reply is known, as if it had arrived whole.
    Answered(Outcome),
    /// End the process.
    Exit,
}

/// A phase with what the machine must remember in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    Init,
    Restoring,
    Restored,
    Idle,
    Polling,
    Receiving,
    Invoking,
    Streaming {
        chunks: Chunks,
    },
    Reporting {
        answer: Answer,
        is_asked: bool,
        attempt: Attempt,
    },
    /// A part of the answer was sent, and its body is gone.
    Withdrawn {
        attempt: Attempt,
    },
    ShuttingDown {
        awaits: Option<Call>,
    },
}

/// The chunks of a stream that were begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    None,
    First,
    Several,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Response,
    Error,
    Stream,
    EmptyStream,
    /// A stream that has ended with an error.
    FailedStream,
}

/// Which attempt to send an answer this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    /// The first attempt was cut off, so the service cannot have taken it.
    AfterPart,
    /// The first attempt was sent whole.
    AfterWhole,
    /// The answer was sent whole, and its body is gone.
    Last,
}

/// Everything that can change the phase, except for a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Next,
    RestoreNext,
    FailInit,
    FailRestore,
    Respond,
    Fail,
    Stream,
    Chunk,
    Finish,
    FinishWithError,
    ShutDown,
    EventHead,
    EventEnd,
    Replied(Outcome),
    /// An invalid reply.
    Violation,
}

/// What is known when a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    pub(super) sent: Written,
    /// Whether bytes of a reply have arrived.
    pub(super) is_reply_begun: bool,
    /// The outcome, if the head of the reply has arrived.
    pub(super) outcome: Option<Outcome>,
    /// Whether the service recognises a duplicate of an answer.
    pub(super) is_told_apart: bool,
}

/// How much of what the last commands encoded has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// There is something to send, and none of it has been sent.
    Nothing,
    /// A part of the answer.
    Part,
    /// The whole answer, but not the whole `next` after it.
    AllButNext,
    All,
}

impl State {
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Init | Self::Restoring | Self::Restored => Phase::Init,
            Self::Idle | Self::Polling | Self::Receiving => Phase::Ready,
            Self::Invoking | Self::Streaming { .. } => Phase::Invoking,
            Self::Reporting { .. } | Self::Withdrawn { .. } => Phase::Reporting,
            Self::ShuttingDown { .. } => Phase::ShuttingDown,
        }
    }

    /// The call whose reply comes next.
    pub(super) fn awaits(self) -> Option<Call> {
        match self {
            Self::Restoring => Some(Call::RestoreNext),
            Self::Polling | Self::Receiving => Some(Call::Next),
            Self::Streaming { .. } => Some(Call::Response),
            Self::Reporting { answer: Answer::Error, .. } => Some(Call::Error),
            Self::Reporting { .. } | Self::Withdrawn { .. } => Some(Call::Response),
            Self::ShuttingDown { awaits } => awaits,
            Self::Init | Self::Restored | Self::Idle | Self::Invoking => None,
        }
    }

    /// Whether the session is over and no reply is outstanding.
    pub(super) fn is_over(self) -> bool {
        self == Self::ShuttingDown { awaits: None }
    }

    pub(super) fn has_invocation(self) -> bool {
        self == Self::Receiving || matches!(self.phase(), Phase::Invoking | Phase::Reporting)
    }

    pub(super) fn is_before_first_chunk(self) -> bool {
        self == Self::Streaming { chunks: Chunks::None }
    }

    pub(super) fn is_streaming(self) -> bool {
        matches!(self, Self::Streaming { .. })
    }

    pub(super) fn is_asked(self) -> bool {
        matches!(self, Self::Polling | Self::Receiving | Self::Reporting { is_asked: true, .. })
    }

    pub(super) fn follows_whole_attempt(self) -> bool {
        let (Self::Reporting { attempt, .. } | Self::Withdrawn { attempt }) = self else {
            return false;
        };
        attempt == Attempt::AfterWhole
    }

    /// The table of commands and input; `None` where there is no transition.
    // Each caller knows its input, which leaves a few comparisons of the table.
    #[inline(always)]
    pub(super) fn after(self, input: Input) -> Option<Self> {
        let gone = Self::ShuttingDown { awaits: None };
        let reporting =
            |answer| Self::Reporting { answer, is_asked: false, attempt: Attempt::First };
        Some(match (self, input) {
            (_, Input::ShutDown) => gone,
            // The event is lost with its connection, but its invocation is known.
            (Self::Receiving, Input::Violation) => Self::Receiving,
            (_, Input::Violation) => gone,
            (_, Input::Replied(outcome)) if outcome.action() == Action::Exit => gone,

            (Self::Init | Self::Restored | Self::Idle, Input::Next) => Self::Polling,
            (Self::Init, Input::RestoreNext) => Self::Restoring,
            (Self::Init, Input::FailInit) => Self::ShuttingDown { awaits: Some(Call::InitError) },
            (Self::Restored, Input::FailRestore) => {
                Self::ShuttingDown { awaits: Some(Call::RestoreError) }
            }
            (Self::Restoring, Input::Replied(outcome)) if outcome.is_accepted() => Self::Restored,
            (Self::Restoring, Input::Replied(_)) => Self::Init,

            (Self::Polling, Input::EventHead) => Self::Receiving,
            (Self::Receiving, Input::EventEnd) => Self::Invoking,
            (Self::Polling, Input::Replied(_)) => Self::Idle,

            (Self::Invoking, Input::Respond) => reporting(Answer::Response),
            (Self::Invoking, Input::Fail) => reporting(Answer::Error),
            (Self::Invoking, Input::Stream) => Self::Streaming { chunks: Chunks::None },
            (Self::Streaming { chunks }, Input::Chunk) => {
                let is_first = chunks == Chunks::None;
                Self::Streaming { chunks: if is_first { Chunks::First } else { Chunks::Several } }
            }
            (Self::Streaming { chunks: Chunks::None }, Input::Finish) => {
                reporting(Answer::EmptyStream)
            }
            (Self::Streaming { .. }, Input::Finish) => reporting(Answer::Stream),
            (Self::Streaming { .. }, Input::FinishWithError) => reporting(Answer::FailedStream),
            (Self::Streaming { .. } | Self::Withdrawn { .. }, Input::Replied(_)) => Self::Idle,

            (Self::Reporting { answer, is_asked: false, attempt }, Input::Next) => {
                Self::Reporting { answer, is_asked: true, attempt }
            }
            (Self::Reporting { is_asked: false, .. }, Input::Replied(_)) => Self::Idle,
            (Self::Reporting { is_asked: true, .. }, Input::Replied(_)) => Self::Polling,
            _ => return None,
        })
    }

    /// The table of withdrawn answers; `None` where nothing changes. `sent` counts only what the
    /// last command encoded, even if that continues a stream.
    pub(super) fn after_withdrawal(self, sent: Written) -> Option<Self> {
        Some(match (self, sent) {
            (Self::Streaming { chunks: Chunks::None }, Written::Nothing) => Self::Invoking,
            (Self::Streaming { chunks: Chunks::First }, Written::Nothing) => {
                Self::Streaming { chunks: Chunks::None }
            }
            (Self::Streaming { chunks: Chunks::Several }, Written::Nothing) => self,
            (Self::Streaming { chunks: Chunks::First | Chunks::Several }, Written::Part) => {
                Self::Withdrawn { attempt: Attempt::First }
            }
            // The end of a stream has no body, and a part of it cannot be taken back.
            (Self::Reporting { answer: Answer::EmptyStream, .. }, Written::Nothing) => {
                Self::Streaming { chunks: Chunks::None }
            }
            (Self::Reporting { answer: Answer::Stream, .. }, Written::Nothing) => {
                Self::Streaming { chunks: Chunks::Several }
            }
            (Self::Reporting { answer: Answer::Response, is_asked, attempt }, _) => {
                match (sent, attempt) {
                    // The service cannot have taken a half of a response either.
                    (Written::Nothing, Attempt::First | Attempt::AfterPart) => Self::Invoking,
                    (Written::Nothing | Written::Part, _) => Self::Withdrawn { attempt },
                    (Written::AllButNext | Written::All, Attempt::First) => Self::Reporting {
                        answer: Answer::Response,
                        is_asked,
                        attempt: Attempt::Last,
                    },
                    (Written::AllButNext | Written::All, _) => return None,
                }
            }
            _ => return None,
        })
    }

    /// The table of lost connections.
    pub(super) fn after_loss(self, loss: Loss) -> (Self, Recovery) {
        if let Some(outcome) = loss.outcome
            && let Some(state) = self.after(Input::Replied(outcome))
        {
            // The connection that would have brought an event after this reply is gone too.
            let state = if state == Self::Polling { Self::Idle } else { state };
            return (state, Recovery::Answered(outcome));
        }
        let is_unsent = loss.sent == Written::Nothing;
        match self {
            Self::Init | Self::Restored | Self::Idle | Self::Invoking => {
                (self, Recovery::Reconnect)
            }
            Self::Restoring
            | Self::Streaming { chunks: Chunks::None }
            | Self::ShuttingDown { awaits: Some(_) }
                if is_unsent =>
            {
                (self, Recovery::SendAgain)
            }
            Self::Restoring => (Self::Restored, Recovery::FateUnknown),
            Self::Polling => (Self::Idle, Recovery::AskAgain),
            Self::Receiving => (Self::Invoking, Recovery::FailInvocation),
            Self::Streaming { .. }
            | Self::Withdrawn { .. }
            | Self::Reporting {
                answer: Answer::Stream | Answer::EmptyStream | Answer::FailedStream,
                ..
            } => (Self::Idle, Recovery::FateUnknown),
            Self::Reporting { answer, attempt, .. } if is_unsent => {
                (Self::Reporting { answer, is_asked: false, attempt }, Recovery::SendAgain)
            }
            Self::Reporting { answer, is_asked, attempt: Attempt::First }
                if loss.is_told_apart
                    && !loss.is_reply_begun
                    && !(is_asked && loss.sent == Written::All) =>
            {
                let attempt = if loss.sent == Written::Part {
                    Attempt::AfterPart
                } else {
                    Attempt::AfterWhole
                };
                (Self::Reporting { answer, is_asked: false, attempt }, Recovery::SendAgain)
            }
            Self::Reporting { .. } => (Self::Idle, Recovery::FateUnknown),
            Self::ShuttingDown { .. } => (Self::ShuttingDown { awaits: None }, Recovery::Exit),
        }
    }
}
