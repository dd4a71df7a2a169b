use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lambda_proto::api::Endpoint;
use lambda_proto_host::lifecycle::NoLifecycle;
use lambda_proto_host::{Error, ErrorType, Failure, InFlight, Record, Settings, StartUp};
use tokio::task::coop::has_budget_remaining;
use tokio::time::sleep;

use crate::catching::Catching;
use crate::connector::unless_stopped;
use crate::handler::{Invocation, Responder, Sent};
use crate::parallel::{self, Slot};
use crate::stop::{StopHandle, StopOnDrop};
use crate::worker::Worker;

/// A Lambda runtime, configured but not connected.
///
/// See the [crate](crate) for examples. [`lifecycle`](Runtime::lifecycle) adds hooks, which makes
/// it a `Runtime<Lifecycle>`.
///
/// Its futures need a tokio runtime with I/O and time enabled, as `#[tokio::main]` has.
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
    /// # use lambda_proto_tokio::{Error, Runtime};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let runtime = Runtime::from_env()?;
    /// let greeting = runtime.init(async || Ok(std::fs::read_to_string("greeting.txt")?)).await?;
    /// runtime.run(async |_, responder| Ok(responder.send(&greeting).await)).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Init`] if `start_up` fails or panics. If the report cannot be delivered, that is
    /// logged.
    pub async fn init<T>(
        &self,
        start_up: impl AsyncFnOnce() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let begun = StartUp::begin(&self.settings);
        let result = Catching::new(pin!(start_up())).await.and_then(|result| result);
        match begun.end(result) {
            Ok(value) => Ok(value),
            Err(failed) => {
                let reported = self.worker().fail_init(failed.failure()).await;
                Err(failed.into_error(reported))
            }
        }
    }

    /// Calls `handler` for every invocation until the runtime is [stopped](Self::stop_handle).
    ///
    /// Everything runs in the task that awaits this: with several slots, the handlers run
    /// concurrently, not in parallel, and a handler that blocks holds up the others. Nothing has to
    /// be `Send` or `'static`. Each slot has a waker of its own, so a slot that waits costs nothing
    /// while others work. [`run_parallel`](Self::run_parallel) uses all threads of the tokio
    /// runtime, and its future can be spawned. This one cannot: the compiler does not prove that it
    /// is `Send`.
    ///
    /// To end the run from outside, use the [handle](Self::stop_handle), which lets invocations in
    /// flight finish. If this future is dropped instead, for instance by a timeout, each slot is
    /// dropped as a [`Worker`](Worker#cancellation) is: its invocation in flight is reported as
    /// failed, which may block for a second for each slot.
    ///
    /// # Errors
    ///
    /// An [`Error`] when the session cannot continue. With several slots, a slot on whose
    /// connection the protocol is broken starts over after a pause, and the others are not
    /// affected. If a slot is lost for another reason, such as a reply by which the service ends
    /// the process (500), all slots end when they have answered their invocations in flight.
    pub async fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    {
        self.run_slots(&async || self.worker().run(&handler).await).await
    }

    /// Calls `handler` for every invocation until the runtime is [stopped](Self::stop_handle), on
    /// all threads of the tokio runtime.
    ///
    /// Each slot is a task of its own, in which it awaits its handler. So at most as many handlers
    /// run in parallel as there are slots, or threads. The [invocation](parallel::Invocation) and
    /// the [responder](parallel::Responder) own what they need, and may move to other tasks. A
    /// handler that blocks uses `spawn_blocking` or `block_in_place`, or it may hold up other slots.
    ///
    /// If this future is dropped, the runtime is stopped, and its tasks go on until they have
    /// answered their invocations in flight, if tokio's runtime lives that long: at the end of `main`
    /// it drops its tasks.
    ///
    /// ```no_run
    /// # use lambda_proto_tokio::{Error, Runtime, parallel};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Error> {
    /// let runtime = Runtime::from_env()?;
    /// let handler = async |invocation: parallel::Invocation, responder: parallel::Responder| {
    ///     Ok(responder.send(invocation.body()).await)
    /// };
    /// runtime.run_parallel(handler).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_parallel<F, A>(self, handler: F) -> Result<(), Error>
    where
        F: Fn(parallel::Invocation, parallel::Responder) -> A + Send + Sync + 'static,
        A: Future<Output = Result<parallel::Sent, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.run_tasks(move || {
            let handler = handler.clone();
            move |invocation, responder| handler(invocation, responder)
        })
        .await
    }

    /// Calls the handler of each slot for its invocations, in a task for each slot.
    pub(crate) async fn run_tasks<H, A>(self, for_slot: impl Fn() -> H) -> Result<(), Error>
    where
        H: FnMut(parallel::Invocation, parallel::Responder) -> A + Send + 'static,
        A: Future<Output = Result<parallel::Sent, Failure>> + Send + 'static,
    {
        let slots = self.settings.slots;
        let stop = self.stop.clone();
        let runtime = Arc::new(self);
        spawn_slots(slots, &stop, move |slot| {
            let (runtime, mut handler) = (runtime.clone(), for_slot());
            async move {
                loop {
                    let ended = serve(Slot::new(runtime.worker().core, slot), &mut handler).await;
                    if let Some(ended) = runtime.ended(slot, ended).await {
                        return ended;
                    }
                }
            }
        })
        .await
    }

    /// Awaits `run` in each slot.
    pub(crate) async fn run_slots<R>(&self, run: &R) -> Result<(), Error>
    where
        R: AsyncFn() -> Result<(), Error>,
    {
        if self.settings.slots == 1 {
            return run().await;
        }
        let mut slots: FuturesUnordered<_> =
            (0..self.settings.slots).map(|slot| self.run_slot(slot, run)).collect();
        let mut result = Ok(());
        while let Some(ended) = slots.next().await {
            result = result.and(ended);
        }
        result
    }

    /// Runs a slot for as long as its errors concern only itself.
    async fn run_slot<R>(&self, slot: usize, run: &R) -> Result<(), Error>
    where
        R: AsyncFn() -> Result<(), Error>,
    {
        loop {
            let ended = in_turn(pin!(run())).await;
            if let Some(ended) = self.ended(slot, ended).await {
                return ended;
            }
        }
    }

    /// Returns one worker, however many slots there are, from which the program takes invocations
    /// without a handler.
    pub fn into_worker(self) -> Worker {
        self.worker()
    }

    /// Returns a worker for each slot, from which the program takes invocations without a handler;
    /// each may move to its own task.
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

    pub(crate) fn worker(&self) -> Worker {
        Worker::new(&self.settings, &self.stop, InFlight::new(&self.settings.endpoint))
    }

    /// A worker whose invocation in flight can be reported at the end of the process.
    pub(crate) fn tracked_worker(&self) -> Worker {
        Worker::new(&self.settings, &self.stop, InFlight::tracked(&self.settings.endpoint))
    }
}

impl<L> Runtime<L> {
    /// Decides what follows the end of a slot. Returns `None`, after a pause, if it starts over:
    /// one of several does, as long as its error concerns only itself.
    pub(crate) async fn ended(
        &self,
        slot: usize,
        ended: Result<(), Error>,
    ) -> Option<Result<(), Error>> {
        let Settings { slots, log, .. } = &self.settings;
        match &ended {
            Err(Error::Protocol(error)) if *slots > 1 => {
                log.warn(format_args!("slot {slot} starts over: {error}"));
                unless_stopped(&self.stop, sleep(Duration::from_secs(1))).await;
                return None;
            }
            Err(error) if *slots > 1 => {
                // The service would still count on the slot that is lost.
                log.error(format_args!("slot {slot} has ended: {error}"));
                self.stop.stop();
            }
            _ => {}
        }
        Some(ended)
    }

    /// How many invocations run at the same time, each on its own connection; 0 means 1.
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
    /// use lambda_proto_tokio::{Error, ErrorType, Runtime};
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
    /// #[tokio::main(flavor = "current_thread")]
    /// async fn main() -> Result<(), Error> {
    ///     Runtime::from_env()?.error_type::<NoTable>().run(async |_, _| Err(NoTable)?).await
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

    /// A handle that stops this runtime from another task or thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }
}

/// Polls a slot only while its task has budget left.
///
/// Otherwise the sockets of the slot say that they are not ready, and wake it after the slots whose
/// sockets have become ready since. If those use up the whole budget each time, it never has a turn.
/// This wakes it at once, so it is polled before them.
async fn in_turn<F: Future>(mut slot: Pin<&mut F>) -> F::Output {
    poll_fn(|context| {
        if has_budget_remaining() {
            return slot.as_mut().poll(context);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Spawns a task for each slot, and waits until all have ended.
pub(crate) async fn spawn_slots<R>(
    slots: usize,
    stop: &StopHandle,
    run: impl Fn(usize) -> R,
) -> Result<(), Error>
where
    R: Future<Output = Result<(), Error>> + Send + 'static,
{
    let _when_dropped = StopOnDrop(stop);
    let mut tasks: FuturesUnordered<_> = (0..slots).map(|slot| tokio::spawn(run(slot))).collect();
    let mut result = Ok(());
    while let Some(joined) = tasks.next().await {
        result = result.and(joined.unwrap_or_else(|error| {
            // A bug in this crate, or the end of the tokio runtime.
            stop.stop();
            Err(Error::Panicked { message: error.to_string() })
        }));
    }
    result
}

/// Calls `handler` for every invocation of a slot until the runtime is stopped.
async fn serve<H, A>(mut slot: Slot, handler: &mut H) -> Result<(), Error>
where
    H: FnMut(parallel::Invocation, parallel::Responder) -> A,
    A: Future<Output = Result<parallel::Sent, Failure>>,
{
    while let Some((invocation, responder)) = slot.next(None).await? {
        slot.handle(async { handler(invocation, responder).await }).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
