//! What every transport of [`lambda_proto`] needs on an operating system: the environment,
//! settings, errors and their reports, panics, log lines, hooks around the invocations,
//! post-response work, the end of the process, pauses with jitter.
//!
//! With the features `log` and `tracing` (off by default), a [`Log`] takes what a function logs
//! through the crates of these names. With the feature `anyhow`, the type of an error is found inside
//! of every `anyhow::Error`. With the feature `serde`, [`policy::Options`] can be read from a
//! configuration file.
//!
//! Functions use one of the transports, `lambda-proto-std` or `lambda-proto-mio`, which re-export
//! what functions need. This crate is for authors of another transport.
#![forbid(unsafe_code)]

mod connect;
#[cfg(any(feature = "log", feature = "tracing"))]
pub mod current;
pub mod environment;
mod error;
mod error_type;
mod external_extensions;
mod failure;
mod guard;
mod in_flight;
pub mod lifecycle;
mod log;
mod panics;
pub mod policy;
mod response;
mod settings;
mod start;
mod tasks;
mod termination;

pub use connect::{MAX_ATTEMPT, backoff, connect};
pub use error::{Error, InvalidValue};
pub use error_type::{ErrorType, ErrorTypes};
pub use failure::{Failure, NO_RESPONSE, PANIC};
pub use guard::{catch, start};
pub use in_flight::{InFlight, report_in_flight};
pub use lambda_proto_extension::metadata::{Metadata, MetadataError};
pub use lambda_proto_extension::{InternalExtension, NotAvailable};
#[cfg(feature = "tracing")]
pub use log::TracingLayer;
pub use log::{Fields, Format, Level, Log, NoLevel, Record};
pub use panics::{settle_panics, unwinding};
pub use response::Response;
pub use settings::Settings;
pub use start::{Active, Context, Started, Starting};
pub use tasks::{Crossed, LeftBehind, Task, Tasks};
