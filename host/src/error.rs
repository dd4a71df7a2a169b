use std::fmt;
use std::io;
use std::time::Duration;

use lambda_proto::api::{EndpointError, InvalidSlots, InvalidUserAgent};
use lambda_proto::client::End;
use lambda_proto::machine::{CommandError, ReceiveError};

use crate::LeftBehind;

/// Why a runtime ended, or could not start.
///
/// `Debug` prints the same line as `Display`, so a `main` that returns the error prints a readable
/// line; the process then exits with code 1. The line includes the cause, so
/// [`source`](std::error::Error::source) does not return it: code that prints sources would print
/// it twice.
#[non_exhaustive]
pub enum Error {
    /// An environment variable that Lambda sets is missing.
    MissingVariable {
        /// Its name.
        name: &'static str,
    },
    /// An environment variable has an invalid value.
    InvalidVariable {
        /// Its name.
        name: &'static str,
        /// What is wrong; it shows the value.
        reason: InvalidValue,
    },
    /// The user agent cannot be sent.
    UserAgent(InvalidUserAgent),
    /// The Runtime API was unreachable for longer than the runtime's patience.
    Unreachable {
        /// The address of the Runtime API.
        address: String,
        /// How long the runtime tried.
        waited: Duration,
        /// The error of the last attempt.
        reason: io::Error,
    },
    /// The service does not speak the protocol.
    Protocol(ReceiveError),
    /// The service refused `next`, or demands that the process exit.
    Service(lambda_proto::api::Outcome),
    /// The function could not start. The service has the report, or the log says why not.
    Init {
        /// The reason, as it was reported.
        message: String,
    },
    /// The runtime ended normally, but shutdown hooks failed or did not finish in time. The log has
    /// the details.
    Shutdown {
        /// Each hook that failed, did not finish or could not begin, with the reason.
        message: String,
    },
    /// Work was still running after an answer, and the policy of the runtime treats that as an
    /// error.
    LeftBehind(LeftBehind),
    /// A thread for a slot could not be started.
    Thread(io::Error),
    /// The thread of a slot panicked outside of the handler.
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// A system call of the event loop failed.
    Poll(io::Error),
    /// A request or the head of a reply does not fit its buffer.
    Buffer(Option<CommandError>),
}

impl Error {
    /// The error that a slot ends with; `None` if it ends normally.
    pub fn from_end(end: End) -> Option<Self> {
        Some(match end {
            End::Done => return None,
            End::Protocol(error) => Self::Protocol(error),
            End::Service(outcome) => Self::Service(outcome),
            End::Command(error) => Self::Buffer(Some(error)),
            _ => Self::Buffer(None),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingVariable { name } => write!(
                f,
                "{name} is not set: this program is a Lambda runtime; deploy it to Lambda, or run it \
                 locally with: lambda-lab run PROGRAM"
            ),
            Self::InvalidVariable { name, reason } => write!(f, "{name}: {reason}"),
            Self::UserAgent(reason) => reason.fmt(f),
            Self::Unreachable { address, waited, reason } => write!(
                f,
                "no connection to the Runtime API at {address} for {}, giving up: {reason}",
                Seconds(*waited)
            ),
            Self::Protocol(error) => error.fmt(f),
            Self::Service(outcome) => write!(f, "the Runtime API ends this runtime: {outcome}"),
            Self::Init { message } => write!(f, "the function could not start: {message}"),
            Self::Shutdown { message } => f.write_str(message),
            Self::LeftBehind(left_behind) => left_behind.fmt(f),
            Self::Thread(error) => write!(f, "could not start a thread for a slot: {error}"),
            Self::Panicked { message } => write!(f, "a slot panicked: {message}"),
            Self::Poll(error) => write!(f, "the event loop failed: {error}"),
            Self::Buffer(Some(error)) => error.fmt(f),
            Self::Buffer(None) => {
                f.write_str("a head from the Runtime API does not fit the buffer")
            }
        }
    }
}

/// A duration in seconds and tenths, as log lines show it. It uses no floating point, whose
/// formatting code would grow every program.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} s", self.0.as_secs(), self.0.subsec_millis() / 100)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// What is wrong with the value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidValue {
    /// It is not an address.
    Endpoint(EndpointError),
    /// It is not a number of slots.
    Slots {
        /// The value.
        value: String,
        /// Why it is not a number of slots.
        reason: InvalidSlots,
    },
    /// There is not enough memory for that many slots.
    TooManySlots {
        /// The value.
        slots: usize,
    },
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(reason) => reason.fmt(f),
            Self::Slots { value, reason } => {
                write!(f, "{value:?} is not a valid number of slots: {reason}")
            }
            Self::TooManySlots { slots } => write!(f, "not enough memory for {slots} slots"),
        }
    }
}
