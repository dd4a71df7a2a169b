//! The recordings: the bytes on the wire, and the events that go with them.

use std::ops::Range;
use std::time::Duration;

use lambda_lab::{Event, MAX_PAYLOAD};

use crate::message::Message;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/captures");

/// One recording, and what its bytes do not contain: which event a caller posted when.
pub(crate) struct Recording {
    name: &'static str,
    pub(crate) connections: Vec<Vec<Turn>>,
    /// The function's timeout, if the recording is about it.
    pub(crate) timeout: Option<Duration>,
    /// An event that no runtime asked for.
    pub(crate) unasked: Option<&'static str>,
    /// The turn that began after the caller of the first event had its result.
    pub(crate) told_before: Option<usize>,
    /// An event that came while another one was in flight, before the last turn.
    pub(crate) at_once: Option<&'static str>,
    /// The service closed the connection at the end.
    pub(crate) hung_up: bool,
}

/// What a client sent without waiting, and the replies that it read before it sent more.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) writes: Vec<Write>,
    pub(crate) answers: Vec<Message>,
}

/// One write of a client.
pub(crate) struct Write {
    pub(crate) bytes: Vec<u8>,
    /// The requests that begin in it.
    pub(crate) requests: Vec<Request>,
}

pub(crate) struct Request {
    /// The name in a difference: `next`, or method and path.
    pub(crate) name: String,
    /// The position of the request id in the write.
    pub(crate) id: Option<Range<usize>>,
}

/// All bytes of each direction, and the lengths of sends (`true`) and receives in their order.
struct Wire {
    client: Vec<u8>,
    service: Vec<u8>,
    chunks: Vec<(bool, usize)>,
}

impl Recording {
    pub(crate) fn load(name: &'static str) -> Self {
        let answered = number_after(name, "07_response_");
        let echoed = number_after(name, "04_next_payload_").filter(|length| *length > 65_536);
        let wire = match (name, answered, echoed) {
            ("02c_pipelined_1mb_response_and_next", ..) => {
                Wire::answering(name, &[text(b'z', 1_048_576), b"\"2\"".to_vec()])
            }
            (_, Some(length), _) => Wire::answering(name, &[text(b'y', length)]),
            // The emulator truncates a longer event.
            (.., Some(length)) => Wire::echoing(&document(length)[..length.min(MAX_PAYLOAD)]),
            _ => Wire::read(name).expect("a recording"),
        };
        let mut connections = vec![wire.turns()];
        let mut told_before = (name == "15_timeout").then_some(1);
        if let Some(second) = Wire::read(&format!("{name}.conn2")) {
            // In 12b the second connection was opened together with the first.
            let mut turns = Vec::new();
            if name == "05_double_response" {
                turns.resize_with(connections[0].len(), Turn::default);
                told_before = Some(turns.len());
            }
            turns.extend(second.turns());
            connections.push(turns);
        }
        let is_crash = name.starts_with("18");
        Self {
            name,
            connections,
            timeout: (name == "15_timeout").then_some(Duration::from_secs(2)),
            unasked: (name == "10_init_error").then_some("{}"),
            told_before,
            at_once: is_crash.then_some("\"b\""),
            hung_up: is_crash || name == "12c_next_before_any_invoke",
        }
    }

    /// The event that a caller posted, given the body that the runtime got.
    pub(crate) fn posted(&self, body: &[u8]) -> Event {
        match self.name {
            "01_basic_keepalive" if body.starts_with(b"{") => Event::new(body)
                .tenant_id("tenant-1")
                .client_context(r#"{"client":{"app_title":"t"}}"#)
                .trace_id(
                    "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
                ),
            "04_next_payload_6291656" => Event::new(document(6_291_656)),
            _ => Event::new(body),
        }
    }

    pub(crate) fn turns(&self) -> usize {
        self.connections.iter().map(Vec::len).max().unwrap_or_default()
    }
}

impl Wire {
    fn read(name: &str) -> Option<Self> {
        let read = |kind: &str| std::fs::read(format!("{FOLDER}/{name}.{kind}")).ok();
        let chunks: Vec<(String, usize)> =
            serde_json::from_slice(&read("chunks.json")?).expect("JSON");
        Some(Self {
            // A side may have sent nothing, or may be left out for its length.
            client: read("c2s.bin").unwrap_or_default(),
            service: read("s2c.bin").unwrap_or_default(),
            chunks: chunks
                .into_iter()
                .map(|(direction, length)| (direction == ">", length))
                .collect(),
        })
    }

    /// A recording of which only the service's side is kept, completed with responses of these
    /// bodies.
    fn answering(name: &str, bodies: &[Vec<u8>]) -> Self {
        let mut wire = Self::read(name).expect("a recording");
        wire.client = requests(&wire.service, bodies);
        wire
    }

    /// The recording with 64 KiB, with an event of another size. The recordings of longer events
    /// differed only in that.
    fn echoing(body: &[u8]) -> Self {
        let mut wire = Self::read("04_next_payload_65536").expect("a recording");
        let accepted = wire.service.len() - wire.chunks[3].1;
        let head = wire.service.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let size = format!("{:x}\r\n", body.len());
        let event = [&wire.service[..head], size.as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
        wire.chunks[1].1 = event.len();
        wire.service = [&event, &wire.service[accepted..]].concat();
        wire.client = requests(&wire.service, &[body.to_vec()]);
        let next = wire.chunks[0].1;
        wire.chunks[2].1 = wire.client.len() - 2 * next;
        wire
    }

    fn turns(&self) -> Vec<Turn> {
        let requests = self.requests();
        let mut turns: Vec<Turn> = Vec::new();
        let (mut sent, mut received) = (0, 0);
        for (index, (is_sent, length)) in self.chunks.iter().enumerate() {
            if *is_sent {
                if index == 0 || !self.chunks[index - 1].0 {
                    turns.push(Turn::default());
                }
                let range = sent..sent + length;
                let begins_here = |(at, _): &&(usize, Message)| range.contains(at);
                let requests = requests.iter().filter(begins_here);
                let requests = requests.map(|(at, head)| Request::of(head, at - sent)).collect();
                let bytes = self.client[range.clone()].to_vec();
                turns.last_mut().expect("just begun").writes.push(Write { bytes, requests });
                sent += length;
            } else if self.chunks.get(index + 1).is_none_or(|(is_sent, _)| *is_sent) {
                let reads = self.chunks[..=index].iter().rev().take_while(|(is_sent, _)| !is_sent);
                let length = reads.map(|(_, length)| length).sum::<usize>();
                let answers = Message::parse_all(&self.service[received..received + length]);
                let turn = turns.last_mut().expect("clients speak first");
                turn.answers = answers.into_iter().map(|(answer, _)| answer).collect();
                received += length;
            }
        }
        assert_eq!((sent, received), (self.client.len(), self.service.len()), "all was sent");
        turns
    }

    /// The requests, each with its position.
    fn requests(&self) -> Vec<(usize, Message)> {
        let mut at = 0;
        let with_place = |(message, length)| {
            let place = at;
            at += length;
            (place, message)
        };
        Message::parse_all(&self.client).into_iter().map(with_place).collect()
    }
}

impl Request {
    fn of(head: &Message, at: usize) -> Self {
        let (method, path) = head.target();
        let (name, id) = match path.strip_prefix(INVOCATION).map(|rest| rest.split_once('/')) {
            Some(None) if method == "GET" => (path[INVOCATION.len()..].to_owned(), None),
            Some(Some((id, what))) if id.len() == ID_LENGTH => {
                let id_at = at + method.len() + 1 + INVOCATION.len();
                (what.to_owned(), Some(id_at..id_at + ID_LENGTH))
            }
            _ => (format!("{method} {path}"), None),
        };
        Self { name, id }
    }
}

const INVOCATION: &str = "/2018-06-01/runtime/invocation/";

/// The length of a UUID.
pub(crate) const ID_LENGTH: usize = 36;

pub(crate) const NEXT: &str =
    "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// A `next`, then for each event a response and another `next`.
fn requests(service: &[u8], bodies: &[Vec<u8>]) -> Vec<u8> {
    let answers = Message::parse_all(service);
    let ids = answers.iter().filter_map(|(answer, _)| answer.request_id());
    let mut bytes = NEXT.as_bytes().to_vec();
    for (id, body) in ids.zip(bodies) {
        let head = format!(
            "POST {INVOCATION}{id}/response HTTP/1.1\r\nHost: 127.0.0.1\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        bytes.extend([head.as_bytes(), body, NEXT.as_bytes()].concat());
    }
    bytes
}

/// A JSON string of this length.
fn text(filler: u8, length: usize) -> Vec<u8> {
    [b"\"", &vec![filler; length - 2][..], b"\""].concat()
}

/// A JSON object of this length.
fn document(length: usize) -> Vec<u8> {
    [b"{\"d\":", &text(b'x', length - 6)[..], b"}"].concat()
}

fn number_after(name: &str, prefix: &str) -> Option<usize> {
    name.strip_prefix(prefix)?.parse().ok()
}

/// The recordings in the folder; one with a second connection counts once.
pub(crate) fn kept() -> Vec<String> {
    let files = std::fs::read_dir(FOLDER).expect("the folder");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("text"));
    let names = names.filter_map(|name| name.strip_suffix(".chunks.json").map(str::to_owned));
    names.filter(|name| !name.ends_with(".conn2")).collect()
}
