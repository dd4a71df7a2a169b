//! The end of the process by a signal, or because its runtime has ended.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lambda_proto::ErrorReport;
use lambda_proto::lifecycle::{Clocks, ShutdownWindow};

use crate::in_hand::is_answering;
use crate::lifecycle::{Resources, Shutdown, ShutdownHook, clock, run_shutdown};
use crate::{Log, Tasks, report_in_hand};

/// What nobody has answered when the process has to end.
const ENDED: ErrorReport<'static> = ErrorReport::new(
    "Runtime.ShutDown",
    "the process was told to end, and the invocation was not answered in the time that was left",
);

/// Sees to it that the process ends in order: the invocations in hand first, then the shutdown hooks, each
/// within its share of the [window](ShutdownWindow).
///
/// From when it is [watching](Self::watch), SIGTERM and SIGINT mean the following. The transport stops
/// taking invocations. When its runtime has ended, whoever runs it calls [`finish`](Self::finish), which
/// runs the hooks. If an invocation is still in hand when its part of the window is over, it is
/// cancelled, the hooks are run beside it, what is unanswered when all of the window is over is reported,
/// and the process exits with code 0. A second signal exits at once.
pub(crate) struct Termination {
    shared: Arc<Shared>,
    #[cfg(unix)]
    signals: Option<signal_hook::iterator::Handle>,
}

struct Shared {
    window: ShutdownWindow,
    /// What cancels the invocations.
    cancelled: Shutdown,
    tasks: Tasks,
    log: Log,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// When the signal came.
    signal: Option<Clocks>,
    /// The runtime has ended.
    is_over: bool,
    /// Until somebody runs them.
    hooks: Option<Vec<ShutdownHook>>,
    /// What they may use.
    resources: Resources,
}

impl Termination {
    /// One that no signal reaches.
    pub(crate) fn new(
        window: ShutdownWindow,
        hooks: Vec<ShutdownHook>,
        cancelled: Shutdown,
        tasks: Tasks,
        log: Log,
    ) -> Self {
        let state = State {
            signal: None,
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
            signals: None,
        }
    }

    /// Watches for SIGTERM and SIGINT from now on, on a thread of its own. `stop` has the transport take no
    /// more invocations; those in hand are answered. Where there are no such signals it does nothing.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the thread, or the signals.
    #[cfg_attr(not(unix), expect(unused_variables, reason = "there are no such signals"))]
    pub(crate) fn watch(&mut self, stop: impl Fn() + Send + 'static) -> io::Result<()> {
        #[cfg(unix)]
        {
            use signal_hook::consts::{SIGINT, SIGTERM};
            let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
            let handle = signals.handle();
            let shared = self.shared.clone();
            let watching = move || {
                let Some(signal) = signals.forever().next() else { return };
                // Whoever asks twice does not want to wait.
                let second = std::thread::Builder::new().name("lambda-signals-2".to_owned());
                let _not_needed = second.spawn(move || {
                    if let Some(signal) = signals.forever().next() {
                        std::process::exit(128 + signal);
                    }
                });
                shared.end(signal, stop);
            };
            std::thread::Builder::new().name("lambda-signals".to_owned()).spawn(watching)?;
            self.signals = Some(handle);
        }
        Ok(())
    }

    /// What the init hooks have made, for those of the shutdown.
    pub(crate) fn set_resources(&self, resources: Resources) {
        self.shared.lock().resources = resources;
    }

    /// The runtime has ended: runs the hooks, unless they are running because its time was over, and then
    /// waits for the end of the process.
    pub(crate) fn finish(self) {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.is_over = true;
        shared.changed.notify_all();
        let Some(hooks) = state.hooks.take() else {
            // The process is about to exit, by another thread.
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

impl Drop for Termination {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(signals) = &self.signals {
            signals.close();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The signal has come.
    #[cfg(unix)]
    fn end(&self, signal: i32, stop: impl Fn()) {
        let came = clock::now();
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
        self.log.info(format_args!("{name}: no more invocations are taken"));
        self.lock().signal = Some(came);
        stop();
        // Whoever waits for work behind an answer does so no longer.
        self.tasks.wake();
        let left = clock::moment(self.window.cancel_at(came));
        let left = left.saturating_duration_since(Instant::now());
        let state = self.lock();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, left, |state| !state.is_over)
            .unwrap_or_else(PoisonError::into_inner);
        // Whoever runs the runtime has called `finish`.
        if state.is_over {
            return;
        }
        let Some(hooks) = state.hooks.take() else { return };
        let resources = state.resources.clone();
        drop(state);
        self.log.warn(format_args!("what is in hand is cancelled, as the process has to end"));
        self.cancelled.begin();
        let now = clock::now();
        let until = clock::moment(self.window.hooks_until(came, now));
        // The reports want some time, too.
        let hooks_until = until.checked_sub(REPORTING).unwrap_or(until);
        run_shutdown(hooks, hooks_until, &resources, &self.log);
        // Whoever has heard of the cancellation may answer in the time that the hooks have left.
        self.wait_for_end(hooks_until);
        let reported = report_in_hand(ENDED, until);
        if reported > 0 {
            self.log.error(format_args!("unanswered at the end of the process: {reported}"));
        }
        if is_answering() {
            // Nobody kills an answer that is on its way but the one who sends SIGKILL.
            self.wait_for_end(until);
        }
        std::process::exit(0);
    }

    /// Waits until the runtime has ended, or for this moment.
    #[cfg(unix)]
    fn wait_for_end(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let is_going_on = |state: &mut State| !state.is_over;
        drop(self.changed.wait_timeout_while(self.lock(), left, is_going_on));
    }
}

/// What is kept of the window for reports of unanswered invocations.
#[cfg(unix)]
const REPORTING: std::time::Duration = std::time::Duration::from_millis(50);
