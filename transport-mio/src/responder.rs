use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use lambda_proto::api::{ContentType, HttpPrelude};
use lambda_proto_host::{Failure, Response, unwinding};

use crate::command_queue::{Command, CommandQueue, Key, Next, OwnContentType};
use crate::pool::Use;
use crate::sent::Sent;
use crate::stream::ResponseStream;

/// The right to answer one invocation, once; it may move to another thread.
///
/// Dropped without an answer, it reports an error for its invocation.
#[must_use = "an invocation whose responder is dropped is reported as failed"]
pub struct Responder {
    /// `None` once it has been used.
    queue: Option<Arc<CommandQueue>>,
    key: Key,
}

impl Responder {
    pub(crate) fn new(queue: Arc<CommandQueue>, key: Key) -> Self {
        Self { queue: Some(queue), key }
    }

    /// The key of the invocation that it answers.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Sends the response. When the service has taken it, the slot asks for its next invocation.
    ///
    /// A borrowed body is copied into memory of the pool; if there is not enough memory, the
    /// invocation fails with the type `Runtime.OutOfMemory`. An owned body is not copied, and its
    /// memory goes to the pool afterwards.
    pub fn send<'r>(self, response: impl Into<Response<'r>>) -> Sent {
        self.respond(response.into(), Next::AfterReply)
    }

    /// Sends the response and asks for the next invocation in the same write.
    ///
    /// If the connection is lost, the response is not sent again, because nothing waits for the
    /// reply to it. With one slot, while registered [work](crate::Context::begin_work) is running
    /// after an answer, this does the same as [`send`](Self::send), because the freeze would stop
    /// that work.
    pub fn send_and_next<'r>(self, response: impl Into<Response<'r>>) -> Sent {
        self.respond(response.into(), Next::Pipelined)
    }

    /// Sends the response, and asks for the next invocation only when the [`Hold`] is dropped.
    ///
    /// It is for post-response work: the environment is not frozen until the runtime asks for the
    /// next invocation. [`Event::Settled`](crate::Event::Settled) says when the caller has the
    /// response.
    pub fn send_and_hold<'r>(self, response: impl Into<Response<'r>>) -> Hold {
        let hold = Hold { queue: self.queue().clone(), key: self.key };
        self.respond(response.into(), Next::Held);
        hold
    }

    /// Sends a value, owned or borrowed, as a JSON response.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of type `Runtime.MarshalError` if the value cannot be written as JSON. In that
    /// case no response has been sent, and the failure is reported for the invocation, also in an
    /// embedder's own loop. A handler may return another failure instead.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize>(mut self, value: T) -> Result<Sent, Failure> {
        let mut body = self.buffer();
        match serde_json::to_writer(&mut body, &value) {
            Ok(()) => Ok(self.send(Response::from(body).content_type(ContentType::JSON))),
            Err(error) => {
                let failure = Failure::marshal(error);
                self.give(Command::GiveUp(Some(failure.clone())));
                Err(failure)
            }
        }
    }

    /// Keeps the right to answer, for a handler that answers after it has returned, or from another
    /// thread; the handler returns the [`Sent`].
    ///
    /// ```no_run
    /// # use lambda_proto_mio::{Error, Runtime};
    /// # fn main() -> Result<(), Error> {
    /// Runtime::from_env()?.run(|invocation, responder| {
    ///     let (responder, sent) = responder.defer();
    ///     std::thread::spawn(move || responder.send(invocation.body()));
    ///     Ok(sent)
    /// })
    /// # }
    /// ```
    pub fn defer(self) -> (Self, Sent) {
        let sent = Sent::new(self.key);
        (self, sent)
    }

    /// An empty buffer from the pool, in which to assemble a body.
    pub fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.queue().pool.take(Use::Body);
        buffer.clear();
        buffer
    }

    /// Reports that the invocation failed, as returning the failure does. It takes an error, a
    /// [`Failure`], or a failure by reference.
    pub fn fail(mut self, failure: impl Into<Failure>) -> Sent {
        self.give(Command::Fail(failure.into()))
    }

    /// Streams the response: the caller gets each piece as it is written.
    ///
    /// A handler that writes before it returns can write 64 KiB more than the socket takes. Past
    /// that, a write fails with [`WouldBlock`](std::io::ErrorKind::WouldBlock), because the loop
    /// cannot wait for itself. To write more, [`defer`](Self::defer) and write on another thread:
    /// [`ResponseStream`] has an example.
    pub fn stream(mut self, content_type: ContentType<'_>) -> ResponseStream {
        let stream = ResponseStream::open(self.queue().clone(), self.key);
        self.give(Command::Stream(own(content_type)));
        stream
    }

    /// Streams an HTTP response, for function URLs and API Gateway: status, headers and cookies,
    /// then the body as it is written.
    pub fn stream_http(self, prelude: &HttpPrelude<'_>) -> ResponseStream {
        let pool = self.queue().pool.clone();
        let mut bytes = self.buffer();
        if let Err(too_small) = prelude.encode(&mut bytes) {
            bytes.resize(too_small.needed, 0);
        }
        let length = prelude.encode(&mut bytes).expect("the buffer was made as long as was needed");
        let mut stream = self.stream(ContentType::HTTP_INTEGRATION);
        // In two chunks, since cargo-lambda expects the JSON in the first and its terminator in the
        // second. If the stream is over already, the next write returns the error.
        let (json, end) = bytes[..length].split_at(length - HttpPrelude::END_LEN);
        let _ = stream.write_whole(json).and_then(|()| stream.write_whole(end));
        pool.give(Use::Body, bytes);
        stream
    }

    fn respond(mut self, response: Response<'_>, next: Next) -> Sent {
        let (body, content_type) = response.into_parts();
        let content_type = content_type.map(own);
        let body = match body {
            Cow::Owned(body) => body,
            Cow::Borrowed(borrowed) => {
                let mut body = self.buffer();
                if body.try_reserve(borrowed.len()).is_err() {
                    return self.give(Command::Fail(Failure::new(
                        "Runtime.OutOfMemory",
                        format!("no memory to copy a response of {} bytes", borrowed.len()),
                    )));
                }
                body.extend_from_slice(borrowed);
                body
            }
        };
        self.give(Command::Respond { body, content_type, next })
    }

    fn give(&mut self, command: Command) -> Sent {
        if let Some(queue) = self.queue.take() {
            queue.push(self.key, command);
        }
        Sent::new(self.key)
    }

    fn queue(&self) -> &Arc<CommandQueue> {
        self.queue.as_ref().expect("it is there until the responder is used")
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.give(Command::GiveUp(unwinding()));
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Copies a content type. It fits, since its length was checked.
fn own(content_type: ContentType<'_>) -> OwnContentType {
    OwnContentType::from_slice(content_type.as_bytes()).unwrap_or_default()
}

/// Keeps a slot from asking for its next invocation until it is dropped.
#[must_use = "the slot asks for its next invocation when this is dropped"]
pub struct Hold {
    queue: Arc<CommandQueue>,
    key: Key,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.queue.push(self.key, Command::Release);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("key", &self.key).finish_non_exhaustive()
    }
}
