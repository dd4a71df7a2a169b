//! A task that outlives the handler cannot borrow its event.

use lambda_proto_tokio::{Error, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let run = Runtime::from_env()?.run(async |invocation, responder| {
        let body = invocation.body();
        tokio::spawn(async move { println!("{} bytes", body.len()) });
        Ok(responder.send("done").await)
    });
    run.await
}
