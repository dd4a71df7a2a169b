//! A minimal service of the Runtime API, which hands out the same event as often as it is asked to.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for a client that does nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service, on a port of loopback. A thread serves each connection until the client closes it.
pub(crate) struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    event: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many events may be handed out, have been, and are answered.
    allowed: usize,
    given: usize,
    answered: usize,
    /// Whether a client waits for an event, and since when.
    waiting: bool,
    waiting_since: Option<Instant>,
    /// The latest response, or what was wrong.
    response: Vec<u8>,
    fault: Option<String>,
}

impl Service {
    /// Starts the service with this event.
    ///
    /// # Errors
    ///
    /// That of the socket.
    pub(crate) fn start(event: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared =
            Shared { event: event.to_owned(), state: Mutex::default(), changed: Condvar::new() };
        let shared = Arc::new(shared);
        let serving = shared.clone();
        // It ends with this program: a few listeners cost nothing.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = serving.clone();
                thread::spawn(move || {
                    if let Err(error) = serve(&connection, &shared)
                        && error.kind() == io::ErrorKind::InvalidData
                    {
                        shared.lock().fault = Some(error.to_string());
                        shared.changed.notify_all();
                    }
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Waits until the client has asked for an event that it does not get yet, and returns when it
    /// asked.
    ///
    /// # Errors
    ///
    /// The fault of the client.
    pub(crate) fn wait(&self) -> Result<Instant, String> {
        let mut state = self.shared.lock();
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(fault) = &state.fault {
                return Err(fault.clone());
            }
            if state.waiting
                && state.answered == state.allowed
                && let Some(since) = state.waiting_since
            {
                return Ok(since);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("the client did nothing for {PATIENCE:?}"));
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Hands out this many events, waits until all are answered and the client waits again, and
    /// returns how long that took.
    ///
    /// # Errors
    ///
    /// The fault of the client.
    pub(crate) fn serve(&self, invocations: usize) -> Result<Duration, String> {
        let began = Instant::now();
        let mut state = self.shared.lock();
        state.allowed += invocations;
        state.waiting = false;
        drop(state);
        self.shared.changed.notify_all();
        Ok(self.wait()?.saturating_duration_since(began))
    }

    /// The latest response.
    pub(crate) fn response(&self) -> Vec<u8> {
        self.shared.lock().response.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the requests of a connection.
fn serve(connection: &TcpStream, shared: &Shared) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1024, connection);
    let mut writer = connection;
    loop {
        let Some(request) = read_request(&mut reader)? else { return Ok(()) };
        let reply = if request.line.starts_with("GET ") && request.line.contains("/invocation/next")
        {
            let number = wait_for_event(shared);
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                 Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-{number:012}\r\n\
                 Lambda-Runtime-Deadline-Ms: 4102444800000\r\n\
                 Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:work\r\n\
                 Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0\r\n\
                 Content-Length: {}\r\n\r\n{}",
                shared.event.len(),
                shared.event
            )
        } else if request.line.starts_with("POST ") && request.line.contains("/response") {
            let mut state = shared.lock();
            state.answered += 1;
            state.response = request.body;
            drop(state);
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            let body = String::from_utf8_lossy(&request.body);
            let what = format!("the client sent {}: {body}", request.line);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        };
        writer.write_all(reply.as_bytes())?;
    }
}

/// Waits until an event may be handed out, and returns its number.
fn wait_for_event(shared: &Shared) -> usize {
    let asked = Instant::now();
    let mut state = shared.lock();
    while state.given == state.allowed {
        if !state.waiting {
            state.waiting = true;
            state.waiting_since = Some(asked);
            shared.changed.notify_all();
        }
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.given += 1;
    state.given
}

struct Request {
    line: String,
    body: Vec<u8>,
}

/// Reads a request whose body has a `Content-Length`; `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let (mut length, mut header) = (0, String::new());
    loop {
        header.clear();
        if reader.read_line(&mut header)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { line: line.trim_end().to_owned(), body }))
}
