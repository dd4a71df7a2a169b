//! The environment variables of a lifecycle's options, on this transport.
#![cfg(unix)]

#[path = "support/plain.rs"]
mod transport;

#[path = "../../verify/lifecycle_variables.rs"]
mod lifecycle_variables;
