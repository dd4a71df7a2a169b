//! One slot: a thread with a Lua state, which serves one invocation at a time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender};

use lambda_proto_host::Context;
use lambda_proto_std::{
    ContentType, Error, Failure, InLifecycle, Invocation, Log, Response, Worker,
};
use mlua::{Function, Table, Value};

use crate::hooks::{Hooks, Stage};
use crate::host::Host;
use crate::interpreter::{Interpreter, warn_of_duplicate};
use crate::settings::{Mode, Settings};
use crate::watchdog::{self, TIMEOUT, Watchdog};
use crate::{context, failure, handler};

/// What a slot does for the main thread.
pub(crate) enum Command {
    /// Serves invocations until the runtime is stopped, and returns the worker.
    Serve(Box<Worker<InLifecycle>>),
    /// Runs the hooks of a stage.
    Hooks(Stage, Sender<Result<(), Failure>>),
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
            Command::Hooks(stage, done) => {
                host.hooks_done.replace(Some(done));
                let result = slot.run_hooks(stage);
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
}

/// The function.
enum Loaded {
    /// A Lua function that is called for each event.
    Handler { interpreter: Box<Interpreter>, handler: Function, common: Table },
    /// A script that is run for each event, in a new state.
    Script,
}

/// The event and its context, as the function takes them.
enum Arguments {
    Handler(Value, Table),
    Script(Vec<u8>),
}

/// An invocation: its arguments, or the failure for an event that the function cannot take.
type Taken = (Result<Arguments, Failure>, Context);

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
        Ok((Self { settings, host, function, watchdog: watchdog.slot(), json }, hooks))
    }

    fn run_hooks(&self, stage: Stage) -> Result<(), Failure> {
        let result = match &self.function {
            Loaded::Handler { interpreter, .. } => interpreter.run_hooks(stage),
            Loaded::Script => Ok(()),
        };
        self.host.end_line();
        result
    }

    fn serve(&self) -> Result<(), Error> {
        while let Some((arguments, context)) = self.next()? {
            let answered = arguments.and_then(|arguments| match (&self.function, arguments) {
                (
                    Loaded::Handler { interpreter, handler, .. },
                    Arguments::Handler(event, table),
                ) => self
                    .call(interpreter, handler, (event, table), &context)
                    .and_then(|(result, more)| self.answer(interpreter, &result, &more)),
                (_, Arguments::Script(event)) => self.run_script(&event, &context),
                (Loaded::Script, Arguments::Handler(..)) => Ok(()),
            });
            self.host.end_line();
            if let Err(failure) = answered {
                self.host.with_worker(|worker| worker.fail(failure));
            }
            if let Loaded::Handler { interpreter, .. } = &self.function {
                interpreter.make_room();
                self.host.end_line();
            }
        }
        Ok(())
    }

    /// Waits for the next invocation.
    fn next(&self) -> Result<Option<Taken>, Error> {
        let mut worker = self.host.worker.borrow_mut();
        let Some(worker) = worker.as_mut() else { return Ok(None) };
        let Some((invocation, _, context)) = worker.next()? else { return Ok(None) };
        self.host.is_streaming.set(false);
        self.host.invocation.set(self.host.invocation.get() + 1.0);
        context::note(&self.host, &invocation);
        let arguments = self.arguments(&invocation, &context);
        Ok(Some((arguments, context)))
    }

    fn arguments(
        &self,
        invocation: &Invocation<'_>,
        context: &Context,
    ) -> Result<Arguments, Failure> {
        let Loaded::Handler { interpreter, common, .. } = &self.function else {
            return Ok(Arguments::Script(invocation.body().to_vec()));
        };
        let of_error = |error| failure::of_error(&error);
        let event = if self.settings.mode == Mode::Raw {
            let text = interpreter.lua.create_string(invocation.body()).map_err(of_error)?;
            Value::String(text)
        } else {
            let read = interpreter.json.read(&interpreter.lua, invocation.body());
            let read = read.map_err(|error| failure::of_read(&error))?;
            warn_of_duplicate(&self.host, read.duplicate.as_deref());
            read.value
        };
        let table = context::of(interpreter, self.settings.mode, common, invocation, context)
            .map_err(|error| failure::of_context(&error))?;
        Ok(Arguments::Handler(event, table))
    }

    /// Calls Lua code under the eye of the watchdog.
    fn call(
        &self,
        interpreter: &Interpreter,
        function: &Function,
        arguments: impl mlua::IntoLuaMulti,
        context: &Context,
    ) -> Result<(Value, Value), Failure> {
        let call = || interpreter.call(function, arguments);
        let watched = self.watchdog.watch(&interpreter.lua, context, call);
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

    /// Sends the results of a handler, or ends its stream.
    fn answer(
        &self,
        interpreter: &Interpreter,
        result: &Value,
        more: &Value,
    ) -> Result<(), Failure> {
        if self.host.is_streaming.get() {
            // The handler may have finished it.
            self.host.with_worker(Worker::finish);
            return Ok(());
        }
        if self.settings.mode == Mode::Json {
            let mut json = self.json.borrow_mut();
            json.clear();
            let written = interpreter.json.write(&interpreter.lua, result, &mut json);
            written.map_err(|error| failure::of_write(&error))?;
            self.send(Response::new(json.as_slice()).content_type(ContentType::JSON));
            return Ok(());
        }
        let wrong = |reason| Failure::new("Runtime.MarshalError", reason);
        let Value::String(body) = result else {
            return Err(wrong(format!(
                "a raw handler returned a {}, not a string",
                result.type_name()
            )));
        };
        let named = match more {
            Value::Nil => None,
            Value::String(name) => Some(name.as_bytes()),
            other => {
                let kind = other.type_name();
                return Err(wrong(format!(
                    "the content type of a response is a {kind}, not a string"
                )));
            }
        };
        let content_type = named.as_ref().map_or(Ok(ContentType::OCTET_STREAM), |name| {
            ContentType::from_bytes(name)
                .map_err(|error| wrong(format!("the content type of a response: {error}")))
        })?;
        self.send(Response::new(&*body.as_bytes()).content_type(content_type));
        Ok(())
    }

    fn send(&self, response: Response<'_>) {
        self.host.with_worker(|worker| worker.send(response));
    }

    /// Runs the script as a program of its own: the event is its argument, its output the response.
    fn run_script(&self, event: &[u8], context: &Context) -> Result<(), Failure> {
        self.host.begin_script();
        let ran = self.run_in_new_state(event, context);
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

    fn run_in_new_state(&self, event: &[u8], context: &Context) -> Result<(), Failure> {
        let of_error = |error| failure::of_error(&error);
        let interpreter = new_state(self.settings, &self.host)?;
        let (file, script) = handler::load_script(&interpreter, self.settings)?;
        let event = interpreter.lua.create_string(event).map_err(of_error)?;
        let arguments = interpreter.lua.create_table().map_err(of_error)?;
        arguments.raw_set(0, file).map_err(of_error)?;
        arguments.raw_set(1, &event).map_err(of_error)?;
        interpreter.lua.globals().raw_set("arg", arguments).map_err(of_error)?;
        self.call(&interpreter, &script, event, context).map(drop)
    }
}

fn new_state(settings: &Settings, host: &Rc<Host>) -> Result<Interpreter, Failure> {
    Interpreter::new(settings, host.clone()).map_err(|error| failure::of_error(&error))
}
