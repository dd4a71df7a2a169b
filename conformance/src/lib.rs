//! Conversations of the AWS Lambda Runtime API as data, and what plays them against any client and any
//! service. The files, and how to use them without this crate, are described in `README.md`.
#![forbid(unsafe_code)]

mod bytes;
pub mod service;

pub use bytes::Bytes;
