//! Handlers that own their invocation and responder, on several threads.

mod answers;
#[cfg(any(feature = "log", feature = "tracing"))]
mod current;
mod failures;
mod slots;
mod support;
