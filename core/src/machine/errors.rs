use core::fmt;

use super::Phase;
use crate::http::{BodyError, BufferTooSmall, HeadError, ReplyError};
use crate::limits::{MAX_ID, MAX_INTERIM_REPLIES};

/// Why a command was refused: the caller's fault. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// The command is not allowed in this phase.
    WrongPhase(Phase),
    /// Bytes of the previous command have not been [sent](crate::machine::Machine::sent).
    Unsent {
        /// The number of bytes.
        length: usize,
    },
    /// This connection [takes no further request](crate::machine::Machine::must_reconnect).
    MustReconnect,
    /// The buffer is too small.
    BufferTooSmall(BufferTooSmall),
}

impl From<BufferTooSmall> for CommandError {
    fn from(error: BufferTooSmall) -> Self {
        Self::BufferTooSmall(error)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPhase(phase) => write!(f, "command not allowed in phase {phase}"),
            Self::Unsent { length } => {
                write!(f, "{length} bytes of the previous command have not been sent")
            }
            Self::MustReconnect => f.write_str("this connection takes no further request"),
            Self::BufferTooSmall(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CommandError {}

/// Why the received bytes cannot be used: the service's fault.
///
/// [`Machine::receive`](crate::machine::Machine::receive) says what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The head of a reply is not HTTP/1.1, or exceeds a limit.
    Head(HeadError),
    /// The framing of a body is not HTTP/1.1, or exceeds a limit.
    Body(BodyError),
    /// Bytes arrived that answer no request, such as a 408 on an idle connection.
    Unsolicited,
    /// An event has no request id of 1 to [`MAX_ID`] bytes of UTF-8, so it could not be answered.
    UnusableRequestId,
    /// The service switched to another protocol without being asked.
    SwitchedProtocols,
    /// More than [`MAX_INTERIM_REPLIES`] interim replies came before a reply.
    TooManyInterimReplies,
}

impl From<ReplyError> for ReceiveError {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::Head(error) => Self::Head(error),
            ReplyError::Body(error) => Self::Body(error),
            ReplyError::SwitchedProtocols => Self::SwitchedProtocols,
            ReplyError::TooManyInterimReplies => Self::TooManyInterimReplies,
        }
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Runtime API violated the protocol: ")?;
        match self {
            Self::Head(error) => error.fmt(f),
            Self::Body(error) => error.fmt(f),
            Self::Unsolicited => f.write_str("received bytes that answer no request"),
            Self::UnusableRequestId => {
                write!(f, "an event without a request id of 1 to {MAX_ID} bytes of UTF-8")
            }
            Self::SwitchedProtocols => f.write_str("switched protocols without being asked"),
            Self::TooManyInterimReplies => {
                write!(f, "more than {MAX_INTERIM_REPLIES} interim replies before a reply")
            }
        }
    }
}

impl core::error::Error for ReceiveError {}
