//! How a runtime with a lifecycle ends, on this transport.
#![cfg(unix)]

use lambda_proto_mio as transport;

#[path = "../../verify/lifecycle_end.rs"]
mod lifecycle_end;
