use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lambda_proto_host::lifecycle::Shutdown as Stopping;
use lambda_proto_host::{Reach, Tasks};

/// Ends [`Runtime::run`](crate::Runtime::run) from another thread, between invocations.
///
/// A worker that waits for an invocation, or for post-response work, stops immediately; one that
/// runs a handler stops when the answer has been sent. An invocation that the service hands out
/// just as a worker stops waiting is lost, or reported as failed if a part of its event has
/// arrived; the same happens when Lambda ends the environment.
#[derive(Clone, Debug, Default)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_stopping: AtomicBool,
    reach: Reach,
    waiters: Mutex<Vec<Arc<Waiter>>>,
    changed: Condvar,
    lifecycle: Mutex<Followers>,
}

/// What else a stop reaches, in a runtime with a lifecycle.
#[derive(Debug, Default)]
struct Followers {
    /// The shutdown that a stop begins, for code that waits before the first invocation.
    stopping: Option<Stopping>,
    /// Post-response work, which a worker may wait for.
    tasks: Option<Tasks>,
}

/// The state of one worker, as the handle knows it.
///
/// The order of the two flags makes a lost wake-up impossible. The worker sets its flag and then
/// checks whether to stop; the handle sets the stop flag and then checks who waits. Whichever
/// checks last sees the other's flag.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    activity: AtomicU8,
    socket: Mutex<Option<TcpStream>>,
}

/// The worker does anything but wait.
const BUSY: u8 = 0;
/// The worker waits for an invocation.
const WAITING: u8 = 1;
/// The handle has shut down the connection while the worker waited.
const CUT: u8 = 2;

impl StopHandle {
    /// Stops every worker, for good. May be called repeatedly.
    pub fn stop(&self) {
        self.shared.is_stopping.store(true, SeqCst);
        for waiter in lock(&self.shared.waiters).iter() {
            waiter.cut();
        }
        self.shared.changed.notify_all();
        let followers = lock(&self.shared.lifecycle);
        if let Some(stopping) = &followers.stopping {
            stopping.begin();
        }
        if let Some(tasks) = &followers.tasks {
            tasks.wake();
        }
    }

    /// Whether [`stop`](Self::stop) has been called.
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(SeqCst)
    }

    pub(crate) fn new_waiter(&self) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter::default());
        lock(&self.shared.waiters).push(waiter.clone());
        waiter
    }

    /// Makes a stop also begin this shutdown, immediately if the stop came first; call it once.
    pub(crate) fn set_stopping(&self, stopping: &Stopping) {
        // If the stop does not find it, it came before.
        lock(&self.shared.lifecycle).stopping = Some(stopping.clone());
        if self.is_stopping() {
            stopping.begin();
        }
    }

    /// Makes a stop also wake workers that wait for post-response work; call it once.
    pub(crate) fn set_tasks(&self, tasks: &Tasks) {
        lock(&self.shared.lifecycle).tasks = Some(tasks.clone());
    }

    pub(crate) fn remove(&self, waiter: &Arc<Waiter>) {
        lock(&self.shared.waiters).retain(|other| !Arc::ptr_eq(other, waiter));
    }

    /// Whether the slots have connections.
    pub(crate) fn reach(&self) -> &Reach {
        &self.shared.reach
    }

    /// Sleeps for `duration`, or until it is time to stop.
    pub(crate) fn pause(&self, duration: Duration) {
        let waiters = lock(&self.shared.waiters);
        let is_going_on = |_: &mut Vec<Arc<Waiter>>| !self.is_stopping();
        drop(self.shared.changed.wait_timeout_while(waiters, duration, is_going_on));
    }

    /// Notes that the worker is about to wait; `false` if it must not.
    pub(crate) fn begin_wait(&self, waiter: &Waiter) -> bool {
        waiter.activity.store(WAITING, SeqCst);
        if self.is_stopping() {
            waiter.end_wait();
            return false;
        }
        true
    }
}

impl Waiter {
    /// Shuts down the connection, if the worker only waits for an invocation on it.
    fn cut(&self) {
        // Held so that the worker cannot replace the connection at the same time.
        let socket = lock(&self.socket);
        let is_cut = self.activity.compare_exchange(WAITING, CUT, SeqCst, SeqCst).is_ok();
        if is_cut && let Some(socket) = &*socket {
            let _already_closed = socket.shutdown(Shutdown::Read);
        }
    }

    /// Notes that the worker no longer waits; `false` if its connection has been shut down.
    pub(crate) fn end_wait(&self) -> bool {
        self.activity.swap(BUSY, SeqCst) != CUT
    }

    pub(crate) fn set_socket(&self, socket: Option<TcpStream>) {
        *lock(&self.socket) = socket;
    }
}

/// The data under these locks is always consistent, so a poisoned lock is harmless.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
