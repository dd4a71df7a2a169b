//! The handler that every transport has to run, on this transport.
#![cfg(feature = "json")]

use lambda_proto_std as transport;

#[path = "../../verify/handler_shape/blocking.rs"]
mod handler;
#[path = "../../verify/handler_shape/tests.rs"]
mod handler_shape;
#[path = "../../verify/handler_shape/lifecycle.rs"]
mod lifecycle;
