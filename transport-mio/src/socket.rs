//! One connection in an edge-triggered loop. It remembers whether reads and writes would block.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use lambda_proto::client::{EARLY_REPLY, refuses_early};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token, event};

#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    is_readable: bool,
    is_writable: bool,
    /// The peer sends nothing more: read until the end, since no further edge comes.
    is_ending: bool,
}

/// Whether the next edge comes only after a call that would block. mio documents this for all
/// systems, but epoll and kqueue report an edge for whatever arrives after a call [epoll(7):
/// questions and answers].
const TO_THE_END: bool = cfg!(windows);

/// The result of an attempt to read or write.
pub(crate) enum Io {
    Done(usize),
    /// It would block: wait for the next edge.
    Blocked,
    Failed,
}

impl Socket {
    pub(crate) fn register(
        mut stream: TcpStream,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, is_readable: false, is_writable: false, is_ending: false })
    }

    pub(crate) fn note(&mut self, event: &event::Event) {
        let is_over = event.is_error() || event.is_read_closed();
        self.is_readable |= event.is_readable() || is_over;
        self.is_writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        self.is_ending |= is_over;
    }

    /// Whether the connection is established; an error if it cannot be.
    pub(crate) fn is_connected(&mut self) -> io::Result<bool> {
        if !self.is_writable {
            return Ok(false);
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => self.stream.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                self.is_writable = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.is_readable
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.is_writable
    }

    pub(crate) fn read(&mut self, room: &mut [u8]) -> Io {
        loop {
            return match self.stream.read(room) {
                // A short read took all bytes, unless the end of the stream follows.
                Ok(length) => {
                    self.is_readable = length == room.len() || self.is_ending || TO_THE_END;
                    Io::Done(length)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    Io::Blocked
                }
                Err(_) => Io::Failed,
            };
        }
    }

    /// Whether the service has refused what is being written, or closed the connection.
    pub(crate) fn is_refused(&mut self) -> bool {
        let mut beginning = [0; EARLY_REPLY];
        match self.stream.peek(&mut beginning) {
            Ok(length) => refuses_early(&beginning[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                false
            }
            // The read says what it is.
            Err(_) => true,
        }
    }

    /// Writes some of the parts, which are not all empty.
    pub(crate) fn write(&mut self, parts: [&[u8]; 3]) -> Io {
        let whole = parts.iter().map(|part| part.len()).sum::<usize>();
        loop {
            return match self.stream.write_vectored(&parts.map(IoSlice::new)) {
                Ok(0) => Io::Failed,
                // A short write filled the send buffer.
                Ok(length) => {
                    self.is_writable = length == whole || TO_THE_END;
                    Io::Done(length)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_writable = false;
                    Io::Blocked
                }
                Err(_) => Io::Failed,
            };
        }
    }

    /// Sends nothing more.
    pub(crate) fn end(&self) {
        let _the_peer_may_be_gone = self.stream.shutdown(Shutdown::Write);
    }

    /// Moves the socket to another loop, which reports again what it is ready for.
    pub(crate) fn move_to(
        mut self,
        from: &Registry,
        to: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        from.deregister(&mut self.stream)?;
        Self::register(self.stream, to, token)
    }

    pub(crate) fn close(mut self, registry: &Registry) {
        let _closing_does_it_too = registry.deregister(&mut self.stream);
    }
}
