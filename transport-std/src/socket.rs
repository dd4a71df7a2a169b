//! The socket.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

use lambda_proto::driver::Connection;

/// A connection, with the traits of `embedded_io`.
pub(crate) struct Socket(pub(crate) TcpStream);

impl embedded_io::ErrorType for Socket {
    type Error = SocketError;
}

impl embedded_io::Read for Socket {
    fn read(&mut self, room: &mut [u8]) -> Result<usize, SocketError> {
        Ok(self.0.read(room)?)
    }
}

impl embedded_io::Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, SocketError> {
        Ok(self.0.write(bytes)?)
    }

    fn flush(&mut self) -> Result<(), SocketError> {
        Ok(())
    }
}

impl Connection for Socket {
    fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, SocketError> {
        Ok(self.0.write_vectored(&parts.map(IoSlice::new))?)
    }
}

#[derive(Debug)]
pub(crate) struct SocketError(io::Error);

impl From<io::Error> for SocketError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl std::fmt::Display for SocketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SocketError {}

impl embedded_io::Error for SocketError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self.0.kind() {
            io::ErrorKind::Interrupted => embedded_io::ErrorKind::Interrupted,
            _ => embedded_io::ErrorKind::Other,
        }
    }
}
