//! An AWS Lambda runtime on [tokio](https://tokio.rs): async functions, borrowed events, one
//! persistent connection per slot, and no allocation per invocation once it is warm.
//!
//! ```no_run
//! use lambda_proto_tokio::{Error, Runtime};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     let runtime = Runtime::from_env()?;
//!     runtime.run(async |invocation, responder| Ok(responder.send(invocation.body()).await)).await
//! }
//! ```
//!
//! The handler gets an [`Invocation`] and a [`Responder`]. Answering consumes the responder and
//! returns a [`Sent`], which the handler returns in turn, so the compiler ensures that every
//! invocation is answered once.
//!
//! # JSON and errors
//!
//! `Invocation::json` reads the event as a type of the function, and `Responder::json` sends one.
//! `?` turns any error into a [`Failure`], which is reported for its invocation and logged with its
//! causes; the loop continues. A panic is a failure, too. The function's own errors choose the type
//! that is reported by implementing [`ErrorType`], which also works inside an `anyhow::Error` (with
//! the feature `anyhow`):
//!
//! ```no_run
//! use lambda_proto_tokio::{Error, ErrorType, Runtime};
//!
//! #[derive(serde::Deserialize)]
//! struct Query {
//!     order: String,
//! }
//!
//! #[derive(Debug, thiserror::Error)]
//! enum OrderError {
//!     #[error("there is no order {0:?}")]
//!     NotFound(String),
//!     #[error("the table of orders cannot be read")]
//!     Unreadable(#[from] std::io::Error),
//! }
//!
//! impl ErrorType for OrderError {
//!     fn error_type(&self) -> &str {
//!         match self {
//!             Self::NotFound(_) => "Function.OrderNotFound",
//!             Self::Unreadable(_) => "Function.OrdersUnreadable",
//!         }
//!     }
//! }
//!
//! async fn find(order: &str) -> Result<String, OrderError> {
//!     let table = tokio::fs::read_to_string("orders.txt").await?;
//!     let found = table.lines().find(|line| line.starts_with(order));
//!     found.map(str::to_owned).ok_or_else(|| OrderError::NotFound(order.to_owned()))
//! }
//!
//! # #[cfg(feature = "json")]
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     let runtime = Runtime::from_env()?.error_type::<OrderError>();
//!     runtime
//!         .run(async |invocation, responder| {
//!             let query: Query = invocation.json()?;
//!             if query.order.is_empty() {
//!                 return Err("there is no order in the event")?;
//!             }
//!             responder.json(find(&query.order).await?).await
//!         })
//!         .await
//! }
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! ```
//!
//! # Clients of other services
//!
//! A client of an AWS SDK, an HTTP client or a pool of database connections is made once, in
//! [`init`](Runtime::init), and the handler borrows it. If init fails, that is reported to the
//! service. [A function with the AWS SDK] also has time limits, retries and trace ids.
//!
//! ```no_run
//! use lambda_proto_tokio::{Error, Failure, Runtime};
//!
//! /// Stands for such a client.
//! struct Table {
//! #   requests: tokio::sync::mpsc::Sender<String>,
//!     // …
//! }
//!
//! impl Table {
//!     async fn connect(name: &str) -> Result<Self, Failure> {
//! #       let (requests, _) = tokio::sync::mpsc::channel(1);
//! #       let _ = name;
//! #       Ok(Self { requests })
//!         // …
//!     }
//!
//!     async fn count(&self, request_id: &str) -> Result<u64, Failure> {
//! #       self.requests.send(request_id.to_owned()).await?;
//! #       Ok(1)
//!         // …
//!     }
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     let runtime = Runtime::from_env()?;
//!     let table = runtime.init(async || Table::connect("visits").await).await?;
//!     runtime
//!         .run(async |invocation, responder| {
//!             let count = table.count(invocation.request_id()).await?;
//!             Ok(responder.send(format!("{count}")).await)
//!         })
//!         .await
//! }
//! ```
//!
//! # Functions as handlers
//!
//! A handler that is not written as an argument of `run` has to be a function, because the compiler
//! does not infer the lifetimes that a closure in a variable needs. The function names the lifetime
//! of its invocation:
//!
//! ```no_run
//! use lambda_proto_tokio::{Error, Failure, Invocation, Responder, Runtime, Sent};
//!
//! async fn handle<'i>(
//!     invocation: Invocation<'i>,
//!     responder: Responder<'i>,
//! ) -> Result<Sent<'i>, Failure> {
//!     Ok(responder.send(invocation.request_id()).await)
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     Runtime::from_env()?.run(handle).await
//! }
//! ```
//!
//! # One thread or several
//!
//! Lambda gives an environment one invocation at a time, unless it announces more in
//! `AWS_LAMBDA_MAX_CONCURRENCY`, as on Lambda Managed Instances. Each of these *slots* has a
//! connection. `#[tokio::main(flavor = "current_thread")]` runs everything on one thread, which is
//! the cheapest for functions that mostly wait:
//!
//! | method | handlers | the handler and its future |
//! |---|---|---|
//! | [`Runtime::run`] | take turns in the task that awaits it | borrow the event and anything else; need not be `Send` |
//! | [`Runtime::run_parallel`] | run in a task for each slot, on any thread | own the event ([`parallel::Invocation`]); are `Send + 'static` |
//!
//! The multi-threaded flavor (the default of `#[tokio::main]`, with tokio's feature
//! `rt-multi-thread`) pays off where handlers compute and the function has more than one virtual
//! CPU: with `run_parallel`, or with `run` and handlers that spawn tasks of their own. `run` alone
//! gains nothing from more threads.
//!
//! ```no_run
//! use lambda_proto_tokio::{Error, Runtime};
//! # fn checksum(bytes: &[u8]) -> u32 { bytes.len() as u32 }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let runtime = Runtime::from_env()?;
//!     runtime
//!         .run_parallel(|invocation, responder| async move {
//!             let sum = checksum(invocation.body());
//!             Ok(responder.send(format!("{sum:08x}")).await)
//!         })
//!         .await
//! }
//! ```
//!
//! # Blocking code
//!
//! A handler that computes for long or calls a blocking library holds up the other slots, timers
//! and tasks of its thread. [`tokio::task::spawn_blocking`] moves such code to another thread. The
//! event is borrowed, so the closure takes what it needs of it:
//!
//! ```no_run
//! # use lambda_proto_tokio::{Error, Runtime};
//! # fn compress(bytes: &[u8]) -> Vec<u8> { bytes.to_vec() }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! # Runtime::from_env()?.run(async |invocation, responder| {
//! let event = invocation.body().to_vec();
//! let compressed = tokio::task::spawn_blocking(move || compress(&event)).await?;
//! Ok(responder.send(compressed).await)
//! # }).await
//! # }
//! ```
//!
//! With one slot and nothing else to do, blocking in the handler is fine; `lambda-proto-std` is for
//! functions that only block.
//!
//! # Streams
//!
//! [`Responder::stream`] sends a response piece by piece, and [`Responder::stream_http`] one with
//! status and headers. The caller gets each piece as it is written.
//!
//! ```no_run
//! # use lambda_proto_tokio::{ContentType, Error, Runtime};
//! # async fn next_row() -> Option<String> { None }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! # Runtime::from_env()?.run(async |_, responder| {
//! let mut stream = responder.stream(ContentType::TEXT);
//! while let Some(row) = next_row().await {
//!     stream.write_all(row.as_bytes()).await?;
//! }
//! Ok(stream.finish().await)
//! # }).await
//! # }
//! ```
//!
//! [`ResponseStream::send_all`] sends the items of a `Stream`. A [`ResponseStream`] is also an
//! [`AsyncWrite`](tokio::io::AsyncWrite), for `tokio::io::copy` and for encoders.
//!
//! # HTTP applications
//!
//! With the feature `http`, a router of axum, or any service of HTTP requests, is a function behind
//! API Gateway, an Application Load Balancer or a function URL: `http::Http` takes it, and
//! `Runtime::run_service` runs that.
//!
//! # Work after the answer
//!
//! The caller has its answer when `send` returns, and the environment runs until the handler
//! returns:
//!
//! ```no_run
//! # use lambda_proto_tokio::{Error, Runtime};
//! # async fn flush_metrics() {}
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! # Runtime::from_env()?.run(async |_, responder| {
//! let sent = responder.send("done").await;
//! flush_metrics().await;
//! Ok(sent)
//! # }).await
//! # }
//! ```
//!
//! A task that the handler spawns and does not await may be frozen in the middle of its work, and
//! continue during a later invocation or never. [`Context::spawn_work`] spawns one for which the
//! runtime waits before it asks for the next invocation. [Work that outlives the answer] compares
//! the ways. [`Responder::send_and_next`] is for handlers that have nothing left to do: it saves
//! two system calls.
//!
//! # Hooks and a context
//!
//! [`Runtime::lifecycle`] adds async hooks: init hooks, which run concurrently, those of SnapStart,
//! and shutdown hooks after SIGTERM. The handler gets a third argument, the [`Context`], with the
//! values of the init hooks and [`cancelled`](Context::cancelled), a future that is ready shortly
//! before the deadline.
//!
//! # Cancellation
//!
//! Dropping a future cancels what it waits for. Every future of this crate may be dropped:
//!
//! | dropped | then |
//! |---|---|
//! | the future of an answer, before its first byte | the invocation is unanswered, and is reported as failed when the handler returns |
//! | the same, after its first byte | the connection may have to be closed, and the caller may get no answer; the loop continues. [`lambda_proto::async_driver`](lambda_proto::async_driver#cancellation) has every case |
//! | [`ResponseStream`] | the stream ends with an error, which the caller sees after the data |
//! | [`Worker::next`] | nothing is lost; the next call continues |
//! | [`Runtime::run`] | its handlers are dropped, too, and their invocations are reported as failed, which [blocks](Worker#cancellation). To end a runtime in order, use the [`StopHandle`] |
//! | [`Runtime::run_parallel`] | the runtime is stopped; its tasks continue until they have answered |
//!
//! So put a time limit around the work, and not around the answer:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use lambda_proto_tokio::{Error, Failure, Runtime};
//! # async fn fetch() -> Result<String, Failure> { Ok(String::new()) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! # Runtime::from_env()?.run(async |_, responder| {
//! let page = tokio::time::timeout(Duration::from_secs(2), fetch()).await??;
//! Ok(responder.send(page).await)
//! # }).await
//! # }
//! ```
//!
//! Spawned tasks and blocking closures continue when the handler that waits for them is dropped.
//!
//! # Extensions
//!
//! [`extension::Extension`] is an extension with async handlers: a process in `/opt/extensions`, or
//! a part of the runtime's process.
//!
//! # Tests
//!
//! With `lambda-lab` as a dev-dependency, a test invokes a handler in the process of the test, as
//! the service does. Calls of the lab block, so they need a thread of their own:
//!
//! ```text
//! #[tokio::test]
//! async fn it_shouts() -> Result<(), Box<dyn Error>> {
//!     let lab = Function::external().start()?;
//!     let runtime = Runtime::new(Endpoint::parse(&lab.runtime_api())?);
//!     let stop = runtime.stop_handle();
//!     let calls = tokio::task::spawn_blocking(move || {
//!         let answer = lab.invoke("hello");
//!         stop.stop();
//!         answer
//!     });
//!     runtime.run(handle).await?;
//!     assert_eq!(calls.await??.text(), "HELLO");
//!     Ok(())
//! }
//! ```
//!
//! # `_X_AMZN_TRACE_ID`
//!
//! The runtime does not set this environment variable; the trace id is in the [`Invocation`]. [The
//! first page of `lambda-proto-std`] says why, and how to pass it on. In async code, a span of
//! `tracing` is attached to a future (`tracing::Instrument`); a span that is entered must not be
//! kept across an await. The module `span` (feature `tracing`) makes the span of an invocation.
//!
//! # From `lambda_runtime`
//!
//! With the feature `lambda-runtime`, a handler that was written for that crate runs after a change of
//! its imports, with its layers of tower: see [`lambda_runtime`], which also
//! lists what differs.
//!
//! In the shape of this crate, what `service_fn` takes, an async function from `LambdaEvent<T>` to
//! `Result<R, E>`, becomes a handler that reads the event with `invocation.json()?` and answers with
//! `responder.json(response).await`. The context is the invocation: `invocation.request_id()`,
//! `invocation.deadline()`. Layers of tower go around a service of invocations, with
//! [`Runtime::run_service`] (feature `tower`). With `run`, neither the handler nor its future has to
//! be `Send` or `'static`.
//!
//! # Layers
//!
//! The protocol itself is in [`lambda_proto`]; this crate adds tokio's sockets and timers to its
//! [`async_driver`](lambda_proto::async_driver), memory for events, and the environment.
//!
//! [A function with the AWS SDK]: https://github.com/lambda-proto/lambda-proto/tree/main/examples/aws-sdk
//! [Work that outlives the answer]: https://github.com/lambda-proto/lambda-proto/blob/main/docs/async-work.md
//! [The first page of `lambda-proto-std`]: https://docs.rs/lambda-proto-std#_x_amzn_trace_id
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod catching;
mod connector;
mod context;
mod dropped;
pub mod extension;
mod handler;
mod hooks;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "lambda-runtime")]
pub mod lambda_runtime;
mod lifecycle;
mod memory;
pub mod parallel;
mod runtime;
mod scratch;
mod socket;
#[cfg(feature = "tracing")]
pub mod span;
mod stop;
#[cfg(feature = "tower")]
pub mod tower;
mod worker;

pub use context::{Context, cancelled};
pub use handler::{Invocation, Responder, ResponseStream, Sent};
pub use hooks::Lifecycle;
pub use lambda_proto::api::{
    ClientContext, CognitoIdentity, ContentType, Deadline, Endpoint, EndpointError, HttpPrelude,
    InvalidContentType, InvalidSlots, InvalidUserAgent, InvocationHead, Outcome, PreludeError,
};
pub use lambda_proto::client::{Receipt, StreamOver};
pub use lambda_proto::json::{JsonError, JsonStr};
pub use lambda_proto::lifecycle::{IdleGap, TimeLimit};
pub use lambda_proto::machine::{CommandError, ReceiveError};
#[cfg(feature = "tracing")]
pub use lambda_proto_host::TracingLayer;
#[cfg(any(feature = "log", feature = "tracing"))]
pub use lambda_proto_host::current;
pub use lambda_proto_host::environment::{Environment, InitializationType};
pub use lambda_proto_host::lifecycle::{
    Cancellation, InitContext, NoLifecycle, Resources, ShutdownContext,
};
pub use lambda_proto_host::policy::{InvalidOption, Options, Policy};
pub use lambda_proto_host::{
    Error, ErrorType, Failure, Fields, Format, InvalidValue, LeftBehind, Level, Log, Metadata,
    MetadataError, NoLevel, Record, Response, Task,
};
pub use lifecycle::InLifecycle;
pub use runtime::Runtime;
pub use stop::StopHandle;
pub use worker::Worker;

#[cfg(all(doctest, feature = "json"))]
#[doc = include_str!("../README.md")]
struct Readme;
