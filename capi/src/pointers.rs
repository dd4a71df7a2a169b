//! Pointers of the caller, checked as far as they can be.

use core::{ptr, slice, str};

use crate::constants::{
    Code, LAMBDA_PROTO_ERROR_LENGTH, LAMBDA_PROTO_ERROR_NULL, LAMBDA_PROTO_ERROR_UTF8,
};

/// Bytes of the caller, which a client holds on to.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    start: *const u8,
    length: usize,
}

impl Bytes {
    pub(crate) const EMPTY: Self = Self { start: ptr::null(), length: 0 };

    /// Checks a pointer and its length; a pointer with length 0 may be null.
    pub(crate) fn new<T>(start: *const T, length: usize) -> Result<Self, Code> {
        if length == 0 {
            return Ok(Self::EMPTY);
        }
        if start.is_null() {
            return Err(LAMBDA_PROTO_ERROR_NULL);
        }
        if length > isize::MAX as usize {
            return Err(LAMBDA_PROTO_ERROR_LENGTH);
        }
        Ok(Self { start: start.cast(), length })
    }

    pub(crate) fn len(self) -> usize {
        self.length
    }

    /// The bytes.
    ///
    /// # Safety
    ///
    /// They are valid and not written to for `'a`.
    pub(crate) unsafe fn get<'a>(self) -> &'a [u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the pointer is not null and the length at most `isize::MAX`, as `new` has
        // checked; the caller vouches for the rest.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }
}

/// The pointer to a `part` of the memory that begins at `base`, made from that pointer, so that the
/// caller may use it while the client writes to other parts of the memory.
pub(crate) fn own(base: *const u8, part: &[u8]) -> *const u8 {
    base.wrapping_add(part.as_ptr().addr().wrapping_sub(base.addr()))
}

/// Text of the caller.
///
/// # Safety
///
/// As for [`Bytes::get`].
pub(crate) unsafe fn text<'a, T>(start: *const T, length: usize) -> Result<&'a str, Code> {
    // SAFETY: the caller vouches for the bytes.
    let bytes = unsafe { Bytes::new(start, length)?.get() };
    str::from_utf8(bytes).map_err(|_| LAMBDA_PROTO_ERROR_UTF8)
}

/// Where a result goes: not null.
#[derive(Clone, Copy)]
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    pub(crate) fn new(place: *mut T) -> Result<Self, Code> {
        if place.is_null() { Err(LAMBDA_PROTO_ERROR_NULL) } else { Ok(Self(place)) }
    }

    /// Writes the result.
    ///
    /// # Safety
    ///
    /// The pointer is valid for a write of one value.
    pub(crate) unsafe fn set(self, value: T) {
        // SAFETY: the caller vouches for it; the alignment does not matter.
        unsafe { self.0.write_unaligned(value) }
    }

    /// The place after `index` others, of an array.
    pub(crate) fn at(self, index: usize) -> Self {
        Self(self.0.wrapping_add(index))
    }
}

/// Makes a code of a result.
pub(crate) fn code(result: Result<Code, Code>) -> Code {
    match result {
        Ok(code) | Err(code) => code,
    }
}
