use core::marker::PhantomData;

use super::Connector;
use super::io::Io;
use crate::api::{ContentType, ErrorReport};
use crate::client::{Exchange, Receipt, Storage, StreamOver};
use crate::machine::Phase;

/// A buffered response: a body and its content type.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    body: &'a [u8],
    content_type: Option<ContentType<'a>>,
}

impl<'a> Response<'a> {
    /// A response of any bytes, without a content type.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { body, content_type: None }
    }

    /// The same body with a content type, or none.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<Option<ContentType<'a>>>) -> Self {
        self.content_type = content_type.into();
        self
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Response<'a> {
    fn from(body: &'a T) -> Self {
        Self::new(body.as_ref())
    }
}

/// The right to answer one invocation, once.
///
/// If it is dropped without an answer, the driver reports an error for the invocation.
pub struct Responder<'i, C: Connector, S: Storage> {
    exchange: Exchange<'i, S>,
    io: &'i mut Io<C>,
    invocation: Invariant<'i>,
}

/// Ties a value to one invocation: neither a longer nor a shorter lifetime fits.
type Invariant<'i> = PhantomData<fn(&'i ()) -> &'i ()>;

impl<'i, C: Connector, S: Storage> Responder<'i, C, S> {
    pub(super) fn new(exchange: Exchange<'i, S>, io: &'i mut Io<C>) -> Self {
        Self { exchange, io, invocation: PhantomData }
    }

    /// Sends the response and waits for the reply.
    ///
    /// When this returns, the caller of the function has its answer and the environment still runs:
    /// do further work between this call and the return of the handler.
    pub fn send<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        self.respond(response.into(), false)
    }

    /// Sends the response and asks for the next invocation in the same write.
    ///
    /// The environment may be frozen from here on. Once both are written, the response is not sent
    /// again after a lost connection, as nobody waits for its reply. While the connector stops,
    /// this is [`send`](Self::send).
    pub fn send_and_next<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        self.respond(response.into(), true)
    }

    /// Reports that the invocation failed.
    pub fn fail(mut self, report: &ErrorReport<'_>) -> Sent<'i> {
        Sent::new(fail(&mut self.exchange, self.io, report))
    }

    /// Begins to stream the response; see [`Exchange::stream`]. Nothing is sent yet.
    pub fn stream(self, content_type: ContentType<'_>) -> Stream<'i, C, S> {
        let Self { mut exchange, io, .. } = self;
        if io.error.is_none()
            && exchange.end().is_none()
            && let Err(error) = exchange.stream(content_type)
        {
            io.error = Some(error.into());
        }
        Stream::new(exchange, io)
    }

    fn respond(mut self, response: Response<'_>, is_pipelined: bool) -> Sent<'i> {
        let Response { body, content_type } = response;
        Sent::new(self.io.answer(&mut self.exchange, body, |exchange, connector| {
            exchange.respond(content_type, body.len(), is_pipelined && !connector.is_stopping())
        }))
    }
}

/// Fails the invocation in flight, at the end of its stream if that has a piece.
pub(super) fn fail<C: Connector, S: Storage>(
    exchange: &mut Exchange<'_, S>,
    io: &mut Io<C>,
    report: &ErrorReport<'_>,
) -> Receipt {
    if exchange.machine().phase() != Phase::Invoking {
        // Only warns that it is too late.
        let _too_late = exchange.fail(report, io.tell());
        return Receipt::FateUnknown;
    }
    io.answer(exchange, &[], |exchange, connector| {
        exchange.fail(report, |warning| connector.warn(warning))
    })
}

/// The proof that an invocation has been answered.
#[derive(Debug)]
pub struct Sent<'i> {
    receipt: Receipt,
    invocation: Invariant<'i>,
}

impl Sent<'_> {
    fn new(receipt: Receipt) -> Self {
        Self { receipt, invocation: PhantomData }
    }

    /// What became of the answer.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }
}

/// A response that is sent piece by piece, one chunk per piece.
///
/// If it is dropped unfinished, the driver ends the stream with an error. Nothing is sent before
/// the first piece or the end, so a stream that fails before that is a plain error.
pub struct Stream<'i, C: Connector, S: Storage> {
    exchange: Exchange<'i, S>,
    io: &'i mut Io<C>,
    invocation: Invariant<'i>,
}

impl<'i, C: Connector, S: Storage> Stream<'i, C, S> {
    pub(super) fn new(exchange: Exchange<'i, S>, io: &'i mut Io<C>) -> Self {
        Self { exchange, io, invocation: PhantomData }
    }

    /// Sends the whole next piece, and blocks until it is written.
    ///
    /// # Errors
    ///
    /// [`StreamOver`] if the service has ended the stream or the connection was lost: further
    /// pieces are useless.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        // An earlier piece may have ended the driver.
        if !self.exchange.is_streaming() || self.io.error.is_some() {
            return Err(StreamOver);
        }
        if let Err(error) = self.exchange.chunk(piece.len()) {
            self.io.error = Some(error.into());
            return Err(StreamOver);
        }
        if self.io.send_part(&mut self.exchange, piece) { Ok(()) } else { Err(StreamOver) }
    }

    /// Ends the stream.
    pub fn finish(self) -> Sent<'i> {
        self.end(false)
    }

    /// Ends the stream and asks for the next invocation in the same write, as
    /// [`Responder::send_and_next`].
    pub fn finish_and_next(self) -> Sent<'i> {
        self.end(true)
    }

    /// Ends the stream with an error; the pieces sent before stay sent. Without a piece, the
    /// invocation fails as by [`Responder::fail`].
    pub fn fail(mut self, report: &ErrorReport<'_>) -> Sent<'i> {
        Sent::new(fail(&mut self.exchange, self.io, report))
    }

    fn end(mut self, is_pipelined: bool) -> Sent<'i> {
        if !self.exchange.is_streaming() {
            return Sent::new(Receipt::FateUnknown);
        }
        Sent::new(self.io.answer(&mut self.exchange, &[], |exchange, connector| {
            exchange.finish(is_pipelined && !connector.is_stopping())
        }))
    }
}
