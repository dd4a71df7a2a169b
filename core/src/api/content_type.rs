use core::fmt;

use crate::http::{is_field_byte, is_field_value};
use crate::limits::MAX_CONTENT_TYPE;

/// The content type of a response, checked so that it cannot leave its header.
///
/// The service passes it on to whoever invoked the function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentType<'a>(&'a [u8]);

impl<'a> ContentType<'a> {
    /// `application/json`
    pub const JSON: ContentType<'static> = ContentType(b"application/json");
    /// `application/octet-stream`
    pub const OCTET_STREAM: ContentType<'static> = ContentType(b"application/octet-stream");
    /// `text/html; charset=utf-8`
    pub const HTML: ContentType<'static> = ContentType(b"text/html; charset=utf-8");
    /// `text/plain; charset=utf-8`
    pub const TEXT: ContentType<'static> = ContentType(b"text/plain; charset=utf-8");
    /// `application/vnd.awslambda.http-integration-response`: the body begins with an
    /// [`HttpPrelude`](super::HttpPrelude).
    pub const HTTP_INTEGRATION: ContentType<'static> =
        ContentType(b"application/vnd.awslambda.http-integration-response");

    /// Checks a content type: 1 to [`MAX_CONTENT_TYPE`] bytes without control characters.
    ///
    /// # Errors
    ///
    /// [`InvalidContentType`] if it is empty, too long, or holds CR, LF, NUL or another control.
    pub const fn new(value: &'a str) -> Result<Self, InvalidContentType> {
        Self::from_bytes(value.as_bytes())
    }

    /// Checks a content type that need not be UTF-8: a field value may hold bytes above 127 (RFC
    /// 9110 section 5.5), so the content type of an event can always be sent back.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub const fn from_bytes(value: &'a [u8]) -> Result<Self, InvalidContentType> {
        if value.is_empty() || value.len() > MAX_CONTENT_TYPE {
            return Err(InvalidContentType);
        }
        // A `const fn` cannot use iterators.
        let mut at = 0;
        while at < value.len() {
            if !is_field_byte(value[at]) {
                return Err(InvalidContentType);
            }
            at += 1;
        }
        Ok(Self(value))
    }

    /// Like [`from_bytes`](Self::from_bytes), but faster.
    pub(super) fn of_event(value: &'a [u8]) -> Option<Self> {
        ((1..=MAX_CONTENT_TYPE).contains(&value.len()) && is_field_value(value))
            .then_some(Self(value))
    }

    /// The value as it is sent in the header.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for ContentType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentType(\"{}\")", self.0.escape_ascii())
    }
}

/// A content type is empty, too long, or holds a control character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidContentType;

impl fmt::Display for InvalidContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a content type has 1 to {MAX_CONTENT_TYPE} bytes and no control characters")
    }
}

impl core::error::Error for InvalidContentType {}
