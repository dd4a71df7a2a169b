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

/// A key as Go compares it with those of ASCII letters.
fn folded(key: &str) -> String {
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
mod tests {
    use super::*;

    const TEXT: Field = Field { path: "T.text", go_type: "string" };
    const LIST: Field = Field { path: "T.list", go_type: "[]string" };

    /// Reads the members `text` and `list`.
    fn read(document: &[u8]) -> Result<(Option<String>, Vec<String>), String> {
        let (mut text, mut list) = (None, Texts::default());
        read_object(document, "T", |key, value| match key {
            "text" => {
                text = value.text(TEXT)?.or(text.take());
                Ok(())
            }
            "list" => value.read_texts(&mut list, LIST),
            _ => Ok(()),
        })
        .map_err(|error| error.to_string())?;
        Ok((text, list.as_slice().to_vec()))
    }

    #[track_caller]
    fn assert_text(document: impl AsRef<[u8]>, text: &str) {
        let document = document.as_ref();
        let shown = String::from_utf8_lossy(document);
        assert_eq!(read(document), Ok((Some(text.to_owned()), Vec::new())), "{shown}");
    }

    #[track_caller]
    fn assert_list(document: &str, list: &[&str]) {
        let list = list.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(read(document.as_bytes()), Ok((None, list)), "{document}");
    }

    #[test]
    fn keys_are_found_in_any_case_and_the_last_of_several_wins() {
        assert_text(r#"{"TEXT":"a"}"#, "a");
        assert_text(r#"{"text":"a","Text":"b","text":"c"}"#, "c");
        assert_text(r#"{"text":"a","TEXT":null}"#, "a");
        assert_text(r#"{"t\u0065xt":"a"}"#, "a");
        assert_list("{\"li\u{17f}t\":[\"a\"]}", &["a"]);
        assert_eq!(read("{\"téxt\":1,\"\":2,\"texts\":3}".as_bytes()), Ok((None, Vec::new())));
        assert_eq!(folded("\u{212a}EYS"), "keys");
    }

    #[test]
    fn a_list_keeps_its_elements_under_null_as_in_go() {
        assert_list(r#"{"list":["a","b"]}"#, &["a", "b"]);
        assert_list(r#"{"list":["a","b"],"list":["c"]}"#, &["c"]);
        assert_list(r#"{"list":["a","b"],"list":[null,null]}"#, &["a", "b"]);
        assert_list(r#"{"list":["a","b"],"list":["c"],"list":[null,null]}"#, &["c", "b"]);
        assert_list(r#"{"list":["a","b"],"list":[],"list":[null,null]}"#, &["", ""]);
        assert_list(r#"{"list":["a","b"],"list":null,"list":[null,null]}"#, &["", ""]);
        assert_list(r#"{"list":["a"],"list":null}"#, &[]);
    }

    #[test]
    fn invalid_utf_8_and_lone_surrogates_are_replaced() {
        assert_text(b"{\"text\":\"a\xffb\"}", "a\u{fffd}b");
        assert_text(b"{\"text\":\"\xe2\x82\"}", "\u{fffd}\u{fffd}");
        assert_text(b"{\"text\":\"\xed\xa0\x80\"}", "\u{fffd}\u{fffd}\u{fffd}");
        assert_text(r#"{"text":"\ud83d\ude00"}"#, "😀");
        assert_text(r#"{"text":"\ud800"}"#, "\u{fffd}");
        assert_text(r#"{"text":"\ude00\ud83d"}"#, "\u{fffd}\u{fffd}");
        assert_text(r#"{"text":"\ud800\u0041\ud800A"}"#, "\u{fffd}A\u{fffd}A");
        assert_text(r#"{"text":"\ud800\ud83d\ude00"}"#, "\u{fffd}😀");
        assert_text(r#"{"text":"\u00e9\n\/\"\\\u0000"}"#, "é\n/\"\\\0");
    }

    #[test]
    fn values_of_another_type_are_errors_after_everything_has_been_read() {
        let mut text = None;
        let error = read_object(br#"{"x":1,"text":"a"}"#, "T", |key, value| {
            match key {
                "x" => value.text(Field { path: "T.x", go_type: "string" }).map(drop)?,
                _ => text = value.text(TEXT)?,
            }
            Ok(())
        });
        let expected = "json: cannot unmarshal number into Go struct field T.x of type string";
        assert_eq!(error, Err(Error(expected.into())));
        assert_eq!(text.as_deref(), Some("a"));
    }

    #[test]
    fn errors_have_the_words_of_go() {
        let value = "json: cannot unmarshal";
        let deep = format!("{}{}", "[".repeat(10_001), "]".repeat(10_001));
        for (document, error) in [
            ("", "unexpected end of JSON input".to_owned()),
            (r#"{"text":"a"#, "unexpected end of JSON input".into()),
            ("[1]", format!("{value} array into Go value of type T")),
            (" true ", format!("{value} bool into Go value of type T")),
            ("-0.5e+7", format!("{value} number into Go value of type T")),
            (r#""\"{""#, format!("{value} string into Go value of type T")),
            (
                r#"{"text":{}}"#,
                format!("{value} object into Go struct field T.text of type string"),
            ),
            (
                r#"{"list":1}"#,
                format!("{value} number into Go struct field T.list of type []string"),
            ),
            (
                r#"{"list":["a",["b"],1]}"#,
                format!("{value} array into Go struct field T.list of type string"),
            ),
            (&deep, "invalid character '[' exceeded max depth".into()),
        ] {
            assert_eq!(read(document.as_bytes()), Err(error), "{document:.60}");
        }
        assert_eq!(read(format!(r#"{{"a":{}}}"#, &deep[2..20_000]).as_bytes()), Ok((None, vec![])));
    }

    #[test]
    fn the_first_invalid_character_is_named_with_its_place() {
        for (document, error) in [
            ("nonsense", "'o' in literal null (expecting 'u')"),
            ("t", "' ' in literal true (expecting 'r')"),
            ("[falsy]", "'y' in literal false (expecting 'e')"),
            ("{}x", "'x' after top-level value"),
            ("{} {", "'{' after top-level value"),
            ("\u{feff}{}", "'ï' looking for beginning of value"),
            ("]", "']' looking for beginning of value"),
            ("[1,]", "']' looking for beginning of value"),
            ("{a}", "'a' looking for beginning of object key string"),
            (r#"{"a":1,}"#, "'}' looking for beginning of object key string"),
            ("{'", r"'\'' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "'1' after object key"),
            (r#"{"a":01}"#, "'1' after object key:value pair"),
            (r#"[1 "a"]"#, "'\"' after array element"),
            ("[-]", "']' in numeric literal"),
            ("[1.]", "']' after decimal point in numeric literal"),
            ("[1e]", "']' in exponent of numeric literal"),
            ("[1e+]", "']' in exponent of numeric literal"),
            ("\"\n\"", r"'\n' in string literal"),
            ("\"\x01\"", r"'\x01' in string literal"),
            (r#""\q""#, "'q' in string escape code"),
            (r#""\u12""#, "'\"' in \\u hexadecimal character escape"),
            ("\x7f", r"'\x7f' looking for beginning of value"),
        ] {
            let error = Err(format!("invalid character {error}"));
            assert_eq!(read(document.as_bytes()), error, "{document}");
        }
        let error = Err(r"invalid character '\u0080' looking for beginning of value".into());
        assert_eq!(read(b"\x80"), error);
    }

    #[test]
    fn everything_that_is_valid_is_accepted() {
        for document in [
            " null\r\n",
            "{}",
            r#"{"a":[],"b":{"c":[{}, [1, -2.5E-3, 0, 1e9], true, false, null]}, "d" : "x"}"#,
            "\t{ \"a\" :\n1 , \"b\" : 0.0 }\r",
        ] {
            assert_eq!(read(document.as_bytes()), Ok((None, Vec::new())), "{document}");
        }
    }

    #[test]
    fn text_is_written_as_go_writes_it() {
        assert_eq!(quoted("\"a\\\u{8}\u{c}\n\r\t\0\u{1f}"), r#""\"a\\\b\f\n\r\t\u0000\u001f""#);
        assert_eq!(
            quoted("<&>\u{2028}\u{2029}é\u{7f}"),
            "\"\\u003c\\u0026\\u003e\\u2028\\u2029é\u{7f}\""
        );
    }
}
