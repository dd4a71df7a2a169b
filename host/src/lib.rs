//! The parts that every transport of [`lambda_proto`] needs on an operating system: environment
//! variables, settings, errors and their reports, panics, log lines, lifecycle hooks, post-response
//! work, termination, and backoff with jitter.
//!
//! These features are off by default:
//!
//! - `log` and `tracing`: a [`Log`] takes what the function logs through the crates of these names.
//! - `anyhow`: the type of an error is found inside every `anyhow::Error`.
//! - `serde`: [`policy::Options`] can be read from a configuration file.
//! - `log-config`: the runtime's own log lines follow the function's logging configuration.
//!
//! Functions use one of the transports, `lambda-proto-std`, `lambda-proto-tokio` or
//! `lambda-proto-mio`, which re-export what functions need. This crate is for authors of other
//! transports.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod connect;
#[cfg(any(feature = "log", feature = "tracing"))]
pub mod current;
pub mod environment;
mod error;
mod error_type;
pub mod extension;
mod external_extensions;
mod failure;
mod guard;
mod in_flight;
pub mod lifecycle;
mod log;
mod panics;
pub mod policy;
mod reach;
mod response;
mod settings;
mod start;
mod tasks;
pub mod telemetry;
mod termination;

pub use connect::{MAX_ATTEMPT, backoff, connect};
pub use error::{Error, InvalidValue};
pub use error_type::{ErrorType, ErrorTypes};
pub use failure::{Failure, NO_RESPONSE, PANIC};
pub use guard::{FailedStart, StartUp, catch, start};
pub use in_flight::{InFlight, report_in_flight};
pub use lambda_proto_extension::metadata::{Metadata, MetadataError};
pub use lambda_proto_extension::{InternalExtension, NotAvailable};
#[cfg(feature = "tracing")]
pub use log::TracingLayer;
pub use log::{Fields, Format, Level, Log, NoLevel, Record};
pub use panics::{settle_panics, unwinding};
pub use reach::{Attempts, Dialer, Reach};
pub use response::Response;
pub use settings::Settings;
pub use start::{Active, Context, Started, Starting};
pub use tasks::{Crossed, LeftBehind, Task, Tasks};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
