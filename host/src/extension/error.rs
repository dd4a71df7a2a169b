use std::time::Duration;
use std::{fmt, io};

use crate::Failure;
use lambda_proto_extension::{CommandError, InvalidExtensionName, ReceiveError, Remedy};

/// Why an extension ended, or could not start.
///
/// `Debug` prints the same line as `Display`, so a `main` that returns the error prints a readable
/// line; the process then exits with code 1.
#[non_exhaustive]
pub enum Error {
    /// A variable that Lambda sets is missing or invalid.
    Environment(crate::Error),
    /// The name cannot be sent.
    Name(InvalidExtensionName),
    /// The registration failed or was not answered in time.
    Registration {
        /// The address of the Extensions API.
        address: String,
        /// What happened.
        reason: io::Error,
    },
    /// The service refused a request.
    Refused {
        /// What to do about it.
        remedy: Remedy,
        /// The request, the reply, and its reason.
        reason: String,
    },
    /// The service was unreachable for longer than the extension's patience.
    Unreachable {
        /// The address of the Extensions API.
        address: String,
        /// How long the extension tried.
        waited: Duration,
        /// The error of the last attempt.
        reason: io::Error,
    },
    /// The service does not speak the protocol.
    Protocol(ReceiveError),
    /// A request could not be made.
    Command(CommandError),
    /// The handler or the start of the extension failed. It was reported, or the log says why not.
    Failed(Failure),
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Environment(error)
    }
}

impl From<ReceiveError> for Error {
    fn from(error: ReceiveError) -> Self {
        Self::Protocol(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(crate::Error::MissingVariable { name }) => write!(
                f,
                "{name} is not set: this program is a Lambda extension, which Lambda starts from \
                 /opt/extensions"
            ),
            Self::Environment(error) => error.fmt(f),
            Self::Name(error) => error.fmt(f),
            Self::Registration { address, reason } => {
                write!(f, "the extension could not register at {address}: {reason}")
            }
            Self::Refused { reason, .. } => f.write_str(reason),
            Self::Unreachable { address, waited, reason } => write!(
                f,
                "no connection to the Extensions API at {address} for {} s, giving up: {reason}",
                waited.as_secs()
            ),
            Self::Protocol(error) => error.fmt(f),
            Self::Command(error) => error.fmt(f),
            Self::Failed(failure) => write!(f, "the extension failed: {failure}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Display` includes the cause, so `source` does not return it.
impl std::error::Error for Error {}
