//! What callers send: the kind of invocation, and the event.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};

use super::reply::Exception;
use crate::answer::InvokeError;
use crate::event::{Event, MAX_PAYLOAD};
use crate::http::{Collected, collect};

/// The largest event of an asynchronous invocation: 1 MiB.
///
/// Source: Lambda API Reference, "Invoke", `Payload` (1 MB); Lambda's own message has the number of
/// bytes. Until October 2025 it was 256 KiB.
pub(super) const MAX_ASYNCHRONOUS: usize = 1024 * 1024;

/// How a caller wants the function to be invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvocationType {
    RequestResponse,
    /// The caller does not wait for the answer.
    Event,
    /// The request is checked, and nothing is invoked.
    DryRun,
}

impl InvocationType {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Exception> {
        match headers.get("x-amz-invocation-type").map(HeaderValue::as_bytes) {
            None | Some(b"" | b"RequestResponse") => Ok(Self::RequestResponse),
            Some(b"Event") => Ok(Self::Event),
            Some(b"DryRun") => Ok(Self::DryRun),
            Some(_) => Err(Exception::Parameter(
                "X-Amz-Invocation-Type must be RequestResponse, Event or DryRun".into(),
            )),
        }
    }

    fn max_payload(self) -> usize {
        match self {
            Self::RequestResponse | Self::DryRun => MAX_PAYLOAD,
            Self::Event => MAX_ASYNCHRONOUS,
        }
    }
}

/// Reads the event. No bytes are the empty object, as on Lambda.
pub(super) async fn read(
    headers: &HeaderMap,
    body: &mut Incoming,
    invocation_type: InvocationType,
) -> Result<Event, Exception> {
    let most = invocation_type.max_payload();
    let payload = match collect(body, most).await {
        Collected::Whole { body, .. } => body,
        Collected::TooLong(length) => {
            return Err(Exception::TooLarge(match invocation_type {
                InvocationType::Event => format!(
                    "{length} byte payload is too large for the Event invocation type \
                     (limit {most} bytes)"
                ),
                _ => InvokeError::EventTooLarge(length).to_string(),
            }));
        }
        Collected::CutOff => return Err(Exception::Content("the event was cut off".into())),
    };
    let event = Event::of_payload(payload).map_err(|not_json| {
        Exception::Content(format!("Could not parse request body into json: {not_json}"))
    })?;
    let text = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    let client_context = text("x-amz-client-context").map(|it| {
        let json = STANDARD.decode(it).ok().and_then(|json| String::from_utf8(json).ok());
        json.ok_or_else(|| {
            Exception::Content("X-Amz-Client-Context is not base64-encoded text".into())
        })
    });
    let event = Event {
        trace_id: text("x-amzn-trace-id"),
        client_context: client_context.transpose()?,
        tenant_id: text("x-amz-tenant-id"),
        log_tail: headers.get("x-amz-log-type").is_some_and(|it| it == "Tail"),
        ..event
    };
    event.check()?;
    Ok(event)
}
