//! An invocation has one answer.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    Runtime::from_env()?.run(|_, responder| {
        responder.send("one");
        Ok(responder.send("two"))
    })
}
