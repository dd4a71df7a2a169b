//! The async driver, over the service in memory, with methods that block.

use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use lambda_proto::api::{ContentType, ErrorReport};
use lambda_proto::async_driver::{self, Connector};
use lambda_proto::client::{Invocation, Receipt, Storage, StreamOver, Warning};
use lambda_proto::machine::Machine;

pub(crate) use lambda_proto::async_driver::{DriverError, Response, Sent};

use crate::memory::{Connection, Script};

/// Polls until the future is ready. It counts on being polled, not on being woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Is pending at each first poll, and ready at each second one, whether or not the future of the
/// first one was dropped in between: like a socket.
async fn wait(is_ready: &mut bool) {
    poll_fn(|_| {
        *is_ready = !*is_ready;
        if *is_ready { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

impl ErrorType for Connection {
    type Error = ErrorKind;
}

impl Read for Connection {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, ErrorKind> {
        wait(&mut self.is_ready).await;
        self.take_read(room)
    }
}

impl Write for Connection {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        wait(&mut self.is_ready).await;
        self.take_write([bytes, b"", b""])
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl async_driver::Connection for Connection {
    async fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, ErrorKind> {
        wait(&mut self.is_ready).await;
        self.take_write(parts)
    }
}

impl Connector for Script {
    type Connection = Connection;
    type Error = &'static str;

    async fn connect(&mut self, losses: u32) -> Result<Connection, &'static str> {
        wait(&mut self.is_ready).await;
        self.take_connection(losses)
    }

    fn warn(&mut self, warning: &Warning<'_>) {
        self.note(warning);
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }
}

pub(crate) struct Driver<C: Connector, S: Storage>(async_driver::Driver<C, S>);

impl<C: Connector, S: Storage> Driver<C, S> {
    pub(crate) fn new(machine: Machine, connector: C, events: S, requests: S) -> Self {
        Self(async_driver::Driver::new(machine, connector, events, requests))
    }

    #[expect(clippy::type_complexity, reason = "as that of the driver")]
    pub(crate) fn next(
        &mut self,
    ) -> Result<Option<(Invocation<'_>, Responder<'_, C, S>)>, DriverError<C::Error>> {
        let next = block_on(self.0.next())?;
        Ok(next.map(|(invocation, responder)| (invocation, Responder(responder))))
    }

    pub(crate) fn run<F, E>(&mut self, mut handler: F) -> Result<(), DriverError<C::Error>>
    where
        F: for<'i> FnMut(Invocation<'i>, Responder<'i, C, S>) -> Result<Sent<'i>, E>,
        for<'e> &'e E: Into<ErrorReport<'e>>,
    {
        block_on(
            self.0.run(async |invocation, responder| handler(invocation, Responder(responder))),
        )
    }

    pub(crate) fn fail_init(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), DriverError<C::Error>> {
        block_on(self.0.fail_init(report))
    }

    pub(crate) fn restore_next(&mut self) -> Result<Option<Receipt>, DriverError<C::Error>> {
        block_on(self.0.restore_next())
    }

    pub(crate) fn fail_restore(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), DriverError<C::Error>> {
        block_on(self.0.fail_restore(report))
    }

    pub(crate) fn machine(&self) -> &Machine {
        self.0.machine()
    }

    pub(crate) fn connector(&mut self) -> &mut C {
        self.0.connector()
    }
}

pub(crate) struct Responder<'i, C: Connector, S: Storage>(async_driver::Responder<'i, C, S>);

impl<'i, C: Connector, S: Storage> Responder<'i, C, S> {
    pub(crate) fn send<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        block_on(self.0.send(response))
    }

    pub(crate) fn send_and_next<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        block_on(self.0.send_and_next(response))
    }

    pub(crate) fn fail(self, report: &ErrorReport<'_>) -> Sent<'i> {
        block_on(self.0.fail(report))
    }

    pub(crate) fn stream(self, content_type: ContentType<'_>) -> Stream<'i, C, S> {
        Stream(self.0.stream(content_type))
    }
}

pub(crate) struct Stream<'i, C: Connector, S: Storage>(async_driver::Stream<'i, C, S>);

impl<'i, C: Connector, S: Storage> Stream<'i, C, S> {
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        block_on(self.0.write(piece))
    }

    pub(crate) fn finish(self) -> Sent<'i> {
        block_on(self.0.finish())
    }

    pub(crate) fn finish_and_next(self) -> Sent<'i> {
        block_on(self.0.finish_and_next())
    }

    pub(crate) fn fail(self, report: &ErrorReport<'_>) -> Sent<'i> {
        block_on(self.0.fail(report))
    }
}
