//! The proof of one answer is none for another invocation.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    let mut kept = None;
    Runtime::from_env()?.run_mut(|_, reply| match kept.take() {
        Some(earlier) => Ok(earlier),
        None => {
            kept = Some(reply.send("once"));
            Err("next time".parse::<u32>().unwrap_err().into())
        }
    })
}
