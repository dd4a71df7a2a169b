//! JSON as records have it, read strictly, without recursion and without allocation.

use core::fmt;
use core::ops::Range;
use core::time::Duration;

use lambda_proto::json::{JsonError, JsonStr};

use super::reader::Reader;

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
    /// [`JsonError::TooDeep`] if it nests deeper than [`MAX_JSON_DEPTH`](lambda_proto::limits::MAX_JSON_DEPTH), and
    /// [`JsonError::NotTheDocument`] if it is not JSON.
    pub fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        let text = core::str::from_utf8(document).map_err(|_| JsonError::NotTheDocument)?;
        let mut reader = Reader::new(text.as_bytes(), 0);
        let value = reader.value()?;
        reader.end()?;
        Ok(Self(part(text, value)?))
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

    /// What a [`Reader`] has read as a value.
    pub(super) const fn of_value(text: &'a str) -> Self {
        Self(text)
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

/// The items of an object or array, one after the other. The text is JSON: it was read before.
#[derive(Clone, Debug)]
struct Items<'a> {
    text: &'a str,
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
    fn of(text: &'a str, open: u8) -> Self {
        let mut reader = Reader::new(text.as_bytes(), 1);
        let close = if open == b'{' { b'}' } else { b']' };
        let place = if reader.takes(open) { Place::First } else { Place::Over };
        Self { text, reader, close, place }
    }

    fn next_member(&mut self) -> Result<Option<(JsonStr<'a>, Json<'a>)>, JsonError> {
        if !self.advance()? {
            return Ok(None);
        }
        let name = part(self.text, self.reader.pass_name())?;
        let value = part(self.text, self.reader.pass_value())?;
        Ok(Some((JsonStr::from_field(Some(name)), Json(value))))
    }

    fn next_element(&mut self) -> Result<Option<Json<'a>>, JsonError> {
        if !self.advance()? {
            return Ok(None);
        }
        let value = self.reader.pass_value();
        Ok(Some(Json(part(self.text, value)?)))
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

/// A part of a text; no reader ends one inside of a character.
fn part(text: &str, range: Range<usize>) -> Result<&str, JsonError> {
    text.get(range).ok_or(JsonError::NotTheDocument)
}
