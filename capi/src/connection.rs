//! The socket of the caller: connecting, writing, reading.

use core::ffi::{c_char, c_void};
use core::ptr;

use lambda_proto::client::{backoff, refuses_early};

use crate::constants::{
    Code, LAMBDA_PROTO_ERROR_LENGTH, LAMBDA_PROTO_ERROR_MEMORY, LAMBDA_PROTO_ERROR_ROOM,
    LAMBDA_PROTO_OK,
};
use crate::handle::{Client, Parts, command, host, look, progress};
use crate::memory::{begin, hide, is_wanting};
use crate::pointers::{Bytes, Out, code};

/// The host to connect to, ended by NUL.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_host(client: *const Client) -> *const c_char {
    // SAFETY: the caller vouches for the pointer.
    unsafe { look(client) }.map_or(ptr::null(), host)
}

/// The port to connect to.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_port(client: *const Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    let port = unsafe { look(client) };
    code(port.map(|parts| parts.client.machine().endpoint().port().into()))
}

/// How long to wait before an attempt to connect.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_backoff_ms(
    client: *const Client,
    failed: u32,
    random: u32,
) -> i32 {
    let wait = |parts: &Parts| {
        // The first loss is an ordinary one.
        let losses = parts.client.machine().losses().saturating_sub(1);
        let wait = backoff(losses.saturating_add(failed), random);
        // At most 3.2 s, so nothing is lost; 64 bits, because a division of 128 bits is a function.
        (wait.as_micros() as u64).div_ceil(1000) as Code
    };
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { look(client) }.map(wait))
}

/// There is a new connection.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_connected(client: *mut Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    let parts = unsafe { command(client) };
    code(parts.map(|parts| {
        parts.client.exchange().connected();
        LAMBDA_PROTO_OK
    }))
}

/// The slices to send.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_unsent(
    client: *const Client,
    parts: *mut *const u8,
    lengths: *mut usize,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    code(unsafe { unsent(client.cast_mut(), parts, lengths) })
}

unsafe fn unsent(
    client: *mut Client,
    starts: *mut *const u8,
    lengths: *mut usize,
) -> Result<Code, Code> {
    let (starts, lengths) = (Out::new(starts)?, Out::new(lengths)?);
    // SAFETY: the caller vouches for the pointer. Nothing is changed.
    let parts = unsafe { progress(client)? };
    // SAFETY: the caller keeps the body until the answer is settled, when it is forgotten here.
    let body = unsafe { parts.body.get() };
    let exchange = parts.client.exchange();
    let mut count = 0;
    // SAFETY: the caller vouches for three places each; at most three parts are not empty.
    unsafe {
        for place in 0..3 {
            starts.at(place).set(ptr::null());
            lengths.at(place).set(0);
        }
        for part in exchange.unsent(body) {
            if !part.is_empty() {
                starts.at(count).set(part.as_ptr());
                lengths.at(count).set(part.len());
                count += 1;
            }
        }
    }
    Ok(count as Code)
}

/// Bytes were written.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_sent(client: *mut Client, length: usize) -> i32 {
    let sent = || {
        // SAFETY: the caller vouches for the pointer.
        let parts = unsafe { progress(client)? };
        if length > parts.client.machine().unsent_len() {
            return Err(LAMBDA_PROTO_ERROR_LENGTH);
        }
        parts.client.exchange().sent(length);
        Ok(LAMBDA_PROTO_OK)
    };
    code(sent())
}

/// The connection takes no more bytes.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_write_failed(client: *mut Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    let parts = unsafe { progress(client) };
    code(parts.map(|parts| {
        parts.client.exchange().write_failed();
        LAMBDA_PROTO_OK
    }))
}

/// Room to read into.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_room(
    client: *mut Client,
    room: *mut *mut u8,
    length: *mut usize,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    code(unsafe { give_room(client, room, length) })
}

unsafe fn give_room(
    client: *mut Client,
    start: *mut *mut u8,
    length: *mut usize,
) -> Result<Code, Code> {
    let (start, length) = (Out::new(start)?, Out::new(length)?);
    // SAFETY: the caller vouches for the pointer.
    let parts = unsafe { command(client)? };
    // For the caller, the answer is not settled yet, and the next event must not take the place of its
    // event.
    if parts.is_receipt_waiting {
        return Err(LAMBDA_PROTO_ERROR_ROOM);
    }
    // SAFETY: `command` has found a client; core's client does not run.
    unsafe { begin(client) };
    let mut exchange = parts.client.exchange();
    let room = exchange.room().map(|room| (room.as_mut_ptr(), room.len()));
    // SAFETY: as above.
    if unsafe { is_wanting(client) } {
        if room.is_some() {
            // The room is not handed out, and it ends with the byte that was shown.
            // SAFETY: as above.
            unsafe { hide(client) };
        }
        return Err(LAMBDA_PROTO_ERROR_MEMORY);
    }
    let (at, room) = room.ok_or(LAMBDA_PROTO_ERROR_ROOM)?;
    parts.room = room;
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        start.set(at);
        length.set(room);
    }
    Ok(LAMBDA_PROTO_OK)
}

/// Bytes were read into the room.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_received(client: *mut Client, length: usize) -> i32 {
    let received = || {
        // SAFETY: the caller vouches for the pointer.
        let parts = unsafe { progress(client)? };
        if length > parts.room {
            return Err(LAMBDA_PROTO_ERROR_LENGTH);
        }
        parts.room = 0;
        parts.client.exchange().received(length);
        Ok(LAMBDA_PROTO_OK)
    };
    code(received())
}

/// The connection broke.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_lost(client: *mut Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    let parts = unsafe { command(client) };
    code(parts.map(|parts| {
        parts.client.exchange().lost();
        LAMBDA_PROTO_OK
    }))
}

/// Whether a reply means that the write is useless.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_refuses_early(
    beginning: *const c_void,
    length: usize,
) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    code(Bytes::new(beginning, length).map(|bytes| refuses_early(unsafe { bytes.get() }).into()))
}

/// Whether there is a connection.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_is_connected(client: *const Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { look(client) }.map(|parts| parts.client.is_connected().into()))
}

/// Whether the client only waits.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_is_waiting(client: *const Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { look(client) }.map(|parts| parts.client.is_waiting().into()))
}

/// How many connections in a row were lost without a reply.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_losses(client: *const Client) -> i32 {
    let losses = |parts: &Parts| i32::try_from(parts.client.machine().losses()).unwrap_or(i32::MAX);
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { look(client) }.map(losses))
}

/// Whether a stream has begun and not ended.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_is_streaming(client: *const Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { look(client) }.map(|parts| parts.client.is_streaming().into()))
}

/// Whether the program may stop.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_may_stop(client: *const Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { look(client) }.map(|parts| parts.client.may_stop().into()))
}
