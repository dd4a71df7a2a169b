//! An invocation has one answer.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    Runtime::from_env()?.run(|_, reply| {
        reply.send("one");
        Ok(reply.send("two"))
    })
}
