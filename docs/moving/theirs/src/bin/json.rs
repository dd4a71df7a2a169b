//! JSON in, JSON out.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    name: String,
}

#[derive(Serialize)]
struct Response {
    greeting: String,
}

async fn greet(event: LambdaEvent<Request>) -> Result<Response, Error> {
    let greeting = format!("Hello, {}!", event.payload.name);
    Ok(Response { greeting })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(greet)).await
}
