//! Log lines through `tracing`, with the request id.

use lambda_proto_tokio::span::in_span;
use lambda_proto_tokio::{Error, Log, Runtime};
use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Deserialize)]
struct Request {
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::registry().with(Log::from_env().tracing_layer()).init();
    let run = Runtime::from_env()?.run(async |invocation, responder| {
        in_span(&invocation, async {
            let Request { name } = invocation.json()?;
            tracing::info!(name, "greeting");
            responder.json(format!("Hello, {name}!")).await
        })
        .await
    });
    run.await
}
