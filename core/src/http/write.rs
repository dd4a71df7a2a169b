//! Writing into the caller's memory.

use core::fmt;

/// Something that takes bytes in order.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

/// Writes what fits and counts everything, so that one pass gives the bytes or the length needed.
pub(crate) struct Writer<'o> {
    room: &'o mut [u8],
    capacity: usize,
    /// The number of bytes that did not fit.
    beyond: usize,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut [u8]) -> Self {
        Self { capacity: out.len(), room: out, beyond: 0 }
    }

    /// The number of bytes written, if all of them fit.
    pub(crate) fn finish(self) -> Result<usize, BufferTooSmall> {
        let length = self.capacity - self.room.len();
        match self.beyond {
            0 => Ok(length),
            beyond => Err(BufferTooSmall { needed: length.saturating_add(beyond) }),
        }
    }
}

impl Sink for Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        // A later, shorter piece may still fit and leave a hole; the content is unspecified then,
        // and the total is right in any case.
        if bytes.len() > self.room.len() {
            self.beyond = self.beyond.saturating_add(bytes.len());
            return;
        }
        let (place, room) = core::mem::take(&mut self.room).split_at_mut(bytes.len());
        copy(bytes, place);
        self.room = room;
    }
}

/// Counts bytes and discards them.
#[derive(Default)]
pub(crate) struct Counter {
    pub(crate) length: usize,
}

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
    }
}

pub(crate) fn put_decimal(sink: &mut Writer<'_>, number: u64) {
    put_number::<10>(sink, number);
}

pub(super) fn put_hexadecimal(sink: &mut Writer<'_>, number: u64) {
    put_number::<16>(sink, number);
}

fn put_number<const BASE: u64>(sink: &mut Writer<'_>, number: u64) {
    // `u64::MAX` has 20 decimal digits, and fewer in hexadecimal.
    let mut digits = [0; 20];
    let mut unused = digits.len();
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(left % BASE) as usize];
        unused -= 1;
        left /= BASE;
        if left == 0 {
            break;
        }
    }
    sink.put(digits.get(unused..).unwrap_or_default());
}

/// Copies as many bytes as fit, and returns their number.
pub(crate) fn copy(bytes: &[u8], room: &mut [u8]) -> usize {
    // Not `copy_from_slice`, which panics if the lengths differ.
    room.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    bytes.len().min(room.len())
}

/// The caller's buffer is too small for the encoded bytes.
///
/// The content of the buffer is then unspecified. Nothing else has changed, and the same call with
/// a buffer of [`needed`](Self::needed) bytes succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferTooSmall {
    /// The exact number of bytes that the call needs.
    pub needed: usize,
}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the buffer is too small: {} bytes are needed", self.needed)
    }
}

impl core::error::Error for BufferTooSmall {}
