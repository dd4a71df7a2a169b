//! JSON to Lua values and back. A value is converted exactly or not at all; `README.md` has the
//! rules as a table.
//!
//! The Lua module `cjson` and the conversion of events and results share these functions.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::ffi::c_void;

use mlua::{Function, LightUserData, Lua, Table, Value};

pub(crate) use read::ReadError;
pub(crate) use write::WriteError;

/// How deeply arrays and objects may be nested.
pub(crate) const MAX_DEPTH: usize = 1000;

/// The largest integer up to which a Lua number represents every integer: 2^53.
const MAX_INTEGER: u64 = 1 << 53;

/// What becomes of an integer beyond 2^53 that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Integers {
    /// It is an error.
    #[default]
    Error,
    /// It becomes a string of its digits.
    Text,
    /// It becomes a 64-bit `cdata` number: `int64_t`, or `uint64_t` if it is too large for that.
    Cdata,
}

/// The conversion in one Lua state.
#[derive(Clone)]
pub(crate) struct Json {
    /// The metatable of arrays.
    array: Table,
    /// Makes a `cdata` number of a sign and two halves.
    wide: Function,
    /// The digits of a `cdata` number of 64 bits with its suffix; nil for other `cdata`.
    digits: Function,
    pub(crate) integers: Integers,
}

/// A value that was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) value: Value,
    /// The first key that an object has twice; its last value counts.
    pub(crate) duplicate: Option<String>,
}

impl Json {
    /// The conversion for this Lua state, which must have `ffi`.
    ///
    /// # Errors
    ///
    /// If the state has no `ffi`, or no memory left.
    pub(crate) fn new(lua: &Lua, integers: Integers) -> mlua::Result<Self> {
        let (wide, digits) = lua.load(WIDE).set_name("=lambda-luajit").eval()?;
        Ok(Self { array: lua.create_table()?, wide, digits, integers })
    }

    /// The metatable that marks a table as an array.
    pub(crate) fn array_metatable(&self) -> &Table {
        &self.array
    }

    /// Reads one JSON text.
    ///
    /// # Errors
    ///
    /// If it is not JSON, or if Lua cannot represent one of its values.
    pub(crate) fn read(&self, lua: &Lua, text: &[u8]) -> Result<Read, ReadError> {
        read::read(self, lua, text)
    }

    /// Appends a value as JSON. After an error, `out` has a part of it.
    ///
    /// # Errors
    ///
    /// If JSON cannot represent the value.
    pub(crate) fn write(
        &self,
        lua: &Lua,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        write::write(self, lua, value, out)
    }
}

/// JSON's null.
pub(crate) const NULL: Value = Value::NULL;

/// An array without elements, which is no table.
pub(crate) fn empty_array() -> Value {
    Value::LightUserData(LightUserData(empty_array_address().cast_mut()))
}

fn empty_array_address() -> *const c_void {
    static ADDRESS: u8 = 0;
    (&raw const ADDRESS).cast()
}

/// Makes a number of 64 bits: a negative one is below 2^63 in magnitude, or exactly that. And the
/// text of one, which needs its type, because any `cdata` can have a `__tostring` of the function.
const WIDE: &str = r#"
local ffi = require "ffi"
local signed, unsigned = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local is, tostring = ffi.istype, tostring
local function wide(is_signed, is_negative, high, low)
  local number = unsigned(high) * 4294967296ULL + unsigned(low)
  if not is_signed then return number end
  if is_negative then return -signed(number) end
  return signed(number)
end
local function digits(value)
  if is(signed, value) or is(unsigned, value) then return tostring(value) end
end
return wide, digits
"#;
