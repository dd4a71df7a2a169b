//! What a handler sees.

use std::io;
use std::ops::Deref;
use std::time::Duration;

use lambda_proto::api::{ContentType, HttpPrelude, InvocationHead};
use lambda_proto::client::{Receipt, VecStorage};
use lambda_proto::driver::{self, Response};
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::{Failure, Tasks};

use crate::slot::SlotHost;

/// An invocation in hand: what came with it (by [`Deref`] to [`InvocationHead`]) and the event.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'i>(pub(crate) lambda_proto::client::Invocation<'i>);

impl<'i> Invocation<'i> {
    /// The event, as whoever invoked the function sent it: any bytes, mostly JSON.
    pub fn body(&self) -> &'i [u8] {
        self.0.body()
    }

    /// What came with the event: ids, deadline, trace id, content type and so on.
    pub fn head(&self) -> InvocationHead<'i> {
        *self.0
    }

    /// The time left until the deadline, by the clock of this machine; `None` if no deadline came. It is
    /// zero under some local services, whose deadlines lie in the past.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(clock::time_left)
    }

    /// The event, read as JSON.
    ///
    /// A `T` that borrows its text does so as `Cow<str>` with `#[serde(borrow)]`: a `&str` fails for text
    /// with an escape in it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of type `Runtime.UnmarshalError` that says where the event is not what `T`
    /// wants.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Deserialize<'i>>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.body()).map_err(Failure::unmarshal)
    }
}

/// What came with the invocation, for functions that take that alone.
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
pub struct Responder<'i> {
    pub(crate) inner: driver::Responder<'i, SlotHost, VecStorage>,
    /// Memory that stays with the worker, for bodies that have to be put together.
    pub(crate) scratch: &'i mut Vec<u8>,
    /// Work behind answers, if anybody keeps book of it.
    pub(crate) tasks: Option<&'i Tasks>,
}

/// The proof that an invocation has been answered; what its handler returns.
#[derive(Debug)]
pub struct Sent<'i>(driver::Sent<'i>);

impl Sent<'_> {
    /// What became of the answer.
    pub fn receipt(&self) -> Receipt {
        self.0.receipt()
    }
}

impl<'i> Responder<'i> {
    pub(crate) fn with_tasks(self, tasks: &'i Tasks) -> Self {
        Self { tasks: Some(tasks), ..self }
    }

    /// Sends the answer, and returns when the service has taken it.
    ///
    /// The environment still runs then: work that follows belongs between this call and the return of
    /// the handler. If the service refuses the answer, that is logged and the invocation is over.
    pub fn send<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        Sent(self.inner.send(response))
    }

    /// Sends the answer and asks for the next invocation in the same write: two system calls fewer,
    /// and the environment may be frozen from here on.
    ///
    /// An answer whose connection is lost is not sent again, as nobody waits for the reply to it. While
    /// [work](crate::Context::begin_work) goes on behind this answer or an earlier one it is
    /// [`send`](Self::send), as the freeze would stop that.
    pub fn send_and_next<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        if has_work(self.tasks) {
            return self.send(response);
        }
        Sent(self.inner.send_and_next(response))
    }

    /// Sends the answer as JSON.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of type `Runtime.MarshalError` if the value cannot be written as JSON. Nothing
    /// has been sent then; returned from the handler, it is what the caller gets.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Result<Sent<'i>, Failure> {
        let Self { inner, scratch, .. } = self;
        scratch.clear();
        serde_json::to_writer(&mut *scratch, value).map_err(Failure::marshal)?;
        Ok(Sent(inner.send(Response::new(scratch).content_type(ContentType::JSON))))
    }

    /// Streams the answer: the caller gets each piece as it is written.
    pub fn stream(self, content_type: ContentType<'_>) -> ResponseStream<'i> {
        ResponseStream { inner: self.inner.stream(content_type), tasks: self.tasks }
    }

    /// Streams an HTTP response, for function URLs and API Gateway: status, headers and cookies, then
    /// the body as it is written.
    pub fn stream_http(self, prelude: &HttpPrelude<'_>) -> ResponseStream<'i> {
        let Self { inner, scratch, tasks, .. } = self;
        if let Err(too_small) = prelude.encode(scratch) {
            scratch.resize(too_small.needed, 0);
        }
        let length = prelude.encode(scratch).expect("the buffer was made as long as was needed");
        let mut stream = inner.stream(ContentType::HTTP_INTEGRATION);
        // In two chunks: cargo-lambda takes the first for the JSON and the second for what ends it.
        // Should the stream be over already, the next write says so.
        let (json, end) = scratch[..length].split_at(length - HttpPrelude::END_LEN);
        let _ = stream.write(json).and_then(|()| stream.write(end));
        ResponseStream { inner: stream, tasks }
    }

    /// Reports that the invocation failed, as returning the failure does, and goes on.
    pub fn fail(self, failure: &Failure) -> Sent<'i> {
        Sent(self.inner.fail(&failure.as_error_report()))
    }
}

/// An answer that is sent piece by piece: every write is a chunk of its own.
///
/// Wrap it in a [`BufWriter`](io::BufWriter) where pieces are small. Returning an error from the
/// handler, or dropping the stream, ends it with an error that the caller sees behind what was
/// written.
///
/// ```no_run
/// # use std::io::{BufWriter, Write};
/// # use lambda_proto_std::{ContentType, Error, Runtime};
/// # fn main() -> Result<(), Error> {
/// # Runtime::from_env()?.run(|_, responder| {
/// let mut out = BufWriter::new(responder.stream(ContentType::TEXT));
/// for number in 0..1000 {
///     writeln!(out, "{number}")?;
/// }
/// let stream = out.into_inner()?;
/// Ok(stream.finish())
/// # })
/// # }
/// ```
#[must_use = "a stream that is dropped ends with an error; `finish` it"]
pub struct ResponseStream<'i> {
    inner: driver::Stream<'i, SlotHost, VecStorage>,
    tasks: Option<&'i Tasks>,
}

impl<'i> ResponseStream<'i> {
    /// Ends the stream, and returns when the service has taken it.
    pub fn finish(self) -> Sent<'i> {
        Sent(self.inner.finish())
    }

    /// Ends the stream and asks for the next invocation in the same write.
    pub fn finish_and_next(self) -> Sent<'i> {
        if has_work(self.tasks) {
            return self.finish();
        }
        Sent(self.inner.finish_and_next())
    }

    /// Ends the stream with a failure.
    pub fn fail(self, failure: &Failure) -> Sent<'i> {
        Sent(self.inner.fail(&failure.as_error_report()))
    }
}

impl std::fmt::Debug for ResponseStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseStream").finish_non_exhaustive()
    }
}

impl io::Write for ResponseStream<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self.inner.write(piece) {
            Ok(()) => Ok(piece.len()),
            Err(over) => Err(io::Error::new(io::ErrorKind::BrokenPipe, over)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether work goes on that must not be frozen.
fn has_work(tasks: Option<&Tasks>) -> bool {
    tasks.is_some_and(|tasks| tasks.outstanding() > 0)
}
