//! The proof of one answer is not accepted for another invocation.

use std::cell::Cell;

use lambda_proto_tokio::{Error, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let kept = Cell::new(None);
    let run = Runtime::from_env()?.run(async |_, responder| match kept.take() {
        Some(earlier) => Ok(earlier),
        None => {
            kept.set(Some(responder.send("once").await));
            Err("next time".parse::<u32>().unwrap_err().into())
        }
    });
    run.await
}
