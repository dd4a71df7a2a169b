//! Error codes with their names and texts, and versions.

use core::ffi::{CStr, c_char};

use lambda_proto::machine::CommandError;

use crate::constants::*;

/// The version of the interface that this library has.
#[unsafe(no_mangle)]
pub extern "C" fn lambda_proto_abi_version() -> i32 {
    LAMBDA_PROTO_ABI_VERSION
}

/// The version of this library, ended by NUL.
#[unsafe(no_mangle)]
pub extern "C" fn lambda_proto_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(VERSION_BYTES) {
        Ok(version) => version,
        Err(_) => c"",
    };
    const VERSION_BYTES: &[u8] = concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes();
    VERSION.as_ptr()
}

/// The name of an error code, ended by NUL.
#[unsafe(no_mangle)]
pub extern "C" fn lambda_proto_error_name(code: i32) -> *const c_char {
    name_and_text(code).0.as_ptr()
}

/// What is wrong and what to do, ended by NUL.
#[unsafe(no_mangle)]
pub extern "C" fn lambda_proto_error_text(code: i32) -> *const c_char {
    name_and_text(code).1.as_ptr()
}

fn name_and_text(code: i32) -> (&'static CStr, &'static CStr) {
    match code {
        LAMBDA_PROTO_OK => (c"LAMBDA_PROTO_OK", c"success"),
        LAMBDA_PROTO_ERROR_NULL => (
            c"LAMBDA_PROTO_ERROR_NULL",
            c"a pointer is NULL: pass one, or 0 as its length where it is optional",
        ),
        LAMBDA_PROTO_ERROR_ALIGNMENT => (
            c"LAMBDA_PROTO_ERROR_ALIGNMENT",
            c"the memory is not aligned: ask the _align() function, or use malloc()",
        ),
        LAMBDA_PROTO_ERROR_SHORT => {
            (c"LAMBDA_PROTO_ERROR_SHORT", c"the memory is too short for what it is to hold")
        }
        LAMBDA_PROTO_ERROR_LENGTH => (
            c"LAMBDA_PROTO_ERROR_LENGTH",
            c"a length exceeds PTRDIFF_MAX, or what there was room or data for",
        ),
        LAMBDA_PROTO_ERROR_HANDLE => (
            c"LAMBDA_PROTO_ERROR_HANDLE",
            c"the memory holds no such object: it was not initialised, was closed, or was moved",
        ),
        LAMBDA_PROTO_ERROR_PHASE => {
            (c"LAMBDA_PROTO_ERROR_PHASE", c"not allowed in this phase: take the next step")
        }
        LAMBDA_PROTO_ERROR_UNSENT => {
            (c"LAMBDA_PROTO_ERROR_UNSENT", c"bytes of the previous command have not been sent")
        }
        LAMBDA_PROTO_ERROR_RECONNECT => (
            c"LAMBDA_PROTO_ERROR_RECONNECT",
            c"this connection takes no further request: take the next step",
        ),
        LAMBDA_PROTO_ERROR_MEMORY => {
            (c"LAMBDA_PROTO_ERROR_MEMORY", c"more memory is needed: give it, and call again")
        }
        LAMBDA_PROTO_ERROR_UTF8 => (c"LAMBDA_PROTO_ERROR_UTF8", c"the text is not UTF-8"),
        LAMBDA_PROTO_ERROR_ADDRESS => (
            c"LAMBDA_PROTO_ERROR_ADDRESS",
            c"not the address of a Runtime API: use host:port or [v6-address]:port",
        ),
        LAMBDA_PROTO_ERROR_USER_AGENT => (
            c"LAMBDA_PROTO_ERROR_USER_AGENT",
            c"a user agent has 1 to 128 visible ASCII characters",
        ),
        LAMBDA_PROTO_ERROR_CONTENT_TYPE => (
            c"LAMBDA_PROTO_ERROR_CONTENT_TYPE",
            c"a content type has 1 to 256 bytes and no control characters",
        ),
        LAMBDA_PROTO_ERROR_ARGUMENT => {
            (c"LAMBDA_PROTO_ERROR_ARGUMENT", c"a number or a constant is out of range")
        }
        LAMBDA_PROTO_ERROR_ROOM => {
            (c"LAMBDA_PROTO_ERROR_ROOM", c"no room before the next step: take it")
        }
        LAMBDA_PROTO_ERROR_STREAM_OVER => (
            c"LAMBDA_PROTO_ERROR_STREAM_OVER",
            c"the Runtime API accepts no more of this response: ask for the next invocation",
        ),
        LAMBDA_PROTO_ERROR_ENDED => {
            (c"LAMBDA_PROTO_ERROR_ENDED", c"the session is over: exit with a code other than 0")
        }
        LAMBDA_PROTO_ERROR_UNREACHABLE => (
            c"LAMBDA_PROTO_ERROR_UNREACHABLE",
            c"no connection to the Runtime API for a minute: exit with a code other than 0",
        ),
        LAMBDA_PROTO_ERROR_SYSTEM => {
            (c"LAMBDA_PROTO_ERROR_SYSTEM", c"a system call failed: errno says why")
        }
        LAMBDA_PROTO_ERROR_ENVIRONMENT => (
            c"LAMBDA_PROTO_ERROR_ENVIRONMENT",
            c"AWS_LAMBDA_RUNTIME_API is not set: start this by Lambda, or by lambda-lab",
        ),
        LAMBDA_PROTO_ERROR_INTERRUPTED => (
            c"LAMBDA_PROTO_ERROR_INTERRUPTED",
            c"a signal handler ran; nothing is lost: call again, or stop",
        ),
        _ => (c"LAMBDA_PROTO_ERROR_UNKNOWN", c"not an error code of this version"),
    }
}

/// The code of an error of core.
#[cold]
pub(crate) fn of_command(error: CommandError) -> Code {
    match error {
        CommandError::Unsent { .. } => LAMBDA_PROTO_ERROR_UNSENT,
        CommandError::MustReconnect => LAMBDA_PROTO_ERROR_RECONNECT,
        CommandError::BufferTooSmall(_) => LAMBDA_PROTO_ERROR_MEMORY,
        // `WrongPhase`, and what core may add.
        _ => LAMBDA_PROTO_ERROR_PHASE,
    }
}
