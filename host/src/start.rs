//! The start of a runtime with a [`Lifecycle`], and its end, the same for all transports.

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

/// The calls before the first `next` that a start needs from its transport. Each of them blocks.
pub trait Starting {
    /// Begins this shutdown when the runtime is stopped, at once if it has been stopped already.
    fn on_stop(&self, stopping: &Shutdown);

    /// Reports that the function could not start. The process ends then.
    ///
    /// # Errors
    ///
    /// If the report cannot be delivered.
    fn fail_init(&mut self, failure: &Failure) -> Result<(), Error>;

    /// Says that the environment may be snapshotted, and waits for the restore; `None` if the
    /// runtime is stopped before it. A refusal is a receipt like any other.
    ///
    /// # Errors
    ///
    /// If the session cannot go on.
    fn restore_next(&mut self) -> Result<Option<Receipt>, Error>;

    /// Reports that the function could not resume. The process ends then.
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
    /// Its `next` stays open while it is held.
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
    /// When an invocation with this limit is to be cancelled, if its deadline is known.
    pub fn cancel_at(&self, limit: TimeLimit) -> Option<Instant> {
        limit.cancel_at(self.options.cancellation_buffer()).and_then(clock::instant)
    }

    /// Sets what to call, once, when the invocations are cancelled because the process must end;
    /// see [`Shutdown::set_waker`].
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
                let what = format_args!("hook {name:?} before the invocation");
                self.log.failure(Level::Error, invocation.request_id(), what, &failure);
            }
        }
    }
}

impl Started {
    /// Reads the [options of the environment](crate::environment::options), which set what the
    /// lifecycle leaves open. Begins to watch for signals and registers the extension that makes
    /// Lambda send one (if there are shutdown hooks, or the options say so). Then runs the init
    /// hooks and, if there is to be a snapshot, the snapshot hooks. `None` if the runtime was
    /// stopped before the end.
    ///
    /// # Errors
    ///
    /// [`Error::Init`] if a variable is invalid or a hook fails, which has been reported then; or the
    /// transport's error.
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
                log.warn(format_args!("signals end this process at once: {error}"));
            }
            extension = match InternalExtension::register(&settings.endpoint, NAME) {
                Ok(extension) => Some(extension),
                // Most local services have no extensions, and are ended by hand.
                Err(reason) => {
                    log.info(format_args!("Lambda would not send SIGTERM: {reason}"));
                    None
                }
            };
        }
        let ended = start(
            settings,
            || run_init(parts.init, &parts.options, &store, &stopping, log),
            |failure| transport.fail_init(failure),
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
                |failure| transport.fail_init(failure),
            )?;
            let receipt = match transport.restore_next() {
                // A lost connection means a restore, too.
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
                log.warn(format_args!("Lambda would not send SIGTERM any more: {reason}"));
            }
            start(
                settings,
                || run_after_restore(parts.after_restore, &store.values()),
                |failure| transport.fail_restore(failure),
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

    /// Ends the runtime: runs the shutdown hooks, lets registered work end beside them, reports what
    /// is open then, and drops the values of the init hooks.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`] if hooks have failed or not ended.
    pub fn finish(self) -> Result<(), Error> {
        let Self { active, termination, .. } = self;
        let result = termination.finish();
        // The process may end now.
        active.log.flush();
        result
    }
}

/// The name of the extension; no file in `/opt/extensions` has it, so it is an internal one.
const NAME: &str = "lambda-proto-sigterm";

/// The context of an invocation: the values of init hooks, a cancellation token, the environment,
/// and the registration of post-response work. It may go to another thread.
pub struct Context {
    active: Arc<Active>,
    number: InvocationNumber,
    limit: TimeLimit,
    /// The clocks before it was asked for.
    asked: Option<Clocks>,
    /// The values, once it has asked for one.
    used: OnceLock<Resources>,
}

impl Context {
    /// The context of an invocation that has just arrived; `asked` was read before asking for it.
    ///
    /// It calls the hooks that the lifecycle has [for this moment](Lifecycle::before_invocation).
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
    /// The values are dropped before the process ends, unless a context has asked for one before;
    /// from then on there are none.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.values().get()
    }

    /// The value of this type and name, if an init hook has put one; otherwise as
    /// [`get`](Self::get).
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

    /// The time left, by whichever clock says less; `None` if the deadline is unknown.
    pub fn remaining(&self) -> Option<std::time::Duration> {
        self.limit.remaining(clock::now())
    }

    /// A token that fires when the deadline is near ([`Options::cancellation_buffer`]), or when the
    /// process must end before the invocation has been answered.
    ///
    /// It has no timer: its holder checks it or waits on it.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation::at(self.active.cancel_at(self.limit), &self.active.shutdown)
    }

    /// How long the runtime waited for this invocation, by both clocks; `None` for the first, and
    /// the first after a restore.
    ///
    /// [`IdleGap::thawed_after`] says whether the environment was frozen long enough that pooled
    /// connections should be dropped.
    pub fn idle_gap(&self) -> Option<IdleGap> {
        Some(self.limit.arrival().since(self.asked?))
    }

    /// Registers work that goes on after the answer; it is over when the returned value is dropped,
    /// on any thread.
    ///
    /// Asking for the next invocation freezes the environment. Before that, the
    /// [policy](Lifecycle::work) decides about work that is not over. `invocation` is the
    /// transport's `&Invocation`, or its head.
    pub fn begin_work<'i>(
        &self,
        invocation: impl Into<InvocationHead<'i>>,
        name: &'static str,
    ) -> Task {
        self.active.tasks.begin_named(self.number, invocation.into().request_id(), name)
    }
}
