//! Slots on one thread, handlers on a few others: the loop continues while handlers block.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use lambda_proto_mio::{Error, Failure, Invocation, Responder, Runtime};

fn main() -> Result<(), Error> {
    let (sender, receiver) = channel();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..4 {
        let receiver = receiver.clone();
        thread::spawn(move || {
            while let Some((invocation, responder)) = next(&receiver) {
                match work(&invocation) {
                    Ok(answer) => responder.send(answer),
                    Err(failure) => responder.fail(failure),
                };
            }
        });
    }
    drop(receiver);
    Runtime::from_env()?.run(|invocation, responder| {
        let (responder, sent) = responder.defer();
        sender
            .send((invocation, responder))
            .map_err(|_| Failure::from_display("no worker is left"))?;
        Ok(sent)
    })
}

/// Takes the next invocation; `None` when the runtime has ended.
fn next(receiver: &Mutex<Receiver<(Invocation, Responder)>>) -> Option<(Invocation, Responder)> {
    receiver.lock().ok()?.recv().ok()
}

/// Something that takes a while: the bytes of the event, in order.
fn work(invocation: &Invocation) -> Result<Vec<u8>, Failure> {
    let text = std::str::from_utf8(invocation.body())?;
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    Ok(bytes)
}
