//! The answer to an invocation, buffered or streamed.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Buf, BufMut};
use futures_util::FutureExt;
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body;
use lambda_proto::api::{ContentType, HttpPrelude};
use lambda_proto_host::{self as host, Failure, Level};

use super::OnError;
use super::response::{self, Form};
use crate::parallel::{Invocation, Responder, ResponseStream, Sent};
use crate::tower;

/// The answer of [`Http`](super::Http) to an invocation: the response of the application, or its
/// failure if the client gets a response for that.
pub struct HttpAnswer<B> {
    pub(super) result: Result<Response<B>, Instead>,
    pub(super) plan: Plan,
}

/// What the client gets instead of a response of the application, and why.
#[derive(Clone)]
pub(super) struct Instead {
    pub(super) status: StatusCode,
    pub(super) failure: Failure,
}

/// How an invocation is answered.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) invocation: Arc<Invocation>,
    pub(super) form: Form,
    /// Whether its source gets a response piece by piece.
    pub(super) is_streamed: bool,
    pub(super) on_error: OnError,
}

/// # Errors
///
/// The error of the body, unless the client gets a response for that, or the error of a write to a
/// stream that is over. If the stream has begun, it ends with the error.
impl<B> tower::Answer for HttpAnswer<B>
where
    B: Body<Data: Send, Error: Into<Failure>> + Send,
{
    async fn answer(self, responder: Responder) -> Result<Sent, Failure> {
        let Self { result, plan } = self;
        let (head, body) = match result {
            Ok(response) => response.into_parts(),
            Err(instead) => return plan.respond(instead, responder).await,
        };
        if plan.is_streamed {
            return plan.stream(&head, body, responder).await;
        }
        match collect(body).await {
            Ok(body) => plan.send(&head, &body, responder).await,
            Err(failure) => plan.fail(failure, responder).await,
        }
    }
}

impl Plan {
    /// What the client gets if the application has failed before it has responded.
    ///
    /// # Errors
    ///
    /// The failure, if it is reported.
    pub(super) fn instead(&self, failure: Failure) -> Result<Instead, Failure> {
        match self.on_error {
            OnError::Report => Err(failure),
            OnError::Respond => Ok(Instead { status: StatusCode::INTERNAL_SERVER_ERROR, failure }),
        }
    }

    async fn fail(self, failure: Failure, responder: Responder) -> Result<Sent, Failure> {
        let instead = self.instead(failure)?;
        self.respond(instead, responder).await
    }

    async fn respond(self, instead: Instead, responder: Responder) -> Result<Sent, Failure> {
        let Instead { status, failure } = instead;
        let (level, what) = match status.is_client_error() {
            true => (Level::Warn, "the request is invalid"),
            false => {
                #[cfg(feature = "tracing")]
                crate::span::record_current(&failure);
                (Level::Error, "the application failed")
            }
        };
        responder.log_failure(
            level,
            self.invocation.request_id(),
            format_args!("{what}; responding with status {status}"),
            failure,
        );
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = status;
        if self.is_streamed {
            return Ok(begin(&head, responder).await?.finish().await);
        }
        self.send(&head, &[], responder).await
    }

    async fn send(self, head: &Parts, body: &[u8], responder: Responder) -> Result<Sent, Failure> {
        let answer = self.form.encode(head, body).map_err(Failure::marshal)?;
        let answer = host::Response::new(answer).content_type(ContentType::JSON);
        Ok(responder.send(answer).await)
    }

    /// Sends the response while its body arrives.
    ///
    /// # Errors
    ///
    /// The error of the body, or of a write to a stream that is over.
    async fn stream<B>(self, head: &Parts, body: B, responder: Responder) -> Result<Sent, Failure>
    where
        B: Body<Error: Into<Failure>>,
    {
        let mut body = pin!(body);
        // If it fails at once, nothing has been sent yet.
        let mut first = next(&mut body).now_or_never();
        if let Some(Some(Err(failure))) = first {
            return self.fail(failure, responder).await;
        }
        let mut out = begin(head, responder).await?;
        loop {
            let data = match first.take() {
                Some(data) => data,
                None => next(&mut body).await,
            };
            let mut data = match data {
                Some(Ok(data)) => data,
                // The runtime ends the stream with it.
                Some(Err(failure)) => return Err(failure),
                None => return Ok(out.finish().await),
            };
            while data.has_remaining() {
                let piece = data.chunk();
                let length = piece.len();
                out.write_all(piece).await?;
                data.advance(length);
            }
        }
    }
}

/// Begins a streamed response with what comes before the body.
async fn begin(head: &Parts, responder: Responder) -> Result<ResponseStream, Failure> {
    let headers = response::joined(&head.headers);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let cookies = response::cookies(&head.headers);
    let cookies: Vec<_> = cookies.iter().map(|cookie| &**cookie).collect();
    let prelude = HttpPrelude::new(head.status.as_u16(), &headers, &cookies)?;
    Ok(responder.stream_http(&prelude).await)
}

async fn collect<B>(body: B) -> Result<Vec<u8>, Failure>
where
    B: Body<Error: Into<Failure>>,
{
    let mut bytes = Vec::new();
    let mut body = pin!(body);
    while let Some(data) = next(&mut body).await {
        bytes.put(data?);
    }
    Ok(bytes)
}

/// The next data of a body. Trailers are passed over, since no source takes any.
fn next<B>(body: &mut Pin<&mut B>) -> impl Future<Output = Option<Result<B::Data, Failure>>>
where
    B: Body<Error: Into<Failure>>,
{
    poll_fn(|context| {
        loop {
            match ready!(body.as_mut().poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
    })
}

impl<B> fmt::Debug for HttpAnswer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer").finish_non_exhaustive()
    }
}
