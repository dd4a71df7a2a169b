//! A runtime client without its socket: the [machine](crate::machine) with its memory, its next
//! step and its recovery from failures.
//!
//! The machine says what is allowed; a client says what to do. The embedder (a blocking loop, an
//! event loop, a completion queue) owns the socket and the clock, and does what [`Exchange::step`]
//! asks for:
//!
//! | step | the embedder |
//! |---|---|
//! | [`Connect`](Step::Connect) | drops any connection it has, waits for [`backoff`], connects, calls [`connected`](Exchange::connected); calls nothing [after a failed attempt](self#connecting) |
//! | [`Write`](Step::Write) | writes [`unsent`](Exchange::unsent), calls [`sent`](Exchange::sent) or [`write_failed`](Exchange::write_failed) |
//! | [`Read`](Step::Read) | reads into [`room`](Exchange::room), calls [`received`](Exchange::received) or [`lost`](Exchange::lost) |
//! | [`Idle`](Step::Idle) | calls [`ask`](Client::ask), or stops; at the start perhaps [`restore_next`](Client::restore_next) or [`fail_init`](Client::fail_init) |
//! | [`Answer`](Step::Answer) | calls [`respond`](Exchange::respond), [`fail`](Exchange::fail) or [`stream`](Exchange::stream), now or later; within a stream [`chunk`](Exchange::chunk), [`finish`](Exchange::finish) or [`fail`](Exchange::fail) |
//! | [`Settled`](Step::Settled) | may free the body of the answer |
//! | [`End`](Step::End) | ends; if the end [allows it](End::begins_anew), drops the connection instead, waits about a second, calls [`begin_anew`](Client::begin_anew) and continues |
//!
//! A step that would block can wait: ask for it again later. No call has to follow immediately. The
//! embedder may read at any time. With bytes left to write it reads only if the service
//! [refuses](refuses_early) the answer, which it may do before it has read all of it; a reply that
//! is read before the answer is written ends the answer, whatever it says.
//!
//! Bytes that no request has asked for cost the connection. Either the next step gives it up, or a
//! command that comes first, even one that is refused; the step warns of it in both cases.
//!
//! # Connecting
//!
//! A failed attempt to connect changes nothing, and there is no method to report it. Wait, and ask
//! for the step again: it is the same, with the same number of losses. The embedder counts its
//! failed attempts itself and passes the count to [`backoff`], which says how long to wait before
//! each attempt. The embedder decides how long to keep trying; [`Outage`] measures the time without
//! any connection.
//!
//! A runtime has one client for each of the [`Concurrency::slots`].
//!
//! # Example
//!
//! ```
//! use lambda_proto::client::{Client, End, Exchange, Step};
//! use lambda_proto::api::Endpoint;
//! use lambda_proto::machine::Machine;
//! # struct Socket(Vec<&'static [u8]>, std::rc::Rc<std::cell::RefCell<Vec<u8>>>);
//! # impl Socket {
//! #     fn new() -> Self {
//! #         Socket(vec![
//! #             b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
//! #             b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 2\r\n\r\nhi",
//! #         ], Default::default())
//! #     }
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
//!
//! /// Does what a client asks for, until the program has to act.
//! fn pump(exchange: &mut Exchange<'_, &mut [u8]>, socket: &mut Option<Socket>, body: &[u8]) -> Step {
//!     loop {
//!         match (exchange.step(|warning| eprintln!("{warning}")), socket.as_mut()) {
//!             (Step::Connect { .. }, _) => {
//! #               let connect = || Socket::new();
//!                 *socket = Some(connect());
//!                 exchange.connected();
//!             }
//!             (Step::Write, Some(socket)) => match socket.write(exchange.unsent(body)) {
//!                 Ok(length) => exchange.sent(length),
//!                 Err(_) => exchange.write_failed(),
//!             },
//!             (Step::Read, Some(socket)) => match exchange.room().map(|room| socket.read(room)) {
//!                 Some(Ok(length)) => exchange.received(length),
//!                 Some(Err(_)) => exchange.lost(),
//!                 None => {} // the next step says why
//!             },
//!             (step, _) => return step,
//!         }
//!     }
//! }
//!
//! let machine = Machine::new(Endpoint::parse("127.0.0.1:9001")?);
//! let (mut events, mut requests) = ([0; 8192], [0; 4096]);
//! let mut client = Client::new(machine, &mut events[..], &mut requests[..]);
//! let mut socket = None;
//! loop {
//!     match pump(&mut client.exchange(), &mut socket, &[]) {
//!         Step::Answer => {
//!             // The answer is the event itself, which is not copied.
//!             let Some((invocation, mut exchange)) = client.in_flight() else { continue };
//!             exchange.respond(None, invocation.body().len(), false)?;
//!             pump(&mut exchange, &mut socket, invocation.body());
//! #           break;
//!         }
//!         Step::Idle => client.ask()?,
//!         Step::End(end) => return Err(end.into()),
//!         _ => {}
//!     }
//! }
//! # let posted = socket.unwrap().1;
//! # assert!(posted.borrow().ends_with(b"\r\n\r\nhi"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backoff;
mod channel;
mod early;
mod exchange;
mod invocation;
mod outage;
mod receipt;
mod receive;
mod storage;
mod warning;

use core::fmt;

pub use backoff::backoff;
use channel::Channel;
pub use early::{EARLY_REPLY, refuses_early};
pub use exchange::Exchange;
pub use invocation::{HeldEvent, Invocation};
pub use outage::Outage;
pub use receipt::{Receipt, StreamOver};
use receive::ReceiveBuffer;
pub use storage::Storage;
#[cfg(feature = "alloc")]
pub use storage::VecStorage;
pub use warning::{Warning, WarningKind};

use crate::api::{Concurrency, ErrorReport, Outcome};
use crate::machine::{CommandError, Machine, Phase, ReceiveError};

/// What the embedder is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a connection in place of the previous one.
    Connect {
        /// [`Machine::losses`]: from 2 on, wait before connecting, longer each time; see
        /// [`backoff`]. Failed attempts to connect are not included.
        losses: u32,
    },
    /// Write some of [`Exchange::unsent`].
    Write,
    /// Read some bytes into [`Exchange::room`], however long that takes.
    Read,
    /// Nothing is outstanding: ask for the next invocation, or stop.
    Idle,
    /// Answer the invocation in flight, or continue its stream.
    Answer,
    /// The receipt of the last answer, report or [`Client::restore_next`]. Returned once for each;
    /// the body of the answer may be freed now.
    Settled(Receipt),
    /// The session is over, for this reason.
    End(End),
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// A failed init or restore has been reported, or the embedder has [shut the client
    /// down](Exchange::shut_down).
    Done,
    /// The service violated the protocol.
    Protocol(ReceiveError),
    /// The service wants the process to end.
    Service(Outcome),
    /// A request that the client makes by itself does not fit the memory for requests, or a command
    /// that the driver passed on was refused.
    Command(CommandError),
    /// A head from the service does not fit the memory for it.
    NoRoom,
}

impl End {
    /// Whether the client [starts over](Client::begin_anew) after a pause, because only its
    /// connection failed. If not, every slot ends after its invocation in flight, and then the
    /// process exits.
    ///
    /// A 500 ends all slots: if only one client ended, the service would still count on it. An
    /// invalid reply on one of several connections concerns only the client of that connection.
    pub const fn begins_anew(&self, concurrency: Concurrency) -> bool {
        matches!((self, concurrency), (Self::Protocol(_), Concurrency::Multi))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("the session is over"),
            Self::Protocol(error) => error.fmt(f),
            Self::Service(outcome) => outcome.fmt(f),
            Self::Command(error) => error.fmt(f),
            Self::NoRoom => f.write_str("a head from the Runtime API does not fit the buffer"),
        }
    }
}

impl core::error::Error for End {}

/// A machine with its memory; see the [module](self).
pub struct Client<S> {
    channel: Channel<S>,
    events: ReceiveBuffer<S>,
}

impl<S: Storage> Client<S> {
    /// A client that is not connected yet.
    ///
    /// `events` holds one event with its head; an event that does not fit is reported as an error
    /// of its invocation. `requests` holds the head of a request, followed by the reply: 512 bytes
    /// more than [`MAX_REQUEST_HEAD`](crate::limits::MAX_REQUEST_HEAD) are enough for every
    /// request, and error reports are cut to fit.
    pub fn new(machine: Machine, events: S, requests: S) -> Self {
        Self { channel: Channel::new(machine, requests), events: ReceiveBuffer::new(events) }
    }

    /// Limits events to `bytes` bytes, however much room there is. Growing memory then grows to
    /// little more than the limit plus a head.
    ///
    /// The value for Lambda is [`MAX_PAYLOAD`](crate::limits::MAX_PAYLOAD), as the service sends no
    /// larger event. A smaller limit saves memory if the function knows its callers. A larger event
    /// is reported as an error of its invocation. Without a limit, only the memory for events
    /// bounds their size.
    #[must_use]
    pub fn with_max_event(mut self, bytes: usize) -> Self {
        self.events.set_max_event(bytes);
        self
    }

    /// Returns the handle for all I/O.
    pub fn exchange(&mut self) -> Exchange<'_, S> {
        Exchange { channel: &mut self.channel, events: Some(&mut self.events) }
    }

    /// Returns the invocation in flight and the handle to answer it while its event is borrowed;
    /// `None` if there is no invocation, its answer is settled, or its event was [taken
    /// out](Self::take_event).
    ///
    /// This handle never takes the next invocation: after [`Step::Settled`], continue with
    /// [`exchange`](Self::exchange). If the handle is asked for a further step while the next
    /// invocation is awaited, it returns `Settled` again.
    pub fn in_flight(&mut self) -> Option<(Invocation<'_>, Exchange<'_, S>)> {
        let invocation = self.events.invocation().filter(|_| self.channel.is_in_flight())?;
        Some((invocation, Exchange { channel: &mut self.channel, events: None }))
    }

    /// The invocation in flight, as [`in_flight`](Self::in_flight) returns it.
    pub fn invocation(&self) -> Option<Invocation<'_>> {
        self.events.invocation().filter(|_| self.channel.is_in_flight())
    }

    /// Takes the event of the invocation in flight out of the client, for embedders that answer
    /// later or elsewhere. From then on, the client uses `other` as its memory for events. `None`
    /// if no invocation is in flight, or its answer has begun.
    pub fn take_event(&mut self, other: S) -> Option<HeldEvent<S>> {
        if self.machine().phase() != Phase::Invoking {
            return None;
        }
        self.events.take_event(other)
    }

    /// Asks for the next invocation. After an answer, this is refused until [`Step::Settled`]. To
    /// ask in the same write as the answer, use [`Exchange::respond`] or [`Exchange::finish`].
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn ask(&mut self) -> Result<(), CommandError> {
        self.channel.ask(&mut self.events)
    }

    /// Reports that the handler gave no answer to the invocation in flight, and warns `tell`. Does
    /// nothing if there is no invocation or it has been answered; a stream that has a piece ends
    /// with the error.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing is sent then.
    pub fn give_up(&mut self, mut tell: impl FnMut(&Warning<'_>)) -> Result<(), CommandError> {
        self.channel.give_up(&mut tell)
    }

    /// Reports that the function could not start; the client ends with the reply.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn fail_init(&mut self, report: &ErrorReport<'_>) -> Result<(), CommandError> {
        self.channel.fail_init(report)
    }

    /// Tells the service that the environment may be snapshotted. [`Step::Settled`] comes after the
    /// restore, at any later time. If its receipt is [`Receipt::FateUnknown`], the connection is
    /// gone, as is likely after a snapshot; treat it as a restore. Call [`ask`](Self::ask) or
    /// [`fail_restore`](Self::fail_restore) next, on a new connection.
    ///
    /// Only for `AWS_LAMBDA_INITIALIZATION_TYPE=snap-start`. A service without snapshots refuses
    /// it.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn restore_next(&mut self) -> Result<(), CommandError> {
        self.channel.restore_next()
    }

    /// Reports that the function could not resume after the restore; the client ends with the
    /// reply.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn fail_restore(&mut self, report: &ErrorReport<'_>) -> Result<(), CommandError> {
        self.channel.fail_restore(report)
    }

    /// Resets the client as for a new process but keeps the memory, after an [`End`] that [allows
    /// it](End::begins_anew). The embedder drops the connection.
    pub fn begin_anew(&mut self) {
        self.channel.begin_anew();
        self.events.clear();
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        self.channel.machine()
    }

    /// Why the session is over, if it is.
    pub fn end(&self) -> Option<End> {
        self.channel.end()
    }

    /// Whether a stream has begun and not ended, as [`Exchange::is_streaming`].
    pub fn is_streaming(&self) -> bool {
        self.channel.is_streaming()
    }

    /// Whether there is a connection, as [`Exchange::is_connected`].
    pub fn is_connected(&self) -> bool {
        self.channel.is_connected()
    }

    /// Whether the client only waits, as [`Exchange::is_waiting`].
    pub fn is_waiting(&self) -> bool {
        self.channel.is_waiting()
    }

    /// Whether the client may be stopped, as [`Exchange::may_stop`].
    pub fn may_stop(&self) -> bool {
        self.channel.may_stop()
    }
}
