//! An event cannot outlive the call of its handler, since the next event reuses its memory.

use lambda_proto_std::{Error, Runtime};

fn main() -> Result<(), Error> {
    let mut kept: Option<&[u8]> = None;
    Runtime::from_env()?.run_mut(|invocation, responder| {
        kept = Some(invocation.body());
        Ok(responder.send("kept"))
    })
}
