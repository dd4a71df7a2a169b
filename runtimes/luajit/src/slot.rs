//! One slot: a thread with a Lua state, which serves one invocation at a time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender};

use std::time::Instant;

use lambda_proto_host::Task;
use lambda_proto_std::{ContentType, Error, Failure, InLifecycle, Level, Log, Response, Worker};
use mlua::{Function, LuaString, Table, Value};

use crate::hooks::{Hooks, Stage};
use crate::host::{Host, Work};
use crate::interpreter::{Interpreter, warn_of_duplicate};
use crate::settings::{Mode, Settings};
use crate::watchdog::{self, Limits, TIMEOUT, Watchdog};
use crate::{context, failure, handler};

/// What a slot does for the main thread.
pub(crate) enum Command {
    /// Serves invocations until the runtime is stopped, and returns the worker.
    Serve(Box<Worker<InLifecycle>>),
    /// Runs the hooks of a stage, and interrupts them at this moment.
    Hooks(Stage, Instant, Sender<Result<(), Failure>>),
}

/// The worker of a slot that has ended, and how it has ended.
pub(crate) struct Served {
    pub(crate) worker: Worker<InLifecycle>,
    pub(crate) result: Result<(), Error>,
}

/// Loads the function, tells the result of that, and carries out commands until there are no more.
pub(crate) fn run(
    settings: &Settings,
    watchdog: &Watchdog,
    started: Sender<Result<Hooks, Failure>>,
    commands: &Receiver<Command>,
    served: &Sender<Served>,
) {
    let host = Rc::new(Host::new(Log::from_env(), started));
    let loaded = Slot::load(settings, &host, watchdog);
    host.end_line();
    let slot = match loaded {
        Ok((slot, hooks)) => {
            host.has_started(Ok(hooks));
            slot
        }
        Err(failure) => return host.has_started(Err(failure)),
    };
    for command in commands {
        match command {
            Command::Serve(worker) => {
                host.worker.replace(Some(*worker));
                let result = slot.serve();
                if let Some(worker) = host.worker.take() {
                    // The main thread waits for it.
                    let _ = served.send(Served { worker, result });
                }
            }
            Command::Hooks(stage, interrupt_at, done) => {
                host.hooks_done.replace(Some(done));
                let result = slot.run_hooks(stage, Limits::until(interrupt_at));
                if let Some(done) = host.hooks_done.take() {
                    // Nobody waits for hooks that take too long.
                    let _ = done.send(result);
                }
            }
        }
    }
}

struct Slot<'s> {
    settings: &'s Settings,
    host: Rc<Host>,
    function: Loaded,
    watchdog: watchdog::Slot,
    /// The latest JSON response.
    json: RefCell<Vec<u8>>,
    /// Work that had no time, until the policy has decided about it.
    left_behind: RefCell<Vec<Task>>,
}

/// The function.
enum Loaded {
    /// A Lua function that is called for each event.
    Handler { interpreter: Box<Interpreter>, handler: Function, common: Table },
    /// A script that is run for each event, in a new state.
    Script,
}

/// A response that is ready to be sent.
enum Answer {
    /// The bytes in [`Slot::json`].
    Json,
    /// Bytes and their content type; `application/octet-stream` if there is none.
    Raw(LuaString, Option<LuaString>),
    /// The end of the stream that the handler has begun.
    Stream,
}

impl<'s> Slot<'s> {
    fn load(
        settings: &'s Settings,
        host: &Rc<Host>,
        watchdog: &Watchdog,
    ) -> Result<(Self, Hooks), Failure> {
        let interpreter = new_state(settings, host)?;
        let mut hooks = vec![];
        let function = if settings.mode == Mode::Script {
            // Only to find errors now.
            handler::load_script(&interpreter, settings)?;
            Loaded::Script
        } else {
            let handler = handler::load(&interpreter, settings)?;
            hooks = interpreter.hooks();
            interpreter.make_room();
            let common =
                context::common(&interpreter).map_err(|error| failure::of_error(&error))?;
            Loaded::Handler { interpreter: Box::new(interpreter), handler, common }
        };
        let (host, json) = (host.clone(), RefCell::default());
        let (watchdog, left_behind) = (watchdog.slot(), RefCell::default());
        Ok((Self { settings, host, function, watchdog, json, left_behind }, hooks))
    }

    fn run_hooks(&self, stage: Stage, limits: Limits) -> Result<(), Failure> {
        let Loaded::Handler { interpreter, .. } = &self.function else { return Ok(()) };
        self.watch(interpreter, Some(limits), || interpreter.run_hooks(stage))
    }

    fn serve(&self) -> Result<(), Error> {
        while let Some(event) = self.next()? {
            let answered = match &self.function {
                Loaded::Handler { interpreter, handler, common } => {
                    let answer = self.invoke(interpreter, handler, common);
                    answer.and_then(|answer| self.answer(answer))
                }
                Loaded::Script => self.run_script(&event),
            };
            self.host.end_line();
            if let Err(failure) = answered {
                self.host.with_worker(|worker| worker.fail(failure));
            }
            if let Loaded::Handler { interpreter, .. } = &self.function {
                self.run_work(interpreter);
                if interpreter.is_over_half() {
                    self.watchdog.guard(self.limits(), || interpreter.make_room());
                    self.host.end_line();
                }
            }
        }
        Ok(())
    }

    /// Waits for the next invocation, and returns the event if the function is a script.
    fn next(&self) -> Result<Option<Vec<u8>>, Error> {
        let mut worker = self.host.worker.borrow_mut();
        let Some(worker) = worker.as_mut() else { return Ok(None) };
        let Some((invocation, _, context)) = worker.next()? else { return Ok(None) };
        // The policy has decided about it.
        self.left_behind.borrow_mut().clear();
        self.host.is_streaming.set(false);
        self.host.invocation.set(self.host.invocation.get() + 1.0);
        self.host.context.replace(Some(context));
        context::note(&self.host, &invocation);
        Ok(Some(match self.function {
            Loaded::Handler { .. } => vec![],
            Loaded::Script => invocation.body().to_vec(),
        }))
    }

    /// The limits of the current invocation.
    fn limits(&self) -> Option<Limits> {
        self.host.context.borrow().as_ref().and_then(Limits::of)
    }

    /// Calls the handler, and makes its response.
    fn invoke(
        &self,
        interpreter: &Interpreter,
        handler: &Function,
        common: &Table,
    ) -> Result<Answer, Failure> {
        // Finalizers run whenever Lua needs memory, so all of this is watched.
        self.watch(interpreter, self.limits(), || {
            let arguments = self.arguments(interpreter, common)?;
            let (result, more) = interpreter.call(handler, arguments)?;
            self.prepare(interpreter, &result, more)
        })
    }

    fn arguments(
        &self,
        interpreter: &Interpreter,
        common: &Table,
    ) -> Result<(Value, Table), Failure> {
        let worker = self.host.worker.borrow();
        let invocation = worker.as_ref().and_then(Worker::invocation);
        let none = || Failure::new("Runtime.NoInvocation", "there is no invocation");
        let invocation = invocation.ok_or_else(none)?;
        let event = if self.settings.mode == Mode::Raw {
            let text = interpreter.lua.create_string(invocation.body());
            Value::String(text.map_err(|error| failure::of_error(&error))?)
        } else {
            let read = interpreter.json.read(&interpreter.lua, invocation.body());
            let read = read.map_err(|error| failure::of_read(&error))?;
            warn_of_duplicate(&self.host, read.duplicate.as_deref());
            read.value
        };
        let (mode, number) = (self.settings.mode, self.host.invocation.get());
        let table = context::of(interpreter, mode, common, &invocation, number)
            .map_err(|error| failure::of_context(&error))?;
        Ok((event, table))
    }

    /// Runs Lua code under the eye of the watchdog.
    fn watch<T>(
        &self,
        interpreter: &Interpreter,
        limits: Option<Limits>,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let watched = self.watchdog.watch(&interpreter.lua, limits, work);
        // Before the answer, as the caller may look into the log then.
        self.host.end_line();
        let (result, is_interrupted) = watched.map_err(|error| failure::of_error(&error))?;
        match (result, is_interrupted) {
            (Err(failure), true) => Err(failure.error_type(TIMEOUT)),
            // The code has caught the error and returned before it was raised again.
            (Ok(_), true) => Err(Failure::new(TIMEOUT, "the time of the invocation is over")),
            (result, false) => result,
        }
    }

    /// Runs the work after the response, until it is done or its time is over. What had no time is
    /// kept until the policy has decided about it, in [`next`](Self::next).
    fn run_work(&self, interpreter: &Interpreter) {
        let take = || self.host.work.borrow_mut().pop_front();
        while let Some(Work { name, function, task }) = take() {
            let has_deadline = self.limits().is_some();
            let context = self.host.context.borrow();
            let limits = context.as_ref().and_then(|it| Limits::before(it, self.settings.reserve));
            drop(context);
            if has_deadline && limits.is_none() {
                self.left_behind.borrow_mut().push(task);
                continue;
            }
            let result = self.watch(interpreter, limits, || interpreter.call(&function, ()));
            let Err(failure) = result else { continue };
            let what = format_args!("the work {name:?} after the response failed");
            let request_id = self.host.request_id.borrow();
            self.host.log.failure(Level::Error, &request_id, what, &failure);
            if failure.reported_type() == TIMEOUT {
                self.left_behind.borrow_mut().push(task);
            }
        }
    }

    /// Makes the response of the results of a handler.
    fn prepare(
        &self,
        interpreter: &Interpreter,
        result: &Value,
        more: Value,
    ) -> Result<Answer, Failure> {
        if self.host.is_streaming.get() {
            return Ok(Answer::Stream);
        }
        if self.settings.mode == Mode::Json {
            let mut json = self.json.borrow_mut();
            json.clear();
            let written = interpreter.json.write(&interpreter.lua, result, &mut json);
            written.map_err(|error| failure::of_write(&error))?;
            return Ok(Answer::Json);
        }
        let wrong = |reason| Failure::new("Runtime.MarshalError", reason);
        let Value::String(body) = result else {
            let kind = result.type_name();
            return Err(wrong(format!("a raw handler returned a {kind}, not a string")));
        };
        let named = match more {
            Value::Nil => None,
            Value::String(name) => Some(name),
            other => {
                let kind = other.type_name();
                return Err(wrong(format!(
                    "the content type of a response is a {kind}, not a string"
                )));
            }
        };
        Ok(Answer::Raw(body.clone(), named))
    }

    /// Sends a response. This is not watched, as it takes long where the network is slow.
    fn answer(&self, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Json => {
                let json = self.json.borrow();
                self.send(Response::new(json.as_slice()).content_type(ContentType::JSON));
            }
            Answer::Raw(body, named) => {
                let named = named.as_ref().map(LuaString::as_bytes);
                let content_type = named.as_ref().map_or(Ok(ContentType::OCTET_STREAM), |name| {
                    ContentType::from_bytes(name).map_err(|error| {
                        let reason = format!("the content type of a response: {error}");
                        Failure::new("Runtime.MarshalError", reason)
                    })
                });
                self.send(Response::new(&*body.as_bytes()).content_type(content_type?));
            }
            Answer::Stream => {
                // The handler may have finished it.
                self.host.with_worker(Worker::finish);
            }
        }
        Ok(())
    }

    fn send(&self, response: Response<'_>) {
        self.host.with_worker(|worker| worker.send(response));
    }

    /// Runs the script as a program of its own: the event is its argument, its output the response.
    fn run_script(&self, event: &[u8]) -> Result<(), Failure> {
        self.host.begin_script();
        let ran = self.run_in_new_state(event);
        let (mut output, exit) = self.host.end_script();
        match (exit, ran) {
            (Some(0), _) | (None, Ok(())) => {}
            (None, Err(failure)) => return Err(failure),
            (Some(code), _) => {
                return Err(Failure::new(
                    "Function.Exit",
                    format!("the script called os.exit({code})"),
                ));
            }
        }
        // As the shell's `$(…)`.
        let end = output.iter().rposition(|&byte| byte != b'\n').map_or(0, |last| last + 1);
        output.truncate(end);
        self.send(Response::new(output).content_type(ContentType::JSON));
        Ok(())
    }

    fn run_in_new_state(&self, event: &[u8]) -> Result<(), Failure> {
        let of_error = |error| failure::of_error(&error);
        let interpreter = new_state(self.settings, &self.host)?;
        let (file, script) = handler::load_script(&interpreter, self.settings)?;
        let event = interpreter.lua.create_string(event).map_err(of_error)?;
        let arguments = interpreter.lua.create_table().map_err(of_error)?;
        arguments.raw_set(0, file).map_err(of_error)?;
        arguments.raw_set(1, &event).map_err(of_error)?;
        interpreter.lua.globals().raw_set("arg", arguments).map_err(of_error)?;
        let call = || interpreter.call(&script, event).map(drop);
        let result = self.watch(&interpreter, self.limits(), call);
        // Its end calls finalizers.
        self.watchdog.guard(self.limits(), move || drop(interpreter));
        result
    }
}

fn new_state(settings: &Settings, host: &Rc<Host>) -> Result<Interpreter, Failure> {
    Interpreter::new(settings, host.clone()).map_err(|error| failure::of_error(&error))
}
