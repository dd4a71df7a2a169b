//! The Invoke API over HTTP, compatible with AWS's emulator and with Lambda.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, TRAILER};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};

use crate::answer::{AnswerBody, Answered, FailureKind, FunctionFailure, InvokeError};
use crate::event::{Event, MAX_PAYLOAD};
use crate::http::{
    self, Answering, Closing, Collected, ERROR_BODY_TRAILER, ERROR_TYPE_TRAILER, PiecesBody,
    collect, set_header,
};
use crate::log::{LOG_RESULT, VERSION, log_result};
use crate::pool::Pool;

/// The name in the emulator's path, whatever the name of the function.
const EMULATOR: &str = "function";

/// Whose form of failures a caller expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Emulator,
    Lambda,
}

/// The path at which callers invoke the emulator, and the lab.
pub(crate) const PATH: &str = "/2015-03-31/functions/function/invocations";

/// Serves the callers.
pub(crate) async fn serve(listener: TcpListener, pool: Arc<Pool>, closing: Closing) {
    let (clock, log) = (pool.clock().clone(), pool.log().clone());
    let connected = move |_: &TcpStream| {
        let pool = Arc::clone(&pool);
        (move |request| handle(request, Arc::clone(&pool)), std::future::pending())
    };
    http::serve(listener, closing, clock, log, connected).await;
}

async fn handle(request: Request<Incoming>, pool: Arc<Pool>) -> Response<Answering> {
    let Some(name) = function_name(request.uri().path()) else {
        return http::not_found();
    };
    let dialect = if name == EMULATOR { Dialect::Emulator } else { Dialect::Lambda };
    if request.method() != Method::POST {
        return http::method_not_allowed(&Method::POST);
    }
    let (head, mut body) = request.into_parts();
    let event = match read_event(&head.headers, &mut body).await {
        Ok(event) => event,
        Err(refused) => return *refused,
    };
    match head.headers.get("x-amz-invocation-type").map(HeaderValue::as_bytes) {
        None | Some(b"RequestResponse") => {}
        Some(b"DryRun") => return http::answer(StatusCode::NO_CONTENT, ""),
        Some(b"Event") => {
            tokio::spawn(async move { pool.invoke(event).await.map(drop) });
            return http::answer(StatusCode::ACCEPTED, "");
        }
        Some(_) => {
            let message = "X-Amz-Invocation-Type must be RequestResponse, Event or DryRun";
            return exception("InvalidParameterValueException", StatusCode::BAD_REQUEST, message);
        }
    }
    let mut invoked = match pool.invoke(event).await {
        Ok(invoked) => invoked,
        Err(error) => return not_invoked(&error),
    };
    let log = log_result(&mut invoked).await;
    let mut response = match invoked.answer {
        Ok(answered) => success(answered, &head.headers),
        Err(failure) => failed(&failure, dialect),
    };
    let version = HeaderValue::from_static(VERSION);
    response.headers_mut().insert("x-amz-executed-version", version);
    if let Some(log) = log {
        set_header(response.headers_mut(), LOG_RESULT, &log);
    }
    response
}

/// The function name in a path; it may be an ARN.
///
/// Source: Lambda API Reference, "Invoke".
fn function_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/2015-03-31/functions/")?.strip_suffix("/invocations")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

async fn read_event(
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Event, Box<Response<Answering>>> {
    let body = match collect(body, MAX_PAYLOAD).await {
        Collected::Whole { body, .. } => body,
        Collected::TooLong(length) => {
            return Err(not_invoked(&InvokeError::EventTooLarge(length)).into());
        }
        Collected::CutOff => {
            let message = "the event was cut off";
            let exception_type = "InvalidRequestContentException";
            return Err(exception(exception_type, StatusCode::BAD_REQUEST, message).into());
        }
    };
    let text = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    let client_context = text("x-amz-client-context").map(|it| {
        let json = STANDARD.decode(it).ok().and_then(|json| String::from_utf8(json).ok());
        json.ok_or_else(|| {
            let message = "X-Amz-Client-Context is not base64-encoded text";
            let exception_type = "InvalidRequestContentException";
            Box::new(exception(exception_type, StatusCode::BAD_REQUEST, message))
        })
    });
    Ok(Event {
        body,
        trace_id: text("x-amzn-trace-id"),
        client_context: client_context.transpose()?,
        cognito_identity: None,
        tenant_id: text("x-amz-tenant-id"),
        log_tail: headers.get("x-amz-log-type").is_some_and(|it| it == "Tail"),
    })
}

fn success(answered: Answered, asked: &HeaderMap) -> Response<Answering> {
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
    set_header(headers, REQUEST_ID, &answered.request_id);
    response
}

const REQUEST_ID: &str = "x-amzn-requestid";

fn failed(failure: &FunctionFailure, dialect: Dialect) -> Response<Answering> {
    let id = &failure.request_id;
    let mut response = match (failure.kind, dialect) {
        (FailureKind::Timeout, Dialect::Emulator) => {
            http::text(StatusCode::OK, String::from_utf8_lossy(&failure.body))
        }
        (FailureKind::Timeout, Dialect::Lambda) => {
            let reason = String::from_utf8_lossy(&failure.body);
            let message = format!("RequestId: {id} Error: {reason}");
            let error_type = "Sandbox.Timedout";
            let failure = FunctionFailure::of_service(id, failure.kind, error_type, &message);
            http::json(StatusCode::OK, failure.body)
        }
        (FailureKind::Init | FailureKind::Exit, Dialect::Emulator) => {
            http::json(StatusCode::BAD_GATEWAY, failure.body.clone())
        }
        _ => http::json(StatusCode::OK, failure.body.clone()),
    };
    // Lambda sends this value for every failure.
    set_header(response.headers_mut(), "x-amz-function-error", "Unhandled");
    set_header(response.headers_mut(), REQUEST_ID, id);
    response
}

fn not_invoked(error: &InvokeError) -> Response<Answering> {
    let (exception_type, status) = match error {
        InvokeError::EventTooLarge(_) => {
            ("RequestTooLargeException", StatusCode::PAYLOAD_TOO_LARGE)
        }
        InvokeError::InvalidEvent(_) => ("InvalidRequestContentException", StatusCode::BAD_REQUEST),
        _ => ("ServiceException", StatusCode::INTERNAL_SERVER_ERROR),
    };
    exception(exception_type, status, &error.to_string())
}

/// An error of the Invoke API, as SDKs read it.
fn exception(exception_type: &str, status: StatusCode, message: &str) -> Response<Answering> {
    let fault = if status.is_server_error() { "Service" } else { "User" };
    let message = serde_json::Value::from(message);
    let mut response =
        http::json(status, format!("{{\"Type\":\"{fault}\",\"Message\":{message}}}"));
    set_header(response.headers_mut(), "x-amzn-errortype", exception_type);
    response
}
