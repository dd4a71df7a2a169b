//! A runtime with a lifecycle before, between and after its invocations.

use std::sync::Arc;

use lambda_proto::client::Receipt;
use lambda_proto_host::lifecycle::{Lifecycle, Shutdown};
use lambda_proto_host::{Context, Error, Failure, Started, Starting};
use mio::{Registry, Token, Waker};

use crate::invocation::Invocation;
use crate::own_loop::Loop;
use crate::responder::Responder;
use crate::runtime::Runtime;
use crate::sent::Sent;
use crate::slots::{Plan, Slots};

impl Runtime {
    /// The same runtime with hooks around its invocations and a context for each of them.
    ///
    /// ```no_run
    /// use lambda_proto_mio::{Error, Failure, Lifecycle, Runtime};
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
    /// With one slot, the runtime does not ask for the next invocation while registered
    /// [work](Context::begin_work) is running after the answer, for as long as the
    /// [policy](Lifecycle::work) waits; the loop does not block. With several slots the environment
    /// is not frozen between invocations, so no slot waits.
    ///
    /// Environment variables set the options that the lifecycle leaves open: see
    /// [`Options`](crate::Options).
    pub fn lifecycle(self, lifecycle: Lifecycle) -> Runtime<Lifecycle> {
        Runtime { plan: self.plan, lifecycle }
    }
}

impl Runtime<Lifecycle> {
    /// Runs the init hooks, then calls `handler` for every invocation, in a loop on this thread,
    /// until the runtime is [stopped](Self::stop_handle) or a signal ends the process; then runs
    /// the shutdown hooks.
    ///
    /// In an environment that is snapshotted (`AWS_LAMBDA_INITIALIZATION_TYPE` is `snap-start`) it
    /// also runs the snapshot hooks.
    ///
    /// This loop ignores [`Event::CancellationDue`](crate::Event::CancellationDue): a handler
    /// checks [`Context::cancellation`] or waits for it.
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
    pub fn run<F>(self, mut handler: F) -> Result<(), Error>
    where
        F: FnMut(Invocation, Responder, Context) -> Result<Sent, Failure>,
    {
        let (plan, started) = self.start()?;
        // Stopped before the first invocation.
        let Some(started) = started else { return Ok(()) };
        let handler = move |mut invocation: Invocation, responder| {
            let context = invocation.take_context();
            let context = context.expect("with a lifecycle each invocation comes with one");
            handler(invocation, responder, context)
        };
        let result = Loop::new(plan).and_then(|own| own.run(handler));
        let ended = started.finish();
        result.and(ended)
    }

    /// Runs the init hooks, then registers all slots in the program's loop, as without a lifecycle.
    ///
    /// This blocks until the hooks have run, within their [time limit](crate::Options), and in an
    /// environment that is snapshotted until it is restored. Signals are handled from here on.
    ///
    /// Each invocation has a context: see [`Invocation::take_context`]. When the cancellation of an
    /// invocation is due, the loop wakes with an
    /// [`Event::CancellationDue`](crate::Event::CancellationDue). When the slots have ended,
    /// [`Slots::finish`] runs the shutdown hooks.
    ///
    /// # Errors
    ///
    /// The errors of a runtime without a lifecycle; [`Error::Init`] as for [`run`](Self::run);
    /// [`Error::Shutdown`] if the runtime was stopped during the start, and shutdown hooks failed. If
    /// the start has succeeded and an error follows, the shutdown hooks have run.
    pub fn register(self, registry: &Registry, first: Token) -> Result<Slots, Error> {
        let token = Token(first.0 + self.plan.settings.slots);
        let waker = Waker::new(registry, token).map_err(Error::Poll)?;
        self.begin(registry, first, Arc::new(waker), true)
    }

    /// Like [`register`](Self::register), with the waker of the program's loop.
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
        let (plan, started) = self.start()?;
        match Slots::new(plan, registry, first, waker, own_waker) {
            Ok(slots) => {
                let mut slots = slots.with_started(started);
                slots.begin();
                Ok(slots)
            }
            Err(error) => {
                if let Some(started) = started {
                    // Failures of the hooks are in the log.
                    let _logged = started.finish();
                }
                Err(error)
            }
        }
    }

    /// Runs everything before the first invocation; `None` if the runtime was stopped during it.
    fn start(self) -> Result<(Plan, Option<Started>), Error> {
        let Self { mut plan, lifecycle } = self;
        let stop = plan.stop.clone();
        let mut first = First { plan: &plan, restored: None };
        let started = Started::new(lifecycle, &plan.settings, move || stop.stop(), &mut first)?;
        plan.active = started.as_ref().map(|started| started.active.clone());
        Ok((plan, started))
    }
}

/// The calls before the first invocation, each in its own loop. The loop of a restore is kept,
/// since only that loop can report that the restore has failed.
struct First<'p> {
    plan: &'p Plan,
    restored: Option<Loop>,
}

impl Starting for First<'_> {
    fn on_stop(&self, stopping: &Shutdown) {
        self.plan.stop.set_stopping(stopping);
    }

    fn fail_init(&mut self, failure: &Failure) -> Result<(), Error> {
        Loop::of_start(self.plan)?.fail_init(failure)
    }

    fn restore_next(&mut self) -> Result<Option<Receipt>, Error> {
        let mut own = Loop::of_start(self.plan)?;
        let answer = own.restore_next()?;
        self.restored = Some(own);
        Ok(answer)
    }

    fn fail_restore(&mut self, failure: &Failure) -> Result<(), Error> {
        match self.restored.take() {
            Some(own) => own.fail_restore(failure),
            // Unreachable: a failed restore follows a restore.
            None => Ok(()),
        }
    }
}
