//! The handler that every transport has to run, on this transport.
#![cfg(feature = "json")]

use lambda_proto_mio as transport;

#[path = "../../verify/handler_shape.rs"]
mod handler_shape;
