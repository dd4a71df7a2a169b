//! The end of the process, after a signal or after the end of the runtime.

use std::io;
#[cfg(unix)]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[cfg(unix)]
use lambda_proto::api::ErrorReport;
use lambda_proto::lifecycle::{Clocks, ShutdownWindow};

#[cfg(unix)]
use crate::in_flight::{is_answering, is_anything_in_flight, is_anything_to_report};
use crate::lifecycle::{
    Shutdown, ShutdownHook, Store, clock, drop_unrun, drop_values, run_shutdown,
};
use crate::policy::Options;
use crate::{Error, Log, Tasks};
#[cfg(unix)]
use crate::{catch, report_in_flight};

/// The report for invocations that are unanswered when the process ends.
#[cfg(unix)]
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
    #[cfg_attr(not(unix), expect(dead_code, reason = "only a signal cancels them"))]
    cancelled: Shutdown,
    /// Cancels the shutdown hooks before their time is over.
    ending: Shutdown,
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
    stage: Stage,
    /// Whether the end of the runtime keeps to the window by itself.
    is_limited: bool,
    /// `None` once a thread runs them.
    hooks: Option<Vec<ShutdownHook>>,
}

/// The stage of the runtime, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// No invocation has been asked for.
    Starting,
    Running,
    /// The start has failed, which is being reported. No shutdown hooks run.
    Failed,
    /// The runtime has ended, and its caller ends the lifecycle.
    Ending,
    Ended,
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
            stage: Stage::Starting,
            is_limited: false,
            hooks: Some(hooks),
        };
        let shared = Shared {
            window: options.shutdown_window(),
            stop_timeout: options.stop_timeout(),
            cancelled,
            ending: Shutdown::new(),
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
            Watch::register_default(signals)?;
            let mut arriving = signal_hook::iterator::Signals::new(signals)?;
            let watch = Watch::new(arriving.handle());
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
                // Others wait for the exit, which must not depend on code of the function.
                let ended = catch(|| {
                    shared.end(signal, stop);
                    Ok(())
                });
                if ended.is_err() {
                    std::process::exit(1);
                }
            };
            std::thread::Builder::new().name("lambda-signals".to_owned()).spawn(watching)?;
            self.watch = Some(watch);
        }
        Ok(())
    }

    /// Notes that the start is over.
    pub(crate) fn has_started(&self) {
        drop(self.shared.enter(Stage::Running));
    }

    /// Notes that the start has failed, which the caller is about to report.
    pub(crate) fn start_has_failed(&self) {
        let hooks = self.shared.enter(Stage::Failed).hooks.take();
        drop_unrun(hooks.unwrap_or_default());
    }

    /// Ends the runtime: runs the hooks. If they already run, because the time of the invocations
    /// was over, waits for the end of the process.
    ///
    /// # Errors
    ///
    /// As [`run_shutdown`].
    pub(crate) fn finish(self) -> Result<(), Error> {
        let shared = &self.shared;
        let state = shared.enter(Stage::Ending);
        // The process must not end while the signal is being logged.
        let is_telling = |state: &mut State| state.signal.is_some() && !state.is_told;
        let waited = shared.changed.wait_while(state, is_telling);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let Some(hooks) = state.hooks.take() else {
            // Another thread is about to exit the process.
            drop(shared.changed.wait_while(state, |_| true));
            return Ok(());
        };
        let (signal, now) = (state.signal, clock::now());
        state.is_limited = signal.is_some();
        drop(state);
        let until = clock::moment(match signal {
            Some(signal) => shared.window.hooks_until(signal, now),
            None => now.monotonic.saturating_add(shared.stop_timeout),
        });
        let result = run_shutdown(hooks, until, &shared.ending, &shared.store, &shared.log);
        shared.end_work(until);
        let drop_until = match signal {
            Some(_) => until,
            None => until.max(Instant::now() + LAST_WORDS),
        };
        drop_values(&shared.store, drop_until, &shared.log);
        result
    }
}

/// After a failed start no shutdown hooks run, but the values of init hooks are dropped.
impl Drop for Termination {
    fn drop(&mut self) {
        let Shared { store, log, .. } = &*self.shared;
        // After `finish` there are none.
        drop_values(store, Instant::now() + self.shared.stop_timeout, log);
        // The process may end now.
        log.flush();
        drop(self.shared.enter(Stage::Ended));
    }
}

#[cfg(unix)]
impl Watch {
    /// Registers the default effect of the signals, for when nothing watches. It comes before what
    /// wakes the thread of a watch: actions run in this order, and the watch may be gone before the
    /// next one runs.
    fn register_default(signals: [i32; 2]) -> io::Result<()> {
        let (count, is_default) = &mut *Self::watches();
        if is_default.is_none() {
            let flag = Arc::new(AtomicBool::new(*count == 0));
            for signal in signals {
                signal_hook::flag::register_conditional_default(signal, flag.clone())?;
            }
            *is_default = Some(flag);
        }
        Ok(())
    }

    fn new(handle: signal_hook::iterator::Handle) -> Self {
        let (count, is_default) = &mut *Self::watches();
        *count += 1;
        is_default.iter().for_each(|flag| flag.store(false, Ordering::SeqCst));
        Self(handle)
    }

    fn watches() -> MutexGuard<'static, (usize, Option<Arc<AtomicBool>>)> {
        WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
impl Drop for Watch {
    fn drop(&mut self) {
        let (count, is_default) = &mut *Self::watches();
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

    /// Enters the next stage.
    fn enter(&self, stage: Stage) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.stage = stage;
        self.changed.notify_all();
        state
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
        let mut state = self.wait_for(Stage::Failed, clock::moment(self.window.cancel_at(came)));
        if state.stage == Stage::Running && !is_anything_in_flight() {
            // Its thread has only to return, and a busy machine may delay that.
            drop(state);
            let grace = self.window.invocation() + self.window.hooks() / 2;
            state =
                self.wait_for(Stage::Failed, clock::moment(came.monotonic.saturating_add(grace)));
        }
        if state.stage >= Stage::Failed {
            drop(state);
            return self.limit(came);
        }
        let Some(hooks) = state.hooks.take() else { return };
        let is_starting = state.stage == Stage::Starting;
        drop(state);
        self.log.warn(format_args!(
            "cancelling {}: the process must end",
            if is_starting { "the start" } else { "the invocations in flight" }
        ));
        self.cancelled.begin();
        let until = clock::moment(self.window.hooks_until(came, clock::now()));
        let hooks_until = match is_anything_to_report() {
            true => until.checked_sub(LAST_WORDS).unwrap_or(until),
            false => until,
        };
        let result = run_shutdown(hooks, hooks_until, &self.ending, &self.store, &self.log);
        // Cancelled invocations may be answered until the time of the hooks is over, even if the
        // hooks have ended before; and init hooks may end.
        if is_starting || is_anything_in_flight() {
            drop(self.wait_for(Stage::Ending, hooks_until));
        }
        let reported = report_in_flight(ENDED, until);
        if reported > 0 {
            self.log.error(format_args!("unanswered at the end of the process: {reported}"));
        }
        if is_answering() {
            // An answer that is being sent gets the rest of the window.
            drop(self.wait_for(Stage::Ending, until));
            if is_answering() {
                self.log.warn(format_args!("the process ends before the reply to an answer"));
            }
        }
        for hook in self.store.running_hooks() {
            self.log.warn(format_args!("init hook {hook:?} had not ended when the process ended"));
        }
        self.end_work(until);
        drop_values(&self.store, until, &self.log);
        self.log.flush();
        std::process::exit(if result.is_ok() { 0 } else { 1 });
    }

    /// Limits an end that another thread carries out to the window. That thread may have begun
    /// before the signal, with a longer limit.
    #[cfg(unix)]
    fn limit(&self, came: Clocks) {
        let hooks = came.monotonic.saturating_add(self.window.hooks());
        let state = self.wait_for(Stage::Ended, clock::moment(hooks));
        let is_cancelled = state.stage < Stage::Ended && !state.is_limited;
        drop(state);
        if is_cancelled {
            self.ending.begin();
        }
        let kill = came.monotonic.saturating_add(self.window.duration());
        let until = clock::moment(kill) + LAST_WORDS;
        if self.wait_for(Stage::Ended, until).stage < Stage::Ended {
            self.log
                .error(format_args!("the runtime did not end in time after the signal: exiting"));
            self.log.flush();
            std::process::exit(1);
        }
    }

    /// Waits until the runtime is in this stage or a later one, but not beyond `moment`.
    #[cfg(unix)]
    fn wait_for(&self, stage: Stage, moment: Instant) -> MutexGuard<'_, State> {
        let left = moment.saturating_duration_since(Instant::now());
        let is_before = |state: &mut State| state.stage < stage;
        let waited = self.changed.wait_timeout_while(self.lock(), left, is_before);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The part of the window that is reserved for reports of unanswered invocations, if there are any;
/// the least time for dropping values without a signal; and what the end may take beyond the window
/// before the signal thread exits.
const LAST_WORDS: Duration = Duration::from_millis(50);
