//! One slot of an environment without its socket: the [machine](crate::machine) with its memory, its
//! next step, and all that follows when something goes wrong.
//!
//! The machine says what is allowed; a slot says what to do. Its host (a blocking loop, an event loop,
//! a completion queue) owns the socket and the clock, and does what [`Slot::step`] asks for:
//!
//! | step | the host |
//! |---|---|
//! | [`Connect`](Step::Connect) | drops the connection that it may have, waits a [`pause`], connects, calls [`connected`](Slot::connected) |
//! | [`Write`](Step::Write) | writes [`unsent`](Slot::unsent), calls [`sent`](Slot::sent) or [`write_failed`](Slot::write_failed) |
//! | [`Read`](Step::Read) | reads into [`room`](Slot::room), calls [`received`](Slot::received) or [`lost`](Slot::lost) |
//! | [`Idle`](Step::Idle) | calls [`ask`](Slot::ask), or leaves it at that |
//! | [`InHand`](Step::InHand) | calls [`respond`](Slot::respond), [`fail`](Slot::fail) or [`stream`](Slot::stream), now or later |
//! | [`Answered`](Step::Answered) | takes note; the body of the answer is not needed any more |
//! | [`End`](Step::End) | ends |
//!
//! A step that would block is simply asked for again later; no call has to follow at once. Bytes that
//! arrive early, while there is still something to write, may be read at any time, and should be while a
//! write would block: a service that refuses a large answer says so before it has read all of it.
//!
//! ```
//! use lambda_proto::slot::{Slot, Step};
//! use lambda_proto::{Endpoint, Machine};
//! # struct Socket(Vec<&'static [u8]>, std::rc::Rc<std::cell::RefCell<Vec<u8>>>);
//! # impl Socket {
//! #     fn write(&mut self, parts: [&[u8]; 3]) -> Result<usize, ()> {
//! #         parts.iter().for_each(|part| self.1.borrow_mut().extend_from_slice(part));
//! #         Ok(parts.iter().map(|part| part.len()).sum())
//! #     }
//! #     fn read(&mut self, room: &mut [u8]) -> Result<usize, ()> {
//! #         let Some(bytes) = self.0.pop() else { return Err(()) };
//! #         room[..bytes.len()].copy_from_slice(bytes);
//! #         Ok(bytes.len())
//! #     }
//! # }
//! # let posted = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
//! # let connect = || Socket(vec![
//! #     b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
//! #     b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 2\r\n\r\nhi",
//! # ], posted.clone());
//!
//! let machine = Machine::new(Endpoint::parse("127.0.0.1:9001")?);
//! let (mut events, mut requests) = ([0; 8192], [0; 4096]);
//! let mut slot = Slot::new(machine, &mut events[..], &mut requests[..]);
//! let mut socket = None;
//! let mut answer = Vec::new();
//! # let mut asked = 0;
//! loop {
//!     match slot.step(|notice| eprintln!("{notice}")) {
//!         Step::Connect { .. } => {
//!             socket = Some(connect());
//!             slot.connected();
//!         }
//!         Step::Write => match socket.as_mut().unwrap().write(slot.unsent(&answer)) {
//!             Ok(length) => slot.sent(length),
//!             Err(_) => slot.write_failed(),
//!         },
//!         Step::Read => match slot.room().map(|room| socket.as_mut().unwrap().read(room)) {
//!             Some(Ok(length)) => slot.received(length),
//!             Some(Err(_)) => slot.lost(),
//!             None => {} // the next step says why
//!         },
//!         Step::Idle => {
//! #           asked += 1;
//! #           if asked == 2 { break }
//!             slot.ask()?;
//!         }
//!         Step::InHand => {
//!             let (head, body) = slot.invocation();
//!             answer = format!("{} for {}", body.len(), head.request_id()).into_bytes();
//!             slot.respond(None, answer.len(), false)?;
//!         }
//!         Step::Answered(_) => answer.clear(),
//!         Step::End(end) => return Err(end.into()),
//!     }
//! }
//! # assert!(posted.borrow().ends_with(b"\r\n\r\n2 for 7b"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
pub(crate) mod inbox;
pub(crate) mod line;
mod notice;
mod pause;
mod storage;

use core::fmt;

pub use answer::{Answer, StreamOver};
use inbox::Inbox;
use line::Line;
pub use notice::{Notice, Trouble};
pub use pause::pause;
pub use storage::{HeldEvent, Storage};

use crate::api::{Concurrency, HeadIndex};
use crate::{
    CommandError, ContentType, ErrorReport, InvocationHead, Machine, Outcome, Phase, ReceiveError,
};

/// What a host is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a connection in place of the one before.
    Connect {
        /// [`Machine::losses`]: from 2 on, wait before connecting, longer each time; see [`pause`].
        losses: u32,
    },
    /// Write some of [`Slot::unsent`].
    Write,
    /// Read some bytes into [`Slot::room`], however long that takes.
    Read,
    /// Nothing is outstanding: ask for the next invocation, or stop.
    Idle,
    /// An invocation is in hand, or its answer is being streamed and the next piece may come.
    InHand,
    /// This is what became of the answer that the host has given, or of what else it has said
    /// ([`Slot::restore_next`]). Said once for every answer, and the moment from which its body is not
    /// needed any more.
    Answered(Answer),
    /// The conversation is over, for this reason.
    End(End),
}

/// Why a conversation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// A failed start has been reported, or the host has [shut the slot down](Slot::shut_down).
    Done,
    /// The service does not speak the protocol.
    Protocol(ReceiveError),
    /// The service wants the process to end.
    Service(Outcome),
    /// The memory for requests is too small for one that the slot makes by itself.
    Command(CommandError),
    /// A head from the service does not fit the memory that it is read into.
    NoRoom,
}

/// What the end of one slot means for the others of its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterEnd {
    /// The slot begins anew after a pause, with a new machine: the trouble was its connection's.
    BeginAnew,
    /// All slots end when they have answered what is in hand, and so does the process.
    EndAll,
}

impl End {
    /// What follows for the other slots.
    ///
    /// A service that wants the process to end (500) would count on a slot that is gone; nonsense on one
    /// connection of several is that slot's trouble.
    pub const fn then(&self, concurrency: Concurrency) -> AfterEnd {
        match (self, concurrency) {
            (Self::Protocol(_), Concurrency::Multi) => AfterEnd::BeginAnew,
            _ => AfterEnd::EndAll,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("the conversation is over"),
            Self::Protocol(error) => error.fmt(f),
            Self::Service(outcome) => outcome.fmt(f),
            Self::Command(error) => error.fmt(f),
            Self::NoRoom => f.write_str("a head from the Runtime API does not fit the buffer"),
        }
    }
}

impl core::error::Error for End {}

/// A machine with its memory. See the [module](self).
pub struct Slot<S> {
    pub(crate) line: Line<S>,
    pub(crate) events: Inbox<S>,
}

impl<S: Storage> Slot<S> {
    /// A slot that is not connected yet.
    ///
    /// `events` holds one event with its head; an event that does not fit is reported as an error of
    /// its invocation. `requests` holds the head of a request and, behind it, the answer of the service:
    /// 512 bytes more than [`MAX_REQUEST_HEAD`](crate::limits::MAX_REQUEST_HEAD) serve every request,
    /// and error reports are cut to what is there.
    pub fn new(machine: Machine, events: S, requests: S) -> Self {
        Self { line: Line::new(machine, requests), events: Inbox::new(events) }
    }

    /// The same slot for events of at most `bytes` bytes, however much room there is. Memory that grows
    /// then grows to little more than that and a head.
    #[must_use]
    pub fn with_max_event(mut self, bytes: usize) -> Self {
        self.events.set_max_event(bytes);
        self
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        self.line.machine()
    }

    /// What there is to do now. `tell` is told of trouble that ends nothing but that somebody should
    /// know of.
    pub fn step(&mut self, mut tell: impl FnMut(&Notice<'_>)) -> Step {
        let step = self.line.step(Some(&mut self.events), &mut tell);
        if step == Step::Read && self.line.is_waiting() {
            self.line.release();
            self.events.release();
        }
        step
    }

    /// Why the conversation is over, if it is.
    pub fn end(&self) -> Option<End> {
        self.line.end()
    }

    /// Whether there is a connection, as far as the slot knows. If not, the host drops the one that it
    /// may still have.
    pub fn is_connected(&self) -> bool {
        self.line.is_connected()
    }

    /// Tells that there is a new connection.
    pub fn connected(&mut self) {
        self.line.connected();
    }

    /// Whether nothing is in hand or on its way, so that the host may stop here and lose no invocation
    /// that it has heard of.
    pub fn may_stop(&self) -> bool {
        let machine = self.machine();
        match machine.phase() {
            _ if self.end().is_some() => true,
            Phase::Init | Phase::Ready => !machine.is_inside_answer(),
            Phase::Invoking | Phase::Reporting | Phase::ShuttingDown => false,
        }
    }

    /// Whether the slot does nothing but wait for an invocation, or a restore, of which nothing has arrived.
    pub fn is_waiting(&self) -> bool {
        self.line.is_waiting()
    }

    /// The bytes that are to be sent, in order, for a vectored write. `body` is the whole body of the
    /// answer or the piece of the stream that was told of last.
    pub fn unsent<'a>(&'a self, body: &'a [u8]) -> [&'a [u8]; 3] {
        self.line.unsent(body)
    }

    /// Tells that so many of the unsent bytes were written. A write that takes none has
    /// [failed](Self::write_failed).
    pub fn sent(&mut self, length: usize) {
        self.line.sent(length);
    }

    /// Tells that the connection takes no more bytes. What the service may have said before it hung up
    /// is still read.
    pub fn write_failed(&mut self) {
        self.line.write_failed();
    }

    /// Room to read into, never empty; `None` if there is none, and the next step says what follows: the
    /// end of the slot, if a head fills the memory.
    ///
    /// What [`unsent`](Self::unsent) has given may move: a host whose write is still under way, as in a
    /// completion queue, reads when that is done.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.line.room(Some(&mut self.events))
    }

    /// Tells that so many bytes were read into the room; 0 is the end of the stream.
    pub fn received(&mut self, length: usize) {
        self.line.received(length, Some(&mut self.events));
    }

    /// Tells that the connection broke with an error, or that the host has dropped it.
    pub fn lost(&mut self) {
        self.line.lost();
    }

    /// Asks for the next invocation. Behind an answer this is refused until [`Step::Answered`] has told what
    /// became of it: together with the answer the next one is asked for by [`respond`](Self::respond) and
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn ask(&mut self) -> Result<(), CommandError> {
        self.line.ask(&mut self.events)
    }

    /// The invocation in hand: what came with the event, and the event. Both are empty when there is
    /// none.
    pub fn invocation(&self) -> (InvocationHead<'_>, &[u8]) {
        match self.machine().phase() {
            Phase::Invoking | Phase::Reporting => self.events.invocation(),
            _ => (HeadIndex::default().on(&[]), &[]),
        }
    }

    /// Takes the invocation in hand out of the slot, for hosts that answer later, or elsewhere. The
    /// slot goes on with `other` as its memory for events. `None` if nothing is in hand.
    pub fn take_event(&mut self, other: S) -> Option<HeldEvent<S>> {
        if self.machine().phase() != Phase::Invoking {
            return None;
        }
        self.events.take_event(other)
    }

    /// Answers the invocation with a body of `body_length` bytes, and asks for the next one in the same
    /// write if it is `pipelined` and the memory has room for both: see [`Machine::respond`] and
    /// [`Machine::next`].
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn respond(
        &mut self,
        content_type: Option<ContentType<'_>>,
        body_length: usize,
        pipelined: bool,
    ) -> Result<(), CommandError> {
        self.line.respond(content_type, body_length, pipelined)
    }

    /// Reports that the invocation failed, at the end of its stream if that has begun, and tells of it.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing is sent then. [`CommandError::WrongPhase`] means that it has been
    /// answered, which is told of.
    pub fn fail(
        &mut self,
        report: &ErrorReport<'_>,
        mut tell: impl FnMut(&Notice<'_>),
    ) -> Result<(), CommandError> {
        self.line.fail(report, &mut tell)
    }

    /// Reports that nobody will answer the invocation in hand, and tells of it.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing is sent then.
    pub fn give_up(&mut self, mut tell: impl FnMut(&Notice<'_>)) -> Result<(), CommandError> {
        self.line.give_up(&mut tell)
    }

    /// Begins to stream the answer: [`chunk`](Self::chunk) at each [`Step::InHand`], then
    /// [`finish`](Self::finish) or [`fail`](Self::fail). If [`Step::Answered`] comes before that, the
    /// service takes no more of it.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn stream(&mut self, content_type: ContentType<'_>) -> Result<(), CommandError> {
        self.line.stream(content_type)
    }

    /// Sends the next piece of the stream, which [`unsent`](Self::unsent) takes as body.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then. [`CommandError::MustReconnect`] if the service
    /// has begun to reply, which may be a mere 100: what follows is the next step.
    pub fn chunk(&mut self, length: usize) -> Result<(), CommandError> {
        self.line.chunk(length)
    }

    /// Ends the stream, and asks for the next invocation in the same write if it is `pipelined`.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn finish(&mut self, pipelined: bool) -> Result<(), CommandError> {
        self.line.finish(pipelined)
    }

    /// Reports that the function could not start; the slot ends with the reply.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn fail_init(&mut self, report: &ErrorReport<'_>) -> Result<(), CommandError> {
        self.line.fail_init(report)
    }

    /// Says that the environment may be snapshotted now. [`Step::Answered`] comes after the restore, which
    /// may be at any time: [`Answer::FateUnknown`] says that the connection is gone, as it may well be
    /// behind a snapshot, and means the same. What follows is [`ask`](Self::ask) or
    /// [`fail_restore`](Self::fail_restore), on a new connection.
    ///
    /// Only for `AWS_LAMBDA_INITIALIZATION_TYPE=snap-start`. A service that knows no snapshots refuses it.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn restore_next(&mut self) -> Result<(), CommandError> {
        self.line.restore_next()
    }

    /// Reports that the function could not resume after the restore; the slot ends with the reply.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn fail_restore(&mut self, report: &ErrorReport<'_>) -> Result<(), CommandError> {
        self.line.fail_restore(report)
    }

    /// Forgets everything, as for a new process, but keeps the memory: after an [`End`] that says
    /// [`AfterEnd::BeginAnew`]. The host drops the connection.
    pub fn begin_anew(&mut self) {
        self.line.begin_anew();
        self.events.clear();
    }

    /// Ends the conversation, whatever is in hand. The host drops the connection.
    pub fn shut_down(&mut self) {
        self.line.shut_down();
    }
}
