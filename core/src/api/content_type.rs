use core::fmt;

use heapless::Vec;

use crate::http::{is_field_byte, is_field_value};
use crate::limits::MAX_CONTENT_TYPE;

/// The content type of a response, checked so that it cannot leave its header.
///
/// The service passes it on to the caller of the function. [`new`](Self::new) and [`TryFrom`] make
/// one from text, and [`as_str`](Self::as_str) returns the text.
///
/// ```
/// use lambda_proto::api::ContentType;
///
/// let csv = ContentType::new("text/csv")?;
/// assert_eq!(csv, ContentType::try_from("text/csv")?);
/// assert_eq!(csv.as_str(), Some("text/csv"));
/// assert!(ContentType::try_from("text/csv\r\nX-Other: 1").is_err());
/// # Ok::<(), lambda_proto::api::InvalidContentType>(())
/// ```
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

    /// The value as text; `None` if it is not UTF-8. The content type of an event need not be.
    pub const fn as_str(&self) -> Option<&'a str> {
        match core::str::from_utf8(self.0) {
            Ok(text) => Some(text),
            Err(_) => None,
        }
    }
}

impl<'a> TryFrom<&'a str> for ContentType<'a> {
    type Error = InvalidContentType;

    fn try_from(value: &'a str) -> Result<Self, InvalidContentType> {
        Self::new(value)
    }
}

impl<'a> TryFrom<&'a [u8]> for ContentType<'a> {
    type Error = InvalidContentType;

    fn try_from(value: &'a [u8]) -> Result<Self, InvalidContentType> {
        Self::from_bytes(value)
    }
}

/// A copy of a content type, for a request that is encoded later.
#[derive(Clone)]
pub(crate) struct OwnedContentType(Vec<u8, MAX_CONTENT_TYPE>);

impl OwnedContentType {
    pub(crate) fn content_type(&self) -> ContentType<'_> {
        ContentType(&self.0)
    }
}

impl From<ContentType<'_>> for OwnedContentType {
    fn from(content_type: ContentType<'_>) -> Self {
        // A content type is never longer than this.
        Self(Vec::from_slice(content_type.0).unwrap_or_default())
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
