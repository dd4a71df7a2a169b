use std::fmt;

use lambda_proto::api::{ContentType, HttpPrelude};
use lambda_proto::client::Receipt;
#[cfg(feature = "http")]
use lambda_proto_host::Level;
use lambda_proto_host::{Failure, Response, Tasks};

use super::ResponseStream;
use super::slot::{Key, Lease};
use crate::handler;

/// The right to answer one invocation, once; it may move to another task.
///
/// Dropped without an answer, it makes the runtime report an error for the invocation.
#[must_use = "an invocation whose responder is dropped is reported as failed"]
pub struct Responder {
    pub(super) worker: Lease,
    pub(super) key: Key,
    /// Post-response work, if it is tracked.
    pub(super) tasks: Option<Tasks>,
}

/// The proof that an invocation has been answered, which its handler returns.
#[derive(Debug)]
pub struct Sent {
    pub(super) receipt: Receipt,
    pub(super) key: Key,
}

impl Sent {
    /// The receipt of the answer.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }
}

impl Responder {
    pub(super) fn new(worker: Lease, key: Key, tasks: Option<Tasks>) -> Self {
        Self { worker, key, tasks }
    }

    /// Sends the response, and waits until the service has taken it.
    ///
    /// The environment keeps running until the handler returns, so post-response work belongs
    /// between this call and the return. If the service refuses the response, that is logged, and
    /// the invocation is over.
    pub async fn send<'r>(mut self, response: impl Into<Response<'r>>) -> Sent {
        let receipt = self.lent().send(response).await.receipt();
        Sent { receipt, key: self.key }
    }

    /// Sends the response and asks for the next invocation in the same write. This saves two system
    /// calls, but the environment may be frozen from here on.
    ///
    /// If the connection is lost, the response is not sent again, because nothing waits for the
    /// reply to it. While registered [work](crate::Context::begin_work) of this or an earlier
    /// invocation is running, this does the same as [`send`](Self::send), because the freeze would
    /// stop that work.
    pub async fn send_and_next<'r>(mut self, response: impl Into<Response<'r>>) -> Sent {
        let receipt = self.lent().send_and_next(response).await.receipt();
        Sent { receipt, key: self.key }
    }

    /// Sends a value, owned or borrowed, as a JSON response.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of type `Runtime.MarshalError` if the value cannot be written as JSON. In that
    /// case nothing has been sent; if the handler returns the failure, the caller gets it.
    #[cfg(feature = "json")]
    pub async fn json<T: serde::Serialize>(mut self, value: T) -> Result<Sent, Failure> {
        let receipt = self.lent().json(value).await?.receipt();
        Ok(Sent { receipt, key: self.key })
    }

    /// Streams the response: the caller gets each piece as it is written.
    pub fn stream(mut self, content_type: ContentType<'_>) -> ResponseStream {
        // The driver keeps the stream open when this is dropped.
        let _stream = self.lent().stream(content_type);
        ResponseStream::new(self)
    }

    /// Streams an HTTP response, for function URLs and API Gateway: status, headers and cookies,
    /// then the body as it is written.
    pub async fn stream_http(mut self, prelude: &HttpPrelude<'_>) -> ResponseStream {
        let _stream = self.lent().stream_http(prelude).await;
        ResponseStream::new(self)
    }

    /// Reports that the invocation failed, as returning the failure does, and lets the handler
    /// continue. It takes an error, a [`Failure`], or a failure by reference.
    pub async fn fail(mut self, failure: impl Into<Failure>) -> Sent {
        let receipt = self.lent().fail(failure).await.receipt();
        Sent { receipt, key: self.key }
    }

    /// Logs a failure that the answer hides.
    #[cfg(feature = "http")]
    pub(crate) fn log_failure(
        &self,
        level: Level,
        request_id: &str,
        what: fmt::Arguments<'_>,
        failure: Failure,
    ) {
        self.worker.log_failure(level, request_id, what, failure);
    }

    /// The proof of what the [lent](Self::lent) responder has sent.
    #[cfg(feature = "lambda-runtime")]
    pub(crate) fn sent(&self, receipt: Receipt) -> Sent {
        Sent { receipt, key: self.key }
    }

    /// The same as a responder that borrows the worker.
    pub(crate) fn lent(&mut self) -> handler::Responder<'_> {
        let responder = self.worker.responder(self.tasks.as_ref());
        responder.expect("an invocation is unanswered while its responder exists")
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}
