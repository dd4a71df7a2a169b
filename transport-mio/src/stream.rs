//! Answers that are sent piece by piece.

use std::fmt;
use std::io;
use std::sync::Arc;

use lambda_proto::slot::StreamOver;
use lambda_proto_host::Failure;

use crate::handoff::{Command, Key, Next, Shared};
use crate::pieces::{MOST_BYTES, PieceQueue};

/// An answer that is sent piece by piece: every write is a chunk of its own, unless it is cut for want
/// of room.
///
/// It may go to another thread. Dropped before its end, it ends with an error that the caller sees
/// behind what was written.
#[must_use = "a stream that is dropped ends with an error; `finish` it"]
pub struct ResponseStream {
    /// `None` once it has been ended.
    shared: Option<Arc<Shared>>,
    key: Key,
}

impl ResponseStream {
    pub(crate) fn open(shared: Arc<Shared>, key: Key) -> Self {
        shared.piece_queues[key.slot].open(key.generation);
        Self { shared: Some(shared), key }
    }

    /// Whose answer it is.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Takes as many bytes of the piece as there is room for, and returns how many; never blocks.
    ///
    /// If it takes fewer than there are, an [`Event::Writable`](crate::Event::Writable) comes when there
    /// is room again.
    ///
    /// # Errors
    ///
    /// [`StreamOver`] if the service has ended the stream or the connection was lost: more pieces lead
    /// nowhere.
    pub fn write(&mut self, piece: &[u8]) -> Result<usize, StreamOver> {
        self.write_some(piece, MOST_BYTES, true)
    }

    /// Takes all of a piece that is nobody's stream yet, but its beginning.
    pub(crate) fn write_whole(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        self.write_some(piece, usize::MAX, false).map(drop)
    }

    fn write_some(
        &mut self,
        piece: &[u8],
        most: usize,
        is_to_tell: bool,
    ) -> Result<usize, StreamOver> {
        let (shared, pieces) = self.pieces();
        let generation = self.key.generation;
        let written = pieces.write(generation, piece, most, is_to_tell, &shared.pool)?;
        if written.is_news {
            shared.push(self.key, Command::Flow);
        }
        Ok(written.length)
    }

    /// The same stream for another thread than the loop's, which may wait for room.
    pub fn blocking(self) -> BlockingStream {
        BlockingStream(self)
    }

    /// Ends the stream.
    pub fn finish(self) {
        self.end(Command::Finish { next: Next::AfterReply });
    }

    /// Ends the stream and asks for the next invocation in the same write, as
    /// [`Reply::send_and_next`](crate::Reply::send_and_next) does.
    pub fn finish_and_next(self) {
        self.end(Command::Finish { next: Next::Pipelined });
    }

    /// Ends the stream with a failure; what was sent stays sent.
    pub fn fail(self, failure: Failure) {
        self.end(Command::Fail(failure));
    }

    fn end(mut self, command: Command) {
        if let Some(shared) = self.shared.take() {
            shared.push(self.key, command);
        }
    }

    fn pieces(&self) -> (&Arc<Shared>, &PieceQueue) {
        let shared = self.shared.as_ref().expect("it is there until the stream is consumed");
        (shared, &shared.piece_queues[self.key.slot])
    }

    /// Waits until there is room, or the stream is over.
    fn wait(&self) -> io::Result<()> {
        if self.pieces().1.wait(self.key.generation) {
            return Ok(());
        }
        let reason = "the thread of the loop cannot wait for the loop: use `write` there";
        Err(io::Error::new(io::ErrorKind::WouldBlock, reason))
    }
}

impl Drop for ResponseStream {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.push(self.key, Command::GiveUp { is_panicking: std::thread::panicking() });
        }
    }
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A [`ResponseStream`] whose writes wait for room, for threads that may block.
///
/// On the thread that the invocation came out on, which is the loop's, a write that would have to wait
/// fails with [`WouldBlock`](io::ErrorKind::WouldBlock).
#[derive(Debug)]
#[must_use = "a stream that is dropped ends with an error; `finish` it"]
pub struct BlockingStream(ResponseStream);

impl BlockingStream {
    /// Ends the stream.
    pub fn finish(self) {
        self.0.finish();
    }

    /// Ends the stream and asks for the next invocation in the same write.
    pub fn finish_and_next(self) {
        self.0.finish_and_next();
    }

    /// Ends the stream with a failure; what was sent stays sent.
    pub fn fail(self, failure: Failure) {
        self.0.fail(failure);
    }
}

impl io::Write for BlockingStream {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        loop {
            let broken = |over| io::Error::new(io::ErrorKind::BrokenPipe, over);
            match self.0.write_some(piece, MOST_BYTES, false).map_err(broken)? {
                0 if !piece.is_empty() => self.0.wait()?,
                length => return Ok(length),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
