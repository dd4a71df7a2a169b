//! Standard base64 with padding (RFC 4648 section 4), encoded on the fly.

use crate::http::Sink;

/// Encodes bytes and passes the text on; [`finish`](Self::finish) writes the padding.
pub(crate) struct Base64<'s> {
    sink: &'s mut dyn Sink,
    group: [u8; 3],
    filled: usize,
}

impl<'s> Base64<'s> {
    pub(crate) fn new(sink: &'s mut dyn Sink) -> Self {
        Self { sink, group: [0; 3], filled: 0 }
    }

    pub(crate) fn finish(mut self) {
        // Nothing is pending after a full group, which needs no padding.
        if self.filled > 0 {
            self.put_group();
        }
    }

    fn put_group(&mut self) {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        // Three bytes are 24 bits, four digits of 6. Missing bytes are 0, as RFC 4648 section 3.5
        // requires of pad bits; n bytes fill n + 1 digits, and `=` replaces the rest.
        let [a, b, c] = self.group;
        let bits = u32::from_be_bytes([0, a, b, c]);
        let mut digits = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift) as usize & 63]);
        digits.iter_mut().skip(self.filled + 1).for_each(|digit| *digit = b'=');
        self.sink.put(&digits);
        self.group = [0; 3];
        self.filled = 0;
    }
}

impl Sink for Base64<'_> {
    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // There is always a place: a full group is written below.
            if let Some(place) = self.group.get_mut(self.filled) {
                *place = byte;
            }
            self.filled += 1;
            if self.filled == self.group.len() {
                self.put_group();
            }
        }
    }
}

/// The length of the encoding of `decoded` bytes.
pub(crate) const fn encoded_length(decoded: usize) -> usize {
    decoded.div_ceil(3) * 4
}

/// The number of bytes whose encoding fits into `encoded` bytes.
pub(crate) const fn decoded_length(encoded: usize) -> usize {
    // Whole groups only, because the last one is padded to four digits.
    encoded / 4 * 3
}
