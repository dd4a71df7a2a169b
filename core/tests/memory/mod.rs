//! A service in memory: connections whose reads follow a script, and which record what was written.
//!
//! It stands apart from `lambda-proto-service` because it decides what each single read and write
//! returns, and counts them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use embedded_io::ErrorKind;
use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto::client::{Storage, Warning};
use lambda_proto::machine::Machine;

use crate::loops::Driver;

/// What one read of a connection returns; after the last one the stream has ended.
pub(crate) enum Give {
    Bytes(Vec<u8>),
    Reset,
}

/// One connection of the script.
pub(crate) struct Connection {
    reads: VecDeque<Give>,
    /// The number of bytes that one write takes.
    pub(crate) takes: usize,
    /// The number of bytes after which writes fail.
    pub(crate) breaks_after: usize,
    /// Whether the next read or write is ready, for loops that await.
    pub(crate) is_ready: bool,
    written: usize,
    seen: Rc<RefCell<Seen>>,
    number: usize,
}

/// What the service has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// The bytes written to each connection.
    pub(crate) written: Vec<Vec<u8>>,
    pub(crate) reads: usize,
    pub(crate) writes: usize,
    pub(crate) warnings: Vec<String>,
    /// The `losses` that the driver passed to each connect.
    pub(crate) losses: Vec<u32>,
}

impl Seen {
    pub(crate) fn text(&self, connection: usize) -> String {
        String::from_utf8_lossy(&self.written[connection]).into_owned()
    }

    /// The request lines of a connection, without the version.
    pub(crate) fn requests(&self, connection: usize) -> Vec<String> {
        let text = self.text(connection);
        let lines = text.split("\r\n").filter_map(|line| line.strip_suffix(" HTTP/1.1"));
        // A body without a line end is joined to the next request line.
        lines
            .map(|line| {
                let start = line.rfind("GET /").or_else(|| line.rfind("POST /")).unwrap_or(0);
                line[start..].replace("/2018-06-01/runtime", "")
            })
            .collect()
    }
}

impl Connection {
    /// What one read does.
    pub(crate) fn take_read(&mut self, room: &mut [u8]) -> Result<usize, ErrorKind> {
        assert!(!room.is_empty(), "a read without room");
        self.seen.borrow_mut().reads += 1;
        match self.reads.pop_front() {
            None => Ok(0),
            Some(Give::Reset) => Err(ErrorKind::ConnectionReset),
            Some(Give::Bytes(mut bytes)) => {
                let length = bytes.len().min(room.len());
                room[..length].copy_from_slice(&bytes[..length]);
                if length < bytes.len() {
                    bytes.drain(..length);
                    self.reads.push_front(Give::Bytes(bytes));
                }
                Ok(length)
            }
        }
    }

    /// What one write does.
    pub(crate) fn take_write(&mut self, parts: [&[u8]; 3]) -> Result<usize, ErrorKind> {
        let bytes = parts.concat();
        let left = self.breaks_after - self.written;
        let length = bytes.len().min(self.takes).min(left);
        let mut seen = self.seen.borrow_mut();
        seen.writes += 1;
        if length == 0 {
            return Err(ErrorKind::BrokenPipe);
        }
        self.written += length;
        seen.written[self.number].extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    pub(crate) fn then_reset(&mut self) {
        self.reads.push_back(Give::Reset);
    }
}

/// A connector that hands out the connections of a script, and then gives up.
pub(crate) struct Script {
    connections: VecDeque<Connection>,
    pub(crate) seen: Rc<RefCell<Seen>>,
    pub(crate) is_stopping: Rc<Cell<bool>>,
    /// Whether the next connection is ready, for loops that await.
    pub(crate) is_ready: bool,
}

impl Script {
    /// A script with a list of replies for each connection; each reply is one read.
    pub(crate) fn new(connections: &[&[&[u8]]]) -> Self {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let connections = connections
            .iter()
            .enumerate()
            .map(|(number, answers)| Connection {
                reads: answers.iter().map(|bytes| Give::Bytes(bytes.to_vec())).collect(),
                takes: usize::MAX,
                breaks_after: usize::MAX,
                is_ready: false,
                written: 0,
                seen: seen.clone(),
                number,
            })
            .collect();
        Self { connections, seen, is_stopping: Rc::default(), is_ready: false }
    }

    pub(crate) fn connection(&mut self, number: usize) -> &mut Connection {
        &mut self.connections[number]
    }

    pub(crate) fn driver(self) -> Driver<Self, Memory> {
        self.driver_with(Machine::new(endpoint()))
    }

    pub(crate) fn driver_of_several(self) -> Driver<Self, Memory> {
        self.driver_with(Machine::with_concurrency(endpoint(), Concurrency::Multi))
    }

    fn driver_with(self, machine: Machine) -> Driver<Self, Memory> {
        Driver::new(machine, self, Memory::new(64, 8 << 20), Memory::new(64, 8 << 20))
    }

    pub(crate) fn take_connection(&mut self, losses: u32) -> Result<Connection, &'static str> {
        let connection = self.connections.pop_front().ok_or("the script is over")?;
        let mut seen = self.seen.borrow_mut();
        seen.losses.push(losses);
        seen.written.push(Vec::new());
        Ok(connection)
    }

    pub(crate) fn note(&self, warning: &Warning<'_>) {
        self.seen.borrow_mut().warnings.push(warning.to_string());
    }
}

/// Memory that grows and records the largest size that was asked for.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    most: usize,
    pub(crate) largest_wish: Rc<RefCell<usize>>,
}

impl Memory {
    pub(crate) fn new(first: usize, most: usize) -> Self {
        Self { bytes: vec![0; first], most, largest_wish: Rc::default() }
    }
}

impl Storage for Memory {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn grow(&mut self, length: usize) {
        let mut largest = self.largest_wish.borrow_mut();
        *largest = (*largest).max(length);
        let length = length.min(self.most).max(self.bytes.len());
        self.bytes.resize(length, 0);
    }
}

pub(crate) fn endpoint() -> Endpoint {
    Endpoint::parse("127.0.0.1:9001").unwrap()
}

pub(crate) const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

pub(crate) fn event(id: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {id}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub(crate) fn chunked_event(id: &str, body: &[u8], chunk: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {id}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    for piece in body.chunks(chunk) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

pub(crate) fn refusal(status: u16, error_type: &str) -> Vec<u8> {
    let body = format!("{{\"errorMessage\":\"no\",\"errorType\":\"{error_type}\"}}\n");
    format!("HTTP/1.1 {status} No\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
