//! A log that nobody reads does not block a runtime.

mod support;

use lambda_proto_tokio as transport;

use support::block_on;
use transport::{Error, Failure, Runtime};

#[path = "../../verify/unread_log.rs"]
mod unread_log;

fn serve(runtime: Runtime, fail: fn(&[u8]) -> Failure) -> Result<(), Error> {
    block_on(runtime.run(async |invocation, _| Err(fail(invocation.body()))))
}
