use std::thread;
use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto_host::lifecycle::NoLifecycle;
use lambda_proto_host::{Error, Failure, InFlight, Record, Settings, start};

use crate::handler::{Invocation, Responder, Sent};
use crate::stop::StopHandle;
use crate::worker::Worker;

/// A Lambda runtime, configured but not connected.
///
/// See the [crate](crate) for examples. [`lifecycle`](Runtime::lifecycle) adds hooks, which makes
/// it a `Runtime<Lifecycle>`.
pub struct Runtime<L = NoLifecycle> {
    pub(crate) settings: Settings,
    pub(crate) stop: StopHandle,
    pub(crate) lifecycle: L,
}

impl Runtime {
    /// A runtime that Lambda configures: at the address in `AWS_LAMBDA_RUNTIME_API`, with as many
    /// slots as `AWS_LAMBDA_MAX_CONCURRENCY` says.
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
        Self { settings, stop: StopHandle::default(), lifecycle: NoLifecycle }
    }

    /// Runs the function's init, before the first invocation.
    ///
    /// Its failure or panic is reported to the service. Return the error from `main`, so that the
    /// process exits with a non-zero code, as the service expects [Lambda Developer Guide: custom
    /// runtimes].
    ///
    /// ```no_run
    /// # use lambda_proto_std::{Error, Runtime};
    /// # fn main() -> Result<(), Error> {
    /// let runtime = Runtime::from_env()?;
    /// let greeting = runtime.init(|| Ok(std::fs::read_to_string("greeting.txt")?))?;
    /// runtime.run(|_, responder| Ok(responder.send(&greeting)))
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Init`]. If the report cannot be delivered, that is logged.
    pub fn init<T>(&self, start_up: impl FnOnce() -> Result<T, Failure>) -> Result<T, Error> {
        start(&self.settings, start_up, |failure| self.worker().fail_init(failure))
    }

    /// Calls `handler` for every invocation, on as many threads as there are slots, until it is
    /// [stopped](Self::stop_handle).
    ///
    /// # Errors
    ///
    /// An [`Error`] when the session cannot go on. With several slots, one whose connection breaks
    /// the protocol begins anew after a pause, and the others do not notice. If the service wants
    /// the process to end (500), all slots end when they have answered what is in flight.
    pub fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'i> Fn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure> + Sync,
    {
        if self.settings.slots == 1 {
            return self.run_mut(handler);
        }
        self.run_slots(&|| self.worker(), &|worker| worker.run(&handler))
    }

    /// Runs a worker in each slot, on threads of their own if there are several.
    pub(crate) fn run_slots(
        &self,
        new_worker: &(dyn Fn() -> Worker + Sync),
        run: &(dyn Fn(Worker) -> Result<(), Error> + Sync),
    ) -> Result<(), Error> {
        if self.settings.slots == 1 {
            return run(new_worker());
        }
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.settings.slots)
                .map(|slot| {
                    let name = format!("lambda-slot-{slot}");
                    let run_slot = move || self.run_slot(slot, &|| run(new_worker()));
                    thread::Builder::new().name(name).spawn_scoped(scope, run_slot)
                })
                .collect();
            let mut result = Ok(());
            for thread in threads {
                match thread.map(thread::ScopedJoinHandle::join) {
                    Ok(Ok(Ok(()))) => {}
                    Ok(Ok(Err(error))) => result = Err(error),
                    // This panic is not the handler's, which was caught.
                    Ok(Err(payload)) => std::panic::resume_unwind(payload),
                    Err(error) => {
                        self.settings.log.error(format_args!("a slot has no thread: {error}"));
                        result = Err(Error::Thread(error));
                    }
                }
            }
            result
        })
    }

    /// As [`run`](Self::run), on this thread and with one slot, for handlers that change their
    /// captures.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_mut<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'i> FnMut(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    {
        self.into_worker().run(handler)
    }

    /// One worker to take invocations from without a handler, however many slots there are.
    pub fn into_worker(self) -> Worker {
        self.worker()
    }

    /// A worker for each slot, to take invocations from without a handler; each may go to its own
    /// thread.
    pub fn into_workers(self) -> Vec<Worker> {
        (0..self.settings.slots).map(|_| self.worker()).collect()
    }

    fn worker(&self) -> Worker {
        Worker::new(&self.settings, &self.stop, InFlight::new(&self.settings.endpoint))
    }

    /// A worker whose invocation in flight is known at the end of the process.
    pub(crate) fn tracked_worker(&self) -> Worker {
        Worker::new(&self.settings, &self.stop, InFlight::tracked(&self.settings.endpoint))
    }

    /// Runs one slot of several for as long as its errors concern only itself.
    fn run_slot(&self, slot: usize, run: &dyn Fn() -> Result<(), Error>) -> Result<(), Error> {
        loop {
            let Err(error) = run() else { return Ok(()) };
            if let Error::Protocol(_) = error {
                self.settings.log.warn(format_args!("slot {slot} begins anew: {error}"));
                self.stop.pause(Duration::from_secs(1));
                continue;
            }
            self.settings.log.error(format_args!("slot {slot} has ended: {error}"));
            if let Error::Service(_) = error {
                self.stop.stop();
            }
            return Err(error);
        }
    }
}

impl<L> Runtime<L> {
    /// How many invocations run at once, each on its own thread and connection; 0 means 1.
    ///
    /// [`from_env`](Self::from_env) sets it. More than one is for a service that hands out several
    /// at once, as it says in `AWS_LAMBDA_MAX_CONCURRENCY`; others may give all slots the same
    /// event.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.settings.set_slots(slots);
        self
    }

    /// The largest event in bytes; 16 MiB unless set. A larger one is reported as an error of its
    /// invocation. Memory is allocated only for events that arrive.
    #[must_use]
    pub fn max_event(mut self, bytes: usize) -> Self {
        self.settings.max_event = bytes;
        self
    }

    /// How long to try without any connection before giving up; 60 s unless set.
    #[must_use]
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// The `User-Agent`, best one token of the form `name/version`.
    ///
    /// # Errors
    ///
    /// [`Error::UserAgent`], as [`Endpoint::with_user_agent`].
    pub fn user_agent(mut self, user_agent: &str) -> Result<Self, Error> {
        self.settings.set_user_agent(user_agent)?;
        Ok(self)
    }

    /// Where log lines go, one call per line without the newline; as [`Log`](crate::Log) says
    /// unless set.
    #[must_use]
    pub fn log(mut self, write: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Self {
        self.settings.set_log(write);
        self
    }

    /// A handle that stops this runtime from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }
}
