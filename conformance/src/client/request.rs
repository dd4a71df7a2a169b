//! A strict parser for the requests that clients send.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::vector::{self, Field};

/// A request whose head has arrived, but perhaps not all of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    method: String,
    path: String,
    /// Names in lower case.
    headers: Vec<(String, Vec<u8>)>,
    trailers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    is_whole: bool,
    /// The request cannot be complete with fewer bytes than this.
    least: usize,
}

/// The most fields that a request's head may have.
const MOST_FIELDS: usize = 64;

/// The separator between the prelude of a streamed HTTP response and its body.
const PRELUDE_END: &[u8] = &[0; 8];

impl Arrived {
    /// Parses the first request, and returns it with its length so far; `None` until its head is
    /// complete.
    ///
    /// # Errors
    ///
    /// Why the bytes are not a valid HTTP/1.1 request.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let head = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("not an HTTP request ({error}): {}", shown(bytes))),
        };
        if request.version != Some(1) {
            return Err(format!("not HTTP/1.1: {}", shown(bytes)));
        }
        let headers: Vec<_> = request.headers.iter().map(owned).collect();
        let mut arrived = Self {
            method: request.method.unwrap_or_default().to_owned(),
            path: request.path.unwrap_or_default().to_owned(),
            headers,
            trailers: Vec::new(),
            body: Vec::new(),
            is_whole: false,
            least: head,
        };
        let length = arrived.read_body(&bytes[head..])?;
        Ok(Some((arrived, head + length)))
    }

    /// Reads as much of the body as has arrived, and returns how many bytes that took.
    fn read_body(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let values = |name: &'static str| self.headers.iter().filter(move |field| field.0 == name);
        if values("host").count() != 1 {
            return Err("not exactly one Host field (RFC 9112, section 3.2)".to_owned());
        }
        let encodings: Vec<_> = values("transfer-encoding").collect();
        let lengths: Vec<_> = values("content-length").collect();
        match (&lengths[..], &encodings[..]) {
            ([], []) => {
                self.is_whole = true;
                Ok(0)
            }
            ([(_, length)], []) => {
                let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
                let length: usize = length.ok_or("Content-Length is not a number")?;
                self.least = self.least.saturating_add(length);
                let body = &bytes[..length.min(bytes.len())];
                self.body = body.to_vec();
                self.is_whole = body.len() == length;
                Ok(body.len())
            }
            ([], [(_, encoding)]) if encoding.eq_ignore_ascii_case(b"chunked") => {
                self.read_chunks(bytes)
            }
            _ => {
                Err("more than one body length, or an unknown coding (RFC 9112, section 6.3)"
                    .into())
            }
        }
    }

    fn read_chunks(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        loop {
            let (line, size) = match httparse::parse_chunk_size(&bytes[at..]) {
                Ok(httparse::Status::Complete(chunk)) => chunk,
                Ok(httparse::Status::Partial) => return Ok(at),
                Err(_) => return Err(format!("not a chunk: {}", shown(&bytes[at..]))),
            };
            let start = at + line;
            if size == 0 {
                return self.read_trailers(bytes, at, start);
            }
            let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
            let end = end.ok_or("a chunk that does not fit in memory")?;
            match bytes.get(end..end + 2) {
                Some(b"\r\n") => self.body.extend_from_slice(&bytes[start..end]),
                Some(other) => {
                    return Err(format!("expected CRLF after a chunk, got {}", shown(other)));
                }
                None => return Ok(at),
            }
            at = end + 2;
        }
    }

    fn read_trailers(&mut self, bytes: &[u8], at: usize, start: usize) -> Result<usize, String> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        match httparse::parse_headers(&bytes[start..], &mut fields) {
            Ok(httparse::Status::Complete((length, fields))) => {
                self.trailers = fields.iter().map(owned).collect();
                self.is_whole = true;
                Ok(start + length)
            }
            Ok(httparse::Status::Partial) => Ok(at),
            Err(error) => Err(format!("invalid trailers ({error}): {}", shown(&bytes[start..]))),
        }
    }

    /// The request cannot be complete with fewer bytes than this.
    pub(super) fn least(&self) -> usize {
        self.least
    }

    /// Whether its body and its trailers have arrived.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The body, if it is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Checks that the request is this call.
    ///
    /// # Errors
    ///
    /// The expected and the actual request line.
    pub(super) fn check_line(&self, wanted: &vector::Request, prefix: &str) -> Result<(), String> {
        let (method, path) = wanted.call.line(wanted.id.as_deref());
        let path = format!("{prefix}{path}");
        if self.method == method && self.path == path {
            return Ok(());
        }
        Err(format!("expected {method} {path}, got {} {}", self.method, self.path))
    }

    /// Checks the headers.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub(super) fn check_head(&self, wanted: &vector::Request, host: &str) -> Result<(), String> {
        for (name, value) in &wanted.headers {
            check_field("header", name, value.as_ref(), host, &self.headers)?;
        }
        Ok(())
    }

    /// Checks the trailers and the body.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub(super) fn check_rest(&self, wanted: &vector::Request, host: &str) -> Result<(), String> {
        for (name, value) in &wanted.trailers {
            check_field("trailer", name, value.as_ref(), host, &self.trailers)?;
        }
        let mut came = &*self.body;
        if let Some(wanted) = &wanted.prelude {
            // JSON contains no NUL, so the first eight NULs are the separator.
            let end = came.windows(PRELUDE_END.len()).position(|window| window == PRELUDE_END);
            let end = end.ok_or_else(|| format!("the body has no prelude: {}", shown(came)))?;
            check_json("prelude", wanted, &came[..end])?;
            came = &came[end + PRELUDE_END.len()..];
        }
        if let Some(body) = &wanted.body
            && body.as_slice() != came
        {
            let (wanted, came) = (shown(body.as_slice()), shown(came));
            return Err(format!("expected the body {wanted}, got {came}"));
        }
        if let Some(wanted) = &wanted.json {
            check_json("body", wanted, came)?;
        }
        Ok(())
    }
}

pub(super) fn owned(field: &httparse::Header<'_>) -> (String, Vec<u8>) {
    (field.name.to_ascii_lowercase(), field.value.to_vec())
}

pub(super) fn check_field(
    kind: &str,
    name: &str,
    wanted: Option<&Field>,
    host: &str,
    fields: &[(String, Vec<u8>)],
) -> Result<(), String> {
    let mut values = fields.iter().filter(|(other, _)| other == name).map(|(_, value)| &**value);
    let Some(wanted) = wanted else {
        return match values.next() {
            None => Ok(()),
            Some(value) => Err(format!("unexpected {kind} {name}: {}", shown(value))),
        };
    };
    if let Field::Members(wanted) = wanted {
        let came: Vec<_> = values.flat_map(|value| value.split(|byte| *byte == b',')).collect();
        let is_there = |member: &str| {
            came.iter().any(|it| it.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
        };
        return match wanted.iter().find(|member| !is_there(member)) {
            None => Ok(()),
            Some(member) => Err(format!("the {kind} {name} does not list {member}")),
        };
    }
    let value = values.next().ok_or_else(|| format!("the {kind} {name} is missing"))?;
    if values.next().is_some() {
        return Err(format!("several {kind}s are named {name}"));
    }
    match wanted {
        Field::Base64 { base64 } => {
            let decoded = BASE64_STANDARD.decode(value);
            let decoded = decoded.map_err(|error| {
                format!("the {kind} {name} is not base64 ({error}): {}", shown(value))
            })?;
            check_json(&format!("{kind} {name}"), base64, &decoded)
        }
        Field::Value(wanted) if wanted != "*" => {
            // As in bodies, each character stands for one byte.
            let wanted = wanted.replace("{address}", host);
            if value.iter().map(|byte| char::from(*byte)).eq(wanted.chars()) {
                return Ok(());
            }
            Err(format!("expected the {kind} {name} {wanted:?}, got {}", shown(value)))
        }
        Field::Value(_) | Field::Members(_) => Ok(()),
    }
}

fn check_json(what: &str, wanted: &Value, came: &[u8]) -> Result<(), String> {
    let json = serde_json::from_slice(came)
        .map_err(|error| format!("the {what} is not JSON ({error}): {}", shown(came)))?;
    if matches(wanted, &json) {
        return Ok(());
    }
    Err(format!("expected the {what} {wanted}, got {}", shown(came)))
}

/// Whether the JSON has all members that are wanted.
pub(super) fn matches(wanted: &Value, came: &Value) -> bool {
    match (wanted, came) {
        (Value::String(any), _) if any == "*" => true,
        (Value::Object(wanted), Value::Object(came)) => wanted.iter().all(|(name, value)| {
            // A member that is null may also be missing.
            came.get(name).map_or(value.is_null(), |came| matches(value, came))
        }),
        (Value::Array(wanted), Value::Array(came)) => {
            wanted.len() == came.len() && wanted.iter().zip(came).all(|(a, b)| matches(a, b))
        }
        _ => wanted == came,
    }
}

/// Bytes as text. Long ones are shortened.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let text = bytes[..bytes.len().min(MOST)].escape_ascii();
    if bytes.len() > MOST {
        format!("\"{text}…\" ({} bytes)", bytes.len())
    } else {
        format!("\"{text}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, wanted: Value) -> Result<(), String> {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n");
        let (came, _) = Arrived::parse(bytes.as_bytes()).unwrap().unwrap();
        let wanted: Option<Field> = serde_json::from_value(wanted).unwrap();
        check_field("header", "x", wanted.as_ref(), "a:1", &came.headers)
    }

    #[test]
    fn a_value_matches_only_a_single_field_of_its_name() {
        check("X: b\r\n", "b".into()).unwrap();
        check("x:\tb \r\n", "b".into()).unwrap();
        check("X: a:1/\r\n", "{address}/".into()).unwrap();
        check("X: anything\r\n", "*".into()).unwrap();
        check("", Value::Null).unwrap();
        assert!(check("X: c\r\n", "b".into()).is_err());
        assert!(check("X: b\r\nX: b\r\n", "b".into()).is_err());
        assert!(check("X: b\r\nX: c\r\n", "*".into()).is_err());
        assert!(check("", "*".into()).is_err());
        assert!(check("X: b\r\n", Value::Null).is_err());
    }

    #[test]
    fn a_list_may_be_spread_over_several_fields() {
        let wanted = || serde_json::json!(["one", "two"]);
        check("X: one, two\r\n", wanted()).unwrap();
        check("X: Two\r\nX: three ,ONE\r\n", wanted()).unwrap();
        assert!(check("X: one\r\n", wanted()).is_err());
        assert!(check("X: one two\r\n", wanted()).is_err());
        assert!(check("", wanted()).is_err());
    }

    #[test]
    fn the_body_follows_the_prelude() {
        let check = |body: &str, wanted: Value| {
            let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ";
            let bytes = format!("{head}{}\r\n\r\n{body}", body.len());
            let (came, _) = Arrived::parse(bytes.as_bytes()).unwrap().unwrap();
            came.check_rest(&serde_json::from_value(wanted).unwrap(), "a:1")
        };
        let wanted = |body: &str| serde_json::json!({"call": "response", "prelude": {"statusCode": 200}, "body": body});
        let end = "\0".repeat(8);
        check(&format!("{{\"statusCode\":200}}{end}x"), wanted("x")).unwrap();
        check(&format!("{{\"statusCode\":200}}{end}\0x"), wanted("\0x")).unwrap();
        assert!(check(&format!("{{\"statusCode\":404}}{end}x"), wanted("x")).is_err());
        assert!(check(&format!("{{\"statusCode\":200}}{end}y"), wanted("x")).is_err());
        assert!(check("{\"statusCode\":200}\0\0x", wanted("x")).is_err());
    }

    #[test]
    fn base64_is_decoded_and_compared() {
        let wanted = || serde_json::json!({"base64": {"a": 1}});
        check("X: eyJhIjoxLCJiIjoyfQ==\r\n", wanted()).unwrap();
        assert!(check("X: eyJhIjoyfQ==\r\n", wanted()).unwrap_err().contains("expected"));
        assert!(check("X: {\"a\":1}\r\n", wanted()).unwrap_err().contains("not base64"));
        assert!(check("X: YQ==\r\n", wanted()).unwrap_err().contains("not JSON"));
    }
}
