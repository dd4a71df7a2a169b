//! The answer to an invocation of one worker is not accepted for an invocation of another.

use lambda_proto_std::{Endpoint, Error, Runtime};

fn main() -> Result<(), Error> {
    let other = Endpoint::parse("127.0.0.1:9002").expect("an address");
    let mut worker = Runtime::new(other).into_worker();
    Runtime::from_env()?.run_mut(|_, _responder| {
        let (_, responder) = worker.next()?.expect("an invocation");
        Ok(responder.send("not mine"))
    })
}
