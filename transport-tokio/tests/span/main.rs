//! The spans of invocations.
#![cfg(feature = "tracing")]

mod handlers;
#[cfg(feature = "tower")]
mod layer;
mod support;
