use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lambda_proto_host::lifecycle::Shutdown;

use crate::command_queue::CommandQueue;

/// Stops a runtime, from any thread.
///
/// Slots that wait for an invocation stop immediately, and so do slots that are only held. A slot
/// with an invocation in flight stops when the answer has been sent, or when the first attempt to
/// send it fails because the service is unreachable. An invocation that the service hands out just
/// as a slot stops is lost; the same happens when Lambda ends the environment.
#[derive(Clone, Default)]
pub struct StopHandle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_stopping: bool,
    /// The shutdown that a stop begins, for code that waits before the first invocation.
    stopping: Option<Shutdown>,
    loops: Vec<Weak<CommandQueue>>,
}

impl StopHandle {
    /// Stops every slot, for good. May be called repeatedly.
    pub fn stop(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_stopping = true;
        if let Some(stopping) = &state.stopping {
            stopping.begin();
        }
        for queue in state.loops.drain(..).filter_map(|queue| queue.upgrade()) {
            queue.stop();
        }
    }

    /// Makes a stop also begin this shutdown, immediately if the stop came first; call it once.
    pub(crate) fn set_stopping(&self, stopping: &Shutdown) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_stopping {
            stopping.begin();
        }
        state.stopping = Some(stopping.clone());
    }

    /// Makes the handle stop this loop as well.
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
