//! A queue for tests: an HTTP server that records requests, and replies as a test says.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// What the queue replies to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// That it has the message, as [`MESSAGE_ID`].
    Taken,
    /// The same, once this many requests have arrived since the start.
    TakenWhen(usize),
    /// An error with this status and this name.
    Error(StatusCode, &'static str),
    /// Nothing.
    Never,
}

pub(crate) const MESSAGE_ID: &str = "4c64ac0a-3c6f-4b43-b1d2-8b9d4b7d8a57";

/// A request as it has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    headers: HeaderMap,
    pub(crate) body: serde_json::Value,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a test sends text"))
    }

    /// The order that was sent.
    pub(crate) fn order(&self) -> &str {
        self.body["MessageBody"].as_str().expect("each message has a body")
    }
}

/// The server, on a thread of its own. It ends on drop.
pub(crate) struct Endpoint {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    reply: Box<dyn Fn(usize) -> Reply + Send + Sync>,
    requests: Mutex<Vec<Recorded>>,
    arrived: watch::Sender<usize>,
    connections: AtomicUsize,
}

impl Endpoint {
    /// Starts a server that asks `reply` about each request, with its number from 1.
    pub(crate) fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            reply: Box::new(reply),
            requests: Mutex::default(),
            arrived: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = state.clone();
        let thread = thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _has_ended = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve_connection(stream, state.clone()));
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| answer(state.clone(), request));
    // A client that gives up closes the connection, which is an error here.
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole request").to_bytes();
    let body = serde_json::from_slice(&body).expect("SQS takes JSON");
    let recorded = Recorded { headers: head.headers, body };
    let number = {
        let mut requests = state.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(recorded);
        requests.len()
    };
    state.arrived.send_replace(number);
    let taken = serde_json::json!({ "MessageId": MESSAGE_ID });
    let (status, body) = match (state.reply)(number) {
        Reply::Taken => (StatusCode::OK, taken),
        Reply::TakenWhen(count) => {
            let mut arrived = state.arrived.subscribe();
            let _is_open = arrived.wait_for(|arrived| *arrived >= count).await;
            (StatusCode::OK, taken)
        }
        Reply::Error(status, name) => {
            let error = format!("com.amazonaws.sqs#{name}");
            (status, serde_json::json!({ "__type": error, "message": "not now" }))
        }
        Reply::Never => std::future::pending().await,
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    Ok(response)
}
