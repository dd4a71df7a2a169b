//! The input and the actions of a handler, as data.

use std::ops::Deref;

use lambda_proto::api::{ContentType, HttpPrelude, InvocationHead};
use lambda_proto::client::Receipt;
use lambda_proto::driver;
use lambda_proto_host::Failure;
use lambda_proto_service::Gate;

/// What a handler sees: the event, and its head through [`Deref`].
pub struct Seen<'e> {
    head: InvocationHead<'e>,
    body: &'e [u8],
}

impl<'e> Seen<'e> {
    pub(crate) fn new(head: InvocationHead<'e>, body: &'e [u8]) -> Self {
        Self { head, body }
    }

    /// The event.
    pub fn body(&self) -> &'e [u8] {
        self.body
    }
}

impl<'e> Deref for Seen<'e> {
    type Target = InvocationHead<'e>;

    fn deref(&self) -> &InvocationHead<'e> {
        &self.head
    }
}

/// The action of a handler.
pub enum Act {
    /// Sends a response.
    Send(Response),
    /// Sends a response and asks for the next invocation.
    SendAndNext(Response),
    /// Streams a response.
    Stream(Streamed),
    /// Fails.
    Fail(Failure),
    /// Drops the responder.
    Drop,
    /// Answers, gets the receipt, and continues; only where answering blocks.
    Then(Box<Self>, After),
}

/// What a handler does after it has answered, when a failure is too late.
pub type After = Box<dyn FnOnce(Receipt) -> Result<(), Failure> + Send>;

impl Act {
    /// Sends a response.
    pub fn send(response: impl Into<Response>) -> Self {
        Self::Send(response.into())
    }

    /// Sends a response and asks for the next invocation.
    pub fn send_and_next(response: impl Into<Response>) -> Self {
        Self::SendAndNext(response.into())
    }

    /// Fails with this type and message.
    pub fn fail(error_type: &'static str, message: &'static str) -> Self {
        Self::Fail(Failure::new(error_type, message))
    }

    /// Begins to stream a response of this content type.
    pub fn stream(content_type: ContentType<'static>) -> Streamed {
        Streamed::new(Head::Plain(content_type))
    }

    /// Begins to stream an HTTP response of this status, header and cookie.
    pub fn stream_http(status: u16, header: (&str, &str), cookie: &str) -> Streamed {
        let (name, value) = header;
        Streamed::new(Head::Http(status, name.to_owned(), value.to_owned(), cookie.to_owned()))
    }

    /// Does this, and then calls `after`.
    pub fn then(self, after: impl FnOnce(Receipt) -> Result<(), Failure> + Send + 'static) -> Self {
        Self::Then(Box::new(self), Box::new(after))
    }

    /// Does this, and then fails.
    pub fn then_fail(self, error_type: &'static str, message: &'static str) -> Self {
        self.then(move |_| Err(Failure::new(error_type, message)))
    }
}

/// A body and its content type.
pub struct Response {
    body: Vec<u8>,
    content_type: Option<Vec<u8>>,
}

impl<T: Into<Vec<u8>>> From<T> for Response {
    fn from(body: T) -> Self {
        Self { body: body.into(), content_type: None }
    }
}

impl Response {
    /// The same response with a content type, which may be any bytes.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<Vec<u8>>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn checked_type(&self) -> Result<Option<ContentType<'_>>, Failure> {
        let content_type = self.content_type.as_deref();
        Ok(content_type.map(ContentType::from_bytes).transpose()?)
    }

    pub(crate) fn lent(&self) -> Result<lambda_proto_host::Response<'_>, Failure> {
        let response = lambda_proto_host::Response::new(&self.body);
        Ok(response.content_type(self.checked_type()?))
    }

    pub(crate) fn for_driver(&self) -> Result<driver::Response<'_>, Failure> {
        Ok(driver::Response::new(&self.body).content_type(self.checked_type()?))
    }
}

/// A response in pieces.
pub struct Streamed {
    pub(crate) head: Head,
    pieces: Box<dyn Iterator<Item = Vec<u8>> + Send>,
    broke: Option<Gate>,
    ending: Ending,
}

/// The beginning of a stream.
pub enum Head {
    /// A content type.
    Plain(ContentType<'static>),
    /// An HTTP status, the name and value of a header, and a cookie.
    Http(u16, String, String, String),
}

impl Head {
    /// Calls `stream` with the prelude.
    pub(crate) fn with_prelude<T>(
        status: u16,
        header: (&str, &str),
        cookie: &str,
        stream: impl FnOnce(&HttpPrelude<'_>) -> T,
    ) -> Result<T, Failure> {
        Ok(stream(&HttpPrelude::new(status, &[header], &[cookie])?))
    }
}

/// How a stream ends.
pub enum Ending {
    /// Normally.
    Finish,
    /// Normally, and asks for the next invocation.
    FinishAndNext,
    /// With a failure that is passed to the stream.
    Fail(Failure),
    /// With a failure that the handler returns, where handlers return a result.
    Return(Failure),
    /// It is dropped.
    Drop,
}

impl Streamed {
    fn new(head: Head) -> Self {
        Self { head, pieces: Box::new(std::iter::empty()), broke: None, ending: Ending::Drop }
    }

    /// The same stream with these pieces. Between them the iterator may block.
    #[must_use]
    pub fn pieces<I>(mut self, pieces: I) -> Self
    where
        I: IntoIterator<Item: Into<Vec<u8>> + 'static, IntoIter: Send + 'static>,
    {
        self.pieces = Box::new(pieces.into_iter().map(Into::into));
        self
    }

    /// Opens the gate when a piece is not taken; then the stream ends with that failure.
    #[must_use]
    pub fn on_break(mut self, gate: Gate) -> Self {
        self.broke = Some(gate);
        self
    }

    /// Ends normally.
    pub fn finish(self) -> Act {
        self.end(Ending::Finish)
    }

    /// Ends normally and asks for the next invocation.
    pub fn finish_and_next(self) -> Act {
        self.end(Ending::FinishAndNext)
    }

    /// Ends with a failure that is passed to the stream.
    pub fn fail(self, failure: Failure) -> Act {
        self.end(Ending::Fail(failure))
    }

    /// Ends with a failure that the handler returns, where handlers return a result.
    pub fn fail_by_returning(self, failure: Failure) -> Act {
        self.end(Ending::Return(failure))
    }

    /// Is dropped.
    pub fn give_up(self) -> Act {
        self.end(Ending::Drop)
    }

    fn end(self, ending: Ending) -> Act {
        Act::Stream(Self { ending, ..self })
    }

    /// Writes all pieces, and returns how to end.
    pub(crate) fn write(mut self, mut write: impl FnMut(&[u8]) -> Result<(), Failure>) -> Ending {
        let written = self.pieces.try_for_each(|piece| write(&piece));
        self.ending(written)
    }

    /// The next piece, where writing is awaited.
    pub(crate) fn next_piece(&mut self) -> Option<Vec<u8>> {
        self.pieces.next()
    }

    /// How to end, after all pieces are written or one has failed.
    pub(crate) fn ending(self, written: Result<(), Failure>) -> Ending {
        match written {
            Ok(()) => self.ending,
            Err(failure) => {
                if let Some(broke) = self.broke {
                    broke.open();
                }
                Ending::Return(failure)
            }
        }
    }
}
