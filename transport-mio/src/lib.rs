//! AWS Lambda invocations on an event loop: many at the same time on one thread, in your own
//! [`mio`] loop or the one included here. No async stack, and no allocation per invocation once it
//! is warm.
//!
//! ```no_run
//! use lambda_proto_mio::{Error, Runtime};
//!
//! fn main() -> Result<(), Error> {
//!     Runtime::from_env()?.run(|invocation, responder| Ok(responder.send(invocation.body())))
//! }
//! ```
//!
//! The handler owns its [`Invocation`] and [`Responder`]. Answering consumes the responder and
//! returns a [`Sent`], which the handler returns in turn, so a handler for `lambda-proto-std` works
//! here, too. A handler that answers later, or from another thread, [defers](Responder::defer): it
//! keeps the responder, and the loop continues with the other slots. Answers may come in any order.
//!
//! ```no_run
//! use lambda_proto_mio::{Error, Runtime};
//!
//! fn main() -> Result<(), Error> {
//!     Runtime::from_env()?.run(|invocation, responder| {
//!         let (responder, sent) = responder.defer();
//!         std::thread::spawn(move || responder.send(invocation.body()));
//!         Ok(sent)
//!     })
//! }
//! ```
//!
//! `?` turns any error into a [`Failure`], which is reported for its invocation and logged with its
//! causes; the loop continues. A panic is a failure, too, and so is a responder that is dropped
//! without an answer. The function's own errors choose the type that is reported by implementing
//! [`ErrorType`], which also works inside an `anyhow::Error` (with the feature `anyhow`):
//!
//! ```no_run
//! use lambda_proto_mio::{Error, ErrorType, Runtime};
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
//! Programs with their own loop [register](Runtime::register) the slots in it: see [`Slots`].
//!
//! An [extension] lives in such a loop, too, beside the slots or alone.
//!
//! A [lifecycle](Runtime::lifecycle) adds hooks around the invocations, from init to the shutdown
//! after SIGTERM, and gives each invocation a context.
//!
//! Memory for events and answers comes from a pool that all slots share. A waiting slot holds none
//! of it, and the unused memory in the pool is [capped](Runtime::max_pooled).
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
//!   # use lambda_proto_mio::{Error, Runtime};
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
//!   # use lambda_proto_mio::{Error, Runtime};
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
//! The protocol itself is in [`lambda_proto`]; this crate adds non-blocking sockets, the pool, and
//! the queue through which other threads answer.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod command_queue;
mod dialer;
mod event;
pub mod extension;
mod invocation;
mod lifecycle;
mod own_loop;
mod pieces;
mod pool;
mod responder;
mod runtime;
mod scheduler;
mod sent;
mod slot;
mod slots;
mod socket;
mod stop;
mod stream;
mod timers;

pub use command_queue::Key;
pub use event::Event;
pub use invocation::Invocation;
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
pub use responder::{Hold, Responder};
pub use runtime::Runtime;
pub use sent::Sent;
pub use slots::Slots;
pub use stop::StopHandle;
pub use stream::ResponseStream;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
