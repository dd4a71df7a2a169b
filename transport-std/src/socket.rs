//! The socket.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::time::Duration;

use lambda_proto::client::{EARLY_REPLY, refuses_early};
use lambda_proto::driver::Connection;

/// A connection, with the traits of `embedded_io`.
pub(crate) struct Socket(TcpStream);

/// How long a write waits for room before it looks for an early refusal.
#[cfg(unix)]
const UNTIL_A_LOOK: Duration = Duration::from_millis(500);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        // Windows does not define the state of a connection after a write that timed out.
        #[cfg(unix)]
        stream.set_write_timeout(Some(UNTIL_A_LOOK))?;
        Ok(Self(stream))
    }

    /// What a failed write means. After a write that waited, the driver writes again, unless the
    /// service has refused the request, of which it may read no more: then it reads the reply.
    #[cold]
    fn failed_write(&self, error: io::Error) -> SocketError {
        if !is_timeout(&error) {
            return error.into();
        }
        match self.is_refused() {
            Ok(true) => io::Error::from(io::ErrorKind::BrokenPipe).into(),
            Ok(false) => io::Error::from(io::ErrorKind::Interrupted).into(),
            Err(error) => error.into(),
        }
    }

    /// Whether the service has replied with a refusal, or closed the connection.
    fn is_refused(&self) -> io::Result<bool> {
        // Nobody else reads or writes while this waits.
        self.0.set_nonblocking(true)?;
        let mut beginning = [0; EARLY_REPLY];
        let peeked = self.0.peek(&mut beginning);
        self.0.set_nonblocking(false)?;
        match peeked {
            Ok(length) => Ok(refuses_early(&beginning[..length])),
            Err(error) if is_timeout(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Systems report a timeout as either.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

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
        self.0.write(bytes).map_err(|error| self.failed_write(error))
    }

    fn flush(&mut self) -> Result<(), SocketError> {
        Ok(())
    }
}

impl Connection for Socket {
    fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, SocketError> {
        let written = self.0.write_vectored(&parts.map(IoSlice::new));
        written.map_err(|error| self.failed_write(error))
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
