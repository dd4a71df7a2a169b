use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::command_queue::CommandQueue;

/// Stops a runtime, from any thread.
///
/// Slots that wait for an invocation stop at once, and so do those that are only held; one that has
/// something in hand stops when the answer has been sent, or cannot be at the first attempt because the
/// service is away. An invocation that the service hands out at the very moment is lost to it; the same
/// happens when Lambda ends the environment.
#[derive(Clone, Default)]
pub struct StopHandle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_stopping: bool,
    loops: Vec<Weak<CommandQueue>>,
}

impl StopHandle {
    /// Stops every slot, now and for ever. May be called often.
    pub fn stop(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_stopping = true;
        for queue in state.loops.drain(..).filter_map(|queue| queue.upgrade()) {
            queue.stop();
        }
    }

    /// Lets the handle stop this loop as well.
    pub(crate) fn attach(&self, queue: &Arc<CommandQueue>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_stopping {
            queue.stop();
        } else {
            state.loops.push(Arc::downgrade(queue));
        }
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopHandle").finish_non_exhaustive()
    }
}
