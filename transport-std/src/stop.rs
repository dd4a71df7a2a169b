use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Ends [`Runtime::run`](crate::Runtime::run) from another thread, between invocations.
///
/// A worker that waits for an invocation stops at once; one that runs a handler stops when the
/// answer has been sent. An invocation that the service hands out at the very moment a worker
/// stops waiting is lost to it, as it is when Lambda ends the environment.
#[derive(Clone, Debug, Default)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_stopping: AtomicBool,
    slots: Mutex<Vec<Arc<Slot>>>,
    changed: Condvar,
}

/// What the handle knows of one worker.
///
/// The order of the two flags makes a lost wake-up impossible: the worker says that it waits and
/// then looks whether to stop; the handle says to stop and then looks who waits. Whoever comes
/// second sees the other.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    is_waiting: AtomicBool,
    socket: Mutex<Option<TcpStream>>,
}

impl StopHandle {
    /// Stops every worker, now and for ever. May be called often.
    pub fn stop(&self) {
        self.shared.is_stopping.store(true, SeqCst);
        for slot in lock(&self.shared.slots).iter() {
            if slot.is_waiting.load(SeqCst)
                && let Some(socket) = &*lock(&slot.socket)
            {
                // Only reading: should an event be in hand after all, it can still be answered.
                let _already_closed = socket.shutdown(Shutdown::Read);
            }
        }
        self.shared.changed.notify_all();
    }

    /// Whether [`stop`](Self::stop) has been called.
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(SeqCst)
    }

    pub(crate) fn new_slot(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        lock(&self.shared.slots).push(slot.clone());
        slot
    }

    pub(crate) fn remove(&self, slot: &Arc<Slot>) {
        lock(&self.shared.slots).retain(|other| !Arc::ptr_eq(other, slot));
    }

    /// Sleeps so long, or until it is time to stop.
    pub(crate) fn pause(&self, duration: Duration) {
        let slots = lock(&self.shared.slots);
        let is_going_on = |_: &mut Vec<Arc<Slot>>| !self.is_stopping();
        drop(self.shared.changed.wait_timeout_while(slots, duration, is_going_on));
    }

    /// The worker is about to wait; `false` if it must not.
    pub(crate) fn begin_wait(&self, slot: &Slot) -> bool {
        slot.is_waiting.store(true, SeqCst);
        if self.is_stopping() {
            slot.end_wait();
            return false;
        }
        true
    }
}

impl Slot {
    pub(crate) fn end_wait(&self) {
        self.is_waiting.store(false, SeqCst);
    }

    pub(crate) fn set_socket(&self, socket: Option<TcpStream>) {
        *lock(&self.socket) = socket;
    }
}

/// The data behind these locks are whole at every moment, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
