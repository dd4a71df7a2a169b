//! A blocking loop around the [machine](crate::machine), over any byte stream.
//!
//! The caller brings three things: a [`Link`] (the stream), a [`Storage`] for what arrives and one
//! for what is sent (slices, or memory that grows), and a [`Host`] that connects and is told of
//! trouble. The rest, from the first `next` to what follows a lost connection, is here; nothing is
//! allocated and no clock is read.
//!
//! ```
//! # use lambda_proto::driver::{Driver, Link};
//! # use lambda_proto::{Endpoint, ErrorReport, Machine};
//! # struct Wire { answers: std::vec::IntoIter<&'static [u8]>, posted: std::rc::Rc<std::cell::RefCell<Vec<u8>>> }
//! # impl embedded_io::ErrorType for Wire { type Error = embedded_io::ErrorKind; }
//! # impl embedded_io::Read for Wire {
//! #     fn read(&mut self, room: &mut [u8]) -> Result<usize, Self::Error> {
//! #         let answer = self.answers.next().unwrap_or_default();
//! #         room[..answer.len()].copy_from_slice(answer);
//! #         Ok(answer.len())
//! #     }
//! # }
//! # impl embedded_io::Write for Wire {
//! #     fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
//! #         self.posted.borrow_mut().extend_from_slice(bytes);
//! #         Ok(bytes.len())
//! #     }
//! #     fn flush(&mut self) -> Result<(), Self::Error> { Ok(()) }
//! # }
//! # impl Link for Wire {}
//! # let posted = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
//! # let event = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 2\r\n\r\nhi";
//! # let accepted = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
//! # let answers = vec![&event[..], &accepted[..]].into_iter();
//! # let mut wire = Some(Wire { answers, posted: posted.clone() });
//! # let connect = move |_lost: u32| wire.take().ok_or("gone");
//! let machine = Machine::new(Endpoint::parse("127.0.0.1:9001")?);
//! let (mut events, mut requests) = ([0; 8192], [0; 4096]);
//! let mut driver = Driver::new(machine, connect, &mut events[..], &mut requests[..]);
//!
//! // Pull: take one invocation, answer it.
//! if let Some((invocation, reply)) = driver.next()? {
//!     reply.send(invocation.body());
//! }
//! # assert!(posted.borrow().ends_with(b"\r\n\r\nhi"));
//!
//! // Or let a handler be called for each of them, until the host stops.
//! let ended = driver.run(|invocation, reply| -> Result<_, ErrorReport<'_>> {
//!     Ok(reply.send(invocation.body()))
//! });
//! # assert_eq!(ended.unwrap_err().to_string(), "no connection to the Runtime API: gone");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Exactly one answer
//!
//! [`Reply`] is consumed by answering and gives a [`Sent`], which the handler of [`Driver::run`] must
//! return; both carry the lifetime of their invocation, so a `Sent` of an earlier one does not fit.
//! A `Reply` that is dropped is reported as an error of its invocation.

mod answer;
mod host;
mod inbox;
mod reply;
mod wire;

use core::fmt;
use core::ops::Deref;

pub use answer::{Answer, StreamOver};
pub use host::{Host, Link, Notice, Storage, Trouble};
use inbox::{Found, Inbox};
pub use reply::{Reply, Response, Sent, Stream};
use wire::{Flow, Wire};

use crate::api::{Call, InvocationHead, Then};
use crate::{CommandError, ErrorReport, Machine, Phase, ReceiveError, Recovery};

/// One runtime worker: a machine with its connection and its memory.
///
/// See the [module](self).
pub struct Driver<H: Host, S: Storage> {
    wire: Wire<H, S>,
    inbox: Inbox<S>,
}

/// An invocation in hand: what came with it, by [`Deref`], and the event itself.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'i> {
    head: InvocationHead<'i>,
    body: &'i [u8],
}

impl<'i> Invocation<'i> {
    /// The event, as whoever invoked the function sent it: any bytes, mostly JSON.
    pub fn body(&self) -> &'i [u8] {
        self.body
    }
}

impl<'i> Deref for Invocation<'i> {
    type Target = InvocationHead<'i>;

    fn deref(&self) -> &InvocationHead<'i> {
        &self.head
    }
}

/// What can be told to the service as the reason of a failure.
pub trait AsErrorReport {
    /// The report.
    fn as_error_report(&self) -> ErrorReport<'_>;
}

impl AsErrorReport for ErrorReport<'_> {
    fn as_error_report(&self) -> ErrorReport<'_> {
        *self
    }
}

impl<H: Host, S: Storage> Driver<H, S> {
    /// A driver that is not connected yet.
    ///
    /// `events` holds one event with its head; an event that does not fit is reported as an error of
    /// its invocation. `requests` holds the head of a request and, behind it, the answer of the service:
    /// 512 bytes more than [`MAX_REQUEST_HEAD`](crate::limits::MAX_REQUEST_HEAD) serve every request,
    /// and error reports are cut to what is there.
    pub fn new(machine: Machine, host: H, events: S, requests: S) -> Self {
        Self { wire: Wire::new(machine, host, requests), inbox: Inbox::new(events) }
    }

    /// The same driver for events of at most `bytes` bytes, however much room there is.
    #[must_use]
    pub fn with_max_event(mut self, bytes: usize) -> Self {
        self.inbox.set_max_event(bytes);
        self
    }

    /// Calls `handler` for every invocation, until the [host](Host::begin_wait) stops.
    ///
    /// An error that the handler returns before it has answered is reported to the service; one that
    /// it returns in the middle of a stream ends the stream. After the answer it is too late for
    /// either, and the host is [told](Host::notice).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn run<F, E>(&mut self, mut handler: F) -> Result<(), DriverError<H::Error>>
    where
        F: for<'i> FnMut(Invocation<'i>, Reply<'i, H, S>) -> Result<Sent<'i>, E>,
        E: AsErrorReport,
    {
        while let Some((invocation, reply)) = self.next()? {
            if let Err(error) = handler(invocation, reply).map(drop) {
                self.fail_in_hand(&error.as_error_report());
            }
        }
        Ok(())
    }

    /// Fails the invocation of the last [`next`](Self::next), unless it has been answered, and
    /// [tells](Host::notice) the host. A stream is ended with the error.
    pub fn fail_in_hand(&mut self, report: &ErrorReport<'_>) {
        self.wire.fail_by_handler(report);
    }

    /// Answers the invocation of the last [`next`](Self::next), for programs that cannot keep its
    /// [`Reply`] until there is an answer; `None` if there is none to answer.
    ///
    /// What the reply makes the compiler check is checked here when it runs.
    pub fn send_in_hand<'r>(&mut self, response: impl Into<Response<'r>>) -> Option<Answer> {
        let machine = &self.wire.machine;
        if machine.phase() != Phase::Invoking || machine.is_streaming() {
            return None;
        }
        Some(Reply::new(&mut self.wire).send(response).answer())
    }

    /// Asks for the next invocation and waits for it, however long that takes; `None` when the host
    /// stops.
    ///
    /// If the invocation before it was left unanswered, that is reported first.
    ///
    /// # Errors
    ///
    /// A [`DriverError`]: the conversation cannot go on, and the process should end with a code that
    /// is not zero.
    #[expect(clippy::type_complexity, reason = "a pair, named where it is taken apart")]
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from the driver")]
    pub fn next(
        &mut self,
    ) -> Result<Option<(Invocation<'_>, Reply<'_, H, S>)>, DriverError<H::Error>> {
        if !self.await_invocation()? {
            return Ok(None);
        }
        let Self { wire, inbox } = self;
        let (head, body) = inbox.invocation();
        Ok(Some((Invocation { head, body }, Reply::new(wire))))
    }

    /// Reports that the function cannot start. The conversation is over then.
    ///
    /// # Errors
    ///
    /// A [`DriverError`] if the report could not be sent. A refusal, or a lost connection behind the
    /// report, is only [told](Host::notice): the process ends in any case.
    pub fn fail_init(&mut self, report: &ErrorReport<'_>) -> Result<(), DriverError<H::Error>> {
        self.wire.fail_init(report)
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.wire.machine
    }

    /// The host.
    pub fn host(&mut self) -> &mut H {
        &mut self.wire.host
    }

    /// Returns whether an invocation is in hand, or else the host stops.
    fn await_invocation(&mut self) -> Result<bool, DriverError<H::Error>> {
        loop {
            if let Some(error) = self.wire.error.take() {
                return Err(error);
            }
            match self.wire.machine.phase() {
                Phase::Invoking => {
                    self.wire.note(Trouble::Unanswered);
                    self.wire.fail_in_hand(&UNANSWERED);
                    continue;
                }
                Phase::ShuttingDown => return Ok(false),
                Phase::Init | Phase::Ready | Phase::Reporting => {}
            }
            if self.wire.machine.awaits().is_none() {
                if self.wire.host.is_stopping() {
                    return Ok(false);
                }
                self.inbox.clear();
                self.wire.connect()?;
                // Connecting may have taken a while.
                if self.wire.host.is_stopping() {
                    return Ok(false);
                }
                if !self.wire.ask()? {
                    self.after_loss();
                    continue;
                }
            }
            self.inbox.forget_event();
            match self.read_events()? {
                Flow::Done => return Ok(true),
                Flow::Stop => {
                    self.wire.close();
                    return Ok(false);
                }
                Flow::Again => {}
            }
        }
    }

    /// Reads until an invocation is in hand, or something else has to be done first.
    fn read_events(&mut self) -> Result<Flow, DriverError<H::Error>> {
        loop {
            match self.inbox.take(&mut self.wire.machine) {
                Err(error) => {
                    self.wire.survive(error)?;
                    return Ok(self.after_loss());
                }
                Ok(Some(Found::Piece)) => continue,
                Ok(Some(Found::Detail(detail))) => {
                    self.wire.keep_detail(detail);
                    continue;
                }
                Ok(Some(Found::InvocationEnd)) => return self.invocation_arrived(),
                Ok(Some(Found::Outcome(outcome))) => {
                    self.wire.note_outcome(outcome);
                    if outcome.call() == Call::Next || outcome.then() == Then::Exit {
                        return Ok(Flow::Again);
                    }
                    continue;
                }
                Ok(None) => {}
            }
            let machine = &self.wire.machine;
            if machine.must_reconnect() {
                return Ok(self.after_loss());
            }
            let is_waiting = machine.awaits() == Some(Call::Next) && !machine.is_inside_answer();
            if is_waiting && !self.wire.host.begin_wait() {
                return Ok(Flow::Stop);
            }
            let Some(room) = self.inbox.room(machine) else {
                return Err(DriverError::NoRoom);
            };
            let read = self.wire.read(room);
            if is_waiting && !self.wire.host.end_wait() {
                self.wire.is_cut = true;
            }
            match read {
                Ok(length @ 1..) => self.inbox.filled(length),
                ended => {
                    if ended.is_ok() {
                        match self.inbox.end_of_stream(&mut self.wire.machine) {
                            Some(Found::InvocationEnd) => return self.invocation_arrived(),
                            Some(Found::Outcome(outcome)) => self.wire.note_outcome(outcome),
                            _ => {}
                        }
                    }
                    return Ok(self.after_loss());
                }
            }
        }
    }

    fn invocation_arrived(&mut self) -> Result<Flow, DriverError<H::Error>> {
        // What stands behind the event answers nothing: the machine says so.
        if let Err(error) = self.inbox.take(&mut self.wire.machine) {
            self.wire.survive(error)?;
        }
        self.wire.hang_up_if_cut();
        if self.inbox.is_too_large() {
            self.wire.note(Trouble::EventTooLarge);
            self.wire.fail_in_hand(&EVENT_TOO_LARGE);
            return Ok(Flow::Again);
        }
        Ok(Flow::Done)
    }

    fn after_loss(&mut self) -> Flow {
        self.inbox.clear();
        match self.wire.lost() {
            Recovery::FailInvocation => {
                self.wire.note(Trouble::EventLost);
                self.wire.fail_in_hand(&EVENT_LOST);
            }
            Recovery::FateUnknown => self.wire.note(Trouble::FateUnknown),
            Recovery::Answered(outcome) => self.wire.note_outcome(outcome),
            Recovery::Exit => return Flow::Stop,
            Recovery::Reconnect | Recovery::AskAgain | Recovery::SendAgain => {}
        }
        Flow::Again
    }
}

const UNANSWERED: ErrorReport<'static> =
    ErrorReport::new("Runtime.NoResponse", "the handler gave up the invocation without an answer");
const EVENT_LOST: ErrorReport<'static> = ErrorReport::new(
    "Runtime.EventTruncated",
    "the connection to the Runtime API ended in the middle of the event",
);
const EVENT_TOO_LARGE: ErrorReport<'static> =
    ErrorReport::new("Runtime.EventTooLarge", "the event is larger than the buffer for events");

/// Why a driver cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverError<E> {
    /// The host could not connect and has given up.
    Connect(E),
    /// The service does not speak the protocol.
    Protocol(ReceiveError),
    /// The service wants the process to end.
    Service(crate::Outcome),
    /// The buffer for requests is too small for one.
    Command(CommandError),
    /// A head from the service does not fit the buffer that it is read into.
    NoRoom,
}

impl<E> From<ReceiveError> for DriverError<E> {
    fn from(error: ReceiveError) -> Self {
        Self::Protocol(error)
    }
}

impl<E: fmt::Display> fmt::Display for DriverError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection to the Runtime API: {error}"),
            Self::Protocol(error) => error.fmt(f),
            Self::Service(outcome) => outcome.fmt(f),
            Self::Command(error) => error.fmt(f),
            Self::NoRoom => f.write_str("a head from the Runtime API does not fit the buffer"),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> core::error::Error for DriverError<E> {}
