//! Vectors for the AWS Lambda Runtime API as data, and what plays them against any client and any
//! service. The files, and how to use them without this crate, are described in `README.md`.
#![forbid(unsafe_code)]

mod bytes;
pub mod client;
pub mod function;
pub mod service;
pub mod slot_function;
mod usage;

pub use bytes::Bytes;
pub use usage::Usage;
