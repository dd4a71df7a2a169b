use lambda_proto_host::{Failure, PANIC};

use crate::command_queue::Key;

/// The proof that an invocation has been answered, or that its responder is
/// [kept](crate::Responder::defer); its handler returns it.
///
/// What becomes of the answer is not known yet: [`Event::Settled`](crate::Event::Settled) says so later.
/// Programs with a loop of their own need not keep it.
#[derive(Debug)]
pub struct Sent {
    key: Key,
}

impl Sent {
    pub(crate) fn new(key: Key) -> Self {
        Self { key }
    }

    /// Whose answer it is.
    pub fn key(&self) -> Key {
        self.key
    }
}

/// Why an answer is dropped, if that is a panic.
pub(crate) fn panicked() -> Option<Failure> {
    let is_panicking = std::thread::panicking();
    is_panicking.then(|| Failure::new(PANIC, "the handler panicked with the invocation in hand"))
}
