//! Test vectors for the AWS Lambda Runtime API, and players that run them against any client and
//! any service. `README.md` describes the files, and how to use them without this crate.
#![forbid(unsafe_code)]

mod bytes;
pub mod client;
pub mod client_function;
pub mod extension_program;
pub mod function;
mod groups;
mod options;
mod report;
pub mod service;
mod usage;

pub use bytes::Bytes;
pub use usage::Usage;
