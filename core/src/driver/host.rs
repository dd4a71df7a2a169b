use core::fmt::{self, Write};

use crate::api::ServiceError;
use crate::{Outcome, ReceiveError};

/// A connection to the Runtime API.
///
/// Implement it for a stream, empty where [`embedded_io::Write`] is all that the stream can do.
pub trait Link: embedded_io::Read + embedded_io::Write {
    /// Writes some of the three parts, in order, and returns how many bytes of them altogether.
    ///
    /// Override it with a vectored write where there is one: head, body and a pipelined `next` then
    /// go out together without being copied. Parts may be empty, but not all three.
    ///
    /// # Errors
    ///
    /// The stream's own.
    fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, Self::Error> {
        match parts.into_iter().find(|part| !part.is_empty()) {
            Some(part) => self.write(part),
            None => Ok(0),
        }
    }
}

/// Memory for what arrives or is sent.
pub trait Storage {
    /// All of it.
    fn bytes(&self) -> &[u8];

    /// All of it, to be written to.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Makes it `length` bytes long, or as long as it may become; what it holds stays.
    ///
    /// Never asked for more than twice what has arrived, so that an announced length costs nothing.
    fn grow(&mut self, length: usize);
}

/// A slice does not grow.
impl Storage for &mut [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn grow(&mut self, _length: usize) {}
}

/// What a driver cannot know: how to connect, when to stop, whom to tell.
///
/// A closure `FnMut(u32) -> Result<impl Link, E>` is a host that never stops and tells nobody.
pub trait Host {
    /// The connection.
    type Link: Link;
    /// Why there is none, in the end.
    type Error;

    /// Connects, waiting as long as it sees fit.
    ///
    /// `losses` is [`Machine::losses`](crate::Machine::losses): 0 for the first connection, 1 after an
    /// ordinary loss, more when the service accepts and hangs up. From 2 on, wait before connecting,
    /// longer each time, or this becomes a busy loop.
    ///
    /// # Errors
    ///
    /// When it gives up. The driver ends with it.
    fn connect(&mut self, losses: u32) -> Result<Self::Link, Self::Error>;

    /// Tells of something that does not end the driver but that somebody should know.
    fn notice(&mut self, _notice: &Notice<'_>) {}

    /// Whether no further invocation shall be asked for.
    fn is_stopping(&self) -> bool {
        false
    }

    /// The driver is about to block until an invocation comes; `false` stops it instead.
    ///
    /// From here to [`end_wait`](Self::end_wait) nothing is in hand that could be lost, so this is
    /// when another thread may end the stream in order to stop the driver.
    fn begin_wait(&mut self) -> bool {
        !self.is_stopping()
    }

    /// The driver does not block any more. `false` if another thread has ended the stream meanwhile: an
    /// invocation that came all the same is then answered on a new connection.
    fn end_wait(&mut self) -> bool {
        true
    }
}

impl<F, L, E> Host for F
where
    F: FnMut(u32) -> Result<L, E>,
    L: Link,
{
    type Link = L;
    type Error = E;

    fn connect(&mut self, losses: u32) -> Result<L, E> {
        self(losses)
    }
}

/// Trouble with one invocation that the conversation survives. `Display` is one line about it.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The invocation; empty if it is none's.
    pub request_id: &'a str,
    /// What happened.
    pub trouble: Trouble<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Trouble<'a> {
    /// The service has refused a call.
    Refused {
        /// How.
        outcome: Outcome,
        /// The start of its error document, at most 512 bytes.
        detail: &'a [u8],
    },
    /// What has arrived is no answer; it is ignored with its connection.
    NoAnswer(ReceiveError),
    /// The connection was lost before the reply; the answer is sent again.
    SentAgain,
    /// The connection was lost and the answer cannot be sent again: nobody knows whether it arrived.
    FateUnknown,
    /// The driver ends, and the answer, or the error, has not been sent.
    Unsent,
    /// The connection was lost in the middle of the event; an error is reported for it.
    EventLost,
    /// The event did not fit its buffer; an error is reported for it.
    EventTooLarge,
    /// The handler dropped its reply; an error is reported for it.
    Unanswered,
    /// The handler failed, which is reported to the service.
    Failed {
        /// The type of the error.
        error_type: &'a str,
        /// Its message.
        message: &'a str,
    },
    /// The handler failed after it had answered, which changes nothing for the caller.
    FailedAfterAnswer {
        /// The type of the error.
        error_type: &'a str,
        /// Its message.
        message: &'a str,
    },
}

impl fmt::Display for Notice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.request_id.is_empty() {
            write!(f, "invocation {}: ", OneLine(self.request_id.chars()))?;
        }
        match self.trouble {
            Trouble::Refused { outcome, detail } => {
                outcome.fmt(f)?;
                match ServiceError::parse(detail) {
                    Ok(error) => write!(
                        f,
                        " ({}: {})",
                        OneLine(error.error_type.chars()),
                        OneLine(error.error_message.chars())
                    ),
                    Err(_) if detail.is_empty() => Ok(()),
                    Err(_) => write!(f, " ({})", detail.trim_ascii().escape_ascii()),
                }
            }
            Trouble::NoAnswer(error) => error.fmt(f),
            Trouble::SentAgain => {
                f.write_str("connection lost before the reply; sending the answer again")
            }
            Trouble::FateUnknown => f.write_str(
                "connection lost before the reply; whether the answer arrived is unknown",
            ),
            Trouble::Unsent => f.write_str("the answer could not be sent: the runtime ends"),
            Trouble::EventLost => f.write_str("connection lost in the middle of the event"),
            Trouble::EventTooLarge => f.write_str("the event does not fit the buffer"),
            Trouble::Unanswered => f.write_str("the handler gave no answer"),
            Trouble::Failed { error_type, message } => {
                write!(f, "failed: {}: {}", OneLine(error_type.chars()), OneLine(message.chars()))
            }
            Trouble::FailedAfterAnswer { error_type, message } => write!(
                f,
                "failed after it was answered: {}: {}",
                OneLine(error_type.chars()),
                OneLine(message.chars())
            ),
        }
    }
}

/// Text of somebody else, as it may stand in a log: no line breaks, and not endless.
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
