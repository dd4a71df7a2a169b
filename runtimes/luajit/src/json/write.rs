//! Writes Lua values as JSON.

use std::ffi::c_void;
use std::fmt;
use std::io::Write as _;
use std::str::from_utf8;

use mlua::{LuaString, Table, Value};

use super::{Json, MAX_DEPTH, MAX_INTEGER, empty_array};

/// Why a value could not be written as JSON, and which.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("{problem}{}", Place(.path))]
    Value {
        /// The keys that lead to the value, the last one first.
        path: Vec<String>,
        problem: Problem,
    },
    /// Lua failed, for want of memory.
    #[error(transparent)]
    Lua(#[from] mlua::Error),
}

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("JSON has no number {0}")]
    NotFinite(String),
    #[error("JSON has no value for a {0}")]
    Type(&'static str),
    #[error("the string is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    #[error("the table has both array elements and the key {0}")]
    Mixed(String),
    #[error("the key {0} is not a string, and the table is not an array")]
    Key(String),
    #[error("the table is marked as an array and has the key {0}")]
    Marked(String),
    #[error("the array has a hole: element {0} is nil")]
    Hole(i64),
    #[error("the table contains itself")]
    Cycle,
    #[error("tables are nested more than {MAX_DEPTH} deep")]
    Depth,
}

/// The path to a value, as Lua writes it.
struct Place<'p>(&'p [String]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str(", in value")?;
        self.0.iter().rev().try_for_each(|key| f.write_str(key))
    }
}

pub(super) fn write(json: &Json, value: &Value, out: &mut Vec<u8>) -> Result<(), WriteError> {
    Writer { json, out, open: vec![] }.value(value)
}

struct Writer<'w> {
    json: &'w Json,
    out: &'w mut Vec<u8>,
    /// The tables that contain the current value.
    open: Vec<*const c_void>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<(), WriteError> {
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(data) if data.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::LightUserData(_) if *value == empty_array() => self.out.extend_from_slice(b"[]"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(integer) if integer.unsigned_abs() <= MAX_INTEGER => {
                self.put(format_args!("{integer}"));
            }
            Value::Integer(integer) => self.number(*integer as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Table(table) => self.table(table)?,
            Value::Other(_) => self.cdata(value)?,
            _ => return Err(wrong(Problem::Type(value.type_name()))),
        }
        Ok(())
    }

    /// Writes a number so that every bit is kept, and that it is not taken for an integer beyond
    /// 2^53.
    fn number(&mut self, number: f64) -> Result<(), WriteError> {
        if !number.is_finite() {
            let text = if number.is_nan() { "nan".to_owned() } else { number.to_string() };
            return Err(wrong(Problem::NotFinite(text)));
        }
        let is_integer = number.fract() == 0.0 && number.abs() <= MAX_INTEGER as f64;
        if is_integer && number.to_bits() != (-0.0_f64).to_bits() {
            self.put(format_args!("{number}"));
        } else {
            self.put(format_args!("{number:?}"));
        }
        Ok(())
    }

    /// Writes a 64-bit `cdata` number, whose text has a suffix.
    fn cdata(&mut self, value: &Value) -> Result<(), WriteError> {
        let text = self.json.digits.call::<Option<LuaString>>(value)?;
        let text = text.ok_or_else(|| wrong(Problem::Type("cdata other than a 64-bit integer")))?;
        let text = text.as_bytes();
        let digits = text.strip_suffix(b"ULL").or_else(|| text.strip_suffix(b"LL"));
        self.out.extend_from_slice(digits.unwrap_or(&text));
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if let Err(error) = from_utf8(bytes) {
            return Err(wrong(Problem::NotUtf8(error.valid_up_to())));
        }
        self.out.push(b'"');
        let mut rest = bytes;
        while let Some(at) =
            rest.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\')
        {
            self.out.extend_from_slice(&rest[..at]);
            let letter = match rest[at] {
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                byte @ (b'"' | b'\\') => byte,
                byte => {
                    self.put(format_args!("\\u{byte:04x}"));
                    rest = &rest[at + 1..];
                    continue;
                }
            };
            self.out.extend_from_slice(&[b'\\', letter]);
            rest = &rest[at + 1..];
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<(), WriteError> {
        let address = table.to_pointer();
        if self.open.contains(&address) {
            return Err(wrong(Problem::Cycle));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(wrong(Problem::Depth));
        }
        self.open.push(address);
        let is_marked = table.metatable().is_some_and(|metatable| metatable == self.json.array);
        let first = table.pairs::<Value, Value>().next().transpose()?;
        match first {
            None if is_marked => self.out.extend_from_slice(b"[]"),
            None => self.out.extend_from_slice(b"{}"),
            Some((Value::String(_), _)) if !is_marked => self.object(table)?,
            Some(_) => self.array(table)?,
        }
        self.open.pop();
        Ok(())
    }

    fn object(&mut self, table: &Table) -> Result<(), WriteError> {
        let mut separator = b'{';
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            self.out.push(separator);
            separator = b',';
            let Value::String(text) = &key else {
                return Err(wrong(match key {
                    Value::Integer(1..) => Problem::Mixed(shown(&self.any_text_key(table)?)),
                    key => Problem::Key(shown(&key)),
                }));
            };
            let within = |error| within(error, format!("[{}]", shown(&key)));
            self.string(&text.as_bytes()).map_err(within)?;
            self.out.push(b':');
            self.value(&value).map_err(within)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn any_text_key(&self, table: &Table) -> Result<Value, WriteError> {
        for pair in table.pairs::<Value, Value>() {
            if let (key @ Value::String(_), _) = pair? {
                return Ok(key);
            }
        }
        Ok(Value::Nil)
    }

    fn array(&mut self, table: &Table) -> Result<(), WriteError> {
        let (mut count, mut last) = (0, 0);
        let (mut text, mut other) = (None, None);
        table.for_each(|key: Value, _: Value| {
            match key {
                Value::Integer(index @ 1..) => {
                    count += 1;
                    last = last.max(index);
                }
                Value::String(_) => text = Some(key),
                key => other = Some(key),
            }
            Ok(())
        })?;
        if let Some(key) = other {
            return Err(wrong(Problem::Key(shown(&key))));
        }
        if let Some(key) = text {
            return Err(wrong(match count {
                0 => Problem::Marked(shown(&key)),
                _ => Problem::Mixed(shown(&key)),
            }));
        }
        let mut separator = b'[';
        for index in 1..=last {
            let element: Value = table.raw_get(index)?;
            if element.is_nil() {
                debug_assert!(count < last, "an element without a key");
                return Err(wrong(Problem::Hole(index)));
            }
            self.out.push(separator);
            separator = b',';
            self.value(&element).map_err(|error| within(error, format!("[{index}]")))?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a vector takes every byte");
    }
}

fn wrong(problem: Problem) -> WriteError {
    WriteError::Value { path: vec![], problem }
}

/// The error of a value, within the table that has it under this key.
fn within(error: WriteError, key: String) -> WriteError {
    match error {
        WriteError::Value { mut path, problem } => {
            path.push(key);
            WriteError::Value { path, problem }
        }
        lua => lua,
    }
}

/// A key for a message.
fn shown(key: &Value) -> String {
    match key {
        Value::String(text) => format!("{:?}", text.to_string_lossy()),
        Value::Integer(integer) => integer.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        key => format!("of type {}", key.type_name()),
    }
}
