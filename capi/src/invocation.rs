//! The invocation in flight.

use core::ffi::{c_char, c_void};

use lambda_proto::api::ContentType;
use lambda_proto::client::Invocation;

use crate::constants::*;
use crate::handle::{Client, command, look};
use crate::memory::give_events;
use crate::pointers::{Bytes, Out, code, own, text};

/// The invocation, and where the memory of its event begins.
unsafe fn in_flight<'c>(client: *const Client) -> Result<(Invocation<'c>, *const u8), Code> {
    // SAFETY: the caller vouches for the pointer.
    let parts = unsafe { look(client)? };
    let invocation = parts.client.invocation().ok_or(LAMBDA_PROTO_ERROR_PHASE)?;
    // SAFETY: `look` has found a client.
    let start = unsafe { (*Client::events(client.cast_mut())).start() };
    Ok((invocation, start))
}

/// Hands out a value in the memory of the event, or null.
unsafe fn hand_out<T>(
    value: Option<&[u8]>,
    start: *const u8,
    (place, length): (Out<*const T>, Out<usize>),
) {
    let at = value.map_or(core::ptr::null(), |value| own(start, value));
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        place.set(at.cast());
        length.set(value.map_or(0, <[u8]>::len));
    }
}

/// The body of the event.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_event(
    client: *const Client,
    event: *mut *const u8,
    length: *mut usize,
) -> i32 {
    let hand = || {
        let out = (Out::new(event)?, Out::new(length)?);
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            let (invocation, start) = in_flight(client)?;
            hand_out(Some(invocation.body()), start, out);
        }
        Ok(LAMBDA_PROTO_OK)
    };
    code(hand())
}

/// A field of the event.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_field(
    client: *const Client,
    field: i32,
    value: *mut *const c_char,
    length: *mut usize,
) -> i32 {
    let hand = || {
        let out = (Out::new(value)?, Out::new(length)?);
        // SAFETY: the caller vouches for the pointer.
        let (invocation, start) = unsafe { in_flight(client)? };
        let value = match field {
            LAMBDA_PROTO_FIELD_REQUEST_ID => Some(invocation.request_id().as_bytes()),
            LAMBDA_PROTO_FIELD_ATTEMPT_ID => invocation.attempt_id(),
            LAMBDA_PROTO_FIELD_FUNCTION_ARN => invocation.invoked_function_arn().map(str::as_bytes),
            LAMBDA_PROTO_FIELD_TRACE_ID => invocation.trace_id().map(str::as_bytes),
            LAMBDA_PROTO_FIELD_CLIENT_CONTEXT => invocation.client_context(),
            LAMBDA_PROTO_FIELD_COGNITO_IDENTITY => invocation.cognito_identity(),
            LAMBDA_PROTO_FIELD_TENANT_ID => invocation.tenant_id().map(str::as_bytes),
            LAMBDA_PROTO_FIELD_CONTENT_TYPE => {
                invocation.content_type().as_ref().map(ContentType::as_bytes)
            }
            _ => return Err(LAMBDA_PROTO_ERROR_ARGUMENT),
        };
        // SAFETY: the caller vouches for the pointers.
        unsafe { hand_out(value, start, out) };
        Ok(LAMBDA_PROTO_OK)
    };
    code(hand())
}

/// Any header of the event.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_header(
    client: *const Client,
    name: *const c_char,
    name_length: usize,
    value: *mut *const c_char,
    length: *mut usize,
) -> i32 {
    let hand = || {
        let out = (Out::new(value)?, Out::new(length)?);
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            let (invocation, start) = in_flight(client)?;
            let value = invocation.header(text(name, name_length)?);
            hand_out(value, start, out);
        }
        Ok(LAMBDA_PROTO_OK)
    };
    code(hand())
}

/// When the invocation times out.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_deadline_ms(
    client: *const Client,
    deadline: *mut u64,
) -> i32 {
    let hand = || {
        let out = Out::new(deadline)?;
        // SAFETY: the caller vouches for the pointer.
        let (invocation, _) = unsafe { in_flight(client)? };
        let deadline = invocation.deadline().map_or(0, |deadline| deadline.as_unix_millis());
        // SAFETY: the caller vouches for the pointer.
        unsafe { out.set(deadline) };
        Ok(LAMBDA_PROTO_OK)
    };
    code(hand())
}

/// Takes the event out of the client, with its memory.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_take_event(
    client: *mut Client,
    memory: *mut c_void,
    length: usize,
) -> i32 {
    let take = || {
        Bytes::new(memory, length)?;
        // SAFETY: the caller vouches for the pointer.
        let parts = unsafe { command(client)? };
        // Core has not encoded anything of a stream before its first piece.
        if parts.client.is_streaming() {
            return Err(LAMBDA_PROTO_ERROR_PHASE);
        }
        // SAFETY: `command` has found a client, and the storage is the only one of this memory,
        // because the one that is taken out is dropped.
        let storage = unsafe { crate::memory::Shared::new(Client::events(client)) };
        parts.client.take_event(storage).ok_or(LAMBDA_PROTO_ERROR_PHASE)?;
        // SAFETY: the caller vouches for the memory, and core's client holds nothing in the old one.
        unsafe { give_events(client, memory.cast(), length) };
        Ok(LAMBDA_PROTO_OK)
    };
    code(take())
}
