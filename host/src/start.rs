//! The start and the end of a runtime with a [`Lifecycle`], which all transports share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use lambda_proto::api::{Deadline, InvocationHead};
use lambda_proto::client::Receipt;
use lambda_proto::lifecycle::{Clocks, IdleGap, TimeLimit};

use crate::environment::{self, Environment, InitializationType};
use crate::lifecycle::{
    Cancellation, InitEnd, InvocationHook, Lifecycle, Named, Resources, Shutdown, Store, clock,
    run_after_restore, run_before_snapshot, run_init,
};
use crate::policy::{InvocationNumber, Options};
use crate::termination::Termination;
use crate::{Error, Failure, InternalExtension, Level, Log, Settings, Task, Tasks, catch, start};

/// The calls to the service before the first `next`, which a start needs from its transport. They
/// block, except for `on_stop`.
pub trait Starting {
    /// Arranges that `stopping` begins when the runtime is stopped, or immediately if it is already
    /// stopped.
    fn on_stop(&self, stopping: &Shutdown);

    /// Reports that the function could not start. The process ends afterwards.
    ///
    /// # Errors
    ///
    /// If the report cannot be delivered.
    fn fail_init(&mut self, failure: &Failure) -> Result<(), Error>;

    /// Tells the service that a snapshot may be taken, and waits for the restore. Returns `None` if
    /// the runtime is stopped first. A refusal is a receipt like any other.
    ///
    /// # Errors
    ///
    /// If the runtime cannot continue.
    fn restore_next(&mut self) -> Result<Option<Receipt>, Error>;

    /// Reports that the function could not resume after a restore. The process ends afterwards.
    ///
    /// # Errors
    ///
    /// If the report cannot be delivered.
    fn fail_restore(&mut self, failure: &Failure) -> Result<(), Error>;
}

/// A runtime whose init hooks have run and that has not ended.
pub struct Started {
    /// The state that its invocations share.
    pub active: Arc<Active>,
    termination: Termination,
    /// Held, because its `next` must stay open.
    _extension: Option<InternalExtension>,
}

/// The state that the invocations of a runtime share.
pub struct Active {
    options: Options,
    before_invocation: Vec<InvocationHook>,
    log: Log,
    store: Store,
    shutdown: Shutdown,
    /// Post-response work.
    pub tasks: Tasks,
    numbers: AtomicU64,
}

impl Active {
    /// When to cancel an invocation with this limit; `None` if its deadline is unknown.
    pub fn cancel_at(&self, limit: TimeLimit) -> Option<Instant> {
        limit.cancel_at(self.options.cancellation_buffer()).and_then(clock::instant)
    }

    /// Sets a function to call, once, when the invocations are cancelled because the process must
    /// end; see [`Shutdown::set_waker`].
    pub fn on_cancel(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.shutdown.set_waker(wake);
    }

    fn before_invocation(&self, invocation: &InvocationHead<'_>) {
        for Named { name, run } in &self.before_invocation {
            let called = catch(|| {
                run(invocation);
                Ok(())
            });
            if let Err(failure) = called {
                let what = format_args!("before-invocation hook {name:?} failed");
                self.log.failure(Level::Error, invocation.request_id(), what, &failure);
            }
        }
    }
}

impl Started {
    /// Starts the runtime:
    ///
    /// 1. reads the [options of the environment](crate::environment::options), which apply where the
    ///    lifecycle sets none;
    /// 2. if there are shutdown hooks, or the options say so, begins to watch for signals, and
    ///    registers the extension that makes Lambda send SIGTERM;
    /// 3. runs the init hooks;
    /// 4. under SnapStart, runs the snapshot hooks around the snapshot.
    ///
    /// Returns `None` if the runtime was stopped before that was done.
    ///
    /// # Errors
    ///
    /// [`Error::Init`] if a variable is invalid or a hook fails, after that has been reported; or
    /// the error of the transport.
    pub fn new(
        lifecycle: Lifecycle,
        settings: &Settings,
        stop: impl Fn() + Send + 'static,
        transport: &mut dyn Starting,
    ) -> Result<Option<Self>, Error> {
        let environment =
            start(settings, environment::options, |failure| transport.fail_init(failure))?;
        let lifecycle = lifecycle.or_options(environment);
        let parts = lifecycle.into_parts().name_errors(&settings.error_types);
        let log = &settings.log;
        let shutdown = Shutdown::new();
        let store = Store::default();
        let tasks = Tasks::new(settings.concurrency(), parts.work, log.clone());
        let mut termination = Termination::new(
            &parts.options,
            parts.shutdown,
            store.clone(),
            shutdown.clone(),
            tasks.clone(),
            log.clone(),
        );
        let stopping = Shutdown::new();
        transport.on_stop(&stopping);
        let mut extension = None;
        if parts.signals {
            if let Err(error) = termination.watch(stop) {
                log.warn(format_args!(
                    "cannot handle signals, so SIGTERM will end this process immediately: {error}"
                ));
            }
            extension = match InternalExtension::register(&settings.endpoint, NAME) {
                Ok(extension) => Some(extension),
                // Not a warning: most local services have no Extensions API, and are stopped by
                // hand.
                Err(reason) => {
                    log.info(format_args!("Lambda would not send SIGTERM: {reason}"));
                    None
                }
            };
        }
        let ended = start(
            settings,
            || run_init(parts.init, &parts.options, &store, &stopping, log),
            |failure| {
                termination.start_has_failed();
                transport.fail_init(failure)
            },
        )?;
        if ended == InitEnd::Cancelled {
            return termination.finish().map(|()| None);
        }
        let is_snapshotted =
            Environment::of_process().initialization_type() == Some(InitializationType::SnapStart);
        if is_snapshotted {
            start(
                settings,
                || run_before_snapshot(parts.before_snapshot, &store.values()),
                |failure| {
                    termination.start_has_failed();
                    transport.fail_init(failure)
                },
            )?;
            let receipt = match transport.restore_next() {
                // A lost connection means that a restore happened, too.
                Ok(Some(Receipt::Known(outcome))) if !outcome.is_accepted() => {
                    Err(Error::Service(outcome))
                }
                other => other,
            };
            if !matches!(receipt, Ok(Some(_))) {
                let ended = termination.finish();
                return receipt.and(ended).map(|()| None);
            }
            if let Some(extension) = &mut extension
                && let Err(reason) = extension.ask_again()
            {
                log.warn(format_args!("Lambda would no longer send SIGTERM: {reason}"));
            }
            start(
                settings,
                || run_after_restore(parts.after_restore, &store.values()),
                |failure| {
                    termination.start_has_failed();
                    transport.fail_restore(failure)
                },
            )?;
        }
        termination.has_started();
        let active = Active {
            options: parts.options,
            before_invocation: parts.before_invocation,
            log: log.clone(),
            store,
            shutdown,
            tasks,
            numbers: AtomicU64::new(1),
        };
        Ok(Some(Self { active: Arc::new(active), termination, _extension: extension }))
    }

    /// Ends the runtime: runs the shutdown hooks while registered work finishes, reports the work
    /// that is still open, and drops the values of the init hooks.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`] if hooks failed or did not end in time.
    pub fn finish(self) -> Result<(), Error> {
        let Self { active, termination, .. } = self;
        let result = termination.finish();
        // The process may end after this.
        active.log.flush();
        result
    }
}

/// The name of the extension. No file in `/opt/extensions` has this name, so the service takes it
/// for an internal extension.
const NAME: &str = "lambda-proto-sigterm";

/// The context of an invocation: the values of init hooks, a cancellation token, the environment,
/// and the registration of post-response work. It may go to another thread.
pub struct Context {
    active: Arc<Active>,
    number: InvocationNumber,
    limit: TimeLimit,
    /// The clocks before the runtime asked for it.
    asked: Option<Clocks>,
    /// The values, once the handler has asked for one.
    used: OnceLock<Resources>,
}

impl Context {
    /// The context of an invocation that has just arrived. `asked` is the reading of the clocks
    /// before the runtime asked for it.
    ///
    /// Calls the [before-invocation hooks](Lifecycle::before_invocation) of the lifecycle.
    pub fn new(
        active: Arc<Active>,
        invocation: &InvocationHead<'_>,
        asked: Option<Clocks>,
    ) -> Self {
        active.before_invocation(invocation);
        let now = clock::now();
        Self {
            number: InvocationNumber(active.numbers.fetch_add(1, Ordering::Relaxed)),
            limit: TimeLimit::on_arrival(invocation.deadline(), now),
            asked,
            used: OnceLock::new(),
            active,
        }
    }

    /// The value of this type without a name, if an init hook has put one.
    ///
    /// The values are dropped before the process ends, and are gone from then on. A context that
    /// has asked for a value before keeps them alive.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.values().get()
    }

    /// The value of this type and name, if an init hook has put one; see also [`get`](Self::get).
    pub fn get_named<T: Send + Sync + 'static>(&self, name: &str) -> Option<&T> {
        self.values().get_named(name)
    }

    fn values(&self) -> &Resources {
        self.used.get_or_init(|| self.active.store.values())
    }

    /// The environment variables of the function.
    pub fn environment(&self) -> &'static Environment {
        Environment::of_process()
    }

    /// The deadline of the invocation, if it is known and makes sense; see [`TimeLimit`].
    pub fn deadline(&self) -> Option<Deadline> {
        self.limit.deadline()
    }

    /// How much time the invocation has; see [`TimeLimit`].
    pub fn time_limit(&self) -> TimeLimit {
        self.limit
    }

    /// The time left, by the clock that shows less; `None` if the deadline is unknown.
    pub fn remaining(&self) -> Option<std::time::Duration> {
        self.limit.remaining(clock::now())
    }

    /// A token that fires when the deadline is near ([`Options::cancellation_buffer`]), or when the
    /// process must end before the invocation has been answered.
    ///
    /// It has no timer: the code that holds it checks it or waits on it.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation::at(self.active.cancel_at(self.limit), &self.active.shutdown)
    }

    /// How long the runtime waited for this invocation, by both clocks; `None` for the first
    /// invocation and for the first one after a restore.
    ///
    /// [`IdleGap::thawed_after`] says whether the environment was frozen long enough that pooled
    /// connections should be dropped.
    pub fn idle_gap(&self) -> Option<IdleGap> {
        Some(self.limit.arrival().since(self.asked?))
    }

    /// Registers work that continues after the answer. The work ends when the returned value is
    /// dropped, on any thread.
    ///
    /// Asking for the next invocation freezes the environment. Before that, the
    /// [policy](Lifecycle::work) decides about work that has not ended. `invocation` is the
    /// transport's `&Invocation`, or its head.
    pub fn begin_work<'i>(
        &self,
        invocation: impl Into<InvocationHead<'i>>,
        name: &'static str,
    ) -> Task {
        self.active.tasks.begin_named(self.number, invocation.into().request_id(), name)
    }
}
