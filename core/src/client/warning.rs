//! Warnings: problems that do not end the session.

use core::fmt::{self, Write};

use crate::api::{Outcome, ServiceError};
use crate::machine::ReceiveError;

/// A problem that does not end the session. `Display` writes one line about it.
#[derive(Clone, Copy, Debug)]
pub struct Warning<'a> {
    /// The request id of the invocation; empty if the problem concerns none.
    pub request_id: &'a str,
    /// What happened.
    pub kind: WarningKind<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum WarningKind<'a> {
    /// The service refused a call.
    Refused {
        /// The outcome of its reply.
        outcome: Outcome,
        /// The start of its error document, at most 512 bytes.
        detail: &'a [u8],
    },
    /// The received bytes are not a valid reply; they are ignored with their connection.
    InvalidReply(ReceiveError),
    /// The connection was lost before the reply; the answer is sent again.
    SentAgain,
    /// The connection was lost and the answer cannot be sent again: it is unknown whether it
    /// arrived.
    FateUnknown,
    /// The session ended before the answer was sent.
    Unsent,
    /// The connection was lost in the middle of the event; an error is reported for its invocation.
    EventLost,
    /// The event exceeded the limit for events or the memory for them; an error is reported for its
    /// invocation.
    EventTooLarge,
    /// The handler gave no answer; an error is reported for its invocation.
    Unanswered,
    /// The handler failed; the error is reported to the service.
    Failed {
        /// The type of the error.
        error_type: &'a str,
        /// Its message.
        message: &'a str,
        /// Its stack trace, one frame per line; empty if there is none. Not part of `Display`.
        stack_trace: &'a str,
    },
    /// The handler failed after it had answered; the caller of the function is not affected.
    FailedAfterAnswer {
        /// The type of the error.
        error_type: &'a str,
        /// Its message.
        message: &'a str,
        /// Its stack trace, one frame per line; empty if there is none. Not part of `Display`.
        stack_trace: &'a str,
    },
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.request_id.is_empty() {
            write!(f, "invocation {}: ", OneLine(self.request_id.chars()))?;
        }
        match self.kind {
            WarningKind::Refused { outcome, detail } => {
                outcome.fmt(f)?;
                // An intermediary may write documents with other fields.
                let error = ServiceError::parse(detail).unwrap_or_default();
                if !error.error_type.is_empty() || !error.error_message.is_empty() {
                    return write!(
                        f,
                        " ({}: {})",
                        OneLine(error.error_type.chars()),
                        OneLine(error.error_message.chars())
                    );
                }
                match detail.trim_ascii() {
                    [] => Ok(()),
                    detail => write!(f, " ({})", detail.escape_ascii()),
                }
            }
            WarningKind::InvalidReply(error) => error.fmt(f),
            WarningKind::SentAgain => {
                f.write_str("connection lost before the reply; sending the answer again")
            }
            WarningKind::FateUnknown => f.write_str(
                "connection lost before the reply; whether the answer arrived is unknown",
            ),
            WarningKind::Unsent => f.write_str("the answer was not sent: the session is over"),
            WarningKind::EventLost => f.write_str("connection lost in the middle of the event"),
            WarningKind::EventTooLarge => f.write_str("the event does not fit the buffer"),
            WarningKind::Unanswered => f.write_str("the handler gave no answer"),
            WarningKind::Failed { error_type, message, .. } => {
                write!(f, "failed: {}: {}", OneLine(error_type.chars()), OneLine(message.chars()))
            }
            WarningKind::FailedAfterAnswer { error_type, message, .. } => write!(
                f,
                "failed after it was answered: {}: {}",
                OneLine(error_type.chars()),
                OneLine(message.chars())
            ),
        }
    }
}

/// Untrusted text, made fit for a log: no line breaks, and a limited length.
struct OneLine<I>(I);

impl<I: Iterator<Item = char> + Clone> fmt::Display for OneLine<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 1000;
        let mut characters = self.0.clone();
        for character in characters.by_ref().take(MOST) {
            f.write_char(if character.is_control() { ' ' } else { character })?;
        }
        if characters.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}
