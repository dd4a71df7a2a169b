//! A responder cannot outlive its handler.

use std::cell::Cell;

use lambda_proto_tokio::{Error, Failure, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let kept = Cell::new(None);
    let run = Runtime::from_env()?.run(async |_, responder| {
        kept.set(Some(responder));
        Err(Failure::new("Function.Later", "answered when there is time"))
    });
    run.await
}
