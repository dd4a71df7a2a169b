use core::fmt;

use lambda_proto::http::{BufferTooSmall, ReplyError};

use super::Phase;
use crate::limits::MAX_EXTENSION_ID;

/// Why a command was refused: the caller's fault. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// The command is not allowed in this phase.
    WrongPhase(Phase),
    /// This connection [takes no further request](super::Extension::must_reconnect).
    MustReconnect,
    /// Managed Instances do not take this subscription: only the Telemetry API, in the schema
    /// 2025-01-29 [Lambda Developer Guide: Telemetry API schema].
    NotOnManagedInstances,
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
            Self::WrongPhase(phase) => {
                write!(f, "command not allowed in phase {phase} of an extension")
            }
            Self::MustReconnect => f.write_str("this connection takes no further request"),
            Self::NotOnManagedInstances => f.write_str(
                "Managed Instances only take a subscription to the Telemetry API in the schema \
                 2025-01-29",
            ),
            Self::BufferTooSmall(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CommandError {}

/// Why received bytes cannot be used: the service's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The bytes are not a reply.
    Reply(ReplyError),
    /// Bytes arrived without a request.
    Unsolicited,
    /// The registration has no identifier of 1 to [`MAX_EXTENSION_ID`] visible ASCII characters, so
    /// the extension could not ask for anything.
    UnusableIdentifier,
}

impl From<ReplyError> for ReceiveError {
    fn from(error: ReplyError) -> Self {
        Self::Reply(error)
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Extensions API violated the protocol: ")?;
        match self {
            Self::Reply(error) => error.fmt(f),
            Self::Unsolicited => f.write_str("received bytes that answer no request"),
            Self::UnusableIdentifier => write!(
                f,
                "a registration without an identifier of 1 to {MAX_EXTENSION_ID} visible characters"
            ),
        }
    }
}

impl core::error::Error for ReceiveError {}
