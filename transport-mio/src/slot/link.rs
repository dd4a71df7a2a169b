use std::time::Instant;

use crate::socket::Socket;

/// The state of a slot's connection.
#[derive(Debug)]
pub(super) enum Link {
    Down,
    /// A pause before connecting, or before starting over.
    Paused {
        until: Instant,
    },
    /// Another slot tries to reach the service.
    Waiting,
    Connecting {
        socket: Socket,
        began: Instant,
    },
    Up(Socket),
    /// The slot has ended.
    Over,
}
