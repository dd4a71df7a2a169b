//! The metadata of the execution environment: its availability zone.
//!
//! The endpoint is at `AWS_LAMBDA_METADATA_API`, a host and a port, and requires the token in
//! `AWS_LAMBDA_METADATA_TOKEN` [Lambda Developer Guide: environment variables]. One request has one
//! reply, read by one [`MetadataReader`]:
//!
//! ```
//! use core::time::Duration;
//! use lambda_proto::api::Endpoint;
//! use lambda_proto_extension::metadata::{self, ExecutionEnvironment, MetadataEvent, MetadataReader, MetadataToken};
//!
//! let endpoint = Endpoint::parse("169.254.100.1:9001")?;
//! let mut out = [0; 512];
//! let length = metadata::encode_request(&endpoint, MetadataToken::new("64875270")?, &mut out)?;
//! assert!(out[..length].ends_with(b"\r\nAuthorization: Bearer 64875270\r\n\r\n"));
//!
//! let mut reader = MetadataReader::default();
//! let mut input: &[u8] = b"HTTP/1.1 200 OK\r\nCache-Control: private, max-age=43200, immutable\r\n\
//!     Content-Length: 33\r\n\r\n{\"AvailabilityZoneID\":\"use1-az1\"}";
//! let Some(MetadataEvent::Document(document)) = reader.receive(&mut input)? else { panic!() };
//! let environment = ExecutionEnvironment::parse(document)?;
//! assert_eq!(environment.availability_zone_id, "use1-az1");
//! let Some(MetadataEvent::Reply(reply)) = reader.receive(&mut input)? else { panic!() };
//! assert_eq!(reply.max_age(), Some(Duration::from_secs(43_200)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "std")]
mod client;

use core::fmt;
use core::time::Duration;

use lambda_proto::api::{Endpoint, RequestWriter};
use lambda_proto::http::{BufferTooSmall, ReplyError, ReplyPart, ReplyReader};
use lambda_proto::json::{self, JsonError, JsonStr};
use serde::Deserialize;

#[cfg(feature = "std")]
pub use client::{API_VARIABLE, Metadata, MetadataError, TOKEN_VARIABLE};

/// The token of the metadata endpoint, checked so that it cannot break out of its header field.
///
/// It is a secret, so `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MetadataToken<'a>(&'a str);

impl<'a> MetadataToken<'a> {
    /// Checks a token from the environment.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`] if it is empty or holds anything but visible ASCII characters.
    pub fn new(token: &'a str) -> Result<Self, InvalidToken> {
        let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.is_empty() || !is_visible {
            return Err(InvalidToken);
        }
        Ok(Self(token))
    }
}

impl fmt::Debug for MetadataToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetadataToken(..)")
    }
}

/// Writes the request into `out` and returns its length in bytes.
///
/// # Errors
///
/// [`BufferTooSmall`] with the exact length.
pub fn encode_request(
    endpoint: &Endpoint,
    token: MetadataToken<'_>,
    out: &mut [u8],
) -> Result<usize, BufferTooSmall> {
    let mut writer = RequestWriter::get(endpoint, PATH, out);
    writer.field("Authorization", &[b"Bearer ", token.0.as_bytes()]);
    writer.finish()
}

const PATH: &str = "/2026-01-15/metadata/execution-environment";

/// Reads one reply, which may arrive in any number of pieces.
#[derive(Clone, Debug, Default)]
pub struct MetadataReader {
    reader: ReplyReader,
    reply: Option<MetadataReply>,
    is_over: bool,
}

/// An event from [`MetadataReader::receive`]. Its slice borrows from the input and
/// ends at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataEvent<'b> {
    /// A piece of the document, never empty; the reply follows.
    Document(&'b [u8]),
    /// The reply is complete.
    Reply(MetadataReply),
}

/// The status of a reply, and how long its document may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataReply {
    status: u16,
    max_age: Option<Duration>,
    is_persistent: bool,
}

/// What a status of the metadata endpoint means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataMeaning {
    /// 200: the document is an [`ExecutionEnvironment`].
    Available,
    /// 401: the token is wrong.
    WrongToken,
    /// 500 or 503: there is no data yet. One of them is documented; AWS's emulator sends the other
    /// before the data is set.
    NotYet,
    /// Any other status: there is no such endpoint here.
    Unavailable,
}

impl MetadataReader {
    /// Takes received bytes, one event at a time. Call it until it returns `None`; after the reply
    /// it returns nothing and consumes nothing.
    ///
    /// The cursor moves over consumed bytes. Bytes that are left are part of a head: present them
    /// again with more after them.
    ///
    /// # Errors
    ///
    /// A [`ReplyError`] if the bytes are not a reply; discard the connection.
    pub fn receive<'b>(
        &mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<MetadataEvent<'b>>, ReplyError> {
        while !self.is_over {
            let mut caching = Caching::default();
            let part = self.reader.read(input, &mut |name, value| caching.note(name, value));
            match part.inspect_err(|_| self.is_over = true)? {
                None => return Ok(None),
                Some(ReplyPart::Interim) => {}
                Some(ReplyPart::Head(head)) => {
                    self.reply = Some(MetadataReply {
                        status: head.status,
                        max_age: caching.max_age(),
                        is_persistent: head.is_persistent,
                    });
                }
                Some(ReplyPart::Body(piece)) => return Ok(Some(MetadataEvent::Document(piece))),
                Some(ReplyPart::End) => {
                    self.is_over = true;
                    return Ok(self.reply.map(MetadataEvent::Reply));
                }
            }
        }
        Ok(None)
    }

    /// Records that the service closed the connection in order, which ends a body without length.
    /// Returns the reply if that completes it.
    pub fn end_of_stream(&mut self) -> Option<MetadataReply> {
        if !self.reader.end_of_stream() {
            return None;
        }
        match self.receive(&mut &[][..]) {
            Ok(Some(MetadataEvent::Reply(reply))) => Some(reply),
            _ => None,
        }
    }
}

impl MetadataReply {
    /// The status code.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// What the status means.
    pub const fn meaning(&self) -> MetadataMeaning {
        match self.status {
            200 => MetadataMeaning::Available,
            401 => MetadataMeaning::WrongToken,
            500 | 503 => MetadataMeaning::NotYet,
            _ => MetadataMeaning::Unavailable,
        }
    }

    /// How long the document may be kept (`Cache-Control: max-age`); `None` if the reply does not
    /// say, or forbids it.
    ///
    /// It is shorter during the init of a SnapStart function, whose snapshot may be restored
    /// elsewhere.
    pub const fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Whether the connection may carry another request.
    pub const fn is_persistent(&self) -> bool {
        self.is_persistent
    }
}

/// What `Cache-Control` says (RFC 9111 section 5.2).
#[derive(Default)]
struct Caching {
    max_age: Option<u64>,
    is_forbidden: bool,
}

impl Caching {
    /// Returns whether it knows the name.
    fn note(&mut self, name: &[u8], value: &[u8]) -> bool {
        if !name.eq_ignore_ascii_case(b"Cache-Control") {
            return false;
        }
        for directive in value.split(|&byte| byte == b',') {
            let mut parts = directive.splitn(2, |&byte| byte == b'=');
            let name = parts.next().unwrap_or_default().trim_ascii();
            self.is_forbidden |= name.eq_ignore_ascii_case(b"no-store");
            self.is_forbidden |= name.eq_ignore_ascii_case(b"no-cache");
            if name.eq_ignore_ascii_case(b"max-age") && self.max_age.is_none() {
                let value = parts.next().unwrap_or_default().trim_ascii();
                // The grammar of this directive has no quotes, but they are accepted.
                let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
                let seconds = decimal(quoted.unwrap_or(value));
                // With an unreadable value, the reply is stale immediately (section 4.2.1).
                self.max_age = Some(seconds.unwrap_or(0));
            }
        }
        true
    }

    fn max_age(&self) -> Option<Duration> {
        let seconds = self.max_age.filter(|_| !self.is_forbidden)?;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }
}

/// Parses decimal digits and nothing else.
fn decimal(digits: &[u8]) -> Option<u64> {
    let is_decimal = digits.iter().all(u8::is_ascii_digit);
    let digits = core::str::from_utf8(digits).ok().filter(|_| is_decimal)?;
    digits.parse().ok()
}

/// The document of the metadata endpoint: where this environment runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutionEnvironment<'a> {
    /// The id of the availability zone, such as `use1-az1`; empty if the document names none.
    pub availability_zone_id: JsonStr<'a>,
}

impl<'a> ExecutionEnvironment<'a> {
    /// Reads the document; unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// A [`JsonError`] if it is anything else.
    pub fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        #[derive(Deserialize)]
        struct Fields<'f> {
            #[serde(rename = "AvailabilityZoneID")]
            availability_zone_id: Option<&'f str>,
        }
        let fields: Fields<'a> = json::parse(document)?;
        Ok(Self { availability_zone_id: JsonStr::from_field(fields.availability_zone_id) })
    }
}

/// The token is empty, or not valid in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidToken;

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the metadata token must be one or more visible ASCII characters")
    }
}

impl core::error::Error for InvalidToken {}
