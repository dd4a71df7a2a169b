//! Reads sent requests with an independent parser.

use httparse::Status;

/// Checks that an error or a warning is one line of limited length.
pub(crate) fn check_line(said: impl std::fmt::Display) {
    let line = said.to_string();
    assert!(!line.is_empty() && line.len() < 16 * 1024);
    assert!(!line.contains(char::is_control), "{line:?}");
}

/// A request, as far as it was sent.
#[derive(Debug)]
pub(crate) struct Request<'w> {
    pub(crate) method: &'w str,
    pub(crate) path: &'w str,
    pub(crate) fields: Vec<(&'w str, &'w [u8])>,
    /// The body, without the framing of chunks.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(&'w str, &'w [u8])>,
    /// Whether nothing of the request is missing.
    pub(crate) is_whole: bool,
}

impl Request<'_> {
    /// The only value of the field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| *value);
        assert!(values.next().is_none(), "{name} occurs twice");
        value
    }
}

/// The requests of one connection; the last may be cut off.
///
/// # Panics
///
/// If the bytes are anything else than well-formed requests.
pub(crate) fn requests(wire: &[u8]) -> Vec<Request<'_>> {
    let mut requests = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let Some((request, length)) = request(rest) else { break };
        rest = &rest[length..];
        let is_whole = request.is_whole;
        requests.push(request);
        if !is_whole {
            break;
        }
    }
    requests
}

/// The request at the start of the bytes, which may be cut off, and its length; `None` if its head
/// is cut off.
fn request(wire: &[u8]) -> Option<(Request<'_>, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut fields);
    let head = match parsed.parse(wire) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) => return None,
        Err(error) => panic!("not a request: {error}: {}", wire.escape_ascii()),
    };
    assert_eq!(parsed.version, Some(1));
    let mut request = Request {
        method: parsed.method.expect("a whole head has one"),
        path: parsed.path.expect("a whole head has one"),
        fields: parsed.headers.iter().map(|field| (field.name, field.value)).collect(),
        body: Vec::new(),
        trailers: Vec::new(),
        is_whole: false,
    };
    let chunked = request.field("Transfer-Encoding").map(|value| value == b"chunked");
    let length = match (chunked, request.field("Content-Length")) {
        (None, None) => {
            request.is_whole = true;
            head
        }
        (None, Some(length)) => {
            let length = str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            let length: usize = length.expect("a number");
            let body = wire[head..].get(..length);
            request.is_whole = body.is_some();
            request.body = body.unwrap_or(&wire[head..]).to_vec();
            head.saturating_add(length).min(wire.len())
        }
        (Some(true), None) => head + read_chunks(&mut request, &wire[head..]),
        (chunked, length) => panic!("ambiguous: {chunked:?}, {length:?}"),
    };
    Some((request, length))
}

/// Reads chunks and trailers, which may be cut off, and returns their length.
fn read_chunks<'w>(request: &mut Request<'w>, wire: &'w [u8]) -> usize {
    let mut at = 0;
    loop {
        let (line, size) = match httparse::parse_chunk_size(&wire[at..]) {
            Ok(Status::Complete(line)) => line,
            Ok(Status::Partial) => return wire.len(),
            Err(error) => panic!("not a chunk: {error}: {}", wire[at..].escape_ascii()),
        };
        at += line;
        if size == 0 {
            break;
        }
        let data = &wire[at..];
        let length = usize::try_from(size).expect("no chunk is larger").min(data.len());
        request.body.extend_from_slice(&data[..length]);
        at += length;
        let end = &wire[at..wire.len().min(at + 2)];
        assert!(b"\r\n".starts_with(end), "no line end: {}", end.escape_ascii());
        at += end.len();
        if at == wire.len() {
            return at;
        }
    }
    let mut trailers = [httparse::EMPTY_HEADER; 8];
    match httparse::parse_headers(&wire[at..], &mut trailers) {
        Ok(Status::Complete((length, trailers))) => {
            request.trailers = trailers.iter().map(|field| (field.name, field.value)).collect();
            request.is_whole = true;
            at + length
        }
        Ok(Status::Partial) => wire.len(),
        Err(error) => panic!("not trailers: {error}: {}", wire[at..].escape_ascii()),
    }
}

/// Decodes the percent escapes of a path segment.
pub(crate) fn decode_segment(segment: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()].map(|digit| digit.expect("two digits"));
                let digits = str::from_utf8(&digits).expect("ASCII");
                u8::from_str_radix(digits, 16).expect("hexadecimal digits")
            }
            byte => byte,
        };
        decoded.push(byte);
    }
    decoded
}
