//! What is flushed after each invocation, also after one that fails.

use std::sync::atomic::{AtomicU64, Ordering};

use lambda_proto_tokio::{Error, Failure, Invocation, Runtime};
use serde::Deserialize;

#[derive(Deserialize)]
struct Request {
    name: String,
}

/// Stands for a client of a telemetry service.
#[derive(Default)]
struct Metrics(AtomicU64);

impl Metrics {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    async fn flush(&self) {
        eprintln!("flushed {}", self.0.swap(0, Ordering::Relaxed));
    }
}

fn greet(invocation: &Invocation<'_>, metrics: &Metrics) -> Result<String, Failure> {
    metrics.count();
    let request: Request = invocation.json()?;
    Ok(format!("Hello, {}!", request.name))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = Metrics::default();
    let run = Runtime::from_env()?.run(async |invocation, responder| {
        let sent = match greet(&invocation, &metrics) {
            Ok(greeting) => responder.json(greeting).await?,
            Err(failure) => responder.fail(failure).await,
        };
        metrics.flush().await;
        Ok(sent)
    });
    run.await
}
