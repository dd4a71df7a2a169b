//! A log that nobody reads does not block a runtime.

use lambda_proto_mio as transport;

use transport::{Error, Failure, Runtime};

#[path = "../../verify/unread_log.rs"]
mod unread_log;

fn serve(runtime: Runtime, fail: fn(&[u8]) -> Failure) -> Result<(), Error> {
    runtime.run(|invocation, _| Err(fail(invocation.body())))
}
