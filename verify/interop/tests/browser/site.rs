//! A web site with one page, to which the page reports what it has seen.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

pub(crate) struct Site {
    listener: TcpListener,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").expect("a free port") }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("it listens").port()
    }

    /// Serves this page until the program ends.
    pub(crate) fn show(self, page: String) -> Report {
        let (tell, said) = channel();
        thread::spawn(move || {
            for stream in self.listener.incoming().flatten() {
                let (page, tell) = (page.clone(), tell.clone());
                thread::spawn(move || serve(&stream, &page, &tell));
            }
        });
        Report(said)
    }
}

pub(crate) struct Report(Receiver<String>);

impl Report {
    /// The lines of the report, once it is there.
    pub(crate) fn lines(&self, patience: Duration) -> Option<Vec<String>> {
        let report = self.0.recv_timeout(patience).ok()?;
        Some(report.lines().map(str::to_owned).collect())
    }
}

/// Serves one request: the page for GET, and a report for POST.
fn serve(stream: &TcpStream, page: &str, tell: &Sender<String>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or_default() == 0 {
            return;
        }
    }
    let body = if head.starts_with("POST ") {
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
        });
        let mut report = vec![0; length.unwrap_or_default()];
        if reader.read_exact(&mut report).is_ok() {
            // Fails if the test is over.
            let _ = tell.send(String::from_utf8_lossy(&report).into_owned());
        }
        ""
    } else if head.starts_with("GET / ") {
        page
    } else {
        ""
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n";
    let length = body.len();
    let reply = format!("{head}Content-Length: {length}\r\n\r\n{body}");
    let mut stream = stream;
    let _ = stream.write_all(reply.as_bytes());
}
