//! Heads of replies and requests: where they end and which fields they have.

use core::fmt;

use super::bytes::{before, is_token, parse_decimal, skip_to_ascii, skip_to_low};
use super::framing::{Framing, ResponseHead};
use crate::limits::{MAX_FIELDS, MAX_HEAD};

/// Parses the head of a reply or of a request, however slowly it arrives.
///
/// It remembers how far it has scanned, so a head that arrives byte by byte costs linear time. The
/// caller presents the same bytes again, with more after them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadParser {
    scanned: usize,
}

/// The first line of a head, in which replies and requests differ.
pub(super) trait StartLine<'b>: Sized {
    /// What the whole head says.
    type Head;

    /// Whether a head may begin with these bytes, of which only the first few matter.
    fn may_begin(input: &[u8]) -> bool;

    /// Parses the line; `None` if it is malformed.
    fn parse(line: &'b [u8]) -> Option<Self>;

    /// Notes a field, whose value holds no line ends; returns whether such a head may have it.
    fn takes(&mut self, name: &[u8], value: &[u8]) -> bool;

    /// Combines the line with the fields.
    fn conclude(self, framing: &Framing) -> Result<Self::Head, HeadError>;
}

/// The first line of a reply (RFC 9112 section 4).
struct StatusLine {
    is_http_1_1: bool,
    status: u16,
}

impl HeadParser {
    /// Parses the head of a reply that `input` starts with and shows each field to `field`, in
    /// order.
    ///
    /// Returns what the head says and its length in bytes, with the empty line; `None` while its
    /// end is missing. After `Some` the parser is ready for the next head.
    ///
    /// Fields and errors are those of [`ReplyReader::read`](super::ReplyReader::read). Discard the
    /// fields of a call that does not return `Some`.
    pub(crate) fn parse<'b>(
        &mut self,
        input: &'b [u8],
        mut field: impl FnMut(&'b [u8], &'b [u8]),
    ) -> Result<Option<(usize, ResponseHead)>, HeadError> {
        self.parse_known(input, &mut |name, value| {
            if is_token(name) {
                field(name, value);
            }
            false
        })
    }

    /// Like [`parse`](Self::parse), but `field` returns whether it knows the name: known names are
    /// not checked.
    pub(crate) fn parse_known<'b>(
        &mut self,
        input: &'b [u8],
        field: &mut impl FnMut(&'b [u8], &'b [u8]) -> bool,
    ) -> Result<Option<(usize, ResponseHead)>, HeadError> {
        self.parse_after::<StatusLine>(input, field)
    }

    /// Like [`parse_known`](Self::parse_known), for the head with this kind of first line.
    #[inline]
    pub(super) fn parse_after<'b, S: StartLine<'b>>(
        &mut self,
        input: &'b [u8],
        field: &mut impl FnMut(&'b [u8], &'b [u8]) -> bool,
    ) -> Result<Option<(usize, S::Head)>, HeadError> {
        // Parse first, measure later: nearly every head arrives whole, and one pass over it is
        // enough. A head seen before was incomplete, so it is measured first. That keeps slow
        // delivery linear, because a head in pieces is parsed only once its end is there.
        if self.scanned == 0 {
            let window = input.get(..MAX_HEAD).unwrap_or(input);
            if let Ok(Some(parsed)) = parse_lines::<S>(window, field) {
                return Ok(Some(parsed));
            }
        }
        // An error of the attempt above does not count yet. `find_end` comes first, so that errors
        // of line ends and sizes come in the same order however the bytes were split.
        let Some(end) = self.find_end::<S>(input)? else { return Ok(None) };
        // `None` means that the last line has no colon. If a line in the middle has none, the next
        // colon ends a name that holds CR LF.
        let head = input.get(..end).unwrap_or(input);
        parse_lines::<S>(head, field)?.ok_or(HeadError::Malformed).map(Some)
    }

    /// Whether a head has begun whose end is still missing.
    pub(super) fn is_inside(&self) -> bool {
        self.scanned > 0
    }

    /// Searches for the end of the head that `input` starts with, from where the last call stopped.
    fn find_end<'b, S: StartLine<'b>>(&mut self, input: &[u8]) -> Result<Option<usize>, HeadError> {
        if let Some(b'\r' | b'\n') = input.first() {
            return Err(HeadError::LeadingBlankLine);
        }
        // Refuse other protocols early: some greet and then wait, without ever sending a blank
        // line.
        if !S::may_begin(input) {
            return Err(HeadError::Malformed);
        }
        // The window bounds the head itself: bytes of a body may follow it in `input`.
        let window = input.get(..MAX_HEAD).unwrap_or(input);
        let next = |from| window.get(from..).and_then(|rest| skip_to_ascii(rest, b'\n'));
        while let Some(rest) = next(self.scanned) {
            // `line` starts at the head, not at `scanned`: a CR seen in an earlier call still
            // counts.
            let Some(line) = before(window, rest) else { break };
            let line_feed = line.len();
            // `skip_to_ascii` also stops at 0x8a, which is not a line feed; the search continues
            // after it.
            let is_line_feed = rest.starts_with(b"\n");
            if is_line_feed && !line.ends_with(b"\r") {
                return Err(HeadError::BareLineFeed);
            }
            if is_line_feed && line.ends_with(b"\r\n\r") {
                self.scanned = 0;
                return Ok(Some(line_feed + 1));
            }
            self.scanned = line_feed + 1;
        }
        if window.len() == MAX_HEAD {
            return Err(HeadError::TooLarge);
        }
        // Every line feed up to here has been checked.
        self.scanned = window.len();
        Ok(None)
    }
}

/// The start of every reply.
const START: &[u8] = b"HTTP/1.";

/// Parses the lines of a head (RFC 9112 sections 2 to 5); `None` if its end is missing.
///
/// In a reply, a value may hold control characters, which RFC 9110 section 5.5 leaves to the
/// recipient. The service copies values from its callers unchanged (a client context, for one), so
/// such a value must not end the session. A carriage return is refused: another reader could take
/// it for a line end.
fn parse_lines<'b, S: StartLine<'b>>(
    window: &'b [u8],
    field: &mut impl FnMut(&'b [u8], &'b [u8]) -> bool,
) -> Result<Option<(usize, S::Head)>, HeadError> {
    let Some((line, mut rest)) = split_line(window)? else { return Ok(None) };
    let mut start = S::parse(line).ok_or(HeadError::Malformed)?;
    let mut framing = Framing::default();
    let mut count = 0;
    loop {
        // An empty line ends the head. The framing is judged last, so an error in a field comes
        // before a contradiction between fields.
        if let Some(behind) = rest.strip_prefix(b"\r\n") {
            let length = window.len() - behind.len();
            return Ok(Some((length, start.conclude(&framing)?)));
        }
        // The name ends at the first colon, even if a line end comes before it: such a name holds
        // CR LF and is refused below because it is not a token. Folded lines (RFC 9112 section 5.2)
        // and white space before the colon (section 5.1) fail the same way.
        let Some(behind) = skip_to_ascii(rest, b':') else { return Ok(None) };
        let Some(name) = before(rest, behind) else { return Ok(None) };
        let Some((value, behind)) = split_line(behind)? else { return Ok(None) };
        // The search also stops at 0xba, which no name may hold.
        let value = value.strip_prefix(b":").ok_or(HeadError::Malformed)?;
        count += 1;
        if count > MAX_FIELDS {
            return Err(HeadError::TooManyFields);
        }
        let value = trim(value);
        if !start.takes(name, value) {
            return Err(HeadError::Malformed);
        }
        // `field` may know framing fields, such as `Content-Length`, and must not hide them: so
        // reading stops at a known field only if no framing field has a name of that length. A
        // known name equals a constant that is a token, so it need not be checked.
        let is_known = (field(name, value) && !Framing::has_names_of(name.len()))
            || framing.read(name, value)?;
        if !is_known && !is_token(name) {
            return Err(HeadError::Malformed);
        }
        rest = behind;
    }
}

/// A line without its CR LF, and the bytes after it.
type Line<'b> = (&'b [u8], &'b [u8]);

/// Splits off the first line; `None` if its end is missing.
#[inline(always)]
fn split_line(bytes: &[u8]) -> Result<Option<Line<'_>>, HeadError> {
    let mut rest = bytes;
    while let Some(end) = skip_to_low(rest) {
        match end {
            [b'\r', b'\n', behind @ ..] => {
                return Ok(before(bytes, end).map(|line| (line, behind)));
            }
            // Its line feed may be in the next piece.
            [b'\r'] => return Ok(None),
            [b'\r', ..] => return Err(HeadError::Malformed),
            [b'\n', ..] => return Err(HeadError::BareLineFeed),
            // Another control character, or a byte from 128 to 143, is part of the line.
            [_, behind @ ..] => rest = behind,
            [] => break,
        }
    }
    Ok(None)
}

impl StartLine<'_> for StatusLine {
    type Head = ResponseHead;

    #[inline]
    fn may_begin(input: &[u8]) -> bool {
        START.starts_with(input.get(..START.len()).unwrap_or(input))
    }

    #[inline]
    fn parse(line: &[u8]) -> Option<Self> {
        // Exactly one space and three digits; the reason may be empty or missing.
        let (version, rest) = line.strip_prefix(START)?.split_first()?;
        let (code, reason) = rest.strip_prefix(b" ")?.split_first_chunk::<3>()?;
        let status = u16::try_from(parse_decimal(code)?).ok()?;
        // Clients ignore the reason (RFC 9112 section 4).
        let is_status = status >= 100 && matches!(reason, [] | [b' ', ..]);
        (is_status && matches!(version, b'0' | b'1'))
            .then_some(Self { is_http_1_1: *version == b'1', status })
    }

    #[inline(always)]
    fn takes(&mut self, _: &[u8], _: &[u8]) -> bool {
        true
    }

    #[inline]
    fn conclude(self, framing: &Framing) -> Result<ResponseHead, HeadError> {
        framing.conclude(self.is_http_1_1, self.status)
    }
}

/// Trims spaces and tabs from a value (RFC 9110 section 5.6.3).
#[inline]
fn trim(value: &[u8]) -> &[u8] {
    // Nearly always the white space is one leading space.
    let mut value = value.strip_prefix(b" ").unwrap_or(value);
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Why the bytes received are not the head of a reply or request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// A blank line precedes the first line.
    LeadingBlankLine,
    /// A line ends with a line feed only.
    BareLineFeed,
    /// The head is longer than [`MAX_HEAD`].
    TooLarge,
    /// There are more than [`MAX_FIELDS`] fields.
    TooManyFields,
    /// The first line or a field violates RFC 9112 sections 2 to 5.
    Malformed,
    /// `Content-Length` is not a decimal number below 2^64, or two of them differ.
    BadContentLength,
    /// `Transfer-Encoding` is not a single `chunked`, or occurs in HTTP/1.0.
    UnknownTransferEncoding,
    /// Both `Content-Length` and `Transfer-Encoding` are present, so the end is ambiguous.
    LengthWithChunked,
    /// A request of HTTP/1.1 does not have exactly one `Host` field (RFC 9112 section 3.2).
    BadHost,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeadingBlankLine => f.write_str("blank line before the first line of the head"),
            Self::BareLineFeed => f.write_str("line feed without carriage return in the head"),
            Self::TooLarge => write!(f, "head longer than {MAX_HEAD} bytes"),
            Self::TooManyFields => write!(f, "more than {MAX_FIELDS} header fields"),
            Self::Malformed => f.write_str("malformed first line or header field"),
            Self::BadContentLength => f.write_str("bad or contradictory Content-Length"),
            Self::UnknownTransferEncoding => f.write_str("Transfer-Encoding is not chunked"),
            Self::LengthWithChunked => f.write_str("both Content-Length and Transfer-Encoding"),
            Self::BadHost => f.write_str("not exactly one Host field"),
        }
    }
}

impl core::error::Error for HeadError {}
