//! A handler cannot return without an answer.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    Runtime::from_env()?.run(|invocation, _responder| {
        println!("{}", invocation.request_id());
    })
}
