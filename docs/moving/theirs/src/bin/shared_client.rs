//! A client that is made once, and that all invocations use.

use std::env::VarError;
use std::sync::atomic::{AtomicU64, Ordering};

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::de::IgnoredAny;

/// Stands for a client of another service, such as one of the AWS SDK.
struct Client {
    region: String,
    calls: AtomicU64,
}

impl Client {
    async fn connect() -> Result<Self, VarError> {
        Ok(Self { region: std::env::var("REGION")?, calls: AtomicU64::new(0) })
    }

    async fn call(&self) -> String {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        format!("call {number} to {}", self.region)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect().await?;
    let client = &client;
    run(service_fn(
        move |_: LambdaEvent<IgnoredAny>| async move { Ok::<_, Error>(client.call().await) },
    ))
    .await
}
