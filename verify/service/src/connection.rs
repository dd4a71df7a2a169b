//! One connection, seen from the service.

use std::io::{self, ErrorKind, Read, Write};
use std::thread;
use std::time::Instant;

use super::{Duplex, Event, MOMENT, PATIENCE, Request, request};

/// A connection of a runtime. Dropping it closes it.
pub struct Connection {
    stream: Box<dyn Duplex>,
    /// Bytes that have been read from the stream and not yet used.
    unread: Vec<u8>,
    /// The buffer for reads.
    room: Box<[u8]>,
    is_inside_chunks: bool,
}

impl Connection {
    /// The service's end of this connection.
    pub fn over(stream: impl Duplex + 'static) -> Self {
        Self::new(Box::new(stream))
    }

    pub(crate) fn new(mut stream: Box<dyn Duplex>) -> Self {
        stream.set_timeouts(PATIENCE, PATIENCE);
        let room = vec![0; 256 * 1024].into();
        Self { stream, unread: Vec::new(), room, is_inside_chunks: false }
    }

    /// Reads a whole request.
    pub fn request(&mut self) -> Request {
        let mut request = self.head();
        if request.header("Transfer-Encoding") == Some("chunked") {
            assert_eq!(request.header("Content-Length"), None, "two lengths");
            while let Some(chunk) = self.chunk() {
                request.body.extend(&chunk);
                request.chunks.push(chunk);
            }
            request.trailers = self.trailers();
        } else if request.header("Content-Length").is_some() {
            request.body = self.rest_of(&request);
        }
        request
    }

    /// Reads the body of a request with a length, after its [head](Self::head).
    pub fn rest_of(&mut self, head: &Request) -> Vec<u8> {
        let length = head.header("Content-Length").expect("a length");
        self.exactly(length.parse().expect("a number"))
    }

    /// Reads the head of a request.
    pub fn head(&mut self) -> Request {
        loop {
            if let Some((request, length)) = Request::parse_head(&self.unread) {
                self.unread.drain(..length);
                self.is_inside_chunks = false;
                return request;
            }
            self.fill();
        }
    }

    /// Reads the next chunk; `None` at the last chunk, which the trailers follow.
    ///
    /// The line end of a chunk may arrive together with the next chunk.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        if self.is_inside_chunks {
            assert_eq!(self.exactly(2), b"\r\n", "what ends a chunk");
        }
        let line = self.line();
        let size = usize::from_str_radix(&line, 16).expect("the size of a chunk");
        self.is_inside_chunks = size > 0;
        (size > 0).then(|| self.exactly(size))
    }

    /// Reads the trailers, of which there may be none.
    pub fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 8];
            let parsed = httparse::parse_headers(&self.unread, &mut fields).expect("trailers");
            if let httparse::Status::Complete((length, fields)) = parsed {
                let trailers = request::owned(fields);
                self.unread.drain(..length);
                return trailers;
            }
            self.fill();
        }
    }

    /// Returns the bytes of one read, without using them.
    pub fn read_once(&mut self) -> &[u8] {
        assert!(self.unread.is_empty(), "{}", self.unread.escape_ascii());
        self.fill();
        &self.unread
    }

    /// Takes the bytes of one read, for a test with its own reader.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        self.read_once();
        std::mem::take(&mut self.unread)
    }

    /// Reads a request, which must be `next`.
    #[track_caller]
    pub fn expect_next(&mut self) -> Request {
        let request = self.request();
        assert!(request.is_next(), "not a `next`: {request:?}");
        request
    }

    /// Replies to this request, which must register an extension without events, and reads its
    /// `next`, which stays open.
    #[track_caller]
    pub fn register_extension(&mut self, request: &Request) {
        let path = "/2020-01-01/extension/register";
        assert_eq!((&*request.method, &*request.path), ("POST", path), "{request:?}");
        assert_eq!(request.json(), serde_json::json!({"events": []}));
        self.answer(200, "Lambda-Extension-Identifier: c7d2\r\n", "{}");
        self.expect_extension_next();
    }

    /// Reads an extension's request for its next event.
    #[track_caller]
    pub fn expect_extension_next(&mut self) {
        let request = self.request();
        let path = "/2020-01-01/extension/event/next";
        assert_eq!((&*request.method, &*request.path), ("GET", path), "{request:?}");
    }

    /// Replies to the following `next` with an event.
    #[track_caller]
    pub fn invoke(&mut self, event: Event) {
        self.expect_next();
        self.send(event.bytes());
    }

    /// Sends all bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // If the runtime has closed the connection, the next read shows it.
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the runtime does not read: {error}")
            }
            _ => {}
        }
    }

    /// Sends the bytes one at a time.
    pub fn send_byte_by_byte(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// Replies as the service does when it takes an answer.
    pub fn take_answer(&mut self) {
        self.send(TAKEN);
    }

    /// Replies as the service does when it refuses a request.
    pub fn refuse(&mut self, status: u16, error_type: &str, message: &str) {
        let document =
            format!("{{\"errorMessage\":\"{message}\",\"errorType\":\"{error_type}\"}}\n");
        self.answer(status, "Content-Type: application/json\r\n", &document);
    }

    /// Replies with a status, header lines and a body.
    pub fn answer(&mut self, status: u16, headers: &str, body: &str) {
        self.send(reply(status, headers, body));
    }

    /// Closes it.
    pub fn close(self) {}

    /// Waits for a whole request, and resets the connection instead of replying.
    ///
    /// Closing a connection with unread bytes resets it.
    pub fn reset_behind_request(self) {
        assert!(self.unread.is_empty());
        let began = Instant::now();
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = self.stream.peek(&mut bytes).expect("a request");
            if let Some((request, head)) = Request::parse_head(&bytes[..length]) {
                let body = request.header("Content-Length").map_or(0, |text| text.parse().unwrap());
                if length >= head + body {
                    return;
                }
            }
            assert!(length > 0 && began.elapsed() < PATIENCE, "no whole request came");
            thread::yield_now();
        }
    }

    /// Waits for the first byte of a request; returns `false` if there will be none.
    pub fn has_more(&self) -> bool {
        !self.unread.is_empty() || self.stream.peek(&mut [0]).is_ok_and(|length| length > 0)
    }

    /// Waits until the runtime has closed the connection; fails if it sends anything.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut more = [0; 512];
        match read(&mut self.stream, &mut more) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Ok(length) => panic!("more came: {}", more[..length].escape_ascii()),
            Err(error) => panic!("the connection is still open: {error}"),
        }
        assert!(self.unread.is_empty(), "{}", self.unread.escape_ascii());
    }

    /// Checks that the runtime sends nothing for a moment.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        assert!(self.unread.is_empty(), "{}", self.unread.escape_ascii());
        self.stream.set_timeouts(MOMENT, PATIENCE);
        let mut more = [0; 512];
        match read(&mut self.stream, &mut more) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => panic!("{other:?}: {}", more.escape_ascii()),
        }
        self.stream.set_timeouts(PATIENCE, PATIENCE);
    }

    /// Sends an event for the first `next` and takes every answer, until the runtime closes the
    /// connection; returns whether the event was answered.
    pub fn serve_until_it_ends(&mut self) -> bool {
        let (mut is_served, mut is_invoked) = (false, false);
        loop {
            while let Some((head, length)) = Request::parse_head(&self.unread) {
                self.unread.drain(..length);
                if !head.is_next() {
                    is_served = true;
                    self.take_answer();
                } else if !is_invoked {
                    is_invoked = true;
                    self.send(Event::new("id-1", "").bytes());
                }
            }
            let mut more = [0; 1024];
            match read(&mut self.stream, &mut more) {
                Ok(length @ 1..) => self.unread.extend(&more[..length]),
                _ => return is_served,
            }
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.exactly(end + 2);
                return String::from_utf8(line[..end].to_vec()).expect("UTF-8");
            }
            self.fill();
        }
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            self.fill();
        }
        let rest = self.unread.split_off(length);
        std::mem::replace(&mut self.unread, rest)
    }

    fn fill(&mut self) {
        let length = read(&mut self.stream, &mut self.room).expect("the runtime sends");
        self.unread.extend_from_slice(&self.room[..length]);
        let so_far = &self.unread[..self.unread.len().min(256)];
        assert!(
            length > 0,
            "the runtime has closed the connection after \"{}\"",
            so_far.escape_ascii()
        );
    }
}

/// Reads once. A read with a timeout ends when the process is stopped and continued, and on some
/// systems by other signals, too.
fn read(stream: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(room) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A reply with a status, header lines and a body.
pub fn reply(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The reply of the service when it takes an answer.
pub const TAKEN: &str = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n\
    Date: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";
