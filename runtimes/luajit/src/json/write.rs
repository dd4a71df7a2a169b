//! Writes Lua values as JSON.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::io::Write as _;
use std::str::from_utf8;

use mlua::{Lua, Value};

use super::{Json, MAX_DEPTH, MAX_INTEGER, empty_array_address};
use crate::stack::{Kind, Stack};

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

/// Where the metatable of arrays is on the stack, and the function that gives the digits of `cdata`.
const ARRAY: c_int = 1;
const DIGITS: c_int = 2;

/// The values of a level of nesting on the stack: a key, a value, and one to look at.
const LEVEL: c_int = 8;

pub(super) fn write(
    json: &Json,
    lua: &Lua,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let (mut open, mut outcome) = (vec![], Ok(()));
    Stack::within::<()>(lua, (&json.array, &json.digits, value), |stack| {
        stack.reserve(LEVEL);
        outcome = Writer { stack, out, open: &mut open }.value();
        stack.truncate(0);
    })?;
    outcome
}

struct Writer<'w> {
    stack: Stack<'w>,
    out: &'w mut Vec<u8>,
    /// The tables that contain the current value.
    open: &'w mut Vec<*const c_void>,
}

impl Writer<'_> {
    /// Writes the value at the top of the stack, and leaves it there.
    fn value(&mut self) -> Result<(), WriteError> {
        match self.stack.kind(-1) {
            Kind::Nil => self.out.extend_from_slice(b"null"),
            Kind::LightUserData => {
                let address = self.stack.address(-1);
                if address.is_null() {
                    self.out.extend_from_slice(b"null");
                } else if address == empty_array_address() {
                    self.out.extend_from_slice(b"[]");
                } else {
                    return Err(wrong(Problem::Type("lightuserdata")));
                }
            }
            Kind::Boolean if self.stack.boolean(-1) => self.out.extend_from_slice(b"true"),
            Kind::Boolean => self.out.extend_from_slice(b"false"),
            Kind::Number => self.number(self.stack.number(-1))?,
            Kind::String => self.string(self.stack.bytes(-1))?,
            Kind::Table => self.table()?,
            Kind::Cdata => self.cdata()?,
            Kind::Other(name) => return Err(wrong(Problem::Type(name))),
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
            self.out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
        } else {
            self.out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes());
        }
        Ok(())
    }

    /// Writes a 64-bit `cdata` number, whose text has a suffix.
    fn cdata(&mut self) -> Result<(), WriteError> {
        self.stack.push_copy(DIGITS);
        self.stack.push_copy(-2);
        self.stack.call(1);
        if self.stack.kind(-1) != Kind::String {
            return Err(wrong(Problem::Type("cdata other than a 64-bit integer")));
        }
        let text = self.stack.bytes(-1);
        let digits = text.strip_suffix(b"ULL").or_else(|| text.strip_suffix(b"LL"));
        self.out.extend_from_slice(digits.unwrap_or(text));
        self.stack.pop(1);
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

    fn table(&mut self) -> Result<(), WriteError> {
        let address = self.stack.address(-1);
        if self.open.contains(&address) {
            return Err(wrong(Problem::Cycle));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(wrong(Problem::Depth));
        }
        self.stack.reserve(LEVEL);
        self.open.push(address);
        let is_marked = self.stack.has_metatable(ARRAY);
        self.stack.push_nil();
        if self.stack.next_pair() {
            let is_object = self.stack.kind(-2) == Kind::String && !is_marked;
            self.stack.pop(2);
            if is_object { self.object() } else { self.array() }?;
        } else {
            self.out.extend_from_slice(if is_marked { b"[]" } else { b"{}" });
        }
        self.open.pop();
        Ok(())
    }

    fn object(&mut self) -> Result<(), WriteError> {
        let stack = self.stack;
        let mut separator = b'{';
        stack.push_nil();
        while stack.next_pair() {
            self.out.push(separator);
            separator = b',';
            if stack.kind(-2) != Kind::String {
                if as_index(stack, -2).is_none() {
                    return Err(wrong(Problem::Key(shown(stack, -2))));
                }
                stack.pop(2);
                return Err(wrong(Problem::Mixed(any_text_key(stack))));
            }
            // The table keeps the key, also after an error.
            let key = stack.bytes(-2);
            let within = |error| within(error, format!("[{}]", quoted(key)));
            self.string(key).map_err(within)?;
            self.out.push(b':');
            self.value().map_err(within)?;
            stack.pop(1);
        }
        self.out.push(b'}');
        Ok(())
    }

    fn array(&mut self) -> Result<(), WriteError> {
        let stack = self.stack;
        let (mut count, mut last) = (0, 0);
        let (mut has_text, mut has_other) = (false, false);
        stack.push_nil();
        while stack.next_pair() {
            match as_index(stack, -2) {
                Some(index) => {
                    count += 1;
                    last = index.max(last);
                }
                None if stack.kind(-2) == Kind::String => has_text = true,
                None => has_other = true,
            }
            stack.pop(1);
        }
        if has_other {
            return Err(wrong(Problem::Key(key_that(stack, |stack| {
                as_index(stack, -2).is_none() && stack.kind(-2) != Kind::String
            }))));
        }
        if has_text {
            let key = any_text_key(stack);
            return Err(wrong(if count == 0 { Problem::Marked(key) } else { Problem::Mixed(key) }));
        }
        let mut separator = b'[';
        for index in 1..=last {
            // An index that does not fit belongs to a hole, as no array has that many elements.
            match i32::try_from(index) {
                Ok(index) => stack.push_element(index),
                Err(_) => stack.push_nil(),
            }
            if stack.kind(-1) == Kind::Nil {
                return Err(wrong(Problem::Hole(index)));
            }
            self.out.push(separator);
            separator = b',';
            self.value().map_err(|error| within(error, format!("[{index}]")))?;
            stack.pop(1);
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

/// The key of an array element at this position.
fn as_index(stack: Stack<'_>, position: c_int) -> Option<i64> {
    if stack.kind(position) != Kind::Number {
        return None;
    }
    let number = stack.number(position);
    let is_index = number >= 1.0 && number.fract() == 0.0 && number <= MAX_INTEGER as f64;
    is_index.then_some(number as i64)
}

/// A key of the table at the top that is a string, for a message.
fn any_text_key(stack: Stack<'_>) -> String {
    key_that(stack, |stack| stack.kind(-2) == Kind::String)
}

/// The first key of the table at the top for which this holds, for a message. The pair is at the
/// top then.
fn key_that(stack: Stack<'_>, is_meant: fn(Stack<'_>) -> bool) -> String {
    stack.push_nil();
    while stack.next_pair() {
        if is_meant(stack) {
            return shown(stack, -2);
        }
        stack.pop(1);
    }
    "nil".to_owned()
}

/// A key for a message.
fn shown(stack: Stack<'_>, position: c_int) -> String {
    match stack.kind(position) {
        Kind::String => quoted(stack.bytes(position)),
        Kind::Number => stack.number(position).to_string(),
        Kind::Boolean => stack.boolean(position).to_string(),
        Kind::Nil => "nil".to_owned(),
        Kind::LightUserData => "of type lightuserdata".to_owned(),
        Kind::Table => "of type table".to_owned(),
        Kind::Cdata => "of type cdata".to_owned(),
        Kind::Other(name) => format!("of type {name}"),
    }
}

fn quoted(text: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(text))
}
