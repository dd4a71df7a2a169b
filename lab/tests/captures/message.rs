//! HTTP messages, parsed as far as the replays compare them.

/// A request or a reply.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The request line, or the status line.
    pub(crate) line: String,
    /// In the order of the wire, with names as they were spelled.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The sizes of the chunks; `None` if the body is not chunked.
    pub(crate) chunks: Option<Vec<usize>>,
}

impl Message {
    /// The first message, and its length on the wire; `None` if it is incomplete.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut at = 0;
        let line = take_line(bytes, &mut at)?;
        let fields = take_fields(bytes, &mut at)?;
        let mut message = Self { line, fields, body: Vec::new(), chunks: None };
        if message.field("Transfer-Encoding").is_none() {
            let length =
                message.field("Content-Length").map_or(0, |it| it.parse().expect("a length"));
            message.body = bytes.get(at..at + length)?.to_vec();
            return Some((message, at + length));
        }
        let mut chunks = Vec::new();
        loop {
            let size = usize::from_str_radix(&take_line(bytes, &mut at)?, 16).expect("a size");
            if size == 0 {
                break;
            }
            chunks.push(at..at + size);
            bytes.get(at..at + size)?;
            at += size;
            assert_eq!(take_line(bytes, &mut at)?, "", "a chunk ends with its line");
        }
        take_fields(bytes, &mut at)?;
        message.body = chunks.iter().flat_map(|it| &bytes[it.clone()]).copied().collect();
        message.chunks = Some(chunks.iter().map(ExactSizeIterator::len).collect());
        Some((message, at))
    }

    /// All messages in order, each with its length on the wire.
    pub(crate) fn parse_all(bytes: &[u8]) -> Vec<(Self, usize)> {
        let mut messages = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (message, length) = Self::parse(&bytes[at..]).expect("whole messages");
            messages.push((message, length));
            at += length;
        }
        messages
    }

    /// The value of a field, whose name is matched without case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        self.field(REQUEST_ID)
    }

    /// The status of a reply.
    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status")
    }

    /// Method and path of a request.
    pub(crate) fn target(&self) -> (&str, &str) {
        let (method, rest) = self.line.split_once(' ').expect("a method");
        (method, rest.strip_suffix(" HTTP/1.1").expect("HTTP/1.1"))
    }
}

pub(crate) const REQUEST_ID: &str = "Lambda-Runtime-Aws-Request-Id";

fn take_line(bytes: &[u8], at: &mut usize) -> Option<String> {
    let rest = bytes.get(*at..)?;
    let length = rest.windows(2).position(|end| end == b"\r\n")?;
    *at += length + 2;
    Some(String::from_utf8(rest[..length].to_vec()).expect("text"))
}

fn take_fields(bytes: &[u8], at: &mut usize) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = take_line(bytes, at)?;
        if line.is_empty() {
            return Some(fields);
        }
        let (name, value) = line.split_once(':').expect("a field");
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}
