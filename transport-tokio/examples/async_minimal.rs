//! The shortest runtime, without JSON: build it with `--no-default-features`.

use lambda_proto_tokio::{Error, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?;
    runtime.run(async |invocation, responder| Ok(responder.send(invocation.body()).await)).await
}
