//! The queue in which the pieces of a stream wait for the loop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use lambda_proto::client::StreamOver;

use crate::pool::{Pool, Use};

/// The most bytes that wait for the loop; as many again may be on their way into the socket.
pub(crate) const MOST_BYTES: usize = 64 * 1024;
/// The most pieces that wait for the loop.
const MOST_PIECES: usize = 256;

/// Consecutive pieces of a stream.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    lengths: VecDeque<usize>,
    /// Where the next piece begins.
    start: usize,
}

impl Pieces {
    /// Takes as much of a piece as fits if at most `most` bytes may wait.
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

    /// Moves to the next piece, if there is one, and returns its length.
    pub(crate) fn advance(&mut self) -> Option<usize> {
        let length = self.lengths.pop_front()?;
        self.start += length;
        Some(length)
    }

    /// The piece that [`advance`](Self::advance) has moved to, of this length.
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

    /// Drops all pieces, and returns the memory.
    pub(crate) fn release(&mut self, pool: &Pool) {
        self.clear();
        pool.give(Use::Body, std::mem::take(&mut self.bytes));
    }
}

/// The queue in which the pieces of one slot's stream wait for the loop.
#[derive(Debug, Default)]
pub(crate) struct PieceQueue {
    state: Mutex<State>,
    has_room: Condvar,
    /// Identifies the thread of the loop, by the address of one of its thread-locals.
    loop_thread: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// The generation of the invocation that streams; 0 means that none does.
    generation: u64,
    pieces: Pieces,
    /// Who is told when there is room.
    told: Told,
    /// The loop has looked and found nothing, so the next piece must wake it.
    is_idle: bool,
    /// No further stream can be opened here.
    is_over: bool,
}

/// Who is told when there is room again after a writer has found none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    #[default]
    Nobody,
    /// Writers that block until then.
    Writers,
    /// The program, too: one of its writers does not block.
    Program,
}

/// The result of writing a piece.
pub(crate) struct Written {
    /// The number of bytes taken.
    pub(crate) length: usize,
    /// The loop must be woken.
    pub(crate) is_news: bool,
}

/// What the loop finds in a piece queue.
pub(crate) struct Taken {
    /// There are new pieces.
    pub(crate) is_filled: bool,
    /// The program must be told that there is room.
    pub(crate) is_told: bool,
}

impl PieceQueue {
    /// Notes that the current thread is the thread of the loop.
    pub(crate) fn belongs_here(&self) {
        self.loop_thread.store(here(), Relaxed);
    }

    /// Closes the queue if it belongs to this invocation: its writer learns that the stream is
    /// over.
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

    /// Replaces `pieces`, which have been sent, with the new pieces.
    pub(crate) fn take(&self, pieces: &mut Pieces) -> Taken {
        let mut state = self.lock();
        pieces.clear();
        std::mem::swap(&mut state.pieces, pieces);
        let told = std::mem::take(&mut state.told);
        state.is_idle = pieces.is_empty();
        drop(state);
        if told != Told::Nobody {
            self.has_room.notify_all();
        }
        Taken { is_filled: !pieces.is_empty(), is_told: told == Told::Program }
    }

    /// Opens the queue for the stream of an invocation.
    ///
    /// Call it before the command that announces the stream: if the stream is too late, the loop
    /// closes the queue when it finds that command.
    pub(crate) fn open(&self, generation: u64) {
        let mut state = self.lock();
        state.generation = if state.is_over { 0 } else { generation };
        state.told = Told::Nobody;
        // The command that announces the stream wakes the loop.
        state.is_idle = false;
    }

    /// Takes as much of a piece as fits if at most `most` bytes may wait. If that is not all of it
    /// and `is_to_tell` is set, the loop tells the program when there is room.
    pub(crate) fn write(
        &self,
        generation: u64,
        piece: &[u8],
        most: usize,
        is_to_tell: bool,
        pool: &Pool,
    ) -> Result<Written, StreamOver> {
        let mut state = self.lock();
        if state.generation != generation {
            return Err(StreamOver);
        }
        let length = state.pieces.push(piece, most, pool);
        if length < piece.len() {
            state.told = state.told.max(if is_to_tell { Told::Program } else { Told::Writers });
        }
        Ok(Written { length, is_news: length > 0 && std::mem::take(&mut state.is_idle) })
    }

    /// Waits until there is room, or the stream is over; `false` on the thread of the loop, which
    /// cannot wait for itself.
    pub(crate) fn wait(&self, generation: u64) -> bool {
        if self.loop_thread.load(Relaxed) == here() {
            return false;
        }
        let is_full =
            |state: &mut State| state.generation == generation && state.told != Told::Nobody;
        drop(self.has_room.wait_while(self.lock(), is_full));
        true
    }

    /// Closes the queue for good, since its slot has ended.
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
