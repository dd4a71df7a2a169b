//! A request, as it has arrived.

use std::fmt;

use serde_json::Value;

/// Method, path, header fields and body of a request.
pub struct Request {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The header fields, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// The chunks of the body; empty for a body with a length.
    pub chunks: Vec<Vec<u8>>,
    /// The trailers, in order.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {} bytes", self.method, self.path, self.body.len())?;
        write!(f, ": \"{}\"", self.body[..self.body.len().min(256)].escape_ascii())
    }
}

const PREFIX: &str = "/2018-06-01/runtime";

impl Request {
    /// Reads a head, and returns it with its length; `None` while it is incomplete.
    pub fn parse_head(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(length) = parsed.parse(bytes).expect("a request head")
        else {
            return None;
        };
        assert_eq!(parsed.version, Some(1), "every request is HTTP/1.1");
        let head = &bytes[..length];
        let bare = |pair: &[u8]| (pair[0] == b'\r') != (pair[1] == b'\n');
        assert!(!head.windows(2).any(bare), "a bare CR or LF in {}", head.escape_ascii());
        let request = Self {
            method: parsed.method.expect("complete").to_owned(),
            path: parsed.path.expect("complete").to_owned(),
            headers: owned(parsed.headers),
            body: Vec::new(),
            chunks: Vec::new(),
            trailers: Vec::new(),
        };
        assert!(request.header("Host").is_some(), "HTTP/1.1 wants a Host");
        Some((request, length))
    }

    /// The value of a header field, which must not appear twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        single(&self.headers, name).map(|value| std::str::from_utf8(value).expect("UTF-8"))
    }

    /// The same for any bytes.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        single(&self.headers, name)
    }

    /// All values of a header field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| std::str::from_utf8(value).expect("UTF-8")).collect()
    }

    /// The names of all header fields, in lower case and order.
    pub fn header_names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    }

    /// The value of a trailer, which must not appear twice.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        single(&self.trailers, name).map(|value| std::str::from_utf8(value).expect("UTF-8"))
    }

    /// The error in the trailers of a failed stream.
    #[track_caller]
    pub fn trailer_error(&self) -> Value {
        let body = self.trailer("Lambda-Runtime-Function-Error-Body").expect("an error trailer");
        serde_json::from_slice(&from_base64(body)).expect("JSON in the error trailer")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    /// Whether it asks for the next invocation.
    pub fn is_next(&self) -> bool {
        self.method == "GET" && self.path == format!("{PREFIX}/invocation/next")
    }

    /// Asserts that it is the response of this invocation.
    #[track_caller]
    pub fn assert_response(&self, id: &str) {
        self.assert_post(&format!("/invocation/{id}/response"));
    }

    /// Asserts that it is an error of this invocation, and of this type in header and body.
    #[track_caller]
    pub fn assert_error(&self, id: &str, error_type: &str) {
        self.assert_post(&format!("/invocation/{id}/error"));
        self.assert_error_type(error_type);
    }

    /// Asserts that it is an error of the start, of this type in header and body.
    #[track_caller]
    pub fn assert_init_error(&self, error_type: &str) {
        self.assert_post("/init/error");
        self.assert_error_type(error_type);
    }

    #[track_caller]
    fn assert_post(&self, path: &str) {
        let expected = ("POST", format!("{PREFIX}{path}"));
        assert_eq!((self.method.as_str(), self.path.clone()), expected, "{self:?}");
    }

    #[track_caller]
    fn assert_error_type(&self, error_type: &str) {
        assert_eq!(self.header("Lambda-Runtime-Function-Error-Type"), Some(error_type));
        assert_eq!(self.json()["errorType"], error_type);
    }
}

pub(crate) fn owned(fields: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect()
}

#[track_caller]
fn single<'f>(fields: &'f [(String, Vec<u8>)], name: &str) -> Option<&'f [u8]> {
    let mut named = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let first = named.next();
    assert!(named.next().is_none(), "{name} is there twice");
    first.map(|(_, value)| value.as_slice())
}

/// Standard base64 with padding.
fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert_eq!(text.len() % 4, 0, "base64 is padded");
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let value = |digit: &u8| DIGITS.iter().position(|known| known == digit).expect("a digit");
        let bits =
            four.iter().fold(0, |bits, digit| bits << 6 | value(digit)) << (6 * (4 - four.len()));
        bytes.extend(&(bits as u32).to_be_bytes()[1..four.len()]);
    }
    bytes
}
