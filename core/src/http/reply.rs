//! Whole replies, one after the other: the only reader of what a service sends.

use core::fmt;

use super::{BodyDecoder, BodyError, HeadError, HeadParser, ResponseHead};

/// Takes the replies of a connection apart, one after the other, however they are cut.
///
/// It holds no buffer: the caller presents what has arrived and has not been consumed.
///
/// ```
/// use lambda_proto::http::{ReplyPart, ReplyReader};
///
/// let mut reader = ReplyReader::default();
/// let mut input: &[u8] = b"HTTP/1.1 200 OK\r\nX-Answer: 42\r\nContent-Length: 2\r\n\r\nhi";
/// let mut answer = None;
/// let part = reader.read(&mut input, &mut |name, value| {
///     let is_known = name.eq_ignore_ascii_case(b"x-answer");
///     answer = answer.or(is_known.then_some(value));
///     is_known
/// })?;
/// let Some(ReplyPart::Head(head)) = part else { panic!() };
/// assert_eq!((head.status, answer), (200, Some(&b"42"[..])));
///
/// let mut no_field = |_: &[u8], _: &[u8]| false;
/// assert_eq!(reader.read(&mut input, &mut no_field)?, Some(ReplyPart::Body(b"hi")));
/// assert_eq!(reader.read(&mut input, &mut no_field)?, Some(ReplyPart::End));
/// assert_eq!(reader.read(&mut input, &mut no_field)?, None);
/// # Ok::<(), lambda_proto::http::ReplyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyReader {
    head: HeadParser,
    body: Option<BodyDecoder>,
}

/// What comes next of a reply: any number of [`Interim`](Self::Interim), one [`Head`](Self::Head), any number
/// of [`Body`](Self::Body), one [`End`](Self::End).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyPart<'b> {
    /// The head of an interim reply, with a status below 200; discard the fields that it has shown.
    Interim,
    /// The head of the reply.
    Head(ResponseHead),
    /// A piece of the body, never empty.
    Body(&'b [u8]),
    /// The reply is complete.
    End,
}

impl ReplyReader {
    /// Consumes at most one part, over which the cursor moves; `None` if more bytes are needed. The beginning
    /// of a head stays in `input`, and must be presented again with more bytes after it.
    ///
    /// The fields of a head are shown to `note`, in order: names as they were sent (compare them without
    /// case), values without surrounding white space. Discard them unless this call returns
    /// [`ReplyPart::Head`]. `note` returns whether it knows the name; the name of any other field is checked,
    /// and must be a token (RFC 9110 section 5.6.2).
    ///
    /// # Errors
    ///
    /// Any [`ReplyError`]; the connection is of no use then, nor is this reader.
    pub fn read<'b>(
        &mut self,
        input: &mut &'b [u8],
        note: &mut impl FnMut(&'b [u8], &'b [u8]) -> bool,
    ) -> Result<Option<ReplyPart<'b>>, ReplyError> {
        if let Some(decoder) = &mut self.body {
            if let Some(piece) = decoder.decode(input)? {
                return Ok(Some(ReplyPart::Body(piece)));
            }
            if !decoder.is_complete() {
                return Ok(None);
            }
            self.body = None;
            return Ok(Some(ReplyPart::End));
        }
        if input.is_empty() {
            return Ok(None);
        }
        let Some((end, head)) = self.head.parse_known(input, note)? else { return Ok(None) };
        *input = input.get(end..).unwrap_or_default();
        match head.status {
            101 => Err(ReplyError::SwitchedProtocols),
            100..=199 => Ok(Some(ReplyPart::Interim)),
            _ => {
                self.body = Some(BodyDecoder::new(head.body));
                Ok(Some(ReplyPart::Head(head)))
            }
        }
    }

    /// Tells that the service has closed the connection in order, which ends a body without length. Returns
    /// whether that completes a reply; its [end](ReplyPart::End) is then read from no bytes.
    pub fn end_of_stream(&mut self) -> bool {
        self.body.as_mut().is_some_and(BodyDecoder::end_of_stream)
    }

    /// Whether a reply has begun and its [end](ReplyPart::End) has not been read.
    pub fn is_inside(&self) -> bool {
        self.head.is_inside() || self.body.is_some()
    }

    /// Whether the head of the reply has arrived and the end of its body has not.
    pub(crate) fn is_in_body(&self) -> bool {
        self.body.is_some()
    }

    /// [`BodyDecoder::announced`] of the body that is arriving.
    pub(crate) fn announced(&self) -> u64 {
        self.body.as_ref().map_or(0, BodyDecoder::announced)
    }
}

/// Why bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// The head is not HTTP/1.1, or over a limit.
    Head(HeadError),
    /// The framing of the body is not HTTP/1.1, or over a limit.
    Body(BodyError),
    /// The service switched to another protocol, which nobody had asked for.
    SwitchedProtocols,
}

impl From<HeadError> for ReplyError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl From<BodyError> for ReplyError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => error.fmt(f),
            Self::Body(error) => error.fmt(f),
            Self::SwitchedProtocols => f.write_str("it switched protocols unasked"),
        }
    }
}

impl core::error::Error for ReplyError {}
