//! An AWS Lambda runtime on [tokio](https://tokio.rs): async functions, borrowed events, one persistent connection
//! per slot, and no allocation per invocation once it is warm.
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
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod catching;
mod connector;
mod context;
mod dropped;
mod handler;
mod hooks;
mod lifecycle;
mod memory;
pub mod parallel;
mod runtime;
mod scratch;
mod socket;
mod stop;
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
