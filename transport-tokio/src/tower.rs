//! Services of [tower](https://docs.rs/tower) as handlers, so that its layers (time limits, load
//! shedding, limits of concurrency, tracing) work here as they do elsewhere.
//!
//! [`Runtime::run_service`] takes a `Service` of owned [invocations](Invocation). What it returns is
//! an [`Answer`]: text, bytes, a [`Response`], [`Json`], or a type of the function's own.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lambda_proto_tokio::parallel::Invocation;
//! use lambda_proto_tokio::tower::{Json, service_fn};
//! use lambda_proto_tokio::{Error, Failure, Runtime};
//! use tower::ServiceBuilder;
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     pieces: u32,
//! }
//!
//! async fn price(invocation: Invocation) -> Result<Json<u32>, Failure> {
//!     let order: Order = invocation.json()?;
//!     Ok(Json(order.pieces * 7))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let layers = ServiceBuilder::new().timeout(Duration::from_secs(2));
//!     Runtime::from_env()?.run_service(layers.service(service_fn(price))).await
//! }
//! ```
//!
//! An error of the service, or of a layer, is reported for its invocation like that of a handler.
//! Most layers take boxed errors only; [`service_fn`] makes one of the [`Failure`] that a function
//! returns, with which the failure is reported as it was. The errors of tower's own layers have the
//! type `Function.Error`; `map_err` names them:
//!
//! ```
//! use lambda_proto_tokio::Failure;
//! use lambda_proto_tokio::tower::BoxError;
//! use tower::timeout::error::Elapsed;
//!
//! fn named(error: BoxError) -> BoxError {
//!     match error.is::<Elapsed>() {
//!         true => Failure::new("Function.Slow", "the shop did not answer").into_boxed_error(),
//!         false => error,
//!     }
//! }
//! # use std::time::Duration;
//! let layers = tower::ServiceBuilder::new().map_err(named).timeout(Duration::from_secs(2));
//! # drop(layers);
//! ```
//!
//! With a [lifecycle](Runtime::lifecycle), the request of the service is a pair of the invocation
//! and its [`Context`].
//!
//! Each slot has a clone of the service, which is cloned again for every invocation; tower's `buffer`
//! lets all of them share a service that cannot be cloned. The service is asked whether it is ready
//! when there is an invocation for it, so what it waits for counts into the time of that invocation.
//! tower's `timeout` does not limit that wait; `load_shed` makes it an error.
//!
//! # What is outside of the layers
//!
//! The future of a service ends with an [`Answer`], which is sent when all layers are done. So
//! `timeout` does not limit the sending, `concurrency_limit` gives its permit back before, and an
//! error of [`Answer::answer`] is reported for the invocation without passing a layer. For values
//! that are sent as a whole this is the write only. An answer that does more, such as
//! [`HttpAnswer`](crate::http::HttpAnswer), whose body may still be computed, does it there.
//! [`SpanLayer`](crate::span::SpanLayer) keeps its span for that.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::task::{self, Poll};

use futures_util::TryFutureExt;
use futures_util::future::MapErr;
use lambda_proto_host::{Error, Failure, Response};
use tower_service::Service;

use crate::hooks::Lifecycle;
use crate::parallel::{Invocation, Responder, Sent};
use crate::{Context, Runtime};

/// What a service gives as the answer to an invocation.
///
/// It is implemented for everything that becomes a [`Response`] and owns its body, and for
/// [`Json`]. A type of the function's own may do more than send a body, for example stream it.
pub trait Answer {
    /// Answers the invocation.
    ///
    /// # Errors
    ///
    /// A [`Failure`] is reported for the invocation, unless the responder has been used.
    fn answer(self, responder: Responder) -> impl Future<Output = Result<Sent, Failure>> + Send;
}

impl<T: Into<Response<'static>> + Send> Answer for T {
    async fn answer(self, responder: Responder) -> Result<Sent, Failure> {
        Ok(responder.send(self).await)
    }
}

/// A value that is sent as JSON.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// # Errors
///
/// A [`Failure`] of type `Runtime.MarshalError` if the value cannot be written as JSON.
#[cfg(feature = "json")]
impl<T: serde::Serialize + Send> Answer for Json<T> {
    async fn answer(self, responder: Responder) -> Result<Sent, Failure> {
        responder.json(self.0).await
    }
}

/// The service that calls this function, with the request as its argument.
///
/// This is what `tower::service_fn` makes, except that the function may fail with a [`Failure`],
/// which the service gives as a [boxed error](Failure::into_boxed_error).
pub fn service_fn<F>(function: F) -> ServiceFn<F> {
    ServiceFn(function)
}

/// The service of a [function](service_fn).
#[derive(Clone, Copy)]
pub struct ServiceFn<F>(F);

impl<F, R, A, T> Service<R> for ServiceFn<F>
where
    F: FnMut(R) -> A,
    A: Future<Output = Result<T, Failure>>,
{
    type Response = T;
    type Error = BoxError;
    type Future = MapErr<A, fn(Failure) -> BoxError>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        (self.0)(request).map_err(Failure::into_boxed_error)
    }
}

impl<F> fmt::Debug for ServiceFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceFn").finish_non_exhaustive()
    }
}

/// The error of services that consist of layers.
pub type BoxError = Box<dyn StdError + Send + Sync>;

impl Runtime {
    /// Calls a service of tower for every invocation until the runtime is
    /// [stopped](Self::stop_handle), on all threads of the tokio runtime as
    /// [`run_parallel`](Self::run_parallel) does; see [`tower`](crate::tower).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_service<S>(self, service: S) -> Result<(), Error>
    where
        S: Service<Invocation, Response: Answer + Send, Error: Into<Failure> + Send>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        // Owns the service, so that the future is `Send` although the service may not be `Sync`.
        self.run_tasks(move || {
            let service = service.clone();
            move |invocation, responder| answer(service.clone(), invocation, responder)
        })
        .await
    }
}

impl Runtime<Lifecycle> {
    /// Runs the init hooks, then calls a service of tower for every invocation, with its context,
    /// as [`run_parallel`](Self::run_parallel) does; see [`tower`](crate::tower).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_service<S>(self, service: S) -> Result<(), Error>
    where
        S: Service<(Invocation, Context), Response: Answer + Send, Error: Into<Failure> + Send>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        self.run_tasks(move || {
            let service = service.clone();
            move |invocation, responder, context| {
                answer(service.clone(), (invocation, context), responder)
            }
        })
        .await
    }
}

/// Answers an invocation with what the service gives for it.
async fn answer<S, C>(mut service: S, call: C, responder: Responder) -> Result<Sent, Failure>
where
    S: Service<C, Response: Answer, Error: Into<Failure>>,
{
    poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
    let answer = service.call(call).await.map_err(Into::into)?;
    answer.answer(responder).await
}
