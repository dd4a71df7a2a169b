//! Interrupts a Lua state from another thread.
//!
//! LuaJIT has no function for this that another thread may call, but `lua_sethook` may be called
//! from a signal handler on the thread that runs Lua; LuaJIT's own program ends a script in this
//! way on Ctrl-C (`src/luajit.c`, `laction`). So the watchdog sends a signal to the thread, whose
//! handler sets a hook that raises an error at the next instruction. No hook is set before that,
//! because compiled loops would not run with one.
#![expect(unsafe_code, reason = "signals, and hooks that are set by a signal handler")]

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::io;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};

use mlua::Lua;
use mlua::ffi::{
    LUA_MASKCALL, LUA_MASKCOUNT, LUA_MASKRET, lua_Debug, lua_Hook, lua_State, lua_gethook,
    lua_gethookcount, lua_gethookmask, lua_sethook, luaL_error,
};

/// A signal that is ignored where no handler is installed, such as in child processes. Go's runtime
/// uses it for the same purpose.
const SIGNAL: c_int = libc::SIGURG;

/// The text of the error.
const MESSAGE: &CStr = c"the time of the invocation is over";

thread_local! {
    /// The state that a signal to this thread interrupts. Without a destructor and a lazy
    /// initializer, a signal handler may read it.
    static RUNNING: Cell<*mut lua_State> = const { Cell::new(ptr::null_mut()) };
    /// Whether the hook has raised its error since the last [`Running::begin`].
    static FIRED: Cell<bool> = const { Cell::new(false) };
    /// That of the thread's [`Target`].
    static IS_MEANT: Cell<Option<&'static AtomicBool>> = const { Cell::new(None) };
}

/// A thread that runs Lua.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    thread: libc::pthread_t,
    /// Whether the next signal to the thread is the watchdog's.
    is_meant: &'static AtomicBool,
}

/// Whether the current thread can be interrupted, until this is dropped.
pub(crate) struct Running {
    state: *mut lua_State,
    /// The hook, mask and count of the function itself.
    hook: (Option<lua_Hook>, c_int, c_int),
}

/// Installs the signal handler.
///
/// # Errors
///
/// That of the operating system.
pub(crate) fn install() -> io::Result<()> {
    static INSTALLED: Once = Once::new();
    let mut result = Ok(());
    INSTALLED.call_once(|| {
        // SAFETY: all zeros is a valid `sigaction`, and `on_signal` does only what a signal handler
        // may do. System calls that it interrupts are restarted.
        let status = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as extern "C" fn(c_int) as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(SIGNAL, &raw const action, ptr::null_mut())
        };
        if status != 0 {
            result = Err(io::Error::last_os_error());
        }
    });
    result
}

impl Target {
    /// The current thread. Call this once for a thread, as it takes some bytes until the process
    /// ends.
    pub(crate) fn current() -> Self {
        let is_meant = &*Box::leak(Box::default());
        IS_MEANT.set(Some(is_meant));
        // SAFETY: it has no preconditions.
        Self { thread: unsafe { libc::pthread_self() }, is_meant }
    }

    /// Makes the Lua code of the thread fail at its next instruction, if it is [`Running`]. Does
    /// nothing while a C function runs, but takes effect when it returns to Lua.
    ///
    /// Call it again until it has an effect: a signal that arrives while LuaJIT changes its own
    /// dispatch table can be lost.
    ///
    /// # Safety
    ///
    /// The thread must not have ended.
    pub(crate) unsafe fn interrupt(self) {
        self.is_meant.store(true, Ordering::SeqCst);
        // SAFETY: the caller ensures that the thread exists.
        let _ = unsafe { libc::pthread_kill(self.thread, SIGNAL) };
    }
}

impl Running {
    /// Lets a signal to this thread interrupt this state.
    ///
    /// # Errors
    ///
    /// If Lua has no stack left for a call.
    pub(crate) fn begin(lua: &Lua) -> mlua::Result<Self> {
        let mut state = ptr::null_mut();
        // SAFETY: the closure leaves the stack of the state as it is.
        unsafe { lua.exec_raw::<()>((), |current| state = current)? };
        // SAFETY: the state is valid, and these only read it.
        let hook = unsafe { (lua_gethook(state), lua_gethookmask(state), lua_gethookcount(state)) };
        FIRED.set(false);
        // A signal for the invocation before may still arrive.
        is_meant();
        RUNNING.set(state);
        compiler_fence(Ordering::SeqCst);
        Ok(Self { state, hook })
    }

    /// Returns whether the code was interrupted. It may have caught the error and returned.
    pub(crate) fn end(self) -> bool {
        drop(self);
        FIRED.get()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A signal that arrives from here on sets no hook.
        RUNNING.set(ptr::null_mut());
        compiler_fence(Ordering::SeqCst);
        let (hook, mask, count) = self.hook;
        // SAFETY: `begin` has got the pointer from a state that outlives this, on this thread, and
        // the hook from this state.
        unsafe {
            let current = lua_gethook(self.state);
            // Another one is the function's own, which it has set since.
            if current.is_some_and(|current| ptr::fn_addr_eq(current, raise as lua_Hook)) {
                lua_sethook(self.state, hook, mask, count);
            }
        }
    }
}

extern "C" fn on_signal(_signal: c_int) {
    // Others use this signal, too.
    if is_meant() {
        stop();
    }
}

/// Whether the watchdog has sent the signal that has just arrived on this thread.
fn is_meant() -> bool {
    IS_MEANT.get().is_some_and(|is_meant| is_meant.swap(false, Ordering::SeqCst))
}

/// Makes the Lua code of this thread fail at its next instruction, if it is [`Running`].
pub(crate) fn stop() {
    let state = RUNNING.get();
    if !state.is_null() {
        // A count of 1 alone would miss a function that only calls others.
        let mask = LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT;
        // SAFETY: the state belongs to this thread, and the function may be called at any time, in
        // a signal handler too.
        unsafe { lua_sethook(state, Some(raise), mask, 1) };
    }
}

/// Raises an error. The hook stays, so that Lua code that catches the error fails again.
unsafe extern "C-unwind" fn raise(state: *mut lua_State, _activation: *mut lua_Debug) {
    FIRED.set(true);
    // SAFETY: LuaJIT calls the hook with a valid state, and no frame between it and here has
    // anything to drop.
    unsafe { luaL_error(state, MESSAGE.as_ptr()) };
}
