//! An echo on `lambda_runtime`, the client that AWS publishes for Rust.
//!
//! It takes two arguments: `one-thread` or `threads` chooses tokio's runtime, `single` or
//! `concurrent` chooses `run` or `run_concurrent`. The latter takes as many invocations at once as
//! `AWS_LAMBDA_MAX_CONCURRENCY` says.

use lambda_runtime::{Error, LambdaEvent, run, run_concurrent, service_fn};
use serde_json::value::RawValue;
use tokio::runtime::Builder;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [threads, mode] = &arguments[..] else {
        return Err("usage: peer-lambda-runtime one-thread|threads single|concurrent".into());
    };
    let mut builder = match threads.as_str() {
        "one-thread" => Builder::new_current_thread(),
        "threads" => Builder::new_multi_thread(),
        other => return Err(format!("\"{other}\" is neither one-thread nor threads").into()),
    };
    let runtime = builder.enable_all().build()?;
    match mode.as_str() {
        "single" => runtime.block_on(run(service_fn(echo))),
        "concurrent" => runtime.block_on(run_concurrent(service_fn(echo))),
        other => Err(format!("\"{other}\" is neither single nor concurrent").into()),
    }
}

/// The event is checked to be JSON but not parsed into values, which is the least that this client
/// can do.
async fn echo(event: LambdaEvent<Box<RawValue>>) -> Result<Box<RawValue>, Error> {
    Ok(event.payload)
}
