//! The Runtime API, which runtimes call.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::answer::{
    AnswerBody, Answered, FailureKind, FunctionFailure, Piece, Pieces, UNKNOWN, truncated,
};
use crate::desk::{Desk, Post, Visit};
use crate::event::{MAX_PAYLOAD, header_text};
use crate::http::{
    self, Answering, Closing, Collected, ERROR_BODY_TRAILER, ERROR_TYPE_TRAILER, collect,
};
use crate::invocation::Invocation;
use crate::refusal::Refusal;

/// The largest answer that is streamed: 200 MiB.
///
/// Source: Lambda Developer Guide, "Lambda quotas".
const MAX_STREAM: usize = 200 * 1024 * 1024;

/// Longer events come without a length, as one chunk, which is how Go's server writes them.
const MAX_WITH_LENGTH: usize = 2048;

/// The body of an error that holds the X-Ray cause too, which is not for the caller.
const ERROR_WITH_CAUSE: &str = "application/vnd.aws.lambda.error.cause+json";

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route<'p> {
    Ping,
    Next,
    Response(&'p str),
    Error(&'p str),
    InitError,
}

impl<'p> Route<'p> {
    /// Source: Lambda Developer Guide, "Using the Lambda runtime API"; `ping` is the emulator's own.
    fn of(path: &'p str) -> Option<Self> {
        Some(match path.strip_prefix("/2018-06-01/")? {
            "ping" => Self::Ping,
            "runtime/invocation/next" => Self::Next,
            "runtime/init/error" => Self::InitError,
            other => {
                let (id, what) = other.strip_prefix("runtime/invocation/")?.split_once('/')?;
                match what {
                    "response" => Self::Response(id),
                    "error" => Self::Error(id),
                    _ => return None,
                }
            }
        })
    }

    fn method(&self) -> Method {
        match self {
            Self::Ping | Self::Next => Method::GET,
            Self::Response(_) | Self::Error(_) | Self::InitError => Method::POST,
        }
    }
}

/// Serves the runtime of one environment.
pub(crate) async fn serve(listener: TcpListener, desk: Arc<Desk>, closing: Closing) {
    let connected = move |stream: &TcpStream| {
        let visit = desk.visit();
        let peer = Peer(rustix::io::dup(stream).ok().map(Arc::new));
        move |request| handle(request, visit.desk(), peer.clone())
    };
    http::serve(listener, closing, connected).await;
}

/// The other side of a connection.
#[derive(Clone, Debug)]
struct Peer(Option<Arc<OwnedFd>>);

impl Peer {
    /// Whether it has not hung up, as far as is known.
    ///
    /// Hyper does not look while a request is being answered, and an event must not be lost on those
    /// who have gone.
    fn is_there(&self) -> bool {
        let Some(stream) = &self.0 else { return true };
        let mut byte = [0];
        match recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => false,
            Ok(_) => true,
            Err(error) => error == Errno::AGAIN || error == Errno::INTR,
        }
    }
}

async fn handle(request: Request<Incoming>, desk: Arc<Desk>, peer: Peer) -> Response<Answering> {
    let path = request.uri().path().to_owned();
    let Some(route) = Route::of(&path) else { return http::not_found() };
    if request.method() != route.method() {
        return http::method_not_allowed(&route.method());
    }
    match route {
        Route::Ping => http::text(StatusCode::OK, "pong"),
        Route::Next => match desk.next(|| peer.is_there()).await {
            Ok(invocation) => event(&invocation),
            Err(refusal) => refused(refusal),
        },
        // What a runtime has begun to say is heard to the end, even if it hangs up in the middle.
        Route::Response(_) | Route::Error(_) | Route::InitError => {
            match tokio::spawn(post(request, desk)).await {
                Ok(Ok(())) => http::json(StatusCode::ACCEPTED, "{\"status\":\"OK\"}\n"),
                Ok(Err(refusal)) => refused(refusal),
                // A panic, which would be a bug of the lab.
                Err(_) => refused(Refusal::Internal),
            }
        }
    }
}

async fn post(request: Request<Incoming>, desk: Arc<Desk>) -> Result<(), Refusal> {
    let visit = desk.visit();
    let (head, mut body) = request.into_parts();
    let result = match Route::of(head.uri.path()) {
        Some(Route::Response(id)) => response(&desk, id, &head.headers, &mut body, visit).await,
        Some(Route::Error(id)) => error(&desk, id, &head.headers, &mut body, visit).await,
        _ => init_error(&desk, &head.headers, &mut body, visit).await,
    };
    if result.is_err() {
        http::drain(&mut body).await;
    }
    result
}

fn refused(refusal: Refusal) -> Response<Answering> {
    http::json(refusal.status(), refusal.document())
}

/// The answer to `next`; the headers in the order of the emulator.
fn event(invocation: &Invocation) -> Response<Answering> {
    let event = &invocation.event;
    let body = if event.body.len() > MAX_WITH_LENGTH {
        Answering::Chunk(Some(event.body.clone()))
    } else {
        Answering::Whole(event.body.clone().into())
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut set = |name: &'static str, value: Option<&str>| {
        if let Some(value) = value.filter(|it| !it.is_empty()).and_then(header_text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("lambda-runtime-aws-request-id", Some(&invocation.request_id));
    set("lambda-runtime-aws-tenant-id", event.tenant_id.as_deref());
    set("lambda-runtime-client-context", event.client_context.as_deref());
    set("lambda-runtime-cognito-identity", event.cognito_identity.as_deref());
    set("lambda-runtime-deadline-ms", Some(&invocation.deadline.to_string()));
    set(INVOCATION_ID, Some(&invocation.attempt_id));
    set("lambda-runtime-invoked-function-arn", Some(&invocation.function_arn));
    set("lambda-runtime-trace-id", event.trace_id.as_deref());
    response
}

const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

fn attempt_id(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(INVOCATION_ID).map(HeaderValue::as_bytes)
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn response(
    desk: &Desk,
    id: &str,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    desk.begin(Post::Response, id, attempt_id(headers))?;
    let content_type = headers.get(CONTENT_TYPE).cloned();
    match header(headers, "lambda-runtime-function-response-mode") {
        "" => buffered(desk, id, content_type, body, visit).await,
        "streaming" => streamed(desk, id, content_type, body, visit).await,
        mode => {
            let message = format!("Invalid function response mode: {mode}");
            let error_type = "Runtime.InvalidResponseModeHeader";
            let kind = FailureKind::InvalidResponseMode;
            desk.end(FunctionFailure::of_service(id, kind, error_type, &message));
            Err(Refusal::InvalidResponseMode)
        }
    }
}

async fn buffered(
    desk: &Desk,
    id: &str,
    content_type: Option<HeaderValue>,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    let (answer, result) = match collect(body, MAX_PAYLOAD).await {
        Collected::Whole { body, trailers } => {
            match trailers.and_then(|trailers| reported(id, &trailers)) {
                Some(failure) => (Err(failure), Ok(())),
                None => {
                    let request_id = id.to_owned();
                    let body = AnswerBody::Whole(body);
                    (Ok(Answered { request_id, content_type, body }), Ok(()))
                }
            }
        }
        Collected::TooLong(_) => (Err(too_large(id, MAX_PAYLOAD)), Err(Refusal::TooLarge)),
        Collected::CutOff => {
            reason_for_end(desk, id, visit).await;
            (Err(truncated(id)), Err(Refusal::Truncated))
        }
    };
    desk.answer(id, answer);
    desk.finish(id);
    result
}

/// Waits for the end of a process whose connection has ended: if that is the reason, the caller is told
/// so by the environment, which has been waiting for the end of the visit.
async fn reason_for_end(desk: &Desk, id: &str, visit: Visit) {
    drop(visit);
    if let Some(invocation) = desk.invocation(id) {
        let _ = timeout(EXIT, invocation.over()).await;
    }
}

/// How long after its connections a process ends, at most, that ends with them.
const EXIT: Duration = Duration::from_millis(500);

async fn streamed(
    desk: &Desk,
    id: &str,
    content_type: Option<HeaderValue>,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    let (sender, pieces) = Pieces::new(id);
    let request_id = id.to_owned();
    let body_of_answer = AnswerBody::Stream(pieces);
    let mut given_up = desk.stream(Answered { request_id, content_type, body: body_of_answer });
    let (mut last, result) = tokio::select! {
        // That the invocation was given up is the reason why a connection ends, not the other way.
        biased;
        Ok(failure) = &mut given_up => (Piece::Failed(failure), Err(Refusal::Truncated)),
        passed_on = pass_on(id, body, &sender) => {
            if passed_on.1 == Err(Refusal::Truncated) {
                reason_for_end(desk, id, visit).await;
            }
            passed_on
        }
    };
    if let Ok(failure) = given_up.try_recv() {
        last = Piece::Failed(failure);
    }
    desk.finish(id);
    // A caller may be slow, and need not hold up the runtime; or nobody may listen any more.
    tokio::spawn(async move { sender.send(last).await });
    result
}

/// Gives the pieces to the caller as they come; what is said last, to the caller and the runtime.
async fn pass_on(
    id: &str,
    body: &mut Incoming,
    sender: &mpsc::Sender<Piece>,
) -> (Piece, Result<(), Refusal>) {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return (Piece::Failed(truncated(id)), Err(Refusal::Truncated));
        };
        match frame.into_data() {
            Ok(data) => {
                length += data.len();
                if length > MAX_STREAM {
                    return (Piece::Failed(too_large(id, MAX_STREAM)), Err(Refusal::TooLarge));
                }
                if !data.is_empty() {
                    // Nobody may listen any more; the runtime need not know.
                    let _ = sender.send(Piece::Data(data)).await;
                }
            }
            Err(frame) => {
                if let Some(failure) = frame.into_trailers().ok().and_then(|it| reported(id, &it)) {
                    return (Piece::Failed(failure), Ok(()));
                }
            }
        }
    }
    (Piece::End, Ok(()))
}

/// The error that a runtime tells behind an answer, by its type, its document, or both.
fn reported(id: &str, trailers: &HeaderMap) -> Option<FunctionFailure> {
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

fn too_large(id: &str, most: usize) -> FunctionFailure {
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({most} bytes).");
    let error_type = "Function.ResponseSizeTooLarge";
    FunctionFailure::of_service(id, FailureKind::AnswerTooLarge, error_type, &message)
}

async fn error(
    desk: &Desk,
    id: &str,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    desk.begin(Post::Error, id, attempt_id(headers))?;
    let (failure, result) = report(desk, id, headers, body, visit).await;
    desk.answer(id, Err(failure));
    desk.finish(id);
    result
}

async fn init_error(
    desk: &Desk,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    let ids = desk.init_error()?;
    let id = ids.first().cloned().unwrap_or_default();
    let (mut failure, result) = report(desk, &id, headers, body, visit).await;
    failure.kind = FailureKind::Init;
    for request_id in ids {
        desk.end(FunctionFailure { request_id, ..failure.clone() });
    }
    result
}

/// Reads an error that a runtime reports, which goes to the caller as it is.
async fn report(
    desk: &Desk,
    id: &str,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
) -> (FunctionFailure, Result<(), Refusal>) {
    let (body, result) = match collect(body, desk.max_error()).await {
        Collected::Whole { body, .. } => (body, Ok(())),
        Collected::TooLong(_) => (Bytes::new(), Err(Refusal::TooLarge)),
        Collected::CutOff => {
            reason_for_end(desk, id, visit).await;
            (Bytes::new(), Err(Refusal::Truncated))
        }
    };
    let kind = FailureKind::Reported;
    let error_type = header(headers, "lambda-runtime-function-error-type");
    let failure = if body.is_empty() {
        // The documentation: without a body the service describes the error by its type.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_runtime_api_and_no_others() {
        let invocation = "/2018-06-01/runtime/invocation";
        for (path, route) in [
            ("/2018-06-01/ping".into(), Some(Route::Ping)),
            (format!("{invocation}/next"), Some(Route::Next)),
            (format!("{invocation}/a-b/response"), Some(Route::Response("a-b"))),
            (format!("{invocation}//response"), Some(Route::Response(""))),
            (format!("{invocation}/a/error"), Some(Route::Error("a"))),
            ("/2018-06-01/runtime/init/error".into(), Some(Route::InitError)),
            (format!("{invocation}/next/"), None),
            (format!("{invocation}/a/b/error"), None),
            (format!("{invocation}/a/errors"), None),
            ("/2018-06-01//runtime/invocation/next".into(), None),
            ("/2018-06-01/runtime/restore/next".into(), None),
            ("/2018-06-01".into(), None),
            ("/".into(), None),
        ] {
            assert_eq!(Route::of(&path), route, "{path}");
        }
    }

    #[test]
    fn the_cause_is_taken_out_of_a_report() {
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
