//! The thread that ends invocations whose time is over.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, process, thread};

use lambda_proto_host::{Context, Log, report_in_flight};
use lambda_proto_std::Failure;
use mlua::Lua;

use crate::interrupt::{self, Running, Target};

/// The error type of an invocation whose time is over.
pub(crate) const TIMEOUT: &str = "Function.Timeout";

/// How often a thread is interrupted until its invocation ends.
const AGAIN: Duration = Duration::from_millis(10);

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
    slots: Vec<Entry>,
    last_id: usize,
    /// The moment until which the thread sleeps; `None` if it sleeps until it is woken.
    sleeps_until: Option<Instant>,
}

struct Entry {
    id: usize,
    /// Exists for as long as the entry.
    thread: Target,
    watched: Option<Watched>,
}

/// What a thread does until then.
struct Watched {
    limits: Limits,
    is_interrupted: bool,
}

/// How long Lua code may run.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    interrupt_at: Instant,
    /// When the process ends if Lua has not got control until then, and the deadline of what is
    /// reported before; `None` if somebody else sees to that.
    end: Option<(Instant, Instant)>,
}

impl Limits {
    /// Those of the handler: until the invocation is [cancelled](Context::cancellation), at the
    /// deadline less the buffer. If less time than twice the buffer is left, the code gets half of
    /// that time. `None` if the deadline is unknown.
    pub(crate) fn of(context: &Context) -> Option<Self> {
        let left = context.remaining()?;
        let uncancelled = context.cancellation().remaining().unwrap_or(left);
        Some(Self::new(left, uncancelled.max(left / 2)))
    }

    /// Until this time before the deadline; `None` if it is unknown or nothing is left.
    pub(crate) fn before(context: &Context, reserve: Duration) -> Option<Self> {
        let left = context.remaining()?;
        let until = left.checked_sub(reserve).filter(|until| !until.is_zero())?;
        Some(Self::new(left, until))
    }

    /// Until this moment. Then its caller goes on without it.
    pub(crate) fn until(interrupt_at: Instant) -> Self {
        Self { interrupt_at, end: None }
    }

    fn new(left: Duration, interrupt_after: Duration) -> Self {
        let now = Instant::now();
        let give_up_at = now + (interrupt_after + left) / 2;
        Self { interrupt_at: now + interrupt_after, end: Some((give_up_at, now + left)) }
    }
}

/// The place of one thread in the watchdog, until it is dropped on that thread.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    id: usize,
}

impl Watchdog {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started or the signal handler cannot be installed.
    pub(crate) fn start(log: Log) -> io::Result<Self> {
        interrupt::install()?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), log });
        let watching = shared.clone();
        thread::Builder::new()
            .name("lambda-watchdog".to_owned())
            .spawn(move || watching.watch())?;
        Ok(Self(shared))
    }

    /// A slot for the current thread.
    pub(crate) fn slot(&self) -> Slot {
        let mut state = self.0.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.slots.push(Entry { id, thread: Target::current(), watched: None });
        Slot { shared: self.0.clone(), id }
    }
}

impl Slot {
    /// Calls `work`, which runs Lua code, and interrupts that code when its time is over.
    ///
    /// Returns the result of `work`, and whether it was interrupted, even if the code has caught
    /// the error. If the code has not returned to Lua when half of the remaining time is over, the
    /// invocation is reported and the process ends.
    ///
    /// # Errors
    ///
    /// If Lua has no stack left for a call.
    pub(crate) fn watch<T>(
        &self,
        lua: &Lua,
        limits: Option<Limits>,
        work: impl FnOnce() -> T,
    ) -> mlua::Result<(T, bool)> {
        let running = Running::begin(lua)?;
        let result = self.guard(limits, work);
        Ok((result, running.end()))
    }

    /// The same for `work` that cannot be interrupted, because it may close the state or runs
    /// finalizers: in these LuaJIT calls no hook.
    pub(crate) fn guard<T>(&self, limits: Option<Limits>, work: impl FnOnce() -> T) -> T {
        let Some(limits) = limits else { return work() };
        self.set(Some(Watched { limits, is_interrupted: false }));
        let result = work();
        self.set(None);
        result
    }

    /// Watches this invocation from now on.
    fn set(&self, watched: Option<Watched>) {
        let mut state = self.shared.lock();
        let interrupt_at = watched.as_ref().map(|watched| watched.limits.interrupt_at);
        let Some(entry) = state.slots.iter_mut().find(|entry| entry.id == self.id) else {
            return;
        };
        entry.watched = watched;
        // Usually it wakes up earlier than that for an invocation that is over, and looks again.
        if let Some(interrupt_at) = interrupt_at
            && state.sleeps_until.is_none_or(|until| interrupt_at < until)
        {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.lock().slots.retain(|entry| entry.id != self.id);
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
            let mut wake_at =
                |moment: Instant| next = Some(next.map_or(moment, |at| at.min(moment)));
            for Entry { thread, watched, .. } in &mut state.slots {
                let Some(watched) = watched else { continue };
                let limits = watched.limits;
                if let Some((give_up_at, deadline)) = limits.end
                    && now >= give_up_at
                    && watched.is_interrupted
                {
                    self.give_up(deadline);
                }
                if now >= limits.interrupt_at {
                    watched.is_interrupted = true;
                    #[expect(unsafe_code, reason = "a thread that exists")]
                    // SAFETY: a thread removes its entry before it ends, which needs the lock.
                    unsafe {
                        thread.interrupt();
                    }
                    wake_at(now + AGAIN);
                } else {
                    wake_at(limits.interrupt_at);
                }
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
            "a C function or a finalizer did not return before the deadline, so the process was ended",
        );
        report_in_flight(failure.as_error_report(), deadline);
        self.log.error(format_args!("{failure}"));
        self.log.flush();
        process::exit(1);
    }
}
