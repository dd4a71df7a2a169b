//! HTTP code that both servers of the lab share.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
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
use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::connection::Connection;
use crate::event::header_text;
use crate::log::Log;
use crate::process::obstacle;

/// The body of every reply of the lab.
#[derive(Debug)]
pub(crate) enum Answering {
    Whole(Full<Bytes>),
    /// One chunk, without a length.
    Chunk(Option<Bytes>),
    /// What a runtime streams.
    Pieces(PiecesBody),
    /// No reply: the connection is closed without one.
    HangUp,
}

#[derive(Debug)]
pub(crate) struct PiecesBody {
    pieces: Pieces,
    /// Whether the caller has announced that it reads trailers.
    takes_trailers: bool,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The earlier pieces have been sent to the caller, and the connection is about to be closed.
    Failing,
    Over,
}

/// A streamed answer failed, and closing the connection is the only way to tell the caller.
#[derive(Debug)]
pub(crate) struct CutOff;

/// The largest head: an X-Ray cause has up to 1 MiB, and the other headers need room too.
const MAX_HEAD: usize = 4 * 1024 * 1024;

/// More headers than any runtime sends. The service is written in Go, which has no such limit.
const MAX_HEADERS: usize = 1000;

/// How many bytes of a body that is too long are read, so that the connection can be used again.
const MAX_DRAINED: usize = 64 * 1024 * 1024;

/// The names of the trailers that report a mid-stream error.
///
/// Source: Lambda Developer Guide, "Building a custom runtime", "Response streaming".
pub(crate) const ERROR_TYPE_TRAILER: &str = "lambda-runtime-function-error-type";
pub(crate) const ERROR_BODY_TRAILER: &str = "lambda-runtime-function-error-body";

/// Tells a server to accept no further connections, and no further requests on open ones.
pub(crate) type Closing = watch::Receiver<bool>;

/// Serves each connection on its own task until `closing` is set, so that no connection can end
/// another.
///
/// There are no timeouts, as a runtime may wait for its event for any time.
///
/// `connected` returns, for each connection, the handler of its requests, and a future that
/// completes when the connection is to be cut immediately.
pub(crate) async fn serve<C, H, F, U>(
    listener: TcpListener,
    mut closing: Closing,
    clock: Clock,
    log: Log,
    connected: C,
) where
    C: Fn(&TcpStream) -> (H, U),
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Answering>> + Send + 'static,
    U: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut shortage = None;
    loop {
        // Removes the connections that have ended.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                report_shortage(&log, &mut shortage, &error);
                // Probably out of file descriptors, so try again when some may be free.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (handler, cut) = connected(&stream);
        connections.spawn(converse(stream, closing.clone(), clock.clone(), handler, cut));
    }
    drop(listener);
    // Open requests may still get their replies.
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_WORDS, ended).await;
}

/// Logs that connections have to wait, once a minute, as it concerns every attempt to accept one.
fn report_shortage(log: &Log, last: &mut Option<Instant>, error: &io::Error) {
    if let Some(remedy) = obstacle::remedy(error)
        && last.is_none_or(|last| last.elapsed() > Duration::from_secs(60))
    {
        *last = Some(Instant::now());
        log.lines(&[&format_args!("lambda-lab: cannot accept a connection: {error}{remedy}")]);
    }
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
        let answer = handler(request);
        let clock = clock.clone();
        async move {
            let mut response = answer.await;
            // Otherwise the date that hyper writes is right.
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
        // A peer that shuts down its sending side, as netcat does, still gets its reply. And what a
        // process sent before it died is still read.
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .title_case_headers(true);
    let connection = server.serve_connection(TokioIo::new(Connection(stream)), service);
    let mut connection = std::pin::pin!(connection);
    // Errors are ignored: they are the peer's, which sees the connection end.
    tokio::select! {
        _ = &mut connection => return,
        () = cut => return,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// The reply to a request that is not for one host.
///
/// RFC 9112, section 3.2: a request has exactly one `Host`, which HTTP/1.0 may omit. It is ASCII
/// (RFC 3986, section 3.2.2), so that [`header`] reads all of it.
pub(crate) fn refuse_hosts(request: &Request<Incoming>) -> Option<Response<Answering>> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_for_one_host = match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => host.to_str().is_ok(),
        (Some(_), Some(_)) => false,
    };
    (!is_for_one_host).then(bad_request)
}

/// The result of reading a whole body.
#[derive(Debug)]
pub(crate) enum Collected {
    Whole { body: Bytes, trailers: Option<HeaderMap> },
    TooLong(usize),
    CutOff,
}

/// Reads a body of at most `most` bytes. The rest of a longer one is read and thrown away.
pub(crate) async fn collect(body: &mut Incoming, most: usize) -> Collected {
    let announced = body.size_hint().lower() as usize;
    let mut collected = Buffer::new(announced, most);
    let mut trailers = None;
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Collected::CutOff };
        match frame.into_data() {
            Ok(data) => {
                length += data.len();
                if length <= most {
                    collected.push(&data);
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

/// Reads the body of a refused request, if it is short, so that the connection can be used again.
/// Gives up after a second, as the peer may be waiting for the reply before it sends the body.
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

/// Closes the connection without a reply.
pub(crate) fn hang_up() -> Response<Answering> {
    Response::new(Answering::HangUp)
}

/// The emulator's reply for a path that does not exist.
pub(crate) fn not_found() -> Response<Answering> {
    let mut response = text(StatusCode::NOT_FOUND, "404 page not found\n");
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert("x-content-type-options", nosniff);
    response
}

/// The reply to an invalid request. It closes the connection, as what follows cannot be trusted.
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
            // On an error hyper drops what it has not sent, which here is the whole reply.
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
                // On an error hyper drops what it has not sent. `Pending` makes it flush first.
                self.stage = Stage::Failing;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }
}

/// The trailers after a streamed answer that failed.
fn error_trailers(failure: &FunctionFailure) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let error_type = failure.error_type().unwrap_or_else(|| UNKNOWN.into());
    set_header(&mut trailers, ERROR_TYPE_TRAILER, &error_type);
    set_header(&mut trailers, ERROR_BODY_TRAILER, &STANDARD.encode(&failure.body));
    trailers
}

/// The value of a header, or an empty text if it is missing or not text.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Sets a header, unless the value contains a control character.
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
