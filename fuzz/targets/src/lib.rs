//! The fuzz targets: functions that take arbitrary bytes from a fuzzer; see `fuzz/README.md`.
//!
//! A target panics if an invariant is violated that must hold for every input.

mod capi_programs;
mod chunked;
mod client;
mod command;
mod documents;
mod endpoint;
mod environment;
mod error_report;
mod extension;
mod input;
mod lab_requests;
mod lifecycle;
mod machine;
mod metadata;
mod programs;
mod replies;
mod request;
mod response_head;
mod telemetry;
mod wire;

pub use capi_programs::capi_programs;
pub use chunked::chunked;
pub use client::client;
pub use documents::documents;
pub use endpoint::endpoint;
pub use environment::environment;
pub use error_report::error_report;
pub use extension::extension;
pub use lab_requests::lab_requests;
pub use lifecycle::lifecycle;
pub use machine::machine;
pub use metadata::metadata;
pub use programs::programs;
pub use request::request;
pub use response_head::response_head;
pub use telemetry::{telemetry_batch, telemetry_receiver};

/// A target with its name, which is also that of its corpus and its regressions.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("capi_programs", capi_programs),
    ("chunked", chunked),
    ("client", client),
    ("documents", documents),
    ("endpoint", endpoint),
    ("environment", environment),
    ("error_report", error_report),
    ("extension", extension),
    ("lab_requests", lab_requests),
    ("lifecycle", lifecycle),
    ("machine", machine),
    ("metadata", metadata),
    ("programs", programs),
    ("request", request),
    ("response_head", response_head),
    ("telemetry_batch", telemetry_batch),
    ("telemetry_receiver", telemetry_receiver),
];
