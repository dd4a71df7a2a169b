//! An echo on `run_concurrent` of `lambda_runtime`, the client that AWS publishes for Rust, with as
//! many invocations at once as `AWS_LAMBDA_MAX_CONCURRENCY` says.
//!
//! With the argument `one-thread` tokio has one thread; otherwise it has its default number of
//! threads.

use lambda_runtime::{Error, LambdaEvent, run_concurrent, service_fn};
use serde_json::value::RawValue;
use tokio::runtime::Builder;

fn main() -> Result<(), Error> {
    let mut builder = match std::env::args().nth(1).as_deref() {
        Some("one-thread") => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()?.block_on(run_concurrent(service_fn(echo)))
}

/// The event is checked to be JSON, as this client always does, but not parsed into values.
async fn echo(event: LambdaEvent<Box<RawValue>>) -> Result<Box<RawValue>, Error> {
    Ok(event.payload)
}
