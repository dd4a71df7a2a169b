//! Whole requests, one after the other, as a server reads them.

use core::fmt;

use super::body::BodyDecoder;
use super::bytes::{TOKEN, is_field_value, is_token};
use super::framing::{Framing, is_name};
use super::head::StartLine;
use super::{BodyError, BodyLength, HeadError, HeadParser};

/// Splits the bytes of a connection into requests and their parts, in whatever pieces they arrive.
///
/// It holds no buffer: the caller presents the bytes received and not yet consumed. Each connection
/// needs a new reader.
///
/// ```
/// use lambda_proto::http::{BodyLength, RequestPart, RequestReader};
///
/// let mut reader = RequestReader::default();
/// let mut no_field = |_: &[u8], _: &[u8]| false;
/// let mut input: &[u8] = b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi";
/// let Some(RequestPart::Head(head)) = reader.read(&mut input, &mut no_field)? else { panic!() };
/// assert_eq!((head.method, head.target), (&b"POST"[..], &b"/a"[..]));
/// assert_eq!((head.body, head.is_persistent), (BodyLength::Fixed(2), true));
/// assert_eq!(reader.read(&mut input, &mut no_field)?, Some(RequestPart::Body(b"hi")));
/// assert_eq!(reader.read(&mut input, &mut no_field)?, Some(RequestPart::End));
/// assert_eq!(reader.read(&mut input, &mut no_field)?, None);
/// # Ok::<(), lambda_proto::http::RequestError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestReader {
    head: HeadParser,
    body: Option<BodyDecoder>,
    /// Whether the blank line that may precede a request has come.
    is_past_blank_line: bool,
}

/// A part of a request: one [`Head`](Self::Head), any number of [`Body`](Self::Body), one
/// [`End`](Self::End).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPart<'b> {
    /// The head.
    Head(RequestHead<'b>),
    /// A piece of the body, never empty.
    Body(&'b [u8]),
    /// The request is complete.
    End,
}

/// What the head of a request says, apart from its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead<'b> {
    /// The method, a token; its letter case matters.
    pub method: &'b [u8],
    /// The target, visible ASCII characters, at least one.
    pub target: &'b [u8],
    /// Whether the version is 1.1; otherwise, it is 1.0.
    pub is_http_1_1: bool,
    /// How the body ends (RFC 9112 section 6.3), never [`BodyLength::ToEnd`].
    pub body: BodyLength,
    /// Whether the client may send another request afterwards (RFC 9112 section 9.3).
    pub is_persistent: bool,
}

impl RequestReader {
    /// Reads the next part of a request and moves the cursor `input` over it; `None` if more bytes
    /// are needed.
    ///
    /// Call it until it returns `None`. What is left of `input` then is the start of a head:
    /// present it again with more bytes after it. Everything else is consumed as it arrives. A head
    /// that arrives byte by byte costs linear time.
    ///
    /// A piece of a body is a slice of `input` that ends at the cursor. Chunk extensions and
    /// trailers are skipped. `note` is that of [`ReplyReader::read`](super::ReplyReader::read).
    ///
    /// # Errors
    ///
    /// Any [`RequestError`]: the client does not speak HTTP/1, or the end of its request is
    /// ambiguous. Answer with 400, or 431 for [`HeadError::TooLarge`] and
    /// [`HeadError::TooManyFields`], and discard the connection and this reader. The error does not
    /// depend on how the bytes were split.
    pub fn read<'b>(
        &mut self,
        input: &mut &'b [u8],
        note: &mut impl FnMut(&'b [u8], &'b [u8]) -> bool,
    ) -> Result<Option<RequestPart<'b>>, RequestError> {
        if let Some(decoder) = &mut self.body {
            if let Some(piece) = decoder.decode(input)? {
                return Ok(Some(RequestPart::Body(piece)));
            }
            if !decoder.is_complete() {
                return Ok(None);
            }
            self.body = None;
            return Ok(Some(RequestPart::End));
        }
        // Some clients send a line end after a body, which a server should ignore (RFC 9112 section
        // 2.2). One is: a client that sends nothing else must not keep a server busy.
        if !self.head.is_inside() && !self.is_past_blank_line {
            match *input {
                [b'\r'] => return Ok(None),
                [b'\r', b'\n', rest @ ..] => {
                    *input = rest;
                    self.is_past_blank_line = true;
                }
                _ => {}
            }
        }
        if input.is_empty() {
            return Ok(None);
        }
        let parsed = self.head.parse_after::<RequestLine<'b>>(input, note)?;
        let Some((end, head)) = parsed else { return Ok(None) };
        *input = input.get(end..).unwrap_or_default();
        self.is_past_blank_line = false;
        self.body = Some(BodyDecoder::new(head.body));
        Ok(Some(RequestPart::Head(head)))
    }

    /// Whether a request has begun and its [end](RequestPart::End) has not been returned.
    pub fn is_inside(&self) -> bool {
        self.head.is_inside() || self.body.is_some()
    }
}

/// The first line of a request (RFC 9112 section 3).
struct RequestLine<'b> {
    method: &'b [u8],
    target: &'b [u8],
    is_http_1_1: bool,
    /// The number of `Host` fields so far.
    hosts: u8,
}

impl<'b> StartLine<'b> for RequestLine<'b> {
    type Head = RequestHead<'b>;

    fn may_begin(input: &[u8]) -> bool {
        input.first().is_none_or(|&byte| TOKEN.has(byte))
    }

    fn parse(line: &'b [u8]) -> Option<Self> {
        // Exactly one space between the parts: readers that split elsewhere would see another
        // target (RFC 9112 section 3, "request smuggling").
        let mut parts = line.split(|&byte| byte == b' ');
        let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
        let is_target = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
        let is_http_1_1 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ => return None,
        };
        (parts.next().is_none() && is_token(method) && is_target).then_some(Self {
            method,
            target,
            is_http_1_1,
            hosts: 0,
        })
    }

    fn takes(&mut self, name: &[u8], value: &[u8]) -> bool {
        if is_name(name, "Host") {
            self.hosts = self.hosts.saturating_add(1);
        }
        is_field_value(value)
    }

    fn conclude(self, framing: &Framing) -> Result<RequestHead<'b>, HeadError> {
        let (body, is_persistent) = framing.conclude_request(self.is_http_1_1)?;
        let Self { method, target, is_http_1_1, hosts } = self;
        if is_http_1_1 && hosts != 1 {
            return Err(HeadError::BadHost);
        }
        Ok(RequestHead { method, target, is_http_1_1, body, is_persistent })
    }
}

/// Why the bytes received are not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The head is not HTTP/1, or over a limit.
    Head(HeadError),
    /// The framing of the body is not HTTP/1.1, or over a limit.
    Body(BodyError),
}

impl From<HeadError> for RequestError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl From<BodyError> for RequestError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => error.fmt(f),
            Self::Body(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RequestError {}
