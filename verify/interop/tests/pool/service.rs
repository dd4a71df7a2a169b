//! A Runtime API for many slots and many invocations, on the thread of the test.
//!
//! It stands apart from `lambda-proto-service` because it serves a million invocations, in many
//! slots, from one thread.
//!
//! It sends the same bytes as AWS's emulator (see `core/tests/captures`) and checks every answer.
//! It sends events only while [`Service::serve`] runs: between two calls nothing is in flight.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// How long to wait for the runtime to do something.
const PATIENCE: Duration = Duration::from_secs(20);

const LISTENER: Token = Token(usize::MAX);

const TAKEN: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n\
    Date: Sat, 21 Nov 2026 09:15:20 GMT\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

/// A 500 ends all slots of a runtime. After a 403, a runtime with several slots would ask again.
const NO_MORE: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

/// The reply to an extension: this service, like some other local ones, has no Extensions API.
const REFUSED: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

pub(crate) struct Service {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    room: Box<[u8]>,
    connections: Vec<Connection>,
    /// The connections whose `next` is open. The longest waiting is first, so slots take turns.
    waiting: VecDeque<usize>,
    /// The connections with unsent bytes.
    due: Vec<usize>,
    given: usize,
    answered: usize,
}

/// The invocations to serve.
pub(crate) struct Load<'l> {
    pub(crate) invocations: usize,
    /// How many are in flight at a time.
    pub(crate) at_once: usize,
    pub(crate) event: &'l dyn Fn(usize) -> Vec<u8>,
    pub(crate) answer: Answer,
}

/// The expected answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Echo,
    /// This many bytes in chunks.
    Stream(usize),
}

impl Service {
    pub(crate) fn start() -> Self {
        let poll = Poll::new().unwrap();
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
        Self {
            poll,
            events: Events::with_capacity(1024),
            listener,
            room: vec![0; 256 * 1024].into(),
            connections: Vec::new(),
            waiting: VecDeque::new(),
            due: Vec::new(),
            given: 0,
            answered: 0,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Waits until this many slots wait for an invocation.
    pub(crate) fn wait_for_slots(&mut self, slots: usize) {
        while self.waiting.len() < slots {
            self.turn(Answer::Echo);
        }
    }

    /// Sends events and receives answers, until all are answered and all slots wait again.
    pub(crate) fn serve(&mut self, load: &Load<'_>) {
        let last = self.given + load.invocations;
        loop {
            while self.given < last && self.given - self.answered < load.at_once {
                let Some(slot) = self.waiting.pop_front() else { break };
                let connection = &mut self.connections[slot];
                connection.give(self.given, (load.event)(self.given));
                self.given += 1;
                self.due.push(slot);
            }
            // In order, so that the reply to an answer is sent before the slot's next event.
            for slot in self.due.drain(..) {
                self.connections[slot].flush();
            }
            let slots = self.connections.iter().filter(|connection| !connection.is_over).count();
            if self.answered == last && self.waiting.len() == slots {
                return;
            }
            self.turn(load.answer);
        }
    }

    /// Fails every `next`, so that the runtime ends.
    pub(crate) fn end(mut self) {
        for slot in std::mem::take(&mut self.waiting) {
            self.connections[slot].outgoing.extend(NO_MORE);
            self.connections[slot].flush();
        }
        // The runtime must close first: otherwise it might see a reset instead of the refusal.
        while self.connections.iter().any(|connection| !connection.is_over) {
            self.turn(Answer::Echo);
        }
    }

    /// Handles what has arrived. Replies are sent later, together with the next event if there is
    /// one.
    fn turn(&mut self, right: Answer) {
        match self.poll.poll(&mut self.events, Some(PATIENCE)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            result => result.unwrap(),
        }
        assert!(!self.events.is_empty(), "nothing happened for {PATIENCE:?}");
        for event in &self.events {
            let slot = event.token().0;
            let Some(connection) = self.connections.get_mut(slot) else {
                accept(&self.listener, &self.poll, &mut self.connections);
                continue;
            };
            if event.is_writable() {
                connection.flush();
            }
            if !event.is_readable() {
                continue;
            }
            connection.fill(&mut self.room);
            while let Some(request) = connection.take_request(right) {
                match request {
                    Request::Next => self.waiting.push_back(slot),
                    Request::Extension => connection.flush(),
                    Request::Answer => {
                        self.answered += 1;
                        self.due.push(slot);
                    }
                }
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Connection>) {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true).unwrap();
                let token = Token(connections.len());
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, token, both).unwrap();
                connections.push(Connection::new(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("cannot accept a connection: {error}"),
        }
    }
}

struct Connection {
    stream: TcpStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
    in_flight: Option<(usize, Vec<u8>)>,
    /// The length of a streamed response so far.
    streamed: Option<usize>,
    is_over: bool,
}

enum Request {
    Next,
    Answer,
    /// The registration of an extension, which is refused.
    Extension,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            in_flight: None,
            streamed: None,
            is_over: false,
        }
    }

    fn give(&mut self, number: usize, event: Vec<u8>) {
        let length = event.len();
        write!(
            self.outgoing,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
             Lambda-Runtime-Aws-Request-Id: {}\r\nLambda-Runtime-Deadline-Ms: 1795252825240\r\n\
             Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:012345678912:function:f\r\n\
             Date: Sat, 21 Nov 2026 09:15:25 GMT\r\nContent-Length: {length}\r\n\r\n",
            id(number)
        )
        .unwrap();
        self.outgoing.extend(&event);
        assert!(self.in_flight.replace((number, event)).is_none(), "two invocations in one slot");
    }

    /// Sends as much as the socket takes.
    fn flush(&mut self) {
        while self.sent < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("cannot send to the runtime: {error}"),
            }
        }
        self.sent = 0;
        forget(&mut self.outgoing);
    }

    /// Reads everything that is there, because the poll is edge-triggered.
    fn fill(&mut self, room: &mut [u8]) {
        loop {
            match self.stream.read(room) {
                Ok(0) => self.is_over = true,
                Ok(length) => {
                    self.incoming.extend_from_slice(&room[..length]);
                    if length == room.len() {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.is_over = true,
                Err(error) => panic!("cannot read from the runtime: {error}"),
            }
            return;
        }
    }

    /// Takes a request that has arrived completely, and checks it.
    fn take_request(&mut self, right: Answer) -> Option<Request> {
        if self.streamed.is_some() {
            return self.take_chunks(right);
        }
        let head = self.incoming.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&self.incoming[..head]).expect("a head is text");
        if text.starts_with("GET /2018-06-01/runtime/invocation/next ") {
            assert_eq!(self.in_flight, None, "a next with an invocation in flight");
            self.consume(head);
            return Some(Request::Next);
        }
        if text.starts_with("POST /2020-01-01/extension/register ") {
            // The body is small and arrives with the head.
            forget(&mut self.incoming);
            self.outgoing.extend(REFUSED);
            return Some(Request::Extension);
        }
        let (number, event) = self.in_flight.as_ref().expect("an answer without an invocation");
        let start = format!("POST /2018-06-01/runtime/invocation/{}/response ", id(*number));
        assert!(text.starts_with(&start), "not {start} but {text}");
        let Some(length) = text.lines().find_map(|line| line.strip_prefix("Content-Length: "))
        else {
            assert!(text.contains("Transfer-Encoding: chunked"), "{text}");
            self.consume(head);
            self.streamed = Some(0);
            return self.take_chunks(right);
        };
        let end = head + length.parse::<usize>().expect("a length");
        let body = self.incoming.get(head..end)?;
        assert!(right == Answer::Echo && body == event, "invocation {number} got another's answer");
        self.consume(end);
        Some(self.is_answered())
    }

    /// Takes the chunks that have arrived completely.
    fn take_chunks(&mut self, right: Answer) -> Option<Request> {
        let mut at = 0;
        let so_far = self.streamed.as_mut().expect("a streamed answer has begun");
        let is_whole = loop {
            let rest = &self.incoming[at..];
            let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else { break false };
            let size = std::str::from_utf8(&rest[..line]).expect("the size of a chunk");
            let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
            let whole = line + 2 + size + 2;
            if rest.len() < whole {
                break false;
            }
            at += whole;
            *so_far += size;
            if size == 0 {
                break true;
            }
        };
        self.consume(at);
        if !is_whole {
            return None;
        }
        assert!(
            self.streamed.take().map(Answer::Stream) == Some(right),
            "wrong length of a stream"
        );
        Some(self.is_answered())
    }

    fn is_answered(&mut self) -> Request {
        self.in_flight = None;
        self.outgoing.extend(TAKEN);
        Request::Answer
    }

    fn consume(&mut self, length: usize) {
        if length == self.incoming.len() {
            forget(&mut self.incoming);
        } else {
            self.incoming.drain(..length);
        }
    }
}

/// Clears a buffer and keeps its memory only up to an ordinary size.
fn forget(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.shrink_to(64 * 1024);
}

fn id(number: usize) -> String {
    format!("8476a536-e9f4-11e8-9739-{number:012}")
}
