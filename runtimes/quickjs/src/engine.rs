//! A JavaScript runtime and its event loop: macrotasks, each with an owner, and their jobs.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;
use std::time::Instant;

use lambda_proto_std::{Environment, Failure};
use rquickjs::context::EvalOptions;
use rquickjs::promise::{PromiseHookType, PromiseState};
use rquickjs::{
    Ctx, FromJs, Function, IntoJs, Object, Persistent, Promise, Result, Runtime, Value,
};

use crate::failure;
use crate::host::Host;
use crate::loader::Internals;
use crate::native;
use crate::owners::Owner;
use crate::settings::{Mode, Settings};
use crate::watchdog::timeout;

/// The stack of JavaScript, in bytes. The thread's own is larger, for native functions.
const STACK: usize = 4 * 1024 * 1024;

/// The JavaScript of the runtime itself, in the order of its evaluation.
const PRELUDE: [(&str, &str); 6] = [
    ("modules", include_str!("prelude/modules.js")),
    ("console", include_str!("prelude/console.js")),
    ("events", include_str!("prelude/events.js")),
    ("web", include_str!("prelude/web.js")),
    ("url", include_str!("prelude/url.js")),
    ("stream", include_str!("prelude/stream.js")),
];

/// A promise that was rejected without a handler.
struct Rejection {
    promise: Persistent<Value<'static>>,
    reason: Persistent<Value<'static>>,
    owner: Rc<Owner>,
}

/// The promises that were rejected without a handler since the last look.
pub(crate) type Rejections = Rc<RefCell<Vec<RejectedPromise>>>;

/// See [`Rejections`].
pub(crate) struct RejectedPromise(Rejection);

/// A failure that no code handles, and its invocation.
pub(crate) struct Unhandled {
    pub(crate) owner: Rc<Owner>,
    pub(crate) failure: Failure,
}

/// What became of a macrotask and its jobs.
pub(crate) struct Turn<T> {
    pub(crate) result: std::result::Result<T, Failure>,
    /// The invocations whose code was interrupted because its time was over.
    pub(crate) interrupted: Vec<Rc<Owner>>,
    /// Whether jobs are left, because they queue each other without an end.
    pub(crate) is_stuck: bool,
    /// The rejections that no code handles, which have been logged.
    pub(crate) unhandled: Vec<Unhandled>,
}

/// A JavaScript runtime with the prelude.
pub(crate) struct Engine<'js> {
    pub(crate) ctx: Ctx<'js>,
    pub(crate) host: Rc<Host>,
    pub(crate) internals: Object<'js>,
    rejections: Rejections,
}

/// Makes a JavaScript runtime with the limits of a slot.
///
/// # Errors
///
/// If the memory does not suffice.
pub(crate) fn runtime(
    settings: &Settings,
    host: &Rc<Host>,
    internals: &Internals,
) -> Result<(Runtime, Rejections)> {
    let runtime = Runtime::new()?;
    if let Some(memory) = settings.memory {
        runtime.set_memory_limit(memory);
    }
    runtime.set_max_stack_size(STACK);
    let (time, running) = (host.time.clone(), host.owners.clone());
    let must_interrupt = move || time.must_interrupt(|| running.current());
    runtime.set_interrupt_handler(Some(Box::new(must_interrupt)));
    runtime.set_loader(internals.clone(), internals.clone());
    let rejections = Rejections::default();
    let (noted, owners) = (rejections.clone(), host.owners.clone());
    runtime.set_host_promise_rejection_tracker(Some(Box::new(
        move |ctx, promise, reason, is_handled| {
            let promise = Persistent::save(&ctx, promise);
            let mut noted = noted.borrow_mut();
            if is_handled {
                noted.retain(|RejectedPromise(rejection)| rejection.promise != promise);
            } else {
                let reason = Persistent::save(&ctx, reason);
                noted.push(RejectedPromise(Rejection { promise, reason, owner: owners.current() }));
            }
        },
    )));
    let owners = host.owners.clone();
    runtime.set_promise_hook(Some(Box::new(move |ctx, kind, _, _| {
        if kind == PromiseHookType::Init {
            owners.has_new_promise(&ctx);
        }
    })));
    Ok((runtime, rejections))
}

impl<'js> Engine<'js> {
    /// Evaluates the prelude.
    ///
    /// # Errors
    ///
    /// If the memory does not suffice.
    pub(crate) fn new(
        ctx: Ctx<'js>,
        settings: &Settings,
        host: &Rc<Host>,
        loader: &Internals,
        rejections: Rejections,
    ) -> Result<Self> {
        let native = native::object(&ctx, host, loader)?;
        let core: Function<'js> = script(&ctx, "core", include_str!("prelude/core.js"))?;
        let internals: Object<'js> = core.call((native, described(&ctx, settings)?))?;
        for (name, source) in PRELUDE {
            let part: Function<'js> = script(&ctx, name, source)?;
            let () = part.call((internals.clone(),))?;
        }
        *loader.0.borrow_mut() = Some(Persistent::save(&ctx, internals.clone()));
        Ok(Self { ctx, host: host.clone(), internals, rejections })
    }

    /// Calls a function of the prelude.
    ///
    /// # Errors
    ///
    /// What it throws.
    pub(crate) fn call<T: FromJs<'js>>(
        &self,
        name: &str,
        arguments: impl rquickjs::function::IntoArgs<'js>,
    ) -> Result<T> {
        self.internals.get::<_, Function<'js>>(name)?.call(arguments)
    }

    /// The failure for an error of the library; a timeout if the code was interrupted, or what
    /// describes its error.
    pub(crate) fn failure(&self, error: &rquickjs::Error) -> Failure {
        let failure = failure::of_error(&self.ctx, &self.internals, error);
        if self.host.time.has_interrupted() { timeout() } else { failure }
    }

    /// The result of a promise; `None` while it is pending.
    pub(crate) fn settled(
        &self,
        promise: &Promise<'js>,
    ) -> Option<std::result::Result<Value<'js>, Failure>> {
        if promise.state() == PromiseState::Pending {
            return None;
        }
        let result = promise.result::<Value<'js>>();
        let result = result.map(|result| result.map_err(|error| self.failure(&error)));
        // The failure says it.
        let _interrupted = self.host.time.take_interrupted();
        result
    }

    /// Runs a macrotask of this owner, and then all jobs that it leads to.
    pub(crate) fn turn<T>(&self, owner: &Rc<Owner>, work: impl FnOnce() -> Result<T>) -> Turn<T> {
        self.host.owners.begin(owner);
        let mut result = work().map_err(|error| self.failure(&error));
        let mut is_stuck = false;
        loop {
            if let Err(error) = self.host.owners.end_job(&self.ctx) {
                result = result.and(Err(self.failure(&error)));
            }
            // Before the job: the last one may have taken the time.
            let is_late = self.host.time.is_stuck();
            if !self.ctx.execute_pending_job() {
                break;
            }
            if is_late {
                is_stuck = true;
                break;
            }
        }
        let interrupted = self.host.time.take_interrupted();
        Turn { result, interrupted, is_stuck, unhandled: self.judge() }
    }

    /// Logs the rejections that no code has handled until the end of a turn.
    fn judge(&self) -> Vec<Unhandled> {
        let rejections = self.rejections.take();
        let unhandled = rejections.into_iter().filter_map(|RejectedPromise(rejection)| {
            let reason = rejection.reason.restore(&self.ctx).ok()?;
            let failure = failure::of_thrown(&self.internals, reason);
            let was_interrupted = !self.host.time.take_interrupted().is_empty();
            let failure = if was_interrupted { timeout() } else { failure };
            let owner = rejection.owner;
            self.host.unhandled(&owner, "a promise was rejected, and nothing handles it", &failure);
            Some(Unhandled { owner, failure })
        });
        unhandled.collect()
    }

    /// Sleeps until the next timer is due, and fires it; `None` if there is none.
    pub(crate) fn wait_for_timer(&self) -> Option<Turn<()>> {
        let at = self.host.timers.borrow().next()?;
        thread::sleep(at.saturating_duration_since(Instant::now()));
        self.fire_due()
    }

    /// Fires the next timer if it is due.
    pub(crate) fn fire_due(&self) -> Option<Turn<()>> {
        let now = Instant::now();
        let mut timer = self.host.timers.borrow_mut().take_due(now)?;
        let (id, owner) = (timer.id, timer.owner.clone());
        if let Some(every) = timer.every {
            self.host.timers.borrow_mut().set(timer, now + every);
        } else if let Some(token) = timer.token.take() {
            self.host.work.borrow_mut().end(token);
        }
        let mut turn = self.turn(&owner, || self.call::<()>("fire", (id,)));
        if let Err(failure) = &turn.result
            && turn.interrupted.is_empty()
        {
            self.host.unhandled(&owner, "a timer has thrown an error", failure);
            turn.unhandled.push(Unhandled { owner, failure: failure.clone() });
        }
        Some(turn)
    }
}

/// Evaluates a part of the prelude, which is a function.
fn script<'js, T: FromJs<'js>>(ctx: &Ctx<'js>, name: &str, source: &str) -> Result<T> {
    let mut options = EvalOptions::default();
    options.filename = Some(format!("lambda-quickjs:{name}"));
    ctx.eval_with_options(source, options)
}

/// The settings, as the prelude reads them.
fn described<'js>(ctx: &Ctx<'js>, settings: &Settings) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("mode", if settings.mode == Mode::Raw { "raw" } else { "json" })?;
    object.set("taskRoot", settings.task_root.to_string_lossy().as_ref())?;
    let environment = Environment::of_process();
    let context = Object::new(ctx.clone())?;
    let text = |value: Option<&str>| value.map(str::to_owned).into_js(ctx);
    context.set("functionName", text(environment.function_name())?)?;
    context.set("functionVersion", text(environment.function_version())?)?;
    // A string, as in Node.
    let memory = environment.memory_size_mb().map(|megabytes| megabytes.to_string());
    context.set("memoryLimitInMB", memory)?;
    context.set("logGroupName", text(environment.log_group())?)?;
    context.set("logStreamName", text(environment.log_stream())?)?;
    object.set("context", context)?;
    Ok(object)
}
