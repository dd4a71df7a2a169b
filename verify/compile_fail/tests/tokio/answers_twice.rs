//! An invocation has one answer.

use lambda_proto_tokio::{Error, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let run = Runtime::from_env()?.run(async |_, responder| {
        responder.send("one").await;
        Ok(responder.send("two").await)
    });
    run.await
}
