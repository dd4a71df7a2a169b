//! A Lua state with what scripts find in it.

use std::path::Path;
use std::rc::Rc;

use lambda_proto_std::{Failure, Level};
use mlua::{Function, IntoLuaMulti, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value};

use crate::failure;
use crate::host::Host;
use crate::json::{self, Json};
use crate::settings::{Mode, Output, Settings};

/// A Lua state.
pub(crate) struct Interpreter {
    pub(crate) lua: Lua,
    pub(crate) json: Json,
    /// The functions of `context.log`.
    pub(crate) levels: Table,
    /// Calls a function and notes its failure in the host.
    protected: Function,
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
        let (levels, protected) = prelude.call(functions)?;
        Ok(Self { lua, json, levels, protected, host })
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
        let called = self.protected.call::<MultiValue>(all);
        let noted = self.host.failure.take();
        match called {
            Ok(mut results) => match results.pop_front() {
                Some(Value::Boolean(true)) => {
                    let first = results.pop_front().unwrap_or_default();
                    Ok((first, results.pop_front().unwrap_or_default()))
                }
                _ => Err(noted.unwrap_or_else(|| {
                    failure::of_value(&self.json, &results.pop_front().unwrap_or_default())
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
    let (writing, reading, noting) = (json.clone(), json.clone(), json.clone());
    let encode = lua.create_function(move |lua, value: Value| {
        let mut out = vec![];
        match writing.write(&value, &mut out) {
            Ok(()) => (true, Value::String(lua.create_string(out)?)).into_lua_multi(lua),
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
            Err(error) => (false, error.to_string()).into_lua_multi(lua),
        }
    })?;
    functions.set("decode", decode)?;
    let noted = host.clone();
    let failed = lua.create_function(move |lua, error: Value| {
        let failure = failure::of_value(&noting, &error).stack_trace(failure::trace(lua));
        noted.failure.replace(Some(failure));
        Ok(())
    })?;
    functions.set("failed", failed)?;
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
    Ok(functions)
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
