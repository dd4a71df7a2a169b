//! Conversion between JSON and the values of scripts. A number that the other side cannot represent
//! is an error; it is never changed into another number.

use lambda_proto_std::Failure;
use rhai::Dynamic;
use rhai::serde::{from_dynamic, to_dynamic};
use serde_json::Value;

/// Converts an event to a value.
pub(crate) fn read(event: &[u8]) -> Result<Dynamic, Failure> {
    let value: Value = serde_json::from_slice(event).map_err(Failure::unmarshal)?;
    if let Some(number) = find(&value, &|value| value.is_u64() && !value.is_i64()) {
        return Err(Failure::unmarshal(format_args!("{number} is too large for an integer")));
    }
    to_dynamic(value).map_err(Failure::unmarshal)
}

/// Converts a result to JSON.
pub(crate) fn write(result: &Dynamic) -> Result<Vec<u8>, Failure> {
    check(result)?;
    let value: Value = from_dynamic(result).map_err(Failure::marshal)?;
    serde_json::to_vec(&value).map_err(Failure::marshal)
}

/// Finds the first matching value: this one, or one nested in it.
fn find<'v>(value: &'v Value, is_wanted: &dyn Fn(&Value) -> bool) -> Option<&'v Value> {
    match value {
        Value::Array(values) => values.iter().find_map(|value| find(value, is_wanted)),
        Value::Object(values) => values.values().find_map(|value| find(value, is_wanted)),
        value => is_wanted(value).then_some(value),
    }
}

/// Refuses numbers that JSON has no notation for, which would become `null`.
fn check(value: &Dynamic) -> Result<(), Failure> {
    if let Ok(values) = value.as_array_ref() {
        return values.iter().try_for_each(check);
    }
    if let Ok(values) = value.as_map_ref() {
        return values.values().try_for_each(check);
    }
    match value.as_float() {
        Ok(number) if !number.is_finite() => {
            Err(Failure::marshal(format_args!("JSON has no number {number}")))
        }
        _ => Ok(()),
    }
}
