//! A runtime with a lifecycle before, between and after its invocations.

mod first;

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use futures_util::future::select;
use lambda_proto::api::InvocationHead;
use lambda_proto::lifecycle::{Clocks, TimeLimit};
use lambda_proto_host::lifecycle::{NoLifecycle, clock};
use lambda_proto_host::{Crossed, Error, Failure, Started, Tasks, catch};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use self::first::First;
use crate::connector::unless_stopped;
use crate::context::{Context, Shared};
use crate::handler::{Invocation, Responder, Sent};
use crate::hooks::Lifecycle;
use crate::parallel::{self, Slot};
use crate::runtime::{Runtime, spawn_slots};
use crate::stop::{StopHandle, StopOnDrop};
use crate::worker::Worker;

impl Runtime {
    /// The same runtime with hooks around its invocations and a context for its handler.
    ///
    /// ```no_run
    /// use lambda_proto_tokio::{Error, Failure, Lifecycle, Runtime};
    ///
    /// struct Table(String);
    ///
    /// #[tokio::main(flavor = "current_thread")]
    /// async fn main() -> Result<(), Error> {
    ///     let lifecycle = Lifecycle::new()
    ///         .on_init("table", async |init| -> Result<(), Failure> {
    ///             // It may block: each hook has a thread of its own.
    ///             init.put(Table(std::fs::read_to_string("table.txt")?));
    ///             Ok(())
    ///         })
    ///         .on_shutdown("metrics", async |_| {
    ///             eprintln!("sending the last metrics");
    ///             Ok(())
    ///         });
    ///     let runtime = Runtime::from_env()?.lifecycle(lifecycle);
    ///     runtime.run(async |invocation, responder, context| {
    ///         let Table(text) = context.get().expect("the init hook has put it there");
    ///         context.spawn_work(&invocation, "count", async {
    ///             // Count after the answer; the next invocation is asked for when this is done.
    ///         });
    ///         Ok(responder.send(text).await)
    ///     }).await
    /// }
    /// ```
    ///
    /// Environment variables set the options that the lifecycle leaves open: see
    /// [`Options`](crate::Options).
    pub fn lifecycle(self, lifecycle: impl Into<Lifecycle>) -> Runtime<Lifecycle> {
        let Self { settings, stop, .. } = self;
        Runtime { settings, stop, lifecycle: lifecycle.into() }
    }
}

impl Runtime<Lifecycle> {
    /// Runs the init hooks, then calls `handler` for every invocation, in the task that awaits
    /// this, until the runtime is [stopped](Self::stop_handle) or a signal ends the process; then
    /// runs the shutdown hooks.
    ///
    /// In an environment that is snapshotted (`AWS_LAMBDA_INITIALIZATION_TYPE` is `snap-start`) it
    /// also runs the snapshot hooks.
    ///
    /// If the future is dropped before its end, the runtime stops, and the thread that drops it
    /// blocks while the shutdown hooks run; [`Lifecycle`] has what that means for async hooks. If
    /// they run already, nothing waits for their end. A [stop](Self::stop_handle) ends the future in
    /// order.
    ///
    /// # Errors
    ///
    /// The errors of a runtime without a lifecycle, and
    ///
    /// - [`Error::Init`] if an environment variable of an [option](crate::Options) is invalid or a
    ///   hook before the first invocation fails; the failure has been reported to the service;
    /// - [`Error::LeftBehind`] if the [policy](Lifecycle::work) treats remaining work as an error;
    /// - [`Error::Shutdown`], if nothing else has failed, with the shutdown hooks that failed or
    ///   did not end. The shutdown hooks run unless the start has failed.
    ///
    /// Return the error from `main`, so that the process exits with a non-zero code.
    pub async fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>, Context) -> Result<Sent<'i>, Failure>,
    {
        let Some(running) = self.start().await? else { return Ok(()) };
        let run = async || running.worker().run(&handler).await;
        let result = running.runtime.run_slots(&run).await;
        let ended = running.ending.finish().await;
        result.and(ended)
    }

    /// Runs the init hooks, then calls `handler` for every invocation, on all threads of the tokio
    /// runtime as [without a lifecycle](Runtime::run_parallel), until the runtime is
    /// [stopped](Self::stop_handle) or a signal ends the process; then runs the shutdown hooks.
    ///
    /// If this future is dropped, the runtime is stopped, and its tasks go on until they have
    /// answered their invocations in flight and the shutdown hooks have run, if tokio's runtime lives
    /// that long: at the end of `main` it drops its tasks. A [stop](Self::stop_handle) ends the future
    /// in order.
    ///
    /// ```no_run
    /// # use lambda_proto_tokio::{Context, Error, Lifecycle, Runtime, parallel};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Error> {
    /// let runtime = Runtime::from_env()?.lifecycle(Lifecycle::new());
    /// runtime.run_parallel(|invocation, responder, context| async move {
    ///     context.spawn_work(&invocation, "count", async { /* Count after the answer. */ });
    ///     Ok(responder.send(invocation.body()).await)
    /// }).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_parallel<F, A>(self, handler: F) -> Result<(), Error>
    where
        F: Fn(parallel::Invocation, parallel::Responder, Context) -> A + Send + Sync + 'static,
        A: Future<Output = Result<parallel::Sent, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.run_tasks(move || {
            let handler = handler.clone();
            move |invocation, responder, context| handler(invocation, responder, context)
        })
        .await
    }

    /// Calls the handler of each slot for its invocations, in a task for each slot.
    pub(crate) async fn run_tasks<H, A>(
        self,
        for_slot: impl Fn() -> H + Send + 'static,
    ) -> Result<(), Error>
    where
        H: FnMut(parallel::Invocation, parallel::Responder, Context) -> A + Send + 'static,
        A: Future<Output = Result<parallel::Sent, Failure>> + Send + 'static,
    {
        let Some(running) = self.start().await? else { return Ok(()) };
        let stop = running.runtime.stop_handle();
        let _when_dropped = StopOnDrop(&stop);
        // In a task of its own, which goes on if this future is dropped.
        let run = tokio::spawn(run_tasks(running, for_slot));
        run.await.unwrap_or_else(|error| Err(Error::Panicked { message: error.to_string() }))
    }

    /// Runs the init hooks and returns one worker, however many slots there are, from which the
    /// program takes invocations without a handler; `None` if the runtime was stopped before the
    /// first invocation.
    ///
    /// Signals are handled from here on: a signal that arrives while the worker waits makes its
    /// [`next`](Worker::next) return `None`. [End](Worker::end) the worker soon after that, and
    /// before `main` returns: this runs the shutdown hooks. If the worker still exists when half of
    /// the shutdown window is over, or holds an invocation when the time for those in flight is
    /// over, the hooks run anyway, and then the process ends. So put the program's own cleanup into
    /// a hook.
    ///
    /// # Errors
    ///
    /// [`Error::Init`] as for [`run`](Self::run); [`Error::Shutdown`] if the runtime was stopped
    /// during the start, and shutdown hooks failed.
    pub async fn into_worker(self) -> Result<Option<Worker<InLifecycle>>, Error> {
        Ok(self.start().await?.map(|running| running.worker()))
    }

    /// Like [`into_worker`](Self::into_worker), with a worker for each slot; each may move to its
    /// own task. The shutdown hooks run at the end of the last worker. An error or a panic in one
    /// worker stops the others, as [without a lifecycle](Runtime::into_workers).
    ///
    /// Returns an empty vector if the runtime was stopped before the first invocation.
    ///
    /// # Errors
    ///
    /// As [`into_worker`](Self::into_worker).
    pub async fn into_workers(self) -> Result<Vec<Worker<InLifecycle>>, Error> {
        let Some(running) = self.start().await? else { return Ok(Vec::new()) };
        Ok((0..running.runtime.settings.slots).map(|_| running.pulled_worker()).collect())
    }

    /// Runs everything before the first invocation; `None` if the runtime was stopped during it.
    pub(crate) async fn start(self) -> Result<Option<Running>, Error> {
        let Self { settings, stop, lifecycle } = self;
        let tokio = Handle::current();
        let hooks = lifecycle.on(tokio.clone());
        let dropped = StopOnDrop(&stop);
        let runtime = Runtime { settings, stop: stop.clone(), lifecycle: NoLifecycle };
        let running = blocking("lambda-start", move || {
            let (settings, stop) = (runtime.settings.clone(), runtime.stop_handle());
            let mut first = First { runtime, tokio, worker: None };
            let started = Started::new(hooks, &settings, move || stop.stop(), &mut first)?;
            Ok(started.map(|started| Running::new(started, first)))
        });
        let running = running.await;
        std::mem::forget(dropped);
        running
    }
}

/// Runs a task for each slot, then the shutdown hooks.
async fn run_tasks<H, A>(running: Running, for_slot: impl Fn() -> H + Send) -> Result<(), Error>
where
    H: FnMut(parallel::Invocation, parallel::Responder, Context) -> A + Send + 'static,
    A: Future<Output = Result<parallel::Sent, Failure>> + Send + 'static,
{
    let (slots, stop) = (running.runtime.settings.slots, running.runtime.stop_handle());
    let ending = running.ending.clone();
    let running = Arc::new(running);
    let run = move |slot| {
        let (running, mut handler) = (running.clone(), for_slot());
        async move {
            loop {
                let Worker { core, lifecycle } = running.worker();
                let ended = serve(Slot::new(core, slot), lifecycle, &mut handler).await;
                if let Some(ended) = running.runtime.ended(slot, ended).await {
                    return ended;
                }
            }
        }
    };
    let result = spawn_slots(slots, &stop, run).await;
    let ended = ending.finish().await;
    result.and(ended)
}

/// Calls `handler` for every invocation of a slot until the runtime is stopped.
async fn serve<H, A>(
    mut slot: Slot,
    mut lifecycle: InLifecycle,
    handler: &mut H,
) -> Result<(), Error>
where
    H: FnMut(parallel::Invocation, parallel::Responder, Context) -> A,
    A: Future<Output = Result<parallel::Sent, Failure>>,
{
    loop {
        lifecycle.cross().await?;
        let next = slot.next(Some(lifecycle.tasks())).await?;
        let Some((invocation, responder)) = next else { return Ok(()) };
        let InLifecycle { shared, latest, .. } = &mut lifecycle;
        let handling = async {
            let context = latest.context(shared, &invocation.head());
            handler(invocation, responder, context).await
        };
        slot.handle(handling).await;
    }
}

/// Calls a function that blocks on a thread of its own, and waits for it.
///
/// It takes none of tokio's blocking threads: their number is limited, and a hook may need one
/// while this waits for it.
async fn blocking<T: Send + 'static>(
    name: &str,
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (ends, end) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned());
    let called = move || {
        let result = catch(|| Ok(call()));
        let message = |failure: Failure| failure.message().to_owned();
        let result =
            result.unwrap_or_else(|failure| Err(Error::Panicked { message: message(failure) }));
        // If nobody waits for it any more, it is dropped here, which may block.
        let _ = ends.send(result);
    };
    thread.spawn(called).map_err(Error::Thread)?;
    end.await.expect("the thread sends its result")
}

/// A runtime that has been started.
pub(crate) struct Running {
    pub(crate) runtime: Runtime,
    /// The worker that waited for the restore; it becomes the worker of the first slot.
    restored: Mutex<Option<Worker>>,
    shared: Arc<Shared>,
    pub(crate) ending: Arc<Ending>,
}

impl Running {
    fn new(started: Started, first: First) -> Self {
        let First { runtime, tokio, worker } = first;
        let shared = Shared::new(started.active.clone(), tokio);
        let ending = Arc::new(Ending(Mutex::new(Some(started))));
        Self { runtime, restored: Mutex::new(worker), shared, ending }
    }

    /// A worker for one more slot.
    pub(crate) fn worker(&self) -> Worker<InLifecycle> {
        self.in_lifecycle(self.worker_alone())
    }

    /// The same, for a program that pulls from several workers.
    fn pulled_worker(&self) -> Worker<InLifecycle> {
        self.in_lifecycle(self.runtime.pulled(self.worker_alone()))
    }

    fn worker_alone(&self) -> Worker {
        let restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner).take();
        restored.unwrap_or_else(|| self.runtime.tracked_worker())
    }

    fn in_lifecycle(&self, worker: Worker) -> Worker<InLifecycle> {
        let lifecycle = InLifecycle {
            shared: self.shared.clone(),
            stop: self.runtime.stop_handle(),
            latest: Latest::default(),
            ending: self.ending.clone(),
        };
        Worker { core: worker.core, lifecycle }
    }
}

/// Ends the runtime when the last of its workers is gone.
pub(crate) struct Ending(Mutex<Option<Started>>);

impl Ending {
    pub(crate) async fn finish(self: &Arc<Self>) -> Result<(), Error> {
        let ending = self.clone();
        match blocking("lambda-end", move || ending.finish_here()).await {
            // There is no other thread for it.
            Err(Error::Thread(_)) => self.finish_here(),
            result => result,
        }
    }

    fn finish_here(&self) -> Result<(), Error> {
        let started = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        started.map_or(Ok(()), Started::finish)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Failures of the hooks are in the log.
        let _logged = self.finish_here();
    }
}

/// The lifecycle around a [`Worker`], which ends with the last worker of its runtime.
pub struct InLifecycle {
    shared: Arc<Shared>,
    stop: StopHandle,
    latest: Latest,
    ending: Arc<Ending>,
}

/// The latest invocation of a worker.
#[derive(Default)]
struct Latest {
    /// Its limit.
    limit: Option<TimeLimit>,
    /// The clocks after its freeze point, before the worker asked for the next invocation. It still
    /// does if the future of `next` was dropped.
    asked: Option<Clocks>,
}

impl Latest {
    /// The context of an invocation that has just arrived.
    fn context(&mut self, shared: &Arc<Shared>, invocation: &InvocationHead<'_>) -> Context {
        let context = Context::new(shared, invocation, self.asked.take());
        self.limit = Some(context.time_limit());
        context
    }
}

impl InLifecycle {
    fn tasks(&self) -> &Tasks {
        &self.shared.active.tasks
    }

    /// Waits for the registered work of the latest invocation, then reads the clocks.
    async fn cross(&mut self) -> Result<(), Error> {
        let Latest { limit: Some(limit), asked: None } = self.latest else { return Ok(()) };
        while !self.stop.is_stopping() {
            let crossed = self.tasks().try_cross(|| limit);
            let Crossed::Wait { until } = crossed.map_err(Error::LeftBehind)? else { break };
            // The notification is kept, so none is lost in between. One that was kept from an
            // earlier freeze point only makes another attempt.
            let work_is_over = pin!(self.shared.work_is_over.notified());
            let time_is_over = pin!(sleep_until(until.into()));
            unless_stopped(&self.stop, select(work_is_over, time_is_over)).await;
        }
        self.latest.asked = Some(clock::now());
        Ok(())
    }
}

impl Worker<InLifecycle> {
    /// Waits for the [work](Context::spawn_work) after the latest invocation, as the
    /// [policy](Lifecycle::work) says, then for the next invocation, however long that takes;
    /// `None` once the runtime is [stopped](StopHandle), also by a signal.
    ///
    /// If the last responder was dropped unused, its invocation is reported as failed first. Panics
    /// are not caught here.
    ///
    /// # Errors
    ///
    /// As without a lifecycle; [`Error::LeftBehind`] if the policy treats remaining work as an
    /// error. If the worker is the last of its runtime, the shutdown hooks have run.
    pub async fn next(
        &mut self,
    ) -> Result<Option<(Invocation<'_>, Responder<'_>, Context)>, Error> {
        match self.wait().await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                if Arc::strong_count(&self.lifecycle.ending) == 1 {
                    // The caller probably drops the worker now, which would block.
                    let _logged = self.lifecycle.ending.finish().await;
                }
                return Err(error);
            }
        }
        let Self { core, lifecycle: InLifecycle { shared, latest, .. } } = self;
        let in_flight = core.in_flight(Some(&shared.active.tasks));
        Ok(in_flight.map(|(invocation, responder)| {
            let context = latest.context(shared, &invocation);
            (invocation, responder, context)
        }))
    }

    async fn wait(&mut self) -> Result<bool, Error> {
        self.lifecycle.cross().await?;
        self.core.wait().await
    }

    /// Returns the responder of the last [`next`](Self::next) again; `None` if no invocation waits
    /// for an answer, or if its stream has begun.
    pub fn responder(&mut self) -> Option<Responder<'_>> {
        self.core.responder(Some(self.lifecycle.tasks()))
    }

    /// Calls `handler` for every invocation until the runtime is stopped.
    ///
    /// It borrows the worker, because a future that owned it would have room for it twice.
    async fn run<F>(&mut self, handler: &F) -> Result<(), Error>
    where
        F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>, Context) -> Result<Sent<'i>, Failure>,
    {
        self.catching(async |worker, is_handling| {
            while let Some((invocation, responder, context)) = worker.next().await? {
                is_handling.set(true);
                let result = handler(invocation, responder, context).await.map(drop);
                is_handling.set(false);
                worker.handled(result).await;
            }
            Ok(())
        })
        .await
    }

    /// Ends the worker. If it was the last of its runtime, this runs the shutdown hooks and returns
    /// their result. An invocation in flight is reported as failed first.
    ///
    /// A worker that is dropped runs the hooks, too, if it was the last, but it blocks its thread:
    /// on a current-thread runtime the hooks cannot wait for timers and sockets.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`] if hooks failed or did not end, which has been logged.
    pub async fn end(mut self) -> Result<(), Error> {
        self.core.fail_unanswered().await;
        let Self { core, lifecycle } = self;
        drop(core);
        let InLifecycle { ending, .. } = lifecycle;
        // Of two workers that end at the same time, one gets it.
        match Arc::into_inner(ending) {
            Some(ending) => Arc::new(ending).finish().await,
            None => Ok(()),
        }
    }
}
