//! Code that runs before the process ends.

use std::sync::atomic::{AtomicU64, Ordering};

use lambda_runtime::{Error, LambdaEvent, run, service_fn, spawn_graceful_shutdown_handler};
use serde::de::IgnoredAny;

static INVOCATIONS: AtomicU64 = AtomicU64::new(0);

async fn flush() {
    eprintln!("flushed after {} invocations", INVOCATIONS.load(Ordering::Relaxed));
}

async fn handle(_: LambdaEvent<IgnoredAny>) -> Result<&'static str, Error> {
    INVOCATIONS.fetch_add(1, Ordering::Relaxed);
    Ok("done")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    spawn_graceful_shutdown_handler(flush).await;
    run(service_fn(handle)).await
}
