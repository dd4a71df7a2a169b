//! Whole replies, one after the other: the only reader of received bytes.

use core::fmt;

use super::body::BodyDecoder;
use super::{BodyError, HeadError, HeadParser, ResponseHead};
use crate::limits::MAX_INTERIM_REPLIES;

/// Splits the bytes of a connection into replies and their parts, in whatever pieces they arrive.
///
/// It holds no buffer: the caller presents the bytes received and not yet consumed. Each connection
/// needs a new reader.
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
    /// The number of interim replies before this reply.
    interims: usize,
}

/// A part of a reply: up to [`MAX_INTERIM_REPLIES`] of [`Interim`](Self::Interim), one
/// [`Head`](Self::Head), any number of [`Body`](Self::Body), one [`End`](Self::End).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyPart<'b> {
    /// The head of an interim reply, with a status below 200. Discard its fields.
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
    /// Call it until it returns `None`. What is left of `input` then is the start of a head:
    /// present it again with more bytes after it. Everything else is consumed as it arrives. A head
    /// that arrives byte by byte costs linear time.
    ///
    /// A piece of a body is a slice of `input` that ends at the cursor. Chunk extensions and
    /// trailers are skipped. After [`ReplyPart::End`] comes the head of the next reply. Only the
    /// caller knows whether one is due and may come on this
    /// [connection](ResponseHead::is_persistent).
    ///
    /// # Fields
    ///
    /// `note` sees the fields of a head, in order, as slices of `input`: names as they were sent
    /// (compare them without case), values without surrounding spaces and tabs. A value may hold
    /// control characters, which a caller of the service may have sent, but no line breaks. A head
    /// that arrives in pieces may show its fields several times: discard them unless this call
    /// returns [`ReplyPart::Head`].
    ///
    /// `note` returns whether it knows the name. An unknown name is checked after `note` has seen
    /// it: it must be a token (RFC 9110 section 5.6.2), or else the head is
    /// [malformed](HeadError::Malformed). So `note` must compare the whole name, without case, with
    /// tokens that it knows. Framing fields take effect whether it knows them or not.
    ///
    /// # Errors
    ///
    /// Any [`ReplyError`]; discard the connection and this reader. The error does not depend on how
    /// the bytes were split.
    ///
    /// - [`HeadError::LeadingBlankLine`], [`HeadError::BareLineFeed`], [`HeadError::TooLarge`], and
    ///   [`HeadError::Malformed`] for bytes that do not start like HTTP/1, come as soon as the
    ///   bytes show it; the other errors of a head come when it is complete.
    /// - A [`BodyError`] comes at the byte that is wrong, after the pieces before it.
    /// - [`ReplyError::SwitchedProtocols`] comes when a head with status 101 is complete, and
    ///   [`ReplyError::TooManyInterimReplies`] when the head of one interim reply too many is.
    pub fn read<'b>(
        &mut self,
        input: &mut &'b [u8],
        note: &mut impl FnMut(&'b [u8], &'b [u8]) -> bool,
    ) -> Result<Option<ReplyPart<'b>>, ReplyError> {
        if let Some(decoder) = &mut self.body {
            if let Some(piece) = decoder.decode(input)? {
                return Ok(Some(ReplyPart::Body(piece)));
            }
            // No piece, and not complete: the input is used up.
            if !decoder.is_complete() {
                return Ok(None);
            }
            // The end is a part of its own even after an empty body, so every reply ends the same
            // way. It needs no input, which is how it comes after `end_of_stream`.
            self.body = None;
            return Ok(Some(ReplyPart::End));
        }
        if input.is_empty() {
            return Ok(None);
        }
        let Some((end, head)) = self.head.parse_known(input, note)? else { return Ok(None) };
        *input = input.get(end..).unwrap_or_default();
        match head.status {
            // No request has an `Upgrade` field, and whatever follows this head is not HTTP.
            101 => Err(ReplyError::SwitchedProtocols),
            // The final reply follows in the same exchange (RFC 9110 section 15.2).
            100..=199 if self.interims < MAX_INTERIM_REPLIES => {
                self.interims += 1;
                Ok(Some(ReplyPart::Interim))
            }
            100..=199 => Err(ReplyError::TooManyInterimReplies),
            _ => {
                self.interims = 0;
                self.body = Some(BodyDecoder::new(head.body));
                Ok(Some(ReplyPart::Head(head)))
            }
        }
    }

    /// Records an orderly end of the stream, which ends a body without length. Returns whether that
    /// completes a reply; [`read`](Self::read) then returns its [end](ReplyPart::End) without
    /// input.
    pub fn end_of_stream(&mut self) -> bool {
        self.body.as_mut().is_some_and(BodyDecoder::end_of_stream)
    }

    /// Whether a reply has begun and its [end](ReplyPart::End) has not been returned.
    pub fn is_inside(&self) -> bool {
        self.head.is_inside() || self.body.is_some()
    }

    /// The number of bytes that belong to the body before any framing follows; 0 outside a body.
    ///
    /// The service announces it, so it says how much could be read into place. Do not reserve that
    /// much memory: the service may announce more than it sends.
    pub fn announced(&self) -> u64 {
        self.body.as_ref().map_or(0, BodyDecoder::announced)
    }

    /// Whether the head of a reply has arrived and the end of its body has not.
    pub(crate) fn is_in_body(&self) -> bool {
        self.body.is_some()
    }
}

/// Why the bytes received are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// The head is not HTTP/1.1, or over a limit.
    Head(HeadError),
    /// The framing of the body is not HTTP/1.1, or over a limit.
    Body(BodyError),
    /// The service switched to another protocol without being asked.
    SwitchedProtocols,
    /// More than [`MAX_INTERIM_REPLIES`] interim replies came before a reply.
    TooManyInterimReplies,
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
            Self::SwitchedProtocols => f.write_str("switched protocols without being asked"),
            Self::TooManyInterimReplies => {
                write!(f, "more than {MAX_INTERIM_REPLIES} interim replies before a reply")
            }
        }
    }
}

impl core::error::Error for ReplyError {}
