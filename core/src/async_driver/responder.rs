use core::marker::PhantomData;

use super::io::Io;
use super::{Connector, Response, Sent};
use crate::api::{ContentType, ErrorReport};
use crate::client::{Exchange, Receipt, Storage, StreamOver};
use crate::flow::Invariant;

/// The right to answer one invocation, once.
///
/// If it is dropped without an answer, the driver reports an error for the invocation. What a
/// dropped future of its methods leaves is in the [table](super#cancellation).
pub struct Responder<'i, C: Connector, S: Storage> {
    exchange: Exchange<'i, S>,
    io: &'i mut Io<C>,
    invocation: Invariant<'i>,
}

impl<'i, C: Connector, S: Storage> Responder<'i, C, S> {
    pub(super) fn new(exchange: Exchange<'i, S>, io: &'i mut Io<C>) -> Self {
        Self { exchange, io, invocation: PhantomData }
    }

    /// Sends the response and waits for the reply.
    ///
    /// When this is ready, the caller of the function has its answer and the environment still
    /// runs: do further work between that and the end of the handler.
    pub async fn send<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        self.respond(response.into(), false).await
    }

    /// Sends the response and asks for the next invocation in the same write.
    ///
    /// The environment may be frozen from here on. Once both are written, the response is not sent
    /// again after a lost connection, as nobody waits for its reply. While the connector stops,
    /// this is [`send`](Self::send).
    pub async fn send_and_next<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        self.respond(response.into(), true).await
    }

    /// Reports that the invocation failed.
    pub async fn fail(mut self, report: &ErrorReport<'_>) -> Sent<'i> {
        Sent::new(fail(&mut self.exchange, self.io, report).await)
    }

    /// Begins to stream the response; see [`Exchange::stream`]. Nothing is sent yet.
    pub fn stream(self, content_type: ContentType<'_>) -> Stream<'i, C, S> {
        let Self { mut exchange, io, .. } = self;
        io.begin_stream(&mut exchange, content_type);
        Stream::new(exchange, io)
    }

    async fn respond(mut self, response: Response<'_>, is_pipelined: bool) -> Sent<'i> {
        let begun = self.io.begin_response(&mut self.exchange, &response, is_pipelined);
        Sent::new(self.io.settle(&mut self.exchange, response.body(), begun).await)
    }
}

/// Fails the invocation in flight, at the end of its stream if that has a piece.
pub(super) async fn fail<C: Connector, S: Storage>(
    exchange: &mut Exchange<'_, S>,
    io: &mut Io<C>,
    report: &ErrorReport<'_>,
) -> Receipt {
    io.withdraw(exchange);
    if exchange.is_streaming() && io.resume(exchange).await.is_err() && io.error.is_none() {
        // The service has ended the stream, which is not the failure of the handler.
        return Receipt::FateUnknown;
    }
    let begun = io.begin_failure(exchange, report);
    io.settle(exchange, &[], begun).await
}

/// A response that is sent piece by piece, one chunk per piece.
///
/// If it is dropped unfinished, the driver ends the stream with an error. Nothing is sent before
/// the first piece or the end, so a stream that fails before that is a plain error. What a dropped
/// future of its methods leaves is in the [table](super#cancellation).
pub struct Stream<'i, C: Connector, S: Storage> {
    exchange: Exchange<'i, S>,
    io: &'i mut Io<C>,
    invocation: Invariant<'i>,
}

impl<'i, C: Connector, S: Storage> Stream<'i, C, S> {
    pub(super) fn new(exchange: Exchange<'i, S>, io: &'i mut Io<C>) -> Self {
        Self { exchange, io, invocation: PhantomData }
    }

    /// Sends the whole next piece, and waits until it is written.
    ///
    /// # Errors
    ///
    /// [`StreamOver`] if the service has ended the stream or the connection was lost: further
    /// pieces are useless.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        self.begin_piece(piece.len()).await?;
        self.send_piece(piece).await
    }

    /// Sends the next piece as [`write`](Self::write) does, or continues where a dropped future of
    /// this method stopped.
    ///
    /// It is for writers with a poll function, which keep the piece in a buffer of their own. Each
    /// poll calls this with the same bytes, polls the future once, and drops it if it is pending.
    /// The piece ends with the first future that is ready; the next call begins another one. A
    /// piece of another length takes back the one in flight, as `write` does.
    ///
    /// When the future is dropped, so are the futures of the connection and of the
    /// [connector](Connector::connect). For a task to be woken after that:
    ///
    /// - reads and writes of the connection leave the waker of the task with the stream, as
    ///   `poll_read` and `poll_write` of sockets do and a future like tokio's `writable` does not;
    /// - the connector keeps an attempt to connect for its next call. An attempt that starts again
    ///   with each call never ends.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn write_on(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        if self.io.piece != Some(piece.len()) {
            self.begin_piece(piece.len()).await?;
            self.io.piece = Some(piece.len());
        }
        self.send_piece(piece).await
    }

    /// Ends the stream.
    pub async fn finish(self) -> Sent<'i> {
        self.end(false).await
    }

    /// Ends the stream and asks for the next invocation in the same write, as
    /// [`Responder::send_and_next`].
    pub async fn finish_and_next(self) -> Sent<'i> {
        self.end(true).await
    }

    /// Ends the stream with an error; the pieces sent before stay sent. Without a piece, the
    /// invocation fails as by [`Responder::fail`].
    pub async fn fail(mut self, report: &ErrorReport<'_>) -> Sent<'i> {
        Sent::new(fail(&mut self.exchange, self.io, report).await)
    }

    async fn begin_piece(&mut self, length: usize) -> Result<(), StreamOver> {
        self.io.resume(&mut self.exchange).await?;
        self.io.begin_piece(&mut self.exchange, length)
    }

    async fn send_piece(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        let result = self.io.pump(&mut self.exchange, piece).await;
        self.io.piece = None;
        self.io.continues(result)
    }

    async fn end(mut self, is_pipelined: bool) -> Sent<'i> {
        // If the stream is over, `begin_end` knows the receipt.
        let _is_over = self.io.resume(&mut self.exchange).await;
        let begun = self.io.begin_end(&mut self.exchange, is_pipelined);
        Sent::new(self.io.settle(&mut self.exchange, &[], begun).await)
    }
}
