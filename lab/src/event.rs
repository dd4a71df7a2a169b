use std::borrow::Cow;

use bytes::Bytes;

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
    /// An event of at most [`MAX_PAYLOAD`] bytes; usually JSON, which is not checked.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { body: Bytes::from(body.into()), ..Self::default() }
    }

    /// Sets the trace id, for instance `Root=…;Parent=…;Sampled=1`.
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

    /// The part of the event that cannot be a header of the reply to `next`, if there is one.
    pub(crate) fn invalid_part(&self) -> Option<&'static str> {
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
