use std::sync::Arc;
use std::time::{Duration, Instant};

use lambda_proto::api::Endpoint;
use lambda_proto_host::lifecycle::NoLifecycle;
use lambda_proto_host::{Error, Failure, Record, Settings, start};
use mio::{Registry, Token, Waker};

use crate::invocation::Invocation;
use crate::own_loop::Loop;
use crate::responder::Responder;
use crate::sent::Sent;
use crate::slots::{Plan, Slots};
use crate::stop::StopHandle;

/// A Lambda runtime for event loops, configured but not connected.
///
/// [`register`](Runtime::register) puts it into a loop of the host's own; [`run`](Runtime::run) brings one.
/// [`lifecycle`](Runtime::lifecycle) adds hooks, by which it becomes a `Runtime<Lifecycle>`.
pub struct Runtime<L = NoLifecycle> {
    pub(crate) plan: Plan,
    pub(crate) lifecycle: L,
}

impl Runtime {
    /// A runtime as Lambda wants it: at the address in `AWS_LAMBDA_RUNTIME_API`, with as many slots as
    /// `AWS_LAMBDA_MAX_CONCURRENCY` says.
    ///
    /// # Errors
    ///
    /// [`Error::MissingVariable`] or [`Error::InvalidVariable`] for the address.
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self::with(Settings::from_env()?))
    }

    /// A runtime at this address, with one slot.
    pub fn new(endpoint: Endpoint) -> Self {
        Self::with(Settings::new(endpoint))
    }

    fn with(settings: Settings) -> Self {
        let max_pooled = 64 * 1024 * 1024;
        let plan = Plan { settings, max_pooled, stop: StopHandle::default(), active: None };
        Self { plan, lifecycle: NoLifecycle }
    }

    /// Runs what has to be done before the first invocation.
    ///
    /// If it fails or panics, that is reported to the service, and this blocks until it is; return the
    /// error from `main`, so that the process exits with a code that is not zero, as the service expects
    /// [Lambda Developer Guide: custom runtimes].
    ///
    /// # Errors
    ///
    /// [`Error::Init`]. If the report does not get through, that is logged.
    pub fn init<T>(&self, start_up: impl FnOnce() -> Result<T, Failure>) -> Result<T, Error> {
        start(&self.plan.settings, start_up, |failure| {
            Loop::of_start(&self.plan)?.fail_init(failure)
        })
    }

    /// Registers all slots in a loop of the host's own, and begins to ask for invocations.
    ///
    /// The slots take the tokens from `first` on, one for each, and one more for a waker of their own by
    /// which replies from other threads get the loop to look. mio wants one waker in a loop and may panic
    /// otherwise: a host that has one, or registers two runtimes, gives it to
    /// [`register_with_waker`](Self::register_with_waker). `now` is the time.
    ///
    /// An address that is a name is looked up here, once, which may block.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if the name of the service is not known, [`Error::Poll`] if the loop cannot
    /// take more.
    pub fn register(self, registry: &Registry, first: Token, now: Instant) -> Result<Slots, Error> {
        let token = Token(first.0 + self.plan.settings.slots);
        let waker = Waker::new(registry, token).map_err(Error::Poll)?;
        let mut slots = Slots::new(self.plan, registry, first, Arc::new(waker), true, now)?;
        slots.begin();
        Ok(slots)
    }

    /// As [`register`](Self::register), with the waker of the host's loop. Whenever the loop wakes, the
    /// host takes what [`Slots::next_event`] gives.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn register_with_waker(
        self,
        registry: &Registry,
        first: Token,
        waker: Arc<Waker>,
        now: Instant,
    ) -> Result<Slots, Error> {
        let mut slots = Slots::new(self.plan, registry, first, waker, false, now)?;
        slots.begin();
        Ok(slots)
    }

    /// Calls `handler` for every invocation, in a loop on this thread, until the runtime is
    /// [stopped](Self::stop_handle).
    ///
    /// It returns the [`Sent`] of its invocation, which answering gives. One that answers later, or has
    /// another thread answer, [defers](Responder::defer) the responder. A failure that it returns, or a panic, fails
    /// the invocation if nobody has answered it; so does the `Sent` of another invocation, which is
    /// logged, too.
    ///
    /// What became of an answer is not told: for that, [bring a loop](Self::register).
    ///
    /// # Errors
    ///
    /// An [`Error`] when the conversation cannot go on. With several slots, one whose connection speaks
    /// nonsense begins anew after a pause, and the others do not notice; if the service wants the
    /// process to end (500), all slots end when they have answered what is in hand.
    pub fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: FnMut(Invocation, Responder) -> Result<Sent, Failure>,
    {
        Loop::new(self.plan)?.run(handler)
    }
}

impl<L> Runtime<L> {
    /// How many invocations run at once, each on a connection of its own; 0 is 1.
    ///
    /// [`from_env`](Self::from_env) knows the number. More than one is for a service that hands out
    /// several at once, which says so by `AWS_LAMBDA_MAX_CONCURRENCY`; any other may give every slot the
    /// same event.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.plan.settings.set_slots(slots);
        self
    }

    /// The largest event in bytes; 16 MiB unless set. A larger one is reported as an error of its
    /// invocation. Memory is taken only for events that come.
    #[must_use]
    pub fn max_event(mut self, bytes: usize) -> Self {
        self.plan.settings.max_event = bytes;
        self
    }

    /// How many bytes of memory are kept for later events and answers while nobody needs them; 64 MiB
    /// unless set. Slots that wait hold none besides.
    ///
    /// What is beyond goes back to the allocator. glibc's keeps some of it, behind large buffers that are
    /// still in use, unless `MALLOC_MMAP_THRESHOLD_=1048576` is set for the process.
    #[must_use]
    pub fn max_pooled(mut self, bytes: usize) -> Self {
        self.plan.max_pooled = bytes;
        self
    }

    /// How long to try without any connection before giving up; 60 s unless set.
    #[must_use]
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.plan.settings.patience = patience;
        self
    }

    /// The `User-Agent` to be known by, best one token of the form `name/version`.
    ///
    /// # Errors
    ///
    /// [`Error::UserAgent`], as [`Endpoint::with_user_agent`].
    pub fn user_agent(mut self, user_agent: &str) -> Result<Self, Error> {
        self.plan.settings.set_user_agent(user_agent)?;
        Ok(self)
    }

    /// Where lines about kind go, one call a line without its end; as [`Log`](crate::Log) says unless
    /// set.
    #[must_use]
    pub fn log(mut self, write: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Self {
        self.plan.settings.set_log(write);
        self
    }

    /// A handle that stops this runtime from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.plan.stop.clone()
    }
}
