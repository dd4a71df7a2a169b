//! A worker has one invocation in flight at a time.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    let mut worker = Runtime::from_env()?.into_worker();
    let (_, first) = worker.next()?.expect("an invocation");
    let (_, second) = worker.next()?.expect("an invocation");
    second.send("two");
    first.send("one");
    Ok(())
}
