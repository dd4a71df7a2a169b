//! Errors of Lua code as failures.

use lambda_proto_std::Failure;
use mlua::{Lua, LuaString, Table, Value};

use crate::context::ContextError;
use crate::json::{Json, ReadError, WriteError};

/// The error type of a Lua error that names none.
const ERROR: &str = "Function.Error";

/// The error type of a state that has reached the limit of its memory.
const OUT_OF_MEMORY: &str = "Function.OutOfMemory";

/// The text of LuaJIT's error for that. It calls no message handler for it.
const NOT_ENOUGH_MEMORY: &str = "not enough memory";

/// The failure for an error value.
///
/// A table can have a type and a message; an object can have `__tostring`. Calls Lua code if the
/// value has metamethods for these.
pub(crate) fn of_value(json: &Json, lua: &Lua, error: &Value) -> Failure {
    of_value_with(json, lua, error, String::new())
}

/// The same with these frames, unless the error is a table that has a `stack_trace` of its own.
pub(crate) fn of_value_with(json: &Json, lua: &Lua, error: &Value, frames: String) -> Failure {
    let own = match error {
        Value::Table(table) => table.raw_get::<Option<LuaString>>("stack_trace").unwrap_or(None),
        _ => None,
    };
    let frames = own.map_or(frames, |own| own.to_string_lossy());
    failure_of(json, lua, error).stack_trace(frames)
}

fn failure_of(json: &Json, lua: &Lua, error: &Value) -> Failure {
    match error {
        Value::Table(table) => of_table(json, lua, table),
        Value::String(text) if text.as_bytes() == NOT_ENOUGH_MEMORY.as_bytes() => out_of_memory(),
        Value::String(text) => Failure::new(ERROR, text.to_string_lossy()),
        Value::Error(error) => of_error(error),
        Value::Nil => Failure::new(ERROR, "an error without a value (nil)"),
        Value::Boolean(_) | Value::Integer(_) | Value::Number(_) | Value::LightUserData(_) => {
            let text = error.to_string().unwrap_or_default();
            Failure::new(ERROR, format!("an error with the value {text}"))
        }
        // Text of another value is its address, unless it has a metamethod.
        other => match other.to_string() {
            Ok(text) if !is_address(&text) => Failure::new(ERROR, text),
            _ => Failure::new(ERROR, format!("an error with a value of type {}", kind(other))),
        },
    }
}

/// Whether this is Lua's own text for a value: its type and its address.
fn is_address(text: &str) -> bool {
    let Some((kind, address)) = text.rsplit_once(": 0x") else { return false };
    let is_own = matches!(kind, "function" | "thread" | "userdata")
        || (kind.starts_with("cdata<") && kind.ends_with('>'));
    is_own && address.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn of_table(json: &Json, lua: &Lua, table: &Table) -> Failure {
    let field = |name: &str| match table.get::<Value>(name).or_else(|_| table.raw_get(name)) {
        Ok(Value::String(text)) => Some(text.to_string_lossy()),
        Ok(Value::Integer(number)) => Some(number.to_string()),
        Ok(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let error_type =
        field("type").filter(|name| !name.is_empty()).unwrap_or_else(|| ERROR.to_owned());
    let text = || {
        let metatable = table.metatable()?;
        metatable.raw_get::<mlua::Function>("__tostring").ok()?;
        Value::Table(table.clone()).to_string().ok()
    };
    let as_json = || {
        let mut out = vec![];
        json.write(lua, &Value::Table(table.clone()), &mut out).ok()?;
        String::from_utf8(out).ok().filter(|json| json != "{}")
    };
    let message = field("message").or_else(text).or_else(as_json);
    let message = message.unwrap_or_else(|| "an error with a table that has no message".to_owned());
    Failure::new(error_type, message)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Other(_) => "cdata",
        value => value.type_name(),
    }
}

/// The failure for an error of `mlua`.
pub(crate) fn of_error(error: &mlua::Error) -> Failure {
    match error {
        mlua::Error::MemoryError(_) => out_of_memory(),
        mlua::Error::CallbackError { cause, .. } => of_error(cause),
        mlua::Error::RuntimeError(message) if message == NOT_ENOUGH_MEMORY => out_of_memory(),
        mlua::Error::RuntimeError(message) => Failure::new(ERROR, message.clone()),
        error => Failure::new(ERROR, error.to_string()),
    }
}

fn out_of_memory() -> Failure {
    Failure::new(OUT_OF_MEMORY, "the Lua code has used up its memory")
}

/// The failure for an event that cannot be read.
pub(crate) fn of_read(error: &ReadError) -> Failure {
    match error {
        ReadError::Lua(error) => of_error(error),
        error => Failure::unmarshal(error),
    }
}

/// The failure for an invocation without a context.
pub(crate) fn of_context(error: &ContextError) -> Failure {
    match error {
        ContextError::Lua(error) => of_error(error),
        error => Failure::unmarshal(error),
    }
}

/// The failure for a result that cannot be written.
pub(crate) fn of_write(error: &WriteError) -> Failure {
    match error {
        WriteError::Lua(error) => of_error(error),
        error => Failure::marshal(error),
    }
}

/// The calls that led to an error, a line each, without those of the runtime. For a message handler
/// that is a Rust function.
pub(crate) fn trace(lua: &Lua) -> String {
    let Ok(trace) = lua.traceback(None, 1) else { return String::new() };
    frames(&trace.to_string_lossy())
}

/// The frames in a traceback of Lua, without those of the runtime.
pub(crate) fn frames(traceback: &str) -> String {
    let lines: Vec<_> = traceback.lines().map(str::trim).skip(1).collect();
    let own = lines.iter().rposition(|line| line.ends_with("in function 'xpcall'"));
    let lines = &lines[..own.unwrap_or(lines.len())];
    // The last one is the message handler.
    let is_own = |line: &&str| line.starts_with("lambda-luajit:") || *line == "[C]: in ?";
    let lines = lines.iter().copied().filter(|line| !is_own(line));
    lines.fold(String::new(), |trace, line| trace + line + "\n")
}
