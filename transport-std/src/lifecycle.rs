//! A runtime with a lifecycle before, between and after its invocations.

use lambda_proto::client::Receipt;
use lambda_proto::lifecycle::TimeLimit;
use lambda_proto_host::lifecycle::{Lifecycle, NoLifecycle, clock};
use lambda_proto_host::{Active, Error, Failure, Started, Starting, catch};

use crate::handler::{Invocation, Responder, Sent};
use crate::runtime::Runtime;
use crate::stop::StopHandle;
use crate::worker::Worker;

/// The context of an invocation: the values of init hooks, a cancellation token, the environment,
/// and the registration of post-response work.
pub type Context<'i> = lambda_proto_host::Context<&'i Active>;

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
    ///             eprintln!("the last words");
    ///             Ok(())
    ///         });
    ///     Runtime::from_env()?.lifecycle(lifecycle).run(|invocation, responder, context| {
    ///         let Table(text) = context.get().expect("the hook has put it");
    ///         let work = context.begin_work(&invocation, "count");
    ///         let sent = responder.send(text);
    ///         std::thread::spawn(move || {
    ///             // Counted behind the answer; the next invocation is asked for when it is done.
    ///             drop(work);
    ///         });
    ///         Ok(sent)
    ///     })
    /// }
    /// ```
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
    /// As without a lifecycle; [`Error::Init`] if a hook before the first invocation fails, which
    /// has been reported then; [`Error::LeftBehind`] if the [policy](Lifecycle::work) treats
    /// remaining work as an error. Return it from `main`, so that the process exits with a non-zero
    /// code. The shutdown hooks run unless the start has failed.
    pub fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'i> Fn(Invocation<'i>, Responder<'i>, Context<'i>) -> Result<Sent<'i>, Failure>
            + Sync,
    {
        let Self { settings, stop, lifecycle } = self;
        let runtime = Runtime { settings, stop, lifecycle: NoLifecycle };
        let stop = runtime.stop_handle();
        let mut first = First { runtime: &runtime, worker: None };
        let started = Started::new(lifecycle, &runtime.settings, move || stop.stop(), &mut first)?;
        let Some(started) = started else { return Ok(()) };
        let active = &*started.active;
        // From here on a stop wakes a worker that waits for work; an earlier stop is seen.
        runtime.stop_handle().set_tasks(&active.tasks);
        let result = match first.worker {
            // This worker has been restored, and asks for the invocations.
            Some(worker) => run_worker(worker, &handler, active, &runtime.stop_handle()),
            None => runtime.run_slots(&|| runtime.tracked_worker(), &|worker| {
                run_worker(worker, &handler, active, &runtime.stop_handle())
            }),
        };
        started.finish();
        result
    }
}

/// Takes invocations one by one, and waits for the work after each before asking for the next.
fn run_worker<F>(
    mut worker: Worker,
    handler: &F,
    active: &Active,
    stop: &StopHandle,
) -> Result<(), Error>
where
    F: for<'i> Fn(Invocation<'i>, Responder<'i>, Context<'i>) -> Result<Sent<'i>, Failure>,
{
    let mut behind: Option<TimeLimit> = None;
    loop {
        if let Some(limit) = behind {
            let crossed = active.tasks.cross(|| limit, &|| stop.is_stopping());
            crossed.map_err(Error::LeftBehind)?;
        }
        let asked = behind.map(|_| clock::now());
        let Some((invocation, responder)) = worker.next()? else { return Ok(()) };
        let context = Context::new(active, &invocation, asked);
        behind = Some(context.time_limit());
        let responder = responder.with_tasks(&active.tasks);
        let result = catch(|| handler(invocation, responder, context).map(drop));
        if let Err(failure) = result {
            worker.fail(failure);
        }
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
