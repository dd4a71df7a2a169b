//! Responses that are sent piece by piece.

use std::fmt;
use std::io;
use std::sync::Arc;

use lambda_proto::client::StreamOver;
use lambda_proto_host::{Failure, unwinding};

use crate::command_queue::{Command, CommandQueue, Key, Next};
use crate::pieces::{MOST_BYTES, PieceQueue};
use crate::sent::Sent;

/// A response that is sent piece by piece: every write is a chunk of its own, unless it is split
/// for lack of room.
///
/// Wrap it in a [`BufWriter`](io::BufWriter) if pieces are small. Returning an error from the
/// handler, or dropping the stream, ends it with an error that the caller sees after the data.
/// Nothing is sent before the first piece or the end, so if the stream fails earlier, an error is
/// sent instead of a stream.
///
/// The stream may move to another thread, where a write waits for room. The thread of the loop,
/// which handed out the invocation, cannot wait for itself: past 64 KiB that the socket has not
/// taken, a write on that thread fails with [`WouldBlock`](io::ErrorKind::WouldBlock). To write
/// more, use [`try_write`](Self::try_write) there, or move the stream to another thread:
///
/// ```no_run
/// # use std::io::Write;
/// # use lambda_proto_mio::{ContentType, Error, Runtime};
/// # fn main() -> Result<(), Error> {
/// Runtime::from_env()?.run(|_, responder| {
///     let (responder, sent) = responder.defer();
///     std::thread::spawn(move || {
///         let mut stream = responder.stream(ContentType::TEXT);
///         stream.write_all(&[b'x'; 1_000_000])?;
///         stream.finish();
///         std::io::Result::Ok(())
///     });
///     Ok(sent)
/// })
/// # }
/// ```
#[must_use = "a stream that is dropped ends with an error; `finish` it"]
pub struct ResponseStream {
    /// `None` once it has been ended.
    queue: Option<Arc<CommandQueue>>,
    key: Key,
}

impl ResponseStream {
    pub(crate) fn open(queue: Arc<CommandQueue>, key: Key) -> Self {
        queue.piece_queues[key.slot].open(key.generation);
        Self { queue: Some(queue), key }
    }

    /// The key of the invocation whose response it is.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Takes as many bytes of the piece as there is room for, and returns how many; never blocks.
    ///
    /// If it takes fewer bytes than the piece has, an [`Event::Writable`](crate::Event::Writable)
    /// comes when there is room again.
    ///
    /// # Errors
    ///
    /// [`StreamOver`] if the service has ended the stream or the connection was lost. Further
    /// pieces fail, too.
    pub fn try_write(&mut self, piece: &[u8]) -> Result<usize, StreamOver> {
        self.write_some(piece, MOST_BYTES, true)
    }

    /// Takes a whole piece at the beginning of a stream, even if there is no room for it.
    pub(crate) fn write_whole(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        self.write_some(piece, usize::MAX, false).map(drop)
    }

    fn write_some(
        &mut self,
        piece: &[u8],
        most: usize,
        is_to_tell: bool,
    ) -> Result<usize, StreamOver> {
        let (queue, pieces) = self.pieces();
        let generation = self.key.generation;
        let written = pieces.write(generation, piece, most, is_to_tell, &queue.pool)?;
        if written.is_news {
            queue.push(self.key, Command::Flow);
        }
        Ok(written.length)
    }

    /// Ends the stream.
    pub fn finish(self) -> Sent {
        self.end(Command::Finish { next: Next::AfterReply })
    }

    /// Ends the stream and asks for the next invocation in the same write, as
    /// [`Responder::send_and_next`](crate::Responder::send_and_next) does.
    pub fn finish_and_next(self) -> Sent {
        self.end(Command::Finish { next: Next::Pipelined })
    }

    /// Ends the stream with a failure; what was sent stays sent.
    pub fn fail(self, failure: impl Into<Failure>) -> Sent {
        self.end(Command::Fail(failure.into()))
    }

    fn end(mut self, command: Command) -> Sent {
        if let Some(queue) = self.queue.take() {
            queue.push(self.key, command);
        }
        Sent::new(self.key)
    }

    fn pieces(&self) -> (&Arc<CommandQueue>, &PieceQueue) {
        let queue = self.queue.as_ref().expect("it is there until the stream is consumed");
        (queue, &queue.piece_queues[self.key.slot])
    }

    /// Waits until there is room, or the stream is over.
    fn wait(&self) -> io::Result<()> {
        if self.pieces().1.wait(self.key.generation) {
            return Ok(());
        }
        let reason = "the thread of the loop cannot wait for the loop: use `try_write` there";
        Err(io::Error::new(io::ErrorKind::WouldBlock, reason))
    }
}

impl Drop for ResponseStream {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.push(self.key, Command::GiveUp(unwinding()));
        }
    }
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream").field("key", &self.key).finish_non_exhaustive()
    }
}

impl io::Write for ResponseStream {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        loop {
            let broken = |over| io::Error::new(io::ErrorKind::BrokenPipe, over);
            match self.write_some(piece, MOST_BYTES, false).map_err(broken)? {
                0 if !piece.is_empty() => self.wait()?,
                length => return Ok(length),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
