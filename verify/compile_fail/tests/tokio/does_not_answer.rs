//! A handler cannot return without an answer.

use lambda_proto_tokio::{Error, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let run = Runtime::from_env()?.run(async |invocation, _responder| {
        println!("{}", invocation.request_id());
    });
    run.await
}
