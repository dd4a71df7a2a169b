//! Response heads: where they end and what they say about the body.

use core::fmt;
use core::mem::MaybeUninit;

use super::BodyLength;
use crate::limits::{MAX_FIELDS, MAX_HEAD};

/// Finds the end of a response head, however slowly it arrives.
///
/// It remembers how far it has looked, so a head that is delivered byte by byte costs time linear in
/// its length. The caller presents the same bytes again, with more behind them.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    scanned: usize,
}

impl HeadScanner {
    /// Looks for the end of the head that `input` starts with.
    ///
    /// Returns the length of the head in bytes, its empty line included, or `None` while that line
    /// is missing. After `Some` the scanner is ready for the next head.
    ///
    /// # Errors
    ///
    /// [`HeadError::LeadingBlankLine`], [`HeadError::Malformed`] for something that does not start as
    /// HTTP/1, [`HeadError::BareLineFeed`] and [`HeadError::TooLarge`], each as soon as the bytes show
    /// it.
    pub fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, HeadError> {
        if let Some(b'\r' | b'\n') = input.first() {
            return Err(HeadError::LeadingBlankLine);
        }
        // Something else than HTTP need not be waited for: other protocols greet without a blank line.
        let start = &input[..input.len().min(START.len())];
        if !START.starts_with(start) {
            return Err(HeadError::Malformed);
        }
        let window = input.get(..MAX_HEAD).unwrap_or(input);
        let mut at = self.scanned.min(window.len());
        let (words, tail) = window[at..].as_chunks::<8>();
        for word in words {
            let mut candidates = line_feeds(*word);
            while candidates != 0 {
                let line_feed = at + (candidates.trailing_zeros() / 8) as usize;
                if ends_head(window, line_feed)? {
                    self.scanned = 0;
                    return Ok(Some(line_feed + 1));
                }
                candidates &= candidates - 1;
            }
            at += 8;
        }
        for line_feed in at..at + tail.len() {
            if ends_head(window, line_feed)? {
                self.scanned = 0;
                return Ok(Some(line_feed + 1));
            }
        }
        if window.len() == MAX_HEAD {
            return Err(HeadError::TooLarge);
        }
        self.scanned = window.len();
        Ok(None)
    }

    /// Parses the head that `input` starts with, and shows each of its fields to `field`, in order.
    ///
    /// Returns its length and what it says, or `None` while it is incomplete.
    ///
    /// # Errors
    ///
    /// As [`find_end`](Self::find_end) and [`parse_response_head`].
    pub(crate) fn parse<'b>(
        &mut self,
        input: &'b [u8],
        mut field: impl FnMut(&'b str, &'b [u8]),
    ) -> Result<Option<(usize, ResponseHead)>, HeadError> {
        // A head that arrives whole need not be measured first.
        if self.scanned == 0
            && let Some(parsed) = parse_whole(input, &mut field)
        {
            return parsed.map(Some);
        }
        let Some(end) = self.find_end(input)? else { return Ok(None) };
        Ok(Some((end, parse_measured(&input[..end], field)?)))
    }

    /// Whether a part of a head has been seen whose end is still missing.
    pub fn is_inside(&self) -> bool {
        self.scanned > 0
    }
}

/// What every head starts with.
const START: &[u8] = b"HTTP/1.";

/// Whether the byte at this position ends the head; an error if it is a line feed that ends no line.
fn ends_head(window: &[u8], at: usize) -> Result<bool, HeadError> {
    if window.get(at) != Some(&b'\n') {
        return Ok(false);
    }
    let before = &window[..at];
    if !before.ends_with(b"\r") {
        return Err(HeadError::BareLineFeed);
    }
    Ok(before.ends_with(b"\r\n\r"))
}

/// The high bit of every byte that may be a line feed, and of all that are.
///
/// A byte of `word ^ pattern` is zero where a line feed stands, and subtracting borrows into its high
/// bit; behind such a byte the borrow may mark one that is none.
fn line_feeds(word: [u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let difference = u64::from_le_bytes(word) ^ (ONES * b'\n' as u64);
    difference.wrapping_sub(ONES) & !difference & HIGHS
}

/// What a response head says, apart from its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// How the length of the body is known (RFC 9112 section 6.3).
    pub body: BodyLength,
    /// Whether the connection may carry another request after this response (RFC 9112 section 9.3).
    pub is_persistent: bool,
}

/// Parses one whole response head and shows each of its fields to `field`, in order.
///
/// `head` is exactly what [`HeadScanner::find_end`] measures; anything else is refused. Names come as
/// they were sent (compare them without case), values without surrounding white space; what a caller of
/// the service has sent may hold control characters, but no line breaks.
///
/// # Errors
///
/// Any [`HeadError`]. Fields may have been shown before an error is found; what was made of them is
/// to be thrown away.
pub fn parse_response_head<'b>(
    head: &'b [u8],
    field: impl FnMut(&'b str, &'b [u8]),
) -> Result<ResponseHead, HeadError> {
    match HeadScanner::default().parse(head, field)? {
        Some((end, response)) if end == head.len() => Ok(response),
        _ => Err(HeadError::Malformed),
    }
}

/// Parses the head that `input` starts with, if it is there whole and httparse, which measures it here,
/// has taken no liberties; `None` for everything else.
fn parse_whole<'b>(
    input: &'b [u8],
    field: &mut impl FnMut(&'b str, &'b [u8]),
) -> Option<Result<(usize, ResponseHead), HeadError>> {
    let window = input.get(..MAX_HEAD).unwrap_or(input);
    let mut storage = [const { MaybeUninit::<httparse::Header<'b>>::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        window,
        &mut storage,
    );
    let Ok(httparse::Status::Complete(length)) = parsed else { return None };
    // It would pass over blank lines before the head, and take line feeds alone for line ends.
    let ends_line = |at| window.get(..at).is_some_and(|before| before.ends_with(b"\r\n"));
    let mut starts = response.headers.iter().map(|header| offset(window, header.name.as_bytes()));
    let is_strict = window.starts_with(START)
        && window.get(..length).is_some_and(|head| head.ends_with(b"\r\n\r\n"))
        && starts.all(ends_line);
    is_strict.then(|| Ok((length, show_fields(&response, field)?)))
}

/// Where a part of a slice stands in it.
pub(crate) fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr())
}

/// As [`parse_response_head`], for a head that [`HeadScanner::find_end`] has measured.
fn parse_measured<'b>(
    head: &'b [u8],
    mut field: impl FnMut(&'b str, &'b [u8]),
) -> Result<ResponseHead, HeadError> {
    let mut storage = [const { MaybeUninit::<httparse::Header<'b>>::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut storage,
    );
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(HeadError::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyFields),
        Err(httparse::Error::HeaderValue) => return parse_with_controls(head, field),
        Err(_) => return Err(HeadError::Malformed),
    }
    show_fields(&response, &mut field)
}

fn show_fields<'b>(
    response: &httparse::Response<'_, 'b>,
    field: &mut impl FnMut(&'b str, &'b [u8]),
) -> Result<ResponseHead, HeadError> {
    let mut framing = Framing::default();
    for header in response.headers.iter() {
        framing.read(header.name, header.value)?;
        field(header.name, header.value);
    }
    framing.conclude(response)
}

/// As [`parse_measured`], for a head with control characters in the value of a field.
///
/// The service writes what its callers send it (a client context, for one) as it is, so such a value
/// must not end the conversation. It is shown as it came, which RFC 9110 section 5.5 leaves to the
/// recipient; but none may hold a carriage return, which could end a line for somebody else.
#[cold]
fn parse_with_controls<'b>(
    head: &'b [u8],
    mut field: impl FnMut(&'b str, &'b [u8]),
) -> Result<ResponseHead, HeadError> {
    let mut lines = head.split_inclusive(|&byte| byte == b'\n');
    let mut response = httparse::Response::new(&mut []);
    // Partial, as the fields are missing.
    response.parse(lines.next().unwrap_or_default()).map_err(|_| HeadError::Malformed)?;

    let mut framing = Framing::default();
    let mut count = 0;
    for line in lines {
        let line = line.strip_suffix(b"\r\n").ok_or(HeadError::Malformed)?;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or(HeadError::Malformed)?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if name.is_empty() || !name.iter().all(is_token) || value.contains(&b'\r') {
            return Err(HeadError::Malformed);
        }
        count += 1;
        if count > MAX_FIELDS {
            return Err(HeadError::TooManyFields);
        }
        let name = core::str::from_utf8(name).map_err(|_| HeadError::Malformed)?;
        framing.read(name, value)?;
        field(name, value);
    }
    framing.conclude(&response)
}

/// A value without the white space around it: spaces and tabs (RFC 9110 section 5.6.3).
fn trim(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value.iter().rposition(is_text).map_or(start, |last| last + 1);
    &value[start..end]
}

/// Whether a name may hold this byte: `tchar` of RFC 9110 section 5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// What the fields say about the end of the message and of the connection.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
    is_closed: bool,
    is_kept_alive: bool,
}

impl Framing {
    fn read(&mut self, name: &str, value: &[u8]) -> Result<(), HeadError> {
        // The lengths of the three names differ, so most fields cost one comparison.
        match name.len() {
            10 if is_name(name, "Connection") => {
                for option in value.split(|&byte| byte == b',') {
                    let option = option.trim_ascii();
                    self.is_closed |= option.eq_ignore_ascii_case(b"close");
                    self.is_kept_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is_name(name, "Content-Length") => {
                let length = parse_decimal(value).ok_or(HeadError::BadContentLength)?;
                if self.length.is_some_and(|earlier| earlier != length) {
                    return Err(HeadError::BadContentLength);
                }
                self.length = Some(length);
            }
            17 if is_name(name, "Transfer-Encoding") => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::UnknownTransferEncoding);
                }
                self.is_chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What the fields say together with the status line, which has been parsed.
    fn conclude(&self, response: &httparse::Response<'_, '_>) -> Result<ResponseHead, HeadError> {
        let (Some(status @ 100..), Some(version)) = (response.code, response.version) else {
            return Err(HeadError::Malformed);
        };
        // HTTP/1.0 has no chunks: a message that says so has been tampered with (RFC 9112 section 6.1).
        if version == 0 && self.is_chunked {
            return Err(HeadError::UnknownTransferEncoding);
        }
        let body = self.body_length(status)?;
        let is_kept = !self.is_closed && (version == 1 || self.is_kept_alive);
        let is_persistent = is_kept && body != BodyLength::ToEnd;
        Ok(ResponseHead { status, body, is_persistent })
    }

    fn body_length(&self, status: u16) -> Result<BodyLength, HeadError> {
        if self.is_chunked && self.length.is_some() {
            return Err(HeadError::LengthWithChunked);
        }
        Ok(match (status, self.length) {
            (100..=199 | 204 | 304, _) => BodyLength::Fixed(0),
            _ if self.is_chunked => BodyLength::Chunked,
            (_, Some(length)) => BodyLength::Fixed(length),
            (_, None) => BodyLength::ToEnd,
        })
    }
}

/// Whether a field has this name, in any case, and most likely in the case given, as the service writes it.
#[inline]
pub(crate) fn is_name(name: &str, known: &str) -> bool {
    name == known || name.eq_ignore_ascii_case(known)
}

/// Decimal digits and nothing else, up to `u64::MAX`.
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Why the bytes of the service are not a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// A blank line stands before the status line.
    LeadingBlankLine,
    /// A line ends with a line feed alone.
    BareLineFeed,
    /// The head is longer than [`MAX_HEAD`].
    TooLarge,
    /// There are more than [`MAX_FIELDS`] fields.
    TooManyFields,
    /// The status line or a field is not as RFC 9112 section 2 and 5 want it.
    Malformed,
    /// `Content-Length` is not a decimal number below 2^64, or two of them differ.
    BadContentLength,
    /// `Transfer-Encoding` is something else than `chunked`, once, in HTTP/1.1.
    UnknownTransferEncoding,
    /// Both `Content-Length` and `Transfer-Encoding` are there, so the end is ambiguous.
    LengthWithChunked,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeadingBlankLine => f.write_str("blank line before the status line"),
            Self::BareLineFeed => f.write_str("line feed without carriage return in the head"),
            Self::TooLarge => write!(f, "head longer than {MAX_HEAD} bytes"),
            Self::TooManyFields => write!(f, "more than {MAX_FIELDS} header fields"),
            Self::Malformed => f.write_str("malformed status line or header field"),
            Self::BadContentLength => f.write_str("bad or contradictory Content-Length"),
            Self::UnknownTransferEncoding => f.write_str("Transfer-Encoding is not chunked"),
            Self::LengthWithChunked => f.write_str("both Content-Length and Transfer-Encoding"),
        }
    }
}

impl core::error::Error for HeadError {}
