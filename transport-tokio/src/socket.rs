//! The socket.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lambda_proto::async_driver::Connection;
use lambda_proto::client::{EARLY_REPLY, refuses_early};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;

/// A connection, with the traits of `embedded_io_async`.
///
/// Each operation transfers its bytes in the poll that ends it, so dropping one loses nothing.
pub(crate) struct Socket(pub(crate) TcpStream);

impl embedded_io::ErrorType for Socket {
    type Error = io::Error;
}

impl embedded_io_async::Read for Socket {
    async fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut self.0).poll_read(context, &mut room))?;
            Ok(room.filled().len()).into()
        })
        .await
    }
}

impl embedded_io_async::Write for Socket {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| match Pin::new(&mut self.0).poll_write(context, bytes) {
            Poll::Pending => self.poll_early_reply(context),
            written => written,
        })
        .await
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection for Socket {
    async fn write_parts(&mut self, parts: [&[u8]; 3]) -> io::Result<usize> {
        let parts = parts.map(IoSlice::new);
        poll_fn(|context| match Pin::new(&mut self.0).poll_write_vectored(context, &parts) {
            Poll::Pending => self.poll_early_reply(context),
            written => written,
        })
        .await
    }
}

impl Socket {
    /// Fails a write that waits once the service refuses the request, of which it may read no more.
    /// The driver then reads the reply.
    fn poll_early_reply(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut beginning = [0; EARLY_REPLY];
        let mut beginning = ReadBuf::new(&mut beginning);
        ready!(self.0.poll_peek(context, &mut beginning))?;
        match refuses_early(beginning.filled()) {
            true => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            // The write wakes the task.
            false => Poll::Pending,
        }
    }
}

/// Reads some bytes; 0 at the end of the stream. Dropping the future loses nothing.
///
/// It counts as an operation of its task, which `readable` does not: a peer that always has something
/// to read does not keep other tasks from running.
pub(crate) async fn read(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    consume_budget().await;
    loop {
        stream.readable().await?;
        match stream.try_read(room) {
            Err(error) if is_in_vain(&error) => {}
            result => return result,
        }
    }
}

/// Writes some bytes, never none. Dropping the future loses nothing. It counts as [`read`] does.
pub(crate) async fn write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    consume_budget().await;
    loop {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if is_in_vain(&error) => {}
            result => return result,
        }
    }
}

fn is_in_vain(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
