use core::fmt;

use heapless::String;

use super::request::PCHAR;
use crate::http::{Sink, Writer};
use crate::limits::{MAX_AUTHORITY, MAX_PATH_PREFIX, MAX_USER_AGENT};

/// The address of the Runtime API (`AWS_LAMBDA_RUNTIME_API`) and the `User-Agent` to send.
///
/// ```
/// use lambda_proto::api::Endpoint;
///
/// let aws = Endpoint::parse("169.254.100.1:9001")?;
/// assert_eq!(aws.authority(), "169.254.100.1:9001");
///
/// // Local services give a URL, some with a path of their own.
/// let local = Endpoint::parse("http://[::1]:9000/.rt/hello")?;
/// assert_eq!((local.host(), local.port()), ("::1", 9000));
/// assert_eq!(local.path_prefix(), "/.rt/hello");
///
/// let wrong = Endpoint::parse("https://example.com").unwrap_err();
/// assert!(wrong.to_string().starts_with("\"https://example.com\" is not the address"), "{wrong}");
/// # Ok::<(), lambda_proto::api::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    path_prefix: String<MAX_PATH_PREFIX>,
    /// The end of every request line, and the fields that all requests share: see [`line_end`].
    line_end: String<LINE_END>,
    authority_len: usize,
    port: u16,
}

const BEFORE_AUTHORITY: &str = " HTTP/1.1\r\nHost: ";
const BEFORE_USER_AGENT: &str = "\r\nUser-Agent: ";
const AFTER_USER_AGENT: &str = "\r\n";
const LINE_END: usize = BEFORE_AUTHORITY.len()
    + MAX_AUTHORITY
    + BEFORE_USER_AGENT.len()
    + MAX_USER_AGENT
    + AFTER_USER_AGENT.len();

impl Endpoint {
    /// The `User-Agent` to send unless another is set.
    pub const DEFAULT_USER_AGENT: &'static str =
        concat!("lambda-proto/", env!("CARGO_PKG_VERSION"));

    /// Parses `host`, `host:port` or `[v6]:port`, optionally with `http://` before it and a path
    /// after it.
    ///
    /// The port defaults to 80, as in any URL. A `/` at the end of the path is dropped.
    ///
    /// # Errors
    ///
    /// An [`EndpointError`], which quotes the value and says what is wrong with it.
    pub fn parse(value: &str) -> Result<Self, EndpointError> {
        Self::try_parse(value).map_err(|problem| EndpointError::new(value, problem))
    }

    fn try_parse(value: &str) -> Result<Self, EndpointProblem> {
        // Like `split_once`, whose string searcher is large and has panics that no compiler
        // removes.
        let colon = value.as_bytes().windows(3).position(|bytes| bytes == b"://");
        let split = colon.and_then(|at| Some((value.get(..at)?, value.get(at + 3..)?)));
        let rest = match split {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            // After a slash, `://` is part of the path.
            Some((scheme, _)) if !scheme.contains('/') => {
                return Err(EndpointProblem::NotPlainHttp);
            }
            _ => value,
        };
        let (authority, path) = split_before(rest, '/');
        // Host, then path, then lengths: the error names the first thing to fix. The checks leave
        // no character that could end the request line or the `Host` field.
        let (_, port) = split_authority(authority)?;
        let path = path.trim_end_matches('/');
        if !is_path(path) {
            return Err(EndpointProblem::BadPath);
        }
        // `line_end` has the capacity for parts within their limits.
        if authority.len() > MAX_AUTHORITY {
            return Err(EndpointProblem::TooLong);
        }
        let path_prefix = String::try_from(path).map_err(|_| EndpointProblem::TooLong)?;
        let line_end = line_end(authority, Self::DEFAULT_USER_AGENT);
        Ok(Self { path_prefix, line_end, authority_len: authority.len(), port })
    }

    /// Sets the `User-Agent`. Use a single token of the form `name/version`: the service keeps only
    /// the first token (emulator: `appctx/appctxutil.go`).
    ///
    /// # Errors
    ///
    /// [`InvalidUserAgent`] unless it has 1 to [`MAX_USER_AGENT`] visible ASCII characters and
    /// spaces, with no space at either end.
    pub fn with_user_agent(mut self, user_agent: &str) -> Result<Self, InvalidUserAgent> {
        let is_visible = user_agent.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        let is_of_length = (1..=MAX_USER_AGENT).contains(&user_agent.len());
        if !is_of_length || !is_visible || user_agent.trim() != user_agent {
            return Err(InvalidUserAgent);
        }
        self.line_end = line_end(self.authority(), user_agent);
        Ok(self)
    }

    /// The host and port as given: the value of the `Host` header.
    pub fn authority(&self) -> &str {
        // Stored only as a part of `line_end`; the constants around it give its place.
        let authority = self.line_end.get(BEFORE_AUTHORITY.len()..).unwrap_or_default();
        authority.get(..self.authority_len).unwrap_or_default()
    }

    /// The host to connect to: a name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        // `parse` has split the same text, so this cannot fail.
        split_authority(self.authority()).map_or("", |(host, _)| host)
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The prefix of every path: empty, or starting with `/` and not ending with one.
    pub fn path_prefix(&self) -> &str {
        &self.path_prefix
    }

    /// The value of the `User-Agent` header.
    pub fn user_agent(&self) -> &str {
        let before = BEFORE_AUTHORITY.len() + self.authority_len + BEFORE_USER_AGENT.len();
        let user_agent = self.line_end.get(before..).unwrap_or_default();
        user_agent.strip_suffix(AFTER_USER_AGENT).unwrap_or_default()
    }

    /// Writes the method and the path prefix; the path of the call follows.
    pub(super) fn put_request_line_start(&self, sink: &mut Writer<'_>, method: &str) {
        sink.put(method.as_bytes());
        sink.put(self.path_prefix.as_bytes());
    }

    /// Writes the request line of a call, whose `path` starts with the version of its API, and the
    /// fields that all requests share.
    pub(super) fn put_request_line(&self, sink: &mut Writer<'_>, method: &str, path: &str) {
        self.put_request_line_start(sink, method);
        sink.put(path.as_bytes());
        self.put_request_line_end(sink);
    }

    /// Ends the request line and writes the fields that all requests share.
    pub(super) fn put_request_line_end(&self, sink: &mut Writer<'_>) {
        sink.put(self.line_end.as_bytes());
    }
}

/// Joins an authority and a user agent whose lengths have been checked.
fn line_end(authority: &str, user_agent: &str) -> String<LINE_END> {
    let mut line_end = String::new();
    for part in [BEFORE_AUTHORITY, authority, BEFORE_USER_AGENT, user_agent, AFTER_USER_AGENT] {
        let _fits = line_end.push_str(part);
    }
    line_end
}

/// Splits `text` before the first `character`; without one, the second part is empty.
fn split_before(text: &str, character: char) -> (&str, &str) {
    text.find(character).and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

/// Splits `host[:port]` into the host without brackets and the port.
fn split_authority(authority: &str) -> Result<(&str, u16), EndpointProblem> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            // Without brackets, the colons of an IPv6 address could not be told from the one before
            // the port.
            let (address, port) = rest.split_once(']').ok_or(EndpointProblem::BadHost)?;
            address.parse::<core::net::Ipv6Addr>().map_err(|_| EndpointProblem::BadHost)?;
            (address, port)
        }
        None => {
            let (host, port) = split_before(authority, ':');
            // RFC 1123, and the underscore, which container names have. There is no `@`, so no user
            // name, and no `%`, so nothing to decode.
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(is_name) {
                return Err(EndpointProblem::BadHost);
            }
            (host, port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 80,
        // `parse` alone would accept a leading `+`.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_| EndpointProblem::BadPort)?
        }
        _ => return Err(EndpointProblem::BadPort),
    };
    if port == 0 {
        return Err(EndpointProblem::BadPort);
    }
    Ok((host, port))
}

/// `pchar` and `/`, with whole percent escapes (RFC 3986 sections 2.1 and 3.3).
fn is_path(path: &str) -> bool {
    let mut escapes = path.split('%');
    let is_plain = |part: &str| part.bytes().all(|byte| PCHAR.has(byte) || byte == b'/');
    // The first part has no escape; each other part starts with the two digits of one. Queries and
    // fragments are refused, because no call could follow them.
    escapes.next().is_none_or(is_plain)
        && escapes.all(|part| {
            let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
            part.as_bytes().get(..2).is_some_and(is_hex) && is_plain(part)
        })
}

/// The value is not an address of a Runtime API.
///
/// The message quotes the value, or the start of a long one, and says what to fix:
///
/// ```
/// let error = lambda_proto::api::Endpoint::parse("127.0.0.1:port").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "\"127.0.0.1:port\" is not the address of a Runtime API: \
///      the port is not a number from 1 to 65535",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError {
    problem: EndpointProblem,
    value: String<SHOWN>,
    is_cut: bool,
}

/// Bytes of a rejected value that the message shows.
const SHOWN: usize = 64;

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointProblem {
    /// It has a scheme other than `http`.
    NotPlainHttp,
    /// The host is empty, or neither a host name nor an IPv6 address in brackets.
    BadHost,
    /// The port is not a number from 1 to 65535.
    BadPort,
    /// The path holds a character that paths may not hold, such as `?`, `#` or a space.
    BadPath,
    /// The host is longer than [`MAX_AUTHORITY`], or the path longer than [`MAX_PATH_PREFIX`].
    TooLong,
}

impl EndpointError {
    fn new(value: &str, problem: EndpointProblem) -> Self {
        let shown = (0..=SHOWN).rev().find_map(|end| value.get(..end)).unwrap_or_default();
        let is_cut = shown.len() < value.len();
        Self { problem, value: String::try_from(shown).unwrap_or_default(), is_cut }
    }

    /// What is wrong.
    pub fn problem(&self) -> EndpointProblem {
        self.problem
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.is_cut { "…" } else { "" };
        write!(f, "\"{}{more}\" is not the address of a Runtime API: ", self.value.escape_debug())?;
        match self.problem {
            EndpointProblem::NotPlainHttp => {
                f.write_str("it speaks plain HTTP, so use http:// or no scheme")
            }
            EndpointProblem::BadHost => {
                f.write_str("the host is missing or malformed, use host:port or [v6-address]:port")
            }
            EndpointProblem::BadPort => f.write_str("the port is not a number from 1 to 65535"),
            EndpointProblem::BadPath => {
                f.write_str("the path has a character that a path may not hold")
            }
            EndpointProblem::TooLong => write!(
                f,
                "the host is over {MAX_AUTHORITY} or the path over {MAX_PATH_PREFIX} bytes long"
            ),
        }
    }
}

impl core::error::Error for EndpointError {}

/// The user agent is empty, too long, or not visible ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUserAgent;

impl fmt::Display for InvalidUserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a user agent has 1 to {MAX_USER_AGENT} visible ASCII characters")
    }
}

impl core::error::Error for InvalidUserAgent {}
