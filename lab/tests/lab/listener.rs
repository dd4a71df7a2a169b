//! Listeners for telemetry, and a function and an extension that a test plays by hand.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use lambda_lab::Function;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use serde_json::Value;
use tempfile::TempDir;

use crate::external::{ID, Played};
use crate::support::{Connection, Response, script, wait_until};

pub(crate) const TELEMETRY: &str = "PUT /2022-07-01/telemetry";
pub(crate) const LOGS: &str = "PUT /2020-08-15/logs";

/// A port that refuses connections until somebody listens on it. It is never given back in between.
pub(crate) struct Reserved(OwnedFd);

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).unwrap();
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        Self(socket)
    }

    pub(crate) fn port(&self) -> u16 {
        SocketAddr::try_from(getsockname(&self.0).unwrap()).unwrap().port()
    }

    pub(crate) fn listen(self) -> TcpListener {
        listen(&self.0, 128).unwrap();
        TcpListener::from(self.0)
    }
}

/// What a listener does with a delivery.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// 200: the records count.
    Take,
    /// These bytes, and the connection stays open.
    Bytes(Vec<u8>),
    /// These bytes, after which the connection is closed.
    BytesAndClose(Vec<u8>),
    /// These bytes again and again, until the peer closes the connection.
    Endless(Vec<u8>, Vec<u8>),
    /// Nothing.
    Silence,
}

/// A delivery as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// When all of it had been read.
    pub(crate) at: Instant,
}

/// What has become of the records for a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// The records that were taken, without those that count losses.
    pub(crate) records: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    pub(crate) dropped_records: u64,
    pub(crate) dropped_bytes: u64,
}

/// An HTTP server on a port of its own.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    deliveries: Vec<Delivery>,
    /// The records of the deliveries that were taken.
    records: Vec<Value>,
    taken: HashSet<Vec<u8>>,
    account: Account,
    connections: usize,
}

impl Seen {
    /// A reply may come too late, and the delivery again; its times tell it from another one.
    fn take(&mut self, body: &[u8], records: Vec<Value>) {
        if self.taken.insert(body.to_vec()) {
            self.account.add(body.len(), &records);
            self.records.extend(records);
        }
    }
}

impl Account {
    /// Adds a batch of this length.
    fn add(&mut self, length: usize, records: &[Value]) {
        // Without the brackets and commas of the array.
        let mut bytes = (length - records.len() - 1) as u64;
        for record in records {
            if record["type"] == "platform.logsDropped" {
                let count = |name: &str| record["record"][name].as_u64().unwrap();
                self.dropped_records += count("droppedRecords");
                self.dropped_bytes += count("droppedBytes");
                // It has only texts and integers, which have one notation.
                bytes -= record.to_string().len() as u64;
            } else {
                self.records += 1;
            }
        }
        self.bytes += bytes;
    }

    /// The number of the records that were taken or dropped, and their bytes.
    pub(crate) fn total(&self) -> (u64, u64) {
        (self.records + self.dropped_records, self.bytes + self.dropped_bytes)
    }
}

impl Listener {
    pub(crate) fn start() -> Self {
        Self::with(|_| Reply::Take)
    }

    /// A listener that replies to its n-th delivery, from 0 on, like this.
    pub(crate) fn with(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), reply)
    }

    pub(crate) fn on(
        listener: TcpListener,
        reply: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (seen, reply) = (Arc::<Mutex<Seen>>::default(), Arc::new(reply));
        let this = Self { port, seen };
        let server = this.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                server.seen.lock().unwrap().connections += 1;
                let (server, reply) = (server.clone(), Arc::clone(&reply));
                thread::spawn(move || server.serve(&stream, &*reply));
            }
        });
        this
    }

    fn serve(&self, stream: &TcpStream, reply: &dyn Fn(usize) -> Reply) {
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        while let Some(delivery) = read(&mut reader) {
            let number = {
                let mut seen = self.seen.lock().unwrap();
                seen.deliveries.push(delivery.clone());
                seen.deliveries.len() - 1
            };
            match reply(number) {
                Reply::Take => {
                    let Value::Array(records) = serde_json::from_slice(&delivery.body).unwrap()
                    else {
                        panic!("not an array: {delivery:?}");
                    };
                    self.seen.lock().unwrap().take(&delivery.body, records);
                    let _ = writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
                }
                Reply::Bytes(bytes) => drop(writer.write_all(&bytes)),
                Reply::BytesAndClose(bytes) => {
                    let _ = writer.write_all(&bytes);
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    return;
                }
                Reply::Endless(first, again) => {
                    let _ = writer.write_all(&first);
                    while writer.write_all(&again).is_ok() {}
                    return;
                }
                Reply::Silence => {}
            }
        }
    }

    /// All records that were taken.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.seen.lock().unwrap().records.clone()
    }

    /// How many lines of a flood were delivered, and how many records were dropped. Each line is
    /// `line`, its number and more, and they have to be in order.
    #[track_caller]
    pub(crate) fn lines_of_flood(&self) -> (u64, u64) {
        let (mut delivered, mut dropped, mut last) = (0, 0, None);
        for record in self.records() {
            match record["type"].as_str() {
                Some("function") => {
                    let text = record["record"].as_str().unwrap();
                    // Others come before.
                    let Some(line) = text.strip_prefix("line ") else { continue };
                    let number: usize = line.split(' ').next().unwrap().parse().unwrap();
                    assert!(last < Some(number), "in order");
                    last = Some(number);
                    delivered += 1;
                }
                Some("platform.logsDropped") => {
                    dropped += record["record"]["droppedRecords"].as_u64().unwrap();
                }
                _ => {}
            }
        }
        (delivered, dropped)
    }

    /// What has become of the records so far.
    pub(crate) fn account(&self) -> Account {
        self.seen.lock().unwrap().account
    }

    /// All deliveries, also those that were refused.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.seen.lock().unwrap().deliveries.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Waits for a record of this type, and returns all records.
    #[track_caller]
    pub(crate) fn until(&self, event_type: &str) -> Vec<Value> {
        self.until_record(event_type, |record| record["type"] == event_type)
    }

    /// Waits for a line of the function or an extension.
    #[track_caller]
    pub(crate) fn until_line(&self, line: &str) -> Vec<Value> {
        self.until_record(line, |record| record["record"] == line)
    }

    #[track_caller]
    fn until_record(&self, what: &str, is_meant: impl Fn(&Value) -> bool) -> Vec<Value> {
        wait_until(&format!("{what} is delivered"), || self.records().iter().any(&is_meant));
        self.records()
    }
}

fn read(reader: &mut impl BufRead) -> Option<Delivery> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body).ok()?;
    Some(Delivery { head, body, at: Instant::now() })
}

/// An extension that subscribes to telemetry, and that the test plays.
pub(crate) struct Extension {
    api: String,
    pub(crate) played: Played,
}

impl Extension {
    #[track_caller]
    pub(crate) fn register(api: &str, name: &str, events: &str) -> Self {
        Self { api: api.to_owned(), played: Played::register(api, name, events) }
    }

    /// Subscribes with this document, on a connection of its own.
    pub(crate) fn subscribe(&self, line: &str, document: &str) -> Response {
        Connection::open(&self.api).request(line, &[(ID, &self.played.id)], document)
    }

    /// Subscribes to everything, with little buffering.
    #[track_caller]
    pub(crate) fn listens(&self, schema: &str, listener: &Listener) {
        self.is_subscribed(TELEMETRY, &document(schema, listener.port, 25));
    }

    #[track_caller]
    pub(crate) fn is_subscribed(&self, line: &str, document: &str) {
        let response = self.subscribe(line, document);
        assert_eq!((response.status, response.text().as_str()), (200, "\"OK\""));
    }

    pub(crate) fn asks(&mut self) {
        self.played.ask();
    }

    #[track_caller]
    pub(crate) fn event(&mut self) -> Response {
        self.played.event()
    }
}

/// A subscription to everything over HTTP.
pub(crate) fn document(schema: &str, port: u16, millis: u32) -> String {
    format!(
        "{{\"schemaVersion\":\"{schema}\",\"types\":[\"platform\",\"function\",\"extension\"],\
         \"buffering\":{{\"timeoutMs\":{millis}}},\
         \"destination\":{{\"protocol\":\"HTTP\",\"URI\":\"http://sandbox.localdomain:{port}/t\"}}}}"
    )
}

/// A function that writes to its output what the test writes, and whose runtime the test plays.
pub(crate) struct Mouth {
    folder: TempDir,
}

impl Mouth {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let made = Command::new("mkfifo").arg(folder.path().join("mouth")).status().unwrap();
        assert!(made.success());
        Self { folder }
    }

    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("mouth")
    }

    pub(crate) fn function(&self) -> Function {
        script(&format!("exec cat {}", self.file().display()))
    }

    /// Opens it, once the function runs.
    pub(crate) fn open(&self) -> File {
        OpenOptions::new().write(true).open(self.file()).unwrap()
    }
}

/// The records as text, with those values masked that differ from one time to the next. Times are
/// checked to be well-formed and in order.
#[track_caller]
pub(crate) fn masked(records: &[Value]) -> Vec<String> {
    let mut last = String::new();
    let text = |record: &Value| {
        let time = record["time"].as_str().expect("a time").to_owned();
        assert_is_time(&time);
        assert!(time >= last, "{time} after {last}");
        last = time;
        let mut masked = record["record"].clone();
        mask(&mut masked);
        format!("{} {masked}", record["type"].as_str().expect("a type"))
    };
    records.iter().map(text).collect()
}

#[track_caller]
pub(crate) fn assert_is_time(time: &str) {
    let form: String = time.chars().map(|it| if it.is_ascii_digit() { '0' } else { it }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000Z");
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), &member) {
                    (name, Value::Number(_)) if name.ends_with("urationMs") => *member = "#".into(),
                    ("maxMemoryUsedMB", Value::Number(_)) => *member = "#".into(),
                    ("requestId", Value::String(_)) => *member = "ID".into(),
                    ("start" | "timestamp", Value::String(time)) => {
                        assert_is_time(time);
                        *member = "TIME".into();
                    }
                    ("value", Value::String(trace)) if trace.starts_with("Root=") => {
                        *member = "TRACE".into();
                    }
                    _ => mask(member),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(mask),
        _ => {}
    }
}
