//! Handlers in the shape of the crate `lambda_runtime`.

mod concurrency;
mod context;
mod errors;
mod handlers;
mod program;
mod streams;
mod support;
