//! The event is in memory that the next one uses.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    let mut kept: Option<&[u8]> = None;
    Runtime::from_env()?.run_mut(|invocation, responder| {
        kept = Some(invocation.body());
        Ok(responder.send("kept"))
    })
}
