//! Checks that a document is valid JSON, and describes the first error in Go's words.

use super::Error;

/// The deepest nesting of objects and arrays.
const MAX_DEPTH: usize = 10_000;

/// Checks that the document is one valid value.
///
/// It goes through the bytes with a stack of its own, so no document can exhaust the thread's.
///
/// # Errors
///
/// An [`Error`] that names the first invalid character, or says that the document is incomplete.
pub(super) fn check(document: &[u8]) -> Result<(), Error> {
    let mut scanner = Scanner { step: Step::Value, open: Vec::new() };
    for byte in document {
        scanner.take(*byte)?;
    }
    // Whether a number ends here shows only with the byte after it.
    scanner.take(b' ')?;
    match scanner.step {
        Step::End => Ok(()),
        _ => Err(Error("unexpected end of JSON input".into())),
    }
}

struct Scanner {
    step: Step,
    open: Vec<Open>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy)]
enum Step {
    Value,
    /// A value, or the end of an array.
    FirstElement,
    Key,
    /// A key, or the end of an object.
    FirstKey,
    /// What follows a key or a value.
    After,
    String,
    Escape,
    /// This number of hexadecimal digits is missing.
    Hex(u8),
    /// A literal, and how many of its bytes have come.
    Literal(&'static str, usize),
    Minus,
    /// After a leading zero, which no digit may follow.
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// Only white space may follow the document.
    End,
}

/// What is open around the next byte.
#[derive(Clone, Copy)]
enum Open {
    Array,
    Key,
    Member,
}

impl Scanner {
    fn take(&mut self, byte: u8) -> Result<(), Error> {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.step = match (self.step, byte) {
            (step @ (Step::Value | Step::FirstElement | Step::Key | Step::FirstKey), _)
                if is_space =>
            {
                step
            }
            (Step::FirstElement, b']') | (Step::FirstKey, b'}') => self.close(),
            (Step::Value | Step::FirstElement, _) => self.begin(byte)?,
            (Step::Key | Step::FirstKey, b'"') => Step::String,
            (Step::Key | Step::FirstKey, _) => {
                return invalid(byte, "looking for beginning of object key string");
            }
            (Step::String, b'"') => self.end(),
            (Step::String, b'\\') => Step::Escape,
            (Step::String, ..0x20) => return invalid(byte, "in string literal"),
            (Step::String, _) => Step::String,
            (Step::Escape, b'u') => Step::Hex(4),
            (Step::Escape, b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => Step::String,
            (Step::Escape, _) => return invalid(byte, "in string escape code"),
            (Step::Hex(missing), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => match missing {
                1 => Step::String,
                _ => Step::Hex(missing - 1),
            },
            (Step::Hex(_), _) => return invalid(byte, "in \\u hexadecimal character escape"),
            (Step::Literal(word, length), _) => match word.as_bytes().get(length) {
                Some(expected) if *expected != byte => {
                    let expected = char::from(*expected);
                    return invalid(byte, &format!("in literal {word} (expecting '{expected}')"));
                }
                _ if length + 1 < word.len() => Step::Literal(word, length + 1),
                _ => self.end(),
            },
            (Step::Minus, b'0') => Step::Zero,
            (Step::Minus, b'1'..=b'9') => Step::Integer,
            (Step::Minus, _) => return invalid(byte, "in numeric literal"),
            (Step::Integer, b'0'..=b'9') => Step::Integer,
            (Step::Zero | Step::Integer, b'.') => Step::Point,
            (Step::Point | Step::Fraction, b'0'..=b'9') => Step::Fraction,
            (Step::Point, _) => return invalid(byte, "after decimal point in numeric literal"),
            (Step::Zero | Step::Integer | Step::Fraction, b'e' | b'E') => Step::Exponent,
            (Step::Exponent, b'+' | b'-') => Step::ExponentSign,
            (Step::Exponent | Step::ExponentSign | Step::ExponentDigits, b'0'..=b'9') => {
                Step::ExponentDigits
            }
            (Step::Exponent | Step::ExponentSign, _) => {
                return invalid(byte, "in exponent of numeric literal");
            }
            (Step::Zero | Step::Integer | Step::Fraction | Step::ExponentDigits, _) => {
                self.step = self.end();
                return self.take(byte);
            }
            (step @ (Step::After | Step::End), _) if is_space => step,
            (Step::End, _) => return invalid(byte, "after top-level value"),
            (Step::After, _) => self.follow(byte)?,
        };
        Ok(())
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8) -> Result<Step, Error> {
        Ok(match byte {
            b'{' | b'[' if self.open.len() >= MAX_DEPTH => {
                return invalid(byte, "exceeded max depth");
            }
            b'{' => {
                self.open.push(Open::Key);
                Step::FirstKey
            }
            b'[' => {
                self.open.push(Open::Array);
                Step::FirstElement
            }
            b'"' => Step::String,
            b'-' => Step::Minus,
            b'0' => Step::Zero,
            b'1'..=b'9' => Step::Integer,
            b't' => Step::Literal("true", 1),
            b'f' => Step::Literal("false", 1),
            b'n' => Step::Literal("null", 1),
            _ => return invalid(byte, "looking for beginning of value"),
        })
    }

    /// The byte after a key or a value.
    fn follow(&mut self, byte: u8) -> Result<Step, Error> {
        Ok(match (self.open.pop(), byte) {
            (Some(Open::Key), b':') => {
                self.open.push(Open::Member);
                Step::Value
            }
            (Some(Open::Key), _) => return invalid(byte, "after object key"),
            (Some(Open::Member), b',') => {
                self.open.push(Open::Key);
                Step::Key
            }
            (Some(Open::Member), b'}') | (Some(Open::Array), b']') => self.end(),
            (Some(Open::Member), _) => return invalid(byte, "after object key:value pair"),
            (Some(Open::Array), b',') => {
                self.open.push(Open::Array);
                Step::Value
            }
            (Some(Open::Array), _) => return invalid(byte, "after array element"),
            (None, _) => return invalid(byte, "after top-level value"),
        })
    }

    /// The end of an empty array or object.
    fn close(&mut self) -> Step {
        self.open.pop();
        self.end()
    }

    /// The end of a key or a value.
    fn end(&self) -> Step {
        if self.open.is_empty() { Step::End } else { Step::After }
    }
}

fn invalid<T>(byte: u8, context: &str) -> Result<T, Error> {
    let named = match byte {
        b'\'' => "\\'".into(),
        b'\\' => "\\\\".into(),
        0x07 => "\\a".into(),
        0x08 => "\\b".into(),
        0x0b => "\\v".into(),
        0x0c => "\\f".into(),
        b'\n' => "\\n".into(),
        b'\r' => "\\r".into(),
        b'\t' => "\\t".into(),
        ..0x20 | 0x7f => format!("\\x{byte:02x}"),
        // Go takes the byte for a code point.
        0x80..=0xa0 | 0xad => format!("\\u{byte:04x}"),
        _ => char::from(byte).to_string(),
    };
    Err(Error(format!("invalid character '{named}' {context}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go_json::{Field, Texts, read_object};

    /// Both go by RFC 8259, so they agree on what is valid, if not on the rest.
    #[test]
    fn random_documents_are_valid_if_serde_json_says_so_and_never_panic() {
        const PARTS: [&str; 32] = [
            "{",
            "}",
            "[",
            "]",
            "{",
            "}",
            "[",
            "]",
            ",",
            ",",
            ":",
            ":",
            " ",
            "\n",
            "\"",
            "\\",
            "\\u00e9",
            "\\ud800",
            "\"text\"",
            "\"text\"",
            "\"list\":",
            "\"é\"",
            "\"a\":",
            "1",
            "0",
            "-",
            ".",
            "e+",
            "true",
            "null",
            "null",
            "f",
        ];
        let (mut random, mut valid) = (0x2545_f491_4f6c_dd1d_u64, 0);
        for _ in 0..100_000 {
            let mut document = String::new();
            for _ in 0..random % 12 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                document.push_str(PARTS[(random >> 59) as usize]);
            }
            random = random.wrapping_mul(0x2545_f491_4f6c_dd1d).max(1);
            let is_valid = serde_json::from_str::<serde::de::IgnoredAny>(&document).is_ok();
            assert_eq!(check(document.as_bytes()).is_ok(), is_valid, "{document}");
            let mut texts = Texts::default();
            let _ = read_object(document.as_bytes(), "T", |_, value| {
                let _ = value.read_texts(&mut texts, Field { path: "T.list", go_type: "[]string" });
                value.text(Field { path: "T.text", go_type: "string" }).map(drop)
            });
            valid += usize::from(is_valid);
        }
        assert!(valid > 1_000, "{valid}");
    }
}
