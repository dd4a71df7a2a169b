//! Message framing and connection persistence, as a head declares them.

use super::bytes::parse_decimal;
use super::{BodyLength, HeadError};

/// What a response head says about itself, apart from its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// How the body ends (RFC 9112 section 6.3).
    pub body: BodyLength,
    /// Whether the connection may carry another request afterwards (RFC 9112 section 9.3).
    pub is_persistent: bool,
}

/// What the fields say about the end of the message and of the connection.
#[derive(Default)]
pub(super) struct Framing {
    length: Option<u64>,
    is_chunked: bool,
    is_closed: bool,
    is_kept_alive: bool,
}

impl Framing {
    /// Whether names of this length are worth [reading](Self::read), which most are not.
    #[inline(always)]
    pub(super) fn has_names_of(length: usize) -> bool {
        matches!(length, 4 | 10 | 14 | 17)
    }

    /// Records a field; returns whether its name is known.
    #[inline(always)]
    pub(super) fn read(&mut self, name: &[u8], value: &[u8]) -> Result<bool, HeadError> {
        // The lengths of the names differ, so most fields cost one comparison.
        match name.len() {
            10 if is_name(name, "Connection") => {
                // A list (RFC 9110 section 7.6.1), possibly spread over several fields: options add
                // up.
                for option in value.split(|&byte| byte == b',') {
                    let option = option.trim_ascii();
                    self.is_closed |= option.eq_ignore_ascii_case(b"close");
                    self.is_kept_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is_name(name, "Content-Length") => {
                let length = parse_decimal(value).ok_or(HeadError::BadContentLength)?;
                // Equal values may repeat (RFC 9110 section 8.6); different ones make the end
                // ambiguous.
                if self.length.is_some_and(|earlier| earlier != length) {
                    return Err(HeadError::BadContentLength);
                }
                self.length = Some(length);
            }
            17 if is_name(name, "Transfer-Encoding") => {
                // Other codings are never requested (no `TE` field), and `chunked` must come once
                // and last (RFC 9112 section 6.1), so it must be the only one.
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::UnknownTransferEncoding);
                }
                self.is_chunked = true;
            }
            // Every service sends `Date`, and known names are not checked for valid characters.
            4 => return Ok(is_name(name, "Date")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Combines the fields with the status line.
    pub(super) fn conclude(
        &self,
        is_http_1_1: bool,
        status: u16,
    ) -> Result<ResponseHead, HeadError> {
        self.check(is_http_1_1)?;
        let body = match (status, self.length) {
            // In the order of RFC 9112 section 6.3: statuses without a body ignore every length,
            // then chunks, then a length, then the end of the stream. No request here is a HEAD or
            // a CONNECT.
            (100..=199 | 204 | 304, _) => BodyLength::Fixed(0),
            _ if self.is_chunked => BodyLength::Chunked,
            (_, Some(length)) => BodyLength::Fixed(length),
            (_, None) => BodyLength::ToEnd,
        };
        // A body to the end of the stream leaves no connection to keep.
        let is_persistent = self.is_persistent(is_http_1_1) && body != BodyLength::ToEnd;
        Ok(ResponseHead { status, body, is_persistent })
    }

    /// Checks the fields of a request; returns how its body ends, and whether the connection
    /// persists.
    pub(super) fn conclude_request(
        &self,
        is_http_1_1: bool,
    ) -> Result<(BodyLength, bool), HeadError> {
        self.check(is_http_1_1)?;
        let body = match self.length {
            _ if self.is_chunked => BodyLength::Chunked,
            // Without framing, a request has no body (RFC 9112 section 6.3, item 7).
            length => BodyLength::Fixed(length.unwrap_or(0)),
        };
        Ok((body, self.is_persistent(is_http_1_1)))
    }

    #[inline]
    fn check(&self, is_http_1_1: bool) -> Result<(), HeadError> {
        // HTTP/1.0 has no chunks; such framing is faulty (RFC 9112 section 6.1).
        if !is_http_1_1 && self.is_chunked {
            return Err(HeadError::UnknownTransferEncoding);
        }
        // Whatever the status: a head with both may be an attempt at request smuggling or response
        // splitting (RFC 9112 section 6.3, item 3).
        if self.is_chunked && self.length.is_some() {
            return Err(HeadError::LengthWithChunked);
        }
        Ok(())
    }

    /// `close` wins over `keep-alive`, and HTTP/1.0 closes unless told otherwise (RFC 9112 section
    /// 9.3).
    #[inline]
    fn is_persistent(&self, is_http_1_1: bool) -> bool {
        !self.is_closed && (is_http_1_1 || self.is_kept_alive)
    }
}

/// Compares a field name in any case; fastest if the case matches, as it does for the service.
#[inline]
pub(crate) fn is_name(name: &[u8], known: &str) -> bool {
    name == known.as_bytes() || name.eq_ignore_ascii_case(known.as_bytes())
}
