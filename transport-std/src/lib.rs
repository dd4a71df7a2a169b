//! An AWS Lambda runtime on `std`: plain functions, blocking, one lasting connection, no allocation
//! per invocation once it is warm.
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
//! gives a [`Sent`], which the handler returns; so the compiler ensures that every invocation is
//! answered once. Code after the answer runs while the caller has its answer already:
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
//! Any error can be returned with `?`; it is reported for the invocation, and the loop goes on.
//! Panics are reported, too. [`Failure`] gives an error a type of your own. (A boxed error and
//! `anyhow::Error` are not an `Error` themselves: `.map_err(Failure::from_boxed)?`.)
//!
//! ```no_run
//! use lambda_proto_std::{Error, Failure, Runtime};
//!
//! fn main() -> Result<(), Error> {
//!     Runtime::from_env()?.run(|invocation, responder| {
//!         let text = core::str::from_utf8(invocation.body())?;
//!         if text.is_empty() {
//!             return Err(Failure::new("Function.EmptyEvent", "there is nothing to do"));
//!         }
//!         Ok(responder.send(text.to_uppercase().as_str()))
//!     })
//! }
//! ```
//!
//! A handler outside the parentheses of `run` is a function, since a closure in a variable does not
//! get the lifetimes that it needs. The function names the lifetime of its invocation:
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
//! The runtime logs as the function's logging configuration says ([`Log`]). With the features `log`
//! and `tracing`, so does the function.
//!
//! The protocol itself is in [`lambda_proto`]; this crate adds the socket, the memory, threads for
//! several invocations at once, and the environment.
#![forbid(unsafe_code)]

mod connector;
mod handler;
mod lifecycle;
mod runtime;
mod socket;
mod stop;
mod worker;

pub use handler::{Invocation, Responder, ResponseStream, Sent};
pub use lambda_proto::api::{
    ClientContext, CognitoIdentity, ContentType, Deadline, Endpoint, EndpointError, HttpPrelude,
    InvalidContentType, InvalidUserAgent, InvocationHead, Outcome, PreludeError,
};
pub use lambda_proto::client::{Receipt, StreamOver};
pub use lambda_proto::driver::Response;
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
    Error, Failure, Fields, Format, LeftBehind, Level, Log, Metadata, MetadataError, NoLevel,
    Record, Task,
};
pub use lifecycle::Context;
pub use runtime::Runtime;
pub use stop::StopHandle;
pub use worker::Worker;
