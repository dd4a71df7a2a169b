//! An answer that is not awaited is no proof.

use lambda_proto_tokio::{Error, Failure, Invocation, Responder, Runtime, Sent};

async fn handle<'i>(_: Invocation<'i>, responder: Responder<'i>) -> Result<Sent<'i>, Failure> {
    let sent: Sent<'i> = responder.send("not awaited");
    Ok(sent)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    Runtime::from_env()?.run(handle).await
}
