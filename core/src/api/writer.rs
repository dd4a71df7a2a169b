use super::request::put_content_length;
use super::{Endpoint, ErrorReport};
use crate::http::{BufferTooSmall, Sink, Writer, is_field_byte, is_field_value};

/// Writes one request of a Lambda API into the caller's memory.
///
/// [`Request`](super::Request) writes those of the Runtime API. `RequestWriter` is for the other
/// APIs at the same address; their crates supply the paths and field names.
///
/// ```
/// use lambda_proto::api::Endpoint;
/// use lambda_proto::api::RequestWriter;
///
/// let endpoint = Endpoint::parse("127.0.0.1:9001")?.with_user_agent("my-runtime/1.0")?;
/// let mut out = [0; 256];
/// let mut writer = RequestWriter::post(&endpoint, "/2020-01-01/extension/register", &mut out);
/// writer.field("Lambda-Extension-Name", &[b"my-runtime"]);
/// let length = writer.finish_with([&b"{\"events\":"[..], b"[]", b"}"])?;
/// assert_eq!(
///     core::str::from_utf8(&out[..length])?,
///     "POST /2020-01-01/extension/register HTTP/1.1\r\n\
///      Host: 127.0.0.1:9001\r\n\
///      User-Agent: my-runtime/1.0\r\n\
///      Lambda-Extension-Name: my-runtime\r\n\
///      Content-Length: 13\r\n\r\n\
///      {\"events\":[]}",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Paths and field names are constants of an API and are not checked. Values may come from
/// anywhere.
pub struct RequestWriter<'o> {
    writer: Writer<'o>,
}

impl<'o> RequestWriter<'o> {
    /// Begins a GET of `path`, which follows the [prefix](Endpoint::path_prefix) of the endpoint.
    /// `Host` and `User-Agent` come from the endpoint.
    pub fn get(endpoint: &Endpoint, path: &'static str, out: &'o mut [u8]) -> Self {
        Self::begin(endpoint, "GET ", path, out)
    }

    /// Begins a POST, like [`get`](Self::get).
    pub fn post(endpoint: &Endpoint, path: &'static str, out: &'o mut [u8]) -> Self {
        Self::begin(endpoint, "POST ", path, out)
    }

    /// Begins a PUT, like [`get`](Self::get).
    pub fn put(endpoint: &Endpoint, path: &'static str, out: &'o mut [u8]) -> Self {
        Self::begin(endpoint, "PUT ", path, out)
    }

    /// Adds a field whose value is the pieces of `value`, joined. A space replaces each byte that a
    /// value may not hold, such as a line break (RFC 9110 section 5.5), so the value cannot end its
    /// field.
    pub fn field(&mut self, name: &'static str, value: &[&[u8]]) {
        self.writer.put(name.as_bytes());
        self.writer.put(b": ");
        for piece in value {
            // True of nearly all pieces; only the others are checked byte by byte.
            if is_field_value(piece) {
                self.writer.put(piece);
                continue;
            }
            for &byte in *piece {
                self.writer.put(&[if is_field_byte(byte) { byte } else { b' ' }]);
            }
        }
        self.writer.put(b"\r\n");
    }

    /// Adds the type of a report as a field: visible ASCII, with `_` for every other character.
    pub fn error_type(&mut self, name: &'static str, report: &ErrorReport<'_>) {
        report.put_type_as(&mut self.writer, name);
    }

    /// Ends a request without a body and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`] with the exact length.
    pub fn finish(mut self) -> Result<usize, BufferTooSmall> {
        self.writer.put(b"\r\n");
        self.writer.finish()
    }

    /// Ends a request whose body is the pieces of `body`, joined, and returns its length in bytes.
    /// Writes the `Content-Length`.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`] with the exact length.
    pub fn finish_with<'b, B>(mut self, body: B) -> Result<usize, BufferTooSmall>
    where
        B: IntoIterator<Item = &'b [u8], IntoIter: Clone>,
    {
        let body = body.into_iter();
        // The pieces are walked twice, so that the length can precede them without a buffer.
        let length =
            body.clone().fold(0, |length: usize, piece| length.saturating_add(piece.len()));
        put_content_length(&mut self.writer, length as u64);
        self.writer.put(b"\r\n");
        body.for_each(|piece| self.writer.put(piece));
        self.writer.finish()
    }

    /// Ends a request whose body is the JSON of a report, like [`finish_with`](Self::finish_with).
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`] with the exact length.
    pub fn finish_with_report(mut self, report: &ErrorReport<'_>) -> Result<usize, BufferTooSmall> {
        put_content_length(&mut self.writer, report.json_len() as u64);
        self.writer.put(b"\r\n");
        report.put_json(&mut self.writer);
        self.writer.finish()
    }

    fn begin(endpoint: &Endpoint, method: &str, path: &str, out: &'o mut [u8]) -> Self {
        let mut writer = Writer::new(out);
        endpoint.put_request_line(&mut writer, method, path);
        Self { writer }
    }
}
