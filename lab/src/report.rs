//! Errors that runtimes report.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answer::{FailureKind, FunctionFailure, UNKNOWN};
use crate::broker::{Broker, Post, Visit};
use crate::http::{Collected, ERROR_BODY_TRAILER, ERROR_TYPE_TRAILER, collect, header};
use crate::machine::Call;
use crate::refusal::Refusal;

/// The content type of an error body that also contains the X-Ray cause, which is not for the
/// caller.
const ERROR_WITH_CAUSE: &str = "application/vnd.aws.lambda.error.cause+json";

/// `error`: the invocation has failed.
pub(crate) async fn error(
    broker: &Broker,
    id: &str,
    attempt_id: Option<&[u8]>,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    broker.begin(Post::Error, id, attempt_id)?;
    let (failure, result) = report(broker, id, headers, body, visit).await;
    broker.answer(id, Err(failure));
    broker.finish(id);
    result
}

/// `init/error` and `restore/error`: the runtime cannot start.
pub(crate) async fn start_error(
    broker: &Broker,
    call: Call,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    let ids = broker.start_error(call)?;
    let id = ids.first().cloned().unwrap_or_default();
    let (mut failure, result) = report(broker, &id, headers, body, visit).await;
    failure.kind = FailureKind::Init;
    if ids.is_empty() {
        broker.keep_failure(failure);
        return result;
    }
    for request_id in ids {
        broker.end(FunctionFailure { request_id, ..failure.clone() });
    }
    result
}

/// Reads an error that a runtime reports, which goes to the caller as it is.
async fn report(
    broker: &Broker,
    id: &str,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
) -> (FunctionFailure, Result<(), Refusal>) {
    let (body, result) = match collect(body, broker.max_error()).await {
        Collected::Whole { body, .. } => (body, Ok(())),
        Collected::TooLong(_) => (Bytes::new(), Err(Refusal::TooLarge)),
        Collected::CutOff => {
            broker.await_reason(id, visit).await;
            (Bytes::new(), Err(Refusal::Truncated))
        }
    };
    let kind = FailureKind::Reported;
    let error_type = header(headers, "lambda-runtime-function-error-type");
    let failure = if body.is_empty() {
        // According to the documentation, the service then describes the error by its type.
        let error_type = if error_type.is_empty() { UNKNOWN } else { error_type };
        FunctionFailure::of_service(id, kind, error_type, "")
    } else if header(headers, "content-type") == ERROR_WITH_CAUSE {
        FunctionFailure::new(id, kind, without_cause(&body))
    } else {
        FunctionFailure::new(id, kind, body)
    };
    (failure.with_type(error_type), result)
}

/// The report without the X-Ray cause.
///
/// Source: emulator, `rapi/handler/invocationerror.go`.
fn without_cause(body: &[u8]) -> Vec<u8> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Report<'b> {
        error_message: Option<String>,
        error_type: Option<String>,
        #[serde(borrow)]
        stack_trace: Option<&'b RawValue>,
    }
    let Ok(report) = serde_json::from_slice::<Report<'_>>(body) else {
        return b"\"Invalid error body\"".to_vec();
    };
    let text = |text: Option<String>| serde_json::Value::from(text.unwrap_or_default());
    let mut document = format!(
        "{{\"errorMessage\":{},\"errorType\":{}",
        text(report.error_message),
        text(report.error_type)
    );
    if let Some(trace) = report.stack_trace.map(RawValue::get).filter(|trace| *trace != "[]") {
        document.push_str(",\"stackTrace\":");
        document.push_str(trace);
    }
    document.push('}');
    document.into_bytes()
}

/// The error that a runtime reports in the trailers of a response: its type, its document, or both.
pub(crate) fn reported(id: &str, trailers: &HeaderMap) -> Option<FunctionFailure> {
    let error_type = trailers.get(ERROR_TYPE_TRAILER).map(HeaderValue::as_bytes);
    let document = trailers.get(ERROR_BODY_TRAILER);
    if error_type.is_none() && document.is_none() {
        return None;
    }
    let error_type = error_type.map(String::from_utf8_lossy).unwrap_or_default();
    let failure = match document.and_then(|document| STANDARD.decode(document).ok()) {
        Some(document) => FunctionFailure::new(id, FailureKind::Reported, document),
        None => FunctionFailure::of_service(id, FailureKind::Reported, &error_type, ""),
    };
    Some(failure.with_type(error_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_removed_from_a_report() {
        let cases: [(&str, &str); 4] = [
            (
                r#"{"errorMessage":"bad2","errorType":"E2","errorCause":{"x":1},"stackTrace":[]}"#,
                r#"{"errorMessage":"bad2","errorType":"E2"}"#,
            ),
            (
                r#"{"stackTrace":["a", {"path":"b"}],"errorMessage":"\"m\""}"#,
                r#"{"errorMessage":"\"m\"","errorType":"","stackTrace":["a", {"path":"b"}]}"#,
            ),
            ("nonsense", r#""Invalid error body""#),
            ("[1]", r#""Invalid error body""#),
        ];
        for (report, expected) in cases {
            assert_eq!(String::from_utf8(without_cause(report.as_bytes())).unwrap(), expected);
        }
    }
}
