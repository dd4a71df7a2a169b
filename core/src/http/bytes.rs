//! Byte searches, eight bytes at a time, and byte classes.

/// Skips to the first byte below 16: a line end, or another control character.
///
/// It also stops at bytes from 128 to 143.
#[inline]
pub(super) fn skip_to_low(bytes: &[u8]) -> Option<&[u8]> {
    skip_to(bytes, 0, 0x70)
}

/// Skips to the first `wanted`, an ASCII character.
///
/// It also stops at `wanted` with its highest bit set.
#[inline]
pub(super) fn skip_to_ascii(bytes: &[u8], wanted: u8) -> Option<&[u8]> {
    skip_to(bytes, wanted, 0x7f)
}

/// The part of `bytes` before `end`, which is the rest of it.
#[inline]
pub(super) fn before<'b>(bytes: &'b [u8], end: &[u8]) -> Option<&'b [u8]> {
    bytes.get(..bytes.len().checked_sub(end.len())?)
}

/// Skips to the first byte that equals `wanted` in the bits of `mask`, which excludes the highest.
#[inline(always)]
fn skip_to(bytes: &[u8], wanted: u8, mask: u8) -> Option<&[u8]> {
    let splat = |byte| u64::from_le_bytes([byte; 8]);
    // Exclusive or and mask make a byte 0 where it equals `wanted` in the bits of `mask`, and leave
    // no highest bit. Subtracting 1 from each byte then sets the highest bit of a byte that was 0,
    // by borrowing, and of no byte from 1 to 127. The borrow reaches the byte above, so a mark may
    // be false, but only above a true one: the lowest mark is right. Little endian makes the lowest
    // byte the first.
    let marks = |word: [u8; 8]| {
        let differences = (u64::from_le_bytes(word) ^ splat(wanted)) & splat(mask);
        differences.wrapping_sub(splat(1)) & splat(0x80)
    };
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        let marks = marks(*word);
        if marks != 0 {
            // A mark is bit 7 of its byte, so the division rounds down to the index of the byte.
            return rest.get((marks.trailing_zeros() / 8) as usize..);
        }
        rest = behind;
    }
    // The last bytes, fewer than eight. They match by the same rule, high bit ignored.
    rest.get(rest.iter().position(|&byte| (byte ^ wanted) & mask == 0)?..)
}

/// The offset of `part`, a subslice of `whole`.
pub(crate) fn offset(whole: &[u8], part: &[u8]) -> usize {
    // Safe code for `offset_from`. For a foreign slice the result is arbitrary, so callers use it
    // only with checked indexing.
    part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr())
}

/// Parses decimal digits and nothing else, up to `u64::MAX`.
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        // Bytes below `0` wrap to large numbers, so one comparison is enough.
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Whether a field value may hold this byte (RFC 9110 section 5.5): any but a control, or a tab.
pub(crate) const fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether a field value may hold all of these bytes.
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    // No early exit: without a branch per byte the compiler can check many bytes at once.
    value.iter().fold(true, |is_all, &byte| is_all & is_field_byte(byte))
}

/// The characters of a field name: `tchar` of RFC 9110 section 5.6.2.
pub(crate) static TOKEN: AsciiSet = AsciiSet::of(&[ALPHANUMERIC, b"!#$%&'*+-.^_`|~"]);

/// Whether this is a valid field name.
pub(crate) fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && TOKEN.has_all(name)
}

/// Letters and digits, for [`AsciiSet::of`].
pub(crate) const ALPHANUMERIC: &[u8] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A set of characters, as a table: one load per byte.
pub(crate) struct AsciiSet([bool; 256]);

impl AsciiSet {
    pub(crate) const fn of(parts: &[&[u8]]) -> Self {
        let mut table = [false; 256];
        let mut part = 0;
        while part < parts.len() {
            let mut at = 0;
            while at < parts[part].len() {
                table[parts[part][at] as usize] = true;
                at += 1;
            }
            part += 1;
        }
        Self(table)
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    /// Whether the set has all of these bytes.
    pub(crate) fn has_all(&self, bytes: &[u8]) -> bool {
        // No early exit either: usually the set has all of them.
        bytes.iter().fold(true, |has_all, &byte| has_all & self.has(byte))
    }
}
