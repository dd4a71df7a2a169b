//! The command queue: how responders on any thread pass their commands to the loop.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lambda_proto::limits::MAX_CONTENT_TYPE;
use lambda_proto_host::Failure;
use mio::Waker;

use crate::pieces::PieceQueue;
use crate::pool::Pool;

/// The key of an invocation, unique within its [`Slots`](crate::Slots).
///
/// A program keeps the key if it must know which answer an [`Event`](crate::Event) is about. To
/// store responders, an array with one place per slot is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(crate) slot: usize,
    pub(crate) generation: u64,
}

impl Key {
    /// The slot, from 0. It holds no other invocation until this one is answered.
    pub fn slot(&self) -> usize {
        self.slot
    }
}

/// A content type that outlives its origin.
pub(crate) type OwnContentType = heapless::Vec<u8, MAX_CONTENT_TYPE>;

/// A command of a responder, a stream or a hold to the loop.
#[derive(Debug)]
pub(crate) enum Command {
    Respond {
        body: Vec<u8>,
        content_type: Option<OwnContentType>,
        next: Next,
    },
    Fail(Failure),
    /// The responder was dropped, perhaps for a known reason.
    GiveUp(Option<Failure>),
    Stream(OwnContentType),
    /// The piece queue of the slot has new pieces.
    Flow,
    Finish {
        next: Next,
    },
    /// The hold was dropped.
    Release,
}

impl Command {
    /// Whether it completes the answer.
    fn is_last(&self) -> bool {
        match self {
            Self::Respond { .. } | Self::Fail(_) | Self::GiveUp(_) | Self::Finish { .. } => true,
            Self::Stream(_) | Self::Flow | Self::Release => false,
        }
    }
}

/// When the next invocation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    AfterReply,
    Pipelined,
    /// When the program says so.
    Held,
}

/// The queue that the loop shares with responders, streams and holds.
#[derive(Debug)]
pub(crate) struct CommandQueue {
    queue: Mutex<Queue>,
    waker: Arc<Waker>,
    pub(crate) pool: Arc<Pool>,
    /// One for each slot.
    pub(crate) piece_queues: Vec<PieceQueue>,
}

#[derive(Debug)]
struct Queue {
    commands: VecDeque<(Key, Command)>,
    /// The loop has looked and found nothing, so it must be woken.
    is_asleep: bool,
    calls: Calls,
}

/// Calls that concern all slots.
#[derive(Debug, Default)]
struct Calls {
    is_stopping: bool,
    is_work_over: bool,
    is_cancelled: bool,
}

/// What the loop finds in the queue.
pub(crate) enum Taken {
    Nothing,
    Commands,
    /// The slots must stop; reported once.
    Stop,
    /// The post-response work that a slot waits for is over; reported once.
    WorkOver,
    /// The invocations in flight are cancelled, since the process must end; reported once.
    Cancelled,
}

impl CommandQueue {
    pub(crate) fn new(slots: usize, waker: Arc<Waker>, pool: Arc<Pool>) -> Self {
        let commands = VecDeque::with_capacity(2 * slots);
        let queue = Queue { commands, is_asleep: false, calls: Calls::default() };
        let queue = Mutex::new(queue);
        Self {
            queue,
            waker,
            pool,
            piece_queues: (0..slots).map(|_| PieceQueue::default()).collect(),
        }
    }

    pub(crate) fn push(&self, key: Key, command: Command) {
        let mut queue = self.lock();
        queue.commands.push_back((key, command));
        self.wake(queue);
    }

    pub(crate) fn stop(&self) {
        let mut queue = self.lock();
        queue.calls.is_stopping = true;
        self.wake(queue);
    }

    pub(crate) fn work_is_over(&self) {
        let mut queue = self.lock();
        queue.calls.is_work_over = true;
        self.wake(queue);
    }

    pub(crate) fn cancel(&self) {
        let mut queue = self.lock();
        queue.calls.is_cancelled = true;
        self.wake(queue);
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let is_asleep = std::mem::take(&mut queue.is_asleep);
        drop(queue);
        if is_asleep {
            // It fails when the loop is gone, and then there is nothing to wake.
            let _loop_is_gone = self.waker.wake();
        }
    }

    /// Moves all commands into `into`, which is empty. A loop that finds none and `may_sleep` is
    /// woken when one arrives.
    pub(crate) fn take(&self, into: &mut VecDeque<(Key, Command)>, may_sleep: bool) -> Taken {
        let mut queue = self.lock();
        // First, so that no answer in the queue asks for another invocation.
        if queue.calls.is_stopping {
            queue.calls.is_stopping = false;
            return Taken::Stop;
        }
        if !queue.commands.is_empty() {
            std::mem::swap(&mut queue.commands, into);
            return Taken::Commands;
        }
        if queue.calls.is_work_over {
            queue.calls.is_work_over = false;
            return Taken::WorkOver;
        }
        // After the commands, since an invocation that they answer is not cancelled.
        if queue.calls.is_cancelled {
            queue.calls.is_cancelled = false;
            return Taken::Cancelled;
        }
        queue.is_asleep = may_sleep;
        Taken::Nothing
    }

    /// Fails an invocation whose handler has just returned; returns the failure if it was answered.
    ///
    /// Call it only on the thread of the loop and before the next [`take`](Self::take): until then
    /// the queue holds every command for the invocation since it was handed out.
    pub(crate) fn fail(&self, key: Key, failure: Failure) -> Result<(), Failure> {
        let mut queue = self.lock();
        let mut commands = queue.commands.iter_mut().filter(|(other, _)| *other == key);
        match commands.find_map(|(_, command)| command.is_last().then_some(command)) {
            Some(given_up @ Command::GiveUp(_)) => *given_up = Command::Fail(failure),
            Some(_) => return Err(failure),
            // If a responder still exists, its answer will be too late.
            None => queue.commands.push_back((key, Command::Fail(failure))),
        }
        self.wake(queue);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
