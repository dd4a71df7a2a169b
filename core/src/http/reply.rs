//! Whole replies, one after the other: the only reader of what a service sends.

use core::fmt;

use super::{BodyDecoder, BodyError, HeadError, HeadParser, ResponseHead};

/// Takes replies apart, one after the other, however they are cut.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplyReader {
    head: HeadParser,
    body: Option<BodyDecoder>,
}

/// What comes next of a reply.
pub(crate) enum ReplyPart<'b> {
    /// The head of an interim reply; what was shown of it does not count.
    Interim,
    /// The head.
    Head(ResponseHead),
    /// A piece of the body, never empty.
    Body(&'b [u8]),
    /// The reply is complete.
    End,
}

impl ReplyReader {
    /// Consumes at most one part; `None` if more bytes are needed. A part of a head stays in `input`,
    /// to be presented again with more behind it.
    ///
    /// The fields of a head are shown to `note`, which says whether it knows them.
    pub(crate) fn read<'b>(
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

    /// Tells that the stream has ended in order, and returns whether that completes a reply, whose
    /// [end](ReplyPart::End) is then read from no bytes.
    pub(crate) fn end_of_stream(&mut self) -> bool {
        self.body.as_mut().is_some_and(BodyDecoder::end_of_stream)
    }

    /// Whether a part of a reply has arrived whose rest is missing.
    pub(crate) fn is_inside(&self) -> bool {
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
