//! The small JSON documents of the service, read without allocation.
//!
//! ```
//! use lambda_proto::json::{self, JsonStr};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Fields<'f> {
//!     name: Option<&'f str>,
//! }
//!
//! let fields: Fields<'_> = json::parse(br#"{"name":"Ada \"L.\"","more":[1]}"#)?;
//! assert_eq!(JsonStr::from_field(fields.name), "Ada \"L.\"");
//! # Ok::<(), lambda_proto::json::JsonError>(())
//! ```

use core::fmt::{self, Write};

use serde::Deserialize;

use crate::http::Sink;
use crate::limits::MAX_JSON_DEPTH;

/// Writes `text` as the inside of a JSON string, as much of it as fits into `most` bytes.
///
/// Writes no part of a character. Returns the number of bytes written and whether that was all.
pub(crate) fn put_escaped(sink: &mut dyn Sink, text: &str, most: usize) -> (usize, bool) {
    let part = |range| text.as_bytes().get(range).unwrap_or_default();
    let mut used = 0;
    // Runs of characters that stand for themselves go out together.
    let mut run = 0;
    for (at, character) in text.char_indices() {
        let mut control = *b"\\u0000";
        let escape: &[u8] = match character {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\n' => b"\\n",
            '\r' => b"\\r",
            '\t' => b"\\t",
            // RFC 8259 section 7 requires no other escapes.
            '\u{0}'..='\u{1f}' => {
                put_hex(&mut control[2..], character as u16);
                &control
            }
            _ => b"",
        };
        let length = if escape.is_empty() { character.len_utf8() } else { escape.len() };
        // The whole escape counts, so a cut never falls inside one.
        if used + length > most {
            sink.put(part(run..at));
            return (used, false);
        }
        used += length;
        if !escape.is_empty() {
            sink.put(part(run..at));
            sink.put(escape);
            run = at + character.len_utf8();
        }
    }
    sink.put(part(run..text.len()));
    (used, true)
}

/// Writes a JSON string with its quotes.
pub(crate) fn put_string(sink: &mut dyn Sink, text: &str) {
    sink.put(b"\"");
    put_escaped(sink, text, usize::MAX);
    sink.put(b"\"");
}

/// Writes a JSON document so that a header can hold it: everything beyond visible ASCII escaped,
/// line breaks and other controls replaced by spaces.
///
/// Outside strings JSON is ASCII, and inside strings controls are already escaped, so the meaning
/// of the document does not change.
pub(crate) fn put_header_safe(sink: &mut dyn Sink, document: &str) {
    for character in document.chars() {
        match character {
            ' '..='~' => sink.put(&[character as u8]),
            '\u{0}'..='\u{1f}' => sink.put(b" "),
            _ => {
                // Beyond U+FFFF an escape is a surrogate pair (RFC 8259 section 7).
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let mut escape = *b"\\u0000";
                    put_hex(&mut escape[2..], *unit);
                    sink.put(&escape);
                }
            }
        }
    }
}

fn put_hex(digits: &mut [u8], mut value: u16) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::from(value % 16)];
        value /= 16;
    }
}

/// A string of a JSON document, still with its escapes.
///
/// `Display` and [`chars`](Self::chars) decode every escape, surrogate pairs included. Half a pair,
/// or an escape unknown to JSON, becomes the replacement character U+FFFD.
///
/// ```
/// # use lambda_proto::api::ServiceError;
/// let error = ServiceError::parse(br#"{"errorMessage":"caf\u00e9 \ud83c\udf75","errorType":"X"}"#)?;
/// assert_eq!(error.error_message.to_string(), "café 🍵");
/// assert_eq!(error.error_type.as_escaped(), "X");
/// # Ok::<(), lambda_proto::json::JsonError>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct JsonStr<'a>(&'a str);

impl<'a> JsonStr<'a> {
    /// A string as [`parse`] returns it; empty if the field is absent or `null`.
    pub fn from_field(escaped: Option<&'a str>) -> Self {
        Self(escaped.unwrap_or_default())
    }

    /// The characters, unescaped.
    pub fn chars(&self) -> impl Iterator<Item = char> + Clone + 'a {
        // Decoded on demand: a decoded copy would need memory.
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let mut characters = rest.chars();
            let character = match characters.next()? {
                '\\' => unescape(&mut characters),
                plain => plain,
            };
            rest = characters.as_str();
            Some(character)
        })
    }

    /// The string as it is in the document.
    pub fn as_escaped(&self) -> &'a str {
        self.0
    }

    /// Whether the string is empty, as for an absent field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for JsonStr<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for JsonStr<'_> {}

impl PartialEq<str> for JsonStr<'_> {
    fn eq(&self, other: &str) -> bool {
        self.chars().eq(other.chars())
    }
}

impl PartialEq<&str> for JsonStr<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for JsonStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut rest, mut from) = (self.0, 0);
        let mut gathered = Gathered { text: heapless::String::new(), f };
        // What stands between two escapes stands for itself.
        while let Some(at) = find_backslash(rest, from) {
            let (Some(plain), Some(escape)) = (rest.get(..at), rest.get(at + 1..)) else { break };
            gathered.write_str(plain)?;
            if let [b'"' | b'\\' | b'/', ..] = escape.as_bytes() {
                // It stands for itself, too.
                (rest, from) = (escape, 1);
                continue;
            }
            let mut characters = escape.chars();
            gathered.write_char(unescape(&mut characters))?;
            (rest, from) = (characters.as_str(), 0);
        }
        gathered.flush()?;
        gathered.f.write_str(rest)
    }
}

/// Text that goes out in long pieces: a call of a formatter costs more than a copy of a short one.
struct Gathered<'g, 'f> {
    text: heapless::String<128>,
    f: &'g mut fmt::Formatter<'f>,
}

impl Gathered<'_, '_> {
    fn flush(&mut self) -> fmt::Result {
        if !self.text.is_empty() {
            self.f.write_str(&self.text)?;
            self.text.clear();
        }
        Ok(())
    }
}

impl Write for Gathered<'_, '_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.text.push_str(piece).is_ok() {
            return Ok(());
        }
        self.flush()?;
        if self.text.push_str(piece).is_ok() { Ok(()) } else { self.f.write_str(piece) }
    }

    fn write_char(&mut self, character: char) -> fmt::Result {
        if self.text.push(character).is_ok() {
            return Ok(());
        }
        self.flush()?;
        self.f.write_char(character)
    }
}

impl fmt::Debug for JsonStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The position of the first backslash from a position on.
fn find_backslash(text: &str, from: usize) -> Option<usize> {
    let splat = |byte| u64::from_le_bytes([byte; 8]);
    let mut at = from;
    let mut rest = text.as_bytes().get(from..)?;
    // Eight bytes at a time: `str::find` is made for long texts without any.
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let different = u64::from_le_bytes(*word) ^ splat(b'\\');
        // Subtracting 1 from each byte sets the highest bit of those that are 0, by borrowing. A
        // borrow may reach the byte above, so only the lowest mark is right.
        let marks = different.wrapping_sub(splat(1)) & !different & splat(0x80);
        if marks != 0 {
            return Some(at + (marks.trailing_zeros() / 8) as usize);
        }
        at += 8;
        rest = after;
    }
    rest.iter().position(|byte| *byte == b'\\').map(|more| at + more)
}

/// Decodes what follows a backslash.
fn unescape(rest: &mut core::str::Chars<'_>) -> char {
    match rest.next() {
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some(same @ ('"' | '\\' | '/')) => same,
        Some('u') => {
            let Some(first) = code_unit(rest) else { return char::REPLACEMENT_CHARACTER };
            // All 16-bit numbers but the surrogates are characters.
            if let Some(character) = char::from_u32(first.into()) {
                return character;
            }
            // A surrogate: its other half must follow. If it does not, `rest` stays after the first
            // half, and the next escape is decoded on its own.
            let mut ahead = rest.clone();
            let second = match (ahead.next(), ahead.next()) {
                (Some('\\'), Some('u')) => code_unit(&mut ahead),
                _ => None,
            };
            match second.map(|second| char::decode_utf16([first, second]).next()) {
                Some(Some(Ok(character))) => {
                    *rest = ahead;
                    character
                }
                _ => char::REPLACEMENT_CHARACTER,
            }
        }
        _ => char::REPLACEMENT_CHARACTER,
    }
}

fn code_unit(rest: &mut core::str::Chars<'_>) -> Option<u16> {
    let (digits, behind) = rest.as_str().split_at_checked(4)?;
    // `from_str_radix` alone would accept a leading `+`.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    *rest = behind.chars();
    u16::from_str_radix(digits, 16).ok()
}

/// Reads one document. Fields unknown to `T` are skipped.
///
/// A `&str` keeps its escapes: pass it to [`JsonStr::from_field`]. The document may nest
/// [`MAX_JSON_DEPTH`] deep, which is checked first because the reader recurses.
///
/// # Errors
///
/// A [`JsonError`] if the document nests deeper, is not JSON, or is not a `T`.
pub fn parse<'a, T: Deserialize<'a>>(document: &'a [u8]) -> Result<T, JsonError> {
    // Before the reader, whose recursion could otherwise exhaust the stack.
    check_depth(document)?;
    let (value, length) =
        serde_json_core::from_slice(document).map_err(|_| JsonError::NotTheDocument)?;
    // The reader stops after the value; only white space may follow it.
    let behind = document.get(length..).ok_or(JsonError::NotTheDocument)?;
    if !behind.trim_ascii().is_empty() {
        return Err(JsonError::NotTheDocument);
    }
    Ok(value)
}

/// Bounds the nesting of brackets outside strings, whether or not they match.
///
/// Refuses quotes, opening brackets and colons where JSON has none: the reader skips some of them,
/// and would then see brackets where this function sees a string.
fn check_depth(document: &[u8]) -> Result<(), JsonError> {
    let mut depth = 0usize;
    // The last byte outside strings and white space, a quote after a string. A comma admits any
    // value at the start.
    let mut before = b',';
    let mut bytes = document.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'"' | b'{' | b'[' if !b"{[,:".contains(&before) => {
                return Err(JsonError::NotTheDocument);
            }
            b':' if before != b'"' => return Err(JsonError::NotTheDocument),
            b'"' => skip_string(&mut bytes),
            b'{' | b'[' => depth += 1,
            // Surplus closing brackets must not allow more depth later.
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_JSON_DEPTH {
            return Err(JsonError::TooDeep);
        }
        before = byte;
    }
    Ok(())
}

/// Skips the rest of a string and its closing quote.
fn skip_string(bytes: &mut core::slice::Iter<'_, u8>) {
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return,
            // The byte after a backslash never ends the string. The digits of `\u` need no care.
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// Why a document of the service cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// It nests deeper than [`MAX_JSON_DEPTH`].
    TooDeep,
    /// It is not JSON, or not in the documented form.
    NotTheDocument,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => write!(f, "JSON nested deeper than {MAX_JSON_DEPTH}"),
            Self::NotTheDocument => f.write_str("not the JSON document that was expected"),
        }
    }
}

impl core::error::Error for JsonError {}
