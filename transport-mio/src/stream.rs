//! Answers that are sent piece by piece.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lambda_proto::slot::StreamOver;
use lambda_proto_transport::Failure;

use crate::handoff::{Command, Key, Next, Shared};
use crate::pool::{Pool, Use};

/// Bytes that wait for the loop at most; as many more are on their way into the socket.
const MOST_BYTES: usize = 64 * 1024;
/// Pieces that wait for the loop at most.
const MOST_PIECES: usize = 256;

/// Pieces of a stream, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    lengths: VecDeque<usize>,
    /// Where the next piece begins.
    start: usize,
}

impl Pieces {
    /// Takes as much of a piece as there is room for in so many bytes.
    fn push(&mut self, piece: &[u8], most: usize, pool: &Pool) -> usize {
        if self.lengths.len() == MOST_PIECES {
            return 0;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take(Use::Body);
            self.bytes.clear();
        }
        let length = piece.len().min(most.saturating_sub(self.bytes.len()));
        if length > 0 {
            self.bytes.extend_from_slice(&piece[..length]);
            self.lengths.push_back(length);
        }
        length
    }

    /// Goes on to the next piece, if there is one, and returns its length.
    pub(crate) fn advance(&mut self) -> Option<usize> {
        let length = self.lengths.pop_front()?;
        self.start += length;
        Some(length)
    }

    /// The piece that [`advance`](Self::advance) has gone on to, of this length.
    pub(crate) fn current(&self, length: usize) -> &[u8] {
        self.start
            .checked_sub(length)
            .and_then(|from| self.bytes.get(from..self.start))
            .unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
        self.start = 0;
    }

    /// Forgets everything, and gives its memory back.
    pub(crate) fn release(&mut self, pool: &Pool) {
        self.clear();
        pool.give(Use::Body, std::mem::take(&mut self.bytes));
    }
}

/// Where the pieces of one slot's stream wait for the loop.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    state: Mutex<State>,
    has_room: Condvar,
    /// Tells the thread of the loop from others, by an address in its own memory.
    loop_thread: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Whose stream it is; no stream has generation 0.
    generation: u64,
    pieces: Pieces,
    /// A writer has been told that there is no room.
    is_wanted: bool,
    /// The loop has looked and found nothing, so it must be told of the next piece.
    is_idle: bool,
    /// It is one that does not wait by itself.
    is_to_tell: bool,
    /// No stream will be opened here any more.
    is_over: bool,
}

/// What the loop finds in a channel.
pub(crate) struct Taken {
    /// There are new pieces.
    pub(crate) is_filled: bool,
    /// The host is to be told that there is room.
    pub(crate) is_told: bool,
}

impl Channel {
    /// Takes note that this is the thread of the loop.
    pub(crate) fn belongs_here(&self) {
        self.loop_thread.store(here(), Relaxed);
    }

    /// Closes it if it is this invocation's: its writer learns that the stream is over.
    pub(crate) fn close(&self, generation: u64, pool: &Pool) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        state.generation = 0;
        state.pieces.release(pool);
        drop(state);
        self.has_room.notify_all();
    }

    /// Exchanges what has been written for `pieces`, which are used up.
    pub(crate) fn take(&self, pieces: &mut Pieces) -> Taken {
        let mut state = self.lock();
        pieces.clear();
        std::mem::swap(&mut state.pieces, pieces);
        let is_wanted = std::mem::take(&mut state.is_wanted);
        let is_told = std::mem::take(&mut state.is_to_tell);
        state.is_idle = pieces.is_empty();
        drop(state);
        if is_wanted {
            self.has_room.notify_all();
        }
        Taken { is_filled: !pieces.is_empty(), is_told }
    }

    /// Closes it for ever, as its slot has ended.
    pub(crate) fn end(&self, pool: &Pool) {
        let mut state = self.lock();
        state.is_over = true;
        state.generation = 0;
        state.pieces.release(pool);
        drop(state);
        self.has_room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address that no other thread has while this one lives.
fn here() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// An answer that is sent piece by piece: every write is a chunk of its own, unless it is cut for want
/// of room.
///
/// It may go to another thread. Dropped before its end, it ends with an error that the caller sees
/// behind what was written.
#[must_use = "a stream that is dropped ends with an error; `finish` it"]
pub struct StreamReply {
    /// `None` once it has been ended.
    shared: Option<Arc<Shared>>,
    key: Key,
}

impl StreamReply {
    /// To be opened before the loop is told of it, which may find that it is too late and close it.
    pub(crate) fn open(shared: Arc<Shared>, key: Key) -> Self {
        let mut state = shared.channels[key.slot].lock();
        state.generation = if state.is_over { 0 } else { key.generation };
        (state.is_wanted, state.is_to_tell) = (false, false);
        // It looks when it is told of the stream.
        state.is_idle = false;
        drop(state);
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
        let (shared, channel) = self.channel();
        let mut state = channel.lock();
        if state.generation != self.key.generation {
            return Err(StreamOver);
        }
        let length = state.pieces.push(piece, most, &shared.pool);
        if length < piece.len() {
            state.is_wanted = true;
            state.is_to_tell |= is_to_tell;
        }
        let is_news = length > 0 && std::mem::take(&mut state.is_idle);
        drop(state);
        if is_news {
            shared.push(self.key, Command::Flow);
        }
        Ok(length)
    }

    /// The same stream for another thread than the loop's, which may wait for room.
    pub fn blocking(self) -> BlockingStream {
        BlockingStream(self)
    }

    /// Ends the stream.
    pub fn finish(self) {
        self.end(Command::Finish { next: Next::AfterReply });
    }

    /// Ends the stream and asks for the next invocation in the same write.
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

    fn channel(&self) -> (&Arc<Shared>, &Channel) {
        let shared = self.shared.as_ref().expect("it is there until the stream is consumed");
        (shared, &shared.channels[self.key.slot])
    }

    /// Waits until there is room, or the stream is over.
    fn wait(&self) -> io::Result<()> {
        let (_, channel) = self.channel();
        if channel.loop_thread.load(Relaxed) == here() {
            let reason = "the thread of the loop cannot wait for the loop: use `write` there";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, reason));
        }
        let state = channel.lock();
        let is_full =
            |state: &mut State| state.generation == self.key.generation && state.is_wanted;
        drop(channel.has_room.wait_while(state, is_full));
        Ok(())
    }
}

impl Drop for StreamReply {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.push(self.key, Command::GiveUp { is_panicking: std::thread::panicking() });
        }
    }
}

impl fmt::Debug for StreamReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReply").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A [`StreamReply`] whose writes wait for room, for threads that may block.
///
/// On the thread that the invocation came out on, which is the loop's, a write that would have to wait
/// fails with [`WouldBlock`](io::ErrorKind::WouldBlock).
#[derive(Debug)]
#[must_use = "a stream that is dropped ends with an error; `finish` it"]
pub struct BlockingStream(StreamReply);

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
