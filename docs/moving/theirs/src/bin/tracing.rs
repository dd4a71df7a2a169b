//! Log lines through `tracing`, with the request id.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde::Deserialize;

#[derive(Deserialize)]
struct Request {
    name: String,
}

async fn greet(event: LambdaEvent<Request>) -> Result<String, Error> {
    let name = event.payload.name;
    tracing::info!(name, "greeting");
    Ok(format!("Hello, {name}!"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    run(service_fn(greet)).await
}
