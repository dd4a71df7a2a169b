//! What is flushed after each invocation, also after one that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lambda_extension::{Extension, NextEvent};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

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

fn greet(event: Value, metrics: &Metrics) -> Result<String, Error> {
    metrics.count();
    let request: Request = serde_json::from_value(event)?;
    Ok(format!("Hello, {}!", request.name))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (ends, ended) = mpsc::unbounded_channel::<()>();
    let ended = Arc::new(Mutex::new(ended));
    let metrics = Arc::new(Metrics::default());
    let flushed = metrics.clone();
    let flush = service_fn(move |event: lambda_extension::LambdaEvent| {
        let (ended, metrics) = (ended.clone(), flushed.clone());
        async move {
            if let NextEvent::Invoke(_) = event.next {
                ended.lock().await.recv().await;
                metrics.flush().await;
            }
            Ok::<_, Error>(())
        }
    });
    let extension = Extension::new()
        .with_extension_name("metrics")
        .with_events(&["INVOKE"])
        .with_events_processor(flush)
        .register()
        .await?;
    let (ends, metrics) = (&ends, &metrics);
    let handler = service_fn(move |event: LambdaEvent<Value>| async move {
        let greeting = greet(event.payload, metrics);
        ends.send(())?;
        greeting
    });
    tokio::try_join!(run(handler), extension.run())?;
    Ok(())
}
