use std::sync::Arc;
use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto_host::lifecycle::NoLifecycle;
use lambda_proto_host::{Error, ErrorType, Failure, Record, Settings, start};
use mio::{Registry, Token, Waker};

use crate::invocation::Invocation;
use crate::own_loop::Loop;
use crate::responder::Responder;
use crate::sent::Sent;
use crate::slots::{Plan, Slots};
use crate::stop::StopHandle;

/// A Lambda runtime for event loops, configured but not connected.
///
/// [`register`](Runtime::register) puts it into a program's own loop; [`run`](Runtime::run) brings
/// its own loop. [`lifecycle`](Runtime::lifecycle) adds hooks, which makes it a
/// `Runtime<Lifecycle>`.
pub struct Runtime<L = NoLifecycle> {
    pub(crate) plan: Plan,
    pub(crate) lifecycle: L,
}

impl Runtime {
    /// A runtime that Lambda configures: at the address in `AWS_LAMBDA_RUNTIME_API`, with as many
    /// slots as `AWS_LAMBDA_MAX_CONCURRENCY` says.
    ///
    /// It installs a panic hook that logs each panic as one record. A panic in a handler goes to
    /// the log of the runtime; other panics go to the log that the environment configures, whatever
    /// [`log`](Self::log) sets. To use a panic hook of your own, install it afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::MissingVariable`] if there is no address, [`Error::InvalidVariable`] if either
    /// variable has an invalid value.
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

    /// Runs the function's init, before the first invocation.
    ///
    /// Its failure or panic is reported to the service; this blocks until it has been reported.
    /// Return the error from `main`, so that the process exits with a non-zero code, as the service
    /// expects [Lambda Developer Guide: custom runtimes].
    ///
    /// # Errors
    ///
    /// [`Error::Init`] if `start_up` fails or panics. If the report cannot be delivered, that is
    /// logged.
    pub fn init<T>(&self, start_up: impl FnOnce() -> Result<T, Failure>) -> Result<T, Error> {
        start(&self.plan.settings, start_up, |failure| {
            Loop::of_start(&self.plan)?.fail_init(failure)
        })
    }

    /// Registers all slots in the program's loop, and begins to ask for invocations.
    ///
    /// The slots take one token each, from `first` on, and one more for their own waker, with which
    /// responders on other threads wake the loop. mio requires that a loop has only one waker and
    /// may panic otherwise: a program that has a waker, or registers two runtimes, passes the waker
    /// to [`register_with_waker`](Self::register_with_waker).
    ///
    /// If the address is a name, it is resolved here, once, which may block.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if the name of the service cannot be resolved, [`Error::Poll`] if
    /// registering in the loop fails.
    pub fn register(self, registry: &Registry, first: Token) -> Result<Slots, Error> {
        let token = Token(first.0 + self.plan.settings.slots);
        let waker = Waker::new(registry, token).map_err(Error::Poll)?;
        self.begin(registry, first, Arc::new(waker), true)
    }

    /// Like [`register`](Self::register), with the waker of the program's loop. Whenever the loop
    /// wakes, the program takes the events of [`Slots::next_event`].
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn register_with_waker(
        self,
        registry: &Registry,
        first: Token,
        waker: Arc<Waker>,
    ) -> Result<Slots, Error> {
        self.begin(registry, first, waker, false)
    }

    fn begin(
        self,
        registry: &Registry,
        first: Token,
        waker: Arc<Waker>,
        own_waker: bool,
    ) -> Result<Slots, Error> {
        let mut slots = Slots::new(self.plan, registry, first, waker, own_waker)?;
        slots.begin();
        Ok(slots)
    }

    /// Calls `handler` for every invocation, in a loop on this thread, until the runtime is
    /// [stopped](Self::stop_handle).
    ///
    /// The handler returns the [`Sent`] that it got by answering. To answer later, or from another
    /// thread, it [defers](Responder::defer) the responder. If the handler returns a failure or
    /// panics, the invocation fails unless it has been answered. The same happens, and is logged,
    /// if it returns the `Sent` of another invocation.
    ///
    /// This loop does not report receipts; to see them, use [a loop of your own](Self::register).
    ///
    /// # Errors
    ///
    /// An [`Error`] when the session cannot continue. With several slots, a slot on whose
    /// connection the protocol is broken starts over after a pause, and the others are not
    /// affected. If the service ends the process with a reply of 500, all slots end when they have
    /// answered their invocations in flight.
    pub fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: FnMut(Invocation, Responder) -> Result<Sent, Failure>,
    {
        Loop::new(self.plan)?.run(handler)
    }
}

impl<L> Runtime<L> {
    /// How many invocations run at the same time, each on its own connection; 0 means 1.
    ///
    /// [`from_env`](Self::from_env) sets it. Use more than one only if the service hands out
    /// several invocations at the same time, which it announces in `AWS_LAMBDA_MAX_CONCURRENCY`;
    /// another service may give all slots the same event.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.plan.settings.set_slots(slots);
        self
    }

    /// The largest event in bytes; 16 MiB unless set. A larger one, or one for which there is no
    /// memory, is reported as an error of its invocation. Memory is allocated only for events that
    /// arrive.
    #[must_use]
    pub fn max_event(mut self, bytes: usize) -> Self {
        self.plan.settings.max_event = bytes;
        self
    }

    /// How many bytes of unused memory the pool keeps for later events and answers; 64 MiB unless
    /// set. A waiting slot holds no other memory.
    ///
    /// Memory past that goes back to the allocator. The allocator of glibc keeps some of it, below
    /// large buffers that are still in use, unless `MALLOC_MMAP_THRESHOLD_=1048576` is set for the
    /// process.
    #[must_use]
    pub fn max_pooled(mut self, bytes: usize) -> Self {
        self.plan.max_pooled = bytes;
        self
    }

    /// How long to keep trying without any connection before giving up; 60 s unless set.
    #[must_use]
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.plan.settings.patience = patience;
        self
    }

    /// The `User-Agent`, preferably one token of the form `name/version`.
    ///
    /// # Errors
    ///
    /// [`Error::UserAgent`], as [`Endpoint::with_user_agent`].
    pub fn user_agent(mut self, user_agent: &str) -> Result<Self, Error> {
        self.plan.settings.set_user_agent(user_agent)?;
        Ok(self)
    }

    /// Reports errors of this type, and failures made from one, with the error type that they name;
    /// see [`ErrorType`]. Call it once for each error type of the function.
    ///
    /// ```no_run
    /// use lambda_proto_mio::{Error, ErrorType, Runtime};
    ///
    /// #[derive(Debug)]
    /// struct NoTable;
    ///
    /// impl std::fmt::Display for NoTable {
    ///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    ///         f.write_str("there is no table")
    ///     }
    /// }
    ///
    /// impl std::error::Error for NoTable {}
    ///
    /// impl ErrorType for NoTable {
    ///     fn error_type(&self) -> &str {
    ///         "Function.NoTable"
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), Error> {
    ///     Runtime::from_env()?.error_type::<NoTable>().run(|_, _| Err(NoTable)?)
    /// }
    /// ```
    #[must_use]
    pub fn error_type<E: ErrorType>(mut self) -> Self {
        self.plan.settings.error_types.add::<E>();
        self
    }

    /// Where log lines go: one call per line, without the newline. [`Log`](crate::Log) describes
    /// the default.
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
