//! How a runtime behaves when memory is refused; the only test of its process, which it limits.

use lambda_proto_mio as transport;

use lambda_proto_service::{Event, Outcome, Service};
use refused_memory::{echo, limit};
use transport::{Error, Runtime};

#[path = "../../verify/refused_memory.rs"]
mod refused_memory;

fn serve(runtime: Runtime, answer: fn(&[u8]) -> &[u8]) -> Result<(), Error> {
    runtime.run(|invocation, responder| Ok(responder.send(answer(invocation.body()))))
}

#[test]
fn a_borrowed_response_that_cannot_be_copied_fails_its_invocation_and_not_the_process() {
    let service = Service::start();
    let run = echo(&service, limit());
    let outcome = Outcome::of(&service, run, Event::new("id-1", ""));
    outcome.request.assert_error("id-1", "Runtime.OutOfMemory");
    let message = "no memory to copy a response of 1000000 bytes";
    assert_eq!(outcome.request.json()["errorMessage"], message);
}
