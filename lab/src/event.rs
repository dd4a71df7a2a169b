use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::answer::InvokeError;

/// The largest event, and the largest answer that is not streamed: 6 MiB and 100 bytes.
///
/// Source: emulator, `interop`, `MaxPayloadSize`.
pub const MAX_PAYLOAD: usize = 6 * 1024 * 1024 + 100;

/// An event to invoke a function with.
///
/// Bytes and text convert into events: `lab.invoke("{}")`.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub(crate) body: Bytes,
    pub(crate) trace_id: Option<String>,
    pub(crate) client_context: Option<String>,
    pub(crate) cognito_identity: Option<String>,
    pub(crate) tenant_id: Option<String>,
    /// Whether the caller has asked for the tail of the log.
    pub(crate) log_tail: bool,
}

impl Event {
    /// An event of at most [`MAX_PAYLOAD`] bytes, which are not checked to be JSON: a test may want
    /// to see what its function makes of other bytes.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { body: Bytes::from(body.into()), ..Self::default() }
    }

    /// An event of at most [`MAX_PAYLOAD`] bytes of JSON, or `{}` for no bytes.
    ///
    /// This is what the lab does with events that arrive over HTTP, and what Lambda's Invoke API
    /// does with payloads. Numbers of any size, repeated keys and any depth are allowed, as they
    /// are JSON, but a byte order mark is not.
    ///
    /// # Errors
    ///
    /// [`NotJson`], which says where it is not.
    pub fn json(body: impl Into<Vec<u8>>) -> Result<Self, NotJson> {
        Self::of_payload(Bytes::from(body.into()))
    }

    pub(crate) fn of_payload(body: Bytes) -> Result<Self, NotJson> {
        if body.is_empty() {
            return Ok(Self::new("{}"));
        }
        check_json(&body)?;
        Ok(Self { body, ..Self::default() })
    }

    /// Sets the trace id, for instance `Root=…;Parent=…;Sampled=1`.
    ///
    /// Without it, each invocation gets a new one, which is not sampled. With an empty one it gets
    /// none.
    #[must_use]
    pub fn trace_id(mut self, trace_id: impl Into<String>) -> Self {
        self.trace_id = Some(trace_id.into());
        self
    }

    /// Sets the client context, the JSON text that mobile SDKs send.
    #[must_use]
    pub fn client_context(mut self, json: impl Into<String>) -> Self {
        self.client_context = Some(json.into());
        self
    }

    /// Sets the Cognito identity: JSON with `cognitoIdentityId` and `cognitoIdentityPoolId`.
    #[must_use]
    pub fn cognito_identity(mut self, json: impl Into<String>) -> Self {
        self.cognito_identity = Some(json.into());
        self
    }

    /// Sets the tenant id.
    #[must_use]
    pub fn tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
        self.tenant_id = Some(tenant_id.into());
        self
    }

    /// Whether the event can be sent to a function.
    pub(crate) fn check(&self) -> Result<(), InvokeError> {
        if self.body.len() > MAX_PAYLOAD {
            return Err(InvokeError::EventTooLarge(self.body.len()));
        }
        self.invalid_part().map_or(Ok(()), |part| Err(InvokeError::InvalidEvent(part)))
    }

    /// The part of the event that cannot be a header of the reply to `next`, if there is one.
    fn invalid_part(&self) -> Option<&'static str> {
        let parts = [
            ("trace id", &self.trace_id),
            ("client context", &self.client_context),
            ("Cognito identity", &self.cognito_identity),
            ("tenant id", &self.tenant_id),
        ];
        parts.iter().find_map(|(name, value)| {
            let is_valid = value.as_ref().is_none_or(|value| header_text(value).is_some());
            (!is_valid).then_some(*name)
        })
    }
}

/// Why bytes are not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotJson(String);

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotJson {}

/// Values are skipped without recursion, so that no depth is too deep.
fn check_json(body: &[u8]) -> Result<(), NotJson> {
    let text = std::str::from_utf8(body)
        .map_err(|error| NotJson(format!("invalid UTF-8 at byte {}", error.valid_up_to())))?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(_) if text.starts_with('\u{feff}') => {
            Err(NotJson("it begins with a byte order mark".into()))
        }
        Err(error) => Err(NotJson(error.to_string())),
    }
}

impl From<&str> for Event {
    fn from(body: &str) -> Self {
        Self::new(body)
    }
}

impl From<String> for Event {
    fn from(body: String) -> Self {
        Self::new(body)
    }
}

impl From<&[u8]> for Event {
    fn from(body: &[u8]) -> Self {
        Self::new(body)
    }
}

impl<const N: usize> From<&[u8; N]> for Event {
    fn from(body: &[u8; N]) -> Self {
        Self::new(body)
    }
}

impl From<Vec<u8>> for Event {
    fn from(body: Vec<u8>) -> Self {
        Self::new(body)
    }
}

/// Text as a header value: line breaks become spaces, as in Go; `None` if the text contains another
/// control character.
pub(crate) fn header_text(text: &str) -> Option<hyper::header::HeaderValue> {
    let text: Cow<'_, str> = if text.contains(['\r', '\n']) {
        Cow::Owned(text.replace(['\r', '\n'], " "))
    } else {
        Cow::Borrowed(text)
    };
    hyper::header::HeaderValue::from_bytes(text.as_bytes()).ok()
}
