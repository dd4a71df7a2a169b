//! The reusable buffer of a worker.

use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use lambda_proto::async_driver::{Connector, Driver, Stream};
use lambda_proto::client::{Storage, StreamOver};

/// The most bytes that one call of `poll_write` takes.
pub(crate) const MOST: usize = 64 * 1024;

/// A buffer for bodies that have to be assembled, and for the pieces of `poll_write`.
///
/// A poll function cannot keep the piece that it is called with until the connection has taken it.
/// So it copies the piece here, and later calls send the rest.
#[derive(Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    /// Whether the bytes are a piece of which a part is still to be sent.
    is_piece: bool,
}

/// Where pieces are sent: a stream, or the driver that it was borrowed from.
pub(crate) trait Pieces {
    /// Sends a piece, or continues where a dropped future of this method stopped.
    async fn send(&mut self, piece: &[u8]) -> Result<(), StreamOver>;
}

impl<C: Connector, S: Storage> Pieces for Stream<'_, C, S> {
    async fn send(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        self.write_on(piece).await
    }
}

impl<C: Connector, S: Storage> Pieces for Driver<C, S> {
    async fn send(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        self.write_on(piece).await
    }
}

impl Scratch {
    /// The buffer, for a body.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        self.is_piece = false;
        &mut self.bytes
    }

    /// Sends what is left of the piece. If the future is dropped, the next call continues.
    pub(crate) async fn flush(&mut self, to: &mut impl Pieces) -> Result<(), StreamOver> {
        if !self.is_piece {
            return Ok(());
        }
        let sent = to.send(&self.bytes).await;
        self.is_piece = false;
        sent
    }

    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        to: &mut impl Pieces,
    ) -> Poll<io::Result<()>> {
        pin!(self.flush(to)).poll(context).map_err(broken)
    }

    /// Sends the last piece, then takes this one, or the beginning of it, and begins to send it.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        to: &mut impl Pieces,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(context, to))?;
        self.bytes.clear();
        for part in parts {
            let room = MOST - self.bytes.len();
            self.bytes.extend_from_slice(&part[..part.len().min(room)]);
        }
        let length = self.bytes.len();
        self.is_piece = length > 0;
        if let Poll::Ready(result) = self.poll_flush(context, to) {
            result?;
        }
        Poll::Ready(Ok(length))
    }
}

pub(crate) fn broken(over: StreamOver) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, over)
}
