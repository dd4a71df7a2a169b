//! A service on loopback that the test plays.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Longer than anything in these tests takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Service {
    address: String,
    connections: Receiver<TcpStream>,
}

/// A connection to the service.
pub(crate) struct Peer {
    stream: TcpStream,
}

impl Service {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (accepted, connections) = channel();
        // The thread ends with the process at the latest.
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if accepted.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { address, connections }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    #[track_caller]
    pub(crate) fn accept(&self) -> Peer {
        let stream = self.connections.recv_timeout(PATIENCE).expect("nobody connects");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream }
    }

    /// Accepts a connection, takes one request, sends this reply, and closes.
    #[track_caller]
    pub(crate) fn answer(&self, reply: &[u8]) -> String {
        let mut peer = self.accept();
        let request = peer.request();
        peer.reply(reply);
        request
    }

    /// Whether a client has connected since the last connection was accepted.
    pub(crate) fn has_connections(&self) -> bool {
        self.connections.try_recv().is_ok()
    }
}

impl Peer {
    /// The next request, with its body.
    #[track_caller]
    pub(crate) fn request(&mut self) -> String {
        let mut request = Vec::new();
        while !is_complete(&request) {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("the request has no end");
            request.push(byte[0]);
        }
        String::from_utf8(request).unwrap()
    }

    /// Sends a reply; the client may be gone already.
    pub(crate) fn reply(&mut self, reply: &[u8]) {
        let _may_be_gone = self.stream.write_all(reply);
    }

    /// Waits until the other side has closed.
    #[track_caller]
    pub(crate) fn is_closed(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the connection stays open");
        assert_eq!(rest, b"");
    }

    /// Whether the connection is open and nothing has arrived.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let result = self.stream.read(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// A reply with more fields, each with its line end, and a document.
pub(crate) fn reply(status: u16, fields: &str, document: &str) -> Vec<u8> {
    let length = document.len();
    format!("HTTP/1.1 {status} x\r\n{fields}Content-Length: {length}\r\n\r\n{document}")
        .into_bytes()
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}
