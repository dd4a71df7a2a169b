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
                let state = match (status, form) {
                    (Some(status), Some(form)) => State::Refused {
                        instead: Instead { status, failure },
                        plan: self.plan(Arc::new(invocation), form),
                    },
                    _ => State::Failed { failure, plan: None },
                };
                return HttpFuture { state };
            }
        };
        let invocation = Arc::new(invocation);
        let plan = self.plan(invocation.clone(), form);
        let state = match self.unready.take() {
            Some(failure) => State::Failed { failure, plan: Some(plan) },
            None => {
                request.extensions_mut().insert(invocation);
                extend(&mut request);
                State::Called { future: self.app.call(request), plan }
            }
        };
        HttpFuture { state }
    }
}

impl<S> Http<S> {
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
        Refused { instead: Instead, plan: Plan },
        // Without a plan if the event is no request.
        Failed { failure: Failure, plan: Option<Plan> },
    }
}

impl<F, B, E> Future for HttpFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<Failure>,
{
    type Output = Result<HttpAnswer<B>, BoxError>;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let (failure, plan) = match self.project().state.project() {
            StateProjection::Called { future, plan } => match ready!(future.poll(context)) {
                Ok(response) => {
                    return Poll::Ready(Ok(HttpAnswer {
                        result: Ok(response),
                        plan: plan.clone(),
                    }));
                }
                Err(error) => (error.into(), Some(plan)),
            },
            StateProjection::Refused { instead, plan } => {
                let result = Err(instead.clone());
                return Poll::Ready(Ok(HttpAnswer { result, plan: plan.clone() }));
            }
            StateProjection::Failed { failure, plan } => (failure.clone(), plan.as_mut()),
        };
        Poll::Ready(match plan {
            Some(plan) if plan.on_error == OnError::Respond => {
                Ok(HttpAnswer { result: Err(Instead::of(failure)), plan: plan.clone() })
            }
            _ => Err(failure.into_boxed_error()),
        })
    }
}

impl<F> fmt::Debug for HttpFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFuture").finish_non_exhaustive()
    }
}
