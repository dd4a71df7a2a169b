//! The end of the process, after a signal or after the end of the runtime.

use std::io;
#[cfg(unix)]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lambda_proto::api::ErrorReport;
use lambda_proto::lifecycle::{Clocks, ShutdownWindow};

#[cfg(unix)]
use crate::in_flight::{is_answering, is_anything_in_flight, is_anything_to_report};
use crate::lifecycle::{Shutdown, ShutdownHook, Store, clock, drop_values, run_shutdown};
use crate::policy::Options;
use crate::{Error, Log, Tasks, report_in_flight};

/// The report for invocations that are unanswered when the process ends.
const ENDED: ErrorReport<'static> = ErrorReport::new(
    "Runtime.ShutDown",
    "the process was told to end, and the invocation was not answered in time",
);

/// Ends the process in order: first the invocations in flight end, then the shutdown hooks run
/// while registered work finishes, each within its share of the [window](ShutdownWindow). Finally
/// the values of the init hooks are dropped.
///
/// While it is [watching](Self::watch), SIGTERM and SIGINT make the transport stop taking
/// invocations. When the runtime has ended, its caller calls [`finish`](Self::finish), which runs
/// the hooks.
///
/// If an invocation or the start has not ended when its part of the window is over, it is
/// cancelled, and the hooks run at the same time. Invocations that are unanswered when the time of
/// the hooks is over are reported, and the process exits with code 0, or 1 if a hook has failed. A
/// second signal ends the process immediately. After this is dropped, signals have their default
/// effect.
pub(crate) struct Termination {
    shared: Arc<Shared>,
    #[cfg(unix)]
    watch: Option<Watch>,
}

/// While one exists, signals are handled; otherwise they have their default effect.
#[cfg(unix)]
struct Watch(signal_hook::iterator::Handle);

/// The number of watches, and the flag that restores the default effect of signals. `signal_hook`
/// never uninstalls its signal handlers, so the flag makes them emulate the default.
#[cfg(unix)]
static WATCHES: Mutex<(usize, Option<Arc<AtomicBool>>)> = Mutex::new((0, None));

struct Shared {
    window: ShutdownWindow,
    /// How long the hooks may take without a signal.
    stop_timeout: Duration,
    /// Cancels the invocations.
    cancelled: Shutdown,
    tasks: Tasks,
    /// The values of the init hooks, for the shutdown hooks.
    store: Store,
    log: Log,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// When the signal came.
    signal: Option<Clocks>,
    /// Whether the signal has been logged.
    is_told: bool,
    /// Whether the start is not over, so that no invocation has been asked for.
    is_starting: bool,
    /// Whether the runtime has ended.
    is_over: bool,
    /// `None` once a thread runs them.
    hooks: Option<Vec<ShutdownHook>>,
}

impl Termination {
    /// A termination that does not watch for signals yet.
    pub(crate) fn new(
        options: &Options,
        hooks: Vec<ShutdownHook>,
        store: Store,
        cancelled: Shutdown,
        tasks: Tasks,
        log: Log,
    ) -> Self {
        let state = State {
            signal: None,
            is_told: false,
            is_starting: true,
            is_over: false,
            hooks: Some(hooks),
        };
        let shared = Shared {
            window: options.shutdown_window(),
            stop_timeout: options.stop_timeout(),
            cancelled,
            tasks,
            store,
            log,
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
            #[cfg(unix)]
            watch: None,
        }
    }

    /// Watches for SIGTERM and SIGINT on a new thread, until this is dropped. `stop` makes the
    /// transport take no more invocations; those in flight are answered. On systems other than
    /// Unix, it does nothing.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started or the signal handlers cannot be installed.
    #[cfg_attr(not(unix), expect(unused_variables, reason = "there are no such signals"))]
    pub(crate) fn watch(&mut self, stop: impl Fn() + Send + 'static) -> io::Result<()> {
        #[cfg(unix)]
        {
            use signal_hook::consts::{SIGINT, SIGTERM};
            let signals = [SIGTERM, SIGINT];
            let mut arriving = signal_hook::iterator::Signals::new(signals)?;
            let watch = Watch::new(signals, arriving.handle())?;
            let shared = self.shared.clone();
            let watching = move || {
                let Some(signal) = arriving.forever().next() else { return };
                // A second signal ends the process without waiting.
                let second = std::thread::Builder::new().name("lambda-signals-2".to_owned());
                let _not_needed = second.spawn(move || {
                    if let Some(signal) = arriving.forever().next() {
                        std::process::exit(128 + signal);
                    }
                });
                shared.end(signal, stop);
            };
            std::thread::Builder::new().name("lambda-signals".to_owned()).spawn(watching)?;
            self.watch = Some(watch);
        }
        Ok(())
    }

    /// Notes that the start is over.
    pub(crate) fn has_started(&self) {
        self.shared.lock().is_starting = false;
    }

    /// Ends the runtime: runs the hooks. If they already run, because the time of the invocations
    /// was over, waits for the end of the process.
    ///
    /// # Errors
    ///
    /// As [`run_shutdown`].
    pub(crate) fn finish(self) -> Result<(), Error> {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.is_over = true;
        shared.changed.notify_all();
        // The process must not end while the signal is being logged.
        let is_telling = |state: &mut State| state.signal.is_some() && !state.is_told;
        let waited = shared.changed.wait_while(state, is_telling);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        let Some(hooks) = state.hooks.take() else {
            // Another thread is about to exit the process.
            drop(shared.changed.wait_while(state, |_| true));
            return Ok(());
        };
        let (signal, now) = (state.signal, clock::now());
        drop(state);
        let until = clock::moment(match signal {
            Some(signal) => shared.window.hooks_until(signal, now),
            None => now.monotonic.saturating_add(shared.stop_timeout),
        });
        let result = run_shutdown(hooks, until, &shared.store, &shared.log);
        shared.end_work(until);
        drop_values(&shared.store, until.max(Instant::now() + LAST_WORDS), &shared.log);
        result
    }
}

/// After a failed start no shutdown hooks run, but the values of init hooks are dropped.
impl Drop for Termination {
    fn drop(&mut self) {
        let until = Instant::now() + self.shared.stop_timeout;
        drop_values(&self.shared.store, until, &self.shared.log);
    }
}

#[cfg(unix)]
impl Watch {
    fn new(signals: [i32; 2], handle: signal_hook::iterator::Handle) -> io::Result<Self> {
        let mut watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, is_default) = &mut *watches;
        if is_default.is_none() {
            let flag = Arc::<AtomicBool>::default();
            for signal in signals {
                signal_hook::flag::register_conditional_default(signal, flag.clone())?;
            }
            *is_default = Some(flag);
        }
        *count += 1;
        is_default.iter().for_each(|flag| flag.store(false, Ordering::SeqCst));
        Ok(Self(handle))
    }
}

#[cfg(unix)]
impl Drop for Watch {
    fn drop(&mut self) {
        let mut watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, is_default) = &mut *watches;
        *count -= 1;
        let is_last = *count == 0;
        is_default.iter().for_each(|flag| flag.store(is_last, Ordering::SeqCst));
        self.0.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for registered work, and reports what is still open at `until`.
    fn end_work(&self, until: Instant) {
        self.tasks.drain(until);
        self.tasks.report_at_shutdown();
    }

    /// Handles the first signal.
    #[cfg(unix)]
    fn end(&self, signal: i32, stop: impl Fn()) {
        let came = clock::now();
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
        self.lock().signal = Some(came);
        stop();
        // Wakes threads that wait for post-response work, which then stop waiting.
        self.tasks.wake();
        // Logged last, since the writer may be slow.
        self.log.info(format_args!("{name}: no more invocations are taken"));
        self.lock().is_told = true;
        self.changed.notify_all();
        let mut state = self.wait_until_over(clock::moment(self.window.cancel_at(came)));
        // The runtime has ended in time, and its caller runs the hooks in `finish`.
        if state.is_over {
            return;
        }
        let Some(hooks) = state.hooks.take() else { return };
        let what = if state.is_starting { "the start" } else { "the invocations in flight" };
        drop(state);
        self.log.warn(format_args!("cancelling {what}: the process must end"));
        self.cancelled.begin();
        let until = clock::moment(self.window.hooks_until(came, clock::now()));
        let hooks_until = match is_anything_to_report() {
            true => until.checked_sub(LAST_WORDS).unwrap_or(until),
            false => until,
        };
        let result = run_shutdown(hooks, hooks_until, &self.store, &self.log);
        // Cancelled invocations may be answered until the time of the hooks is over, even if the
        // hooks have ended before.
        if is_anything_in_flight() {
            drop(self.wait_until_over(hooks_until));
        }
        let reported = report_in_flight(ENDED, until);
        if reported > 0 {
            self.log.error(format_args!("unanswered at the end of the process: {reported}"));
        }
        if is_answering() {
            // An answer that is being sent gets the rest of the window.
            drop(self.wait_until_over(until));
        }
        self.end_work(until);
        drop_values(&self.store, until.max(Instant::now() + LAST_WORDS), &self.log);
        self.log.flush();
        std::process::exit(if result.is_ok() { 0 } else { 1 });
    }

    /// Waits until the runtime has ended, but not beyond `moment`.
    #[cfg(unix)]
    fn wait_until_over(&self, moment: Instant) -> MutexGuard<'_, State> {
        let left = moment.saturating_duration_since(Instant::now());
        let is_going_on = |state: &mut State| !state.is_over;
        let waited = self.changed.wait_timeout_while(self.lock(), left, is_going_on);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The part of the window that is reserved for reports of unanswered invocations, if there are any,
/// and the least time for dropping the values.
const LAST_WORDS: Duration = Duration::from_millis(50);
