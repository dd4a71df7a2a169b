//! AWS Lambda invocations on an event loop: many at once on one thread, in your own [`mio`] loop or
//! the one included here. No async stack, and no allocation per invocation once it is warm.
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
//! gives a [`Sent`], which the handler returns; so a handler for `lambda-proto-std` works here,
//! too. One that answers later, or from another thread, [defers](Responder::defer): it keeps the
//! responder, and the loop goes on with the other slots. Answers may come in any order.
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
//! `?` makes a [`Failure`] of any error, which is reported for its invocation and logged with its
//! causes; the loop goes on. A panic is a failure, too, and so is a responder that is
//! dropped without an answer. An error of the function names the type that is
//! reported by [`ErrorType`], also from inside of `anyhow::Error` (with the feature `anyhow`):
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
//! A [lifecycle](Runtime::lifecycle) adds what belongs around the invocations, from init hooks to
//! the end by SIGTERM, and gives each a context beside its event.
//!
//! Memory for events and answers comes from a pool that all slots share. A waiting slot holds none
//! of it, and what the pool keeps is [capped](Runtime::max_pooled).
//!
//! # Tests
//!
//! A test invokes a handler as the service does, in its own process, by `lambda-lab` as a
//! dev-dependency. The documentation of its `Function::external` has this as a whole program:
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
//! - child processes, as a variable of their own:
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
//! - other languages, in the table of environment variables that the embedder gives to its
//!   interpreter, such as `process.env` of an embedded JavaScript engine. (Writing to `os.environ`
//!   of CPython changes the environment of the process.)
//!
//! A program with one slot whose other threads do not read the environment may call `set_var`
//! itself, in the hook [`Lifecycle::before_invocation`].
//!
//! # Layers
//!
//! The protocol itself is in [`lambda_proto`]; this crate adds non-blocking sockets, the pool, and
//! the way back from other threads.
#![forbid(unsafe_code)]

mod command_queue;
mod dialer;
mod event;
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
