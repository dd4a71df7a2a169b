use std::fmt;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use lambda_proto::client::Receipt;
use lambda_proto_host::Failure;
use tokio::io::AsyncWrite;

use super::{Responder, Sent};
use crate::handler::has_work;
use crate::scratch::broken;

/// A response that is sent piece by piece: every write is a chunk of its own. It may move to
/// another task.
///
/// [`write_all`](Self::write_all) and [`send_all`](Self::send_all) send without a copy. A call of
/// [`AsyncWrite`] copies its piece into a buffer that its slot keeps, 64 KiB at most, so a longer
/// piece becomes several chunks. It begins to send the piece; the next call, `flush` or the end of
/// the stream sends the rest, and so does the runtime after the stream was dropped.
///
/// Returning an error from the handler, or dropping the stream, ends it with an error that the
/// caller sees after the data. Nothing is sent before the first piece or the end, so if the stream
/// fails earlier, an error is sent instead of a stream.
#[must_use = "a stream that is dropped ends with an error; `finish` it"]
pub struct ResponseStream {
    /// Its invocation is answered by the stream that has begun.
    responder: Responder,
}

impl ResponseStream {
    pub(super) fn new(responder: Responder) -> Self {
        Self { responder }
    }

    /// Sends a piece, and waits until the connection has taken it. Nothing is copied.
    ///
    /// If the future is dropped in the middle of the piece, the connection is closed, and the
    /// stream is over.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the service has ended the stream or the connection was lost. Further pieces
    /// fail, too.
    pub async fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        self.responder.worker.write(piece).await.map_err(broken)
    }

    /// Sends each item of a stream as a piece, as [`write_all`](Self::write_all) does, until there
    /// are no more. The response goes on: [`finish`](Self::finish) it.
    ///
    /// # Errors
    ///
    /// The first error of the stream, or that of `write_all`.
    /// [`Failure::downcast_ref`] returns either with its type.
    pub async fn send_all<T, E>(
        &mut self,
        pieces: impl Stream<Item = Result<T, E>>,
    ) -> Result<(), Failure>
    where
        T: AsRef<[u8]>,
        E: Into<Failure>,
    {
        let mut pieces = pin!(pieces);
        while let Some(piece) = pieces.next().await {
            self.write_all(piece.map_err(Into::into)?.as_ref()).await?;
        }
        Ok(())
    }

    /// Ends the stream, and waits until the service has taken it.
    pub async fn finish(mut self) -> Sent {
        let receipt = self.responder.worker.finish(false).await;
        self.sent(receipt)
    }

    /// Ends the stream and asks for the next invocation in the same write.
    pub async fn finish_and_next(mut self) -> Sent {
        let is_pipelined = !has_work(self.responder.tasks.as_ref());
        let receipt = self.responder.worker.finish(is_pipelined).await;
        self.sent(receipt)
    }

    /// Ends the stream with a failure; what was sent stays sent.
    pub async fn fail(mut self, failure: impl Into<Failure>) -> Sent {
        let failure = failure.into();
        let receipt = self.responder.worker.fail_stream(&failure).await;
        self.sent(receipt)
    }

    /// The proof; the fate of a stream that the service has ended is unknown.
    fn sent(&self, receipt: Option<Receipt>) -> Sent {
        Sent { receipt: receipt.unwrap_or(Receipt::FateUnknown), key: self.responder.key }
    }
}

impl AsyncWrite for ResponseStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(piece)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.responder.worker.poll_write(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.responder.worker.poll_flush(context)
    }

    /// Flushes. Only [`finish`](ResponseStream::finish) ends the stream.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream").finish_non_exhaustive()
    }
}
