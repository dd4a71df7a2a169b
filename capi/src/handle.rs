//! A client in memory of the caller.

use core::ffi::{c_char, c_void};
use core::ptr;

use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto::client::{self, Receipt};
use lambda_proto::limits::MAX_AUTHORITY;
use lambda_proto::machine::Machine;

use crate::constants::{
    Code, LAMBDA_PROTO_ERROR_ADDRESS, LAMBDA_PROTO_ERROR_ALIGNMENT, LAMBDA_PROTO_ERROR_ARGUMENT,
    LAMBDA_PROTO_ERROR_HANDLE, LAMBDA_PROTO_ERROR_LENGTH, LAMBDA_PROTO_ERROR_NULL,
    LAMBDA_PROTO_ERROR_SHORT, LAMBDA_PROTO_ERROR_USER_AGENT, LAMBDA_PROTO_OK,
};
use crate::memory::{Memory, Shared};
use crate::pointers::{Bytes, Out, code, text};
use crate::text::{Line, Warnings};

/// A client of core with its state for C: `lambda_proto_client` in the header.
#[repr(C)]
pub struct Client {
    /// [`TAG`] after the address, so that a copy elsewhere is not a client.
    tag: usize,
    /// Apart from the rest, because the storages of core's client point to them.
    events: Memory,
    requests: Memory,
    parts: Parts,
}

/// Everything but the memories.
pub(crate) struct Parts {
    pub(crate) client: client::Client<Shared>,
    pub(crate) concurrency: Concurrency,
    /// The body of the answer, or the piece of a stream, that is being sent.
    pub(crate) body: Bytes,
    pub(crate) warnings: Warnings,
    /// The receipt that the caller got last.
    pub(crate) receipt: Option<Receipt>,
    /// Whether the next invocation was asked for together with the answer, whose receipt is due.
    pub(crate) is_pipelined: bool,
    /// Whether that receipt waits until warnings have been taken.
    pub(crate) is_receipt_waiting: bool,
    /// The length of the room that was handed out.
    pub(crate) room: usize,
    /// Why the session is over; empty until then.
    pub(crate) end: Line,
    /// The host, ended by NUL.
    pub(crate) host: [u8; MAX_AUTHORITY + 1],
}

const TAG: usize = 0x6c61_6d62;

impl Client {
    /// # Safety
    ///
    /// `this` is valid.
    pub(crate) unsafe fn events(this: *mut Self) -> *mut Memory {
        // SAFETY: the field is in the object that the caller vouches for.
        unsafe { &raw mut (*this).events }
    }

    /// # Safety
    ///
    /// `this` is valid.
    pub(crate) unsafe fn requests(this: *mut Self) -> *mut Memory {
        // SAFETY: the field is in the object that the caller vouches for.
        unsafe { &raw mut (*this).requests }
    }

    fn tag(address: *const Self) -> usize {
        TAG.wrapping_add(address.addr())
    }
}

/// The client at an address, for facts.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[inline]
pub(crate) unsafe fn look<'c>(client: *const Client) -> Result<&'c Parts, Code> {
    check(client)?;
    // SAFETY: there is a client, and no other call uses it.
    Ok(unsafe { &(*client).parts })
}

/// The client at an address, for progress of its I/O.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[inline]
pub(crate) unsafe fn progress<'c>(client: *mut Client) -> Result<&'c mut Parts, Code> {
    check(client)?;
    // SAFETY: there is a client, and no other call uses it. The memories are not part of `parts`,
    // so the storages may use them.
    Ok(unsafe { &mut (*client).parts })
}

/// The client at an address, for anything that makes the room invalid that was handed out.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[inline]
pub(crate) unsafe fn command<'c>(client: *mut Client) -> Result<&'c mut Parts, Code> {
    // SAFETY: the caller vouches for the pointer.
    let parts = unsafe { progress(client)? };
    parts.room = 0;
    Ok(parts)
}

/// Whether there is a client at an address. Each function asks this first.
#[inline]
fn check(client: *const Client) -> Result<(), Code> {
    // SAFETY: the caller of every function vouches for memory of the size of a client.
    if !client.is_null() && client.is_aligned() && unsafe { (*client).tag } == Client::tag(client) {
        return Ok(());
    }
    Err(why_not(client))
}

/// What is wrong with an address that is not a client.
#[cold]
#[inline(never)]
fn why_not(client: *const Client) -> Code {
    if client.is_null() {
        LAMBDA_PROTO_ERROR_NULL
    } else if !client.is_aligned() {
        LAMBDA_PROTO_ERROR_ALIGNMENT
    } else {
        LAMBDA_PROTO_ERROR_HANDLE
    }
}

/// The size of a client in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn lambda_proto_client_size() -> usize {
    size_of::<Client>()
}

/// The alignment of a client in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn lambda_proto_client_align() -> usize {
    align_of::<Client>()
}

/// Makes a client in memory of the caller.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_init(
    memory: *mut c_void,
    length: usize,
    address: *const c_char,
    address_length: usize,
    user_agent: *const c_char,
    user_agent_length: usize,
    slots: usize,
) -> i32 {
    let init = || {
        let place: *mut Client = check_memory(memory, length)?;
        // SAFETY: the caller vouches for the pointers.
        let address = unsafe { text(address, address_length)? };
        let mut endpoint = Endpoint::parse(address).map_err(|_| LAMBDA_PROTO_ERROR_ADDRESS)?;
        if !user_agent.is_null() || user_agent_length > 0 {
            // SAFETY: the caller vouches for the pointers.
            let user_agent = unsafe { text(user_agent, user_agent_length)? };
            endpoint =
                endpoint.with_user_agent(user_agent).map_err(|_| LAMBDA_PROTO_ERROR_USER_AGENT)?;
        }
        if slots == 0 {
            return Err(LAMBDA_PROTO_ERROR_ARGUMENT);
        }
        let mut host = [0; MAX_AUTHORITY + 1];
        for (place, byte) in host.iter_mut().zip(endpoint.host().bytes()) {
            *place = byte;
        }
        let concurrency = Concurrency::of_slots(slots);
        let machine = Machine::with_concurrency(endpoint, concurrency);
        // SAFETY: the memory has the size and the alignment. The storages are in the same object as
        // what they point to, and only use it while a function of this crate runs.
        unsafe {
            let events = Shared::new(&raw mut (*place).events);
            let requests = Shared::new(&raw mut (*place).requests);
            (&raw mut (*place).events).write(Memory::EMPTY);
            (&raw mut (*place).requests).write(Memory::EMPTY);
            (&raw mut (*place).parts).write(Parts {
                client: client::Client::new(machine, events, requests),
                concurrency,
                body: Bytes::EMPTY,
                warnings: Warnings::EMPTY,
                receipt: None,
                is_pipelined: false,
                is_receipt_waiting: false,
                room: 0,
                end: Line::EMPTY,
                host,
            });
            (&raw mut (*place).tag).write(Client::tag(place));
        }
        Ok(LAMBDA_PROTO_OK)
    };
    code(init())
}

/// Ends the use of a client.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_close(client: *mut Client) -> i32 {
    let close = || {
        check(client)?;
        // SAFETY: there is a client. Nothing in it owns anything outside of it, so it is not dropped.
        unsafe { (&raw mut (*client).tag).write(0) };
        Ok(LAMBDA_PROTO_OK)
    };
    code(close())
}

/// Reads a number of slots.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_slots(
    value: *const c_char,
    length: usize,
    slots: *mut usize,
) -> i32 {
    let read = || {
        let slots = Out::new(slots)?;
        // SAFETY: the caller vouches for the pointers.
        let value = unsafe { text(value, length)? };
        let count = Concurrency::slots(value).map_err(|_| LAMBDA_PROTO_ERROR_ARGUMENT)?;
        // SAFETY: the caller vouches for the pointer.
        unsafe { slots.set(count) };
        Ok(LAMBDA_PROTO_OK)
    };
    code(read())
}

/// Checks memory for an object of type `T`.
pub(crate) fn check_memory<T>(memory: *mut c_void, length: usize) -> Result<*mut T, Code> {
    let place: *mut T = memory.cast();
    if place.is_null() {
        return Err(LAMBDA_PROTO_ERROR_NULL);
    }
    if !place.is_aligned() {
        return Err(LAMBDA_PROTO_ERROR_ALIGNMENT);
    }
    if length > isize::MAX as usize {
        return Err(LAMBDA_PROTO_ERROR_LENGTH);
    }
    if length < size_of::<T>() {
        return Err(LAMBDA_PROTO_ERROR_SHORT);
    }
    Ok(place)
}

/// A pointer to the host of a client.
pub(crate) fn host(parts: &Parts) -> *const c_char {
    ptr::from_ref(&parts.host).cast()
}
