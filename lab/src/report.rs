//! Errors that runtimes report.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};

use crate::answer::{FailureKind, FunctionFailure, UNKNOWN};
use crate::broker::{Broker, Post, Visit};
use crate::go_json::{self, Field, Texts, quoted};
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
    let has_cause = header(headers, "content-type") == ERROR_WITH_CAUSE;
    let document = |body: Bytes| if has_cause { without_cause(&body) } else { body.into() };
    let (failure, result) = report(broker, id, headers, body, visit, document).await;
    broker.answer(id, Err(failure));
    broker.finish(id);
    result
}

/// `init/error` and `restore/error`: the runtime cannot start. The report is passed on as it is,
/// even with a cause.
///
/// Source: emulator, `rapi/handler/initerror.go`.
pub(crate) async fn start_error(
    broker: &Broker,
    call: Call,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    let ids = broker.start_error(call)?;
    let id = ids.first().cloned().unwrap_or_default();
    let (mut failure, result) = report(broker, &id, headers, body, visit, Vec::from).await;
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

/// Reads an error that a runtime reports. `document` is what the caller gets of its body.
async fn report(
    broker: &Broker,
    id: &str,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
    document: impl FnOnce(Bytes) -> Vec<u8>,
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
        FunctionFailure::of_service(id, kind, error_type, "").by_runtime()
    } else {
        FunctionFailure::new(id, kind, document(body))
    };
    (failure.with_type(error_type), result)
}

/// The report without the X-Ray cause.
///
/// Source: emulator, `rapi/handler/invocationerror.go` and `mime_type_error_cause_json.go`.
fn without_cause(body: &[u8]) -> Vec<u8> {
    const MESSAGE: Field = Field { path: "errorWithCauseRequest.errorMessage", go_type: "string" };
    const TYPE: Field = Field { path: "errorWithCauseRequest.errorType", go_type: "string" };
    const TRACE: Field = Field { path: "errorWithCauseRequest.stackTrace", go_type: "[]string" };
    let (mut message, mut error_type) = (String::new(), String::new());
    let mut stack_trace = Texts::default();
    let read =
        go_json::read_object(body, "handler.errorWithCauseRequest", |key, value| match key {
            "errormessage" => value.read_text(&mut message, MESSAGE),
            "errortype" => value.read_text(&mut error_type, TYPE),
            "stacktrace" => value.read_texts(&mut stack_trace, TRACE),
            _ => Ok(()),
        });
    if read.is_err() {
        return quoted("Invalid error body").into_bytes();
    }
    let mut document =
        format!("{{\"errorMessage\":{},\"errorType\":{}", quoted(&message), quoted(&error_type));
    let stack_trace: Vec<_> = stack_trace.as_slice().iter().map(|line| quoted(line)).collect();
    if !stack_trace.is_empty() {
        document.push_str(&format!(",\"stackTrace\":[{}]", stack_trace.join(",")));
    }
    document.push('}');
    document.into_bytes()
}

/// The error that a runtime reports in the trailers of a response, with or without its document.
/// Without a type there is no error.
///
/// Source: emulator, `lambda-managed-instances/invoke/runtime_response_request.go`.
pub(crate) fn reported(id: &str, trailers: &HeaderMap) -> Option<FunctionFailure> {
    let error_type = trailers.get(ERROR_TYPE_TRAILER).map_or(&b""[..], HeaderValue::as_bytes);
    if error_type.is_empty() {
        return None;
    }
    let error_type = String::from_utf8_lossy(error_type);
    let document = trailers.get(ERROR_BODY_TRAILER).and_then(|it| BASE64.decode(it).ok());
    let kind = FailureKind::Reported;
    let failure = match document.filter(|document| !document.is_empty()) {
        Some(document) => FunctionFailure::new(id, kind, document),
        None => FunctionFailure::of_service(id, kind, &error_type, "").by_runtime(),
    };
    Some(failure.with_type(error_type))
}

/// Go's decoder, too, ignores the bits that the padding makes superfluous.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_removed_from_a_report() {
        let invalid = r#""Invalid error body""#;
        let cases: [(&str, &str); 12] = [
            (
                r#"{"errorMessage":"bad2","errorType":"E2","errorCause":{"x":1},"stackTrace":[]}"#,
                r#"{"errorMessage":"bad2","errorType":"E2"}"#,
            ),
            (
                r#"{"StackTrace":["a", "<b>"],"ERRORMESSAGE":"\"m\""}"#,
                r#"{"errorMessage":"\"m\"","errorType":"","stackTrace":["a","\u003cb\u003e"]}"#,
            ),
            (
                r#"{"errorType":"a","errortype":"b","errorMessage":"m","errorMessage":null}"#,
                r#"{"errorMessage":"m","errorType":"b"}"#,
            ),
            ("null", r#"{"errorMessage":"","errorType":""}"#),
            (r#"{"stackTrace":null}"#, r#"{"errorMessage":"","errorType":""}"#),
            ("nonsense", invalid),
            ("[1]", invalid),
            (r#"{"errorMessage":1}"#, invalid),
            (r#"{"errorType":["E"]}"#, invalid),
            (r#"{"stackTrace":"a"}"#, invalid),
            (r#"{"stackTrace":[{"path":"b"}]}"#, invalid),
            (r#"{"errorMessage":"m"} m"#, invalid),
        ];
        for (report, expected) in cases {
            assert_eq!(String::from_utf8(without_cause(report.as_bytes())).unwrap(), expected);
        }
    }

    #[test]
    fn a_type_in_the_trailers_reports_an_error_and_its_document_may_be_missing() {
        let described = r#"{"errorType":"T","errorMessage":""}"#;
        for (trailers, expected) in [
            (&[][..], None),
            (&[(ERROR_TYPE_TRAILER, "")], None),
            (&[(ERROR_BODY_TRAILER, "e30=")], None),
            (&[(ERROR_TYPE_TRAILER, ""), (ERROR_BODY_TRAILER, "e30=")], None),
            (&[(ERROR_TYPE_TRAILER, "T")], Some(described)),
            (&[(ERROR_TYPE_TRAILER, "T"), (ERROR_BODY_TRAILER, "")], Some(described)),
            (&[(ERROR_TYPE_TRAILER, "T"), (ERROR_BODY_TRAILER, "e30")], Some(described)),
            (&[(ERROR_TYPE_TRAILER, "T"), (ERROR_BODY_TRAILER, "e30=")], Some("{}")),
            (&[(ERROR_TYPE_TRAILER, "T"), (ERROR_BODY_TRAILER, "e31=")], Some("{}")),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in trailers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            let failure = reported("id", &map);
            let body = failure.as_ref().map(|it| String::from_utf8_lossy(&it.body).into_owned());
            assert_eq!(body.as_deref(), expected, "{trailers:?}");
            assert_eq!(failure.and_then(|it| it.error_type).is_some(), expected.is_some());
        }
    }
}
