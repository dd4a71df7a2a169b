//! JSON as the service reads and writes it: by the rules of Go's `encoding/json`.
//!
//! They differ from those of serde_json: the case of a key does not matter, the last of several
//! equal keys wins, `null` changes nothing, a member of the wrong type does not keep the others
//! from being read, invalid UTF-8 and lone surrogates are replaced, and values nest 10,000 deep.
//! Callers and extensions see the texts of the errors.
//!
//! Source: Go 1.26, `encoding/json`.

mod scan;

use std::fmt;

/// Why a document cannot be read, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error(String);

/// A value inside of a valid document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'d> {
    /// Without white space around it.
    text: &'d [u8],
}

/// Where a value is read into, for the texts of errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Its path from a struct of the service, which may have no name.
    pub(crate) path: &'static str,
    pub(crate) go_type: &'static str,
}

/// A list of texts.
///
/// Reading another list into it overwrites its elements. As in Go, elements beyond the new end are
/// kept out of sight, and a `null` brings one back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    elements: Vec<String>,
    len: usize,
}

/// Reads an object, and passes each member to `member` with its key in lower case. `null` has no
/// members. `go_type` is the service's name for the object.
///
/// # Errors
///
/// An [`Error`] if the document is not valid, or is not an object; otherwise the first error of
/// `member`, after all members have been read.
pub(crate) fn read_object<'d>(
    document: &'d [u8],
    go_type: &str,
    mut member: impl FnMut(&str, Value<'d>) -> Result<(), Error>,
) -> Result<(), Error> {
    scan::check(document)?;
    let value = Value { text: document.trim_ascii() };
    match value.text[0] {
        b'{' => {}
        b'n' => return Ok(()),
        _ => {
            let kind = value.kind();
            return Err(Error(format!(
                "json: cannot unmarshal {kind} into Go value of type {go_type}"
            )));
        }
    }
    let mut result = Ok(());
    let mut parts = value.parts();
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        let read = member(&folded(&key.unquoted()), value);
        result = result.and(read);
    }
    result
}

/// The value of a whole document.
///
/// # Errors
///
/// An [`Error`] if the document is not valid.
pub(crate) fn read_value(document: &[u8]) -> Result<Value<'_>, Error> {
    scan::check(document)?;
    Ok(Value { text: document.trim_ascii() })
}

/// The text of the object, without white space around it, if the document is a valid object in
/// valid UTF-8.
pub(crate) fn is_object(document: &[u8]) -> Option<&str> {
    let text = document.trim_ascii();
    if text.first() != Some(&b'{') || scan::check(text).is_err() {
        return None;
    }
    std::str::from_utf8(text).ok()
}

/// Text as a JSON string, with `<`, `>` and `&` escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0'..'\u{20}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

impl<'d> Value<'d> {
    /// The last member of an object whose key `is_key` accepts; `None` if there is none, if it is
    /// `null`, or if the value is no object.
    pub(crate) fn member(self, is_key: impl Fn(&str) -> bool) -> Option<Self> {
        if self.text[0] != b'{' {
            return None;
        }
        let (mut parts, mut found) = (self.parts(), None);
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            if is_key(&key.unquoted()) {
                found = Some(value);
            }
        }
        found.filter(|value| value.text[0] != b'n')
    }

    /// The elements of an array; `None` if the value is no array.
    pub(crate) fn elements(self) -> Option<impl Iterator<Item = Self>> {
        (self.text[0] == b'[').then(|| self.parts())
    }

    /// The text of a string; `None` if the value is none.
    pub(crate) fn string(self) -> Option<String> {
        (self.text[0] == b'"').then(|| self.unquoted())
    }

    /// The value of a number that is written as an integer; `None` if the value is none.
    pub(crate) fn integer(self) -> Option<i64> {
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }

    /// Whether the value is an object.
    pub(crate) fn is_object(self) -> bool {
        self.text[0] == b'{'
    }

    /// The text, or `None` for `null`.
    ///
    /// # Errors
    ///
    /// An [`Error`] if the value is of another type.
    pub(crate) fn text(self, field: Field) -> Result<Option<String>, Error> {
        match self.text[0] {
            b'"' => Ok(Some(self.unquoted())),
            b'n' => Ok(None),
            _ => Err(self.mismatch(field)),
        }
    }

    /// Reads a text into `target`; `null` leaves it as it is.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text). `target` is unchanged then.
    pub(crate) fn read_text(self, target: &mut String, field: Field) -> Result<(), Error> {
        if let Some(text) = self.text(field)? {
            *target = text;
        }
        Ok(())
    }

    /// Reads a list of texts into `target`; `null` empties it.
    ///
    /// # Errors
    ///
    /// An [`Error`] if the value, or one of its elements, is of another type. The other elements
    /// have been read then.
    pub(crate) fn read_texts(self, target: &mut Texts, field: Field) -> Result<(), Error> {
        match self.text[0] {
            b'[' => {}
            b'n' => {
                *target = Texts::default();
                return Ok(());
            }
            _ => return Err(self.mismatch(field)),
        }
        let element = Field { go_type: field.go_type.trim_start_matches("[]"), ..field };
        let (mut result, mut len) = (Ok(()), 0);
        for value in self.parts() {
            if len == target.elements.len() {
                target.elements.push(String::new());
            }
            let read = value.read_text(&mut target.elements[len], element);
            result = result.and(read);
            len += 1;
        }
        if len == 0 {
            target.elements.clear();
        }
        target.len = len;
        result
    }

    /// The elements of an array, or the keys and values of an object, one after the other.
    fn parts(self) -> impl Iterator<Item = Value<'d>> {
        let mut rest = &self.text[1..self.text.len() - 1];
        std::iter::from_fn(move || {
            let start = rest.iter().position(|byte| !b" \t\r\n,:".contains(byte))?;
            let text = &rest[start..];
            let (text, after) = text.split_at(length(text));
            rest = after;
            Some(Value { text })
        })
    }

    /// The text that a JSON string stands for.
    fn unquoted(self) -> String {
        let mut rest = &self.text[1..self.text.len() - 1];
        let mut text = String::with_capacity(rest.len());
        while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
            push_lossy(&mut text, &rest[..at]);
            let (letter, length) = match rest[at + 1] {
                b'u' => code_point(&rest[at..]),
                b'b' => ('\u{8}', 2),
                b'f' => ('\u{c}', 2),
                b'n' => ('\n', 2),
                b'r' => ('\r', 2),
                b't' => ('\t', 2),
                other => (char::from(other), 2),
            };
            text.push(letter);
            rest = &rest[at + length..];
        }
        push_lossy(&mut text, rest);
        text
    }

    /// The name of its type in the texts of errors.
    fn kind(self) -> &'static str {
        match self.text[0] {
            b'{' => "object",
            b'[' => "array",
            b'"' => "string",
            b't' | b'f' => "bool",
            b'n' => "null",
            _ => "number",
        }
    }

    fn mismatch(self, field: Field) -> Error {
        let (kind, Field { path, go_type }) = (self.kind(), field);
        Error(format!(
            "json: cannot unmarshal {kind} into Go struct field {path} of type {go_type}"
        ))
    }
}

impl Texts {
    pub(crate) fn as_slice(&self) -> &[String] {
        &self.elements[..self.len]
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The length of the value with which a part of a valid document begins.
fn length(text: &[u8]) -> usize {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => {
                is_string = !is_string;
                if !is_string && depth == 0 {
                    return at + 1;
                }
            }
            _ if is_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b' ' | b'\t' | b'\r' | b'\n' | b',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// A key as Go compares it with those of ASCII letters: in lower case.
pub(crate) fn folded(key: &str) -> String {
    // The only letters beyond ASCII that are equal to one in ASCII if the case is ignored.
    key.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase()
}

/// Adds text, with U+FFFD for each byte that is not part of valid UTF-8.
fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

/// The character of a `\u` escape, or of a pair of them, and its length there.
fn code_point(escape: &[u8]) -> (char, usize) {
    let Some(first) = code_unit(escape) else { return (char::REPLACEMENT_CHARACTER, 2) };
    let pair = [first, code_unit(&escape[6..]).unwrap_or_default()];
    match char::decode_utf16(pair).next() {
        Some(Ok(letter)) => (letter, 6 * letter.len_utf16()),
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

fn code_unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
