//! The handler that every transport runs, on this one.
#![cfg(feature = "json")]

use lambda_proto_mio as transport;

#[path = "../../verify/handler_shape.rs"]
mod handler_shape;
