//! Handlers that own their invocation and responder, on several threads.

mod answers;
mod failures;
mod slots;
mod support;
