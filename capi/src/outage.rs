//! How long no client of a runtime has had a connection.

use core::ffi::c_void;
use core::time::Duration;

use lambda_proto::client;

use crate::constants::{
    Code, LAMBDA_PROTO_ERROR_ALIGNMENT, LAMBDA_PROTO_ERROR_HANDLE, LAMBDA_PROTO_ERROR_NULL,
    LAMBDA_PROTO_OK,
};
use crate::handle::check_memory;
use crate::pointers::{Out, code};

/// An outage of core: `lambda_proto_outage` in the header.
#[repr(C)]
pub struct Outage {
    tag: usize,
    outage: client::Outage,
}

const TAG: usize = 0x6f75_7461;

unsafe fn open<'o>(outage: *mut Outage) -> Result<&'o mut client::Outage, Code> {
    if outage.is_null() {
        return Err(LAMBDA_PROTO_ERROR_NULL);
    }
    if !outage.is_aligned() {
        return Err(LAMBDA_PROTO_ERROR_ALIGNMENT);
    }
    // SAFETY: the caller of every function vouches for memory of the size of an outage.
    if unsafe { (*outage).tag } != TAG {
        return Err(LAMBDA_PROTO_ERROR_HANDLE);
    }
    // SAFETY: there is an outage, and no other call uses it.
    Ok(unsafe { &mut (*outage).outage })
}

/// The size of an outage in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn lambda_proto_outage_size() -> usize {
    size_of::<Outage>()
}

/// The alignment of an outage in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn lambda_proto_outage_align() -> usize {
    align_of::<Outage>()
}

/// Makes an outage in memory of the caller.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_outage_init(memory: *mut c_void, length: usize) -> i32 {
    let init = || {
        let place: *mut Outage = check_memory(memory, length)?;
        // SAFETY: the memory has the size and the alignment.
        unsafe { place.write(Outage { tag: TAG, outage: client::Outage::default() }) };
        Ok(LAMBDA_PROTO_OK)
    };
    code(init())
}

/// A client has connected.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_outage_connected(outage: *mut Outage) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { open(outage) }.map(|outage| {
        outage.connected();
        LAMBDA_PROTO_OK
    }))
}

/// A client has lost its connection.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_outage_lost(outage: *mut Outage, now_ms: u64) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { open(outage) }.map(|outage| {
        outage.lost(Duration::from_millis(now_ms));
        LAMBDA_PROTO_OK
    }))
}

/// An attempt to connect has failed.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_outage_failed(outage: *mut Outage, began_ms: u64) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    code(unsafe { open(outage) }.map(|outage| {
        outage.failed(Duration::from_millis(began_ms));
        LAMBDA_PROTO_OK
    }))
}

/// How long there has been no connection.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_outage_lasted_ms(
    outage: *const Outage,
    now_ms: u64,
    lasted_ms: *mut u64,
) -> i32 {
    let lasted = || {
        let out = Out::new(lasted_ms)?;
        // SAFETY: the caller vouches for the pointer. Nothing is changed.
        let outage = unsafe { open(outage.cast_mut())? };
        let lasted = outage.lasted(Duration::from_millis(now_ms)).unwrap_or_default();
        // SAFETY: the caller vouches for the pointer. Both times are milliseconds in 64 bits.
        unsafe { out.set(lasted.as_millis() as u64) };
        Ok(LAMBDA_PROTO_OK)
    };
    code(lasted())
}
