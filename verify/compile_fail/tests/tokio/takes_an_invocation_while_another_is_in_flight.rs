//! A worker has one invocation in flight at a time.

use lambda_proto_tokio::{Error, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut worker = Runtime::from_env()?.into_worker();
    let (_, first) = worker.next().await?.expect("an invocation");
    let (_, second) = worker.next().await?.expect("an invocation");
    second.send("two").await;
    first.send("one").await;
    Ok(())
}
