use std::time::Instant;

use crate::socket::Socket;

/// The state of a slot's connection.
#[derive(Debug)]
pub(super) enum Link {
    Down,
    /// A pause before connecting, or before beginning anew.
    Paused {
        until: Instant,
    },
    /// Another slot looks for the service.
    Waiting,
    Connecting {
        socket: Socket,
        began: Instant,
    },
    Up(Socket),
    /// The slot has ended.
    Over,
}
