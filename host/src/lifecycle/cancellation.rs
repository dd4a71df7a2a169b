use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::fired::{Fired, Tasks};

/// A token that tells work to end. It fires at a moment, when a [`Shutdown`] begins, or when it is
/// [cancelled](Self::cancel).
///
/// It stops nothing itself: the work checks the token or waits on it. It has no thread and no
/// timer. Making one only counts a reference; the state that clones share is allocated with the
/// first clone.
///
/// ```
/// use std::time::Duration;
/// use lambda_proto_host::lifecycle::{Cancellation, Shutdown};
///
/// let shutdown = Shutdown::new();
/// let cancellation = Cancellation::at(None, &shutdown);
/// let poller = std::thread::spawn({
///     let cancellation = cancellation.clone();
///     // Does something every minute, and ends immediately when it is cancelled.
///     move || while !cancellation.wait(Duration::from_secs(60)) {}
/// });
/// assert!(!cancellation.is_cancelled());
/// shutdown.begin();
/// assert!(cancellation.is_cancelled());
/// poller.join().unwrap();
/// ```
#[derive(Debug)]
pub struct Cancellation {
    at: Option<Instant>,
    shutdown: Shutdown,
    /// The state that clones share; `None` before the first clone or cancellation.
    own: OnceLock<Arc<AtomicBool>>,
}

impl Cancellation {
    /// A token that fires at a moment, if there is one, and when this shutdown begins.
    pub fn at(moment: Option<Instant>, shutdown: &Shutdown) -> Self {
        Self { at: moment, shutdown: shutdown.clone(), own: OnceLock::new() }
    }

    /// Fires this token and every clone. Threads that [wait](Self::wait) on them wake immediately.
    pub fn cancel(&self) {
        self.shutdown.set(self.own());
    }

    /// Waits until the token fires, but not longer than `at_most`. Returns whether it has fired.
    pub fn wait(&self, at_most: Duration) -> bool {
        let asked = Instant::now().checked_add(at_most);
        let until = match (asked, self.at) {
            (Some(asked), Some(at)) => Some(asked.min(at)),
            (asked, at) => asked.or(at),
        };
        let mut guard = self.shutdown.lock();
        loop {
            // Computed before the check: if no time is left, the moment has come for the check too.
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if self.is_cancelled() {
                return true;
            }
            let changed = &self.shutdown.0.changed;
            guard = match left {
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Waits until the token fires, without blocking, on any executor. Only its moment wakes
    /// nothing, as there is no timer: await one that ends after the [remaining](Self::remaining)
    /// time, too.
    pub fn fired(&self) -> Fired<'_> {
        Fired::new(self)
    }

    /// Whether the token has fired. Once fired, it stays fired.
    ///
    /// If the token has a moment and has not fired, this reads the clock. It does not order memory
    /// accesses: data that a thread wrote before it cancelled needs other synchronization.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.shutdown.is_begun()
            || self.own.get().is_some_and(|own| own.load(Ordering::Relaxed))
            || self.at.is_some_and(|at| at <= Instant::now())
    }

    /// The time until the token's moment: zero if it has fired, `None` if it has no moment.
    pub fn remaining(&self) -> Option<Duration> {
        if self.is_cancelled() {
            return Some(Duration::ZERO);
        }
        Some(self.at?.saturating_duration_since(Instant::now()))
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shutdown.lock()
    }

    fn own(&self) -> &Arc<AtomicBool> {
        self.own.get_or_init(Arc::default)
    }
}

/// A clone fires when the original does.
impl Clone for Cancellation {
    fn clone(&self) -> Self {
        let own = OnceLock::from(Arc::clone(self.own()));
        Self { at: self.at, shutdown: self.shutdown.clone(), own }
    }
}

/// A switch that fires every [`Cancellation`] made with it; clones are the same switch.
///
/// A runtime has one for all of its invocations. Any thread may use it, for example one that waits
/// for signals, but a signal handler must not, since it takes a lock.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    is_begun: AtomicBool,
    /// Locked while a flag is set, so that no thread or task misses the change between its check and
    /// its wait.
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// Who waits without a thread.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The waker of the shutdown until it is called.
    waker: Option<Waker>,
    pub(super) tasks: Tasks,
}

/// The function to call when the shutdown begins.
struct Waker(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

impl Shutdown {
    /// A shutdown that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the shutdown, for good. Threads that wait on one of its cancellations wake
    /// immediately, and the [waker](Self::set_waker) is called.
    pub fn begin(&self) {
        self.set(&self.0.is_begun);
        let waker = self.lock().waker.take();
        if let Some(Waker(wake)) = waker {
            wake();
        }
    }

    /// Sets a waker to call, once, when the shutdown begins, for an event loop that cannot wait on
    /// a cancellation. If the shutdown has already begun, the waker is called immediately.
    ///
    /// There is only one waker; setting another replaces it. It is called without a lock held, on
    /// the thread that begins the shutdown or sets the waker, and must not panic.
    pub fn set_waker(&self, wake: impl Fn() + Send + Sync + 'static) {
        let mut waiting = self.lock();
        if self.is_begun() {
            drop(waiting);
            return wake();
        }
        let old = waiting.waker.replace(Waker(Box::new(wake)));
        drop(waiting);
        // Dropped outside the lock, which the drop of captured values may need.
        drop(old);
    }

    /// Whether it has begun.
    #[inline]
    pub fn is_begun(&self) -> bool {
        self.0.is_begun.load(Ordering::Relaxed)
    }

    fn set(&self, flag: &AtomicBool) {
        let mut waiting = self.lock();
        flag.store(true, Ordering::Relaxed);
        let tasks = waiting.tasks.take();
        drop(waiting);
        self.0.changed.notify_all();
        tasks.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
