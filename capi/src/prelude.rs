//! The beginning of a streamed HTTP response.

use core::ffi::{c_char, c_void};
use core::{ptr, slice};

use lambda_proto::api::HttpPrelude;

use crate::constants::{
    Code, LAMBDA_PROTO_ERROR_ARGUMENT, LAMBDA_PROTO_ERROR_SHORT, LAMBDA_PROTO_MAX_PRELUDE_FIELDS,
    LAMBDA_PROTO_OK,
};
use crate::pointers::{Bytes, Out, code, text};

/// Most headers, and most cookies.
const MOST: usize = LAMBDA_PROTO_MAX_PRELUDE_FIELDS as usize;

/// Writes the beginning of a streamed HTTP response.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_http_prelude(
    status: i32,
    fields: *const *const c_char,
    field_lengths: *const usize,
    headers: usize,
    cookies: *const *const c_char,
    cookie_lengths: *const usize,
    cookie_count: usize,
    out: *mut c_void,
    out_length: usize,
    written: *mut usize,
) -> i32 {
    let write = || {
        let written = Out::new(written)?;
        let status = u16::try_from(status).map_err(|_| LAMBDA_PROTO_ERROR_ARGUMENT)?;
        if headers > MOST || cookie_count > MOST {
            return Err(LAMBDA_PROTO_ERROR_ARGUMENT);
        }
        let mut pairs = [("", ""); MOST];
        for (index, pair) in pairs.iter_mut().take(headers).enumerate() {
            // SAFETY: the caller vouches for two texts for each header.
            unsafe {
                *pair = (
                    element(fields, field_lengths, 2 * index)?,
                    element(fields, field_lengths, 2 * index + 1)?,
                );
            }
        }
        let mut list = [""; MOST];
        for (index, cookie) in list.iter_mut().take(cookie_count).enumerate() {
            // SAFETY: the caller vouches for a text for each cookie.
            *cookie = unsafe { element(cookies, cookie_lengths, index)? };
        }
        let (pairs, list) = (
            pairs.get(..headers).unwrap_or_default(),
            list.get(..cookie_count).unwrap_or_default(),
        );
        let prelude =
            HttpPrelude::new(status, pairs, list).map_err(|_| LAMBDA_PROTO_ERROR_ARGUMENT)?;
        Bytes::new(out, out_length)?;
        let room: &mut [u8] = match out_length {
            0 => &mut [],
            // SAFETY: the pointer is not null, and the caller vouches for the bytes.
            length => unsafe {
                // A slice is of bytes that were written before, which the caller does not promise.
                ptr::write_bytes(out.cast::<u8>(), 0, length);
                slice::from_raw_parts_mut(out.cast(), length)
            },
        };
        let (code, length) = match prelude.encode(room) {
            Ok(length) => (LAMBDA_PROTO_OK, length),
            Err(too_small) => (LAMBDA_PROTO_ERROR_SHORT, too_small.needed),
        };
        // SAFETY: the caller vouches for the pointer.
        unsafe { written.set(length) };
        Ok(code)
    };
    code(write())
}

/// A text of two arrays.
unsafe fn element<'a>(
    texts: *const *const c_char,
    lengths: *const usize,
    index: usize,
) -> Result<&'a str, Code> {
    // The check of a single element of each array refuses null.
    Bytes::new(texts, 1)?;
    Bytes::new(lengths, 1)?;
    // SAFETY: the caller vouches for the arrays and their texts.
    unsafe {
        text(
            texts.wrapping_add(index).read_unaligned(),
            lengths.wrapping_add(index).read_unaligned(),
        )
    }
}
