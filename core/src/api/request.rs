use super::{ContentType, Endpoint, ErrorReport, InvocationIds, names};
use crate::http::{ALPHANUMERIC, AsciiSet, BufferTooSmall, Counter, Sink, Writer, put_decimal};
use crate::json;
use crate::limits::MAX_XRAY_CAUSE;

/// A request of the Runtime API.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Request<'a> {
    /// Asks for the next invocation. The reply may take forever; never put a timeout on it.
    Next,
    /// Responds to an invocation. Only the head; the body follows.
    Response {
        /// The invocation.
        ids: &'a InvocationIds,
        /// The type of the body; managed instances read a missing one as
        /// `application/octet-stream`.
        content_type: Option<ContentType<'a>>,
        /// The length of the body.
        length: ResponseLength,
    },
    /// Reports that an invocation failed. Head and body.
    Error {
        /// The invocation.
        ids: &'a InvocationIds,
        /// Why.
        report: ErrorReport<'a>,
    },
    /// Reports that init failed. Head and body. The process exits afterwards.
    InitError {
        /// Why.
        report: ErrorReport<'a>,
    },
    /// Says that a SnapStart function is ready for its snapshot; the reply comes after the restore.
    RestoreNext,
    /// Reports that a restored function could not resume. Head and body. The process exits
    /// afterwards.
    RestoreError {
        /// Why.
        report: ErrorReport<'a>,
    },
}

/// The length of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseLength {
    /// This number of bytes, which the service buffers before the caller sees any.
    Buffered(u64),
    /// Unknown: the body is streamed in chunks, and an error may follow in trailers.
    Streamed,
}

impl Request<'_> {
    /// Writes the request into `out` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`] with the exact length.
    pub fn encode(&self, endpoint: &Endpoint, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut writer = Writer::new(out);
        let sink = &mut writer;
        match self {
            Self::Next => put_get(sink, endpoint, names::NEXT),
            Self::RestoreNext => put_get(sink, endpoint, names::RESTORE_NEXT),
            Self::Response { ids, content_type, length } => {
                put_invocation_line(sink, endpoint, ids, names::RESPONSE);
                if let Some(content_type) = content_type {
                    put_field(sink, names::CONTENT_TYPE, content_type.as_bytes());
                }
                match length {
                    ResponseLength::Buffered(length) => put_content_length(sink, *length),
                    ResponseLength::Streamed => {
                        // Chunks instead of a length, which is not known yet. The trailers are
                        // always announced, as the head is sent before it is known whether they are
                        // needed (RFC 9110 section 6.6.2).
                        put_field(sink, names::RESPONSE_MODE, b"streaming");
                        put_field(sink, "Transfer-Encoding", b"chunked");
                        put_field(sink, "Trailer", names::ERROR_TYPE.as_bytes());
                        put_field(sink, "Trailer", names::ERROR_BODY.as_bytes());
                    }
                }
                sink.put(b"\r\n");
            }
            Self::Error { ids, report } => {
                put_invocation_line(sink, endpoint, ids, names::ERROR);
                put_report(sink, report);
            }
            Self::InitError { report } => {
                endpoint.put_request_line(sink, "POST ", names::INIT_ERROR);
                put_report(sink, report);
            }
            Self::RestoreError { report } => {
                endpoint.put_request_line(sink, "POST ", names::RESTORE_ERROR);
                put_report(sink, report);
            }
        }
        writer.finish()
    }
}

fn put_get(sink: &mut Writer<'_>, endpoint: &Endpoint, path: &str) {
    endpoint.put_request_line(sink, "GET ", path);
    sink.put(b"\r\n");
}

/// Writes the request line of an answer, with the ids of its invocation.
fn put_invocation_line(
    sink: &mut Writer<'_>,
    endpoint: &Endpoint,
    ids: &InvocationIds,
    call: &str,
) {
    endpoint.put_request_line_start(sink, "POST ");
    sink.put(names::INVOCATION.as_bytes());
    put_path_segment(sink, ids.request_id());
    sink.put(call.as_bytes());
    endpoint.put_request_line_end(sink);
    // Sent back exactly as received; the service compares it with the current attempt.
    if let Some(attempt_id) = ids.attempt_id() {
        put_field(sink, names::INVOCATION_ID, attempt_id);
    }
}

/// Writes the header fields and the body of an error report.
fn put_report(sink: &mut Writer<'_>, report: &ErrorReport<'_>) {
    put_field(sink, names::CONTENT_TYPE, names::ERROR_CONTENT_TYPE.as_bytes());
    report.put_type_field(sink);
    if let Some(cause) = report.xray_cause_json() {
        // Measured first: half a JSON document is useless, so the cause is sent whole or not at
        // all. It is optional and must never prevent the report itself.
        let mut counter = Counter::default();
        json::put_header_safe(&mut counter, cause);
        if counter.length <= MAX_XRAY_CAUSE {
            sink.put(names::XRAY_ERROR_CAUSE.as_bytes());
            sink.put(b": ");
            json::put_header_safe(sink, cause);
            sink.put(b"\r\n");
        }
    }
    // The same code counts the JSON and writes it, so length and body cannot differ.
    put_content_length(sink, report.json_len() as u64);
    sink.put(b"\r\n");
    report.put_json(sink);
}

pub(super) fn put_content_length(sink: &mut Writer<'_>, length: u64) {
    sink.put(b"Content-Length: ");
    put_decimal(sink, length);
    sink.put(b"\r\n");
}

fn put_field(sink: &mut Writer<'_>, name: &str, value: &[u8]) {
    sink.put(name.as_bytes());
    sink.put(b": ");
    sink.put(value);
    sink.put(b"\r\n");
}

/// Percent-encodes everything that a path segment may not hold, and `!'()*`: Go escapes these too,
/// and its router decodes a path only if they are escaped.
fn put_path_segment(sink: &mut Writer<'_>, segment: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let segment = segment.as_bytes();
    // The usual case: a UUID.
    if PLAIN.has_all(segment) {
        return sink.put(segment);
    }
    // Each part holds at most one byte to escape, its last.
    for part in segment.split_inclusive(|byte| !PLAIN.has(*byte)) {
        match part {
            [plain @ .., byte] if !PLAIN.has(*byte) => {
                sink.put(plain);
                sink.put(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            plain => sink.put(plain),
        }
    }
}

/// `pchar` of RFC 3986 section 3.3 without the percent sign.
pub(super) static PCHAR: AsciiSet = AsciiSet::of(&[ALPHANUMERIC, b"-._~$&+,;=:@", b"!'()*"]);

/// Characters that every server takes unescaped in a path.
static PLAIN: AsciiSet = AsciiSet::of(&[ALPHANUMERIC, b"-._~$&+,;=:@"]);
