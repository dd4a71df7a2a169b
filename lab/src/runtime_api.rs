//! The Runtime API, which runtimes call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::answer::{AnswerBody, Answered, FailureKind, FunctionFailure, Piece, Pieces, truncated};
use crate::broker::{Broker, Peer, Post, Visit};
use crate::browser;
use crate::clock::Clock;
use crate::event::{MAX_PAYLOAD, header_text};
use crate::extensions_api;
use crate::http::{self, Answering, Closing, Collected, collect, header};
use crate::invocation::Invocation;
use crate::machine::Call;
use crate::presence::{Connections, Presence, Waiter, is_closed};
use crate::refusal::{self, Refusal};
use crate::report::{error, reported, start_error};
use crate::settings::Settings;
use crate::telemetry::Api;
use crate::telemetry_api;

/// The largest answer that is streamed: 200 MiB.
///
/// Source: Lambda Developer Guide, "Lambda quotas".
const MAX_STREAM: usize = 200 * 1024 * 1024;

/// Longer events are sent without a length, as one chunk, as Go's server does.
const MAX_WITH_LENGTH: usize = 2048;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route<'p> {
    Ping,
    Next,
    Response(&'p str),
    Error(&'p str),
    InitError,
    RestoreNext,
    RestoreError,
}

impl<'p> Route<'p> {
    /// Source: Lambda Developer Guide, "Using the Lambda runtime API"; `ping` is the emulator's
    /// own.
    fn of(path: &'p str) -> Option<Self> {
        Some(match path.strip_prefix("/2018-06-01/")? {
            "ping" => Self::Ping,
            "runtime/invocation/next" => Self::Next,
            "runtime/init/error" => Self::InitError,
            "runtime/restore/next" => Self::RestoreNext,
            "runtime/restore/error" => Self::RestoreError,
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
            Self::Ping | Self::Next | Self::RestoreNext => Method::GET,
            Self::Response(_) | Self::Error(_) | Self::InitError | Self::RestoreError => {
                Method::POST
            }
        }
    }

    /// Whether the route exists with SnapStart only.
    fn is_of_snapstart(&self) -> bool {
        matches!(self, Self::RestoreNext | Self::RestoreError)
    }
}

/// Serves the runtime of one environment.
pub(crate) async fn serve(
    listener: TcpListener,
    broker: Arc<Broker>,
    settings: Arc<Settings>,
    clock: Clock,
    closing: Closing,
) {
    let log = settings.log.clone();
    let connections = settings
        .program
        .is_none()
        .then(|| Connections::new(Arc::clone(&broker), settings.log.clone()));
    let connected = move |stream: &TcpStream| {
        let presence = connections.as_ref().and_then(|connections| connections.add(stream));
        let connection = Arc::new(RuntimeConnection::new(stream, broker.visit(), presence));
        let settings = Arc::clone(&settings);
        let cut = {
            let connection = Arc::clone(&connection);
            async move { connection.cut().await }
        };
        let handler =
            move |request| handle(request, Arc::clone(&settings), Arc::clone(&connection));
        (handler, cut)
    };
    http::serve(listener, closing, clock, log, connected).await;
}

/// A connection of the runtime, or of an extension.
#[derive(Debug)]
pub(crate) struct RuntimeConnection {
    visit: Visit,
    peer: Peer,
    cuts: watch::Receiver<u64>,
    /// How often all connections had been cut when this one was opened.
    born: u64,
    /// A `restore/next` is open on it, whose reply is sent even if the connection is cut.
    is_restoring: AtomicBool,
    /// For a runtime that the lab has not started.
    presence: Option<Presence>,
    is_on_loopback: bool,
}

impl RuntimeConnection {
    fn new(stream: &TcpStream, visit: Visit, presence: Option<Presence>) -> Self {
        let cuts = visit.broker().cuts();
        let peer = rustix::io::fcntl_dupfd_cloexec(stream, 0).ok().map(Arc::new);
        let born = *cuts.borrow();
        let is_restoring = AtomicBool::new(false);
        let is_on_loopback = browser::is_on_loopback(stream);
        Self { visit, peer, cuts, born, is_restoring, presence, is_on_loopback }
    }

    /// A request with this identifier of an extension has come on it.
    pub(crate) fn belongs_to(&self, extension: Uuid) {
        self.visit.belongs_to(extension);
    }

    /// Whether the peer has not closed the connection, as far as is known.
    ///
    /// Hyper does not check this while a request waits for its reply, and an event must not be lost
    /// on a closed connection.
    pub(crate) fn is_there(&self) -> bool {
        self.peer.as_ref().is_none_or(|peer| !is_closed(peer))
    }

    /// Its socket.
    pub(crate) fn peer(&self) -> Peer {
        self.peer.clone()
    }

    /// The reply to a call that waits, or `None` if the connection is closed before.
    pub(crate) async fn wait<T>(&self, waiter: Waiter, call: impl Future<Output = T>) -> Option<T> {
        match &self.presence {
            Some(presence) => presence.wait(waiter, call).await,
            None => Some(call.await),
        }
    }

    /// Whether its runtime replaces another one, whose extension of this name it registers.
    pub(crate) fn replaces(&self, name: &str) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.replaces(name))
    }

    /// Whether the connection has been cut, and takes no further request.
    fn is_dead(&self) -> bool {
        *self.cuts.borrow() != self.born && !self.visit.is_of_extension()
    }

    /// Waits until the connection has to be cut without waiting for a reply. Those of external
    /// extensions never are: they wait for their events through a snapshot.
    async fn cut(&self) {
        // Fails if the broker is gone, and then no request can be handled.
        let _ = self.cuts.clone().wait_for(|cuts| *cuts != self.born).await;
        if self.is_restoring.load(Relaxed) || self.visit.is_of_extension() {
            std::future::pending::<()>().await;
        }
    }
}

async fn handle(
    request: Request<Incoming>,
    settings: Arc<Settings>,
    connection: Arc<RuntimeConnection>,
) -> Response<Answering> {
    let broker = Arc::clone(connection.visit.broker());
    if connection.is_dead() {
        return http::hang_up();
    }
    if let Some(refused) = http::refuse_hosts(&request) {
        return refused;
    }
    if let Some(reason) =
        browser::refused_by_runtime_api(request.headers(), connection.is_on_loopback)
    {
        return http::json(StatusCode::FORBIDDEN, refusal::of_a_browser(&reason));
    }
    if let Some(presence) = &connection.presence {
        presence.begin().await;
    }
    if let Ok(id) = extensions_api::identifier(request.headers()) {
        connection.belongs_to(id);
    }
    let path = request.uri().path().to_owned();
    if path.starts_with(extensions_api::PATH) {
        return extensions_api::handle(request, &broker, &settings, &connection).await;
    }
    if let Some(api) = Api::of(&path, &settings) {
        return telemetry_api::handle(api, request, &broker, &settings).await;
    }
    let route = Route::of(&path).filter(|it| settings.snapstart.is_some() || !it.is_of_snapstart());
    let Some(route) = route else { return http::not_found() };
    if request.method() != route.method() {
        return http::method_not_allowed(&route.method());
    }
    match route {
        Route::Ping => http::text(StatusCode::OK, "pong"),
        Route::Next => {
            let next = broker.next(|| connection.is_there());
            match connection.wait(Waiter::Runtime, next).await {
                Some(Ok(invocation)) => event(&invocation),
                Some(Err(refusal)) => refused(refusal),
                None => refused(Refusal::Internal),
            }
        }
        Route::RestoreNext => {
            connection.is_restoring.store(true, Relaxed);
            match broker.restore_next().await {
                Ok(()) => http::answer(StatusCode::OK, ""),
                Err(refusal) => refused(refusal),
            }
        }
        // A task of its own reads the request to its end even if the runtime disconnects.
        Route::Response(_) | Route::Error(_) | Route::InitError | Route::RestoreError => {
            match tokio::spawn(post(request, broker)).await {
                Ok(Ok(())) => http::json(StatusCode::ACCEPTED, "{\"status\":\"OK\"}\n"),
                Ok(Err(refusal)) => refused(refusal),
                // The task panicked, which would be a bug of the lab.
                Err(_) => refused(Refusal::Internal),
            }
        }
    }
}

async fn post(request: Request<Incoming>, broker: Arc<Broker>) -> Result<(), Refusal> {
    let visit = broker.visit();
    let (head, mut body) = request.into_parts();
    let (headers, body_of) = (&head.headers, &mut body);
    let result = match Route::of(head.uri.path()) {
        Some(Route::Response(id)) => response(&broker, id, headers, body_of, visit).await,
        Some(Route::Error(id)) => {
            error(&broker, id, attempt_id(headers), headers, body_of, visit).await
        }
        Some(Route::RestoreError) => {
            start_error(&broker, Call::RestoreError, headers, body_of, visit).await
        }
        _ => start_error(&broker, Call::InitError, headers, body_of, visit).await,
    };
    if result.is_err() {
        http::drain(&mut body).await;
    }
    result
}

fn refused(refusal: Refusal) -> Response<Answering> {
    http::json(refusal.status(), refusal.document())
}

/// The reply to `next`, with its headers in the order of the emulator.
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
    set("lambda-runtime-deadline-ms", Some(&invocation.deadline().to_string()));
    set(INVOCATION_ID, Some(&invocation.attempt_id));
    set("lambda-runtime-invoked-function-arn", Some(&invocation.function_arn));
    set("lambda-runtime-trace-id", event.trace_id.as_deref());
    response
}

const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

fn attempt_id(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(INVOCATION_ID).map(HeaderValue::as_bytes)
}

async fn response(
    broker: &Broker,
    id: &str,
    headers: &HeaderMap,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    broker.begin(Post::Response, id, attempt_id(headers))?;
    let content_type = headers.get(CONTENT_TYPE).cloned();
    match header(headers, "lambda-runtime-function-response-mode") {
        "" => buffered(broker, id, content_type, body, visit).await,
        "streaming" => streamed(broker, id, content_type, body, visit).await,
        mode => {
            let message = format!("Invalid function response mode: {mode}");
            let error_type = "Runtime.InvalidResponseModeHeader";
            let kind = FailureKind::InvalidResponseMode;
            broker.end(FunctionFailure::of_service(id, kind, error_type, &message));
            Err(Refusal::InvalidResponseMode)
        }
    }
}

async fn buffered(
    broker: &Broker,
    id: &str,
    content_type: Option<HeaderValue>,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    let (answer, result) = match collect(body, MAX_PAYLOAD).await {
        Collected::Whole { body, trailers } => {
            if let Some(invocation) = broker.invocation(id) {
                invocation.produces(body.len());
            }
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
            broker.await_reason(id, visit).await;
            (Err(truncated(id)), Err(Refusal::Truncated))
        }
    };
    broker.answer(id, answer);
    broker.finish(id);
    result
}

async fn streamed(
    broker: &Broker,
    id: &str,
    content_type: Option<HeaderValue>,
    body: &mut Incoming,
    visit: Visit,
) -> Result<(), Refusal> {
    let (sender, pieces) = Pieces::new(id);
    let request_id = id.to_owned();
    let body_of_answer = AnswerBody::Stream(pieces);
    let mut given_up = broker.stream(Answered { request_id, content_type, body: body_of_answer });
    let invocation = broker.invocation(id);
    let (mut last, result) = tokio::select! {
        // Polled first: if the invocation was given up, that is why the connection ends.
        biased;
        Ok(failure) = &mut given_up => (Piece::Failed(failure), Err(Refusal::Truncated)),
        passed_on = pass_on(id, invocation.as_deref(), body, &sender) => {
            if passed_on.1 == Err(Refusal::Truncated) {
                broker.await_reason(id, visit).await;
            }
            passed_on
        }
    };
    if let Ok(failure) = given_up.try_recv() {
        last = Piece::Failed(failure);
    }
    if let (Piece::Failed(failure), Some(invocation)) = (&last, &invocation) {
        invocation.reports(failure);
    }
    broker.finish(id);
    // On its own task, so that a slow caller does not block the runtime. Fails if the caller has
    // gone.
    tokio::spawn(async move { sender.send(last).await });
    result
}

/// Gives the pieces to the caller as they arrive. Returns the last piece for the caller, and the
/// result for the runtime.
async fn pass_on(
    id: &str,
    invocation: Option<&Invocation>,
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
                if let Some(invocation) = invocation {
                    invocation.produces(data.len());
                }
                if length > MAX_STREAM {
                    return (Piece::Failed(too_large(id, MAX_STREAM)), Err(Refusal::TooLarge));
                }
                if !data.is_empty() {
                    // Fails if the caller has gone, which does not matter to the runtime.
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

fn too_large(id: &str, most: usize) -> FunctionFailure {
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({most} bytes).");
    let error_type = "Function.ResponseSizeTooLarge";
    FunctionFailure::of_service(id, FailureKind::AnswerTooLarge, error_type, &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_paths_of_the_runtime_api_are_known() {
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
            ("/2018-06-01/runtime/restore/next".into(), Some(Route::RestoreNext)),
            ("/2018-06-01/runtime/restore/error".into(), Some(Route::RestoreError)),
            ("/2018-06-01".into(), None),
            ("/".into(), None),
        ] {
            assert_eq!(Route::of(&path), route, "{path}");
        }
    }
}
