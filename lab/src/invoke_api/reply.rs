//! What callers get: answers, failures of the function, and exceptions of the API.

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, TRAILER};
use hyper::{Response, StatusCode};

use super::backlog;
use super::target::{Dialect, InvalidTarget};
use crate::answer::{AnswerBody, Answered, FailureKind, FunctionFailure, InvokeError};
use crate::http::{
    self, Answering, ERROR_BODY_TRAILER, ERROR_TYPE_TRAILER, PiecesBody, set_header,
};

const REQUEST_ID: &str = "x-amzn-requestid";

pub(super) fn set_request_id(headers: &mut HeaderMap, id: &str) {
    set_header(headers, REQUEST_ID, id);
}

pub(super) fn set_version(headers: &mut HeaderMap, version: &str) {
    set_header(headers, "x-amz-executed-version", version);
}

pub(super) fn success(answered: Answered, asked: &HeaderMap) -> Response<Answering> {
    let is_streamed = matches!(answered.body, AnswerBody::Stream(_));
    let body = match answered.body {
        AnswerBody::Whole(body) => Answering::Whole(body.into()),
        AnswerBody::Stream(pieces) => {
            // RFC 9110, section 6.5.1: trailers are only for a peer that announces that it takes
            // them.
            let takes_trailers = asked.get_all(TE).iter().any(|value| {
                value.to_str().is_ok_and(|value| {
                    value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
                })
            });
            Answering::Pieces(PiecesBody::new(pieces, takes_trailers))
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, answered.content_type.unwrap_or(octets));
    if is_streamed {
        for name in [ERROR_TYPE_TRAILER, ERROR_BODY_TRAILER] {
            headers.append(TRAILER, HeaderValue::from_static(name));
        }
    }
    response
}

/// A failure of the function. Its content type is that of Lambda, `application/json`, whatever the
/// body is: the runtime may have reported something else, and the emulator reports timeouts as
/// text.
pub(super) fn failed(failure: &FunctionFailure, dialect: Dialect) -> Response<Answering> {
    let id = &failure.request_id;
    let (status, body) = match (failure.kind, dialect) {
        (FailureKind::Timeout, Dialect::Lambda) => {
            let reason = String::from_utf8_lossy(&failure.body);
            let message = format!("RequestId: {id} Error: {reason}");
            let error_type = "Sandbox.Timedout";
            let failure = FunctionFailure::of_service(id, failure.kind, error_type, &message);
            (StatusCode::OK, failure.body)
        }
        (FailureKind::Init | FailureKind::Exit, Dialect::Emulator) => {
            (StatusCode::BAD_GATEWAY, failure.body.clone())
        }
        _ => (StatusCode::OK, failure.body.clone()),
    };
    let mut response = http::json(status, body);
    // Lambda sends this value for every failure.
    set_header(response.headers_mut(), "x-amz-function-error", "Unhandled");
    response
}

/// An error of the Invoke API: the function is not invoked.
///
/// Source: Lambda API Reference, "Invoke", "Errors", and "Common Error Types".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exception {
    /// The payload or the client context cannot be used.
    Content(String),
    /// A parameter cannot be used.
    Parameter(String),
    /// A parameter does not match its pattern.
    Validation(String),
    TooLarge(String),
    /// A web page may not invoke the function.
    Forbidden(String),
    /// There are too many asynchronous events.
    Busy,
    /// The lab itself cannot invoke the function.
    Service(String),
}

impl From<InvalidTarget> for Exception {
    fn from(invalid: InvalidTarget) -> Self {
        match invalid {
            InvalidTarget::Mismatch => Self::Parameter(invalid.to_string()),
            _ => Self::Validation(invalid.to_string()),
        }
    }
}

impl From<InvokeError> for Exception {
    fn from(error: InvokeError) -> Self {
        let message = error.to_string();
        match error {
            InvokeError::EventTooLarge(_) => Self::TooLarge(message),
            InvokeError::InvalidEvent(_) => Self::Content(message),
            _ => Self::Service(message),
        }
    }
}

/// As SDKs read it.
impl From<Exception> for Box<Response<Answering>> {
    fn from(exception: Exception) -> Self {
        // The name of the member that has the message is that of the API's model.
        let (exception_type, status, member, message) = match exception {
            Exception::Content(message) => {
                ("InvalidRequestContentException", StatusCode::BAD_REQUEST, "message", message)
            }
            Exception::Parameter(message) => {
                ("InvalidParameterValueException", StatusCode::BAD_REQUEST, "message", message)
            }
            Exception::Validation(message) => {
                ("ValidationException", StatusCode::BAD_REQUEST, "message", message)
            }
            Exception::TooLarge(message) => {
                ("RequestTooLargeException", StatusCode::PAYLOAD_TOO_LARGE, "message", message)
            }
            Exception::Forbidden(message) => {
                ("AccessDeniedException", StatusCode::FORBIDDEN, "Message", message)
            }
            Exception::Busy => (
                "TooManyRequestsException",
                StatusCode::TOO_MANY_REQUESTS,
                "message",
                format!(
                    "too many asynchronous events: {} may be unanswered, with {} MiB together; \
                     send this one again later, or serve with more --environments",
                    backlog::MAX_EVENTS,
                    backlog::MAX_BYTES / 1024 / 1024
                ),
            ),
            Exception::Service(message) => {
                ("ServiceException", StatusCode::INTERNAL_SERVER_ERROR, "Message", message)
            }
        };
        let fault = if status.is_server_error() { "Service" } else { "User" };
        let message = serde_json::Value::from(message);
        let document = format!("{{\"Type\":\"{fault}\",\"{member}\":{message}}}");
        let mut response = http::json(status, document);
        set_header(response.headers_mut(), "x-amzn-errortype", exception_type);
        Self::new(response)
    }
}
