//! A blocking loop around a [client](crate::client), over any byte stream.
//!
//! The caller provides a [`Connection`] (the stream), a [`Storage`] for events and one for requests
//! (slices, or memory that grows), and a [`Connector`], which connects and receives warnings. The
//! driver does the rest, from the first `next` to the recovery from a lost connection. It neither
//! allocates nor reads a clock.
//!
//! ```
//! # use lambda_proto::driver::{Driver, Connection};
//! # use lambda_proto::api::{Endpoint, ErrorReport};
//! # use lambda_proto::machine::Machine;
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
//! # impl Connection for Wire {}
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
//! if let Some((invocation, responder)) = driver.next()? {
//!     responder.send(invocation.body());
//! }
//! # assert!(posted.borrow().ends_with(b"\r\n\r\nhi"));
//!
//! // Or pass a handler, which is called for each invocation until the connector stops.
//! let ended = driver.run(|invocation, responder| -> Result<_, ErrorReport<'_>> {
//!     Ok(responder.send(invocation.body()))
//! });
//! # assert_eq!(ended.unwrap_err().to_string(), "no connection to the Runtime API: gone");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Exactly one answer
//!
//! Answering consumes the [`Responder`] and returns a [`Sent`], which the handler of
//! [`Driver::run`] must return. Both carry the lifetime of their invocation, so the `Sent` of an
//! earlier invocation does not compile. A dropped `Responder` is reported as an error of its
//! invocation.

mod connector;
mod io;
mod responder;

pub use connector::{Connection, Connector};
use io::Io;
pub use responder::{Responder, Stream};

use crate::api::ErrorReport;
use crate::client::{Client, Invocation, Receipt, Storage};
pub use crate::flow::{DriverError, Response, Sent};
use crate::flow::{is_unanswered, reported};
use crate::machine::Machine;

/// A blocking runtime client: a [client](crate::client) with its connector.
///
/// See the [module](self).
pub struct Driver<C: Connector, S: Storage> {
    client: Client<S>,
    io: Io<C>,
}

impl<C: Connector, S: Storage> Driver<C, S> {
    /// A driver that is not connected yet.
    ///
    /// `events` holds one event with its head; an event that does not fit is reported as an error
    /// of its invocation. `requests` holds the head of a request, followed by the reply: 512 bytes
    /// more than [`MAX_REQUEST_HEAD`](crate::limits::MAX_REQUEST_HEAD) are enough for every
    /// request, and error reports are cut to fit.
    pub fn new(machine: Machine, connector: C, events: S, requests: S) -> Self {
        Self { client: Client::new(machine, events, requests), io: Io::new(connector) }
    }

    /// Limits events to `bytes` bytes, as [`Client::with_max_event`].
    #[must_use]
    pub fn with_max_event(mut self, bytes: usize) -> Self {
        self.client = self.client.with_max_event(bytes);
        self
    }

    /// Calls `handler` for every invocation, until the [connector](Connector::begin_wait) stops.
    ///
    /// An error that the handler returns before it has answered is reported to the service; after
    /// the first piece of a stream, it ends the stream. After the answer it is too late for either,
    /// and the connector is [warned](Connector::warn).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn run<F, E>(&mut self, mut handler: F) -> Result<(), DriverError<C::Error>>
    where
        F: for<'i> FnMut(Invocation<'i>, Responder<'i, C, S>) -> Result<Sent<'i>, E>,
        for<'e> &'e E: Into<ErrorReport<'e>>,
    {
        while let Some((invocation, responder)) = self.next()? {
            if let Err(error) = handler(invocation, responder).map(drop) {
                self.fail_in_flight(&(&error).into());
            }
        }
        Ok(())
    }

    /// Fails the invocation of the last [`next`](Self::next), unless it has been answered, and
    /// [warns](Connector::warn) the connector. A stream that has a piece ends with the error.
    pub fn fail_in_flight(&mut self, report: &ErrorReport<'_>) {
        responder::fail(&mut self.client.exchange(), &mut self.io, report);
    }

    /// Returns the responder of the last [`next`](Self::next) once more, for programs that cannot
    /// keep it until there is an answer; `None` if there is nothing to answer, or if a stream has
    /// begun.
    ///
    /// Unlike with the `Responder` from `next`, it is only checked at run time that an invocation
    /// is answered once.
    pub fn responder(&mut self) -> Option<Responder<'_, C, S>> {
        if !is_unanswered(&self.client) {
            return None;
        }
        Some(Responder::new(self.client.exchange(), &mut self.io))
    }

    /// The stream that a [responder](Self::responder) has begun, for the next piece or the end;
    /// `None` if there is none, or if the service has ended it.
    pub fn stream(&mut self) -> Option<Stream<'_, C, S>> {
        if !self.client.is_streaming() {
            return None;
        }
        Some(Stream::new(self.client.exchange(), &mut self.io))
    }

    /// The invocation that [`next`](Self::next) returned last, until it is answered.
    pub fn invocation(&self) -> Option<Invocation<'_>> {
        self.client.invocation()
    }

    /// Asks for the next invocation and waits for it, however long that takes; `None` when the
    /// connector stops.
    ///
    /// If the previous invocation was left unanswered, an error is reported for it first.
    ///
    /// # Errors
    ///
    /// A [`DriverError`] if the session cannot continue; the process should then exit with a
    /// non-zero code.
    #[expect(clippy::type_complexity, reason = "a pair, named where it is taken apart")]
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from the driver")]
    pub fn next(
        &mut self,
    ) -> Result<Option<(Invocation<'_>, Responder<'_, C, S>)>, DriverError<C::Error>> {
        if !self.await_invocation()? {
            return Ok(None);
        }
        let Self { client, io } = self;
        Ok(client
            .in_flight()
            .map(|(invocation, exchange)| (invocation, Responder::new(exchange, io))))
    }

    /// Reports that the function cannot start. The session is over then.
    ///
    /// # Errors
    ///
    /// A [`DriverError`] if the report could not be sent. A refusal, or a lost connection after the
    /// report, is only a [warning](Connector::warn): the process ends in any case.
    pub fn fail_init(&mut self, report: &ErrorReport<'_>) -> Result<(), DriverError<C::Error>> {
        self.client.fail_init(report)?;
        self.finish_report()
    }

    /// Tells the service that the environment may be snapshotted, and waits for the restore,
    /// however long that takes; `None` when the connector stops. [`Client::restore_next`] explains
    /// the receipt.
    ///
    /// # Errors
    ///
    /// A [`DriverError`] if the session cannot continue.
    pub fn restore_next(&mut self) -> Result<Option<Receipt>, DriverError<C::Error>> {
        let Self { client, io } = self;
        client.restore_next()?;
        let step = io.pump(&mut client.exchange(), &[])?;
        io.restored(client, step)
    }

    /// Reports that the function could not resume after a restore. The session is over then.
    ///
    /// # Errors
    ///
    /// As [`fail_init`](Self::fail_init).
    pub fn fail_restore(&mut self, report: &ErrorReport<'_>) -> Result<(), DriverError<C::Error>> {
        self.client.fail_restore(report)?;
        self.finish_report()
    }

    fn finish_report(&mut self) -> Result<(), DriverError<C::Error>> {
        reported(self.io.pump(&mut self.client.exchange(), &[])?)
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        self.client.machine()
    }

    /// The connector.
    pub fn connector(&mut self) -> &mut C {
        &mut self.io.connector
    }

    /// Waits for an invocation; `false` if the session ended or the connector stops first.
    fn await_invocation(&mut self) -> Result<bool, DriverError<C::Error>> {
        let Self { client, io } = self;
        io.check()?;
        // A responder may have been dropped or leaked; its invocation must not stay unanswered.
        client.give_up(io.tell())?;
        loop {
            let step = io.pump(&mut client.exchange(), &[])?;
            if let Some(has_arrived) = io.arrives(client, step)? {
                return Ok(has_arrived);
            }
        }
    }
}
