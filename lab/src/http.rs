//! HTTP code that both servers of the lab share.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName, HeaderValue,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::answer::{FunctionFailure, Piece, Pieces, UNKNOWN};
use crate::clock::Clock;
use crate::event::header_text;

/// The body of everything that the lab answers.
#[derive(Debug)]
pub(crate) enum Answering {
    Whole(Full<Bytes>),
    /// One chunk, without a length.
    Chunk(Option<Bytes>),
    /// What a runtime streams.
    Pieces(PiecesBody),
    /// None: the connection is dead.
    HangUp,
}

#[derive(Debug)]
pub(crate) struct PiecesBody {
    pieces: Pieces,
    /// Whether the caller has said that it reads trailers.
    takes_trailers: bool,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The caller has been sent what came before, and is hung up on.
    Failing,
    Over,
}

/// The answer that is being streamed has failed, and the caller cannot be told but by hanging up.
#[derive(Debug)]
pub(crate) struct CutOff;

/// Room for a head: an X-Ray cause has up to 1 MiB, and other headers want some too.
const MAX_HEAD: usize = 4 * 1024 * 1024;

/// More than anybody sends; Go, in which the service is written, has no such limit.
const MAX_HEADERS: usize = 1000;

/// What is read of a body that is too long, so that the connection can be used again.
const MAX_DRAINED: usize = 64 * 1024 * 1024;

/// The names of the trailers in which a mid-stream error is told.
///
/// Source: Lambda Developer Guide, "Building a custom runtime", "Response streaming".
pub(crate) const ERROR_TYPE_TRAILER: &str = "lambda-runtime-function-error-type";
pub(crate) const ERROR_BODY_TRAILER: &str = "lambda-runtime-function-error-body";

/// Tells a server to end: no further connections, and no further requests on those that there are.
pub(crate) type Closing = watch::Receiver<bool>;

/// Serves every connection on a task of its own, until it is told to end; no connection can end
/// another.
///
/// There is no timeout for anything: a runtime waits for its event as long as that takes.
///
/// What `connected` gives for a connection answers its requests, and says when it is cut, at once.
pub(crate) async fn serve<C, H, F, U>(
    listener: TcpListener,
    mut closing: Closing,
    clock: Clock,
    connected: C,
) where
    C: Fn(&TcpStream) -> (H, U),
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Answering>> + Send + 'static,
    U: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        // Forgets the connections that have ended.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: some will be free again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (handler, cut) = connected(&stream);
        connections.spawn(converse(stream, closing.clone(), clock.clone(), handler, cut));
    }
    drop(listener);
    // Those who wait for an answer get what there is.
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_WORDS, ended).await;
}

const LAST_WORDS: Duration = Duration::from_millis(200);

async fn converse<H, F, U>(
    stream: TcpStream,
    mut closing: Closing,
    clock: Clock,
    handler: H,
    cut: U,
) where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Answering>>,
    U: Future<Output = ()>,
{
    let service = service_fn(move |request| {
        let answer = is_for_one_host(&request).then(|| handler(request));
        let clock = clock.clone();
        async move {
            let mut response = match answer {
                Some(answer) => answer.await,
                None => bad_request(),
            };
            // Else the date that hyper writes is right.
            if !clock.ahead().is_zero()
                && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(clock.now()))
            {
                response.headers_mut().insert(DATE, date);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut server = http1::Builder::new();
    server
        // A peer that says it has said everything, as netcat does, gets its answer; and what a process
        // said before it died is heard.
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .title_case_headers(true);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // Its errors are those of the peer, which knows.
    tokio::select! {
        _ = &mut connection => return,
        () = cut => return,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// RFC 9112, section 3.2: one host is named, and HTTP/1.0 may do without.
fn is_for_one_host(request: &Request<Incoming>) -> bool {
    match request.headers().get_all(HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

/// A body, whole.
#[derive(Debug)]
pub(crate) enum Collected {
    Whole { body: Bytes, trailers: Option<HeaderMap> },
    TooLong(usize),
    CutOff,
}

/// Reads a body of at most so many bytes; of a longer one the rest is read and thrown away.
pub(crate) async fn collect(body: &mut Incoming, most: usize) -> Collected {
    let announced = body.size_hint().lower() as usize;
    let mut collected = BytesMut::with_capacity(announced.min(most));
    let mut trailers = None;
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Collected::CutOff };
        match frame.into_data() {
            Ok(data) => {
                length += data.len();
                if length <= most {
                    collected.extend_from_slice(&data);
                } else if length > MAX_DRAINED {
                    break;
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if length > most {
        return Collected::TooLong(length.max(announced));
    }
    Collected::Whole { body: collected.freeze(), trailers }
}

/// Reads what a peer is sending with a request that is refused, if that is not much, so that the
/// connection can be used again; it may also be waiting for its answer.
///
/// Source: Go, `net/http`, `maxPostHandlerReadBytes`.
pub(crate) async fn drain(body: &mut Incoming) {
    let drained = async {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > 256 * 1024 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
}

pub(crate) fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Answering> {
    let mut response = Response::new(Answering::Whole(Full::new(body.into())));
    *response.status_mut() = status;
    response
}

pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response<Answering> {
    let mut response = answer(status, text.into());
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

pub(crate) fn json(status: StatusCode, document: impl Into<Bytes>) -> Response<Answering> {
    let mut response = answer(status, document);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// No answer at all: the connection ends.
pub(crate) fn hang_up() -> Response<Answering> {
    Response::new(Answering::HangUp)
}

/// For a path that there is not, as the emulator answers.
pub(crate) fn not_found() -> Response<Answering> {
    let mut response = text(StatusCode::NOT_FOUND, "404 page not found\n");
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert("x-content-type-options", nosniff);
    response
}

/// For what is no request; the connection ends, as its next one may be none either.
fn bad_request() -> Response<Answering> {
    let mut response = text(StatusCode::BAD_REQUEST, "400 Bad Request");
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(crate) fn method_not_allowed(allowed: &Method) -> Response<Answering> {
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, "");
    if let Ok(allowed) = HeaderValue::from_str(allowed.as_str()) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

impl Body for Answering {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match self.get_mut() {
            Self::Whole(body) => {
                Pin::new(body).poll_frame(context).map_err(|infallible| match infallible {})
            }
            Self::Chunk(chunk) => Poll::Ready(chunk.take().map(|chunk| Ok(Frame::data(chunk)))),
            Self::Pieces(body) => body.poll_frame(context),
            // Hyper throws away what it has not sent yet, which is all.
            Self::HangUp => Poll::Ready(Some(Err(CutOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Chunk(chunk) => chunk.is_none(),
            Self::Pieces(body) => body.stage == Stage::Over,
            Self::HangUp => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl PiecesBody {
    pub(crate) fn new(pieces: Pieces, takes_trailers: bool) -> Self {
        Self { pieces, takes_trailers, stage: Stage::Open }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match self.stage {
            Stage::Open => {}
            Stage::Failing => {
                self.stage = Stage::Over;
                return Poll::Ready(Some(Err(CutOff)));
            }
            Stage::Over => return Poll::Ready(None),
        }
        Poll::Ready(match ready!(self.pieces.poll_next(context)) {
            Piece::Data(data) => Some(Ok(Frame::data(data))),
            Piece::End => {
                self.stage = Stage::Over;
                None
            }
            Piece::Failed(failure) if self.takes_trailers => {
                self.stage = Stage::Over;
                Some(Ok(Frame::trailers(error_trailers(&failure))))
            }
            Piece::Failed(_) => {
                // Hyper sends what it has when it must wait, and throws it away with an error.
                self.stage = Stage::Failing;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }
}

/// What is told behind a streamed answer that failed.
fn error_trailers(failure: &FunctionFailure) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let error_type = failure.error_type().unwrap_or_else(|| UNKNOWN.into());
    set_header(&mut trailers, ERROR_TYPE_TRAILER, &error_type);
    set_header(&mut trailers, ERROR_BODY_TRAILER, &STANDARD.encode(&failure.body));
    trailers
}

/// The value of a header, or nothing if there is none, or none that is text.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Sets a header, unless the value cannot stand in one.
pub(crate) fn set_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Some(value) = header_text(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

impl std::fmt::Display for CutOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer was cut off")
    }
}

impl std::error::Error for CutOff {}
