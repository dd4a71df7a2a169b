//! Sends batches to the port on which an extension listens, and reads what it replies.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::buffer::{Batch, Part};
use super::pace::Pace;
use super::subscription::Destination;

/// The way to one subscriber.
#[derive(Debug)]
pub(super) enum Outlet {
    Http(Http),
    Tcp(Tcp),
}

/// Posts each batch as a JSON array. Only a whole reply with status 200 acknowledges it.
///
/// Source: Lambda Developer Guide, "Accessing real-time telemetry data for extensions using the
/// Telemetry API". AWS's emulator takes each status below 400 for success, and follows redirects,
/// which could lead anywhere.
#[derive(Debug)]
pub(super) struct Http {
    port: u16,
    path: String,
    method: Method,
    is_managed: bool,
    connection: Option<Open>,
}

/// Writes one record a line. The extension acknowledges nothing.
#[derive(Debug)]
pub(super) struct Tcp {
    port: u16,
    stream: Option<TcpStream>,
}

/// An open connection, and the task that reads and writes it.
#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

/// The most bytes of a reply's head, of its body, and of what a TCP listener writes between two
/// batches.
const MOST: usize = 64 * 1024;

/// How long a connection and a reply may take, and how long a TCP listener may read nothing. The
/// documentation says only that deliveries are repeated.
const PATIENCE: Duration = Duration::from_secs(5);

impl Outlet {
    /// A way to this destination. A TCP port must have a listener, which is connected to.
    ///
    /// # Errors
    ///
    /// The reason why the port cannot be reached, in the words of Go.
    pub(super) async fn open(destination: &Destination, is_managed: bool) -> Result<Self, String> {
        match destination {
            Destination::Http { port, path, is_put } => Ok(Self::Http(Http {
                port: *port,
                path: path.clone(),
                method: if *is_put { Method::PUT } else { Method::POST },
                is_managed,
                connection: None,
            })),
            Destination::Tcp { port } => {
                let connected = timeout(PATIENCE, connect(*port)).await;
                let connected = connected.unwrap_or_else(|_| Err(not_connected(*port)));
                let stream = connected.map_err(|error| {
                    let address = address(*port);
                    format!("could not TCP dial provided address {address}: {error}")
                })?;
                Ok(Self::Tcp(Tcp { port: *port, stream: Some(stream) }))
            }
        }
    }

    /// Sends what is left of a batch. What a TCP listener has taken is no longer part of it.
    ///
    /// # Errors
    ///
    /// The reason why not everything was taken.
    pub(super) async fn send(&mut self, batch: &mut Batch, pace: &mut Pace) -> Result<(), String> {
        match self {
            Self::Http(http) => {
                let sent = pace.limit(PATIENCE, http.send(&batch.parts)).await;
                sent.unwrap_or_else(|| Err(format!("it has not replied within {PATIENCE:?}")))
            }
            Self::Tcp(tcp) => tcp.send(&mut batch.parts, pace).await,
        }
    }

    /// The port of the extension.
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Http(Http { port, .. }) | Self::Tcp(Tcp { port, .. }) => *port,
        }
    }
}

impl Http {
    async fn send(&mut self, parts: &VecDeque<Part>) -> Result<(), String> {
        let body = array(parts);
        if let Some(open) = self.connection.take().filter(|open| !open.sender.is_closed()) {
            match self.exchange(open, body.clone()).await {
                // The extension has closed the connection, which was idle; a new one is not.
                Err(Failure::NoReply(_)) => {}
                result => return result.map_err(Failure::reason),
            }
        }
        let stream = connect(self.port).await?;
        let mut client = Builder::new();
        client.max_buf_size(MOST);
        let handshake = client.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| described(&error))?;
        let task = tokio::spawn(async move {
            // An error of the connection is one of the request, too.
            let _ = connection.await;
        });
        self.exchange(Open { sender, task }, body).await.map_err(Failure::reason)
    }

    async fn exchange(&mut self, mut open: Open, body: Bytes) -> Result<(), Failure> {
        let sent = open.sender.send_request(self.request(body)).await;
        let reply = sent.map_err(|error| {
            let reason = described(&error);
            match error.is_closed() || error.is_canceled() || error.is_incomplete_message() {
                true => Failure::NoReply(reason),
                false => Failure::Reply(reason),
            }
        })?;
        read(reply).await.map_err(Failure::Reply)?;
        if open.sender.ready().await.is_ok() {
            self.connection = Some(open);
        }
        Ok(())
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let sequence_id = self.is_managed.then(|| STANDARD.encode(Sha256::digest(&body)));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        if let Ok(path) = self.path.parse() {
            *request.uri_mut() = path;
        }
        let host = if self.is_managed { "127.0.0.1" } else { "sandbox.localdomain" };
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(&format!("{host}:{}", self.port)) {
            headers.insert(HOST, host);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Source: emulator, `lambda-managed-instances/aws-lambda-rie/internal/telemetry/internal`,
        // `client.go`.
        if let Some(Ok(id)) = sequence_id.map(|id| HeaderValue::from_str(&id)) {
            headers.insert("Sequence-Id", id);
        }
        request
    }
}

/// Why a batch is not acknowledged.
enum Failure {
    /// The connection was closed before.
    NoReply(String),
    Reply(String),
}

impl Failure {
    fn reason(self) -> String {
        let (Self::NoReply(reason) | Self::Reply(reason)) = self;
        reason
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a reply to its end.
async fn read(reply: Response<Incoming>) -> Result<(), String> {
    let status = reply.status();
    if status != StatusCode::OK {
        return Err(format!("it replied {status}"));
    }
    let (mut body, mut length) = (reply.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| described(&error))?;
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > MOST {
            return Err(format!("its reply has more than {MOST} bytes"));
        }
    }
    Ok(())
}

fn described(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The records as a JSON array.
fn array(parts: &VecDeque<Part>) -> Bytes {
    let length: usize = parts.iter().map(|part| part.bytes.len() + 1).sum();
    let mut array = Vec::with_capacity(length + 1);
    for part in parts {
        array.push(if array.is_empty() { b'[' } else { b',' });
        array.extend_from_slice(&part.bytes);
    }
    array.push(b']');
    array.into()
}

impl Tcp {
    async fn send(&mut self, parts: &mut VecDeque<Part>, pace: &mut Pace) -> Result<(), String> {
        let stream = match self.stream.take().filter(is_open) {
            Some(stream) => stream,
            None => {
                let connected = pace.limit(PATIENCE, connect(self.port)).await;
                connected.unwrap_or_else(|| Err(not_connected(self.port)))?
            }
        };
        while let Some(part) = parts.front() {
            let line = [&part.bytes[..], b"\n"].concat();
            match pace.limit(PATIENCE, write_all(&stream, &line)).await {
                Some(Ok(())) => drop(parts.pop_front()),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err(format!("it has not read a line within {PATIENCE:?}")),
            }
        }
        self.stream = Some(stream);
        Ok(())
    }
}

/// Whether the extension has not closed the connection, as far as is known. What it has written is
/// ignored; the look ends after [`MOST`] bytes, as there may be more all the time.
///
/// The system is asked, as the runtime may not have noticed the end yet; what is written after the
/// end is lost.
fn is_open(stream: &TcpStream) -> bool {
    let Ok(handle) = stream.as_fd().try_clone_to_owned() else { return false };
    // Does not block, as the stream does not.
    let mut handle = std::net::TcpStream::from(handle);
    let mut ignored = [0; 4096];
    for _ in 0..MOST / ignored.len() {
        match handle.read(&mut ignored) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The reason in the words of Go if a connection takes too long.
fn not_connected(port: u16) -> String {
    format!("dial tcp {}: i/o timeout", address(port))
}

/// Connects to a port of this machine, and to nothing else.
///
/// # Errors
///
/// The reason in the words of Go, as far as it has its own.
async fn connect(port: u16) -> Result<TcpStream, String> {
    let address = address(port);
    let stream = TcpStream::connect(address).await.map_err(|error| {
        let reason = match error.kind() {
            ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {address}: connect: {reason}")
    })?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    #[cfg(target_os = "linux")]
    use std::os::fd::OwnedFd;
    use std::thread;
    use std::time::Instant;

    use tokio::sync::watch;

    use super::*;
    use crate::telemetry::buffer::{Buffer, Limits};

    /// More than any buffer of the system takes.
    const LONG: usize = 64 * 1024 * 1024;

    #[test]
    fn a_line_that_was_written_in_part_stays_in_its_batch_and_comes_again_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = thread::spawn(move || {
            let (mut line, mut first) = (String::new(), [0; 1000]);
            let mut reader = BufReader::new(listener.accept().unwrap().0);
            reader.read_line(&mut line).unwrap();
            reader.read_exact(&mut first).unwrap();
            drop(reader);
            let mut rest = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut rest).unwrap();
            (line, rest)
        });
        let now = Instant::now();
        let mut buffer =
            Buffer::new(Limits { items: 10, bytes: 2 * LONG, time: Duration::ZERO }, true);
        let long = Bytes::from(vec![b'x'; LONG]);
        for record in [Bytes::from("taken"), long, Bytes::from("last")] {
            buffer.push(record, now);
        }
        let mut batch = buffer.take(now, |_| Bytes::new()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut pace = Pace::new(&watch::Sender::new(false));
            let mut outlet = Outlet::open(&Destination::Tcp { port }, false).await.unwrap();
            outlet.send(&mut batch, &mut pace).await.unwrap_err();
            let lengths: Vec<_> = batch.parts.iter().map(|part| part.bytes.len()).collect();
            assert_eq!(lengths, [LONG, 4]);
            outlet.send(&mut batch, &mut pace).await.unwrap();
            assert!(batch.parts.is_empty());
        });
        let (line, rest) = peer.join().unwrap();
        assert_eq!(line, "taken\n");
        assert_eq!(rest.len(), LONG + "\nlast\n".len());
        assert!(rest.ends_with(b"x\nlast\n"));
    }

    #[test]
    fn a_listener_that_takes_a_connection_and_reads_nothing_is_given_up_with_its_line() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let now = Instant::now();
        let limits = Limits { items: 10, bytes: 2 * LONG, time: Duration::ZERO };
        let mut buffer = Buffer::new(limits, true);
        buffer.push(Bytes::from(vec![b'x'; LONG]), now);
        let mut batch = buffer.take(now, |_| Bytes::new()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let failed = runtime.block_on(async {
            let mut pace = Pace::new(&watch::Sender::new(false));
            let mut outlet = Outlet::open(&Destination::Tcp { port }, false).await.unwrap();
            outlet.send(&mut batch, &mut pace).await
        });
        let reason = failed.unwrap_err();
        assert!(reason.starts_with("it has not read a line within "), "{reason}");
        assert_eq!(batch.parts.len(), 1);
        assert!(now.elapsed() >= PATIENCE);
        drop(listener);
    }

    /// A listener whose queue of connections is full, and what fills it.
    #[cfg(target_os = "linux")]
    fn full() -> (OwnedFd, u16, Vec<TcpStream>) {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&listener, &address(0)).unwrap();
        listen(&listener, 0).unwrap();
        let port = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap().port();
        let (mut open, moment) = (Vec::new(), Duration::from_millis(200));
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address(port), moment) {
            stream.set_nonblocking(true).unwrap();
            open.push(TcpStream::from_std(stream).unwrap());
            assert!(open.len() < 100, "its queue is never full");
        }
        (listener, port, open)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_listener_that_accepts_no_connection_is_given_up() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (_listener, port, _open) = full();
            let now = Instant::now();
            let limits = Limits { items: 10, bytes: 1000, time: Duration::ZERO };
            let mut buffer = Buffer::new(limits, true);
            buffer.push(Bytes::from("record"), now);
            let mut batch = buffer.take(now, |_| Bytes::new()).unwrap();
            let mut pace = Pace::new(&watch::Sender::new(false));
            let mut outlet = Outlet::Tcp(Tcp { port, stream: None });
            let destination = Destination::Tcp { port };
            let (opened, sent) = tokio::join!(
                Outlet::open(&destination, false),
                outlet.send(&mut batch, &mut pace),
            );
            let reason = format!("dial tcp 127.0.0.1:{port}: i/o timeout");
            assert_eq!(sent.unwrap_err(), reason);
            let dial = format!("could not TCP dial provided address 127.0.0.1:{port}: ");
            assert_eq!(opened.unwrap_err(), dial + &reason);
            assert_eq!(batch.parts.len(), 1);
        });
    }

    #[test]
    fn a_listener_that_writes_without_end_is_not_read_without_end() {
        const WRITTEN: usize = 2 * MOST;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(&vec![b'x'; WRITTEN]).unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        assert!(is_open(&stream));
        drop(peer);
        let mut handle = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned().unwrap());
        handle.set_nonblocking(false).unwrap();
        let mut rest = Vec::new();
        handle.read_to_end(&mut rest).unwrap();
        assert!(rest.len() >= WRITTEN - MOST, "{} bytes are left", rest.len());
        assert!(!is_open(&stream));
    }
}
