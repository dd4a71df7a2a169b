//! JSON as records have it, read strictly, without recursion and without allocation.

use core::fmt;
use core::time::Duration;

use lambda_proto::json::{JsonError, JsonStr};
use lambda_proto::limits::MAX_JSON_DEPTH;

/// A valid JSON value (RFC 8259), as it was sent.
///
/// ```
/// use lambda_proto_extension::telemetry::Json;
///
/// let value = Json::parse(br#" {"level":"INFO","user":{"id":7}} "#)?;
/// assert_eq!(value.member("level").and_then(|level| level.to_text()).unwrap(), "INFO");
/// assert_eq!(value.member("user").unwrap().as_str(), r#"{"id":7}"#);
/// # Ok::<(), lambda_proto::json::JsonError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// Reads a document that is one value, with or without white space around it.
    ///
    /// # Errors
    ///
    /// [`JsonError::TooDeep`] if it nests deeper than [`MAX_JSON_DEPTH`], and
    /// [`JsonError::NotTheDocument`] if it is not JSON.
    pub fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        let text = core::str::from_utf8(document).map_err(|_| JsonError::NotTheDocument)?;
        let mut reader = Reader { text, at: 0, depth: 0 };
        let value = reader.value()?;
        reader.end()?;
        Ok(value)
    }

    /// The value as it was sent, without white space around it.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// The string, if the value is one.
    pub fn to_text(&self) -> Option<JsonStr<'a>> {
        let inside = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(JsonStr::from_field(Some(inside)))
    }

    /// The number, if the value is one.
    pub fn to_number(&self) -> Option<Number<'a>> {
        let is_number = matches!(self.first(), b'-' | b'0'..=b'9');
        is_number.then_some(Number(self.0))
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.first() == b'n'
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.first() == b'{'
    }

    /// Whether the value is an array.
    pub fn is_array(&self) -> bool {
        self.first() == b'['
    }

    /// The members of an object, in order; none for any other value.
    pub fn members(&self) -> Members<'a> {
        Members(Items::of(self.0, b'{'))
    }

    /// The elements of an array, in order; none for any other value.
    pub fn elements(&self) -> Elements<'a> {
        Elements(Items::of(self.0, b'['))
    }

    /// The member of an object that has this name, the last one if there are several. Names with
    /// escapes are found as well.
    pub fn member(&self, name: &str) -> Option<Self> {
        self.members().filter(|(known, _)| known == name).last().map(|(_, value)| value)
    }

    fn first(&self) -> u8 {
        self.0.as_bytes().first().copied().unwrap_or_default()
    }
}

/// `null`
impl Default for Json<'_> {
    fn default() -> Self {
        Self("null")
    }
}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The value as it was sent.
impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The members of a JSON object; see [`Json::members`].
#[derive(Clone, Debug)]
pub struct Members<'a>(Items<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (JsonStr<'a>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_member().ok().flatten()
    }
}

/// The elements of a JSON array; see [`Json::elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a>(Items<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_element().ok().flatten()
    }
}

/// A JSON number, as it was sent: exact, whatever its size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Number<'a>(&'a str);

impl<'a> Number<'a> {
    /// The number as it was sent.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// The number, if it is an integer from 0 to `u64::MAX`, however it is written (`1.5e1`).
    pub fn to_u64(&self) -> Option<u64> {
        self.scaled(0).and_then(|(value, is_exact)| is_exact.then_some(value))
    }

    /// The number times 10 to the power of `places`, without its fraction, and whether it has none.
    /// `None` if it is negative, or too large.
    fn scaled(&self, places: i64) -> Option<(u64, bool)> {
        let bytes = self.0.as_bytes();
        let (is_negative, bytes) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, bytes),
        };
        let mut parts = bytes.splitn(2, |byte| matches!(byte, b'e' | b'E'));
        let mantissa = parts.next().unwrap_or_default();
        let exponent = parts.next().map_or(0, exponent);
        let whole = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
        // The place of each digit in the result; those below 0 are its fraction.
        let mut place = i64::try_from(whole).ok()?.saturating_add(exponent).saturating_add(places);
        let (mut value, mut is_exact) = (0u64, true);
        for digit in mantissa.iter().filter(|&&byte| byte != b'.') {
            let digit = u64::from(digit.wrapping_sub(b'0'));
            place = place.saturating_sub(1);
            if place >= 0 {
                value = value.checked_mul(10)?.checked_add(digit)?;
            } else {
                is_exact &= digit == 0;
            }
        }
        // Zeros after the last digit; a value above 0 overflows after 20 of them at most.
        while place > 0 && value > 0 {
            value = value.checked_mul(10)?;
            place -= 1;
        }
        let is_zero = value == 0 && is_exact;
        (!is_negative || is_zero).then_some((value, is_exact))
    }
}

/// The exponent of a number, from its optional sign on.
fn exponent(bytes: &[u8]) -> i64 {
    let (sign, digits) = match bytes {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, bytes),
    };
    // Beyond any length that a number can have, the exact value does not matter.
    let most = i64::MAX / 100;
    let value = digits.iter().fold(0i64, |value, digit| {
        (value.saturating_mul(10)).saturating_add(i64::from(digit.wrapping_sub(b'0'))).min(most)
    });
    sign * value
}

impl fmt::Debug for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The number as it was sent.
impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A time span in milliseconds, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Milliseconds<'a>(Number<'a>);

impl<'a> Milliseconds<'a> {
    pub(super) const fn new(number: Number<'a>) -> Self {
        Self(number)
    }

    /// The number of milliseconds.
    pub const fn number(&self) -> Number<'a> {
        self.0
    }

    /// The time span, exact to the nanosecond; `None` if it is negative or longer than 500 years.
    pub fn to_duration(&self) -> Option<Duration> {
        self.0.scaled(6).map(|(nanoseconds, _)| Duration::from_nanos(nanoseconds))
    }
}

/// The number with its unit: `12.5 ms`.
impl fmt::Display for Milliseconds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// The items of an object or array, one after the other.
///
/// The text need not be valid: it is checked on the way.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    reader: Reader<'a>,
    close: u8,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Later,
    Over,
}

impl<'a> Items<'a> {
    /// The items of the object or array that the text consists of; none unless it starts with this
    /// bracket.
    pub(super) fn of(text: &'a str, open: u8) -> Self {
        let mut reader = Reader { text, at: 0, depth: 1 };
        let close = if open == b'{' { b'}' } else { b']' };
        let place = if reader.takes(open) { Place::First } else { Place::Over };
        Self { reader, close, place }
    }

    pub(super) fn next_member(&mut self) -> Result<Option<(JsonStr<'a>, Json<'a>)>, JsonError> {
        if !self.advance()? {
            return Ok(None);
        }
        let name = self.reader.name()?;
        Ok(Some((name, self.reader.value()?)))
    }

    fn next_element(&mut self) -> Result<Option<Json<'a>>, JsonError> {
        if !self.advance()? {
            return Ok(None);
        }
        self.reader.value().map(Some)
    }

    /// Checks that only white space follows the last item.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.reader.end()
    }

    /// Moves to the next item; `false` after the last one.
    fn advance(&mut self) -> Result<bool, JsonError> {
        let is_there = match self.place {
            Place::Over => false,
            _ if self.reader.takes(self.close) => false,
            Place::First => true,
            Place::Later if self.reader.takes(b',') => true,
            Place::Later => return Err(JsonError::NotTheDocument),
        };
        self.place = if is_there { Place::Later } else { Place::Over };
        Ok(is_there)
    }
}

/// A cursor over JSON text.
#[derive(Clone, Debug)]
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The brackets around the values that are read.
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Reads one value, and white space before it.
    fn value(&mut self) -> Result<Json<'a>, JsonError> {
        let mut open = Nesting { depth: self.depth, kinds: 0 };
        self.skip_space();
        let start = self.at;
        loop {
            // A value begins here.
            self.skip_space();
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    open.enter(Kind::Object)?;
                    if !self.takes(b'}') {
                        self.name()?;
                        continue;
                    }
                    open.leave();
                }
                Some(b'[') => {
                    self.at += 1;
                    open.enter(Kind::Array)?;
                    if !self.takes(b']') {
                        continue;
                    }
                    open.leave();
                }
                Some(b'"') => {
                    self.string()?;
                }
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => self.number()?,
            }
            // A value ends here, and with it perhaps those around it.
            loop {
                if open.depth <= self.depth {
                    let text = self.text.get(start..self.at).ok_or(JsonError::NotTheDocument)?;
                    return Ok(Json(text));
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

    /// Reads the name of a member, and its colon.
    fn name(&mut self) -> Result<JsonStr<'a>, JsonError> {
        self.skip_space();
        let name = self.string()?;
        if !self.takes(b':') {
            return Err(JsonError::NotTheDocument);
        }
        Ok(name)
    }

    fn string(&mut self) -> Result<JsonStr<'a>, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(JsonError::NotTheDocument);
        }
        self.at += 1;
        let start = self.at;
        loop {
            let rest = self.rest();
            self.at += plain_length(rest);
            match self.rest() {
                [b'"', ..] => {
                    let inside = self.text.get(start..self.at);
                    self.at += 1;
                    return Ok(JsonStr::from_field(inside));
                }
                [b'\\', b'u', digits @ ..] => {
                    let digits = digits.first_chunk::<4>().ok_or(JsonError::NotTheDocument)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(JsonError::NotTheDocument);
                    }
                    self.at += 6;
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
                // Control characters must be escaped (RFC 8259 section 7).
                _ => return Err(JsonError::NotTheDocument),
            }
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        // No leading zeros (RFC 8259 section 6).
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Skips digits, of which there must be one.
    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += length;
        if length == 0 { Err(JsonError::NotTheDocument) } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if !self.rest().starts_with(word) {
            return Err(JsonError::NotTheDocument);
        }
        self.at += word.len();
        Ok(())
    }

    /// Checks that only white space is left.
    fn end(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.rest().is_empty() { Ok(()) } else { Err(JsonError::NotTheDocument) }
    }

    /// Skips white space and then this byte, if it comes next.
    fn takes(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
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
    let splat = |byte| u64::from_le_bytes([byte; 8]);
    // Subtracting `n` from each byte sets the highest bit of those below `n`, by borrowing, and of
    // those that had it set, which the second operand takes out. The borrow reaches the byte above,
    // so a mark may be false, but only above a true one: the lowest mark is right.
    let below = |word: u64, n: u8| word.wrapping_sub(splat(n)) & !word & splat(0x80);
    let mut length = 0;
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let marks =
            below(word ^ splat(b'"'), 1) | below(word ^ splat(b'\\'), 1) | below(word, 0x20);
        if marks != 0 {
            return length + (marks.trailing_zeros() / 8) as usize;
        }
        length += 8;
        rest = after;
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    length + rest.iter().position(is_special).unwrap_or(rest.len())
}
