//! A responder cannot outlive the call of its handler.

use lambda_proto_std::{Error, Failure, Runtime};

fn main() -> Result<(), Error> {
    let mut kept = None;
    Runtime::from_env()?.run_mut(|_, responder| {
        kept = Some(responder);
        Err(Failure::new("Function.Later", "answered when there is time"))
    })
}
