//! An event cannot outlive its handler, since the next event reuses its memory.

use std::cell::Cell;

use lambda_proto_tokio::{Error, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let kept: Cell<Option<&[u8]>> = Cell::new(None);
    let run = Runtime::from_env()?.run(async |invocation, responder| {
        kept.set(Some(invocation.body()));
        Ok(responder.send("kept").await)
    });
    run.await
}
