//! An extension with telemetry, and the service that it talks to, which the test plays. A test of
//! each transport includes the files of this folder, and says in `transport` how it runs one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_proto_service::{Connection, Gate, PATIENCE, Service};

use crate::transport::{
    self, Endpoint, EnvironmentEvent, Error, Extension, Failure, Telemetry, TelemetryOptions,
    TelemetryTypes,
};

pub(crate) const ALL: TelemetryTypes =
    TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION).and(TelemetryTypes::EXTENSION);

/// Longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// A port that no other test uses, and that systems do not assign to a socket that asks for any.
pub(crate) fn port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(4).wrapping_add(CALLS.fetch_add(1, Relaxed));
    20_000 + (number % 12_000) as u16
}

pub(crate) fn options() -> TelemetryOptions {
    TelemetryOptions::new(ALL)
}

/// An extension that runs on a thread of its own and tells what its handlers see.
pub(crate) struct Run {
    pub(crate) service: Service,
    pub(crate) api: Connection,
    /// Where the extension listens.
    pub(crate) listener: SocketAddr,
    seen: Receiver<String>,
    thread: JoinHandle<Result<(), Error>>,
}

/// What a telemetry handler does with the text of what it is given: it waits for the gate, if there
/// is one.
pub(crate) type Handle = Box<dyn FnMut(&str) -> Result<Option<Gate>, Failure> + Send>;

pub(crate) fn takes_all() -> Handle {
    Box::new(|_| Ok(None))
}

pub(crate) fn external(service: &Service) -> Extension {
    let lines = service.lines().clone();
    Extension::new(Endpoint::parse(&service.address()).unwrap(), "audit")
        .log(move |line| lines.push(line.to_string()))
}

/// The text of what a handler is given: the raw record, or the reason.
pub(crate) fn text(telemetry: &Telemetry<'_>) -> String {
    match telemetry {
        Telemetry::Record(record) => record.raw().to_owned(),
        Telemetry::Unread(unread) => unread.to_string(),
        Telemetry::Flush(reason) => format!("flush {reason:?}"),
        _ => unreachable!("there are no others"),
    }
}

impl Run {
    /// An extension that is registered, has subscribed, and asks for its first event.
    pub(crate) fn start(options: TelemetryOptions, handle: Handle) -> Self {
        Self::with(external, options, handle)
    }

    pub(crate) fn with(
        extension: impl FnOnce(&Service) -> Extension,
        options: TelemetryOptions,
        handle: Handle,
    ) -> Self {
        let service = Service::start();
        let extension = extension(&service);
        let mut this = Self::begin(service, extension, options, handle);
        this.subscribes();
        this.api.answer(200, "", "\"OK\"");
        this
    }

    /// An extension that is registered and subscribes.
    pub(crate) fn begin(
        service: Service,
        extension: Extension,
        options: TelemetryOptions,
        mut handle: Handle,
    ) -> Self {
        let (tell, seen) = channel();
        let tell_event = tell.clone();
        let on_telemetry = move |telemetry: Telemetry<'_>| {
            let text = text(&telemetry);
            let result = handle(&text);
            let _the_test_may_have_ended = tell.send(text);
            result
        };
        let on_event = move |event: EnvironmentEvent<'_>| {
            let text = match event {
                EnvironmentEvent::Invoke(invoke) => format!("INVOKE {}", invoke.request_id),
                EnvironmentEvent::Shutdown(_) => "SHUTDOWN".to_owned(),
                _ => unreachable!("the tests send no others"),
            };
            let _the_test_may_have_ended = tell_event.send(text);
            Ok(())
        };
        let thread =
            thread::spawn(move || transport::run(extension, options, on_telemetry, on_event));
        let api = registers(&service);
        Self { service, api, listener: ([127, 0, 0, 1], 0).into(), seen, thread }
    }

    /// Takes the subscription, whose reply is up to the test; returns its document.
    pub(crate) fn subscribes(&mut self) -> serde_json::Value {
        let request = self.api.request();
        assert_eq!((&*request.method, &*request.path), ("PUT", "/2022-07-01/telemetry"));
        assert_eq!(request.header("Lambda-Extension-Identifier"), Some("c7d2"));
        let document = request.json();
        let uri = document["destination"]["URI"].as_str().unwrap();
        let port = uri.strip_prefix("http://sandbox.localdomain:").unwrap();
        self.listener.set_port(port.parse().unwrap());
        document
    }

    /// Sends an INVOKE with this time until its deadline.
    pub(crate) fn invoke(&mut self, id: &str, timeout: Duration) {
        let deadline = in_(timeout);
        self.give(&format!(
            r#"{{"eventType":"INVOKE","deadlineMs":{deadline},"requestId":"{id}"}}"#
        ));
        self.expect(&format!("INVOKE {id}"));
    }

    /// Sends the SHUTDOWN with this time until its deadline.
    pub(crate) fn shut_down(&mut self, timeout: Duration) {
        self.shut_down_unheard(timeout);
        self.expect("SHUTDOWN");
    }

    /// The same, without looking at what the handlers see.
    pub(crate) fn shut_down_unheard(&mut self, timeout: Duration) {
        let deadline = in_(timeout);
        self.give(&format!(
            r#"{{"eventType":"SHUTDOWN","deadlineMs":{deadline},"shutdownReason":"spindown"}}"#
        ));
    }

    /// Sends an event, once it is asked for.
    pub(crate) fn give(&mut self, event: &str) {
        self.api.expect_extension_next();
        self.api.answer(200, "Lambda-Extension-Event-Identifier: e824\r\n", event);
    }

    #[track_caller]
    pub(crate) fn expect(&self, text: &str) {
        assert_eq!(self.received(), text);
    }

    /// What a handler was called with next.
    #[track_caller]
    pub(crate) fn received(&self) -> String {
        self.seen.recv_timeout(PATIENCE).expect("a call of a handler")
    }

    #[track_caller]
    pub(crate) fn expect_all(&self, texts: &[String]) {
        texts.iter().for_each(|text| self.expect(text));
    }

    pub(crate) fn end(self) -> Result<(), Error> {
        self.thread.join().expect("it does not panic")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.listener)
    }

    /// Posts a batch on a connection of its own; returns the status.
    pub(crate) fn post(&self, records: &[String]) -> u16 {
        self.client().post(records)
    }
}

/// Takes the registration; returns its connection.
pub(crate) fn registers(service: &Service) -> Connection {
    let mut connection = service.connection();
    let request = connection.request();
    assert_eq!(&*request.path, "/2020-01-01/extension/register");
    connection.answer(200, "Lambda-Extension-Identifier: c7d2\r\n", "{}");
    connection
}

/// The time of the wall clock after this one, in milliseconds.
pub(crate) fn in_(time: Duration) -> u128 {
    (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time).as_millis()
}

/// A client of the listener.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(crate) fn post(&mut self, records: &[String]) -> u16 {
        self.send(&request(records));
        self.status()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The status of the next reply; 0 if the connection ends without one.
    pub(crate) fn status(&mut self) -> u16 {
        let head = self.head();
        if head.is_empty() { 0 } else { head[9..12].parse().unwrap() }
    }

    fn head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("no reply: {error}"),
            }
        }
        String::from_utf8(head).unwrap()
    }
}

pub(crate) fn request(records: &[String]) -> Vec<u8> {
    let body = format!("[{}]", records.join(","));
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

pub(crate) fn function(text: &str) -> String {
    format!(r#"{{"type":"function","record":"{text}"}}"#)
}

pub(crate) fn runtime_done(id: &str) -> String {
    format!(r#"{{"type":"platform.runtimeDone","record":{{"requestId":"{id}"}}}}"#)
}

pub(crate) fn report(id: &str) -> String {
    format!(r#"{{"type":"platform.report","record":{{"requestId":"{id}"}}}}"#)
}
