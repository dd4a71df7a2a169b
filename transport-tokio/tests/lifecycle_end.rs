//! How a runtime with a lifecycle ends, on this transport.
#![cfg(unix)]

#[path = "support/plain.rs"]
mod transport;

#[path = "../../verify/lifecycle_end.rs"]
mod lifecycle_end;
