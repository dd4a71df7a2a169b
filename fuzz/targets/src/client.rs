//! A client whose embedder and service are controlled by the input.

use lambda_proto::api::{Concurrency, ContentType, Endpoint, ErrorReport};
use lambda_proto::client::{Client, HeldEvent, Step, Storage, Warning};
use lambda_proto::machine::{Machine, Phase};

use crate::command::BODY;
use crate::input::Input;
use crate::{replies, wire};

/// The input is three bytes of sizes and flags, the embedder's decisions after their length, and
/// the bytes of the service. Each read delivers one reply, or more or less if the embedder decides
/// so.
///
/// Whatever happens, every step but the last makes progress, every answer of the embedder gets one
/// receipt, and the client sends well-formed requests, the last of which may be cut off.
pub fn client(data: &[u8]) {
    let mut input = Input::new(data);
    let events = Memory::new(input.choose(&[8192, 1 << 18, 0, 64, 300, 1024]));
    let requests = Memory::new(input.choose(&[4096, 1 << 18, 0, 64, 600, 1100]));
    let flags = input.byte();
    let decisions = Input::new(input.piece());
    let endpoint = Endpoint::parse("lab:9001").expect("an address");
    let concurrency = if flags & 1 == 0 { Concurrency::Single } else { Concurrency::Multi };
    let machine = Machine::with_concurrency(endpoint, concurrency);
    let mut client = Client::new(machine, events, requests);
    if flags & 2 != 0 {
        client = client.with_max_event(64);
    }
    let service = input.rest();
    let mut host = Host {
        client,
        decisions,
        service,
        canned: Vec::new(),
        body: b"",
        wire: Vec::new(),
        is_due: false,
        held: None,
    };
    // Decisions and bytes run out, and between two of them a client takes a bounded number of
    // steps.
    for _ in 0..1000 + 40 * data.len() {
        if !host.do_step() {
            wire::requests(&host.wire);
            return;
        }
    }
    panic!("the client loops without progress");
}

/// Memory that grows to a limit.
struct Memory {
    bytes: Vec<u8>,
    most: usize,
}

impl Memory {
    fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most }
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
        let length = length.min(self.most);
        assert!(length >= self.bytes.len(), "growing must keep the contents");
        self.bytes.resize(length, 0);
    }

    fn release(&mut self) {
        self.bytes = Vec::new();
    }
}

struct Host<'a> {
    client: Client<Memory>,
    decisions: Input<'a>,
    service: &'a [u8],
    /// Bytes of the service that are read before the others.
    canned: Vec<u8>,
    /// The body of the last answer, or the last chunk of its stream.
    body: &'static [u8],
    wire: Vec<u8>,
    /// The client has an answer for which it has not given a receipt.
    is_due: bool,
    held: Option<HeldEvent<Memory>>,
}

/// A text that does not fit the smaller memories.
const LONG: &str = "\"Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy eirmod \
     tempor invidunt ut labore et dolore magna aliquyam erat, sed diam voluptua. At vero eos et accusam \
     et justo duo dolores et ea rebum. Stet clita kasd gubergren, no sea takimata sanctus est Lorem ipsum \
     dolor sit amet. Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy eirmod\"";

const REPORT: ErrorReport<'static> = ErrorReport::new("Function.Broken", LONG).xray_cause(LONG);

const CANNED: [&[u8]; 8] = [
    replies::EVENT,
    replies::ACCEPTED,
    replies::CHUNKED_EVENT,
    replies::ACCEPTED_AND_EVENT,
    b"HTTP/1.1 413 Too Large\r\nContent-Length: 29\r\n\r\n{\"errorType\":\"T\",\"errorMessage",
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7d\r\n\r\n\"to the end\"",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
];

impl Host<'_> {
    /// Does one step; returns whether another follows.
    fn do_step(&mut self) -> bool {
        let client = &mut self.client;
        let step = client.exchange().step(|warning| wire::check_line(warning));
        assert_eq!(client.end().is_some(), matches!(step, Step::End(_)) || self.is_answered(step));
        match step {
            Step::Connect { losses } => {
                assert!(!self.client.is_connected());
                assert_eq!(losses, self.client.machine().losses());
                self.end_of_connection();
                self.client.exchange().connected();
                !self.is_over()
            }
            Step::Write => {
                self.write();
                true
            }
            Step::Read => self.read(),
            Step::Idle => self.speak(),
            Step::Answer => {
                self.look();
                self.speak()
            }
            Step::Settled(_) => {
                assert!(self.is_due, "a receipt without an answer");
                self.is_due = false;
                self.body = b"";
                true
            }
            Step::End(end) => {
                assert!(!self.is_due, "{end}, and an answer got no receipt");
                wire::check_line(end);
                let decision = self.decisions.byte();
                if decision > 0 {
                    self.client.begin_anew();
                    self.end_of_connection();
                }
                decision > 0
            }
        }
    }

    /// Whether this is a receipt that comes after the client has ended.
    fn is_answered(&self, step: Step) -> bool {
        matches!(step, Step::Settled(_)) && self.client.end().is_some()
    }

    /// Whether neither decisions nor bytes are left.
    fn is_over(&self) -> bool {
        self.decisions.is_empty() && self.service.is_empty() && self.canned.is_empty()
    }

    fn end_of_connection(&mut self) {
        wire::requests(&self.wire);
        self.wire.clear();
        self.canned.clear();
    }

    fn write(&mut self) {
        let unsent = self.client.exchange().unsent(self.body).concat();
        assert_eq!(unsent.len(), self.client.machine().unsent_len());
        let length = match self.decisions.byte() {
            0 => unsent.len(),
            length @ 1..200 => unsent.len().min(length.into()),
            200..220 => return self.client.exchange().write_failed(),
            220..235 => {
                self.read();
                return;
            }
            235..245 => {
                self.speak();
                return;
            }
            _ => return self.client.exchange().lost(),
        };
        self.wire.extend_from_slice(&unsent[..length]);
        self.client.exchange().sent(length);
    }

    /// Reads once; returns whether the session can continue.
    fn read(&mut self) -> bool {
        let decision = self.decisions.byte();
        match decision {
            200..220 => {
                self.canned.extend_from_slice(CANNED[usize::from(decision) % CANNED.len()]);
            }
            220..230 => {
                self.client.exchange().received(0);
                return true;
            }
            230..240 => {
                self.client.exchange().lost();
                return true;
            }
            240.. => return self.speak(),
            _ => {}
        }
        let mut exchange = self.client.exchange();
        let Some(room) = exchange.room() else { return true };
        assert!(!room.is_empty());
        let is_canned = !self.canned.is_empty();
        let given = if is_canned { &self.canned } else { self.service };
        // One reply, unless the decision is a number of bytes.
        let answer = given.get(1..).and_then(|rest| rest.windows(7).position(is_start));
        let wanted = match decision {
            1..200 => decision.into(),
            _ if is_canned => given.len(),
            _ => answer.map_or(given.len(), |at| at + 1),
        };
        let length = wanted.min(given.len()).min(room.len());
        room[..length].copy_from_slice(&given[..length]);
        if is_canned {
            self.canned.drain(..length);
        } else {
            self.service = &self.service[length..];
        }
        // After the last byte, the length is 0: the stream has ended.
        self.client.exchange().received(length);
        if decision >= 210 && length > 0 {
            // Read more before the client looks at it.
            return self.read();
        }
        length > 0 || !self.decisions.is_empty()
    }

    /// Checks that the event in flight is the one that the machine knows.
    fn look(&self) {
        let machine = self.client.machine();
        let ids = machine.invocation().expect("it is in flight");
        match (self.client.invocation(), &self.held) {
            (Some(invocation), _) => assert_eq!(invocation.request_id(), ids.request_id()),
            (None, Some(held)) => assert_eq!(held.invocation().request_id(), ids.request_id()),
            (None, None) => panic!("no event"),
        }
    }

    /// Gives the client a command; returns whether the session can continue.
    fn speak(&mut self) -> bool {
        let phase = self.client.machine().phase();
        let is_streaming = self.client.is_streaming();
        let decision = self.decisions.byte();
        let tell = |warning: &Warning<'_>| wire::check_line(warning);
        let client = &mut self.client;
        let (given, body, is_answer): (_, &'static [u8], _) = match (decision % 24, phase) {
            (0, Phase::Invoking) if is_streaming => (client.exchange().finish(false), b"", true),
            (0, Phase::Invoking) => {
                (client.exchange().respond(Some(ContentType::JSON), BODY.len(), false), BODY, true)
            }
            (0 | 17, _) => (client.ask(), b"", false),
            (1, _) => (client.exchange().respond(None, BODY.len(), true), BODY, true),
            (2, _) => (client.exchange().respond(None, 0, false), b"", true),
            (3, _) => (client.exchange().fail(&REPORT, tell), b"", true),
            (4, Phase::Invoking) => (client.give_up(tell), b"", true),
            // Without an invocation to give up, this changes nothing.
            (4, _) => return client.give_up(tell).is_ok() && !self.is_over(),
            (5 | 6, _) => (client.exchange().stream(ContentType::HTTP_INTEGRATION), b"", true),
            (7..=9, _) => (client.exchange().chunk(BODY.len()), BODY, false),
            (10, _) => return client.exchange().chunk(0).is_ok() || !self.is_over(),
            (11, _) => (client.exchange().finish(false), b"", true),
            (12 | 13, _) => (client.exchange().finish(true), b"", true),
            (14, _) => (client.restore_next(), b"", true),
            (15, _) => (client.fail_restore(&REPORT), b"", true),
            (16, _) => (client.fail_init(&REPORT), b"", true),
            (18, _) => {
                self.held = client.take_event(Memory::new(8192)).or(self.held.take());
                return true;
            }
            // Read, and give a command before the client looks at the bytes.
            (19, _) => {
                self.read();
                return self.speak();
            }
            (20, _) => {
                client.exchange().lost();
                return !self.is_over();
            }
            (21, _) => {
                client.exchange().received(0);
                return !self.is_over();
            }
            (22, _) => {
                client.exchange().shut_down();
                return true;
            }
            _ => return !self.is_over(),
        };
        if given.is_err() {
            // The default command fails for lack of memory, and would be repeated forever.
            return decision > 0;
        }
        self.is_due |= is_answer;
        self.body = body;
        true
    }
}

/// Whether a reply starts here.
fn is_start(bytes: &[u8]) -> bool {
    bytes == b"HTTP/1."
}
