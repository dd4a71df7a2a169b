//! The handler that every transport has to run, on this transport.
#![cfg(feature = "json")]

use lambda_proto_tokio as transport;

#[path = "../../verify/handler_shape/awaited.rs"]
mod handler;
#[path = "../../verify/handler_shape/tests.rs"]
mod handler_shape;
