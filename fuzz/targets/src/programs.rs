//! A machine with arbitrary operations.

use std::collections::HashMap;

use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto::machine::{Event, Machine, Phase, Recovery};

use crate::command::Command;
use crate::input::Input;
use crate::machine::{Seen, receive_one};
use crate::{replies, wire};

/// Runs commands in any order, writes and reads of any length, several kinds of replies, and lost
/// connections.
///
/// - A refused command changes nothing.
/// - The machine sends well-formed requests, the last of which may be cut off.
/// - They answer invocations in flight, each once, or again if the machine says so.
/// - Each event is delivered completely and once.
pub fn programs(data: &[u8]) {
    let mut input = Input::new(data);
    let concurrency = if input.flag() { Concurrency::Multi } else { Concurrency::Single };
    let endpoint = Endpoint::parse("http://lab:9001/a/b").expect("an address");
    let mut program = Program {
        machine: Machine::with_concurrency(endpoint, concurrency),
        head: Vec::new(),
        body: b"",
        wire: Vec::new(),
        arriving: Vec::new(),
        arrived: 0,
        events: 0,
        seen: Vec::new(),
        given: HashMap::new(),
        answers: HashMap::new(),
    };
    while !input.is_empty() {
        program.operate(&mut input);
        program.check();
    }
    program.check_wire();
}

struct Program {
    machine: Machine,
    /// The bytes that commands have written.
    head: Vec<u8>,
    body: &'static [u8],
    /// The bytes that were sent on this connection.
    wire: Vec<u8>,
    /// Bytes of the service that are not consumed: first those that have arrived, then those in
    /// transit.
    arriving: Vec<u8>,
    /// How many of them have arrived.
    arrived: usize,
    events: usize,
    seen: Vec<Seen>,
    /// How often the machine has delivered each request id.
    given: HashMap<String, usize>,
    /// How many more answers may be on the wire for each request id.
    answers: HashMap<String, usize>,
}

impl Program {
    fn operate(&mut self, input: &mut Input<'_>) {
        let operation = input.byte();
        match operation >> 4 {
            0..=4 => {
                let commands = Command::ALL;
                let command = commands[usize::from(operation & 0x0f) % commands.len()];
                self.give(command, 2048);
                self.send(usize::MAX);
            }
            5 => {
                let command = input.choose(&Command::ALL);
                self.give(command, 2048);
                self.send(input.byte().into());
            }
            6 => {
                let command = input.choose(&Command::ALL);
                self.give(command, usize::from(input.byte()) * 4);
            }
            7 => self.send(usize::from(operation & 0x0f)),
            8..=10 => {
                self.say(usize::from(operation & 0x0f), b"");
                self.receive(usize::MAX);
            }
            11 => {
                let kind = usize::from(operation & 0x0f);
                self.say(kind, b"");
                self.receive(input.byte().into());
            }
            12 => {
                self.arriving.extend_from_slice(input.piece());
                self.receive(usize::MAX);
            }
            13 => {
                let length = usize::from(operation & 0x0f);
                self.say(16, input.take(length));
                self.receive(usize::MAX);
            }
            14 => self.receive(usize::from(operation & 0x0f) + 1),
            _ => match operation & 0x0f {
                0..=9 => self.disconnect(),
                10..=13 => {
                    let event = self.machine.end_of_stream();
                    assert!(matches!(event, None | Some(Event::InvocationEnd | Event::Outcome(_))));
                    self.disconnect();
                }
                14 => self.machine.shut_down(),
                // A clone behaves like the original.
                _ => self.machine = self.machine.clone(),
            },
        }
    }

    fn give(&mut self, command: Command, room: usize) {
        let is_behind = command == Command::Next && self.machine.phase() == Phase::Reporting;
        let before = format!("{:?}", self.machine);
        let mut out = vec![0; room];
        match command.give(&mut self.machine, &mut out) {
            Err(error) => {
                wire::check_line(error);
                assert_eq!(format!("{:?}", self.machine), before);
            }
            // For an empty chunk nothing is written.
            Ok(0) => assert_eq!(command, Command::EmptyChunk),
            Ok(length) if is_behind => self.head.extend_from_slice(&out[..length]),
            Ok(length) => {
                self.head = out[..length].to_vec();
                self.body = command.body();
                if matches!(command, Command::Respond | Command::RespondEmpty | Command::Fail)
                    || command == Command::Stream
                {
                    let ids = self.machine.invocation().expect("one is being answered");
                    *self.answers.entry(ids.request_id().to_owned()).or_default() += 1;
                }
            }
        }
    }

    fn send(&mut self, most: usize) {
        let unsent = self.machine.unsent(&self.head, self.body).concat();
        assert_eq!(unsent.len(), self.machine.unsent_len());
        let length = unsent.len().min(most);
        self.wire.extend_from_slice(&unsent[..length]);
        self.machine.sent(length);
        assert_eq!(self.machine.unsent_len(), unsent.len() - length);
    }

    /// Queues a reply of the service.
    fn say(&mut self, kind: usize, body: &[u8]) {
        let answer: &[u8] = match kind {
            0 | 2 | 16 => {
                self.events += 1;
                let attempt = if kind == 2 { "Lambda-Runtime-Invocation-Id: 1\r\n" } else { "" };
                let event = format!(
                    "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {}\r\n{attempt}\
                     Content-Length: {}\r\n\r\n",
                    id(self.events),
                    body.len(),
                );
                self.arriving.extend_from_slice(event.as_bytes());
                body
            }
            3 => {
                self.events += 1;
                let event = format!(
                    "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {}\r\n\
                     Transfer-Encoding: chunked\r\n\r\n3\r\nAda\r\n0\r\n\r\n",
                    id(self.events),
                );
                self.arriving.extend_from_slice(event.as_bytes());
                b""
            }
            1 => replies::ACCEPTED,
            4 => b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}",
            5 => b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}",
            6 => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
            7 => b"HTTP/1.1 204 No Content\r\n\r\n",
            8 => b"HTTP/1.1 100 Continue\r\n\r\n",
            9 => b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            10 => b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            11 => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            12 => b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: raw\r\n\r\nto the end",
            13 => b"HTTP/1.1 410 Gone\r\n\r\nto the end",
            14 => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            _ => {
                b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: raw\r\n\
                   Content-Length: 999999999999\r\n\r\n"
            }
        };
        self.arriving.extend_from_slice(answer);
    }

    /// Lets up to `most` more bytes arrive, and reads them.
    fn receive(&mut self, most: usize) {
        self.arrived = self.arrived.saturating_add(most).min(self.arriving.len());
        let mut input = &self.arriving[..self.arrived];
        let before = self.seen.len();
        while receive_one(&mut self.machine, &mut input, &mut self.seen) {}
        let consumed = self.arrived - input.len();
        self.arriving.drain(..consumed);
        self.arrived -= consumed;
        for seen in &self.seen[before..] {
            let Seen::Invocation(head) = seen else { continue };
            let (head, _) =
                lambda_proto::api::InvocationHead::parse(head).expect("it has been parsed");
            *self.given.entry(head.request_id().to_owned()).or_default() += 1;
        }
    }

    fn disconnect(&mut self) {
        let was_over = self.machine.phase() == Phase::ShuttingDown;
        let in_flight = self.machine.invocation().map(|ids| ids.request_id().to_owned());
        let recovery = self.machine.on_disconnect();
        let is_over = self.machine.phase() == Phase::ShuttingDown;
        assert!(is_over || !was_over && recovery != Recovery::Exit, "{recovery:?}");
        let is_to_send = recovery == Recovery::SendAgain;
        assert_eq!(self.machine.unsent_len() > 0, is_to_send);
        assert_eq!(self.machine.awaits().is_some(), is_to_send);
        assert!(!self.machine.must_reconnect() && !self.machine.is_inside_reply());
        if is_to_send && let Some(id) = in_flight {
            *self.answers.entry(id).or_default() += 1;
        }
        self.check_wire();
        self.wire.clear();
        self.arriving.clear();
        self.arrived = 0;
    }

    fn check(&self) {
        let machine = &self.machine;
        let is_over = machine.phase() == Phase::ShuttingDown;
        assert!(!is_over || machine.invocation().is_none());
        let has_invocation = matches!(machine.phase(), Phase::Invoking | Phase::Reporting);
        assert!(!has_invocation || machine.invocation().is_some());
        for number in 1..=self.events {
            assert!(self.given.get(&id(number)).is_none_or(|given| *given <= 1), "delivered twice");
        }
    }

    /// Parses and checks the requests on this connection.
    fn check_wire(&mut self) {
        for request in wire::requests(&self.wire) {
            let path = request.path.strip_prefix("/a/b/2018-06-01/runtime/").expect("the API");
            let method = if path.ends_with("/next") { "GET" } else { "POST" };
            assert_eq!(request.method, method);
            let Some(id) = path.strip_prefix("invocation/").and_then(|path| path.split_once('/'))
            else {
                continue;
            };
            let id = String::from_utf8(wire::decode_segment(id.0)).expect("the id is text");
            assert!(self.given.contains_key(&id), "{id} was never delivered");
            let left = self.answers.get_mut(&id).filter(|left| **left > 0);
            *left.expect("an answer without a command") -= 1;
        }
    }
}

/// The id of an event. The fuzzer is unlikely to generate it.
fn id(number: usize) -> String {
    format!("(8f3 \u{e9} d1c-{number})")
}
