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

    /// Writes. Fails once the service refuses the request while the write waits: it may read no
    /// more of it. The driver then reads the reply.
    fn write_with(
        &mut self,
        mut write: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> Result<usize, SocketError> {
        loop {
            match write(&mut self.0) {
                Err(error) if is_timeout(&error) => {
                    if self.is_refused()? {
                        return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
                    }
                }
                result => return Ok(result?),
            }
        }
    }

    /// Whether the service has replied with a refusal, or closed the connection.
    #[cold]
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
        self.write_with(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> Result<(), SocketError> {
        Ok(())
    }
}

impl Connection for Socket {
    fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, SocketError> {
        let parts = parts.map(IoSlice::new);
        self.write_with(|stream| stream.write_vectored(&parts))
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
