//! The end of the process, by a signal or because its runtime has ended.

use std::io;
#[cfg(unix)]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lambda_proto::api::ErrorReport;
use lambda_proto::lifecycle::{Clocks, ShutdownWindow};

#[cfg(unix)]
use crate::in_flight::{is_answering, is_anything_in_flight};
use crate::lifecycle::{Resources, Shutdown, ShutdownHook, clock, run_shutdown};
use crate::{Log, Tasks, report_in_flight};

/// The report for invocations that are unanswered when the process must end.
const ENDED: ErrorReport<'static> = ErrorReport::new(
    "Runtime.ShutDown",
    "the process was told to end, and the invocation was not answered in the time that was left",
);

/// Ends the process in order: first the invocations in flight, then the shutdown hooks, each within
/// its share of the [window](ShutdownWindow).
///
/// While it is [watching](Self::watch), SIGTERM and SIGINT make the transport stop taking
/// invocations. When the runtime has ended, its caller calls [`finish`](Self::finish), which runs
/// the hooks. An invocation that is still in flight when its part of the window is over is
/// cancelled, and the hooks run beside it. What is unanswered when their time is over is reported,
/// and the process exits with code 0. A second signal exits at once. After the drop of this,
/// signals have their default effect.
pub(crate) struct Termination {
    shared: Arc<Shared>,
    #[cfg(unix)]
    watch: Option<Watch>,
}

/// While one exists, signals are handled; otherwise they have their default effect.
#[cfg(unix)]
struct Watch(signal_hook::iterator::Handle);

/// The number of watches, and the flag that asks for the default effect: `signal_hook` never takes
/// back what it told the operating system, so it is done by hand.
#[cfg(unix)]
static WATCHES: Mutex<(usize, Option<Arc<AtomicBool>>)> = Mutex::new((0, None));

struct Shared {
    window: ShutdownWindow,
    /// Cancels the invocations.
    cancelled: Shutdown,
    tasks: Tasks,
    log: Log,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// When the signal came.
    signal: Option<Clocks>,
    /// The signal has been logged.
    is_told: bool,
    /// The runtime has ended.
    is_over: bool,
    /// `None` once somebody runs them.
    hooks: Option<Vec<ShutdownHook>>,
    /// What the hooks may use.
    resources: Resources,
}

impl Termination {
    /// A termination that watches for no signals yet.
    pub(crate) fn new(
        window: ShutdownWindow,
        hooks: Vec<ShutdownHook>,
        cancelled: Shutdown,
        tasks: Tasks,
        log: Log,
    ) -> Self {
        let state = State {
            signal: None,
            is_told: false,
            is_over: false,
            hooks: Some(hooks),
            resources: Resources::default(),
        };
        let shared = Shared {
            window,
            cancelled,
            tasks,
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

    /// Watches for SIGTERM and SIGINT on its own thread until dropped. `stop` makes the transport
    /// take no more invocations; those in flight are answered. Off Unix it does nothing.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the thread or the signals.
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
                // A second signal means not to wait.
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

    /// Sets what the init hooks have put, for the shutdown hooks.
    pub(crate) fn set_resources(&self, resources: Resources) {
        self.shared.lock().resources = resources;
    }

    /// Ends the runtime: runs the hooks. If they run already because its time was over, waits for
    /// the end of the process.
    pub(crate) fn finish(self) {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.is_over = true;
        shared.changed.notify_all();
        // The process must not end in the middle of the log line that says why.
        let is_telling = |state: &mut State| state.signal.is_some() && !state.is_told;
        let waited = shared.changed.wait_while(state, is_telling);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        let Some(hooks) = state.hooks.take() else {
            // Another thread is about to exit the process.
            drop(shared.changed.wait_while(state, |_| true));
            return;
        };
        let now = clock::now();
        let signal = state.signal.unwrap_or(now);
        let resources = state.resources.clone();
        drop(state);
        let until = clock::moment(shared.window.hooks_until(signal, now));
        run_shutdown(hooks, until, &resources, &shared.log);
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
        // Consistent at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles the first signal.
    #[cfg(unix)]
    fn end(&self, signal: i32, stop: impl Fn()) {
        let came = clock::now();
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
        self.lock().signal = Some(came);
        stop();
        // Those that wait for post-response work stop waiting.
        self.tasks.wake();
        // Logged last, since the writer may be slow.
        self.log.info(format_args!("{name}: no more invocations are taken"));
        self.lock().is_told = true;
        self.changed.notify_all();
        let mut state = self.wait_until_over(clock::moment(self.window.cancel_at(came)));
        // The caller of the runtime has called `finish`.
        if state.is_over {
            return;
        }
        let Some(hooks) = state.hooks.take() else { return };
        let resources = state.resources.clone();
        drop(state);
        self.log.warn(format_args!("what is in flight is cancelled, as the process has to end"));
        self.cancelled.begin();
        let now = clock::now();
        let until = clock::moment(self.window.hooks_until(came, now));
        // The reports need some time, too.
        let hooks_until = until.checked_sub(REPORTING).unwrap_or(until);
        run_shutdown(hooks, hooks_until, &resources, &self.log);
        // A cancelled invocation may still be answered for as long as the hooks might have run.
        if is_anything_in_flight() {
            drop(self.wait_until_over(hooks_until));
        }
        let reported = report_in_flight(ENDED, until);
        if reported > 0 {
            self.log.error(format_args!("unanswered at the end of the process: {reported}"));
        }
        if is_answering() {
            // Only SIGKILL cuts off an answer that is being sent.
            drop(self.wait_until_over(until));
        }
        self.log.flush();
        std::process::exit(0);
    }

    /// Waits until the runtime has ended, or until that moment.
    #[cfg(unix)]
    fn wait_until_over(&self, moment: Instant) -> MutexGuard<'_, State> {
        let left = moment.saturating_duration_since(Instant::now());
        let is_going_on = |state: &mut State| !state.is_over;
        let waited = self.changed.wait_timeout_while(self.lock(), left, is_going_on);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The part of the window that is kept for reports of unanswered invocations.
#[cfg(unix)]
const REPORTING: std::time::Duration = std::time::Duration::from_millis(50);
