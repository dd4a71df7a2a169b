//! An async loop around a [client](crate::client), over any byte stream, on any executor.
//!
//! It is the driver of `lambda_proto::driver` with futures: the caller provides a [`Connection`]
//! (the stream), a [`Storage`] for events and one for requests, and a [`Connector`], which connects
//! and receives warnings. The driver spawns nothing, allocates nothing and reads no clock. A program
//! that runs several invocations at a time has a driver for each, in one task or in many.
//!
//! ```
//! # use lambda_proto::async_driver::{Driver, Connection};
//! # use lambda_proto::api::{Endpoint, ErrorReport};
//! # use lambda_proto::machine::Machine;
//! # struct Wire { answers: std::vec::IntoIter<&'static [u8]>, posted: std::rc::Rc<std::cell::RefCell<Vec<u8>>> }
//! # impl embedded_io_async::ErrorType for Wire { type Error = embedded_io_async::ErrorKind; }
//! # impl embedded_io_async::Read for Wire {
//! #     async fn read(&mut self, room: &mut [u8]) -> Result<usize, Self::Error> {
//! #         let answer = self.answers.next().unwrap_or_default();
//! #         room[..answer.len()].copy_from_slice(answer);
//! #         Ok(answer.len())
//! #     }
//! # }
//! # impl embedded_io_async::Write for Wire {
//! #     async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
//! #         self.posted.borrow_mut().extend_from_slice(bytes);
//! #         Ok(bytes.len())
//! #     }
//! #     async fn flush(&mut self) -> Result<(), Self::Error> { Ok(()) }
//! # }
//! # impl Connection for Wire {}
//! # let posted = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
//! # let event = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 2\r\n\r\nhi";
//! # let accepted = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
//! # let answers = vec![&event[..], &accepted[..]].into_iter();
//! # let mut wire = Some(Wire { answers, posted: posted.clone() });
//! # let connect = async move |_lost: u32| wire.take().ok_or("gone");
//! use core::pin::pin;
//! use core::task::{Context, Poll, Waker};
//!
//! /// The smallest executor: it polls until the future is ready.
//! fn block_on<F: Future>(future: F) -> F::Output {
//!     let mut future = pin!(future);
//!     loop {
//!         let mut context = Context::from_waker(Waker::noop());
//!         if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
//!             return output;
//!         }
//!     }
//! }
//!
//! let machine = Machine::new(Endpoint::parse("127.0.0.1:9001")?);
//! let (mut events, mut requests) = ([0; 8192], [0; 4096]);
//! let mut driver = Driver::new(machine, connect, &mut events[..], &mut requests[..]);
//!
//! // Pull: take one invocation, answer it.
//! block_on(async {
//!     if let Some((invocation, responder)) = driver.next().await? {
//!         responder.send(invocation.body()).await;
//!     }
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # assert!(posted.borrow().ends_with(b"\r\n\r\nhi"));
//!
//! // Or pass a handler, which is called for each invocation until the connector stops.
//! let ended = block_on(driver.run(async |invocation, responder| -> Result<_, ErrorReport<'_>> {
//!     Ok(responder.send(invocation.body()).await)
//! }));
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
//!
//! # Cancellation
//!
//! Every future may be dropped at any time. What it leaves is noticed by the next call to the
//! driver or to the stream, even if the future was leaked:
//!
//! | dropped | then |
//! |---|---|
//! | [`next`](Driver::next), [`wait`](Driver::wait), [`restore_next`](Driver::restore_next) | nothing is lost; the next call continues |
//! | `send`, `write` or `finish` before its first byte | the response or the piece is not sent: the invocation is unanswered, or the stream is as it was before the call. If nothing else is sent, `next` reports an error of the invocation |
//! | `send` or `write` after its first byte and before its last | the body is gone: the connection is closed and nothing is sent again, as [`Receipt::FateUnknown`] and a [warning](Connector::warn) say. `next` continues |
//! | [`write_on`](Stream::write_on), and [that of the driver](Driver::write_on) | the next `write_on` of either with a piece of the same length continues; every other call finds what a dropped `write` leaves |
//! | `send` after its last byte | the reply is still read. If the connection is lost first, the fate of the answer is unknown, as the body that would have to be sent again is gone |
//! | `finish` after its first byte | the end of the stream, which has no body, and its reply are still waited for |
//! | `fail`, [`fail_init`](Driver::fail_init), [`fail_restore`](Driver::fail_restore) | the report is still sent by the next call; for a stream, once its end has begun |
//! | `send` while a connection is made for the second copy of a response | as before its first byte if the first copy was cut off; if it was sent whole, its fate is unknown |
//! | [`run`](Driver::run) | as the future that it waits for: `next`, or that of the handler |
//!
//! While a future makes a connection and is dropped, the next call begins with a new attempt, as it
//! calls [`connect`](Connector::connect) again.
//!
//! No bytes of two requests are ever mixed on a connection, and no invocation is left without
//! either an answer, a report or a warning. Between calls, [`machine`](Driver::machine) still shows
//! the state in which the future was dropped.
//!
//! # Threads
//!
//! No bound requires `Send`. The futures of a driver are `Send` if the connector, its connection,
//! their futures and the storages are, so a task that moves between threads can take invocations
//! with [`next`](Driver::next). The compiler does not prove that for [`run`](Driver::run) with an
//! async closure, which serves one thread: the closure would have to be `Send` for every lifetime.

mod connector;
mod io;
mod responder;

pub use connector::{Connection, Connector};
use io::Io;
pub use responder::{Responder, Stream};

use crate::api::{Call, ErrorReport};
use crate::client::{Client, HeldEvent, Invocation, Receipt, Storage, StreamOver};
pub use crate::flow::{DriverError, Response, Sent};
use crate::flow::{is_unanswered, reported};
use crate::machine::Machine;

/// An async runtime client: a [client](crate::client) with its connector.
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

    /// Calls `handler` for every invocation, until the [connector](Connector::is_stopping) stops.
    ///
    /// An error that the handler returns before it has answered is reported to the service; after
    /// the first piece of a stream, it ends the stream. After the answer it is too late for either,
    /// and the connector is [warned](Connector::warn).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn run<F, E>(&mut self, mut handler: F) -> Result<(), DriverError<C::Error>>
    where
        F: for<'i> AsyncFnMut(Invocation<'i>, Responder<'i, C, S>) -> Result<Sent<'i>, E>,
        for<'e> &'e E: Into<ErrorReport<'e>>,
    {
        while let Some((invocation, responder)) = self.next().await? {
            if let Err(error) = handler(invocation, responder).await.map(drop) {
                self.fail_in_flight(&(&error).into()).await;
            }
        }
        Ok(())
    }

    /// Fails the invocation of the last [`next`](Self::next), unless it has been answered, and
    /// [warns](Connector::warn) the connector. A stream that has a piece ends with the error.
    pub async fn fail_in_flight(&mut self, report: &ErrorReport<'_>) {
        responder::fail(&mut self.client.exchange(), &mut self.io, report).await;
    }

    /// Returns the responder of the last [`next`](Self::next) once more, for programs that cannot
    /// keep it until there is an answer; `None` if there is nothing to answer, or if a stream has
    /// begun.
    ///
    /// Unlike with the `Responder` from `next`, it is only checked at run time that an invocation
    /// is answered once.
    pub fn responder(&mut self) -> Option<Responder<'_, C, S>> {
        // A piece in flight is none of its business.
        if self.client.is_streaming() {
            return None;
        }
        self.io.withdraw(&mut self.client.exchange());
        if !is_unanswered(&self.client) {
            return None;
        }
        Some(Responder::new(self.client.exchange(), &mut self.io))
    }

    /// The stream that a [responder](Self::responder) has begun, for the next piece or the end;
    /// `None` if there is none, or if the service has ended it.
    pub fn stream(&mut self) -> Option<Stream<'_, C, S>> {
        self.io.withdraw(&mut self.client.exchange());
        if !self.client.is_streaming() {
            return None;
        }
        Some(Stream::new(self.client.exchange(), &mut self.io))
    }

    /// Sends a piece of the stream that a [responder](Self::responder) has begun, as
    /// [`Stream::write_on`] does, for programs that do not keep the stream from poll to poll. It
    /// continues a piece of a stream that was dropped, too.
    ///
    /// # Errors
    ///
    /// As [`Stream::write`]; [`StreamOver`], too, if no stream has begun.
    pub async fn write_on(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        Stream::new(self.client.exchange(), &mut self.io).write_on(piece).await
    }

    /// The invocation that [`next`](Self::next) returned last, until it is answered.
    pub fn invocation(&self) -> Option<Invocation<'_>> {
        self.client.invocation()
    }

    /// Asks for the next invocation and waits for it, however long that takes; `None` when the
    /// connector stops. If this future is dropped, the next call continues.
    ///
    /// If the previous invocation was left unanswered, an error is reported for it first.
    ///
    /// # Errors
    ///
    /// A [`DriverError`] if the session cannot continue; the process should then exit with a
    /// non-zero code.
    pub async fn next(
        &mut self,
    ) -> Result<Option<(Invocation<'_>, Responder<'_, C, S>)>, DriverError<C::Error>> {
        if !self.wait().await? {
            return Ok(None);
        }
        Ok(self.in_flight())
    }

    /// Waits for the next invocation as [`next`](Self::next) does, without borrowing it: `false`
    /// when the connector stops. [`in_flight`](Self::in_flight) returns the invocation then. If
    /// this future is dropped, the next call continues.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn wait(&mut self) -> Result<bool, DriverError<C::Error>> {
        let Self { client, io } = self;
        io.check()?;
        // The future of an answer may have been dropped, or a responder. Its invocation must not
        // stay unanswered.
        io.withdraw(&mut client.exchange());
        if client.is_streaming() {
            let _is_over = io.resume(&mut client.exchange()).await;
            io.check()?;
        }
        client.give_up(io.tell())?;
        loop {
            let step = io.pump(&mut client.exchange(), &[]).await?;
            if let Some(has_arrived) = io.arrives(client, step)? {
                return Ok(has_arrived);
            }
        }
    }

    /// Returns the invocation that [`wait`](Self::wait) has waited for, with its responder; `None`
    /// if there is nothing to answer, if a stream has begun, or if the event was [taken
    /// out](Self::take_event).
    ///
    /// As with [`responder`](Self::responder), it is only checked at run time that an invocation is
    /// answered once.
    pub fn in_flight(&mut self) -> Option<(Invocation<'_>, Responder<'_, C, S>)> {
        let Self { client, io } = self;
        io.withdraw(&mut client.exchange());
        if !is_unanswered(client) {
            return None;
        }
        let (invocation, exchange) = client.in_flight()?;
        Some((invocation, Responder::new(exchange, io)))
    }

    /// Takes the event of the invocation in flight out of the driver, as [`Client::take_event`].
    /// [`responder`](Self::responder) still returns the responder.
    pub fn take_event(&mut self, other: S) -> Option<HeldEvent<S>> {
        self.io.withdraw(&mut self.client.exchange());
        self.client.take_event(other)
    }

    /// Reports that the function cannot start. The session is over then. If this future is dropped,
    /// the next call continues.
    ///
    /// # Errors
    ///
    /// A [`DriverError`] if the report could not be sent. A refusal, or a lost connection after the
    /// report, is only a [warning](Connector::warn): the process ends in any case.
    pub async fn fail_init(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), DriverError<C::Error>> {
        if self.machine().awaits() != Some(Call::InitError) {
            self.client.fail_init(report)?;
        }
        self.finish_report().await
    }

    /// Tells the service that the environment may be snapshotted, and waits for the restore,
    /// however long that takes; `None` when the connector stops. [`Client::restore_next`] explains
    /// the receipt. If this future is dropped, the next call continues.
    ///
    /// # Errors
    ///
    /// A [`DriverError`] if the session cannot continue.
    pub async fn restore_next(&mut self) -> Result<Option<Receipt>, DriverError<C::Error>> {
        let Self { client, io } = self;
        if client.machine().awaits() != Some(Call::RestoreNext) {
            client.restore_next()?;
        }
        let step = io.pump(&mut client.exchange(), &[]).await?;
        io.restored(client, step)
    }

    /// Reports that the function could not resume after a restore. The session is over then. If
    /// this future is dropped, the next call continues.
    ///
    /// # Errors
    ///
    /// As [`fail_init`](Self::fail_init).
    pub async fn fail_restore(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), DriverError<C::Error>> {
        if self.machine().awaits() != Some(Call::RestoreError) {
            self.client.fail_restore(report)?;
        }
        self.finish_report().await
    }

    async fn finish_report(&mut self) -> Result<(), DriverError<C::Error>> {
        reported(self.io.pump(&mut self.client.exchange(), &[]).await?)
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        self.client.machine()
    }

    /// The connector.
    pub fn connector(&mut self) -> &mut C {
        &mut self.io.connector
    }
}
