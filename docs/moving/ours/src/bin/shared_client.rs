//! A client that is made once, and that all invocations use.

use std::env::VarError;
use std::sync::atomic::{AtomicU64, Ordering};

use lambda_proto_tokio::{Error, Runtime};

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
    let runtime = Runtime::from_env()?;
    let client = runtime.init(async || Ok(Client::connect().await?)).await?;
    runtime.run(async |_, responder| responder.json(client.call().await).await).await
}
