//! One slot: a thread with a JavaScript runtime, which serves one invocation at a time.

mod freeze;

use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_host::Context;
use lambda_proto_host::lifecycle::Cancellation;
use lambda_proto_host::policy::Policy;
use lambda_proto_std::{
    ContentType, Error, Failure, InLifecycle, Invocation, Log, Response, StopHandle, Worker,
};
use rquickjs::{Ctx, IntoJs, Object, Promise, TypedArray, Value};

use crate::engine::{self, Engine, Turn, Unhandled};
use crate::hooks::{Hooks, Stage};
use crate::host::{Host, StreamState};
use crate::loader::Internals;
use crate::owners::Owner;
use crate::settings::{Mode, Settings};
use crate::times::Times;
use crate::watchdog::{self, TIMEOUT, Watchdog, timeout};
use crate::{handler, native};

/// The error type of a handler whose promise can never settle.
const NEVER_SETTLES: &str = "Function.NeverSettles";

/// The error type of a stream that the handler has not ended.
const NOT_ENDED: &str = "Function.StreamNotEnded";

/// What a slot does for the main thread.
pub(crate) enum Command {
    /// Serves invocations until the runtime is stopped, and returns the worker. A slot that ends
    /// with an error stops the others.
    Serve(Box<Worker<InLifecycle>>, StopHandle),
    /// Runs the hooks of a stage.
    Hooks(Stage, Sender<Result<(), Failure>>),
}

/// The worker of a slot that has ended, and how it has ended.
pub(crate) struct Served {
    pub(crate) worker: Worker<InLifecycle>,
    pub(crate) result: Result<(), End>,
}

/// Why a slot has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error(transparent)]
    Runtime(#[from] Error),
    #[error("work is left after the answer, which the policy treats as an error")]
    LeftBehind,
}

/// Stops the runtime when it is dropped after an error or by a panic.
struct StopsOthers {
    stop: StopHandle,
    has_failed: bool,
}

impl Drop for StopsOthers {
    fn drop(&mut self) {
        if self.has_failed {
            self.stop.stop();
        }
    }
}

/// Loads the function, tells the result of that, and carries out commands until there are no more.
pub(crate) fn run(
    settings: &Settings,
    watchdog: &Watchdog,
    started: Sender<Result<Hooks, Failure>>,
    commands: &Receiver<Command>,
    served: &Sender<Served>,
) {
    let host = Rc::new(Host::new(settings, Log::from_env(), started));
    let loader = Internals::default();
    let made = engine::runtime(settings, &host, &loader).and_then(|(runtime, rejections)| {
        Ok((rquickjs::Context::full(&runtime)?, runtime, rejections))
    });
    let (context, runtime, rejections) = match made {
        Ok(made) => made,
        Err(error) => {
            return host.has_started(Err(Failure::new("Function.OutOfMemory", error.to_string())));
        }
    };
    context.with(|ctx| {
        let engine = Engine::new(ctx.clone(), settings, &host, &loader, rejections);
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => {
                let message = format!("the runtime cannot start: {error}: {:?}", ctx.catch());
                return host.has_started(Err(Failure::new("Function.OutOfMemory", message)));
            }
        };
        let slot = Slot { settings, engine, host: host.clone(), watchdog: watchdog.slot() };
        let hooks = handler::load(&slot.engine, settings).and_then(|()| slot.hooks());
        match hooks {
            Ok(hooks) => host.has_started(Ok(hooks)),
            Err(failure) => return host.has_started(Err(failure)),
        }
        slot.carry_out(commands, served);
    });
    // The process ends soon, and to free every object would only take time.
    std::mem::forget((context, runtime));
}

struct Slot<'js, 's> {
    settings: &'s Settings,
    engine: Engine<'js>,
    host: Rc<Host>,
    watchdog: watchdog::Slot,
}

/// An invocation: its arguments, or the failure for an event that the function cannot take.
struct Taken<'js> {
    owner: Rc<Owner>,
    arguments: Result<(Value<'js>, Object<'js>), Failure>,
    context: Context,
}

impl<'js> Slot<'js, '_> {
    fn ctx(&self) -> &Ctx<'js> {
        &self.engine.ctx
    }

    fn hooks(&self) -> Result<Hooks, Failure> {
        let stages = [Stage::BeforeSnapshot, Stage::AfterRestore, Stage::Shutdown];
        let mut hooks = vec![];
        for stage in stages {
            let has = self.engine.call::<bool>("hasHooks", (stage.name(),));
            if has.map_err(|error| self.engine.failure(&error))? {
                hooks.push(stage);
            }
        }
        Ok(hooks)
    }

    fn carry_out(&self, commands: &Receiver<Command>, served: &Sender<Served>) {
        for command in commands {
            match command {
                Command::Serve(worker, stop) => {
                    self.host.worker.replace(Some(*worker));
                    let mut stops = StopsOthers { stop, has_failed: true };
                    let result = self.serve();
                    stops.has_failed = result.is_err();
                    drop(stops);
                    if let Some(worker) = self.host.worker.take() {
                        // The main thread waits for it.
                        let _ = served.send(Served { worker, result });
                    }
                }
                Command::Hooks(stage, done) => {
                    self.host.hooks_done.replace(Some(done));
                    let result = self.run_hooks(stage);
                    if let Some(done) = self.host.hooks_done.take() {
                        // Nobody waits for hooks that take too long.
                        let _ = done.send(result);
                    }
                }
            }
        }
    }

    /// Runs the hooks of a stage, with the timers that they need.
    fn run_hooks(&self, stage: Stage) -> Result<(), Failure> {
        let owner = Rc::default();
        self.host.time.limit(None);
        let turn = self
            .engine
            .turn(&owner, || self.engine.call::<Promise<'js>>("runHooks", (stage.name(),)));
        let promise = turn.result?;
        loop {
            if let Some(result) = self.engine.settled(&promise) {
                return result.map(drop);
            }
            if self.engine.wait_for_timer().is_none() {
                let message =
                    format!("a {} hook awaits a promise that can never settle", stage.name());
                return Err(Failure::new(NEVER_SETTLES, message));
            }
        }
    }

    fn serve(&self) -> Result<(), End> {
        while let Some(taken) = self.next()? {
            let times = Times::of(&taken.context);
            if let Some(times) = times {
                self.watchdog.watch(times.give_up_at, times.deadline);
            }
            self.host.time.limit(times.map(|times| times.limits(times.cancel_at)));
            let cancellation = taken.context.cancellation();
            let answered = taken
                .arguments
                .and_then(|arguments| self.invoke(&taken.owner, arguments, times, &cancellation));
            if let Err(failure) = answered {
                self.answers(times);
                self.host.leave_stream(None);
                self.host.with_worker(|worker| worker.fail(&failure));
                if failure.reported_type() == "Function.OutOfMemory" {
                    self.ctx().run_gc();
                }
            }
            let frozen = self.freeze_point(&taken.owner, times, &cancellation);
            self.watchdog.rest();
            let _forgotten = self.engine.call::<()>("forget", ());
            frozen?;
        }
        Ok(())
    }

    /// Lets the answer take the rest of the time: the code has come back.
    fn answers(&self, times: Option<Times>) {
        if let Some(Times { deadline, .. }) = times {
            self.watchdog.watch(deadline, deadline);
        }
    }

    /// Waits for the next invocation.
    fn next(&self) -> Result<Option<Taken<'js>>, Error> {
        let mut worker = self.host.worker.borrow_mut();
        let Some(worker) = worker.as_mut() else { return Ok(None) };
        let Some((invocation, _, context)) = worker.next()? else { return Ok(None) };
        let number = self.host.invocation.borrow().number + 1;
        let owner = Rc::new(Owner { number, request_id: invocation.request_id().to_owned() });
        *self.host.invocation.borrow_mut() = owner.clone();
        self.host.limit.set(Some(context.time_limit()));
        self.host.stream.set(StreamState::None);
        self.host.owners.begin(&owner);
        // Those of the last invocation are over.
        self.host.time.limit(None);
        let arguments = self.arguments(&invocation);
        Ok(Some(Taken { owner, arguments, context }))
    }

    /// The event, and the fields of the context.
    fn arguments(&self, invocation: &Invocation<'_>) -> Result<(Value<'js>, Object<'js>), Failure> {
        let ctx = self.ctx();
        let body = invocation.body();
        let event = if self.settings.mode == Mode::Raw {
            TypedArray::<u8>::new_copy(ctx.clone(), body).map(TypedArray::into_value)
        } else {
            std::str::from_utf8(body).map_err(Failure::unmarshal)?;
            ctx.json_parse(body)
        };
        let event = event.map_err(|error| {
            let failure = self.engine.failure(&error);
            match failure.reported_type() {
                "Function.OutOfMemory" => failure,
                _ => Failure::unmarshal(failure.message()),
            }
        })?;
        let fields = self.fields(invocation).map_err(|error| self.engine.failure(&error))?;
        Ok((event, fields))
    }

    fn fields(&self, invocation: &Invocation<'_>) -> rquickjs::Result<Object<'js>> {
        let fields = Object::new(self.ctx().clone())?;
        let text = |name: &str, bytes: Option<&[u8]>| match bytes {
            Some(bytes) => fields.set(name, String::from_utf8_lossy(bytes).as_ref()),
            None => Ok(()),
        };
        fields.set("awsRequestId", invocation.request_id())?;
        text("invokedFunctionArn", invocation.invoked_function_arn().map(str::as_bytes))?;
        // The second name is that of Node's context.
        for name in ["traceId", "xRayTraceId"] {
            text(name, invocation.trace_id().map(str::as_bytes))?;
        }
        text("tenantId", invocation.tenant_id().map(str::as_bytes))?;
        text("attemptId", invocation.attempt_id())?;
        text("contentType", invocation.content_type().as_ref().map(ContentType::as_bytes))?;
        text("clientContext", invocation.client_context())?;
        text("identity", invocation.cognito_identity())?;
        if let Some(deadline) = invocation.deadline() {
            fields.set("deadline", deadline.as_unix_millis() as f64)?;
        }
        let trace_id = invocation.trace_id().map(str::to_owned).into_js(self.ctx())?;
        let () = self.engine.call("traceId", (trace_id,))?;
        Ok(fields)
    }

    /// Calls the handler, and runs the event loop until it has answered.
    fn invoke(
        &self,
        owner: &Rc<Owner>,
        (event, fields): (Value<'js>, Object<'js>),
        times: Option<Times>,
        cancellation: &Cancellation,
    ) -> Result<(), Failure> {
        let turn =
            self.engine.turn(owner, || self.engine.call::<Promise<'js>>("call", (event, fields)));
        self.check(owner, &turn)?;
        let promise = turn.result?;
        let mut is_cancelled = false;
        loop {
            let settled = self.engine.settled(&promise);
            let is_settled = settled.is_some();
            match settled {
                Some(Err(failure)) => return Err(failure),
                Some(Ok(result)) if self.is_answered(&result, times)? => return Ok(()),
                _ => {}
            }
            // Then only the connection is waited for.
            let has_ended = is_settled && self.host.stream.get() == StreamState::Ended;
            let now = Instant::now();
            let must_end = times.is_some_and(|times| now >= times.end_at);
            if is_cancelled && must_end {
                if has_ended {
                    self.answers(times);
                    self.host.leave_stream(None);
                    return Ok(());
                }
                return Err(timeout());
            }
            let is_due =
                times.map_or_else(|| cancellation.is_cancelled(), |times| now >= times.cancel_at);
            if !is_cancelled && is_due {
                is_cancelled = true;
                // What the signal starts has the time until the end.
                self.host.time.limit(times.map(|times| times.limits(times.end_at)));
                if !has_ended {
                    let turn = self.engine.turn(owner, || self.engine.call::<()>("cancel", ()));
                    self.check(owner, &turn)?;
                }
                continue;
            }
            if let Some(news) = self.host.stream_news() {
                let arguments = (news.written, news.is_over, news.ended.is_some());
                let turn =
                    self.engine.turn(owner, || self.engine.call::<()>("streamed", arguments));
                self.check(owner, &turn)?;
                turn.result?;
                // News that comes as fast as it is taken leaves timers their turns.
                if let Some(turn) = self.engine.fire_due() {
                    self.check(owner, &turn)?;
                }
                continue;
            }
            // With a deadline, its moments are awaited. What has fired is not awaited again.
            let cancelled = (times.is_none() && !is_cancelled).then_some(cancellation);
            let limit =
                times.map(|times| if is_cancelled { times.end_at } else { times.cancel_at });
            let Some(at) = self.host.timers.borrow().next() else {
                let has_signal = self.awaits_signal() && !is_cancelled;
                if has_signal || self.host.writer.is_at_work() {
                    self.sleep(limit, cancelled);
                    continue;
                }
                return Err(self.never_settles(&promise));
            };
            if at <= now {
                if let Some(turn) = self.engine.fire_due() {
                    self.check(owner, &turn)?;
                }
                continue;
            }
            self.sleep(Some(limit.map_or(at, |limit| at.min(limit))), cancelled);
        }
    }

    fn awaits_signal(&self) -> bool {
        self.engine.call("awaitsSignal", ()).unwrap_or(false)
    }

    /// Sleeps until this moment, until the cancellation fires, or until there is news of the stream.
    fn sleep(&self, until: Option<Instant>, cancellation: Option<&Cancellation>) {
        if self.host.writer.is_at_work() {
            return self.host.writer.wait(until, cancellation);
        }
        let left =
            until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        match cancellation {
            // It would not wait any more.
            Some(cancellation) if cancellation.is_cancelled() => {
                thread::sleep(left.min(Duration::from_millis(10)));
            }
            Some(cancellation) => _ = cancellation.wait(left),
            None => thread::sleep(left),
        }
    }

    /// The failure of a handler that nothing can settle.
    fn never_settles(&self, promise: &Promise<'js>) -> Failure {
        let is_settled = self.engine.settled(promise).is_some();
        let (error_type, what) = if is_settled {
            (NOT_ENDED, "the handler has settled, but has not ended its stream")
        } else {
            (NEVER_SETTLES, "the handler awaits a promise that can never settle")
        };
        Failure::new(error_type, format!("{what}: no timer is left that could do it"))
    }

    /// Finds out what a turn means for the invocation, apart from the result of its macrotask.
    fn check<T>(&self, current: &Rc<Owner>, turn: &Turn<T>) -> Result<(), Failure> {
        if turn.is_stuck {
            let message = "the time of the invocation is over, and its jobs queue each other \
                           without an end, so the process was ended";
            self.host.end(&Failure::new(TIMEOUT, message), 1);
        }
        for owner in turn.interrupted.iter().filter(|owner| !Rc::ptr_eq(owner, current)) {
            self.host.unhandled(owner, "late work was interrupted", &timeout());
        }
        if turn.interrupted.iter().any(|owner| Rc::ptr_eq(owner, current)) {
            return Err(timeout());
        }
        if self.settings.policy == Policy::Strict {
            let own = |unhandled: &&Unhandled| Rc::ptr_eq(&unhandled.owner, current);
            if let Some(unhandled) = turn.unhandled.iter().find(own) {
                return Err(unhandled.failure.clone());
            }
        }
        Ok(())
    }

    /// Sends the result of the handler. Returns `false` if its stream is still open.
    fn is_answered(&self, result: &Value<'js>, times: Option<Times>) -> Result<bool, Failure> {
        if result.is_undefined() {
            return Ok(self.host.is_streamed());
        }
        let of_error = |error| self.engine.failure(&error);
        let answer = if let Some(text) = result.as_string() {
            (text.to_string().map_err(of_error)?.into_bytes(), Some("application/json".to_owned()))
        } else {
            let raw = result.as_object().ok_or(rquickjs::Error::Unknown).map_err(of_error)?;
            let body = raw.get("body").and_then(|body| native::bytes_of(&body));
            (body.map_err(of_error)?, raw.get("contentType").map_err(of_error)?)
        };
        let (body, named) = answer;
        let content_type = match &named {
            Some(name) => ContentType::from_bytes(name.as_bytes()).map_err(|error| {
                let message = format!("the content type of a response: {error}");
                Failure::new("Runtime.MarshalError", message)
            })?,
            None => ContentType::OCTET_STREAM,
        };
        let response = Response::new(body.as_slice()).content_type(content_type);
        self.answers(times);
        self.host.with_worker(|worker| worker.send(response));
        Ok(true)
    }
}
