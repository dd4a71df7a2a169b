//! The handler that every transport runs, on this one.
#![cfg(feature = "json")]

use lambda_proto_std as transport;

#[path = "../../verify/handler_shape.rs"]
mod handler_shape;
