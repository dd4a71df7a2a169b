//! Listens for telemetry as extensions do, and keeps what is delivered.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::Bytes;
use crate::service::connection::{Connection, Request};
use crate::service::events::{Event, Found, event, find, list, take, told, type_of};
use crate::service::known::Known;
use crate::service::pattern::{Differences, Headers, Words, compare_headers};
use crate::service::ports::Port;

/// How an extension listens for telemetry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    protocol: Protocol,
    /// The path of each HTTP request; `None` for any.
    #[serde(default)]
    path: Option<String>,
    /// The headers of each HTTP request.
    #[serde(default)]
    headers: Headers,
    /// What the first HTTP requests get instead of 200: these bytes, and the end of the connection.
    /// Events that come with such a request have not been delivered.
    #[serde(default)]
    replies: Vec<Bytes>,
}

/// How telemetry is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Protocol {
    /// Requests whose body is a list of events.
    Http,
    /// An event in each line.
    Tcp,
}

/// A listener of an extension, on loopback.
pub(super) struct Listener {
    port: Arc<Port>,
    shared: Arc<Shared>,
    /// `None` once it is being ended.
    accepts: Option<JoinHandle<()>>,
}

struct Shared {
    listen: Listen,
    /// For the values in [`Listen`].
    known: Known,
    words: Words,
    arrived: Mutex<Arrived>,
    has_grown: Condvar,
}

#[derive(Default)]
struct Arrived {
    /// Events that no step has expected so far.
    events: Vec<Value>,
    /// How many requests or lines have arrived.
    deliveries: usize,
    /// What was wrong with the first request or event that is invalid.
    fault: Option<String>,
    /// What the next requests get instead of 200.
    replies: VecDeque<Vec<u8>>,
    connections: Vec<TcpStream>,
    is_closed: bool,
}

impl Arrived {
    /// Keeps the first fault.
    fn note(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }
}

impl Listener {
    /// Listens on this port.
    ///
    /// # Errors
    ///
    /// The reason as text.
    pub(super) fn open(
        port: Arc<Port>,
        listen: &Listen,
        known: Known,
        words: Words,
    ) -> Result<Self, String> {
        let address = port.address();
        let listener = bind(address).map_err(|error| format!("{address}: {error}"))?;
        let replies = listen.replies.iter().map(|bytes| known.fill_in(bytes.as_slice()));
        let replies = replies.collect::<Result<_, _>>()?;
        let arrived = Mutex::new(Arrived { replies, ..Arrived::default() });
        let has_grown = Condvar::new();
        let shared = Arc::new(Shared { listen: listen.clone(), known, words, arrived, has_grown });
        let serving = Arc::clone(&shared);
        let accepts = Some(thread::spawn(move || serving.serve(&listener)));
        Ok(Self { port, shared, accepts })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Whether nothing arrives for this time.
    pub(super) fn is_silent(&self, time: Duration) -> bool {
        let arrived = self.shared.lock();
        let before = arrived.deliveries;
        let is_silent = |it: &mut Arrived| it.deliveries == before;
        let waited = self.shared.has_grown.wait_timeout_while(arrived, time, is_silent);
        waited.unwrap_or_else(|poisoned| poisoned.into_inner()).1.timed_out()
    }

    /// Waits until these events have arrived in this order, and forgets them. Others may come
    /// between them, but none of the types `without`.
    ///
    /// # Errors
    ///
    /// What was expected, and what came.
    pub(super) fn delivered(
        &self,
        expected: &[Event],
        without: &[String],
        known: &Known,
        until: Instant,
    ) -> Result<(), (String, String)> {
        let mut arrived = self.shared.lock();
        loop {
            let words = self.shared.words;
            let found = find(&arrived.events, expected, known, words)
                .map_err(|reason| (format!("a valid vector: {reason}"), String::new()))?;
            let left = until.saturating_duration_since(Instant::now());
            match (found, arrived.fault.clone()) {
                (Found::All(positions), None) => {
                    return take(&mut arrived.events, positions, without);
                }
                (Found::Differs(index, came), None) => return Err((told(&expected[index]), came)),
                (_, Some(fault)) => return Err(("valid telemetry".into(), fault)),
                (Found::Waiting(index), None) if left.is_zero() => {
                    let types: Vec<_> = arrived.events.iter().map(type_of).collect();
                    return Err((
                        told(&expected[index]),
                        format!("no such event in time, but [{}]", types.join(", ")),
                    ));
                }
                (Found::Waiting(_), None) => {}
            }
            let waited = self.shared.has_grown.wait_timeout(arrived, left);
            arrived = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let mut arrived = self.lock();
            if arrived.is_closed {
                return;
            }
            arrived.connections.extend(stream.try_clone());
            drop(arrived);
            let this = Arc::clone(self);
            thread::spawn(move || match this.listen.protocol {
                Protocol::Http => this.requests(stream),
                Protocol::Tcp => this.lines(stream),
            });
        }
    }

    fn requests(&self, stream: TcpStream) {
        let Ok(mut replies) = stream.try_clone() else { return };
        let mut connection = Connection::accepted(stream);
        while let Ok(request) = connection.request(Instant::now() + LONG) {
            let mut arrived = self.lock();
            arrived.deliveries += 1;
            let reply = arrived.replies.pop_front();
            let taken = self.check(&request).and_then(|()| list(&request.body));
            match (taken, &reply) {
                (Err(fault), _) => arrived.note(fault),
                (Ok(events), None) => arrived.events.extend(events),
                (Ok(_), Some(_)) => {}
            }
            drop(arrived);
            self.has_grown.notify_all();
            let acknowledgement = &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..];
            let written = replies.write_all(reply.as_deref().unwrap_or(acknowledgement));
            if reply.is_some() || written.is_err() {
                break;
            }
        }
        // There is another handle.
        let _may_have_ended = replies.shutdown(Shutdown::Both);
    }

    fn check(&self, request: &Request) -> Result<(), String> {
        let Request { method, path, .. } = request;
        let is_path = self.listen.path.as_ref().is_none_or(|expected| expected == path);
        if method != "POST" || !is_path {
            return Err(format!("the request {method} {path}"));
        }
        match request.header("content-type").as_deref() {
            Some(b"application/json") => {}
            other => {
                let other = other.map_or("none".into(), String::from_utf8_lossy);
                return Err(format!("a request whose content type is {other}"));
            }
        }
        let mut differ = Differences::default();
        let header = |name: &str| request.header(name);
        compare_headers(&self.listen.headers, header, &self.known, self.words, &mut differ)?;
        differ.joined().map_err(|(_, came)| format!("a request with {came}"))
    }

    fn lines(&self, stream: TcpStream) {
        let handle = stream.try_clone();
        let mut connection = Connection::accepted(stream);
        while let Ok(Some(line)) = connection.text_line(Instant::now() + LONG) {
            let mut arrived = self.lock();
            arrived.deliveries += 1;
            match event(&line) {
                Err(fault) => arrived.note(fault),
                Ok(event) => arrived.events.push(event),
            }
            drop(arrived);
            self.has_grown.notify_all();
        }
        let _may_have_ended = handle.map(|handle| handle.shutdown(Shutdown::Both));
    }
}

/// Longer than any vector takes.
const LONG: Duration = Duration::from_secs(3_600);

/// Listens at an address where nothing else does, but may have a moment ago: a process that was started
/// then has a copy of that listener, until it executes its program.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error)
                if error.kind() == ErrorKind::AddrInUse
                    && began.elapsed() < Duration::from_secs(5) =>
            {
                thread::sleep(Duration::from_millis(1));
            }
            bound => return bound,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut arrived = self.shared.lock();
        arrived.is_closed = true;
        for connection in &arrived.connections {
            let _may_have_ended = connection.shutdown(Shutdown::Both);
        }
        drop(arrived);
        // Wakes the thread that accepts, with which the port closes.
        if TcpStream::connect(self.address()).is_ok()
            && let Some(accepts) = self.accepts.take()
        {
            let _never_panics = accepts.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn open(listen: &str) -> Listener {
        let listen = serde_json::from_str(listen).unwrap();
        Listener::open(Arc::new(Port::claim().unwrap()), &listen, Known::default(), Words::Own)
            .unwrap()
    }

    fn event(kind: &str, record: &str) -> String {
        format!(r#"{{"time":"2026-11-30T04:05:06.789Z","type":"{kind}","record":{record}}}"#)
    }

    /// Sends bytes, and returns the reply: as much as comes before the end of the connection.
    fn send(listener: &Listener, bytes: &str) -> String {
        let mut stream = TcpStream::connect(listener.address()).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn post(listener: &Listener, events: &[String]) -> String {
        let body = format!("[{}]", events.join(","));
        let (head, length) = ("Content-Type: application/json", body.len());
        let request =
            format!("POST /p HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        send(listener, &request)
    }

    fn expect(
        listener: &Listener,
        events: &str,
        without: &[&str],
        patience: Duration,
    ) -> Result<(), String> {
        let events: Vec<Event> = serde_json::from_str(events).unwrap();
        let without: Vec<_> = without.iter().map(ToString::to_string).collect();
        let until = Instant::now() + patience;
        let delivered = listener.delivered(&events, &without, &Known::default(), until);
        delivered.map_err(|(expected, came)| format!("{expected} | {came}"))
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn events_come_in_order_over_all_requests_and_each_is_expected_once() {
        let listener = open(r#"{"protocol": "HTTP", "path": "/p"}"#);
        let reply = post(&listener, &[event("b", "1"), event("a", r#""x""#)]);
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
        post(&listener, &[event("c", "{}"), event("a", "2")]);
        let at_once = Duration::ZERO;
        let expect = |events, without| expect(&listener, events, without, at_once);
        expect(r#"[{"type": "a", "record": "x"}, {"type": "c", "record": {}}]"#, &["d"]).unwrap();
        // The event between those of the first step is still there, the others are not.
        expect(r#"[{"type": "b", "record": 1}]"#, &[]).unwrap();
        let error = expect(r#"[{"type": "a", "record": 3}]"#, &[]).unwrap_err();
        assert_eq!(error, r#"a 3 | a "<number>""#);
        let error = expect(r#"[{"type": "b", "record": 1}]"#, &[]).unwrap_err();
        assert_eq!(error, "b 1 | no such event in time, but [a]");
        expect(r#"[{"type": "a", "record": 2}]"#, &[]).unwrap();
    }

    #[test]
    fn an_unwanted_event_before_an_expected_one_is_told() {
        let listener = open(r#"{"protocol": "HTTP"}"#);
        post(&listener, &[event("a", "1"), event("b", "2"), event("a", "3")]);
        let expected = r#"[{"type": "b", "record": 2}]"#;
        let error = expect(&listener, expected, &["a"], PATIENCE).unwrap_err();
        assert_eq!(error, r#"no event of the types a | a "<number>""#);
        let error = expect(&listener, expected, &["*"], PATIENCE).unwrap_err();
        assert_eq!(error, r#"no event of the types * | a "<number>""#);
        expect(&listener, expected, &["c"], PATIENCE).unwrap();
        // What follows the last one is not looked at.
        expect(&listener, r#"[{"type": "a", "record": 1}]"#, &["*"], PATIENCE).unwrap();
    }

    #[test]
    fn events_of_a_request_that_gets_another_reply_have_not_been_delivered() {
        let listener = open(r#"{"protocol": "HTTP", "replies": ["HTTP/1.1 500 No\r\n\r\n", ""]}"#);
        let events = [event("a", "1")];
        assert_eq!(post(&listener, &events), "HTTP/1.1 500 No\r\n\r\n");
        assert_eq!(post(&listener, &events), "");
        let expected = r#"[{"type": "a", "record": 1}]"#;
        let error = expect(&listener, expected, &[], Duration::ZERO).unwrap_err();
        assert!(error.ends_with("but []"), "{error}");
        assert!(post(&listener, &events).starts_with("HTTP/1.1 200 "));
        expect(&listener, expected, &[], PATIENCE).unwrap();
    }

    #[test]
    fn invalid_telemetry_is_told() {
        let json = "X-A: 1\r\nContent-Type: application/json\r\n";
        let request = |line: &str, headers: &str, body: &str| {
            let length = body.len();
            format!("{line} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        };
        let whole = format!("[{}]", event("a", "1"));
        let other_time = whole.replace(".789Z", ":789Z");
        let without_record = r#"[{"time":"2026-11-30T04:05:06.789Z","type":"a"}]"#;
        for (request, fault) in [
            (request("PUT /p", json, &whole), "the request PUT /p"),
            (request("POST /q", json, &whole), "the request POST /q"),
            (request("POST /p", "", &whole), "content type is none"),
            (request("POST /p", "Content-Type: text/plain\r\n", &whole), "is text/plain"),
            (request("POST /p", json, "{}"), "body is not a list"),
            (request("POST /p", json, &other_time), "04:05:06:789Z"),
            (request("POST /p", json, without_record), "without exactly time, type and record"),
            (request("POST /p", &json.replace("A: 1", "A: 2"), &whole), "X-A: \"2\""),
        ] {
            let listener = open(r#"{"protocol": "HTTP", "path": "/p", "headers": {"X-A": "1"}}"#);
            send(&listener, &request);
            let expected = r#"[{"type": "a", "record": 1}]"#;
            let error = expect(&listener, expected, &[], PATIENCE).unwrap_err();
            assert!(error.contains(fault), "{request}: {error}");
        }
    }

    #[test]
    fn over_tcp_each_line_is_an_event() {
        let listener = open(r#"{"protocol": "TCP"}"#);
        send(&listener, &format!("{}\n{}\n", event("a", "1"), event("b", "2")));
        let expected = r#"[{"type": "a", "record": 1}, {"type": "b", "record": 2}]"#;
        expect(&listener, expected, &[], PATIENCE).unwrap();
        send(&listener, "nonsense\n");
        let error = expect(&listener, expected, &[], PATIENCE).unwrap_err();
        assert!(error.contains("a line that is not JSON"), "{error}");
    }

    #[test]
    fn a_listener_that_is_closed_refuses_connections_and_may_listen_again() {
        let listener = open(r#"{"protocol": "TCP"}"#);
        let (port, address) = (Arc::clone(&listener.port), listener.address());
        let connection = TcpStream::connect(address).unwrap();
        drop(listener);
        assert!(TcpStream::connect(address).is_err());
        assert_eq!((&connection).read(&mut [0]).unwrap_or_default(), 0);
        let listen = serde_json::from_str(r#"{"protocol": "TCP"}"#).unwrap();
        let again = Listener::open(port, &listen, Known::default(), Words::Own).unwrap();
        assert!(again.is_silent(Duration::from_millis(20)));
        send(&again, &format!("{}\n", event("a", "1")));
        expect(&again, r#"[{"type": "a", "record": 1}]"#, &[], PATIENCE).unwrap();
    }
}
