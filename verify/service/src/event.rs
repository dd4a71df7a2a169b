//! Replies to `next` that carry an event.

/// An event with its headers and its framing.
#[derive(Clone)]
pub struct Event {
    head: Vec<u8>,
    body: Vec<u8>,
    chunk: Option<usize>,
}

impl Event {
    /// An event with this request id and body.
    pub fn new(id: &str, body: impl Into<Vec<u8>>) -> Self {
        let event = Self { head: b"HTTP/1.1 200 OK\r\n".to_vec(), body: body.into(), chunk: None };
        event.header("Lambda-Runtime-Aws-Request-Id", id)
    }

    /// The same event with another header field.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.head.extend([name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat());
        self
    }

    /// The same event, sent in chunks of this size instead of with a length.
    pub fn chunked(mut self, chunk: usize) -> Self {
        self.chunk = Some(chunk);
        self
    }

    /// The whole reply.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        match self.chunk {
            None => {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).bytes());
                bytes.extend(&self.body);
            }
            Some(size) => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in self.body.chunks(size) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
        }
        bytes
    }
}
