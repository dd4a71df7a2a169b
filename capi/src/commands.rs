//! Commands: each encodes a request.

use core::ffi::{c_char, c_void};

use lambda_proto::api::{ContentType, ErrorReport};
use lambda_proto::limits::{MAX_ERROR_TRAILERS, MAX_REQUEST_HEAD};
use lambda_proto::machine::CommandError;

use crate::constants::{
    Code, LAMBDA_PROTO_ERROR_CONTENT_TYPE, LAMBDA_PROTO_ERROR_MEMORY, LAMBDA_PROTO_ERROR_PHASE,
    LAMBDA_PROTO_OK, LAST_CHUNK, REPLY,
};
use crate::errors::of_command;
use crate::handle::{Client, Parts, command};
use crate::memory::{Memory, begin, hide, is_wanting};
use crate::pointers::{Bytes, code, text};

/// Gives core a command, and records how much memory a refused one needs.
unsafe fn give(
    client: *mut Client,
    run: impl FnOnce(&mut Parts) -> Result<(), CommandError>,
) -> Result<Code, Code> {
    // SAFETY: the caller vouches for the pointer.
    let parts = unsafe { command(client)? };
    // For the caller, the answer is not settled yet.
    if parts.is_receipt_waiting {
        return Err(LAMBDA_PROTO_ERROR_PHASE);
    }
    // SAFETY: `command` has found a client; core's client does not run.
    unsafe { begin(client) };
    let result = run(parts);
    // SAFETY: as above.
    unsafe {
        if is_wanting(client) {
            // A request leaves the end of the memory free, and nothing was read since. What core
            // has done without, such as a pipelined request, is not needed.
            hide(client);
            begin(client);
        }
    }
    let Err(error) = result else { return Ok(LAMBDA_PROTO_OK) };
    if let CommandError::BufferTooSmall(too_small) = error {
        // SAFETY: as above.
        unsafe { (*Client::requests(client)).need(too_small.needed.saturating_add(REPLY)) };
    }
    Err(of_command(error))
}

/// Checks that events have room for what may arrive in the memory for requests before them, if the
/// memory for events grows.
unsafe fn check_events(client: *mut Client) -> Result<(), Code> {
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        command(client)?;
        begin(client);
    }
    // SAFETY: `command` has found a client; core's client does not run.
    let (events, requests) =
        unsafe { (&mut *Client::events(client), &mut *Client::requests(client)) };
    // One byte is held back.
    if events.may_grow() && events.len() <= requests.len() {
        events.want(requests.len().saturating_add(1));
        return Err(LAMBDA_PROTO_ERROR_MEMORY);
    }
    Ok(())
}

/// Asks for the next invocation.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_ask(client: *mut Client) -> i32 {
    let ask = || {
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            check_events(client)?;
            give(client, |parts| parts.client.ask())
        }
    };
    code(ask())
}

/// Answers the invocation.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_respond(
    client: *mut Client,
    content_type: *const c_char,
    content_type_length: usize,
    body: *const c_void,
    body_length: usize,
    pipelined: i32,
) -> i32 {
    let respond = || {
        let content_type = match content_type_length {
            0 => None,
            // SAFETY: the caller vouches for the pointers.
            length => Some(unsafe { content_type_of(content_type, length)? }),
        };
        let body = Bytes::new(body, body_length)?;
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            if pipelined != 0 {
                check_events(client)?;
            }
            give(client, |parts| {
                parts.client.exchange().respond(content_type, body.len(), pipelined != 0)?;
                parts.body = body;
                parts.is_pipelined = pipelined != 0;
                Ok(())
            })
        }
    };
    code(respond())
}

/// Begins to stream the response.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_stream(
    client: *mut Client,
    content_type: *const c_char,
    content_type_length: usize,
) -> i32 {
    let stream = || {
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            let content_type = content_type_of(content_type, content_type_length)?;
            give(client, |parts| parts.client.exchange().stream(content_type))
        }
    };
    code(stream())
}

/// Sends the next piece of the stream.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_chunk(
    client: *mut Client,
    piece: *const c_void,
    length: usize,
) -> i32 {
    let chunk = || {
        let piece = Bytes::new(piece, length)?;
        let send = |parts: &mut Parts| {
            parts.client.exchange().chunk(piece.len())?;
            parts.body = piece;
            Ok(())
        };
        // SAFETY: the caller vouches for the pointer.
        unsafe { give(client, send) }
    };
    code(chunk())
}

/// Ends the stream.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_finish(client: *mut Client, pipelined: i32) -> i32 {
    let finish = || {
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            if pipelined != 0 {
                check_events(client)?;
            }
            give(client, |parts| {
                parts.client.exchange().finish(pipelined != 0)?;
                parts.is_pipelined = pipelined != 0;
                Ok(())
            })
        }
    };
    code(finish())
}

/// Reports that the handler gave no answer.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_give_up(client: *mut Client) -> i32 {
    let give_up = |parts: &mut Parts| {
        let warnings = &mut parts.warnings;
        parts.client.give_up(|warning| warnings.push(warning))
    };
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { give(client, give_up) })
}

/// Asks for the restore after a snapshot.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_restore_next(client: *mut Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { give(client, |parts| parts.client.restore_next()) })
}

/// The texts of a report: pointers and lengths.
struct Texts {
    error_type: (*const c_char, usize),
    message: (*const c_char, usize),
    trace: (*const c_char, usize),
    /// JSON of the caller, to send instead of the first three.
    json: (*const c_char, usize),
    cause: (*const c_char, usize),
}

/// No text.
const NOTHING: (*const c_char, usize) = (core::ptr::null(), 0);

/// Sends a report, if there is memory for all of it or none can be had.
unsafe fn report(
    client: *mut Client,
    texts: &Texts,
    send: fn(&mut Parts, &ErrorReport<'_>) -> Result<(), CommandError>,
) -> Result<Code, Code> {
    let Texts { error_type, message, trace, json, cause } = texts;
    // SAFETY: the caller vouches for the pointers.
    let [error_type, message, trace, json, cause] = unsafe {
        [
            text(error_type.0, error_type.1)?,
            text(message.0, message.1)?,
            text(trace.0, trace.1)?,
            text(json.0, json.1)?,
            text(cause.0, cause.1)?,
        ]
    };
    let mut report = ErrorReport::new(error_type, message).stack_trace(trace);
    if !json.is_empty() {
        report = report.json(json);
    }
    if !cause.is_empty() {
        report = report.xray_cause(cause);
    }
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        let trailers = if command(client)?.client.is_streaming() {
            MAX_ERROR_TRAILERS + LAST_CHUNK
        } else {
            0
        };
        check_requests(&mut *Client::requests(client), &report, trailers, cause.len())?;
        give(client, |parts| send(parts, &report))
    }
}

/// Checks that a report fits, if the memory for requests grows; core would cut it.
fn check_requests(
    requests: &mut Memory,
    report: &ErrorReport<'_>,
    trailers: usize,
    cause: usize,
) -> Result<(), Code> {
    if !requests.may_grow() {
        return Ok(());
    }
    requests.begin();
    let json = report.encode_json(&mut []).unwrap_or_else(|too_small| too_small.needed);
    // A cause may be escaped, six bytes for two.
    let needed = (MAX_REQUEST_HEAD + REPLY + trailers)
        .saturating_add(json)
        .saturating_add(cause.saturating_mul(3));
    if requests.len() < needed && requests.len() < requests.most() {
        requests.want(needed);
        return Err(LAMBDA_PROTO_ERROR_MEMORY);
    }
    Ok(())
}

/// Fails the invocation, and keeps the warning.
fn fail(parts: &mut Parts, report: &ErrorReport<'_>) -> Result<(), CommandError> {
    let warnings = &mut parts.warnings;
    let before = warnings.count();
    let sent = parts.client.exchange().fail(report, |warning| warnings.push(warning));
    // Core warns first. If the call can be repeated, that call warns.
    if matches!(sent, Err(CommandError::Unsent { .. } | CommandError::BufferTooSmall(_))) {
        warnings.forget_since(before);
    }
    sent
}

/// Reports that the invocation failed.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_fail(
    client: *mut Client,
    error_type: *const c_char,
    error_type_length: usize,
    message: *const c_char,
    message_length: usize,
    trace: *const c_char,
    trace_length: usize,
    cause: *const c_char,
    cause_length: usize,
) -> i32 {
    let texts = Texts {
        error_type: (error_type, error_type_length),
        message: (message, message_length),
        trace: (trace, trace_length),
        json: NOTHING,
        cause: (cause, cause_length),
    };
    // SAFETY: the caller vouches for the pointers.
    code(unsafe { report(client, &texts, fail) })
}

/// Reports that the invocation failed, with JSON of the caller.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_fail_json(
    client: *mut Client,
    error_type: *const c_char,
    error_type_length: usize,
    message: *const c_char,
    message_length: usize,
    json: *const c_char,
    json_length: usize,
    cause: *const c_char,
    cause_length: usize,
) -> i32 {
    let texts = Texts {
        error_type: (error_type, error_type_length),
        message: (message, message_length),
        trace: NOTHING,
        json: (json, json_length),
        cause: (cause, cause_length),
    };
    // SAFETY: the caller vouches for the pointers.
    code(unsafe { report(client, &texts, fail) })
}

/// Reports that the function could not start.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_fail_init(
    client: *mut Client,
    error_type: *const c_char,
    error_type_length: usize,
    message: *const c_char,
    message_length: usize,
    trace: *const c_char,
    trace_length: usize,
    cause: *const c_char,
    cause_length: usize,
) -> i32 {
    let texts = Texts {
        error_type: (error_type, error_type_length),
        message: (message, message_length),
        trace: (trace, trace_length),
        json: NOTHING,
        cause: (cause, cause_length),
    };
    // SAFETY: the caller vouches for the pointers.
    code(unsafe { report(client, &texts, |parts, report| parts.client.fail_init(report)) })
}

/// Reports that the function could not start, with JSON of the caller.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_fail_init_json(
    client: *mut Client,
    error_type: *const c_char,
    error_type_length: usize,
    message: *const c_char,
    message_length: usize,
    json: *const c_char,
    json_length: usize,
    cause: *const c_char,
    cause_length: usize,
) -> i32 {
    let texts = Texts {
        error_type: (error_type, error_type_length),
        message: (message, message_length),
        trace: NOTHING,
        json: (json, json_length),
        cause: (cause, cause_length),
    };
    // SAFETY: the caller vouches for the pointers.
    code(unsafe { report(client, &texts, |parts, report| parts.client.fail_init(report)) })
}

/// Reports that the function could not resume after the restore.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_fail_restore(
    client: *mut Client,
    error_type: *const c_char,
    error_type_length: usize,
    message: *const c_char,
    message_length: usize,
    trace: *const c_char,
    trace_length: usize,
    cause: *const c_char,
    cause_length: usize,
) -> i32 {
    let texts = Texts {
        error_type: (error_type, error_type_length),
        message: (message, message_length),
        trace: (trace, trace_length),
        json: NOTHING,
        cause: (cause, cause_length),
    };
    // SAFETY: the caller vouches for the pointers.
    code(unsafe { report(client, &texts, |parts, report| parts.client.fail_restore(report)) })
}

/// Takes back the answer, or the piece of a stream.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_withdraw(client: *mut Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    let parts = unsafe { command(client) };
    code(parts.map(|parts| {
        parts.client.exchange().withdraw();
        parts.body = Bytes::EMPTY;
        LAMBDA_PROTO_OK
    }))
}

/// Ends the session.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_shut_down(client: *mut Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    let parts = unsafe { command(client) };
    code(parts.map(|parts| {
        parts.client.exchange().shut_down();
        parts.body = Bytes::EMPTY;
        LAMBDA_PROTO_OK
    }))
}

unsafe fn content_type_of<'a>(
    value: *const c_char,
    length: usize,
) -> Result<ContentType<'a>, Code> {
    // SAFETY: the caller vouches for the pointer.
    let value = unsafe { Bytes::new(value, length)?.get() };
    ContentType::from_bytes(value).map_err(|_| LAMBDA_PROTO_ERROR_CONTENT_TYPE)
}
