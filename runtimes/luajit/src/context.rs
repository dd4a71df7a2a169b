//! The second argument of the handler.

use lambda_proto_host::Context;
use lambda_proto_host::lifecycle::clock;
use lambda_proto_std::{Environment, Invocation};
use mlua::{Lua, Table, Value};

use crate::host::Host;
use crate::interpreter::Interpreter;
use crate::json::ReadError;
use crate::settings::Mode;

/// Why there is no context for an invocation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    #[error("the {name}: {error}")]
    Document { name: &'static str, error: ReadError },
    /// Lua has no memory left.
    #[error(transparent)]
    Lua(#[from] mlua::Error),
}

/// The fields that are the same for every invocation, as a metatable.
///
/// # Errors
///
/// If the memory does not suffice.
pub(crate) fn common(interpreter: &Interpreter) -> mlua::Result<Table> {
    let lua = &interpreter.lua;
    let environment = Environment::of_process();
    let fields = &interpreter.common;
    fields.set("function_name", environment.function_name())?;
    fields.set("function_version", environment.function_version())?;
    fields.set("memory_limit_mb", environment.memory_size_mb())?;
    fields.set("log_group", environment.log_group())?;
    fields.set("log_stream", environment.log_stream())?;
    fields.set("region", environment.region())?;
    let metatable = lua.create_table()?;
    metatable.set("__index", fields)?;
    Ok(metatable)
}

/// The context of an invocation.
///
/// # Errors
///
/// If the memory does not suffice, or if Lua cannot represent a value of a JSON document.
pub(crate) fn of(
    interpreter: &Interpreter,
    mode: Mode,
    common: &Table,
    invocation: &Invocation<'_>,
    context: &Context,
) -> Result<Table, ContextError> {
    let lua = &interpreter.lua;
    let table = lua.create_table_with_capacity(0, 12)?;
    table.raw_set("request_id", invocation.request_id())?;
    table.raw_set("invoked_function_arn", invocation.invoked_function_arn())?;
    table.raw_set("trace_id", invocation.trace_id())?;
    table.raw_set("tenant_id", invocation.tenant_id())?;
    let content_type = invocation.content_type().map(|content_type| content_type.as_bytes());
    table.raw_set("content_type", text(lua, content_type)?)?;
    table.raw_set("attempt_id", text(lua, invocation.attempt_id())?)?;
    let document = |name, bytes| match mode {
        Mode::Raw => Ok(text(lua, bytes)?),
        _ => document(interpreter, name, bytes),
    };
    table.raw_set("client_context", document("client context", invocation.client_context())?)?;
    table.raw_set("identity", document("identity", invocation.cognito_identity())?)?;
    if let Some(deadline) = invocation.deadline() {
        table.raw_set("deadline_ms", deadline.as_unix_millis() as f64)?;
    }
    let limit = context.time_limit();
    table.raw_set(
        "remaining_ms",
        lua.create_function(move |_, _: Value| {
            let left = limit.remaining(clock::now());
            Ok(left.map(|left| left.as_millis() as f64))
        })?,
    )?;
    let cancellation = context.cancellation();
    table.raw_set(
        "is_cancelled",
        lua.create_function(move |_, _: Value| Ok(cancellation.is_cancelled()))?,
    )?;
    table.set_metatable(Some(common.clone()))?;
    Ok(table)
}

fn text(lua: &Lua, bytes: Option<&[u8]>) -> mlua::Result<Value> {
    bytes.map_or(Ok(Value::Nil), |bytes| lua.create_string(bytes).map(Value::String))
}

/// A JSON document of the invocation as a value, or as a string if it is not JSON.
fn document(
    interpreter: &Interpreter,
    name: &'static str,
    bytes: Option<&[u8]>,
) -> Result<Value, ContextError> {
    let Some(bytes) = bytes else { return Ok(Value::Nil) };
    match interpreter.json.read(&interpreter.lua, bytes) {
        Ok(read) => Ok(read.value),
        Err(error) if error.is_syntax() => Ok(text(&interpreter.lua, Some(bytes))?),
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
