//! The types that a handler uses.

use std::io::{self, IoSlice};
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use lambda_proto::api::{ContentType, HttpPrelude, InvocationHead};
use lambda_proto::async_driver;
use lambda_proto::client::Receipt;
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::{ErrorTypes, Failure, Response, Tasks};
use tokio::io::AsyncWrite;

use crate::connector::SlotConnector;
use crate::memory::Memory;
use crate::scratch::{Scratch, broken};

/// An invocation in flight: its event, and its head through [`Deref`] to [`InvocationHead`].
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'i>(pub(crate) lambda_proto::client::Invocation<'i>);

impl<'i> Invocation<'i> {
    /// The event, as the caller sent it: any bytes, usually JSON.
    pub fn body(&self) -> &'i [u8] {
        self.0.body()
    }

    /// The head of the invocation: ids, deadline, trace id, content type and so on.
    pub fn head(&self) -> InvocationHead<'i> {
        *self.0
    }

    /// The time left until the deadline, by the clock of this machine; `None` without a deadline.
    /// It is zero under some local services, whose deadlines lie in the past.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(clock::time_left)
    }

    /// Reads the event as JSON.
    ///
    /// To borrow text, `T` uses `Cow<str>` with `#[serde(borrow)]`: a `&str` fails for text with an
    /// escape in it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of type `Runtime.UnmarshalError` that says where the event does not fit `T`.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Deserialize<'i>>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.body()).map_err(Failure::unmarshal)
    }
}

/// The head of the invocation, for functions that take only that.
impl<'i> From<&Invocation<'i>> for InvocationHead<'i> {
    fn from(invocation: &Invocation<'i>) -> Self {
        invocation.head()
    }
}

impl<'i> Deref for Invocation<'i> {
    type Target = InvocationHead<'i>;

    fn deref(&self) -> &InvocationHead<'i> {
        &self.0
    }
}

/// The right to answer one invocation, once.
///
/// Dropped without an answer, it makes the runtime report an error for the invocation.
#[must_use = "an invocation whose responder is dropped is reported as failed"]
pub struct Responder<'i> {
    pub(crate) inner: async_driver::Responder<'i, SlotConnector, Memory>,
    pub(crate) scratch: &'i mut Scratch,
    /// Post-response work, if it is tracked.
    pub(crate) tasks: Option<&'i Tasks>,
    pub(crate) error_types: &'i ErrorTypes,
}

/// The proof that an invocation has been answered, which its handler returns.
#[derive(Debug)]
pub struct Sent<'i>(async_driver::Sent<'i>);

impl Sent<'_> {
    /// The receipt of the answer.
    pub fn receipt(&self) -> Receipt {
        self.0.receipt()
    }
}

impl<'i> Responder<'i> {
    /// Sends the response, and waits until the service has taken it.
    ///
    /// The environment keeps running until the handler returns, so post-response work belongs
    /// between this call and the return. If the service refuses the response, that is logged, and
    /// the invocation is over.
    pub async fn send<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        let (body, content_type) = response.into().into_parts();
        Sent(self.inner.send(lend(&body, content_type)).await)
    }

    /// Sends the response and asks for the next invocation in the same write. This saves two system
    /// calls, but the environment may be frozen from here on.
    ///
    /// If the connection is lost, the response is not sent again, because nothing waits for the
    /// reply to it. While registered [work](crate::Context::spawn_work) of this or an earlier
    /// invocation is running, this does the same as [`send`](Self::send), because the freeze would
    /// stop that work.
    pub async fn send_and_next<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        if has_work(self.tasks) {
            return self.send(response).await;
        }
        let (body, content_type) = response.into().into_parts();
        Sent(self.inner.send_and_next(lend(&body, content_type)).await)
    }

    /// Sends a value, owned or borrowed, as a JSON response.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of type `Runtime.MarshalError` if the value cannot be written as JSON. In that
    /// case nothing has been sent; if the handler returns the failure, the caller gets it.
    #[cfg(feature = "json")]
    pub async fn json<T: serde::Serialize>(self, value: T) -> Result<Sent<'i>, Failure> {
        let Self { inner, scratch, .. } = self;
        let body = scratch.body();
        body.clear();
        serde_json::to_writer(&mut *body, &value).map_err(Failure::marshal)?;
        // The value may hold what must not live across an await.
        drop(value);
        Ok(Sent(inner.send(lend(body, Some(ContentType::JSON))).await))
    }

    /// Streams the response: the caller gets each piece as it is written.
    pub fn stream(self, content_type: ContentType<'_>) -> ResponseStream<'i> {
        let Self { inner, scratch, tasks, error_types } = self;
        ResponseStream { inner: inner.stream(content_type), scratch, tasks, error_types }
    }

    /// Streams an HTTP response, for function URLs and API Gateway: status, headers and cookies,
    /// then the body as it is written.
    pub async fn stream_http(self, prelude: &HttpPrelude<'_>) -> ResponseStream<'i> {
        let Self { inner, scratch, tasks, error_types } = self;
        let head = scratch.body();
        if let Err(too_small) = prelude.encode(head) {
            head.resize(too_small.needed, 0);
        }
        let length = prelude.encode(head).expect("the buffer was made as long as was needed");
        let mut stream = inner.stream(ContentType::HTTP_INTEGRATION);
        // In two chunks, since cargo-lambda expects the JSON in the first and its terminator in the
        // second. If the stream is over already, the next write returns the error.
        let (json, end) = head[..length].split_at(length - HttpPrelude::END_LEN);
        if stream.write(json).await.is_ok() {
            let _is_over = stream.write(end).await;
        }
        ResponseStream { inner: stream, scratch, tasks, error_types }
    }

    /// Reports that the invocation failed, as returning the failure does, and lets the handler
    /// continue. It takes an error, a [`Failure`], or a failure by reference.
    pub async fn fail(self, failure: impl Into<Failure>) -> Sent<'i> {
        Sent(self.inner.fail(&self.error_types.report(&failure.into())).await)
    }
}

/// A response that is sent piece by piece: every write is a chunk of its own.
///
/// [`write_all`](Self::write_all) and [`send_all`](Self::send_all) send without a copy. A call of
/// [`AsyncWrite`] copies its piece into a buffer that its worker keeps, 64 KiB at most, so a longer
/// piece becomes several chunks. It begins to send the piece; the next call, `flush` or the end of
/// the stream sends the rest, and so does the runtime if the handler fails.
///
/// Returning an error from the handler, or dropping the stream, ends it with an error that the
/// caller sees after the data. Nothing is sent before the first piece or the end, so if the stream
/// fails earlier, an error is sent instead of a stream.
///
/// ```no_run
/// # use lambda_proto_tokio::{ContentType, Error, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # Runtime::from_env()?.run(async |_, responder| {
/// let mut stream = responder.stream(ContentType::TEXT);
/// for number in 0..1000 {
///     stream.write_all(format!("{number}\n").as_bytes()).await?;
/// }
/// Ok(stream.finish().await)
/// # }).await
/// # }
/// ```
#[must_use = "a stream that is dropped ends with an error; `finish` it"]
pub struct ResponseStream<'i> {
    inner: async_driver::Stream<'i, SlotConnector, Memory>,
    scratch: &'i mut Scratch,
    tasks: Option<&'i Tasks>,
    error_types: &'i ErrorTypes,
}

impl<'i> ResponseStream<'i> {
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
        let Self { inner, scratch, .. } = self;
        scratch.flush(inner).await.map_err(broken)?;
        inner.write(piece).await.map_err(broken)
    }

    /// Sends each item of a stream as a piece, as [`write_all`](Self::write_all) does, until there
    /// are no more. The response goes on: [`finish`](Self::finish) it.
    ///
    /// ```no_run
    /// # use lambda_proto_tokio::{ContentType, Error, Runtime};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # Runtime::from_env()?.run(async |_, responder| {
    /// let lines = futures_util::stream::iter(["one\n", "two\n"].map(std::io::Result::Ok));
    /// let mut out = responder.stream(ContentType::TEXT);
    /// out.send_all(lines).await?;
    /// Ok(out.finish().await)
    /// # }).await
    /// # }
    /// ```
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
    pub async fn finish(mut self) -> Sent<'i> {
        self.send_rest().await;
        Sent(self.inner.finish().await)
    }

    /// Ends the stream and asks for the next invocation in the same write.
    pub async fn finish_and_next(mut self) -> Sent<'i> {
        if has_work(self.tasks) {
            return self.finish().await;
        }
        self.send_rest().await;
        Sent(self.inner.finish_and_next().await)
    }

    /// Ends the stream with a failure; what was sent stays sent.
    pub async fn fail(mut self, failure: impl Into<Failure>) -> Sent<'i> {
        let failure = failure.into();
        self.send_rest().await;
        Sent(self.inner.fail(&self.error_types.report(&failure)).await)
    }

    /// Sends what is left of the last piece, before the end of the stream.
    async fn send_rest(&mut self) {
        // If the stream is over, its end knows the receipt.
        let _is_over = self.scratch.flush(&mut self.inner).await;
    }
}

impl AsyncWrite for ResponseStream<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(piece)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, scratch, .. } = self.get_mut();
        scratch.poll_write(context, inner, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, scratch, .. } = self.get_mut();
        scratch.poll_flush(context, inner)
    }

    /// Flushes. Only [`finish`](ResponseStream::finish) ends the stream.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

impl std::fmt::Debug for ResponseStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseStream").finish_non_exhaustive()
    }
}

/// The driver's form of a response, which borrows its body.
fn lend<'r>(body: &'r [u8], content_type: Option<ContentType<'r>>) -> async_driver::Response<'r> {
    async_driver::Response::new(body).content_type(content_type)
}

impl std::fmt::Debug for Responder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}

/// Whether registered work is running, which a freeze would stop.
pub(crate) fn has_work(tasks: Option<&Tasks>) -> bool {
    tasks.is_some_and(|tasks| tasks.outstanding() > 0)
}
