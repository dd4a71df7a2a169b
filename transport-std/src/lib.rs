//! An AWS Lambda runtime on `std`: plain functions, blocking, one persistent connection, and no
//! allocation per invocation once it is warm.
//!
//! ```no_run
//! use lambda_proto_std::{Error, Runtime};
//!
//! fn main() -> Result<(), Error> {
//!     Runtime::from_env()?.run(|invocation, responder| Ok(responder.send(invocation.body())))
//! }
//! ```
//!
//! The handler gets an [`Invocation`] and a [`Responder`]. Answering consumes the responder and
//! returns a [`Sent`], which the handler returns in turn, so the compiler ensures that every
//! invocation is answered once. Code after the answer runs when the caller already has it:
//!
//! ```no_run
//! # use lambda_proto_std::{Error, Runtime};
//! # fn flush_metrics() {}
//! # fn main() -> Result<(), Error> {
//! # Runtime::from_env()?.run(|invocation, responder| {
//! let sent = responder.send("done");
//! flush_metrics();
//! Ok(sent)
//! # })
//! # }
//! ```
//!
//! `?` turns any error into a [`Failure`], which is reported for its invocation and logged with its
//! causes; the loop continues. A panic is a failure, too. The function's own errors choose the type
//! that is reported by implementing [`ErrorType`], which also works inside an `anyhow::Error` (with
//! the feature `anyhow`):
//!
//! ```no_run
//! use lambda_proto_std::{Error, ErrorType, Runtime};
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
//! fn find(order: &str) -> Result<String, OrderError> {
//!     let table = std::fs::read_to_string("orders.txt")?;
//!     let found = table.lines().find(|line| line.starts_with(order));
//!     found.map(str::to_owned).ok_or_else(|| OrderError::NotFound(order.to_owned()))
//! }
//!
//! fn main() -> Result<(), Error> {
//!     Runtime::from_env()?.error_type::<OrderError>().run(|invocation, responder| {
//!         let order = core::str::from_utf8(invocation.body())?;
//!         if order.is_empty() {
//!             return Err("there is no order in the event")?;
//!         }
//!         Ok(responder.send(find(order)?))
//!     })
//! }
//! ```
//!
//! A handler that is not written as an argument of `run` has to be a function, because the compiler
//! does not infer the lifetimes that a closure in a variable needs. The function names the lifetime
//! of its invocation:
//!
//! ```no_run
//! use lambda_proto_std::{Error, Failure, Invocation, Responder, Runtime, Sent};
//!
//! fn handle<'i>(invocation: Invocation<'i>, responder: Responder<'i>) -> Result<Sent<'i>, Failure> {
//!     Ok(responder.send(invocation.request_id()))
//! }
//!
//! fn main() -> Result<(), Error> {
//!     Runtime::from_env()?.run(handle)
//! }
//! ```
//!
//! The runtime's log follows the function's logging configuration ([`Log`]). With the features
//! `log` and `tracing`, the function's own log does, too.
//!
//! # Tests
//!
//! With `lambda-lab` as a dev-dependency, a test invokes a handler in the process of the test, as
//! the service does. The documentation of `lambda_lab::Function::external` has the whole program:
//!
//! ```text
//! let lab = Function::external().start()?;
//! let runtime = Runtime::new(Endpoint::parse(&lab.runtime_api())?);
//! let stop = runtime.stop_handle();
//! std::thread::spawn(|| runtime.run(handle));
//! assert_eq!(lab.invoke("hello")?.text(), "HELLO");
//! stop.stop();
//! ```
//!
//! # `_X_AMZN_TRACE_ID`
//!
//! Some libraries read the trace id of the invocation from this environment variable. The runtime
//! does not set it: several slots have several trace ids, and changing the environment of a process
//! with threads is unsound. The trace id is in the [`Invocation`]; pass it on to
//!
//! - child processes, as a variable in their environment:
//!
//!   ```no_run
//!   # use lambda_proto_std::{Error, Runtime};
//!   # fn main() -> Result<(), Error> {
//!   # Runtime::from_env()?.run(|invocation, responder| {
//!   let trace_id = invocation.trace_id().map(|id| ("_X_AMZN_TRACE_ID", id));
//!   let output = std::process::Command::new("./report").envs(trace_id).output()?;
//!   # Ok(responder.send(output.stdout))
//!   # })
//!   # }
//!   ```
//!
//! - `tracing`, as a field of a span around the handler's work:
//!
//!   ```no_run
//!   # use lambda_proto_std::{Error, Runtime};
//!   # fn main() -> Result<(), Error> {
//!   # Runtime::from_env()?.run(|invocation, responder| {
//!   let _span = tracing::info_span!("invocation", trace_id = invocation.trace_id()).entered();
//!   # Ok(responder.send(invocation.body()))
//!   # })
//!   # }
//!   ```
//!
//! - requests of an AWS SDK, as the header `X-Amzn-Trace-Id`. The SDKs take it from the variable,
//!   unless the request has it already.
//! - other languages, in the table of environment variables that the embedder gives to the
//!   interpreter, such as `process.env` of an embedded JavaScript engine. (Writing to `os.environ`
//!   of CPython changes the environment of the process.)
//!
//! A program with one slot whose other threads do not read the environment may call `set_var`
//! itself, in the hook [`Lifecycle::before_invocation`].
//!
//! # Layers
//!
//! The protocol itself is in [`lambda_proto`]; this crate adds the socket, the memory, threads for
//! several simultaneous invocations, and the environment.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod connector;
pub mod extension;
mod handler;
mod lifecycle;
mod runtime;
mod socket;
mod stop;
mod worker;

pub use extension::Extension;
pub use handler::{Invocation, Responder, ResponseStream, Sent};
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
    Cancellation, InitContext, Lifecycle, NoLifecycle, Resources, ShutdownContext,
};
pub use lambda_proto_host::policy::{InvalidOption, Options, Policy};
pub use lambda_proto_host::{
    Context, Error, ErrorType, Failure, Fields, Format, InvalidValue, LeftBehind, Level, Log,
    Metadata, MetadataError, NoLevel, Record, Response, Task,
};
pub use lifecycle::InLifecycle;
pub use runtime::Runtime;
pub use stop::StopHandle;
pub use worker::Worker;

#[cfg(all(doctest, feature = "json"))]
#[doc = include_str!("../README.md")]
struct Readme;
