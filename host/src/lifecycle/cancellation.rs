use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Says when work should end: at a moment, when a [`Shutdown`] begins, or when somebody
/// [cancels](Self::cancel) it.
///
/// Nothing is stopped by it; work looks at it, or waits on it. There is no thread and no timer behind it.
/// Making one costs nothing but a reference counted; what clones share is allocated with the first clone.
///
/// ```
/// use std::time::Duration;
/// use lambda_proto_host::lifecycle::{Cancellation, Shutdown};
///
/// let shutdown = Shutdown::new();
/// let cancellation = Cancellation::at(None, &shutdown);
/// let poller = std::thread::spawn({
///     let cancellation = cancellation.clone();
///     // Does something every minute, and ends at once when it is told to.
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
    /// What clones share; there is none before there is a clone or somebody cancels.
    own: OnceLock<Arc<AtomicBool>>,
}

impl Cancellation {
    /// One that fires at a moment, if there is one, and when this shutdown begins.
    pub fn at(moment: Option<Instant>, shutdown: &Shutdown) -> Self {
        Self { at: moment, shutdown: shutdown.clone(), own: OnceLock::new() }
    }

    /// Fires, for every clone too. What [waits](Self::wait) wakes at once.
    pub fn cancel(&self) {
        self.shutdown.set(self.own());
    }

    /// Waits until it has fired, or for so long if that is shorter; returns whether it has fired.
    pub fn wait(&self, at_most: Duration) -> bool {
        let asked = Instant::now().checked_add(at_most);
        let until = match (asked, self.at) {
            (Some(asked), Some(at)) => Some(asked.min(at)),
            (asked, at) => asked.or(at),
        };
        let mut guard = self.shutdown.lock();
        loop {
            // Read before the question, whose moment has then come as well.
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

    /// Whether it has fired. It never ceases to have.
    ///
    /// Until then the clock is read, if there is a moment. Nothing is ordered by it: what one thread wrote
    /// before it cancelled, another sees by means of its own.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.shutdown.is_begun()
            || self.own.get().is_some_and(|own| own.load(Ordering::Relaxed))
            || self.at.is_some_and(|at| at <= Instant::now())
    }

    /// The time until it fires by itself: zero if it has fired, `None` if it has no moment.
    pub fn remaining(&self) -> Option<Duration> {
        if self.is_cancelled() {
            return Some(Duration::ZERO);
        }
        Some(self.at?.saturating_duration_since(Instant::now()))
    }

    fn own(&self) -> &Arc<AtomicBool> {
        self.own.get_or_init(Arc::default)
    }
}

/// Fires when this one does.
impl Clone for Cancellation {
    fn clone(&self) -> Self {
        let own = OnceLock::from(Arc::clone(self.own()));
        Self { at: self.at, shutdown: self.shutdown.clone(), own }
    }
}

/// That work under way is to end, which every [`Cancellation`] of it is told; clones are the same.
///
/// A runtime has one for all of its invocations. It is for threads, such as one that hears of signals; a
/// signal handler must not touch it, since it takes a lock.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    is_begun: AtomicBool,
    /// Held while a flag is set, so that nobody begins to wait between looking and waiting.
    lock: Mutex<()>,
    changed: Condvar,
}

impl Shutdown {
    /// One that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins, for ever; all that wait on a cancellation of it wake at once.
    pub fn begin(&self) {
        self.set(&self.0.is_begun);
    }

    /// Whether it has begun.
    #[inline]
    pub fn is_begun(&self) -> bool {
        self.0.is_begun.load(Ordering::Relaxed)
    }

    fn set(&self, flag: &AtomicBool) {
        let guard = self.lock();
        flag.store(true, Ordering::Relaxed);
        drop(guard);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
