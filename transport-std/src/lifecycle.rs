//! A runtime with a lifecycle before, between and after its invocations.

use std::sync::{Arc, Mutex, PoisonError};

use lambda_proto::client::Receipt;
use lambda_proto::lifecycle::{Clocks, TimeLimit};
use lambda_proto_host::lifecycle::{Lifecycle, NoLifecycle, Shutdown, clock};
use lambda_proto_host::{Active, Context, Error, Failure, Started, Starting};

use crate::handler::{Invocation, Responder, Sent};
use crate::runtime::Runtime;
use crate::stop::StopHandle;
use crate::worker::Worker;

impl Runtime {
    /// The same runtime with hooks around its invocations and a context for its handler.
    ///
    /// ```no_run
    /// use lambda_proto_std::{Error, Failure, Lifecycle, Runtime};
    ///
    /// struct Table(String);
    ///
    /// fn main() -> Result<(), Error> {
    ///     let lifecycle = Lifecycle::new()
    ///         .on_init("table", |init| -> Result<(), Failure> {
    ///             init.put(Table(std::fs::read_to_string("table.txt")?));
    ///             Ok(())
    ///         })
    ///         .on_shutdown("metrics", |_| {
    ///             eprintln!("sending the last metrics");
    ///             Ok(())
    ///         });
    ///     Runtime::from_env()?.lifecycle(lifecycle).run(|invocation, responder, context| {
    ///         let Table(text) = context.get().expect("the init hook has put it there");
    ///         let work = context.begin_work(&invocation, "count");
    ///         let sent = responder.send(text);
    ///         std::thread::spawn(move || {
    ///             // Count after the answer; the next invocation is asked for when this is done.
    ///             drop(work);
    ///         });
    ///         Ok(sent)
    ///     })
    /// }
    /// ```
    ///
    /// Environment variables set the options that the lifecycle leaves open: see
    /// [`Options`](crate::Options).
    pub fn lifecycle(self, lifecycle: Lifecycle) -> Runtime<Lifecycle> {
        let Self { settings, stop, .. } = self;
        Runtime { settings, stop, lifecycle }
    }
}

impl Runtime<Lifecycle> {
    /// Runs the init hooks, then calls `handler` for every invocation, on as many threads as there
    /// are slots, until the runtime is [stopped](Self::stop_handle) or a signal ends the process;
    /// then runs the shutdown hooks.
    ///
    /// In an environment that is snapshotted (`AWS_LAMBDA_INITIALIZATION_TYPE` is `snap-start`) it
    /// also runs the snapshot hooks.
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
    pub fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'i> Fn(Invocation<'i>, Responder<'i>, Context) -> Result<Sent<'i>, Failure> + Sync,
    {
        let Some(running) = self.start()? else { return Ok(()) };
        let result = running.runtime.run_slots(&|| running.worker(), &|mut worker| {
            worker.catching(|worker, is_handling| {
                while let Some((invocation, responder, context)) = worker.next()? {
                    is_handling.set(true);
                    let result = handler(invocation, responder, context).map(drop);
                    is_handling.set(false);
                    worker.handled(result);
                }
                Ok(())
            })
        });
        let ended = running.ending.finish();
        result.and(ended)
    }

    /// Runs the init hooks and returns one worker, however many slots there are, from which the
    /// program takes invocations without a handler; `None` if the runtime was stopped before the
    /// first invocation.
    ///
    /// Signals are handled from here on: a signal that arrives while the worker waits makes its
    /// [`next`](Worker::next) return `None`. Drop the worker soon after that, and before `main`
    /// returns: this runs the shutdown hooks. If the worker still exists when half of the shutdown
    /// window is over, or holds an invocation when the time for those in flight is over, the hooks
    /// run on another thread, which ends the process. So put the program's own cleanup into a hook. [`Worker::end`] drops the worker and returns the
    /// result of the hooks.
    ///
    /// # Errors
    ///
    /// [`Error::Init`] as for [`run`](Self::run); [`Error::Shutdown`] if the runtime was stopped
    /// during the start, and shutdown hooks failed.
    pub fn into_worker(self) -> Result<Option<Worker<InLifecycle>>, Error> {
        Ok(self.start()?.map(|running| running.worker()))
    }

    /// Like [`into_worker`](Self::into_worker), with a worker for each slot; each may move to its
    /// own thread. The shutdown hooks run when the last worker is dropped. An error or a panic in
    /// one worker stops the others, as [without a lifecycle](Runtime::into_workers).
    ///
    /// Returns an empty vector if the runtime was stopped before the first invocation.
    ///
    /// # Errors
    ///
    /// As [`into_worker`](Self::into_worker).
    pub fn into_workers(self) -> Result<Vec<Worker<InLifecycle>>, Error> {
        let Some(running) = self.start()? else { return Ok(Vec::new()) };
        Ok((0..running.runtime.settings.slots).map(|_| running.pulled_worker()).collect())
    }

    /// Runs everything before the first invocation; `None` if the runtime was stopped during it.
    fn start(self) -> Result<Option<Running>, Error> {
        let Self { settings, stop, lifecycle } = self;
        let runtime = Runtime { settings, stop, lifecycle: NoLifecycle };
        let stop = runtime.stop_handle();
        let mut first = First { runtime: &runtime, worker: None };
        let started = Started::new(lifecycle, &runtime.settings, move || stop.stop(), &mut first)?;
        let restored = Mutex::new(first.worker);
        let Some(started) = started else { return Ok(None) };
        // From here on a stop wakes a worker that waits for registered work. Such a worker looks
        // for an earlier stop itself.
        runtime.stop.set_tasks(&started.active.tasks);
        let active = started.active.clone();
        let ending = Arc::new(Ending(Mutex::new(Some(started))));
        Ok(Some(Running { runtime, restored, active, ending }))
    }
}

/// A runtime that has been started.
struct Running {
    runtime: Runtime,
    /// The worker that waited for the restore; it becomes the worker of the first slot.
    restored: Mutex<Option<Worker>>,
    active: Arc<Active>,
    ending: Arc<Ending>,
}

impl Running {
    /// A worker for one more slot.
    fn worker(&self) -> Worker<InLifecycle> {
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
            active: self.active.clone(),
            stop: self.runtime.stop_handle(),
            limit: None,
            ending: self.ending.clone(),
        };
        Worker { core: worker.core, lifecycle }
    }
}

/// Ends the runtime when the last of its workers is gone.
struct Ending(Mutex<Option<Started>>);

impl Ending {
    fn finish(&self) -> Result<(), Error> {
        let started = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        started.map_or(Ok(()), Started::finish)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Failures of the hooks are in the log.
        let _logged = self.finish();
    }
}

/// The lifecycle around a [`Worker`], which ends with the last worker of its runtime.
pub struct InLifecycle {
    active: Arc<Active>,
    stop: StopHandle,
    /// The limit of the latest invocation.
    limit: Option<TimeLimit>,
    ending: Arc<Ending>,
}

impl InLifecycle {
    /// Waits for the registered work of the latest invocation, then reads the clocks.
    fn cross(&self) -> Result<Option<Clocks>, Error> {
        let Some(limit) = self.limit else { return Ok(None) };
        let crossed = self.active.tasks.cross(|| limit, &|| self.stop.is_stopping());
        crossed.map_err(Error::LeftBehind)?;
        Ok(Some(clock::now()))
    }
}

impl Worker<InLifecycle> {
    /// Waits for the [work](Context::begin_work) after the latest invocation, as the
    /// [policy](Lifecycle::work) says, then for the next invocation, however long that takes;
    /// `None` once the runtime is [stopped](StopHandle), also by a signal.
    ///
    /// If the last responder was dropped unused, its invocation is reported as failed first. Panics
    /// are not caught here; dropping the worker reports an invocation that they leave in flight.
    ///
    /// # Errors
    ///
    /// As without a lifecycle; [`Error::LeftBehind`] if the policy treats remaining work as an
    /// error.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from the worker")]
    pub fn next(&mut self) -> Result<Option<(Invocation<'_>, Responder<'_>, Context)>, Error> {
        let Self { core, lifecycle } = self;
        let asked = lifecycle.cross()?;
        let InLifecycle { active, limit, .. } = lifecycle;
        let Some((invocation, responder)) = core.next(Some(&active.tasks))? else {
            return Ok(None);
        };
        let context = Context::new(active.clone(), &invocation, asked);
        *limit = Some(context.time_limit());
        Ok(Some((invocation, responder, context)))
    }

    /// Returns the responder of the last [`next`](Self::next) again; `None` if no invocation waits
    /// for an answer, or if its stream has begun.
    pub fn responder(&mut self) -> Option<Responder<'_>> {
        self.core.responder(Some(&self.lifecycle.active.tasks))
    }

    /// Drops the worker. If it was the last of its runtime, this runs the shutdown hooks and
    /// returns their result.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`] if hooks failed or did not end, which has been logged.
    pub fn end(self) -> Result<(), Error> {
        let Self { core, lifecycle } = self;
        // This reports an invocation in flight, before the hooks run.
        drop(core);
        Arc::into_inner(lifecycle.ending).map_or(Ok(()), |ending| ending.finish())
    }
}

/// The worker for the calls before the first invocation, if there are any.
struct First<'r> {
    runtime: &'r Runtime,
    worker: Option<Worker>,
}

impl First<'_> {
    fn take(&mut self) -> Worker {
        self.worker.take().unwrap_or_else(|| self.runtime.tracked_worker())
    }
}

impl Starting for First<'_> {
    fn on_stop(&self, stopping: &Shutdown) {
        self.runtime.stop.set_stopping(stopping);
    }

    fn fail_init(&mut self, failure: &Failure) -> Result<(), Error> {
        self.take().fail_init(failure)
    }

    fn restore_next(&mut self) -> Result<Option<Receipt>, Error> {
        let mut worker = self.take();
        let answer = worker.restore_next()?;
        self.worker = Some(worker);
        Ok(answer)
    }

    fn fail_restore(&mut self, failure: &Failure) -> Result<(), Error> {
        self.take().fail_restore(failure)
    }
}
