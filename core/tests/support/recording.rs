//! Recordings: the files in `tests/captures`, and the client's requests in them.

use lambda_proto::api::ContentType;
use lambda_proto::machine::{Machine, ReceiveError};

use super::{Seen, machine, receive_one, report};

/// One connection.
pub(crate) struct Recording {
    pub(crate) name: &'static str,
    pub(crate) client: Vec<u8>,
    pub(crate) service: Vec<u8>,
    /// Where the reads of the recording ended.
    pub(crate) reads: Vec<usize>,
    pub(crate) requests: Vec<Request>,
    /// Whether any `next` but the first was sent in a separate write.
    has_lone_next: bool,
}

/// One request of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    pub(crate) body_length: usize,
    pub(crate) is_streamed: bool,
    /// Whether it was sent before the reply to the previous request.
    pub(crate) is_pipelined: bool,
}

impl Recording {
    pub(crate) fn load(name: &'static str) -> Self {
        let client = read(name, "c2s.bin").unwrap_or_default();
        let service = read(name, "s2c.bin").unwrap_or_default();
        let chunks = read(name, "chunks.json").expect("each recording has its segmentation");
        let chunks: Vec<(String, usize)> = serde_json::from_slice(&chunks).expect("JSON");
        let mut reads = Vec::new();
        let mut writes = vec![(0, 0)];
        let (mut read, mut written, mut turn) = (0, 0, 0);
        for (index, (direction, length)) in chunks.iter().enumerate() {
            if direction == "<" {
                read += length;
                reads.push(read);
            } else {
                turn += usize::from(index > 0 && chunks[index - 1].0 == "<");
                writes.push((written, turn));
                written += length;
            }
        }
        let turn_at = |at: usize| {
            writes.iter().rev().find(|(from, _)| *from <= at).map_or(0, |(_, turn)| *turn)
        };
        let requests = requests(&client, turn_at);
        let lone_next = (
            ">".to_owned(),
            b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".len(),
        );
        let has_lone_next = chunks.iter().skip(1).any(|write| *write == lone_next);
        Self { name, client, service, reads, requests, has_lone_next }
    }

    /// Adds answers of these lengths, for recordings whose client side is too large to keep.
    pub(crate) fn answering(mut self, body_lengths: &[usize]) -> Self {
        let service = String::from_utf8_lossy(&self.service).into_owned();
        let ids = service.split("Lambda-Runtime-Aws-Request-Id: ").skip(1);
        let lines = ids
            .filter_map(|rest| rest.split_once("\r\n"))
            .map(|(id, _)| format!("POST /2018-06-01/runtime/invocation/{id}/response"));
        let next = Request {
            line: "GET /2018-06-01/runtime/invocation/next".to_owned(),
            body_length: 0,
            is_streamed: false,
            is_pipelined: !self.has_lone_next,
        };
        self.requests = vec![next.clone()];
        for (line, body_length) in lines.zip(body_lengths) {
            let response = Request { line, is_pipelined: false, ..next.clone() };
            self.requests.extend([Request { body_length: *body_length, ..response }, next.clone()]);
        }
        self
    }

    /// Makes the same requests with a machine, and feeds it the service's bytes, cut at `cuts`.
    pub(crate) fn replay(
        &self,
        cuts: impl IntoIterator<Item = usize>,
    ) -> Result<(Vec<Seen>, Machine), ReceiveError> {
        let mut machine = machine();
        let mut seen = Vec::new();
        let mut requests = self.requests.iter().peekable();
        let mut ends = cuts.into_iter().chain([self.service.len()]);
        let (mut consumed, mut arrived) = (0, 0);
        loop {
            if machine.awaits().is_none() {
                let Some(request) = requests.next() else { break };
                request.make(&mut machine);
                if let Some(next) = requests.next_if(|request| request.is_pipelined) {
                    next.make(&mut machine);
                }
                continue;
            }
            let mut input = &self.service[consumed..arrived];
            let is_event = receive_one(&mut machine, &mut input, &mut seen)?;
            consumed = arrived - input.len();
            if !is_event {
                let Some(end) = ends.next() else { break };
                arrived = end;
            }
        }
        assert_eq!(consumed, self.service.len(), "{}: all bytes are read", self.name);
        assert_eq!(requests.next(), None, "{}: all requests are made", self.name);
        Ok((seen, machine))
    }
}

impl Request {
    /// Gives the command for the request and checks that it writes the same request.
    fn make(&self, machine: &mut Machine) {
        let mut out = [0; 1024];
        let path = self.line.split_once("/2018-06-01/runtime/").expect("a path of the API").1;
        let written = match path {
            "invocation/next" => machine.next(&mut out),
            "init/error" => machine.fail_init(&report(), &mut out),
            _ if path.ends_with("/error") => machine.fail(&report(), &mut out),
            _ if self.is_streamed => {
                let written = machine.stream(ContentType::OCTET_STREAM, &mut out);
                machine.sent(machine.unsent_len());
                machine.chunk(self.body_length, &mut [0; 64]).expect("room");
                machine.sent(machine.unsent_len());
                machine.finish(&mut [0; 64]).expect("room");
                written
            }
            _ => machine.respond(Some(ContentType::JSON), self.body_length, &mut out),
        };
        let written = written.unwrap_or_else(|error| panic!("{}: {error}", self.line));
        machine.sent(machine.unsent_len());
        let line = format!("{} HTTP/1.1\r\n", self.line);
        assert!(out[..written].starts_with(line.as_bytes()), "{line}");
    }
}

fn read(name: &str, kind: &str) -> Option<Vec<u8>> {
    std::fs::read(format!("{}/tests/captures/{name}.{kind}", env!("CARGO_MANIFEST_DIR"))).ok()
}

/// Parses the requests of a client, with a parser other than ours.
fn requests(bytes: &[u8], turn_at: impl Fn(usize) -> usize) -> Vec<Request> {
    let mut requests = Vec::new();
    let (mut at, mut earlier_turn) = (0, None);
    while at < bytes.len() {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut fields);
        let status = request.parse(&bytes[at..]).expect("the clients speak HTTP");
        let httparse::Status::Complete(head) = status else { panic!("a whole head") };
        let field = |name: &str| {
            let mut fields = request.headers.iter();
            fields.find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
        };
        let (body_length, on_the_wire) = match field("Transfer-Encoding") {
            Some(_) => chunked(&bytes[at + head..]),
            None => {
                let length = field("Content-Length").map_or("0", super::text);
                let length = length.parse().expect("a number");
                (length, length)
            }
        };
        let turn = turn_at(at);
        let (method, path) = (request.method.expect("parsed"), request.path.expect("parsed"));
        requests.push(Request {
            line: format!("{method} {path}"),
            body_length,
            is_streamed: field("Lambda-Runtime-Function-Response-Mode") == Some(b"streaming"),
            is_pipelined: earlier_turn == Some(turn),
        });
        earlier_turn = Some(turn);
        at += head + on_the_wire;
    }
    requests
}

/// The length of a chunked body, without its framing and with it.
fn chunked(bytes: &[u8]) -> (usize, usize) {
    let (mut body, mut at) = (0, 0);
    loop {
        let parsed = httparse::parse_chunk_size(&bytes[at..]).expect("a chunk");
        let httparse::Status::Complete((line, size)) = parsed else { panic!("a whole chunk line") };
        let size = size as usize;
        if size == 0 {
            // Without trailers, the line end of the last chunk is the first half of `\r\n\r\n`.
            let trailers = bytes[at + line - 2..].windows(4).position(|end| end == b"\r\n\r\n");
            return (body, at + line - 2 + trailers.expect("an empty line") + 4);
        }
        body += size;
        at += line + size + 2;
    }
}
