//! Reads JSON as RFC 8259 defines it.

use std::ffi::c_int;
use std::ptr;
use std::str::from_utf8;

use mlua::Lua;

use super::{Integers, Json, MAX_DEPTH, MAX_INTEGER, Read};
use crate::stack::Stack;

/// Why a JSON text could not be read, and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{problem} at byte {at}")]
    Text { at: usize, problem: Problem },
    /// Lua could not make a value, for want of memory.
    #[error(transparent)]
    Lua(#[from] mlua::Error),
}

impl ReadError {
    /// Whether the text is not JSON at all. Otherwise Lua cannot represent a value of it.
    pub(crate) fn is_syntax(&self) -> bool {
        use Problem::{Control, End, Escape, Expected, NotUtf8};
        let Self::Text { problem, .. } = self else { return false };
        matches!(problem, NotUtf8 | End | Expected(_) | Control | Escape)
    }
}

/// What is wrong with a JSON text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the JSON text is not UTF-8")]
    NotUtf8,
    #[error("the JSON text ends too early")]
    End,
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("a control character in a string, which JSON writes as an escape,")]
    Control,
    #[error("an escape that JSON does not have")]
    Escape,
    #[error("half of a surrogate pair")]
    Surrogate,
    #[error("the number {0} is too large for a Lua number")]
    TooLarge(String),
    #[error(
        "the integer {0} is beyond 2^53, and a Lua number would change it; \
         set LAMBDA_LUAJIT_INTEGERS to text or cdata to get such integers,"
    )]
    Inexact(String),
    #[error("the integer {0} has more than 64 bits")]
    TooWide(String),
    #[error("arrays and objects are nested more than {MAX_DEPTH} deep")]
    Depth,
}

pub(super) fn read(json: &Json, lua: &Lua, text: &[u8]) -> Result<Read, ReadError> {
    if let Err(error) = from_utf8(text) {
        return Err(ReadError::Text { at: error.valid_up_to(), problem: Problem::NotUtf8 });
    }
    let (mut scratch, mut duplicate, mut outcome) = (vec![], None, Ok(()));
    let arguments = (&json.array, &json.wide);
    let value = Stack::within(lua, arguments, |stack| {
        let (scratch, duplicate) = (&mut scratch, &mut duplicate);
        let integers = json.integers;
        let mut reader = Reader { stack, integers, text, at: 0, depth: 0, scratch, duplicate };
        outcome = reader.whole();
        match outcome {
            Ok(()) => stack.replace(ARRAY),
            Err(_) => stack.push_nil(),
        }
        stack.truncate(1);
    })?;
    outcome.map(|()| Read { value, duplicate })
}

/// Where the metatable of arrays is on the stack, and the function that makes numbers of 64 bits.
const ARRAY: c_int = 1;
const WIDE: c_int = 2;

/// The values of a level of nesting on the stack: a table, a key, what is made of a number.
const LEVEL: c_int = 8;

struct Reader<'r> {
    stack: Stack<'r>,
    integers: Integers,
    /// Valid UTF-8.
    text: &'r [u8],
    at: usize,
    depth: usize,
    /// The latest string with escapes.
    scratch: &'r mut Vec<u8>,
    duplicate: &'r mut Option<String>,
}

impl Reader<'_> {
    /// Pushes the value of the whole text.
    fn whole(&mut self) -> Result<(), ReadError> {
        self.stack.reserve(LEVEL);
        self.value()?;
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong(Problem::Expected("the end of the JSON text"))),
        }
    }

    /// Pushes a value, as the functions below do.
    fn value(&mut self) -> Result<(), ReadError> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", |stack| stack.push_boolean(true)),
            Some(b'f') => self.word("false", |stack| stack.push_boolean(false)),
            Some(b'n') => self.word("null", |stack| stack.push_address(ptr::null_mut())),
            _ => Err(self.wrong(Problem::Expected("a value"))),
        }
    }

    fn word(&mut self, word: &'static str, push: fn(Stack<'_>)) -> Result<(), ReadError> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong(Problem::Expected(word)));
        }
        self.at += word.len();
        push(self.stack);
        Ok(())
    }

    fn object(&mut self) -> Result<(), ReadError> {
        self.enter()?;
        self.stack.push_table(0);
        if !self.empty(b'}') {
            loop {
                self.space();
                if self.peek() != Some(b'"') {
                    return Err(self.wrong(Problem::Expected("a key")));
                }
                self.string()?;
                self.space();
                if !self.take(b':') {
                    return Err(self.wrong(Problem::Expected("a colon")));
                }
                if self.duplicate.is_none() && self.stack.has_key() {
                    let key = String::from_utf8_lossy(self.stack.bytes(-1));
                    *self.duplicate = Some(key.into_owned());
                }
                self.value()?;
                self.stack.set_field();
                if self.ends(b'}', "a comma or the end of the object")? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), ReadError> {
        self.enter()?;
        self.stack.push_table(0);
        if !self.empty(b']') {
            // An event has less than 2^32 bytes.
            for index in 1.. {
                self.value()?;
                self.stack.set_element(index);
                if self.ends(b']', "a comma or the end of the array")? {
                    break;
                }
            }
        }
        self.stack.set_metatable(ARRAY);
        self.depth -= 1;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), ReadError> {
        if self.depth == MAX_DEPTH {
            return Err(self.wrong(Problem::Depth));
        }
        self.stack.reserve(LEVEL);
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Whether the array or object that has just begun ends here.
    fn empty(&mut self, end: u8) -> bool {
        self.space();
        self.take(end)
    }

    /// Whether the array or object ends after this element.
    fn ends(&mut self, end: u8, expected: &'static str) -> Result<bool, ReadError> {
        self.space();
        if self.take(end) {
            return Ok(true);
        }
        if self.take(b',') {
            return Ok(false);
        }
        Err(self.wrong(Problem::Expected(expected)))
    }

    fn string(&mut self) -> Result<(), ReadError> {
        self.at += 1;
        let begin = self.at;
        self.plain()?;
        if self.take(b'"') {
            self.stack.push_string(&self.text[begin..self.at - 1]);
            return Ok(());
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.text[begin..self.at]);
        while !self.take(b'"') {
            self.escape()?;
            let begin = self.at;
            self.plain()?;
            self.scratch.extend_from_slice(&self.text[begin..self.at]);
        }
        self.stack.push_string(self.scratch);
        Ok(())
    }

    /// Skips the characters before the next escape or the end of the string.
    fn plain(&mut self) -> Result<(), ReadError> {
        let rest = &self.text[self.at..];
        let special = rest.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\');
        self.at += special.unwrap_or(rest.len());
        match self.peek() {
            None => Err(self.wrong(Problem::End)),
            Some(b'"' | b'\\') => Ok(()),
            Some(_) => Err(self.wrong(Problem::Control)),
        }
    }

    fn escape(&mut self) -> Result<(), ReadError> {
        let begin = self.at;
        self.at += 1;
        let letter = self.peek().ok_or_else(|| self.wrong(Problem::End))?;
        self.at += 1;
        let byte = match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = self.unicode(begin)?;
                let mut bytes = [0; 4];
                self.scratch.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
                return Ok(());
            }
            _ => return Err(ReadError::Text { at: begin, problem: Problem::Escape }),
        };
        self.scratch.push(byte);
        Ok(())
    }

    /// The character of an escape that begins at `begin`, and of the one after it if the two are a
    /// surrogate pair.
    fn unicode(&mut self, begin: usize) -> Result<char, ReadError> {
        let lone = || ReadError::Text { at: begin, problem: Problem::Surrogate };
        let mut code = self.hex()?;
        if (0xd800..0xdc00).contains(&code) {
            if !self.text[self.at..].starts_with(b"\\u") {
                return Err(lone());
            }
            self.at += 2;
            let low = self.hex()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(lone());
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        char::from_u32(code).ok_or_else(lone)
    }

    fn hex(&mut self) -> Result<u32, ReadError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().ok_or_else(|| self.wrong(Problem::End))?;
            let digit = char::from(digit).to_digit(16);
            let digit = digit.ok_or_else(|| self.wrong(Problem::Expected("a hexadecimal digit")));
            code = code * 16 + digit?;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<(), ReadError> {
        let begin = self.at;
        let is_negative = self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        let end = self.at;
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let number = from_utf8(&self.text[begin..self.at]).unwrap_or_default();
        if self.at == end {
            let digits = &number[usize::from(is_negative)..];
            return self.integer(number, digits, is_negative).map_err(|error| match error {
                ReadError::Text { problem, .. } => ReadError::Text { at: begin, problem },
                lua => lua,
            });
        }
        match number.parse::<f64>() {
            Ok(parsed) if parsed.is_finite() => {
                self.stack.push_number(parsed);
                Ok(())
            }
            _ => {
                let problem = Problem::TooLarge(number.to_owned());
                Err(ReadError::Text { at: begin, problem })
            }
        }
    }

    fn integer(&self, number: &str, digits: &str, is_negative: bool) -> Result<(), ReadError> {
        let parsed = digits.parse::<u64>().ok();
        if let Some(magnitude) = parsed.filter(|&magnitude| magnitude <= MAX_INTEGER) {
            let magnitude = magnitude as f64;
            self.stack.push_number(if is_negative { -magnitude } else { magnitude });
            return Ok(());
        }
        match self.integers {
            Integers::Error => Err(self.wrong(Problem::Inexact(number.to_owned()))),
            Integers::Text => {
                self.stack.push_string(number.as_bytes());
                Ok(())
            }
            Integers::Cdata => {
                const BEYOND: u64 = 1 << 63;
                let magnitude = parsed.filter(|&magnitude| !is_negative || magnitude <= BEYOND);
                let too_wide = || self.wrong(Problem::TooWide(number.to_owned()));
                let magnitude = magnitude.ok_or_else(too_wide)?;
                let is_signed = is_negative || magnitude < BEYOND;
                let (high, low) = ((magnitude >> 32) as f64, f64::from(magnitude as u32));
                self.stack.push_copy(WIDE);
                self.stack.push_boolean(is_signed);
                self.stack.push_boolean(is_negative);
                self.stack.push_number(high);
                self.stack.push_number(low);
                self.stack.call(4);
                Ok(())
            }
        }
    }

    /// Skips one digit or more.
    fn digits(&mut self) -> Result<(), ReadError> {
        let rest = &self.text[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        match count {
            0 => Err(self.wrong(Problem::Expected("a digit"))),
            _ => Ok(()),
        }
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// The error for the current place: that the text ends, if it does.
    fn wrong(&self, problem: Problem) -> ReadError {
        let problem = match problem {
            Problem::Expected(_) if self.at == self.text.len() => Problem::End,
            problem => problem,
        };
        ReadError::Text { at: self.at, problem }
    }
}
