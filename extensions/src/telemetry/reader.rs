//! A strict reader of JSON, which says where values are, and builds nothing.

use core::ops::Range;

use lambda_proto::json::JsonError;
use lambda_proto::limits::MAX_JSON_DEPTH;

/// A cursor over JSON text. Its strings may hold bytes that are not UTF-8: that is checked where
/// they are looked at.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    length: usize,
    rest: &'a [u8],
    /// The brackets around the values that are read.
    depth: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the start of the text, inside of this many brackets.
    pub(super) const fn new(bytes: &'a [u8], depth: usize) -> Self {
        Self { length: bytes.len(), rest: bytes, depth }
    }

    /// The number of bytes that are read.
    pub(super) const fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    /// Reads one value, and white space before it. Returns its place.
    #[inline]
    pub(super) fn value(&mut self) -> Result<Range<usize>, JsonError> {
        self.skip_space();
        let start = self.position();
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{' | b'[') => self.nested()?,
            _ => self.scalar()?,
        }
        Ok(start..self.position())
    }

    /// Reads an object or array, and all that is in it.
    fn nested(&mut self) -> Result<(), JsonError> {
        let mut open = Nesting { depth: self.depth, kinds: 0 };
        loop {
            // A value begins here.
            self.skip_space();
            match self.rest {
                [b'{', rest @ ..] => {
                    self.rest = rest;
                    open.enter(Kind::Object)?;
                    if !self.takes(b'}') {
                        self.name()?;
                        continue;
                    }
                    open.leave();
                }
                [b'[', rest @ ..] => {
                    self.rest = rest;
                    open.enter(Kind::Array)?;
                    if !self.takes(b']') {
                        continue;
                    }
                    open.leave();
                }
                [b'"', ..] => {
                    self.string()?;
                }
                _ => self.scalar()?,
            }
            // A value ends here, and with it perhaps those around it.
            loop {
                if open.depth <= self.depth {
                    return Ok(());
                }
                let kind = open.innermost();
                if self.takes(b',') {
                    if kind == Kind::Object {
                        self.name()?;
                    }
                    break;
                }
                if !self.takes(if kind == Kind::Object { b'}' } else { b']' }) {
                    return Err(JsonError::NotTheDocument);
                }
                open.leave();
            }
        }
    }

    /// Reads the name of a member, and its colon. Returns the place of the inside.
    #[inline]
    pub(super) fn name(&mut self) -> Result<Range<usize>, JsonError> {
        self.skip_space();
        let start = self.position() + 1;
        self.string()?;
        let end = self.position() - 1;
        if !self.takes(b':') {
            return Err(JsonError::NotTheDocument);
        }
        Ok(start..end)
    }

    /// Reads a string.
    #[inline(always)]
    fn string(&mut self) -> Result<(), JsonError> {
        let [b'"', rest @ ..] = self.rest else { return Err(JsonError::NotTheDocument) };
        let mut rest = rest;
        loop {
            rest = skip_plain(rest);
            match rest {
                [b'"', after @ ..] => {
                    self.rest = after;
                    return Ok(());
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => {
                    rest = after;
                }
                [b'\\', b'u', digits @ ..] => match digits.split_first_chunk::<4>() {
                    Some((digits, after)) if digits.iter().all(u8::is_ascii_hexdigit) => {
                        rest = after;
                    }
                    _ => return Err(JsonError::NotTheDocument),
                },
                // Control characters must be escaped (RFC 8259 section 7).
                _ => return Err(JsonError::NotTheDocument),
            }
        }
    }

    /// Reads what is neither a string nor nested.
    fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if let [b'-', rest @ ..] = self.rest {
            self.rest = rest;
        }
        // No leading zeros (RFC 8259 section 6).
        if let [b'0', rest @ ..] = self.rest {
            self.rest = rest;
        } else {
            self.digits()?;
        }
        if let [b'.', rest @ ..] = self.rest {
            self.rest = rest;
            self.digits()?;
        }
        if let [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = rest;
            if let [b'+' | b'-', rest @ ..] = self.rest {
                self.rest = rest;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Skips digits, of which there must be one.
    fn digits(&mut self) -> Result<(), JsonError> {
        let [b'0'..=b'9', rest @ ..] = self.rest else { return Err(JsonError::NotTheDocument) };
        let mut rest = rest;
        while let [b'0'..=b'9', after @ ..] = rest {
            rest = after;
        }
        self.rest = rest;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        self.rest = self.rest.strip_prefix(word).ok_or(JsonError::NotTheDocument)?;
        Ok(())
    }

    /// Checks that only white space is left.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.rest.is_empty() { Ok(()) } else { Err(JsonError::NotTheDocument) }
    }

    /// Skips white space and then this byte, if it comes next.
    #[inline(always)]
    pub(super) fn takes(&mut self, byte: u8) -> bool {
        // Usually there is no white space.
        match self.rest {
            [next, rest @ ..] if *next == byte => {
                self.rest = rest;
                true
            }
            [b' ' | b'\t' | b'\n' | b'\r', ..] => self.takes_after_space(byte),
            _ => false,
        }
    }

    #[cold]
    fn takes_after_space(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.rest {
            [next, rest @ ..] if *next == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline(always)]
    pub(super) fn skip_space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    // What follows is for text that was read before, and is JSON.

    /// Passes the name of a member, and its colon. Returns the place of the inside.
    #[inline]
    pub(super) fn pass_name(&mut self) -> Range<usize> {
        self.skip_space();
        let start = self.position() + 1;
        self.pass_string();
        let end = self.position().saturating_sub(1);
        self.takes(b':');
        start..end
    }

    /// Passes one value, and white space before it. Returns its place.
    #[inline]
    pub(super) fn pass_value(&mut self) -> Range<usize> {
        self.skip_space();
        let start = self.position();
        let mut depth = 0_usize;
        loop {
            match self.rest {
                [b'"', ..] => self.pass_string(),
                [b'{' | b'[', rest @ ..] => {
                    self.rest = rest;
                    depth += 1;
                    continue;
                }
                [b'}' | b']', rest @ ..] if depth > 0 => {
                    self.rest = rest;
                    depth -= 1;
                }
                [_, rest @ ..] if depth > 0 => {
                    self.rest = rest;
                    continue;
                }
                _ => self.pass_scalar(),
            }
            if depth == 0 {
                return start..self.position();
            }
        }
    }

    #[inline(always)]
    fn pass_string(&mut self) {
        let [b'"', rest @ ..] = self.rest else { return };
        let mut rest = rest;
        loop {
            rest = match skip_plain(rest) {
                [b'"', after @ ..] => {
                    self.rest = after;
                    return;
                }
                [b'\\', _, after @ ..] | [_, after @ ..] => after,
                [] => {
                    self.rest = &[];
                    return;
                }
            };
        }
    }

    fn pass_scalar(&mut self) {
        while let [b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

/// The brackets that are open, instead of a stack: one bit for each.
struct Nesting {
    depth: usize,
    kinds: u64,
}

// A bracket needs a bit.
const _: () = assert!(MAX_JSON_DEPTH <= 64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Object,
}

impl Nesting {
    fn enter(&mut self, kind: Kind) -> Result<(), JsonError> {
        if self.depth >= MAX_JSON_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.depth += 1;
        self.kinds = self.kinds << 1 | u64::from(kind == Kind::Object);
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.kinds >>= 1;
    }

    fn innermost(&self) -> Kind {
        if self.kinds & 1 == 1 { Kind::Object } else { Kind::Array }
    }
}

/// Whether JSON allows this byte between values (RFC 8259 section 2).
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The bytes without white space around them.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..]
    | [rest @ .., b' ' | b'\t' | b'\n' | b'\r'] = bytes
    {
        bytes = rest;
    }
    bytes
}

/// The number of bytes before the first quote, backslash or control character.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    bytes.len() - skip_plain(bytes).len()
}

/// The bytes from the first quote, backslash or control character on.
#[inline(always)]
fn skip_plain(bytes: &[u8]) -> &[u8] {
    let splat = |byte| u64::from_le_bytes([byte; 8]);
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        // Subtracting `n` from each byte sets the highest bit of those below `n`, by borrowing, and
        // of those that had it set, which are taken out: no special byte has it. The borrow reaches
        // the byte above, so a mark may be false, but only above a true one: the lowest mark is
        // right. With the bit 2 flipped, a quote (0x22) is just above the control characters.
        let below_or_quote = (word ^ splat(2)).wrapping_sub(splat(0x21));
        let backslash = (word ^ splat(b'\\')).wrapping_sub(splat(1));
        let marks = (below_or_quote | backslash) & !word & splat(0x80);
        if marks != 0 {
            return rest.get((marks.trailing_zeros() / 8) as usize..).unwrap_or_default();
        }
        rest = after;
    }
    while let [byte, after @ ..] = rest {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_at_every_place_among_all_bytes() {
        let is_special = |byte: u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                for around in [b'a', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = [around; 20];
                    bytes[at] = byte;
                    let expected = if is_special(byte) { at } else { bytes.len() };
                    assert_eq!(plain_length(&bytes), expected, "{byte:#x} at {at} in {around:#x}");
                }
            }
        }
    }
}
