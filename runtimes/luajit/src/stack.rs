//! The stack of a Lua state, for code that makes or visits many values: with the references of
//! `mlua`, an event of 3 KB takes nine times as long.
//!
//! A method that says that it raises ends its callers with a Lua error, up to [`Stack::within`],
//! without running their destructors. So no caller may have a value that needs one at that moment.
//! Errors of JSON are made after the last call of such a method, and are only returned.
#![expect(unsafe_code, reason = "Lua's own functions are the only ones without references")]

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::slice;

use mlua::ffi;
use mlua::{FromLuaMulti, IntoLuaMulti, Lua};

/// The stack during one call of [`within`](Self::within). Positions count from the first argument,
/// which is 1, or from the top, which is -1.
#[derive(Clone, Copy)]
pub(crate) struct Stack<'s> {
    state: *mut ffi::lua_State,
    _during: PhantomData<&'s ()>,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nil,
    Boolean,
    LightUserData,
    Number,
    String,
    Table,
    Cdata,
    /// A type that JSON does not have, with its name.
    Other(&'static str),
}

impl Stack<'_> {
    /// Calls `work` with a stack that holds these arguments, and returns what it leaves there.
    ///
    /// # Errors
    ///
    /// The error that a method has raised.
    pub(crate) fn within<R: FromLuaMulti>(
        lua: &Lua,
        arguments: impl IntoLuaMulti,
        work: impl FnOnce(Stack<'_>),
    ) -> mlua::Result<R> {
        // SAFETY: this is a protected call, and the stack cannot leave the closure.
        unsafe { lua.exec_raw(arguments, |state| work(Stack { state, _during: PhantomData })) }
    }

    /// Makes room for this number of further values. Raises an error if there is none.
    pub(crate) fn reserve(self, values: c_int) {
        // SAFETY: as for all functions below, the state is valid, and only this thread uses it.
        unsafe { ffi::luaL_checkstack(self.state, values, c"nested values".as_ptr()) }
    }

    /// Removes all values above the first `count`.
    pub(crate) fn truncate(self, count: c_int) {
        // SAFETY: see `reserve`; callers do not ask for more values than there are.
        unsafe { ffi::lua_settop(self.state, count) }
    }

    /// Removes this number of values from the top.
    pub(crate) fn pop(self, count: c_int) {
        // SAFETY: see `truncate`.
        unsafe { ffi::lua_settop(self.state, -count - 1) }
    }

    /// Moves the value at the top to this position, and removes the one that was there.
    pub(crate) fn replace(self, position: c_int) {
        // SAFETY: see `truncate`.
        unsafe { ffi::lua_replace(self.state, position) }
    }

    pub(crate) fn push_nil(self) {
        // SAFETY: see `reserve`; callers reserve room.
        unsafe { ffi::lua_pushnil(self.state) }
    }

    pub(crate) fn push_boolean(self, value: bool) {
        // SAFETY: see `push_nil`.
        unsafe { ffi::lua_pushboolean(self.state, c_int::from(value)) }
    }

    pub(crate) fn push_number(self, value: f64) {
        // SAFETY: see `push_nil`.
        unsafe { ffi::lua_pushnumber(self.state, value) }
    }

    pub(crate) fn push_address(self, value: *mut c_void) {
        // SAFETY: see `push_nil`. Lua does not use the address.
        unsafe { ffi::lua_pushlightuserdata(self.state, value) }
    }

    /// Pushes a copy of the value at this position.
    pub(crate) fn push_copy(self, position: c_int) {
        // SAFETY: see `push_nil` and `truncate`.
        unsafe { ffi::lua_pushvalue(self.state, position) }
    }

    /// Pushes a string of these bytes. Raises an error for want of memory.
    pub(crate) fn push_string(self, bytes: &[u8]) {
        // SAFETY: see `push_nil`; Lua copies the bytes.
        unsafe {
            ffi::lua_pushlstring(self.state, bytes.as_ptr().cast(), bytes.len());
        }
    }

    /// Pushes a new table with room for this number of fields. Raises an error for want of memory.
    pub(crate) fn push_table(self, fields: c_int) {
        // SAFETY: see `push_nil`.
        unsafe { ffi::lua_createtable(self.state, 0, fields) }
    }

    /// Whether the table below the key at the top has this key.
    pub(crate) fn has_key(self) -> bool {
        // SAFETY: see `truncate`; callers have a table there.
        unsafe {
            ffi::lua_pushvalue(self.state, -1);
            let kind = ffi::lua_rawget(self.state, -3);
            ffi::lua_settop(self.state, -2);
            kind != ffi::LUA_TNIL
        }
    }

    /// Sets the key and the value at the top in the table below, and removes both. Raises an error
    /// for want of memory. The key is a string.
    pub(crate) fn set_field(self) {
        // SAFETY: see `has_key`.
        unsafe { ffi::lua_rawset(self.state, -3) }
    }

    /// Sets the value at the top as this element of the table below, and removes it. Raises an
    /// error for want of memory.
    pub(crate) fn set_element(self, index: u32) {
        // SAFETY: see `has_key`.
        unsafe { ffi::lua_rawseti(self.state, -2, index.into()) }
    }

    /// Sets the value at this position as the metatable of the table at the top.
    pub(crate) fn set_metatable(self, position: c_int) {
        // SAFETY: see `has_key`; callers name a table.
        unsafe {
            ffi::lua_pushvalue(self.state, position);
            ffi::lua_setmetatable(self.state, -2);
        }
    }

    /// Whether the table at the top has the table at this position as its metatable.
    pub(crate) fn has_metatable(self, position: c_int) -> bool {
        // SAFETY: see `has_key`.
        unsafe {
            if ffi::lua_getmetatable(self.state, -1) == 0 {
                return false;
            }
            let is_same = ffi::lua_rawequal(self.state, -1, position) != 0;
            ffi::lua_settop(self.state, -2);
            is_same
        }
    }

    /// Replaces the key at the top by the next key of the table below and its value; nil stands
    /// before the first key. Returns `false`, and only removes the key, at the end. Raises an error
    /// if the table has lost the key.
    pub(crate) fn next_pair(self) -> bool {
        // SAFETY: see `has_key`.
        unsafe { ffi::lua_next(self.state, -2) != 0 }
    }

    /// Pushes an element of the table at the top.
    pub(crate) fn push_element(self, index: i32) {
        // SAFETY: see `has_key`.
        unsafe {
            ffi::lua_rawgeti(self.state, -1, index.into());
        }
    }

    /// Calls the function below this number of arguments, and replaces all of them by its result.
    /// Raises the function's error.
    pub(crate) fn call(self, arguments: c_int) {
        // SAFETY: see `truncate`.
        unsafe { ffi::lua_call(self.state, arguments, 1) }
    }

    pub(crate) fn kind(self, position: c_int) -> Kind {
        // SAFETY: see `truncate`.
        match unsafe { ffi::lua_type(self.state, position) } {
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TLIGHTUSERDATA => Kind::LightUserData,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TCDATA => Kind::Cdata,
            ffi::LUA_TFUNCTION => Kind::Other("function"),
            ffi::LUA_TTHREAD => Kind::Other("thread"),
            _ => Kind::Other("userdata"),
        }
    }

    pub(crate) fn boolean(self, position: c_int) -> bool {
        // SAFETY: see `truncate`.
        unsafe { ffi::lua_toboolean(self.state, position) != 0 }
    }

    pub(crate) fn number(self, position: c_int) -> f64 {
        // SAFETY: see `truncate`.
        unsafe { ffi::lua_tonumber(self.state, position) }
    }

    /// The address that a light userdata or a table is.
    pub(crate) fn address(self, position: c_int) -> *const c_void {
        // SAFETY: see `truncate`.
        unsafe { ffi::lua_topointer(self.state, position) }
    }
}

impl<'s> Stack<'s> {
    /// The bytes of the string at this position; empty for other values. Use them only while the
    /// string is on the stack, or in a table that is.
    pub(crate) fn bytes(self, position: c_int) -> &'s [u8] {
        // A number would become a string in its place.
        if self.kind(position) != Kind::String {
            return &[];
        }
        let mut length = 0;
        // SAFETY: see `truncate`; Lua neither moves nor changes a string, and keeps those that can
        // be reached.
        unsafe {
            let bytes = ffi::lua_tolstring(self.state, position, &raw mut length);
            slice::from_raw_parts(bytes.cast(), length)
        }
    }
}
