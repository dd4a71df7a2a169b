use core::marker::PhantomData;

use super::Host;
use super::io::Io;
use crate::slot::{Answer, Exchange, Storage, StreamOver};
use crate::{ContentType, ErrorReport, Phase};

/// The answer of a buffered invocation: a body and what it is.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    body: &'a [u8],
    content_type: Option<ContentType<'a>>,
}

impl<'a> Response<'a> {
    /// Any bytes, of no stated content type.
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
/// Dropped without an answer, it makes the driver report an error for the invocation.
pub struct Reply<'i, H: Host, S: Storage> {
    exchange: Exchange<'i, S>,
    io: &'i mut Io<H>,
    invocation: Invariant<'i>,
}

/// Ties a value to one invocation: neither a longer nor a shorter lifetime fits.
type Invariant<'i> = PhantomData<fn(&'i ()) -> &'i ()>;

impl<'i, H: Host, S: Storage> Reply<'i, H, S> {
    pub(super) fn new(exchange: Exchange<'i, S>, io: &'i mut Io<H>) -> Self {
        Self { exchange, io, invocation: PhantomData }
    }

    /// Sends the answer and waits for the service's reply to it.
    ///
    /// The caller of the function has its answer then, and the environment still runs: work that
    /// follows belongs between this call and the return of the handler.
    pub fn send<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        self.respond(response.into(), false)
    }

    /// Sends the answer and asks for the next invocation in the same write.
    ///
    /// The environment may be frozen from here on. An answer whose connection is lost is not sent
    /// again, as nobody waits for the reply to it. While the host stops, it is [`send`](Self::send).
    pub fn send_and_next<'r>(self, response: impl Into<Response<'r>>) -> Sent<'i> {
        self.respond(response.into(), true)
    }

    /// Reports that the invocation failed.
    pub fn fail(mut self, report: &ErrorReport<'_>) -> Sent<'i> {
        Sent::new(fail(&mut self.exchange, self.io, report))
    }

    /// Begins to stream the answer; see [`Machine::stream`](crate::Machine::stream).
    pub fn stream(self, content_type: ContentType<'_>) -> Stream<'i, H, S> {
        let Self { mut exchange, io, .. } = self;
        if io.error.is_none() && exchange.end().is_none() {
            match exchange.stream(content_type) {
                Ok(()) => drop(io.send_part(&mut exchange, &[])),
                Err(error) => io.error = Some(error.into()),
            }
        }
        Stream { exchange, io, invocation: PhantomData }
    }

    fn respond(mut self, response: Response<'_>, is_pipelined: bool) -> Sent<'i> {
        let Response { body, content_type } = response;
        Sent::new(self.io.answer(&mut self.exchange, body, |exchange, host| {
            exchange.respond(content_type, body.len(), is_pipelined && !host.is_stopping())
        }))
    }
}

/// Fails the invocation in flight, at the end of its stream if that has begun.
pub(super) fn fail<H: Host, S: Storage>(
    exchange: &mut Exchange<'_, S>,
    io: &mut Io<H>,
    report: &ErrorReport<'_>,
) -> Answer {
    if exchange.machine().phase() != Phase::Invoking {
        // Tells that it is too late for that.
        let _too_late = exchange.fail(report, io.tell());
        return Answer::FateUnknown;
    }
    io.answer(exchange, &[], |exchange, host| exchange.fail(report, |notice| host.notice(notice)))
}

/// The proof that an invocation has been answered.
#[derive(Debug)]
pub struct Sent<'i> {
    answer: Answer,
    invocation: Invariant<'i>,
}

impl Sent<'_> {
    fn new(answer: Answer) -> Self {
        Self { answer, invocation: PhantomData }
    }

    /// What became of the answer.
    pub fn answer(&self) -> Answer {
        self.answer
    }
}

/// An answer that is sent piece by piece, each as a chunk of its own.
///
/// Dropped without an end, it makes the driver end the stream with an error.
pub struct Stream<'i, H: Host, S: Storage> {
    exchange: Exchange<'i, S>,
    io: &'i mut Io<H>,
    invocation: Invariant<'i>,
}

impl<'i, H: Host, S: Storage> Stream<'i, H, S> {
    /// Sends the next piece, whole, and blocks while the service does not take it.
    ///
    /// # Errors
    ///
    /// [`StreamOver`] if the service has ended the stream or the connection was lost: more pieces
    /// lead nowhere.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        if !self.exchange.machine().is_streaming() {
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
    /// [`Reply::send_and_next`].
    pub fn finish_and_next(self) -> Sent<'i> {
        self.end(true)
    }

    /// Ends the stream with an error; what was sent stays sent.
    pub fn fail(mut self, report: &ErrorReport<'_>) -> Sent<'i> {
        Sent::new(fail(&mut self.exchange, self.io, report))
    }

    fn end(mut self, is_pipelined: bool) -> Sent<'i> {
        if !self.exchange.machine().is_streaming() {
            return Sent::new(Answer::FateUnknown);
        }
        Sent::new(self.io.answer(&mut self.exchange, &[], |exchange, host| {
            exchange.finish(is_pipelined && !host.is_stopping())
        }))
    }
}
