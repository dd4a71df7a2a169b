use core::fmt;

use crate::http::{BufferTooSmall, Sink, Writer, is_field_value, is_token, put_decimal};
use crate::json;

/// The start of a streamed HTTP response: status, headers and cookies as JSON, then 8 NUL bytes.
///
/// It comes first in a body whose content type is
/// [`ContentType::HTTP_INTEGRATION`](super::ContentType::HTTP_INTEGRATION). Function URLs and API
/// Gateway turn it into an HTTP response [Lambda Developer Guide: response streaming].
///
/// ```
/// use lambda_proto::api::HttpPrelude;
///
/// let prelude = HttpPrelude::new(404, &[("content-type", "text/plain")], &["a=1"])?;
/// let mut out = [0; 128];
/// let length = prelude.encode(&mut out)?;
/// assert_eq!(
///     &out[..length],
///     b"{\"statusCode\":404,\"headers\":{\"content-type\":\"text/plain\"},\"cookies\":[\"a=1\"]}\0\0\0\0\0\0\0\0",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HttpPrelude<'a> {
    status: u16,
    headers: &'a [(&'a str, &'a str)],
    cookies: &'a [&'a str],
}

impl<'a> HttpPrelude<'a> {
    /// The number of NUL bytes after the JSON.
    pub const END_LEN: usize = END.len();

    /// A prelude with a status, headers by name and value, and cookies in the form of `Set-Cookie`.
    ///
    /// The headers become a JSON object, so each name may occur once; cookies have their own list.
    ///
    /// # Errors
    ///
    /// A [`PreludeError`] if the status is not 100 to 999, a name is not a token (RFC 9110 section
    /// 5.6.2) or occurs twice in any case, or a value or cookie holds a control character.
    pub fn new(
        status: u16,
        headers: &'a [(&'a str, &'a str)],
        cookies: &'a [&'a str],
    ) -> Result<Self, PreludeError> {
        if !(100..=999).contains(&status) {
            return Err(PreludeError::Status);
        }
        // Quadratic, because a set would need memory; a response has few headers.
        for (index, (name, value)) in headers.iter().enumerate() {
            let is_double = |(earlier, _): &(&str, &str)| earlier.eq_ignore_ascii_case(name);
            if !is_token(name.as_bytes())
                || !is_field_value(value.as_bytes())
                || headers.iter().take(index).any(is_double)
            {
                return Err(PreludeError::Header { index });
            }
        }
        if let Some(index) = cookies.iter().position(|cookie| !is_field_value(cookie.as_bytes())) {
            return Err(PreludeError::Cookie { index });
        }
        Ok(Self { status, headers, cookies })
    }

    /// Writes the prelude with its NUL bytes into `out` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`] with the exact length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut writer = Writer::new(out);
        let sink = &mut writer;
        sink.put(b"{\"statusCode\":");
        put_decimal(sink, self.status.into());
        sink.put(b",\"headers\":{");
        for (index, (name, value)) in self.headers.iter().enumerate() {
            sink.put(if index == 0 { b"" } else { b"," });
            json::put_string(sink, name);
            sink.put(b":");
            json::put_string(sink, value);
        }
        sink.put(b"},\"cookies\":[");
        for (index, cookie) in self.cookies.iter().enumerate() {
            sink.put(if index == 0 { b"" } else { b"," });
            json::put_string(sink, cookie);
        }
        sink.put(b"]}");
        // JSON escapes NUL, so the first NUL byte ends the document.
        sink.put(END);
        writer.finish()
    }
}

const END: &[u8] = &[0; 8];

/// What is wrong with the parts of an [`HttpPrelude`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreludeError {
    /// The status is not 100 to 999.
    Status,
    /// A header name is not a token or occurs twice, or a header value holds a control character.
    Header {
        /// Its index, from 0.
        index: usize,
    },
    /// A cookie holds a control character.
    Cookie {
        /// Its index, from 0.
        index: usize,
    },
}

impl fmt::Display for PreludeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("an HTTP status is 100 to 999"),
            Self::Header { index } => {
                write!(
                    f,
                    "header {index}: the name is not a token or occurs twice, or the value has a control character"
                )
            }
            Self::Cookie { index } => write!(f, "cookie {index} has a control character"),
        }
    }
}

impl core::error::Error for PreludeError {}
