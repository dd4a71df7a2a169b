//! The memory of a client, which belongs to the caller and grows with his help.

use core::ffi::c_void;
use core::{ptr, slice};

use lambda_proto::client::Storage;

use crate::constants::{
    Code, LAMBDA_PROTO_ERROR_ARGUMENT, LAMBDA_PROTO_ERROR_SHORT, LAMBDA_PROTO_MEMORY_EVENTS,
    LAMBDA_PROTO_MEMORY_REQUESTS, LAMBDA_PROTO_OK,
};
use crate::handle::{Client, command, look};
use crate::pointers::{Bytes, Out, code};

/// One memory of a client.
///
/// Core asks its storage to grow and then goes on with what there is. Here the caller has to be
/// asked first. So as long as the memory may grow, its last byte is held back. When core asks for
/// more, it gets that byte, and its room is not empty, which keeps it from giving up the event. The
/// function that was called then hides the byte again, and returns `MEMORY` instead of the room.
pub(crate) struct Memory {
    start: *mut u8,
    length: usize,
    /// The bytes that core may use: all, or all but the last.
    visible: usize,
    /// The limit that the caller has set.
    most: usize,
    /// The length that is needed; 0 if what there is suffices.
    wanted: usize,
    /// Whether the current call has shown the last byte.
    is_shown: bool,
    /// Whether it holds nothing that is needed.
    is_released: bool,
}

impl Memory {
    pub(crate) const EMPTY: Self = Self {
        start: ptr::dangling_mut(),
        length: 0,
        visible: 0,
        most: 0,
        wanted: 0,
        is_shown: false,
        is_released: true,
    };

    pub(crate) fn may_grow(&self) -> bool {
        self.length < self.most
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> *const u8 {
        self.start
    }

    /// Records that `length` bytes are needed, within the limit.
    #[cold]
    pub(crate) fn want(&mut self, length: usize) {
        self.wanted = length.min(self.most);
    }

    /// Records that a command needs `length` bytes, whatever the limit: without them it is refused.
    #[cold]
    pub(crate) fn need(&mut self, length: usize) {
        self.wanted = length;
    }

    /// The limit that the caller has set.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    #[cold]
    fn grow(&mut self, length: usize) {
        if length > self.visible && self.may_grow() {
            // Of the new memory, a byte will be held back, too.
            self.want(length.saturating_add(1).max(self.length + 1));
            self.is_shown |= self.visible < self.length;
            self.visible = self.length;
        }
    }

    /// Begins a call that may need more.
    pub(crate) fn begin(&mut self) {
        self.wanted = 0;
        self.is_shown = false;
    }

    /// Hides the byte that this call has shown, and that core has not used.
    pub(crate) fn hide(&mut self) {
        if self.is_shown {
            self.is_shown = false;
            self.visible = self.length - 1;
        }
    }

    /// Replaces the memory, which holds `kept` bytes that are needed.
    fn set(&mut self, start: *mut u8, length: usize, kept: usize) {
        self.start = if length == 0 { ptr::dangling_mut() } else { start };
        self.length = length;
        self.begin();
        self.hold_back(kept);
    }

    /// Holds back the last byte if the memory may grow and the byte is not among the first `kept`.
    fn hold_back(&mut self, kept: usize) {
        let is_held_back = self.may_grow() && kept < self.length;
        self.visible = self.length - usize::from(is_held_back);
    }
}

/// A memory as the storage of core's client.
pub(crate) struct Shared(*mut Memory);

impl Shared {
    /// # Safety
    ///
    /// The memory outlives the storage, nobody has a reference to it while a method of the storage
    /// runs, and its bytes are used through the storage only.
    pub(crate) unsafe fn new(memory: *mut Memory) -> Self {
        Self(memory)
    }
}

impl Storage for Shared {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: see `new`.
        let memory = unsafe { &*self.0 };
        // SAFETY: the caller of `give_memory` vouches for the bytes, which were all written then.
        unsafe { slice::from_raw_parts(memory.start, memory.visible) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: see `new`.
        let memory = unsafe { &mut *self.0 };
        memory.is_released = false;
        // SAFETY: as in `bytes`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(memory.start, memory.visible) }
    }

    fn grow(&mut self, length: usize) {
        // SAFETY: see `new`.
        unsafe { &mut *self.0 }.grow(length);
    }

    #[inline]
    fn release(&mut self) {
        // SAFETY: see `new`.
        let memory = unsafe { &mut *self.0 };
        memory.is_released = true;
        // The limit may have been raised when the last byte was in use.
        if memory.visible == memory.length {
            memory.hold_back(0);
        }
    }
}

/// Begins a call that may need more memory.
///
/// # Safety
///
/// `client` is a client, and core's client does not run.
#[inline]
pub(crate) unsafe fn begin(client: *mut Client) {
    // SAFETY: the caller vouches for the client.
    unsafe {
        if is_wanting(client) {
            (*Client::events(client)).begin();
            (*Client::requests(client)).begin();
        }
    }
}

/// Whether the call needs more memory.
///
/// # Safety
///
/// As for [`begin`].
#[inline]
pub(crate) unsafe fn is_wanting(client: *mut Client) -> bool {
    // SAFETY: the caller vouches for the client.
    unsafe { (*Client::events(client)).wanted | (*Client::requests(client)).wanted != 0 }
}

/// Hides the bytes that the call has shown, and that core has not used.
///
/// # Safety
///
/// As for [`begin`].
#[cold]
pub(crate) unsafe fn hide(client: *mut Client) {
    // SAFETY: the caller vouches for the client.
    unsafe {
        (*Client::events(client)).hide();
        (*Client::requests(client)).hide();
    }
}

/// Replaces a memory of the client.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_give_memory(
    client: *mut Client,
    kind: i32,
    memory: *mut c_void,
    length: usize,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    code(unsafe { give_memory(client, kind, memory.cast(), length) })
}

unsafe fn give_memory(
    client: *mut Client,
    kind: i32,
    given: *mut u8,
    length: usize,
) -> Result<Code, Code> {
    // SAFETY: the caller vouches for the pointer.
    unsafe { command(client)? };
    // SAFETY: `command` has found a client.
    let memory = unsafe { &mut *select(client, kind)? };
    Bytes::new(given, length)?;
    let kept = if memory.is_released { 0 } else { memory.visible };
    if length < kept {
        return Err(LAMBDA_PROTO_ERROR_SHORT);
    }
    // SAFETY: both memories are valid for these bytes, and `copy` lets them overlap. Zeros make
    // slices of the rest sound.
    unsafe {
        if kept > 0 {
            ptr::copy(memory.start, given, kept);
        }
        if length > kept {
            ptr::write_bytes(given.wrapping_add(kept), 0, length - kept);
        }
    }
    memory.set(given, length, kept);
    Ok(LAMBDA_PROTO_OK)
}

/// Replaces the memory for events, which holds nothing that is needed.
///
/// # Safety
///
/// `client` is a client, and the caller of the function vouches for the bytes.
pub(crate) unsafe fn give_events(client: *mut Client, given: *mut u8, length: usize) {
    // SAFETY: the caller vouches for both.
    unsafe {
        if length > 0 {
            ptr::write_bytes(given, 0, length);
        }
        (*Client::events(client)).set(given, length, 0);
    }
}

/// Lets a memory of the client grow.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_set_max_memory(
    client: *mut Client,
    kind: i32,
    bytes: usize,
) -> i32 {
    let set = || {
        // SAFETY: the caller vouches for the pointer.
        unsafe { command(client)? };
        // SAFETY: `command` has found a client.
        let memory = unsafe { &mut *select(client, kind)? };
        memory.most = bytes.min(isize::MAX as usize);
        memory.begin();
        let kept = if memory.is_released { 0 } else { memory.visible };
        memory.hold_back(kept);
        Ok(LAMBDA_PROTO_OK)
    };
    code(set())
}

/// Says how much memory is needed.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_memory_needed(
    client: *const Client,
    kind: i32,
    bytes: *mut usize,
) -> i32 {
    let needed = || {
        let bytes = Out::new(bytes)?;
        // SAFETY: the caller vouches for the pointer.
        unsafe { look(client)? };
        // SAFETY: `look` has found a client, and nothing is written.
        let memory = unsafe { &*select(client.cast_mut(), kind)? };
        // SAFETY: the caller vouches for the pointer.
        unsafe { bytes.set(memory.wanted) };
        Ok(LAMBDA_PROTO_OK)
    };
    code(needed())
}

/// Limits the body of events.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_set_max_event(
    client: *mut Client,
    bytes: usize,
) -> i32 {
    let set = || {
        // SAFETY: the caller vouches for the pointer.
        let parts = unsafe { command(client)? };
        // SAFETY: the client is moved out and back, and `with_max_event` cannot panic in between.
        unsafe {
            let client = ptr::read(&parts.client);
            ptr::write(&mut parts.client, client.with_max_event(bytes));
        }
        Ok(LAMBDA_PROTO_OK)
    };
    code(set())
}

/// # Safety
///
/// `client` is a client.
unsafe fn select(client: *mut Client, kind: i32) -> Result<*mut Memory, Code> {
    match kind {
        // SAFETY: the caller vouches for the client.
        LAMBDA_PROTO_MEMORY_EVENTS => Ok(unsafe { Client::events(client) }),
        // SAFETY: the caller vouches for the client.
        LAMBDA_PROTO_MEMORY_REQUESTS => Ok(unsafe { Client::requests(client) }),
        _ => Err(LAMBDA_PROTO_ERROR_ARGUMENT),
    }
}
