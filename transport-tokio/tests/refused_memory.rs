//! How a runtime behaves when memory is refused; the only test of its process, which it limits.

mod support;

use lambda_proto_tokio as transport;

use lambda_proto_service::{Event, Outcome, Service};
use refused_memory::{MANY, echo, limit};
use support::block_on;
use transport::{Error, Runtime};

#[path = "../../verify/refused_memory.rs"]
mod refused_memory;

fn serve(runtime: Runtime, answer: fn(&[u8]) -> &[u8]) -> Result<(), Error> {
    let run = runtime
        .run(async |invocation, responder| Ok(responder.send(answer(invocation.body())).await));
    block_on(run)
}

#[test]
fn a_large_borrowed_response_needs_no_memory() {
    let service = Service::start();
    let run = echo(&service, limit());
    let outcome = Outcome::of(&service, run, Event::new("id-1", ""));
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.body.len(), MANY);
}
