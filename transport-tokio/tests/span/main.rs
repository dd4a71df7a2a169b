//! The spans of invocations.

mod handlers;
#[cfg(feature = "tower")]
mod layer;
mod support;
