use crate::command_queue::Key;

/// The proof that an invocation has been answered, or that its responder is
/// [kept](crate::Responder::defer); its handler returns it.
///
/// The receipt of the answer comes later: [`Event::Settled`](crate::Event::Settled). Programs with
/// their own loop need not keep this.
#[derive(Debug)]
pub struct Sent {
    key: Key,
}

impl Sent {
    pub(crate) fn new(key: Key) -> Self {
        Self { key }
    }

    /// The key of the invocation that was answered.
    pub fn key(&self) -> Key {
        self.key
    }
}
