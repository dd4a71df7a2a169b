//! A service that sends a fixed script of replies, in known TCP segments.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{Error, Result};

/// When the next event is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each reply is sent when its request arrives, in one segment.
    OneByOne,
    /// The next event is already waiting: it comes in one segment with the reply to the answer.
    NextIsWaiting,
}

/// A Runtime API that sends a number of events on one connection and then refuses `next` with a
/// 403, so that the runtime ends.
#[derive(Debug)]
pub struct ScriptedService {
    address: SocketAddr,
    thread: JoinHandle<io::Result<usize>>,
}

/// How long to wait for bytes of the runtime.
const PATIENCE: Duration = Duration::from_secs(30);

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

const NO_MORE: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";

impl ScriptedService {
    /// Starts a service that sends `events` events of `size` bytes.
    ///
    /// # Errors
    ///
    /// An [`Error`] if it cannot listen.
    pub fn start(events: usize, size: usize, pace: Pace) -> Result<Self> {
        let cannot = |error| Error::new(format!("cannot listen on 127.0.0.1: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let thread = thread::spawn(move || {
            let mut connection = Connection::accept(&listener)?;
            // A runtime that wants SIGTERM registers an extension, on a connection that stays open.
            let mut _extension = None;
            if connection.is_extension()? {
                connection.register()?;
                _extension =
                    Some(std::mem::replace(&mut connection, Connection::accept(&listener)?));
            }
            connection.serve(events, size, pace)
        });
        Ok(Self { address, thread })
    }

    /// The address on which the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the end of the session; returns how many answers were right: the event itself, or
    /// the report of an error.
    ///
    /// # Errors
    ///
    /// An [`Error`] with the reason if the session ended early.
    pub fn finish(self) -> Result<usize> {
        let result = self.thread.join().map_err(|_| Error::new("the scripted service panicked"))?;
        result.map_err(|error| Error::new(format!("the scripted service: {error}")))
    }
}

struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    fn accept(listener: &TcpListener) -> io::Result<Self> {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, bytes: Vec::new() })
    }

    /// Whether the first request is one of the Extensions API.
    fn is_extension(&self) -> io::Result<bool> {
        let mut start = [0; 4];
        let length = self.stream.peek(&mut start)?;
        Ok(start[..length] == *b"POST")
    }

    /// Accepts the registration of an extension, and leaves its `next` unanswered.
    fn register(&mut self) -> io::Result<()> {
        self.expect("POST /2020-01-01/extension/register ")?;
        let mut responder = "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: c7d2\r\n\
            Content-Length: 2\r\n\r\n{}"
            .to_owned();
        self.send(&mut responder)?;
        self.expect("GET /2020-01-01/extension/event/next ").map(drop)
    }

    fn serve(&mut self, events: usize, size: usize, pace: Pace) -> io::Result<usize> {
        let event = "e".repeat(size);
        let mut right = 0;
        let mut responder = String::new();
        self.expect("GET ")?;
        for number in 0..events {
            responder.push_str(&format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                 Lambda-Runtime-Aws-Request-Id: id-{number}\r\nLambda-Runtime-Deadline-Ms: 4102444800000\r\n\
                 Content-Length: {size}\r\n\r\n{event}"
            ));
            self.send(&mut responder)?;
            let body = self.expect(&format!("POST /2018-06-01/runtime/invocation/id-{number}/"))?;
            let is_report = body.starts_with(b"{\"errorType\"");
            right += usize::from(body == event.as_bytes() || is_report);
            responder.push_str(ACCEPTED);
            if pace == Pace::OneByOne {
                self.send(&mut responder)?;
            }
            self.expect("GET ")?;
        }
        responder.push_str(NO_MORE);
        self.send(&mut responder)?;
        Ok(right)
    }

    /// Sends with one write, which the loopback device carries as one segment.
    fn send(&mut self, responder: &mut String) -> io::Result<()> {
        let sent = self.stream.write_all(responder.as_bytes());
        responder.clear();
        sent
    }

    /// Reads one request, which must begin with `start`, and returns its body.
    fn expect(&mut self, start: &str) -> io::Result<Vec<u8>> {
        let head = loop {
            if let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.bytes.split_off(end + 4);
                break String::from_utf8_lossy(&std::mem::replace(&mut self.bytes, rest))
                    .into_owned();
            }
            self.read_more()?;
        };
        if !head.starts_with(start) {
            let first = head.lines().next().unwrap_or_default();
            return Err(io::Error::other(format!("expected \"{start}\", not \"{first}\"")));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.bytes.len() < length {
            self.read_more()?;
        }
        let rest = self.bytes.split_off(length);
        Ok(std::mem::replace(&mut self.bytes, rest))
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut room = [0; 16 * 1024];
        let length = self.stream.read(&mut room)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.bytes.extend_from_slice(&room[..length]);
        Ok(())
    }
}
