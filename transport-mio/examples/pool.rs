//! An echo with as many slots as `AWS_LAMBDA_MAX_CONCURRENCY` says, all on one thread.

use lambda_proto_mio::{Error, Runtime};

fn main() -> Result<(), Error> {
    Runtime::from_env()?.run(|invocation, responder| Ok(responder.send(invocation.body())))
}
