//! The shortest function in Rust: it answers with its event.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    Runtime::from_env()?.run(|invocation, responder| Ok(responder.send(invocation.body())))
}
