//! Writing into memory of the caller.

use core::fmt;

/// Something that takes bytes in order.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

/// Writes what fits and counts everything, so that one pass gives the bytes or the length needed.
pub(crate) struct Writer<'o> {
    room: &'o mut [u8],
    capacity: usize,
    /// Bytes that had no room.
    beyond: usize,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut [u8]) -> Self {
        Self { capacity: out.len(), room: out, beyond: 0 }
    }

    /// The number of bytes written, if they all had room.
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
        if bytes.len() > self.room.len() {
            self.beyond = self.beyond.saturating_add(bytes.len());
            return;
        }
        let (place, room) = core::mem::take(&mut self.room).split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        self.room = room;
    }
}

/// Counts and throws away.
#[derive(Default)]
pub(crate) struct Counter {
    pub(crate) length: usize,
}

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
    }
}

pub(crate) fn put_decimal(sink: &mut Writer<'_>, value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    sink.put(&digits[at..]);
}

/// The buffer of the caller is too small for what is to be encoded.
///
/// What the buffer holds then is unspecified; nothing else has changed, and the same call with a
/// buffer of [`needed`](Self::needed) bytes succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferTooSmall {
    /// Bytes that the call needs, exactly.
    pub needed: usize,
}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the buffer is too small: {} bytes are needed", self.needed)
    }
}

impl core::error::Error for BufferTooSmall {}
