//! The end of JavaScript whose time is over.
//!
//! QuickJS asks an interrupt handler from time to time, also within regular expressions. A native
//! function that does not ask, such as the parser of a huge JSON text, cannot be interrupted, so a
//! thread watches all slots and ends the process if one does not come back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, process, thread};

use lambda_proto_host::{Log, report_in_flight};
use lambda_proto_std::Failure;

use crate::owners::Owner;

/// The error type of an invocation whose time is over.
pub(crate) const TIMEOUT: &str = "Function.Timeout";

/// When a slot's code must end.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// When code is interrupted for the first time.
    pub(crate) until: Instant,
    /// From when on all code is interrupted.
    pub(crate) end: Instant,
    /// When no job may be left.
    pub(crate) stuck: Instant,
}

/// The time of a slot's code. The interrupt handler reads it.
#[derive(Default)]
pub(crate) struct TimeBox {
    limits: Cell<Option<Limits>>,
    /// The invocations whose code was interrupted.
    interrupted: RefCell<Vec<Rc<Owner>>>,
}

impl TimeBox {
    /// Sets the limits of the code that runs from now on. `None` is no limit.
    pub(crate) fn limit(&self, limits: Option<Limits>) {
        self.limits.set(limits);
        // What was interrupted before has no part in what follows.
        self.interrupted.borrow_mut().clear();
    }

    /// When the code that runs is interrupted; `None` without a limit.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.limits.get().map(|limits| limits.until)
    }

    /// Whether code of this owner, which runs, must end now. Notes that it has said so, and gives
    /// the code that follows the time until the end.
    pub(crate) fn must_interrupt(&self, owner: impl FnOnce() -> Rc<Owner>) -> bool {
        let Some(limits) = self.limits.get() else { return false };
        if Instant::now() < limits.until {
            return false;
        }
        self.limits.set(Some(Limits { until: limits.end, ..limits }));
        let owner = owner();
        let mut interrupted = self.interrupted.borrow_mut();
        if !interrupted.iter().any(|noted| Rc::ptr_eq(noted, &owner)) {
            interrupted.push(owner);
        }
        true
    }

    /// Whether jobs that are still queued now queue each other without an end.
    pub(crate) fn is_stuck(&self) -> bool {
        self.limits.get().is_some_and(|limits| limits.stuck <= Instant::now())
    }

    /// Whether code was interrupted since the last call of [`take_interrupted`].
    ///
    /// [`take_interrupted`]: Self::take_interrupted
    pub(crate) fn has_interrupted(&self) -> bool {
        !self.interrupted.borrow().is_empty()
    }

    /// The invocations whose code was interrupted since the last call.
    pub(crate) fn take_interrupted(&self) -> Vec<Rc<Owner>> {
        self.interrupted.take()
    }
}

/// The failure of code whose time is over.
pub(crate) fn timeout() -> Failure {
    Failure::new(TIMEOUT, "the time of the invocation is over")
}

/// Watches the invocations of all slots. Clones are the same watchdog.
#[derive(Clone)]
pub(crate) struct Watchdog(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    log: Log,
}

#[derive(Default)]
struct State {
    slots: Vec<Option<Watched>>,
    /// The moment until which the thread sleeps; `None` if it sleeps until it is woken.
    sleeps_until: Option<Instant>,
}

/// Code that runs.
#[derive(Clone, Copy)]
struct Watched {
    /// When the process ends if the code has not come back.
    give_up_at: Instant,
    deadline: Instant,
}

/// The place of one slot in the watchdog.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    index: usize,
}

impl Watchdog {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub(crate) fn start(log: Log) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), log });
        let watching = shared.clone();
        thread::Builder::new()
            .name("lambda-watchdog".to_owned())
            .spawn(move || watching.watch())?;
        Ok(Self(shared))
    }

    /// A place for one more slot.
    pub(crate) fn slot(&self) -> Slot {
        let mut state = self.0.lock();
        state.slots.push(None);
        Slot { shared: self.0.clone(), index: state.slots.len() - 1 }
    }
}

impl Slot {
    /// Watches the code of this slot until [`rest`](Self::rest).
    pub(crate) fn watch(&self, give_up_at: Instant, deadline: Instant) {
        let mut state = self.shared.lock();
        state.slots[self.index] = Some(Watched { give_up_at, deadline });
        // Usually it wakes up earlier than that for an invocation that is over, and looks again.
        if state.sleeps_until.is_none_or(|until| give_up_at < until) {
            self.shared.changed.notify_one();
        }
    }

    /// Stops watching.
    pub(crate) fn rest(&self) {
        self.shared.lock().slots[self.index] = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> ! {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let mut next: Option<Instant> = None;
            for watched in state.slots.iter().flatten() {
                if now >= watched.give_up_at {
                    self.give_up(watched.deadline);
                }
                next = Some(next.map_or(watched.give_up_at, |at| at.min(watched.give_up_at)));
            }
            state.sleeps_until = next;
            state = match next {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(moment) => {
                    let time = moment.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(state, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Reports the invocations in flight and ends the process.
    fn give_up(&self, deadline: Instant) -> ! {
        let failure = Failure::new(
            TIMEOUT,
            "a native function did not return before the deadline, or the connection did not take \
             the response, so the process was ended",
        );
        report_in_flight(failure.as_error_report(), deadline.max(Instant::now() + GRACE));
        self.log.error(format_args!("{failure}"));
        self.log.flush();
        process::exit(1);
    }
}

/// The least time that the report gets.
const GRACE: Duration = Duration::from_millis(100);
