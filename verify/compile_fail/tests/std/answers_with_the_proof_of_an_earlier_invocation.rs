//! The proof of one answer is not accepted for another invocation.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    let mut kept = None;
    Runtime::from_env()?.run_mut(|_, responder| match kept.take() {
        Some(earlier) => Ok(earlier),
        None => {
            kept = Some(responder.send("once"));
            Err("next time".parse::<u32>().unwrap_err().into())
        }
    })
}
