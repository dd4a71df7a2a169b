//! A runtime with what happens before, between and after its invocations.

use std::sync::Arc;
use std::time::Instant;

use lambda_proto::client::Receipt;
use lambda_proto_host::lifecycle::Lifecycle;
use lambda_proto_host::{Error, Failure, Started, Starting};
use mio::{Registry, Token, Waker};

use crate::invocation::Invocation;
use crate::own_loop::Loop;
use crate::responder::Responder;
use crate::runtime::Runtime;
use crate::sent::Sent;
use crate::slots::{Plan, Slots};

/// What may be used besides an invocation: what init hooks have put, a cancellation token, the
/// environment, a register of work behind the answer. It may go to another thread.
pub type Context = lambda_proto_host::Context;

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
    ///
    /// With one slot the next invocation is not asked for while [work](Context::begin_work) goes on
    /// behind the answer, for as long as the [policy](Lifecycle::work) waits; the loop does not block
    /// meanwhile. With several nothing is frozen, and nothing waits.
    pub fn lifecycle(self, lifecycle: Lifecycle) -> Runtime<Lifecycle> {
        Runtime { plan: self.plan, lifecycle }
    }
}

impl Runtime<Lifecycle> {
    /// Runs the init hooks, then calls `handler` for every invocation, in a loop on this thread, until the
    /// runtime is [stopped](Self::stop_handle) or a signal ends the process; then runs the shutdown hooks.
    ///
    /// In an environment that is snapshotted (`AWS_LAMBDA_INITIALIZATION_TYPE` is `snap-start`) it runs what
    /// stands around the snapshot, too.
    ///
    /// # Errors
    ///
    /// As without a lifecycle; [`Error::Init`] if a hook before the first invocation fails, which has been
    /// reported then; [`Error::LeftBehind`] if the [policy](Lifecycle::work) takes work that goes on for an
    /// error. Return it from `main`, so that the process exits with a code that is not zero. The shutdown
    /// hooks are run unless the start has failed.
    pub fn run<F>(self, mut handler: F) -> Result<(), Error>
    where
        F: FnMut(Invocation, Responder, Context) -> Result<Sent, Failure>,
    {
        let (plan, started) = self.start()?;
        // Stopped before there was anything to run.
        let Some(started) = started else { return Ok(()) };
        let handler = move |mut invocation: Invocation, responder| {
            let context = invocation.take_context();
            let context = context.expect("with a lifecycle each invocation comes with one");
            handler(invocation, responder, context)
        };
        let result = Loop::new(plan).and_then(|own| own.run(handler));
        started.finish();
        result
    }

    /// Runs the init hooks, then registers all slots in a loop of the host's own, as without a lifecycle.
    ///
    /// This blocks until the hooks have run, which their [time limit](crate::Options) bounds, and in an
    /// environment that is snapshotted until it is restored. Signals are heard of from here on.
    ///
    /// Each invocation brings its context: [`Invocation::take_context`]. When the slots have ended,
    /// [`Slots::finish`] runs the shutdown hooks.
    ///
    /// # Errors
    ///
    /// As without a lifecycle; [`Error::Init`] if a hook fails, which has been reported then. The
    /// shutdown hooks have run if there is another error after the start.
    pub fn register(self, registry: &Registry, first: Token) -> Result<Slots, Error> {
        let token = Token(first.0 + self.plan.settings.slots);
        let waker = Waker::new(registry, token).map_err(Error::Poll)?;
        self.begin(registry, first, Arc::new(waker), true)
    }

    /// As [`register`](Self::register), with the waker of the host's loop.
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
        // The start may have taken its time.
        let now = Instant::now();
        match Slots::new(plan, registry, first, waker, own_waker, now) {
            Ok(slots) => {
                let mut slots = slots.with_started(started);
                slots.begin();
                Ok(slots)
            }
            Err(error) => {
                if let Some(started) = started {
                    started.finish();
                }
                Err(error)
            }
        }
    }

    /// Does what is to be done before the first invocation; nothing is started if the runtime was stopped
    /// meanwhile.
    fn start(self) -> Result<(Plan, Option<Started>), Error> {
        let Self { mut plan, lifecycle } = self;
        let stop = plan.stop.clone();
        let mut first = First { plan: &plan, restored: None };
        let started = Started::new(lifecycle, &plan.settings, move || stop.stop(), &mut first)?;
        plan.active = started.as_ref().map(|started| started.active.clone());
        Ok((plan, started))
    }
}

/// What is said before the first invocation, each time in a loop of its own; that of a restore is kept, as
/// it alone may say that the restore has failed.
struct First<'p> {
    plan: &'p Plan,
    restored: Option<Loop>,
}

impl Starting for First<'_> {
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
            // It comes behind a restore.
            None => Ok(()),
        }
    }
}
