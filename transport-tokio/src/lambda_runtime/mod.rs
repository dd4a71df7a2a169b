//! The shape of the crate [`lambda_runtime`](https://docs.rs/lambda_runtime) 1.5, for handlers that
//! were written for it.
//!
//! ```no_run
//! // Was `use lambda_runtime::{…};`.
//! use lambda_proto_tokio::lambda_runtime::{Error, LambdaEvent, run, service_fn};
//!
//! #[derive(serde::Deserialize)]
//! struct Greeting {
//!     name: String,
//! }
//!
//! async fn greet(event: LambdaEvent<Greeting>) -> Result<String, Error> {
//!     let (greeting, context) = event.into_parts();
//!     eprintln!("{} is greeted by {}", greeting.name, context.env_config.function_name);
//!     Ok(format!("Hello, {}!", greeting.name))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     run(service_fn(greet)).await
//! }
//! ```
//!
//! The crate `lambda_runtime` is not needed. Layers of tower go around the handler, with the crate
//! `tower` itself: `run(ServiceBuilder::new().timeout(limit).service(service_fn(greet)))`.
//!
//! # What differs
//!
//! | `lambda_runtime` | here |
//! |---|---|
//! | The error type that is reported is the name of the handler's Rust type, such as `&alloc::boxed::Box<dyn core::error::Error + …>` | `Function.Error`, or what the error [names](Diagnostic). The error keeps its causes, which become the first lines of its stack trace |
//! | An event that does not fit has the name of a type of that crate, and the path to the place | `Runtime.UnmarshalError`, and line and column |
//! | A panic has the name of a Rust type, and a message that begins with `Lambda panicked` | `Function.Panic`, the message as it is, and the place |
//! | An error of `poll_ready` ends the process | it is the error of its invocation |
//! | `run` serves one invocation after the other, whatever Lambda announces | [`run`] serves as many at a time as Lambda announces, in the task that awaits it; its future cannot be spawned |
//! | `run_concurrent` (feature `concurrency-tokio`) | [`run_concurrent`] |
//! | `run` panics without the variables of the environment | the error names the variable; [`Config`] has defaults for the others |
//! | `run` adds a span to each invocation | [`span`](crate::span) does (feature `tracing`) |
//! | `_X_AMZN_TRACE_ID` is set | it is [not set](crate#_x_amzn_trace_id); see [`Context::xray_trace_id`] |
//! | A missing deadline ends the process, as does a deadline, a client context or an identity that cannot be read | the fields of [`Context`] say what they are then |
//! | `Runtime::new(handler).run()` | `run(handler)`, or [`run_on`] a [`Runtime`] that the program has set up, with or without a lifecycle |
//! | `Runtime::layer` | the layer goes around the handler, and sees [`LambdaEvent`] instead of the raw event. [`Runtime::run_service`](crate::Runtime::run_service) has layers around the raw event |
//! | `register_snapstart_resource` | [`Lifecycle::before_snapshot`](crate::Lifecycle::before_snapshot) and [`after_restore`](crate::Lifecycle::after_restore) of a lifecycle for [`run_on`] |
//! | [`spawn_graceful_shutdown_handler`] ends the process on a task of its own | the hook runs when the invocation in flight has ended, and `run` returns |
//! | `tracing::init_default_subscriber` writes lines of `tracing_subscriber` | [`tracing::init_default_subscriber`] writes to [`Log`](crate::Log) (feature `tracing`) |
//!
//! These have no counterpart: `Context::new`, which takes a map of headers, the modules `layers` and
//! `diagnostic` ([`Diagnostic`] itself is here), `LambdaInvocation`, `BoxFuture`, `handler_fn`, the
//! re-exported crate `tower`, conversions from `eyre` and `miette`, whose reports become an
//! [`Error`] by `.into()`, and [`streaming::Body`] as an `http_body::Body`.

mod any_runtime;
mod context;
mod diagnostic;
mod response;
mod shutdown;
pub mod streaming;
#[cfg(feature = "tracing")]
pub mod tracing;

use std::fmt::Debug;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use futures_util::Stream;
use lambda_proto::api::{HttpPrelude, InvocationHead};
use lambda_proto_host::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
pub use tower_service::Service;

pub use self::any_runtime::AnyRuntime;
pub use self::context::{ClientApplication, ClientContext, CognitoIdentity, Config, Context};
pub use self::diagnostic::Diagnostic;
pub use self::response::{FunctionResponse, IntoFunctionResponse, MetadataPrelude, StreamResponse};
pub use self::shutdown::spawn_graceful_shutdown_handler;
use crate::{Invocation, Responder, Runtime, Sent, parallel};

/// The error of handlers: any error, in a box.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// An event as the handler gets it: read as JSON, with its context.
#[derive(Clone, Debug)]
pub struct LambdaEvent<T> {
    /// The event, as the type of the function.
    pub payload: T,
    /// What the invocation says about itself.
    pub context: Context,
}

impl<T> LambdaEvent<T> {
    /// An event with this context.
    pub fn new(payload: T, context: Context) -> Self {
        Self { payload, context }
    }

    /// The event and its context.
    pub fn into_parts(self) -> (T, Context) {
        (self.payload, self.context)
    }
}

/// The service that calls this function, with the request as its argument; the same as
/// `tower::service_fn`.
pub fn service_fn<F>(function: F) -> ServiceFn<F> {
    ServiceFn(function)
}

/// The service of a [function](service_fn).
#[derive(Clone, Copy)]
pub struct ServiceFn<F>(F);

impl<F, Q, A, R, E> Service<Q> for ServiceFn<F>
where
    F: FnMut(Q) -> A,
    A: Future<Output = Result<R, E>>,
{
    type Response = R;
    type Error = E;
    type Future = A;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Q) -> A {
        (self.0)(request)
    }
}

impl<F> Debug for ServiceFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceFn").finish_non_exhaustive()
    }
}

/// Calls the handler for every invocation until the process ends.
///
/// The handler may borrow what `main` owns, and its future need not be `Send`. With several slots,
/// its futures take turns in the task that awaits this.
///
/// # Errors
///
/// As [`Runtime::from_env`] and [`Runtime::run`].
pub async fn run<A, F, R, B, S, D, E>(handler: F) -> Result<(), Error>
where
    F: Service<LambdaEvent<A>, Response = R>,
    F::Error: Into<Diagnostic> + Debug + 'static,
    A: for<'de> Deserialize<'de>,
    R: IntoFunctionResponse<B, S>,
    B: Serialize,
    S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<Bytes> + Send,
    E: Into<Error> + Send + Debug,
{
    let runtime = Runtime::from_env()?;
    match shutdown::lifecycle() {
        Some(lifecycle) => run_on(runtime.lifecycle(lifecycle), handler).await,
        None => run_on(runtime, handler).await,
    }
}

/// As [`run`], on a runtime that the program has set up. It ignores the hooks of
/// [`spawn_graceful_shutdown_handler`].
///
/// ```no_run
/// use lambda_proto_tokio::Runtime;
/// use lambda_proto_tokio::lambda_runtime::{Error, LambdaEvent, run_on, service_fn};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     let runtime = Runtime::from_env()?.max_event(1 << 20);
///     run_on(runtime, service_fn(async |event: LambdaEvent<u32>| Ok::<_, Error>(event.payload))).await
/// }
/// ```
///
/// # Errors
///
/// As [`Runtime::run`].
pub async fn run_on<A, F, R, B, S, D, E>(runtime: impl AnyRuntime, handler: F) -> Result<(), Error>
where
    F: Service<LambdaEvent<A>, Response = R>,
    F::Error: Into<Diagnostic> + Debug + 'static,
    A: for<'de> Deserialize<'de>,
    R: IntoFunctionResponse<B, S>,
    B: Serialize,
    S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<Bytes> + Send,
    E: Into<Error> + Send + Debug,
{
    let handler = Shared::new(handler);
    let run =
        runtime.run_all(async |invocation, responder| handler.answer(invocation, responder).await);
    Ok(run.await?)
}

/// Calls the handler for every invocation until the process ends, on all threads of the tokio
/// runtime. Each invocation has a clone of the handler.
///
/// # Errors
///
/// As [`Runtime::from_env`] and [`Runtime::run_parallel`].
pub async fn run_concurrent<A, F, R, B, S, D, E>(handler: F) -> Result<(), Error>
where
    F: Service<LambdaEvent<A>, Response = R> + Clone + Send + 'static,
    F::Future: Send + 'static,
    F::Error: Into<Diagnostic> + Debug + Send + 'static,
    A: for<'de> Deserialize<'de> + Send + 'static,
    R: IntoFunctionResponse<B, S> + Send + 'static,
    B: Serialize + Send + 'static,
    S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<Bytes> + Send + 'static,
    E: Into<Error> + Send + Debug + 'static,
{
    let runtime = Runtime::from_env()?;
    match shutdown::lifecycle() {
        Some(lifecycle) => run_concurrent_on(runtime.lifecycle(lifecycle), handler).await,
        None => run_concurrent_on(runtime, handler).await,
    }
}

/// As [`run_concurrent`], on a runtime that the program has set up. It ignores the hooks of
/// [`spawn_graceful_shutdown_handler`].
///
/// # Errors
///
/// As [`Runtime::run_parallel`].
pub async fn run_concurrent_on<A, F, R, B, S, D, E>(
    runtime: impl AnyRuntime,
    handler: F,
) -> Result<(), Error>
where
    F: Service<LambdaEvent<A>, Response = R> + Clone + Send + 'static,
    F::Future: Send + 'static,
    F::Error: Into<Diagnostic> + Debug + Send + 'static,
    A: for<'de> Deserialize<'de> + Send + 'static,
    R: IntoFunctionResponse<B, S> + Send + 'static,
    B: Serialize + Send + 'static,
    S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<Bytes> + Send + 'static,
    E: Into<Error> + Send + Debug + 'static,
{
    let config = Arc::new(Config::from_env());
    let run = runtime.run_all_tasks(move || {
        let (handler, config) = (handler.clone(), config.clone());
        move |invocation, responder| {
            answer_parallel(handler.clone(), config.clone(), invocation, responder)
        }
    });
    Ok(run.await?)
}

/// A handler that all slots of a task call.
struct Shared<F> {
    /// Locked while the handler becomes ready, since a service wakes only one task then.
    handler: Mutex<F>,
    config: Arc<Config>,
}

impl<F> Shared<F> {
    fn new(handler: F) -> Self {
        Self { handler: Mutex::new(handler), config: Arc::new(Config::from_env()) }
    }

    async fn answer<'i, A, R, B, S, D, E>(
        &self,
        invocation: Invocation<'i>,
        responder: Responder<'i>,
    ) -> Result<Sent<'i>, Failure>
    where
        F: Service<LambdaEvent<A>, Response = R>,
        F::Error: Into<Diagnostic> + 'static,
        A: DeserializeOwned,
        R: IntoFunctionResponse<B, S>,
        B: Serialize,
        S: Stream<Item = Result<D, E>> + Unpin,
        D: Into<Bytes>,
        E: Into<Error>,
    {
        let event = event(&invocation.head(), invocation.body(), &self.config)?;
        let response = {
            let mut handler = self.handler.lock().await;
            poll_fn(|context| handler.poll_ready(context)).await.map_err(diagnostic::failure)?;
            handler.call(event)
        };
        let response = response.await.map_err(diagnostic::failure)?;
        respond(responder, response.into_response()).await
    }
}

async fn answer_parallel<F, A, R, B, S, D, E>(
    mut handler: F,
    config: Arc<Config>,
    invocation: parallel::Invocation,
    mut responder: parallel::Responder,
) -> Result<parallel::Sent, Failure>
where
    F: Service<LambdaEvent<A>, Response = R>,
    F::Error: Into<Diagnostic> + 'static,
    A: DeserializeOwned,
    R: IntoFunctionResponse<B, S>,
    B: Serialize,
    S: Stream<Item = Result<D, E>> + Unpin,
    D: Into<Bytes>,
    E: Into<Error>,
{
    let event = event(&invocation.head(), invocation.body(), &config)?;
    // The memory of the event goes back to its slot.
    drop(invocation);
    poll_fn(|context| handler.poll_ready(context)).await.map_err(diagnostic::failure)?;
    let response = handler.call(event).await.map_err(diagnostic::failure)?;
    let sent = respond(responder.lent(), response.into_response()).await?;
    let receipt = sent.receipt();
    Ok(responder.sent(receipt))
}

async fn respond<'i, B, S, D, E>(
    responder: Responder<'i>,
    response: FunctionResponse<B, S>,
) -> Result<Sent<'i>, Failure>
where
    B: Serialize,
    S: Stream<Item = Result<D, E>> + Unpin,
    D: Into<Bytes>,
    E: Into<Error>,
{
    match response {
        FunctionResponse::BufferedResponse(body) => responder.json(body).await,
        FunctionResponse::StreamingResponse(response) => {
            let (head, pieces) = response.into_parts()?;
            let (headers, cookies) = head.lent();
            let prelude = HttpPrelude::new(head.status(), &headers, &cookies)?;
            let mut out = responder.stream_http(&prelude).await;
            out.send_all(pieces).await?;
            Ok(out.finish().await)
        }
    }
}

/// The event of an invocation, as the handler gets it.
fn event<A: DeserializeOwned>(
    head: &InvocationHead<'_>,
    body: &[u8],
    config: &Arc<Config>,
) -> Result<LambdaEvent<A>, Failure> {
    let payload = serde_json::from_slice(body).map_err(Failure::unmarshal)?;
    Ok(LambdaEvent::new(payload, Context::of(head, config)))
}
