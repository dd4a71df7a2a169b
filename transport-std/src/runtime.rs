use std::thread;
use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto_host::lifecycle::NoLifecycle;
use lambda_proto_host::{
    Error, ErrorType, Failure, InFlight, Level, Record, Settings, catch, start,
};

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
    /// [`Error::Init`] if `start_up` fails or panics. If the report cannot be delivered, that is
    /// logged.
    pub fn init<T>(&self, start_up: impl FnOnce() -> Result<T, Failure>) -> Result<T, Error> {
        start(&self.settings, start_up, |failure| self.worker().fail_init(failure))
    }

    /// Calls `handler` for every invocation, on as many threads as there are slots, until the
    /// runtime is [stopped](Self::stop_handle).
    ///
    /// # Errors
    ///
    /// An [`Error`] when the session cannot continue. With several slots, a slot on whose
    /// connection the protocol is broken starts over after a pause, and the others are not
    /// affected. If a slot is lost for another reason, all slots end when they have answered their
    /// invocations in flight. Such reasons are a reply by which the service ends the process (500),
    /// and a thread that cannot be started.
    pub fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'i> Fn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure> + Sync,
    {
        if self.settings.slots == 1 {
            return self.run_mut(handler);
        }
        self.run_slots(&|| self.worker(), &|worker| worker.run(&handler))
    }

    /// Runs a worker in each slot; several slots run on separate threads.
    pub(crate) fn run_slots<W>(
        &self,
        new_worker: &(dyn Fn() -> W + Sync),
        run: &(dyn Fn(W) -> Result<(), Error> + Sync),
    ) -> Result<(), Error> {
        if self.settings.slots == 1 {
            return run(new_worker());
        }
        thread::scope(|scope| {
            let mut threads = Vec::new();
            let mut result = Ok(());
            for slot in 0..self.settings.slots {
                let name = format!("lambda-slot-{slot}");
                let run_slot = move || self.run_slot(slot, &|| run(new_worker()));
                match thread::Builder::new().name(name).spawn_scoped(scope, run_slot) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        let error = Error::Thread(error);
                        self.slot_is_lost(slot, &error);
                        result = Err(error);
                        break;
                    }
                }
            }
            for thread in threads {
                // Panics of the slot were caught.
                let ended = thread.join().unwrap_or(Ok(()));
                result = result.and(ended);
            }
            result
        })
    }

    /// Like [`run`](Self::run), on this thread and with one slot, for handlers that modify their
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

    /// Returns one worker, however many slots there are, from which the program takes invocations
    /// without a handler.
    pub fn into_worker(self) -> Worker {
        self.worker()
    }

    /// Returns a worker for each slot, from which the program takes invocations without a handler;
    /// each may move to its own thread.
    ///
    /// The service counts on all of them. So an error of one worker, or a panic that drops it,
    /// stops the others: their [`next`](Worker::next) returns `None`. End the process with the
    /// error.
    pub fn into_workers(self) -> Vec<Worker> {
        (0..self.settings.slots).map(|_| self.pulled(self.worker())).collect()
    }

    /// The same worker as one that a program pulls from.
    pub(crate) fn pulled(&self, worker: Worker) -> Worker {
        if self.settings.slots > 1 { worker.among_others() } else { worker }
    }

    fn worker(&self) -> Worker {
        Worker::new(&self.settings, &self.stop, InFlight::new(&self.settings.endpoint))
    }

    /// A worker whose invocation in flight can be reported at the end of the process.
    pub(crate) fn tracked_worker(&self) -> Worker {
        Worker::new(&self.settings, &self.stop, InFlight::tracked(&self.settings.endpoint))
    }

    /// Runs one slot of several for as long as its errors concern only itself.
    fn run_slot(&self, slot: usize, run: &dyn Fn() -> Result<(), Error>) -> Result<(), Error> {
        loop {
            // A panic outside of the worker's own loop.
            let result = catch(|| Ok(run())).unwrap_or_else(|failure| {
                let what = format_args!("slot {slot} panicked");
                self.settings.log.failure(Level::Error, "", what, &failure);
                Err(Error::Panicked { message: failure.message().to_owned() })
            });
            let Err(error) = result else { return Ok(()) };
            if let Error::Protocol(_) = error {
                self.settings.log.warn(format_args!("slot {slot} starts over: {error}"));
                self.stop.pause(Duration::from_secs(1));
                continue;
            }
            self.slot_is_lost(slot, &error);
            return Err(error);
        }
    }

    /// Stops all slots, since the service would still count on the one that is lost.
    fn slot_is_lost(&self, slot: usize, error: &Error) {
        self.settings.log.error(format_args!("slot {slot} has ended: {error}"));
        self.stop.stop();
    }
}

impl<L> Runtime<L> {
    /// How many invocations run at the same time, each on its own thread and connection; 0 means 1.
    ///
    /// [`from_env`](Self::from_env) sets it. Use more than one only if the service hands out
    /// several invocations at the same time, which it announces in `AWS_LAMBDA_MAX_CONCURRENCY`;
    /// another service may give all slots the same event.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.settings.set_slots(slots);
        self
    }

    /// The largest event in bytes; 16 MiB unless set. A larger one, or one for which there is no
    /// memory, is reported as an error of its invocation. Memory is allocated only for events that
    /// arrive.
    #[must_use]
    pub fn max_event(mut self, bytes: usize) -> Self {
        self.settings.max_event = bytes;
        self
    }

    /// How long to keep trying without any connection before giving up; 60 s unless set. A slot
    /// without a connection keeps trying for as long as another slot has one.
    #[must_use]
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// The `User-Agent`, preferably one token of the form `name/version`.
    ///
    /// # Errors
    ///
    /// [`Error::UserAgent`], as [`Endpoint::with_user_agent`].
    pub fn user_agent(mut self, user_agent: &str) -> Result<Self, Error> {
        self.settings.set_user_agent(user_agent)?;
        Ok(self)
    }

    /// Reports errors of this type, and failures made from one, with the error type that they name;
    /// see [`ErrorType`]. Call it once for each error type of the function.
    ///
    /// ```no_run
    /// use lambda_proto_std::{Error, ErrorType, Runtime};
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
        self.settings.error_types.add::<E>();
        self
    }

    /// Where log lines go: one call per line, without the newline. [`Log`](crate::Log) describes
    /// the default.
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn a_slot_that_panics_outside_of_the_handler_ends_the_others_with_its_error() {
        // Nothing listens on the discard port.
        let runtime = Runtime::new(Endpoint::parse("127.0.0.1:9").unwrap()).slots(3);
        let begun = AtomicUsize::new(0);
        let run = |worker: Worker| -> Result<(), Error> {
            if begun.fetch_add(1, SeqCst) == 1 {
                panic!("told to");
            }
            // Until it is stopped.
            worker.run(|_, responder| Ok(responder.send("")))
        };
        let error = runtime.run_slots(&|| runtime.worker(), &run).unwrap_err();
        assert_eq!(error.to_string(), "a slot panicked: told to");
        assert_eq!(begun.load(SeqCst), 3);
    }
}
