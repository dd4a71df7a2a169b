//! A Lua state with what scripts find in it.

use std::ffi::c_int;
use std::path::Path;
use std::rc::Rc;

use lambda_proto_host::lifecycle::INIT_ABORTED;
use lambda_proto_std::{Failure, Level};
use mlua::state::{GcIncParams, GcMode};
use mlua::{Function, IntoLuaMulti, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value};

use crate::failure;
use crate::hooks::{Hooks, Stage};
use crate::host::{Host, StreamForm};
use crate::json::{self, Json, ReadError, WriteError};
use crate::settings::{Mode, Output, Settings};

/// LuaJIT's default: a collection begins when the memory in use is this percentage of what was in
/// use after the last one.
const PAUSE: c_int = 200;

/// The smallest such percentage that is set.
const MIN_PAUSE: usize = 110;

/// LuaJIT's default: how far each step of a collection goes.
const STEP: c_int = 200;

/// The value with which a step is a whole collection.
const AT_ONCE: c_int = 0;

/// A Lua state.
pub(crate) struct Interpreter {
    pub(crate) lua: Lua,
    pub(crate) json: Json,
    /// The fields that every context has.
    pub(crate) common: Table,
    /// The metatable of contexts.
    pub(crate) metatable: Table,
    /// The hooks of scripts by the name of their stage.
    hooks: Table,
    /// Calls a function and notes its failure in the host.
    protected: Function,
    /// The limit of the memory, in bytes.
    memory: Option<usize>,
    host: Rc<Host>,
}

impl Interpreter {
    /// A new state with all libraries, C modules and `ffi` included.
    ///
    /// # Errors
    ///
    /// If the memory does not suffice.
    pub(crate) fn new(settings: &Settings, host: Rc<Host>) -> mlua::Result<Self> {
        // Lua's own `pcall`, because compiled code cannot call a replacement.
        let options = LuaOptions::new().catch_rust_panics(false);
        #[expect(unsafe_code, reason = "scripts are the function's own code, and may use `ffi`")]
        // SAFETY: the function is responsible for what it does with `ffi`, `debug` and C modules.
        let lua = unsafe { Lua::unsafe_new_with(StdLib::ALL, options) };
        if let Some(memory) = settings.memory {
            lua.set_memory_limit(memory)?;
        }
        add_paths(&lua, &settings.task_root)?;
        let json = Json::new(&lua, settings.integers)?;
        let functions = functions(&lua, &json, &host)?;
        if settings.output == Output::Log || settings.mode == Mode::Script {
            let emitting = host.clone();
            let emit = lua.create_function(move |_, text: LuaString| {
                emitting.emit(&text.as_bytes());
                Ok(())
            })?;
            functions.set("emit", emit)?;
        }
        let prelude = lua.load(include_str!("prelude.lua")).set_name("=lambda-luajit");
        let (common, metatable, hooks, protected) = prelude.call(functions)?;
        Ok(Self { lua, json, common, metatable, hooks, protected, memory: settings.memory, host })
    }

    /// The stages for which the script has hooks.
    pub(crate) fn hooks(&self) -> Hooks {
        let stages = [Stage::Init, Stage::BeforeSnapshot, Stage::AfterRestore, Stage::Shutdown];
        stages.into_iter().filter(|&stage| !self.hooks_of(stage).is_empty()).collect()
    }

    fn hooks_of(&self, stage: Stage) -> Vec<Function> {
        let hooks = self.hooks.raw_get::<Vec<Function>>(stage.name());
        hooks.expect("the prelude has a list of functions for each stage")
    }

    /// Runs the hooks of a stage in their order.
    ///
    /// # Errors
    ///
    /// The failure of the first one that fails. The others run, too. A hook of init also fails by
    /// returning `false`.
    pub(crate) fn run_hooks(&self, stage: Stage) -> Result<(), Failure> {
        let mut all = Ok(());
        for hook in self.hooks_of(stage) {
            let result = self.call(&hook, ()).and_then(|(result, _)| match (stage, result) {
                (Stage::Init, Value::Boolean(false)) => {
                    Err(Failure::new(INIT_ABORTED, "a hook of init returned false"))
                }
                _ => Ok(()),
            });
            all = all.and(result);
        }
        all
    }

    /// Whether to [make room](Self::make_room) before the next invocation.
    pub(crate) fn is_over_half(&self) -> bool {
        self.memory.is_some_and(|limit| self.lua.used_memory() > limit / 2)
    }

    /// Makes room between two invocations. LuaJIT begins to collect when the memory in use has
    /// doubled since the last collection, which is beyond the limit if half of it is alive. So the
    /// garbage is collected if more than half is in use, and later collections begin early enough
    /// and run to their end at once.
    pub(crate) fn make_room(&self) {
        let Some(limit) = self.memory else { return };
        let is_over_half = |used: usize| used > limit / 2;
        let set = |pause: usize, step: c_int| {
            let pause = c_int::try_from(pause).unwrap_or(PAUSE);
            let parameters = GcIncParams::default().pause(pause).step_multiplier(step);
            self.lua.gc_set_mode(GcMode::Incremental(parameters));
        };
        // The end of a collection decides when the next one begins.
        set(MIN_PAUSE, AT_ONCE);
        // An error of a finalizer, after which the rest is collected later.
        let _best_effort = self.lua.gc_collect();
        let used = self.lua.used_memory();
        if is_over_half(used) {
            set((limit / 100 * 90 / (used / 100)).max(MIN_PAUSE), AT_ONCE);
        } else {
            set(PAUSE as usize, STEP);
        }
    }

    /// Compiles a file.
    ///
    /// # Errors
    ///
    /// The text of the syntax error.
    pub(crate) fn compile(&self, name: &str, code: &[u8]) -> Result<Function, String> {
        let code = match code.starts_with(b"#") {
            // As Lua's own loader: a first line for the shell is a comment.
            true => [b"--", code].concat(),
            false => code.to_vec(),
        };
        let chunk = self.lua.load(code).set_name(format!("@{name}"));
        chunk.into_function().map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => message,
            error => error.to_string(),
        })
    }

    /// Calls a function, and returns its first two results.
    ///
    /// # Errors
    ///
    /// The failure for the error that it raised, with its traceback.
    pub(crate) fn call(
        &self,
        function: &Function,
        arguments: impl IntoLuaMulti,
    ) -> Result<(Value, Value), Failure> {
        let mut all =
            arguments.into_lua_multi(&self.lua).map_err(|error| failure::of_error(&error))?;
        all.push_front(Value::Function(function.clone()));
        self.host.failure.take();
        self.host.coroutine.take();
        let called = self.protected.call::<MultiValue>(all);
        let noted = self.host.failure.take();
        match called {
            Ok(mut results) => match results.pop_front() {
                Some(Value::Boolean(true)) => {
                    let first = results.pop_front().unwrap_or_default();
                    Ok((first, results.pop_front().unwrap_or_default()))
                }
                _ => Err(noted.unwrap_or_else(|| {
                    failure::of_value(
                        &self.json,
                        &self.lua,
                        &results.pop_front().unwrap_or_default(),
                    )
                })),
            },
            Err(error) => Err(noted.unwrap_or_else(|| failure::of_error(&error))),
        }
    }
}

/// The functions of the runtime for the prelude.
fn functions(lua: &Lua, json: &Json, host: &Rc<Host>) -> mlua::Result<Table> {
    let functions = lua.create_table()?;
    functions.set("null", json::NULL)?;
    functions.set("empty_array", json::empty_array())?;
    functions.set("array_mt", json.array_metatable())?;
    functions.set("max_depth", json::MAX_DEPTH)?;
    let (writing, reading, noting) = (json.clone(), json.clone(), json.clone());
    let encode = lua.create_function(move |lua, value: Value| {
        let mut out = vec![];
        match writing.write(lua, &value, &mut out) {
            Ok(()) => (true, Value::String(lua.create_string(out)?)).into_lua_multi(lua),
            Err(WriteError::Lua(error)) => Err(error),
            Err(error) => (false, error.to_string()).into_lua_multi(lua),
        }
    })?;
    functions.set("encode", encode)?;
    let warning = host.clone();
    let decode = lua.create_function(move |lua, text: Value| {
        let Value::String(text) = text else {
            let message = format!("a JSON text is a string, and not a {}", text.type_name());
            return (false, message).into_lua_multi(lua);
        };
        match reading.read(lua, &text.as_bytes()) {
            Ok(read) => {
                warn_of_duplicate(&warning, read.duplicate.as_deref());
                (true, read.value).into_lua_multi(lua)
            }
            Err(ReadError::Lua(error)) => Err(error),
            Err(error) => (false, error.to_string()).into_lua_multi(lua),
        }
    })?;
    functions.set("decode", decode)?;
    let noted = host.clone();
    let failed = lua.create_function(move |lua, error: Value| {
        let inner = noted.coroutine.take().filter(|(raised, _)| *raised == error);
        let trace = inner.map(|(_, trace)| trace).unwrap_or_default() + &failure::trace(lua);
        noted.failure.replace(Some(failure::of_value_with(&noting, lua, &error, trace)));
        Ok(())
    })?;
    functions.set("failed", failed)?;
    let noted = host.clone();
    let coroutine_failed = lua.create_function(move |_, (error, trace): (Value, LuaString)| {
        // An error that leaves several coroutines has the calls within each.
        let inner = noted.coroutine.take().filter(|(raised, _)| *raised == error);
        let frames = inner.map(|(_, frames)| frames).unwrap_or_default()
            + &failure::frames(&trace.to_string_lossy());
        noted.coroutine.replace(Some((error, frames)));
        Ok(())
    })?;
    functions.set("coroutine_failed", coroutine_failed)?;
    let timing = host.clone();
    let remaining_ms =
        lua.create_function(move |_, invocation: f64| Ok(timing.remaining_ms(invocation)))?;
    functions.set("remaining_ms", remaining_ms)?;
    let timing = host.clone();
    let is_cancelled =
        lua.create_function(move |_, invocation: f64| Ok(timing.is_cancelled(invocation)))?;
    functions.set("is_cancelled", is_cancelled)?;
    let registering = host.clone();
    let begin_work =
        lua.create_function(move |_, (invocation, name, work): (f64, LuaString, Function)| {
            let name = name.to_string_lossy();
            Ok(registering.begin_work(invocation, name, work).err())
        })?;
    functions.set("begin_work", begin_work)?;
    let tracing = host.clone();
    let trace_id = lua.create_function(move |_, ()| Ok(tracing.trace_id.borrow().clone()))?;
    functions.set("trace_id", trace_id)?;
    let exiting = host.clone();
    let exit = lua.create_function(move |_, code: f64| {
        exiting.exit(code as i32);
        Ok(())
    })?;
    functions.set("exit", exit)?;
    let logging = host.clone();
    let log = lua.create_function(move |_, (level, text): (String, LuaString)| {
        let level = level.to_uppercase().parse().unwrap_or(Level::Info);
        logging.record(level, &text.to_string_lossy());
        Ok(())
    })?;
    functions.set("log", log)?;
    streaming(lua, &functions, host)?;
    Ok(functions)
}

/// The error of a stream that an earlier invocation has begun.
const OVER: &str = "the stream is over: it belongs to an earlier invocation";

/// The functions for streamed responses.
fn streaming(lua: &Lua, functions: &Table, host: &Rc<Host>) -> mlua::Result<()> {
    let streaming = host.clone();
    let stream = lua.create_function(move |_, (form, invocation): (Value, f64)| {
        if invocation != streaming.invocation.get() {
            return Ok((None, Some(OVER.to_owned())));
        }
        let form = stream_form(&form).map_err(|error| error.to_string());
        Ok(match form.and_then(|form| streaming.stream(&form)) {
            Ok(()) => (Some(streaming.invocation.get()), None),
            Err(reason) => (None, Some(reason)),
        })
    })?;
    functions.set("stream", stream)?;
    let writing = host.clone();
    let write = lua.create_function(move |_, (invocation, piece): (f64, LuaString)| {
        if invocation != writing.invocation.get() {
            return Ok((false, Some(OVER.to_owned())));
        }
        let written = writing.with_worker(|worker| worker.write(&piece.as_bytes()));
        Ok(match written {
            Some(Ok(())) => (true, None),
            Some(Err(over)) => (false, Some(over.to_string())),
            None => (false, Some("there is no invocation to answer".to_owned())),
        })
    })?;
    functions.set("write", write)?;
    let finishing = host.clone();
    let finish = lua.create_function(move |_, invocation: f64| {
        if invocation != finishing.invocation.get() {
            return Ok((false, Some(OVER)));
        }
        let finished = finishing.with_worker(|worker| worker.finish().is_some());
        Ok((finished.unwrap_or_default(), None))
    })?;
    functions.set("finish", finish)
}

/// Reads the argument of `context:stream`.
fn stream_form(form: &Value) -> mlua::Result<StreamForm> {
    match form {
        Value::Nil => Ok(StreamForm::Bytes(b"application/octet-stream".to_vec())),
        Value::String(content_type) => Ok(StreamForm::Bytes(content_type.as_bytes().to_vec())),
        Value::Table(table) => Ok(StreamForm::Http {
            status: table.get::<Option<u16>>("status")?.unwrap_or(200),
            headers: match table.get::<Option<Table>>("headers")? {
                Some(headers) => headers.pairs().collect::<mlua::Result<_>>()?,
                None => vec![],
            },
            cookies: table.get::<Option<Vec<String>>>("cookies")?.unwrap_or_default(),
        }),
        other => Err(mlua::Error::runtime(format!(
            "a stream takes a content type or a table, and not a {}",
            other.type_name()
        ))),
    }
}

/// Logs that a JSON object has a key twice.
pub(crate) fn warn_of_duplicate(host: &Host, key: Option<&str>) {
    if let Some(key) = key {
        host.record(
            Level::Warn,
            &format!("a JSON object has the key {key:?} twice; its last value counts"),
        );
    }
}

/// Puts the function's folder, a LuaRocks tree in it, and layers before the standard places, which
/// `LUA_PATH` and `LUA_CPATH` replace.
fn add_paths(lua: &Lua, task_root: &Path) -> mlua::Result<()> {
    let root = task_root.to_string_lossy();
    // A semicolon or a question mark would have a meaning in a path.
    let root = if root.contains([';', '?']) { ".".into() } else { root };
    let package: Table = lua.globals().get("package")?;
    let (path, cpath): (String, String) = (package.get("path")?, package.get("cpath")?);
    let trees = [format!("{root}/lua_modules"), "/opt".to_owned()];
    let mut own = format!("{root}/?.lua;{root}/?/init.lua");
    let mut own_c = format!("{root}/?.so");
    for tree in trees {
        own += &format!(";{tree}/share/lua/5.1/?.lua;{tree}/share/lua/5.1/?/init.lua");
        own_c += &format!(";{tree}/lib/lua/5.1/?.so");
    }
    package.set("path", format!("{own};{path}"))?;
    package.set("cpath", format!("{own_c};{cpath}"))
}
