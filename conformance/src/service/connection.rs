use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A connection to a service, as a client that reads everything sees it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes that have arrived and are not part of a parsed reply.
    unread: Vec<u8>,
}

/// A reply of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names as they were spelled.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// A request, as a server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// Names as they were spelled.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// Why there is no valid reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InvalidReply {
    /// The reply was not complete in time.
    InTime,
    /// The connection ended before the reply.
    Closed,
    /// The connection ended in the middle of the reply.
    CutOff,
    /// The bytes are not valid HTTP, for this reason.
    Malformed(String),
}

/// Whether more bytes may come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    Came,
    Ended,
}

impl Connection {
    /// Connects; a service that has just been started may not listen yet.
    pub(super) fn open(address: SocketAddr, patience: Duration) -> std::io::Result<Self> {
        let began = Instant::now();
        let stream = loop {
            match TcpStream::connect_timeout(&address, patience) {
                Err(error)
                    if error.kind() == ErrorKind::ConnectionRefused
                        && began.elapsed() < patience =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                result => break result?,
            }
        };
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// A connection that a listener has accepted.
    pub(super) fn accepted(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Another handle of the same connection, with which to end it.
    pub(super) fn handle(&self) -> std::io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Sends bytes. Errors are ignored, as they show in the reply.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _shows_in_the_answer = self.stream.write_all(bytes);
    }

    pub(super) fn half_close(&mut self) {
        let _may_have_ended = self.stream.shutdown(Shutdown::Write);
    }

    /// The next reply, which has to arrive before `until`.
    pub(super) fn answer(&mut self, until: Instant) -> Result<Answer, InvalidReply> {
        let head = self.head(until)?;
        let (status, headers) = parse(&head)?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        if status / 100 == 1 || [204, 304].contains(&status) {
            return Ok(answer);
        }
        answer.body = match self.framed(&answer.headers, until)? {
            Some(body) => body,
            None => {
                while self.read(until)? == More::Came {}
                std::mem::take(&mut self.unread)
            }
        };
        Ok(answer)
    }

    /// The next request, as a server reads it, which has to arrive before `until`.
    pub(super) fn request(&mut self, until: Instant) -> Result<Request, InvalidReply> {
        let head = self.head(until)?;
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(&head) {
            Ok(status) if status.is_complete() => {}
            _ => return Err(InvalidReply::Malformed(show(&head))),
        }
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let (method, path) = (text(request.method), text(request.path));
        let headers = owned(request.headers);
        let body = self.framed(&headers, until)?.unwrap_or_default();
        Ok(Request { method, path, headers, body })
    }

    /// Everything up to the empty line.
    fn head(&mut self, until: Instant) -> Result<Vec<u8>, InvalidReply> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                return Ok(self.unread.drain(..end + 4).collect());
            }
            if self.read(until)? == More::Ended {
                let is_nothing = self.unread.is_empty();
                return Err(if is_nothing { InvalidReply::Closed } else { InvalidReply::CutOff });
            }
        }
    }

    /// The body, if the headers say where it ends.
    fn framed(
        &mut self,
        headers: &[(String, Vec<u8>)],
        until: Instant,
    ) -> Result<Option<Vec<u8>>, InvalidReply> {
        let length = value(headers, "content-length");
        match (value(headers, "transfer-encoding"), length) {
            (Some(_), _) => self.chunks(until).map(Some),
            (None, Some(length)) => {
                let length = std::str::from_utf8(&length).ok().and_then(|it| it.parse().ok());
                let length =
                    length.ok_or(InvalidReply::Malformed("the length is not a number".into()))?;
                self.take(length, until).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// A line without its end, which is a line feed; `None` at the end of the connection.
    pub(super) fn text_line(&mut self, until: Instant) -> Result<Option<Vec<u8>>, InvalidReply> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.pop();
                return Ok(Some(line));
            }
            if self.read(until)? == More::Ended {
                let is_nothing = self.unread.is_empty();
                return if is_nothing { Ok(None) } else { Err(InvalidReply::CutOff) };
            }
        }
    }

    /// Waits for the end of the connection. Any byte before it is an error.
    pub(super) fn end(&mut self, until: Instant) -> Result<(), InvalidReply> {
        loop {
            if !self.unread.is_empty() {
                return Err(InvalidReply::Malformed(show(&self.unread)));
            }
            if self.read(until)? == More::Ended {
                return Ok(());
            }
        }
    }

    /// Whether nothing arrives before `until`, not even the end of the connection.
    pub(super) fn is_silent(&mut self, until: Instant) -> bool {
        self.unread.is_empty() && self.read(until) == Err(InvalidReply::InTime)
    }

    /// Bytes that have arrived and are not part of a parsed reply.
    pub(super) fn unread(&self) -> &[u8] {
        &self.unread
    }

    fn chunks(&mut self, until: Instant) -> Result<Vec<u8>, InvalidReply> {
        let mut body = Vec::new();
        loop {
            let size = self.line(until)?;
            let size = size.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size.trim_ascii()).unwrap_or_default();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| InvalidReply::Malformed(format!("{size:?} is not a chunk size")))?;
            if size == 0 {
                // Skips trailers, and the empty line.
                while !self.line(until)?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size, until)?);
            if !self.line(until)?.is_empty() {
                return Err(InvalidReply::Malformed("a chunk is longer than its size".into()));
            }
        }
    }

    fn line(&mut self, until: Instant) -> Result<Vec<u8>, InvalidReply> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let mut line: Vec<u8> = self.unread.drain(..end + 2).collect();
                line.truncate(end);
                return Ok(line);
            }
            if self.read(until)? == More::Ended {
                return Err(InvalidReply::CutOff);
            }
        }
    }

    fn take(&mut self, length: usize, until: Instant) -> Result<Vec<u8>, InvalidReply> {
        while self.unread.len() < length {
            if self.read(until)? == More::Ended {
                return Err(InvalidReply::CutOff);
            }
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn read(&mut self, until: Instant) -> Result<More, InvalidReply> {
        let mut bytes = [0; 65_536];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // A timeout of zero is not allowed.
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return Err(InvalidReply::InTime);
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(More::Ended),
                Ok(length) => {
                    self.unread.extend_from_slice(&bytes[..length]);
                    return Ok(More::Came);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Ok(More::Ended),
                },
            }
        }
    }
}

impl Answer {
    /// The values of a header, joined into one.
    pub(super) fn header(&self, name: &str) -> Option<Vec<u8>> {
        value(&self.headers, name)
    }
}

impl Request {
    /// The values of a header, joined into one.
    pub(super) fn header(&self, name: &str) -> Option<Vec<u8>> {
        value(&self.headers, name)
    }
}

fn value(headers: &[(String, Vec<u8>)], name: &str) -> Option<Vec<u8>> {
    let values = headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
    let values: Vec<_> = values.map(|(_, value)| value.as_slice()).collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

fn owned(fields: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect()
}

type Head = (u16, Vec<(String, Vec<u8>)>);

fn parse(head: &[u8]) -> Result<Head, InvalidReply> {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head) {
        Ok(status) if status.is_complete() => {}
        _ => return Err(InvalidReply::Malformed(show(head))),
    }
    Ok((response.code.unwrap_or_default(), owned(response.headers)))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Bytes as text. Long ones are shortened.
pub(super) fn show(bytes: &[u8]) -> String {
    const MOST: usize = 400;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]);
    match bytes.len() {
        0..=MOST => format!("{text:?}"),
        length => format!("{length} bytes: {:?}…", text.chars().take(20).collect::<String>()),
    }
}

impl std::fmt::Display for InvalidReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InTime => f.write_str("no reply in time"),
            Self::Closed => f.write_str("the end of the connection"),
            Self::CutOff => f.write_str("a truncated reply"),
            Self::Malformed(what) => write!(f, "invalid HTTP: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// The reply in these bytes, and the bytes that are left after it.
    fn read(bytes: &str) -> (Result<Answer, InvalidReply>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap().0.write_all(bytes.as_bytes()).unwrap());
            let mut connection = Connection::open(address, PATIENCE).unwrap();
            let answer = connection.answer(Instant::now() + PATIENCE);
            (answer, connection.unread)
        })
    }

    #[test]
    fn a_reply_is_read_in_every_framing_and_recognised_if_truncated() {
        let head = "HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\n";
        let chunked = "Transfer-Encoding: chunked\r\n\r\n";
        for (rest, body, left) in [
            ("Content-Length: 3\r\n\r\nabcd".to_owned(), Ok("abc"), "d"),
            ("Content-Length: 0\r\n\r\n".to_owned(), Ok(""), ""),
            ("Content-Length: 4\r\n\r\nabc".to_owned(), Err(InvalidReply::CutOff), "abc"),
            (format!("{chunked}3\r\nabc\r\n1;x\r\nd\r\n0\r\nX: y\r\n\r\nz"), Ok("abcd"), "z"),
            (format!("{chunked}3\r\nabc\r\n"), Err(InvalidReply::CutOff), ""),
            ("\r\nto the end".to_owned(), Ok("to the end"), ""),
        ] {
            let (answer, unread) = read(&format!("{head}{rest}"));
            if let Ok(answer) = &answer {
                assert_eq!(answer.header("x-A"), Some(b"1, 2".to_vec()));
                assert_eq!(answer.status, 200);
            }
            assert_eq!(answer.map(|it| it.body), body.map(|it| it.as_bytes().to_vec()), "{rest}");
            assert_eq!(unread, left.as_bytes(), "{rest}");
        }
    }

    #[test]
    fn invalid_replies_are_distinguished() {
        assert_eq!(read("").0, Err(InvalidReply::Closed));
        assert_eq!(read("HTTP/1.1 200 OK\r\n").0, Err(InvalidReply::CutOff));
        assert!(matches!(read("nonsense\r\n\r\n").0, Err(InvalidReply::Malformed(_))));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(read(&format!("{chunked}g\r\n")).0, Err(InvalidReply::Malformed(_))));
        assert!(matches!(
            read(&format!("{chunked}1\r\nabc\r\n")).0,
            Err(InvalidReply::Malformed(_))
        ));
        let (answer, left) = read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n");
        assert_eq!((answer.unwrap().status, left.len()), (100, 25));
    }

    #[test]
    fn a_connection_without_bytes_is_silent_and_gives_no_reply_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap(), PATIENCE).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let soon = || Instant::now() + Duration::from_millis(20);
        assert!(connection.is_silent(soon()));
        assert_eq!(connection.answer(soon()), Err(InvalidReply::InTime));
        peer.write_all(b"x").unwrap();
        assert!(!connection.is_silent(Instant::now() + PATIENCE));
        assert!(matches!(connection.end(soon()), Err(InvalidReply::Malformed(_))));
        drop(peer);
    }
}
