//! The environment variables of a lifecycle's options, on this transport.
#![cfg(unix)]

use lambda_proto_mio as transport;

#[path = "../../verify/lifecycle_variables.rs"]
mod lifecycle_variables;
