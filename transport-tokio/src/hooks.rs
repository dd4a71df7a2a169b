use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use lambda_proto::api::InvocationHead;
use lambda_proto_host::Failure;
use lambda_proto_host::lifecycle::{self, InitContext, InitResult, Resources, ShutdownContext};
use lambda_proto_host::policy::{Options, Policy};
use tokio::runtime::Handle;

/// The hooks that a function runs around its invocations, and their options.
///
/// Each hook has a name, which appears in logs and reports. Names need not be unique.
///
/// ```
/// use std::time::Duration;
/// use lambda_proto_tokio::{Lifecycle, Options};
///
/// struct Table(Vec<u32>);
///
/// let lifecycle = Lifecycle::new()
///     .options(Options::new().with_init_timeout(Duration::from_secs(8))?)
///     .on_init("table", async |init| {
///         tokio::time::sleep(Duration::from_millis(20)).await;
///         init.put(Table(vec![1, 2]));
///     })
///     .on_shutdown("flush", async |_| Ok(()));
/// # drop(lifecycle);
/// # Ok::<(), lambda_proto_tokio::InvalidOption>(())
/// ```
///
/// Hooks that may take long await [`cancelled`](crate::cancelled), too.
///
/// # Threads
///
/// Each hook runs on a thread of its own, with the tokio runtime of
/// [`run`](crate::Runtime::run): it can await that runtime's timers and sockets, and spawn tasks
/// that outlive it. A hook may also block, since that holds up nothing else, and its future need
/// not be `Send`.
///
/// The task that awaits `run` waits for the hooks without blocking, so a current-thread runtime
/// drives their timers and sockets. While something else blocks the thread of a current-thread
/// runtime, for example a handler that computes when SIGTERM comes, only hooks that wait for
/// neither timers nor sockets make progress; the others end with their time. A multi-thread
/// runtime has no such limit.
///
/// A [lifecycle whose hooks are plain functions](lambda_proto_host::lifecycle::Lifecycle), as
/// `lambda-proto-std` has it, [becomes](From) a lifecycle of this crate.
#[derive(Default)]
#[must_use = "a lifecycle does nothing until a runtime gets it"]
pub struct Lifecycle {
    hooks: lifecycle::Lifecycle,
    tokio: Tokio,
}

/// The tokio runtime of the hooks, once the start has set it.
#[derive(Clone, Default)]
struct Tokio(Arc<OnceLock<Handle>>);

impl Tokio {
    /// Awaits a future on this thread.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.get().expect("hooks run after the start has set it").block_on(future)
    }
}

impl Lifecycle {
    /// No hooks, and all [`Options`] left open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the options that are set in `options`; the others stay as they are.
    ///
    /// When the runtime starts, the environment sets those that are still open; see [`Options`].
    pub fn options(self, options: Options) -> Self {
        self.with(|hooks| hooks.options(options))
    }

    /// Adds an init hook. It runs before the first invocation, concurrently with the others; see
    /// [`run_init`](lambda_proto_host::lifecycle::run_init).
    pub fn on_init<R: InitResult>(
        self,
        name: impl Into<Cow<'static, str>>,
        hook: impl AsyncFnOnce(&InitContext) -> R + Send + 'static,
    ) -> Self {
        let tokio = self.tokio.clone();
        self.with(|hooks| hooks.on_init(name, move |init| tokio.block_on(hook(init))))
    }

    /// Adds a hook that runs before a snapshot is taken, only under SnapStart; see
    /// [`run_before_snapshot`](lambda_proto_host::lifecycle::run_before_snapshot).
    pub fn before_snapshot(
        self,
        name: impl Into<Cow<'static, str>>,
        hook: impl AsyncFnOnce(&Resources) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        let tokio = self.tokio.clone();
        self.with(|hooks| hooks.before_snapshot(name, move |values| tokio.block_on(hook(values))))
    }

    /// Adds a hook that runs after a snapshot has been restored; see
    /// [`run_after_restore`](lambda_proto_host::lifecycle::run_after_restore).
    pub fn after_restore(
        self,
        name: impl Into<Cow<'static, str>>,
        hook: impl AsyncFnOnce(&Resources) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        let tokio = self.tokio.clone();
        self.with(|hooks| hooks.after_restore(name, move |values| tokio.block_on(hook(values))))
    }

    /// Adds a hook that is called with the head of each invocation before the handler gets it, in
    /// the task that hands it out, so it must not block. A panic in it is logged, and the
    /// invocation continues.
    pub fn before_invocation(
        self,
        name: impl Into<Cow<'static, str>>,
        hook: impl Fn(&InvocationHead<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.with(|hooks| hooks.before_invocation(name, hook))
    }

    /// Adds a shutdown hook. It runs before the process ends, concurrently with the others; see
    /// [`run_shutdown`](lambda_proto_host::lifecycle::run_shutdown).
    pub fn on_shutdown(
        self,
        name: impl Into<Cow<'static, str>>,
        hook: impl AsyncFnOnce(&ShutdownContext) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        let tokio = self.tokio.clone();
        self.with(|hooks| hooks.on_shutdown(name, move |end| tokio.block_on(hook(end))))
    }

    /// Sets the policy for work that still runs before the next invocation is asked for.
    ///
    /// This is the option that [`Options::with_work`] sets, but the drain reserve may have any
    /// length.
    pub fn work(self, policy: Policy) -> Self {
        self.with(|hooks| hooks.work(policy))
    }

    /// Sets whether signals are handled. By default, they are handled if there are shutdown hooks.
    ///
    /// This is the option that [`Options::with_signals`] sets.
    pub fn signals(self, are_handled: bool) -> Self {
        self.with(|hooks| hooks.signals(are_handled))
    }

    /// The hooks, which use this tokio runtime from now on.
    pub(crate) fn on(self, handle: Handle) -> lifecycle::Lifecycle {
        self.tokio.0.get_or_init(|| handle);
        self.hooks
    }

    fn with(self, add: impl FnOnce(lifecycle::Lifecycle) -> lifecycle::Lifecycle) -> Self {
        Self { hooks: add(self.hooks), tokio: self.tokio }
    }
}

/// The same hooks. They have no tokio runtime; hooks that are added later have it.
impl From<lifecycle::Lifecycle> for Lifecycle {
    fn from(hooks: lifecycle::Lifecycle) -> Self {
        Self { hooks, tokio: Tokio::default() }
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hooks.fmt(f)
    }
}
