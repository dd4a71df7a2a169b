use super::names;
use crate::base64::{self, Base64};
use crate::http::{BufferTooSmall, Counter, Sink, Writer};
use crate::json;
use crate::limits::{MAX_ERROR_BODY, MAX_ERROR_TRAILERS, MAX_ERROR_TYPE};

/// Why an invocation, or init, failed; sent as JSON.
///
/// ```
/// use lambda_proto::api::ErrorReport;
///
/// let report = ErrorReport::new("Function.NoSuchTable", "there is no table \"users\"")
///     .stack_trace("users::load\nmain");
/// let mut json = [0; 128];
/// let length = report.encode_json(&mut json)?;
/// assert_eq!(
///     core::str::from_utf8(&json[..length])?,
///     r#"{"errorType":"Function.NoSuchTable","errorMessage":"there is no table \"users\"","stackTrace":["users::load","main"]}"#,
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A report is never refused for its length. Whatever exceeds the [limit](Self::limit) is cut:
/// whole stack frames first, then the message, always between characters.
#[derive(Clone, Copy, Debug)]
pub struct ErrorReport<'a> {
    error_type: &'a str,
    message: &'a str,
    stack_trace: &'a str,
    xray_cause: Option<&'a str>,
    json: Option<&'a str>,
    limit: usize,
}

/// The length of an empty report.
const SKELETON: usize = br#"{"errorType":"","errorMessage":""}"#.len();
const STACK_TRACE: &[u8] = b",\"stackTrace\":[";

impl<'a> From<&'a ErrorReport<'_>> for ErrorReport<'a> {
    fn from(report: &'a ErrorReport<'_>) -> Self {
        *report
    }
}

impl<'a> ErrorReport<'a> {
    /// A report with a type and a message.
    ///
    /// The type is for programs, in the form `Category.Reason`: the service recognises `Function.`
    /// and `Runtime.` followed by a capitalised word and counts everything else as unknown
    /// (emulator: `fatalerror/fatalerror.go`). It is cut to [`MAX_ERROR_TYPE`] bytes.
    pub const fn new(error_type: &'a str, message: &'a str) -> Self {
        // Without a type, send the one that the service itself uses for unknown errors.
        let error_type = if error_type.is_empty() { "Runtime.Unknown" } else { error_type };
        Self {
            error_type,
            message,
            stack_trace: "",
            xray_cause: None,
            json: None,
            limit: MAX_ERROR_BODY,
        }
    }

    /// Adds a stack trace, one frame per line; empty lines are skipped.
    #[must_use]
    pub const fn stack_trace(mut self, frames: &'a str) -> Self {
        self.stack_trace = frames;
        self
    }

    /// Adds the cause for X-Ray, a JSON document with `working_directory`, `exceptions` and `paths`
    /// (emulator: `rapi/model/error_cause.go`).
    ///
    /// It is sent in a header, with everything beyond ASCII escaped, and left out if it is then
    /// longer than [`MAX_XRAY_CAUSE`](crate::limits::MAX_XRAY_CAUSE).
    #[must_use]
    pub const fn xray_cause(mut self, json: &'a str) -> Self {
        self.xray_cause = Some(json);
        self
    }

    /// Sends this JSON instead of the one made of type, message and stack trace, for programs whose
    /// reports have other members. It is sent unchanged, and not checked. One that is longer than the
    /// [limit](Self::limit) cannot be cut: the other parts are sent then.
    ///
    /// ```
    /// use lambda_proto::api::ErrorReport;
    ///
    /// let report = ErrorReport::new("TypeError", "no such table").json(r#"{"errorType":"TypeError","trace":[]}"#);
    /// let mut json = [0; 64];
    /// let length = report.encode_json(&mut json)?;
    /// assert_eq!(&json[..length], br#"{"errorType":"TypeError","trace":[]}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn json(mut self, json: &'a str) -> Self {
        self.json = Some(json);
        self
    }

    /// Limits the JSON to `bytes`, for small buffers; never above [`MAX_ERROR_BODY`]. An empty
    /// report, 34 bytes, is always written.
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = if bytes < self.limit { bytes } else { self.limit };
        self
    }

    /// Writes the JSON into `out` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`] with the exact length.
    pub fn encode_json(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut writer = Writer::new(out);
        self.put_json(&mut writer);
        writer.finish()
    }

    /// The type, the message and the stack trace as given.
    pub(crate) fn parts(&self) -> (&'a str, &'a str, &'a str) {
        (self.error_type, self.message, self.stack_trace)
    }

    /// Removes the cause for X-Ray, for a buffer too small to hold it.
    #[must_use]
    pub const fn without_xray_cause(mut self) -> Self {
        self.xray_cause = None;
        self
    }

    /// Writes the trailers that end a streamed response with this error, and the empty line after
    /// them, into `out`. Returns their length in bytes, at most
    /// [`MAX_ERROR_TRAILERS`](crate::limits::MAX_ERROR_TRAILERS).
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`] with the exact length.
    pub fn encode_trailers(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut writer = Writer::new(out);
        self.put_trailers(&mut writer);
        writer.finish()
    }

    /// The length of the JSON in bytes.
    pub(crate) fn json_len(&self) -> usize {
        let mut counter = Counter::default();
        self.put_json(&mut counter);
        counter.length
    }

    pub(super) fn put_json(&self, sink: &mut dyn Sink) {
        if let Some(json) = self.json.filter(|json| json.len() <= self.limit) {
            return sink.put(json.as_bytes());
        }
        // `left` is what the texts may use, escapes included. The type has the first claim, then
        // the message, then the frames: whatever comes last is cut first. `put_escaped` returns at
        // most what it was given, so `left` does not underflow.
        let mut left = self.limit.saturating_sub(SKELETON);
        sink.put(b"{\"errorType\":\"");
        left -= json::put_escaped(sink, self.error_type, left.min(MAX_ERROR_TYPE)).0;
        sink.put(b"\",\"errorMessage\":\"");
        left -= json::put_escaped(sink, self.message, left).0;
        sink.put(b"\"");
        self.put_stack_trace(sink, left);
        sink.put(b"}");
    }

    /// Writes the frames that fit, each of them whole.
    fn put_stack_trace(&self, sink: &mut dyn Sink, most: usize) {
        // Reserve room for the key and both brackets. They are written with the first frame, so
        // that there is no empty array if no frame fits.
        let mut left = most.saturating_sub(STACK_TRACE.len() + 1);
        let mut is_first = true;
        for frame in self.stack_trace.lines().filter(|frame| !frame.is_empty()) {
            let mut counter = Counter::default();
            json::put_string(&mut counter, frame);
            let needed = counter.length + usize::from(!is_first);
            // No shorter frame after this one: a trace with gaps would mislead.
            if needed > left {
                break;
            }
            left -= needed;
            sink.put(if is_first { STACK_TRACE } else { b"," });
            json::put_string(sink, frame);
            is_first = false;
        }
        if !is_first {
            sink.put(b"]");
        }
    }

    /// Writes the trailers of a failed streamed response, and the empty line that ends the request.
    pub(crate) fn put_trailers(&self, sink: &mut dyn Sink) {
        let mut counter = Counter::default();
        // Everything but the texts has a fixed length once the type is known. An empty report
        // measures it; what remains of the limit, decoded, is the most that the JSON may use.
        self.limit(0).put_trailers_unlimited(&mut counter);
        let around_the_json = counter.length - base64::encoded_length(SKELETON);
        let most = base64::decoded_length(MAX_ERROR_TRAILERS - around_the_json);
        self.limit(most).put_trailers_unlimited(sink);
    }

    fn put_trailers_unlimited(&self, sink: &mut dyn Sink) {
        self.put_type_field(sink);
        sink.put(names::ERROR_BODY.as_bytes());
        sink.put(b": ");
        let mut encoder = Base64::new(sink);
        self.put_json(&mut encoder);
        encoder.finish();
        sink.put(b"\r\n\r\n");
    }

    /// Writes the type as a header field of the Runtime API.
    pub(super) fn put_type_field(&self, sink: &mut dyn Sink) {
        self.put_type_as(sink, names::ERROR_TYPE);
    }

    /// Writes the type as the field `name`: visible ASCII, with `_` for every other character.
    pub(super) fn put_type_as(&self, sink: &mut dyn Sink, name: &str) {
        // One `_` per character, however many bytes it has. No byte of the value can end the field.
        let mut value = [b'_'; MAX_ERROR_TYPE];
        let mut length = 0;
        for (place, character) in value.iter_mut().zip(self.error_type.chars()) {
            if character.is_ascii_graphic() {
                *place = character as u8;
            }
            length += 1;
        }
        sink.put(name.as_bytes());
        sink.put(b": ");
        sink.put(value.get(..length).unwrap_or(&value));
        sink.put(b"\r\n");
    }

    pub(super) fn xray_cause_json(&self) -> Option<&'a str> {
        self.xray_cause
    }
}
