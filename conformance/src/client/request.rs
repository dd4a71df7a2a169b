//! Requests as they arrive, read strictly.

use serde_json::Value;

use super::vector;

/// A request that has arrived, perhaps not yet whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    method: String,
    path: String,
    /// Names in lower case.
    headers: Vec<(String, Vec<u8>)>,
    trailers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    is_whole: bool,
}

/// Most fields of a request's head.
const MOST_FIELDS: usize = 64;

impl Arrived {
    /// What the bytes begin with, and how many bytes that is; `None` as long as its head is not whole.
    ///
    /// # Errors
    ///
    /// How it is no request of HTTP/1.1.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let head = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("no HTTP request ({error}): {}", shown(bytes))),
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
        };
        let length = arrived.read_body(&bytes[head..])?;
        Ok(Some((arrived, head + length)))
    }

    /// Reads as much of the body as there is, and says how many bytes that took.
    fn read_body(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let values = |name: &'static str| self.headers.iter().filter(move |field| field.0 == name);
        if values("host").count() != 1 {
            return Err("not one Host field (RFC 9112 section 3.2)".to_owned());
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
                let length: usize = length.ok_or("Content-Length is no number")?;
                let body = &bytes[..length.min(bytes.len())];
                self.body = body.to_vec();
                self.is_whole = body.len() == length;
                Ok(body.len())
            }
            ([], [(_, encoding)]) if encoding.eq_ignore_ascii_case(b"chunked") => {
                self.read_chunks(bytes)
            }
            _ => Err("the length of the body is not said in one way (RFC 9112 section 6.3)".into()),
        }
    }

    fn read_chunks(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        loop {
            let (line, size) = match httparse::parse_chunk_size(&bytes[at..]) {
                Ok(httparse::Status::Complete(chunk)) => chunk,
                Ok(httparse::Status::Partial) => return Ok(at),
                Err(_) => return Err(format!("no chunk: {}", shown(&bytes[at..]))),
            };
            let start = at + line;
            if size == 0 {
                return self.read_trailers(bytes, at, start);
            }
            let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
            let end = end.ok_or("a chunk that no memory holds")?;
            match bytes.get(end..end + 2) {
                Some(b"\r\n") => self.body.extend_from_slice(&bytes[start..end]),
                Some(other) => return Err(format!("behind a chunk stands {}", shown(other))),
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
            Err(error) => Err(format!("no trailers ({error}): {}", shown(&bytes[start..]))),
        }
    }

    /// Whether its body has arrived, and its trailers.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether this call is made.
    ///
    /// # Errors
    ///
    /// What is called instead.
    pub(super) fn check_line(&self, wanted: &vector::Request, prefix: &str) -> Result<(), String> {
        let (method, path) = wanted.call.line(wanted.id.as_deref());
        let path = format!("{prefix}{path}");
        if self.method == method && self.path == path {
            return Ok(());
        }
        Err(format!("{method} {path} was to come, and came {} {}", self.method, self.path))
    }

    /// Whether its head is as it must be.
    ///
    /// # Errors
    ///
    /// What is not.
    pub(super) fn check_head(&self, wanted: &vector::Request, host: &str) -> Result<(), String> {
        for (name, value) in &wanted.headers {
            let value = value.as_deref().map(|value| value.replace("{address}", host));
            check_field("header", name, value.as_deref(), &self.headers)?;
        }
        Ok(())
    }

    /// Whether the rest of it is as it must be.
    ///
    /// # Errors
    ///
    /// What is not.
    pub(super) fn check_rest(&self, wanted: &vector::Request) -> Result<(), String> {
        for (name, value) in &wanted.trailers {
            check_field("trailer", name, value.as_deref(), &self.trailers)?;
        }
        if let Some(body) = &wanted.body
            && *body.as_slice() != self.body
        {
            let (wanted, came) = (shown(body.as_slice()), shown(&self.body));
            return Err(format!("the body was to be {wanted}, and is {came}"));
        }
        if let Some(wanted) = &wanted.json {
            let came = serde_json::from_slice(&self.body)
                .map_err(|error| format!("the body is no JSON ({error}): {}", shown(&self.body)))?;
            if !matches(wanted, &came) {
                return Err(format!("the body was to be {wanted}, and is {came}"));
            }
        }
        Ok(())
    }
}

fn owned(field: &httparse::Header<'_>) -> (String, Vec<u8>) {
    (field.name.to_ascii_lowercase(), field.value.to_vec())
}

fn check_field(
    kind: &str,
    name: &str,
    wanted: Option<&str>,
    fields: &[(String, Vec<u8>)],
) -> Result<(), String> {
    let values: Vec<_> = fields.iter().filter(|(other, _)| other == name).collect();
    match (wanted, &values[..]) {
        (None, []) | (Some("*"), [_]) => Ok(()),
        // As in bodies, each character is a byte.
        (Some(wanted), [(_, value)])
            if value.iter().map(|byte| char::from(*byte)).eq(wanted.chars()) =>
        {
            Ok(())
        }
        (Some(wanted), []) => {
            Err(format!("the {kind} {name} was to be {wanted:?}, and is missing"))
        }
        (None, [(_, value), ..]) => Err(format!("there is a {kind} {name}: {}", shown(value))),
        (Some(wanted), [(_, value)]) => {
            Err(format!("the {kind} {name} was to be {wanted:?}, and is {}", shown(value)))
        }
        (Some(_), [_, _, ..]) => Err(format!("there are several {kind}s {name}")),
    }
}

/// Whether what came has all that is wanted.
fn matches(wanted: &Value, came: &Value) -> bool {
    match (wanted, came) {
        (Value::String(any), _) if any == "*" => true,
        (Value::Object(wanted), Value::Object(came)) => wanted.iter().all(|(name, value)| {
            // A field that is null may as well not be there.
            came.get(name).map_or(value.is_null(), |came| matches(value, came))
        }),
        (Value::Array(wanted), Value::Array(came)) => {
            wanted.len() == came.len() && wanted.iter().zip(came).all(|(a, b)| matches(a, b))
        }
        _ => wanted == came,
    }
}

/// The beginning of it, as text.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let text = bytes[..bytes.len().min(MOST)].escape_ascii();
    if bytes.len() > MOST {
        format!("\"{text}…\" ({} bytes)", bytes.len())
    } else {
        format!("\"{text}\"")
    }
}
