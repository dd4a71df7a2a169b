//! The second argument of the handler.

use std::ffi::c_int;

use lambda_proto_std::{Environment, Invocation};
use mlua::{Lua, Table, Value};

use crate::host::Host;
use crate::interpreter::Interpreter;
use crate::json::ReadError;
use crate::settings::Mode;
use crate::stack::Stack;

/// Why there is no context for an invocation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    #[error("the {name}: {error}")]
    Document { name: &'static str, error: ReadError },
    /// Lua has no memory left.
    #[error(transparent)]
    Lua(#[from] mlua::Error),
}

/// The metatable of contexts, with the fields that are the same for every invocation.
///
/// # Errors
///
/// If the memory does not suffice.
pub(crate) fn common(interpreter: &Interpreter) -> mlua::Result<Table> {
    let environment = Environment::of_process();
    let fields = &interpreter.common;
    fields.set("function_name", environment.function_name())?;
    fields.set("function_version", environment.function_version())?;
    fields.set("memory_limit_mb", environment.memory_size_mb())?;
    fields.set("log_group", environment.log_group())?;
    fields.set("log_stream", environment.log_stream())?;
    fields.set("region", environment.region())?;
    Ok(interpreter.metatable.clone())
}

/// The number of fields that an invocation can have: those of [`of`], and the functions that the
/// prelude adds.
const FIELDS: c_int = 12;

/// The context of an invocation with this number.
///
/// # Errors
///
/// If the memory does not suffice, or if Lua cannot represent a value of a JSON document.
pub(crate) fn of(
    interpreter: &Interpreter,
    mode: Mode,
    metatable: &Table,
    invocation: &Invocation<'_>,
    number: f64,
) -> Result<Table, ContextError> {
    let lua = &interpreter.lua;
    let table: Table = Stack::within(lua, metatable, |stack| {
        stack.reserve(8);
        stack.push_table(FIELDS);
        let text = |name: &str, value: Option<&[u8]>| {
            if let Some(value) = value {
                stack.push_string(name.as_bytes());
                stack.push_string(value);
                stack.set_field();
            }
        };
        text("request_id", Some(invocation.request_id().as_bytes()));
        text("invoked_function_arn", invocation.invoked_function_arn().map(str::as_bytes));
        text("trace_id", invocation.trace_id().map(str::as_bytes));
        text("tenant_id", invocation.tenant_id().map(str::as_bytes));
        text("content_type", invocation.content_type().map(|content_type| content_type.as_bytes()));
        text("attempt_id", invocation.attempt_id());
        let number_of = |name: &str, value: f64| {
            stack.push_string(name.as_bytes());
            stack.push_number(value);
            stack.set_field();
        };
        number_of("invocation", number);
        if let Some(deadline) = invocation.deadline() {
            number_of("deadline_ms", deadline.as_unix_millis() as f64);
        }
        stack.set_metatable(1);
        stack.replace(1);
    })?;
    for (name, field, bytes) in [
        ("client context", "client_context", invocation.client_context()),
        ("identity", "identity", invocation.cognito_identity()),
    ] {
        let Some(bytes) = bytes else { continue };
        let value = match mode {
            Mode::Raw => text(lua, bytes)?,
            _ => document(interpreter, name, bytes)?,
        };
        table.raw_set(field, value)?;
    }
    Ok(table)
}

fn text(lua: &Lua, bytes: &[u8]) -> mlua::Result<Value> {
    lua.create_string(bytes).map(Value::String)
}

/// A JSON document of the invocation as a value, or as a string if it is not JSON.
fn document(
    interpreter: &Interpreter,
    name: &'static str,
    bytes: &[u8],
) -> Result<Value, ContextError> {
    match interpreter.json.read(&interpreter.lua, bytes) {
        Ok(read) => Ok(read.value),
        Err(error) if error.is_syntax() => Ok(text(&interpreter.lua, bytes)?),
        Err(ReadError::Lua(error)) => Err(error.into()),
        Err(error) => Err(ContextError::Document { name, error }),
    }
}

/// Notes the invocation in the host.
pub(crate) fn note(host: &Host, invocation: &Invocation<'_>) {
    let mut id = host.request_id.borrow_mut();
    id.clear();
    id.push_str(invocation.request_id());
    drop(id);
    *host.trace_id.borrow_mut() = invocation.trace_id().map(str::to_owned);
}
