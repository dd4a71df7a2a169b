//! Whole replies, one after the other: the only reader of what a service sends.

use core::fmt;

use super::body::BodyDecoder;
use super::{BodyError, HeadError, HeadParser, ResponseHead};

/// Takes the replies of a connection apart, one after the other, however they are cut.
///
/// It holds no buffer: the caller presents what has arrived and has not been consumed. A new
/// connection needs a new reader.
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
    /// Reads the next part of a reply and moves the cursor `input` over it; `None` if more bytes
    /// are needed.
    ///
    /// Call it until it returns `None`. What is left of `input` then is the beginning of a head,
    /// and must be presented again with more bytes after it; everything else is consumed as it
    /// arrives. A head that arrives byte by byte costs time linear in its length.
    ///
    /// A piece of a body is a slice of `input` and ends where the cursor stands afterwards. Chunk
    /// extensions and trailers are passed over. After [`ReplyPart::End`] comes the head of the next
    /// reply: whether one is due, and may come on this [connection](ResponseHead::is_persistent),
    /// the caller knows.
    ///
    /// # Fields
    ///
    /// The fields of a head are shown to `note`, in order, as slices of `input`: names as they were
    /// sent (compare them without case), values without surrounding spaces and tabs. A value may
    /// hold control characters, which a caller of the service may have sent, but no line breaks. A
    /// head that arrives in pieces may show its fields several times: discard them unless this call
    /// returns [`ReplyPart::Head`].
    ///
    /// `note` returns whether it knows the name. The name of any other field is checked after it
    /// was shown: it must be a token (RFC 9110 section 5.6.2), or else the head is
    /// [malformed](HeadError::Malformed). The framing does not depend on what `note` returns.
    ///
    /// # Errors
    ///
    /// Any [`ReplyError`]; the connection is of no use then, nor is this reader. How the bytes were
    /// cut makes no difference to the error.
    ///
    /// - Of a head, [`HeadError::LeadingBlankLine`], [`HeadError::BareLineFeed`],
    ///   [`HeadError::TooLarge`], and [`HeadError::Malformed`] for something that does not start as
    ///   HTTP/1, come as soon as the bytes show it, the others when the head is complete.
    /// - A [`BodyError`] comes at the byte that is wrong, after the pieces before it.
    /// - [`ReplyError::SwitchedProtocols`] comes when a head with status 101 is complete.
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

    /// Bytes that certainly belong to the body before any framing follows; 0 outside of a body.
    ///
    /// It is what the service announced, so it says how much could be read into place, and is no
    /// reason to reserve so much memory.
    pub fn announced(&self) -> u64 {
        self.body.as_ref().map_or(0, BodyDecoder::announced)
    }

    /// Whether the head of the reply has arrived and the end of its body has not.
    pub(crate) fn is_in_body(&self) -> bool {
        self.body.is_some()
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
