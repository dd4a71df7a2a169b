use std::fmt;
#[cfg(any(feature = "log", feature = "tracing"))]
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
#[cfg(feature = "tokio-util")]
use std::sync::OnceLock;

use futures_util::future::select;
use lambda_proto::api::InvocationHead;
use lambda_proto::lifecycle::Clocks;
#[cfg(any(feature = "log", feature = "tracing"))]
use lambda_proto_host::current;
use lambda_proto_host::lifecycle::Cancellation;
use lambda_proto_host::{self as host, Active, Task};
use tokio::runtime::Handle;
use tokio::sync::Notify;
#[cfg(feature = "tokio-util")]
use tokio::task::AbortHandle;
use tokio::task::JoinHandle;
use tokio::time::sleep;
#[cfg(feature = "tokio-util")]
use tokio_util::sync::CancellationToken;

/// The context of an invocation: the values of init hooks, its cancellation, the environment, and
/// post-response work.
///
/// It dereferences to the [context](lambda_proto_host::Context) that all transports share, and adds
/// what needs tokio. It may go to another task or thread.
pub struct Context {
    host: host::Context,
    shared: Arc<Shared>,
    #[cfg(feature = "tokio-util")]
    token: OnceLock<Arc<Token>>,
}

/// What the contexts of a runtime share.
pub(crate) struct Shared {
    pub(crate) active: Arc<Active>,
    handle: Handle,
    /// Notifies the one worker of a runtime whose environment is frozen between invocations.
    pub(crate) work_is_over: Notify,
}

impl Shared {
    pub(crate) fn new(active: Arc<Active>, handle: Handle) -> Arc<Self> {
        let shared = Arc::new(Self { active, handle, work_is_over: Notify::new() });
        let weak = Arc::downgrade(&shared);
        shared.active.tasks.set_waker(move || {
            if let Some(shared) = weak.upgrade() {
                shared.work_is_over.notify_one();
            }
        });
        shared
    }
}

/// Waits until a cancellation fires: that of an init hook, of a shutdown hook or of an invocation.
///
/// ```
/// use lambda_proto_tokio::{Lifecycle, cancelled};
/// # async fn connect() {}
///
/// let lifecycle = Lifecycle::new().on_init("database", async |init| {
///     tokio::select! {
///         () = connect() => true,
///         // Another hook has failed, the time is over, or the program stops.
///         () = cancelled(init.cancellation()) => false,
///     }
/// });
/// # drop(lifecycle);
/// ```
pub async fn cancelled(cancellation: &Cancellation) {
    while !cancellation.is_cancelled() {
        match cancellation.remaining() {
            Some(left) => {
                // A test may have paused the clock of tokio, so its end is not compared with ours.
                select(cancellation.fired(), pin!(sleep(left))).await;
                return;
            }
            None => cancellation.fired().await,
        }
    }
}

impl Context {
    /// The context of an invocation that has just arrived, as [`host::Context::new`].
    pub(crate) fn new(
        shared: &Arc<Shared>,
        invocation: &InvocationHead<'_>,
        asked: Option<Clocks>,
    ) -> Self {
        Self {
            host: host::Context::new(shared.active.clone(), invocation, asked),
            shared: shared.clone(),
            #[cfg(feature = "tokio-util")]
            token: OnceLock::new(),
        }
    }

    /// Waits until the deadline is near ([`Options::cancellation_buffer`]), or the process must end
    /// before the invocation has been answered: when [`cancellation`] fires. The future does not
    /// borrow the context.
    ///
    /// ```no_run
    /// # use lambda_proto_tokio::{Error, Failure, Lifecycle, Runtime};
    /// # async fn search() -> &'static str { "" }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let runtime = Runtime::from_env()?.lifecycle(Lifecycle::new());
    /// runtime.run(async |_, responder, context| {
    ///     tokio::select! {
    ///         found = search() => Ok(responder.send(found).await),
    ///         () = context.cancelled() => Err(Failure::from_display("it took too long")),
    ///     }
    /// }).await
    /// # }
    /// ```
    ///
    /// [`cancellation`]: lambda_proto_host::Context::cancellation
    /// [`Options::cancellation_buffer`]: crate::Options::cancellation_buffer
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        let cancellation = self.host.cancellation();
        async move { cancelled(&cancellation).await }
    }

    /// A token that is cancelled when [`cancelled`](Self::cancelled) resolves, for code that takes
    /// one. Every call returns the same token.
    ///
    /// A task cancels it. That task ends when this context and the work that it has
    /// [spawned](Self::spawn_work) since are gone; a token that is still used then is not cancelled
    /// any more. Other work keeps the context for as long as it uses the token.
    #[cfg(feature = "tokio-util")]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.token.get_or_init(|| Token::new(self)).token.clone()
    }

    /// Registers work that continues after the answer, as [`host::Context::begin_work`]: the work
    /// ends when the returned value is dropped, on any thread. [`spawn_work`](Self::spawn_work) does
    /// this for a future.
    pub fn begin_work<'i>(
        &self,
        invocation: impl Into<InvocationHead<'i>>,
        name: &'static str,
    ) -> Task {
        self.host.begin_work(invocation, name)
    }

    /// Spawns work that continues after the answer, and registers it as
    /// [`begin_work`](Self::begin_work) does. The work ends when the future ends, panics or is
    /// aborted. `invocation` is the invocation of this context, or its head.
    ///
    /// Asking for the next invocation freezes the environment. Before that, the
    /// [policy](crate::Lifecycle::work) decides about work that has not ended. With the features
    /// `log` and `tracing`, the log lines of the work have the request id of the invocation.
    ///
    /// ```no_run
    /// # use lambda_proto_tokio::{Error, Lifecycle, Runtime};
    /// # async fn write_the_books() {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let runtime = Runtime::from_env()?.lifecycle(Lifecycle::new());
    /// runtime.run(async |invocation, responder, context| {
    ///     context.spawn_work(&invocation, "the books", write_the_books());
    ///     Ok(responder.send("done").await)
    /// }).await
    /// # }
    /// ```
    pub fn spawn_work<'i, F>(
        &self,
        invocation: impl Into<InvocationHead<'i>>,
        name: &'static str,
        future: F,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let invocation = invocation.into();
        #[cfg(any(feature = "log", feature = "tracing"))]
        let future = with_request_id(invocation.request_id().into(), future);
        let work = self.host.begin_work(invocation, name);
        #[cfg(feature = "tokio-util")]
        let work = (work, self.token.get().cloned());
        // Mentions the future first, so that it is also dropped first: that belongs to the work.
        self.shared.handle.spawn(async move {
            let output = future.await;
            drop(work);
            output
        })
    }
}

impl Deref for Context {
    type Target = host::Context;

    fn deref(&self) -> &host::Context {
        &self.host
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// Sets the current invocation of the thread during each poll.
#[cfg(any(feature = "log", feature = "tracing"))]
async fn with_request_id<F: Future>(id: current::RequestId, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| current::during(id, || future.as_mut().poll(context))).await
}

/// A token and the task that cancels it, which ends when this is dropped.
#[cfg(feature = "tokio-util")]
struct Token {
    token: CancellationToken,
    task: AbortHandle,
}

#[cfg(feature = "tokio-util")]
impl Token {
    fn new(context: &Context) -> Arc<Self> {
        let token = CancellationToken::new();
        if context.host.cancellation().is_cancelled() {
            // Before the task has a chance to run.
            token.cancel();
        }
        let (cancelled, cancels) = (context.cancelled(), token.clone());
        let task = context.shared.handle.spawn(async move {
            cancelled.await;
            cancels.cancel();
        });
        Arc::new(Self { token, task: task.abort_handle() })
    }
}

#[cfg(feature = "tokio-util")]
impl Drop for Token {
    fn drop(&mut self) {
        self.task.abort();
    }
}
