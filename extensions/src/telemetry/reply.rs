//! The replies of a receiver, and nothing else knows their statuses.

use heapless::String;

/// The reply to a connection that a listener does not serve, because it serves enough: 503. Close the
/// connection after it. Lambda sends the batch again [Lambda Developer Guide: Telemetry API].
pub const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What a receiver replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// The body may be sent.
    Continue,
    /// The batch is taken.
    Taken,
    /// The request is malformed, or its body is no batch.
    Malformed,
    /// The method is not POST.
    WrongMethod,
    /// The head is too large.
    HeadTooLarge,
    /// The batch is wanted again.
    Again,
}

/// What becomes of the connection after a reply (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// It persists, as in HTTP/1.1 without a word about it.
    Persists,
    /// It persists, which a client of HTTP/1.0 must be told.
    IsKeptAlive,
    /// It ends.
    Closes,
}

/// A reply, and how much of it is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    text: String<MAX_REPLY>,
    sent: usize,
}

/// The longest reply has fewer bytes.
const MAX_REPLY: usize = 128;

impl Reply {
    /// Begins a reply. The one before is sent, or never will be.
    pub(super) fn begin(&mut self, status: Status, connection: Connection) {
        let head = match status {
            Status::Continue => "HTTP/1.1 100 Continue\r\n",
            Status::Taken => "HTTP/1.1 200 OK\r\n",
            Status::Malformed => "HTTP/1.1 400 Bad Request\r\n",
            // Such a reply must say which methods are allowed (RFC 9110 section 15.5.6).
            Status::WrongMethod => "HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\n",
            Status::HeadTooLarge => "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            Status::Again => "HTTP/1.1 503 Service Unavailable\r\n",
        };
        let connection = match connection {
            _ if status == Status::Continue => "",
            Connection::Persists => "Content-Length: 0\r\n",
            Connection::IsKeptAlive => "Content-Length: 0\r\nConnection: keep-alive\r\n",
            Connection::Closes => "Content-Length: 0\r\nConnection: close\r\n",
        };
        self.discard();
        let parts = [head, connection, "\r\n"];
        let is_whole = parts.iter().all(|part| self.text.push_str(part).is_ok());
        debug_assert!(is_whole, "a reply is longer than MAX_REPLY");
    }

    pub(super) fn unsent(&self) -> &[u8] {
        self.text.as_bytes().get(self.sent..).unwrap_or_default()
    }

    pub(super) fn sent(&mut self, length: usize) {
        self.sent = self.sent.saturating_add(length).min(self.text.len());
    }

    pub(super) fn discard(&mut self) {
        self.text.clear();
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_fits_and_ends_with_an_empty_line() {
        for status in [
            Status::Continue,
            Status::Taken,
            Status::Malformed,
            Status::WrongMethod,
            Status::HeadTooLarge,
            Status::Again,
        ] {
            for connection in [Connection::Persists, Connection::IsKeptAlive, Connection::Closes] {
                let mut reply = Reply::default();
                reply.begin(status, connection);
                assert!(reply.unsent().starts_with(b"HTTP/1.1 "));
                assert!(reply.unsent().ends_with(b"\r\n\r\n"), "{status:?}");
            }
        }
    }
}
