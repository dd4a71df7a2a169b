//! The transitions: the only file that decides which phase follows which.

use crate::api::{Call, Reply, Then};

/// Where a runtime is in its life.
///
/// | phase | command or input | next phase |
/// |---|---|---|
/// | Init | `next` | Ready |
/// | Init | `restore_next`, then its reply | Init |
/// | Init | `fail_init`; after a restore `fail_restore` | ShuttingDown |
/// | Ready, nothing asked | `next` | Ready |
/// | Ready, asked | invocation head and body | Ready |
/// | Ready, asked | end of the event | Invoking |
/// | Ready, asked | any other reply to `next` | Ready, nothing asked |
/// | Invoking | `respond`, `fail` | Reporting |
/// | Invoking | `stream`, `chunk` | Invoking |
/// | Invoking, streaming | `finish`, `finish_with_error` | Reporting |
/// | Invoking, streaming | early reply | Ready, nothing asked |
/// | Reporting | reply | Ready, nothing asked |
/// | Reporting | `next` | Reporting, asked |
/// | Reporting, asked | reply | Ready, asked |
/// | ShuttingDown | reply to `fail_init` or `fail_restore` | ShuttingDown |
/// | any | `shut_down`, a reply that says [`Then::Exit`], a [`ReceiveError`](crate::ReceiveError) | ShuttingDown |
/// | any | any other command | [`CommandError::WrongPhase`](crate::CommandError::WrongPhase), nothing changes |
///
/// What a lost connection does is at [`Recovery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The function starts. Nothing has been asked for, except perhaps a restore.
    Init,
    /// No invocation is in hand: the next one can be asked for, or is awaited, or arrives.
    Ready,
    /// An invocation is in hand and must be answered.
    Invoking,
    /// It has been answered; the reply is outstanding.
    Reporting,
    /// The conversation is over, but for the reply to a report of a failed start.
    ShuttingDown,
}

impl core::fmt::Display for Phase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self, f)
    }
}

/// What follows a lost connection; [`Machine::on_disconnect`](crate::Machine::on_disconnect) says
/// which.
///
/// | when the connection ends | recovery | phase |
/// |---|---|---|
/// | nothing outstanding | `Reconnect` | as it was |
/// | `next` outstanding, no event begun | `AskAgain` | Ready |
/// | in the middle of an event | `FailInvocation` | Invoking |
/// | no byte of a buffered answer or error sent | `SendAgain` | Invoking |
/// | a buffered answer or error sent, no byte of its reply, and the service can tell a second copy | `SendAgain`, once | Invoking |
/// | the status of the reply known, its rest missing | `Answered` | Ready or ShuttingDown |
/// | any other answer, or a part of a stream, sent | `FateUnknown` | Ready |
/// | `restore_next` outstanding | `FateUnknown` | Init |
/// | shutting down | `Exit` | ShuttingDown |
///
/// The service can tell a second copy if it runs one invocation at a time, or gave the attempt an id
/// of its own. An answer behind which `next` was sent whole is not sent again: its host has let go
/// of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// Connect when there is something to send.
    Reconnect,
    /// Connect and call `next`.
    AskAgain,
    /// Connect and call `fail`: the event cannot be had any more, but its invocation is known.
    FailInvocation,
    /// Connect and give the same command again, with the same body. A reply of 400 or 403 then means
    /// that the first copy was taken.
    SendAgain,
    /// The invocation is over, and nobody can tell whether the service took the answer: say so, then
    /// connect and call `next`. After `restore_next`, go on as after a restore.
    FateUnknown,
    /// The reply is known, as if it had arrived whole.
    Answered(Reply),
    /// End the process.
    Exit,
}

/// A phase with what the machine must remember in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Init,
    Restoring,
    Restored,
    Idle,
    Polling,
    Receiving,
    Invoking { is_second_copy: bool },
    Streaming { is_before_first_chunk: bool },
    Reporting { answer: Answer, is_asked: bool, is_second_copy: bool },
    ShuttingDown { awaits: Option<Call> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Response,
    Error,
    Stream,
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
    EventHead,
    EventEnd,
    Replied(Reply),
}

/// What is known when a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    /// No byte of the request has been sent.
    pub(super) is_unsent: bool,
    /// Not all of it has been sent, so the host still has its body.
    pub(super) is_host_holding_body: bool,
    /// Some bytes of a head have arrived.
    pub(super) is_reply_begun: bool,
    /// The head of the reply has arrived.
    pub(super) reply: Option<Reply>,
    /// The service can tell a second copy of an answer.
    pub(super) is_told_apart: bool,
}

impl State {
    pub(super) const GONE: Self = Self::ShuttingDown { awaits: None };

    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Init | Self::Restoring | Self::Restored => Phase::Init,
            Self::Idle | Self::Polling | Self::Receiving => Phase::Ready,
            Self::Invoking { .. } | Self::Streaming { .. } => Phase::Invoking,
            Self::Reporting { .. } => Phase::Reporting,
            Self::ShuttingDown { .. } => Phase::ShuttingDown,
        }
    }

    /// The call whose answer comes next.
    pub(super) fn awaits(self) -> Option<Call> {
        match self {
            Self::Restoring => Some(Call::RestoreNext),
            Self::Polling | Self::Receiving => Some(Call::Next),
            Self::Streaming { .. } => Some(Call::Response),
            Self::Reporting { answer: Answer::Error, .. } => Some(Call::Error),
            Self::Reporting { .. } => Some(Call::Response),
            Self::ShuttingDown { awaits } => awaits,
            Self::Init | Self::Restored | Self::Idle | Self::Invoking { .. } => None,
        }
    }

    pub(super) fn has_invocation(self) -> bool {
        self == Self::Receiving || matches!(self.phase(), Phase::Invoking | Phase::Reporting)
    }

    pub(super) fn is_before_first_chunk(self) -> bool {
        self == Self::Streaming { is_before_first_chunk: true }
    }

    pub(super) fn is_streaming(self) -> bool {
        matches!(self, Self::Streaming { .. })
    }

    pub(super) fn is_asked(self) -> bool {
        matches!(self, Self::Polling | Self::Receiving | Self::Reporting { is_asked: true, .. })
    }

    pub(super) fn is_second_copy(self) -> bool {
        matches!(self, Self::Reporting { is_second_copy: true, .. })
    }

    /// The transition table; `None` where there is no transition.
    pub(super) fn after(self, input: Input) -> Option<Self> {
        Some(match (self, input) {
            (_, Input::Replied(reply)) if reply.then() == Then::Exit => Self::GONE,

            (Self::Init | Self::Restored | Self::Idle, Input::Next) => Self::Polling,
            (Self::Init, Input::RestoreNext) => Self::Restoring,
            (Self::Init, Input::FailInit) => Self::ShuttingDown { awaits: Some(Call::InitError) },
            (Self::Restored, Input::FailRestore) => {
                Self::ShuttingDown { awaits: Some(Call::RestoreError) }
            }
            (Self::Restoring, Input::Replied(reply)) => {
                if reply.is_accepted() {
                    Self::Restored
                } else {
                    Self::Init
                }
            }

            (Self::Polling, Input::EventHead) => Self::Receiving,
            (Self::Receiving, Input::EventEnd) => Self::Invoking { is_second_copy: false },
            (Self::Polling, Input::Replied(_)) => Self::Idle,

            (Self::Invoking { is_second_copy }, Input::Respond) => {
                Self::Reporting { answer: Answer::Response, is_asked: false, is_second_copy }
            }
            (Self::Invoking { is_second_copy }, Input::Fail) => {
                Self::Reporting { answer: Answer::Error, is_asked: false, is_second_copy }
            }
            (Self::Invoking { .. }, Input::Stream) => {
                Self::Streaming { is_before_first_chunk: true }
            }
            (Self::Streaming { .. }, Input::Chunk) => {
                Self::Streaming { is_before_first_chunk: false }
            }
            (Self::Streaming { .. }, Input::Finish) => {
                Self::Reporting { answer: Answer::Stream, is_asked: false, is_second_copy: false }
            }
            (Self::Streaming { .. }, Input::Replied(_)) => Self::Idle,

            (Self::Reporting { answer, is_asked: false, is_second_copy }, Input::Next) => {
                Self::Reporting { answer, is_asked: true, is_second_copy }
            }
            (Self::Reporting { is_asked: false, .. }, Input::Replied(_)) => Self::Idle,
            (Self::Reporting { is_asked: true, .. }, Input::Replied(_)) => Self::Polling,
            _ => return None,
        })
    }

    /// The table of lost connections.
    pub(super) fn after_loss(self, loss: Loss) -> (Self, Recovery) {
        if let (Some(reply), Some(state)) =
            (loss.reply, loss.reply.and_then(|reply| self.after(Input::Replied(reply))))
        {
            // The connection that would have brought an event behind this reply is gone too.
            let state = if state == Self::Polling { Self::Idle } else { state };
            return (state, Recovery::Answered(reply));
        }
        match self {
            Self::Init | Self::Restored | Self::Idle | Self::Invoking { .. } => {
                (self, Recovery::Reconnect)
            }
            Self::Restoring if loss.is_unsent => (Self::Init, Recovery::SendAgain),
            Self::Restoring => (Self::Restored, Recovery::FateUnknown),
            Self::Polling => (Self::Idle, Recovery::AskAgain),
            Self::Receiving => (Self::Invoking { is_second_copy: false }, Recovery::FailInvocation),
            Self::Streaming { .. } | Self::Reporting { answer: Answer::Stream, .. } => {
                (Self::Idle, Recovery::FateUnknown)
            }
            Self::Reporting { is_second_copy, .. } if loss.is_unsent => {
                (Self::Invoking { is_second_copy }, Recovery::SendAgain)
            }
            Self::Reporting { is_asked, is_second_copy: false, .. }
                if loss.is_told_apart
                    && !loss.is_reply_begun
                    && (!is_asked || loss.is_host_holding_body) =>
            {
                (Self::Invoking { is_second_copy: true }, Recovery::SendAgain)
            }
            Self::Reporting { .. } => (Self::Idle, Recovery::FateUnknown),
            Self::ShuttingDown { .. } => (Self::GONE, Recovery::Exit),
        }
    }
}
