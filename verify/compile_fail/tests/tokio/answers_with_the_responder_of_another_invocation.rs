//! The answer to an invocation of one worker is not accepted for an invocation of another.

use lambda_proto_tokio::{Error, Responder, Runtime, Sent, Worker};

async fn answer<'i>(other: &mut Worker, _responder: Responder<'i>) -> Result<Sent<'i>, Error> {
    let (_, responder) = other.next().await?.expect("an invocation");
    Ok(responder.send("not mine").await)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut workers = Runtime::from_env()?.into_workers();
    let [mine, other] = &mut workers[..] else { panic!("two slots") };
    let (_, responder) = mine.next().await?.expect("an invocation");
    answer(other, responder).await?;
    Ok(())
}
