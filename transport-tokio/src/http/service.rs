use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use ::http::{Request, Response};
use lambda_proto_host::Failure;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::answer::{Instead, Plan};
use super::request::{self, Refused};
use super::response::Form;
use super::{Body, HttpAnswer};
use crate::Context;
use crate::parallel::Invocation;
use crate::tower::BoxError;

/// The service of invocations that an HTTP application becomes, for
/// [`Runtime::run_service`](crate::Runtime::run_service); see [`http`](crate::http).
///
/// The application is a service from `http::Request<Body>` to `http::Response<B>`, where `B` is any
/// body. Its error is anything that becomes a [`Failure`], such as `Infallible` or a boxed error.
///
/// A load balancer without multi-value headers gets at most 512 cookies with a response, since each
/// needs a header name of its own; further ones are left out.
#[derive(Clone)]
pub struct Http<S> {
    app: S,
    is_streamed: bool,
    on_error: OnError,
    /// The error of an application that does not become ready.
    unready: Option<Failure>,
}

/// What becomes of an error of the application, or of the body of its response.
///
/// A panic is a failure of the invocation in any case, as is an event that is not an HTTP request. A
/// request of a client that is invalid gets a response with its [status](super::EventError::status).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// The invocation fails, as with any handler: the error is logged, reported with its type, and
    /// counted by the metric `Errors` of the function. The client gets what the source answers for
    /// a function that fails, a status of 500 or 502.
    #[default]
    Report,
    /// The error is logged, and the client gets a response with the status 500 and no body. For the
    /// metrics the invocation has succeeded.
    ///
    /// A streamed response has begun when its body fails, unless it fails at once. It ends with the
    /// error.
    Respond,
}

impl<S> Http<S> {
    /// A service that answers invocations with this application, and responses as a whole.
    pub fn new(app: S) -> Self {
        Self { app, is_streamed: false, on_error: OnError::default(), unready: None }
    }

    /// Whether function URLs and REST APIs get responses piece by piece. Other sources do not
    /// support that, and still get them as a whole. A function URL is known by its domain name.
    ///
    /// It has to match the configuration of the function URL (invoke mode `RESPONSE_STREAM`) or of
    /// the API (response transfer mode `STREAM`), which the event does not show. A client of a
    /// function URL or REST API that is not configured so gets no valid response.
    #[must_use]
    pub fn streaming(mut self, is_streamed: bool) -> Self {
        self.is_streamed = is_streamed;
        self
    }

    /// What becomes of an error of the application; it is [reported](OnError::Report) unless set.
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Waits for the application. Its error is kept for the invocation that follows.
    fn poll_app(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>>
    where
        S: Service<Request<Body>, Error: Into<Failure>>,
    {
        self.unready = ready!(self.app.poll_ready(context)).err().map(Into::into);
        Poll::Ready(Ok(()))
    }

    fn begin(
        &mut self,
        invocation: Invocation,
        extend: impl FnOnce(&mut Request<Body>),
    ) -> HttpFuture<S::Future>
    where
        S: Service<Request<Body>>,
    {
        let (mut request, form) = match request::read(&invocation) {
            Ok(read) => read,
            Err(Refused { error, form }) => {
                let status = error.status();
                let failure = Failure::from(error).error_type(UNMARSHAL);
                let result = match (status, form) {
                    (Some(status), Some(form)) => {
                        let plan = self.plan(Arc::new(invocation), form);
                        Ok((Instead { status, failure }, plan))
                    }
                    _ => Err(failure),
                };
                return HttpFuture { state: State::Uncalled { result } };
            }
        };
        let invocation = Arc::new(invocation);
        let plan = self.plan(invocation.clone(), form);
        let state = match self.unready.take() {
            Some(failure) => {
                State::Uncalled { result: plan.instead(failure).map(|instead| (instead, plan)) }
            }
            None => {
                request.extensions_mut().insert(invocation);
                extend(&mut request);
                State::Called { future: self.app.call(request), plan }
            }
        };
        HttpFuture { state }
    }

    fn plan(&self, invocation: Arc<Invocation>, form: Form) -> Plan {
        let is_streamed = self.is_streamed && form.can_stream();
        Plan { invocation, form, is_streamed, on_error: self.on_error }
    }
}

/// The error type of an event that is not what the function expects.
const UNMARSHAL: &str = "Runtime.UnmarshalError";

impl<S, B> Service<Invocation> for Http<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<Failure>>,
{
    type Response = HttpAnswer<B>;
    type Error = BoxError;
    type Future = HttpFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll_app(context)
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        self.begin(invocation, |_| {})
    }
}

/// With a [lifecycle](crate::Runtime::lifecycle), whose context is an extension of the request.
impl<S, B> Service<(Invocation, Context)> for Http<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<Failure>>,
{
    type Response = HttpAnswer<B>;
    type Error = BoxError;
    type Future = HttpFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll_app(context)
    }

    fn call(&mut self, (invocation, context): (Invocation, Context)) -> Self::Future {
        self.begin(invocation, |request| {
            request.extensions_mut().insert(Arc::new(context));
        })
    }
}

impl<S> fmt::Debug for Http<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Http`].
    pub struct HttpFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Called { #[pin] future: F, plan: Plan },
        // What is answered, or fails the invocation, without the application.
        Uncalled { result: Result<(Instead, Plan), Failure> },
    }
}

impl<F, B, E> Future for HttpFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<Failure>,
{
    type Output = Result<HttpAnswer<B>, BoxError>;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let result = match self.project().state.project() {
            StateProjection::Called { future, plan } => {
                let result = match ready!(future.poll(context)) {
                    Ok(response) => Ok(Ok(response)),
                    Err(error) => plan.instead(error.into()).map(Err),
                };
                result.map(|result| HttpAnswer { result, plan: plan.clone() })
            }
            StateProjection::Uncalled { result } => {
                let result = result.clone();
                result.map(|(instead, plan)| HttpAnswer { result: Err(instead), plan })
            }
        };
        Poll::Ready(result.map_err(Failure::into_boxed_error))
    }
}

impl<F> fmt::Debug for HttpFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFuture").finish_non_exhaustive()
    }
}
