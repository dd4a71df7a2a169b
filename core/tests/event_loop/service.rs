//! A well-behaved service, on connections that are lost where a test wants it.
//!
//! It stands apart from `lambda-proto-service` because it runs on the thread of the client: a
//! connection is lost at an exact byte, and each operation blocks when the test says so.

use std::collections::VecDeque;

pub(crate) const ACCEPTED: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

/// An event in chunks of `chunk` bytes, or with a length if `chunk` is 0.
pub(crate) fn event(id: &str, body: &[u8], chunk: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {id}\r\n");
    let mut bytes = head.into_bytes();
    if chunk == 0 {
        bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
        bytes.extend(body);
        return bytes;
    }
    bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(chunk) {
        bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

pub(crate) fn refusal(status: u16) -> Vec<u8> {
    let body = "{\"errorMessage\":\"no\",\"errorType\":\"No\"}";
    format!("HTTP/1.1 {status} No\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `next`, `response`, `error` or `init/error`.
    pub(crate) call: String,
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
    /// Whether the trailers of a stream hold an error.
    pub(crate) failed: bool,
}

/// The offset of `what`; it is right only after ASCII, as in heads.
fn find(bytes: &[u8], what: &str) -> Option<usize> {
    String::from_utf8_lossy(bytes).find(what)
}

/// The call and the request id of the request that begins here, if its request line is whole.
pub(crate) fn named(bytes: &[u8]) -> Option<(String, String)> {
    let line = String::from_utf8_lossy(&bytes[..find(bytes, " HTTP/1.1\r\n")?]).into_owned();
    let path = line.split_once("/2018-06-01/runtime/").unwrap_or_else(|| panic!("{line}")).1;
    Some(match path.split('/').collect::<Vec<_>>()[..] {
        ["invocation", "next"] => ("next".into(), String::new()),
        ["invocation", id, call] => (call.into(), id.into()),
        _ => (path.into(), String::new()),
    })
}

/// The request that begins here and its length, if it is whole.
pub(crate) fn whole(bytes: &[u8]) -> Option<(Request, usize)> {
    let (call, id) = named(bytes)?;
    let mut at = find(bytes, "\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
    let mut request = Request { call, id, body: Vec::new(), failed: false };
    if let Some((_, length)) = head.split_once("\r\ncontent-length: ") {
        let length: usize = length.split_once('\r').unwrap().0.parse().unwrap();
        request.body = bytes.get(at..at + length)?.to_vec();
        at += length;
    } else if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        loop {
            let line = at + find(&bytes[at..], "\r\n")?;
            let size = std::str::from_utf8(&bytes[at..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            at = line + 2;
            if size == 0 {
                break;
            }
            request.body.extend(bytes.get(at..at + size)?);
            assert_eq!(bytes.get(at + size..at + size + 2)?, b"\r\n");
            at += size + 2;
        }
        // Trailers, up to the first empty line.
        loop {
            let line = at + find(&bytes[at..], "\r\n")? + 2;
            if line == at + 2 {
                at = line;
                break;
            }
            request.failed |= bytes[at..line].starts_with(b"Lambda-Runtime-Function-Error-Type");
            at = line;
        }
    }
    Some((request, at))
}

/// Bytes that the service sends once it has received `at` bytes of its first connection.
#[derive(Clone)]
pub(crate) struct Interjection {
    pub(crate) at: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: After,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It continues as if nothing had happened.
    GoOn,
    /// The bytes were the beginning of its next reply.
    ReplyBegun,
    /// It reads further bytes and discards them.
    Discard,
    /// It reads no more.
    Block,
}

/// How a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Reads and writes fail; unread bytes are lost.
    Reset,
    /// The stream ends; unread bytes are lost, and written bytes are discarded.
    Closed,
    /// Writes fail; what the service has sent can still be read, then the stream ends.
    Broken,
}

/// Where the first connection is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Sent(usize, How),
    Received(usize, How),
}

/// One connection, as the service sees it.
#[derive(Default)]
pub(crate) struct Wire {
    pub(super) is_first: bool,
    /// Received bytes that have not been parsed.
    pub(super) inbox: Vec<u8>,
    pub(super) taken: usize,
    pub(super) out: VecDeque<u8>,
    pub(super) given: usize,
    /// The number of bytes of the next reply that have been sent early.
    pub(super) begun: usize,
    pub(super) deaf: Option<After>,
    pub(super) cut: Option<How>,
}

#[derive(Default)]
pub(crate) struct Service {
    /// The events to hand out: the id and the bytes of each.
    pub(crate) events: VecDeque<(String, Vec<u8>)>,
    /// The invocation whose answer is refused, and the reply.
    pub(crate) refuses: Option<(String, Vec<u8>)>,
    /// A reply in place of [`ACCEPTED`].
    pub(crate) accepts: Option<Vec<u8>>,
    pub(crate) interjections: VecDeque<Interjection>,
    pub(crate) requests: Vec<Request>,
    /// Answers that were accepted.
    pub(crate) accepted: Vec<Request>,
    /// What was written on each connection.
    pub(crate) connections: Vec<Vec<u8>>,
    pub(super) current: String,
}

impl Service {
    pub(super) fn take(&mut self, wire: &mut Wire, bytes: &[u8]) {
        self.connections.last_mut().unwrap().extend(bytes);
        wire.taken += bytes.len();
        if wire.deaf.is_some() {
            return;
        }
        wire.inbox.extend(bytes);
        while let Some((request, length)) = whole(&wire.inbox) {
            wire.inbox.drain(..length);
            let reply = self.reply(&request);
            wire.out.extend(reply.into_iter().flatten().skip(std::mem::take(&mut wire.begun)));
            self.requests.push(request);
        }
        if wire.is_first && self.interjections.front().is_some_and(|what| what.at == wire.taken) {
            let Interjection { bytes, then, .. } = self.interjections.pop_front().unwrap();
            match then {
                After::GoOn => {}
                After::ReplyBegun => wire.begun = bytes.len(),
                After::Discard | After::Block => wire.deaf = Some(then),
            }
            wire.out.extend(bytes);
        }
    }

    fn reply(&mut self, request: &Request) -> Option<Vec<u8>> {
        if request.call == "next" {
            let (id, bytes) = self.events.pop_front()?;
            self.current = id;
            return Some(bytes);
        }
        if let Some((_, reply)) = self.refuses.take_if(|(id, _)| *id == request.id) {
            return Some(reply);
        }
        let is_taken = self.accepted.iter().any(|taken| taken.id == request.id);
        if request.call != "init/error" && (request.id != self.current || is_taken) {
            return Some(refusal(403));
        }
        self.accepted.push(request.clone());
        Some(self.accepts.clone().unwrap_or_else(|| ACCEPTED.to_vec()))
    }
}
