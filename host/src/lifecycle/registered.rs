use std::borrow::Cow;
use std::fmt;

use lambda_proto::api::InvocationHead;

use super::{
    InitContext, InitHook, InitResult, Resources, ShutdownContext, ShutdownHook, SnapshotHook,
};
use crate::policy::{Options, Policy};
use crate::{ErrorTypes, Failure};

/// The hooks that a function runs around its invocations, and their options.
///
/// Each hook has a name, which appears in logs and reports. Names need not be unique.
///
/// ```
/// use std::time::Duration;
/// use lambda_proto_host::lifecycle::Lifecycle;
/// use lambda_proto_host::policy::Options;
///
/// struct Table(Vec<u32>);
///
/// let lifecycle = Lifecycle::new()
///     .options(Options::new().with_init_timeout(Duration::from_secs(8))?)
///     .on_init("table", |init| init.put(Table(vec![1, 2])))
///     .on_shutdown("flush", |_| Ok(()));
/// assert!(lifecycle.into_parts().signals);
/// # Ok::<(), lambda_proto_host::policy::InvalidOption>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a lifecycle does nothing until a runtime gets it"]
pub struct Lifecycle {
    options: Options,
    init: Vec<InitHook>,
    before_snapshot: Vec<SnapshotHook>,
    after_restore: Vec<SnapshotHook>,
    before_invocation: Vec<InvocationHook>,
    shutdown: Vec<ShutdownHook>,
}

/// Stands for a [`Lifecycle`] in the type of a runtime that has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLifecycle;

impl Lifecycle {
    /// No hooks, and all [`Options`] left open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the options that are set in `options`; the others stay as they are.
    ///
    /// When the runtime starts, the environment sets those that are still open; see [`Options`].
    pub fn options(mut self, options: Options) -> Self {
        self.options = options.or(self.options);
        self
    }

    /// Sets the options that are still open.
    pub(crate) fn or_options(mut self, options: Options) -> Self {
        self.options = self.options.or(options);
        self
    }

    /// Adds an init hook. It runs before the first invocation, concurrently with the others; see
    /// [`run_init`](super::run_init).
    pub fn on_init<R: InitResult>(
        mut self,
        name: impl Into<Cow<'static, str>>,
        hook: impl FnOnce(&InitContext) -> R + Send + 'static,
    ) -> Self {
        let run = Box::new(move |context: &InitContext| hook(context).into_result());
        self.init.push(Named { name: name.into(), run });
        self
    }

    /// Adds a hook that runs before a snapshot is taken, only under SnapStart; see
    /// [`run_before_snapshot`](super::run_before_snapshot).
    pub fn before_snapshot(
        mut self,
        name: impl Into<Cow<'static, str>>,
        hook: impl FnOnce(&Resources) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        self.before_snapshot.push(Named { name: name.into(), run: Box::new(hook) });
        self
    }

    /// Adds a hook that runs after a snapshot has been restored; see
    /// [`run_after_restore`](super::run_after_restore).
    pub fn after_restore(
        mut self,
        name: impl Into<Cow<'static, str>>,
        hook: impl FnOnce(&Resources) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        self.after_restore.push(Named { name: name.into(), run: Box::new(hook) });
        self
    }

    /// Adds a hook that is called with the head of each invocation before the handler gets it, on
    /// the thread that hands it out. A panic in it is logged, and the invocation continues.
    ///
    /// A program may use it to write the trace id into its environment, for libraries that read it
    /// there. Changing the environment is sound only while no other thread reads it, so do this
    /// only in a runtime of one slot, in a program whose other threads do not read the environment.
    /// The threads of these crates do not read it after the start, with one exception: if the
    /// address of the Runtime API is a host name, it is looked up for each connection.
    ///
    /// ```
    /// use lambda_proto_host::lifecycle::Lifecycle;
    ///
    /// let lifecycle = Lifecycle::new().before_invocation("trace id", |invocation| {
    ///     let trace_id = invocation.trace_id().unwrap_or_default();
    ///     // SAFETY: this program has one slot, and starts no threads.
    ///     unsafe { std::env::set_var("_X_AMZN_TRACE_ID", trace_id) };
    /// });
    /// ```
    pub fn before_invocation(
        mut self,
        name: impl Into<Cow<'static, str>>,
        hook: impl Fn(&InvocationHead<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.before_invocation.push(Named { name: name.into(), run: Box::new(hook) });
        self
    }

    /// Adds a shutdown hook. It runs before the process ends, concurrently with the others; see
    /// [`run_shutdown`](super::run_shutdown).
    pub fn on_shutdown(
        mut self,
        name: impl Into<Cow<'static, str>>,
        hook: impl FnOnce(&ShutdownContext) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        self.shutdown.push(Named { name: name.into(), run: Box::new(hook) });
        self
    }

    /// Sets the policy for work that still runs before the next invocation is asked for.
    ///
    /// This is the option that [`Options::with_work`] sets, but the drain reserve may have any
    /// length.
    pub fn work(self, policy: Policy) -> Self {
        self.options(Options::of_work(policy))
    }

    /// Sets whether signals are handled. By default, they are handled if there are shutdown hooks.
    ///
    /// This is the option that [`Options::with_signals`] sets.
    pub fn signals(self, are_handled: bool) -> Self {
        self.options(Options::new().with_signals(are_handled))
    }

    /// Takes the lifecycle apart, for the transport that runs it.
    pub fn into_parts(self) -> Parts {
        Parts {
            signals: self.options.signals().unwrap_or(!self.shutdown.is_empty()),
            work: self.options.work(),
            options: self.options,
            init: self.init,
            before_snapshot: self.before_snapshot,
            after_restore: self.after_restore,
            before_invocation: self.before_invocation,
            shutdown: self.shutdown,
        }
    }
}

/// The parts of a [`Lifecycle`]. Hooks are in the order in which they were registered.
#[derive(Debug)]
pub struct Parts {
    /// The options, for how long each phase may take.
    pub options: Options,
    /// For [`run_init`](super::run_init).
    pub init: Vec<InitHook>,
    /// For [`run_before_snapshot`](super::run_before_snapshot).
    pub before_snapshot: Vec<SnapshotHook>,
    /// For [`run_after_restore`](super::run_after_restore).
    pub after_restore: Vec<SnapshotHook>,
    /// Called before each invocation is handed out.
    pub before_invocation: Vec<InvocationHook>,
    /// For [`run_shutdown`](super::run_shutdown).
    pub shutdown: Vec<ShutdownHook>,
    /// The policy for work that still runs before the next invocation is asked for.
    pub work: Policy,
    /// Whether the runtime handles signals. If so, it registers an extension, since otherwise
    /// Lambda does not send SIGTERM.
    pub signals: bool,
}

impl Parts {
    /// The same hooks; the types of their failures are those that [`ErrorTypes`] finds.
    #[must_use]
    pub fn name_errors(self, types: &ErrorTypes) -> Self {
        Self {
            init: named(self.init, types),
            before_snapshot: named(self.before_snapshot, types),
            after_restore: named(self.after_restore, types),
            shutdown: named(self.shutdown, types),
            ..self
        }
    }
}

/// A hook that may fail.
type Failing<C, R> = Named<dyn FnOnce(&C) -> Result<R, Failure> + Send>;

fn named<C: 'static, R: 'static>(
    hooks: Vec<Failing<C, R>>,
    types: &ErrorTypes,
) -> Vec<Failing<C, R>> {
    let name_errors = |Named { name, run }: Failing<C, R>| {
        let types = types.clone();
        let run = move |context: &C| run(context).map_err(|failure| types.named(failure));
        Named { name, run: Box::new(run) as _ }
    };
    hooks.into_iter().map(name_errors).collect()
}

/// A hook that is called before each invocation.
pub type InvocationHook = Named<dyn Fn(&InvocationHead<'_>) + Send + Sync>;

/// A hook and its name.
pub struct Named<F: ?Sized> {
    pub(crate) name: Cow<'static, str>,
    pub(crate) run: Box<F>,
}

impl<F: ?Sized> fmt::Debug for Named<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
