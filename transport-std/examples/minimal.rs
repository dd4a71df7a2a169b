//! The shortest runtime, without JSON: build it with `--no-default-features`.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    Runtime::from_env()?.run(|invocation, responder| Ok(responder.send(invocation.body())))
}
