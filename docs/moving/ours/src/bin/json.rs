//! JSON in, JSON out.

use std::borrow::Cow;

use lambda_proto_tokio::{Error, Runtime};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request<'e> {
    #[serde(borrow)]
    name: Cow<'e, str>,
}

#[derive(Serialize)]
struct Response {
    greeting: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let run = Runtime::from_env()?.run(async |invocation, responder| {
        let request: Request<'_> = invocation.json()?;
        let greeting = format!("Hello, {}!", request.name);
        responder.json(Response { greeting }).await
    });
    run.await
}
