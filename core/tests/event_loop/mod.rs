//! An embedder with an event loop and non-blocking sockets, and a well-behaved service, both in
//! memory.
#![allow(dead_code, reason = "each test file uses a part of it")]

mod service;

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use lambda_proto::api::{Concurrency, ContentType, Endpoint, ErrorReport};
use lambda_proto::client::{Client, End, Receipt, Step, Storage};
use lambda_proto::machine::Machine;
pub(crate) use service::*;

pub(crate) const REPORT: ErrorReport<'static> = ErrorReport::new("Function.Broken", "it broke");

/// Memory that loses its contents when it is released.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    most: usize,
    pub(crate) held: Rc<Cell<usize>>,
    pub(crate) releases: Rc<Cell<usize>>,
}

impl Memory {
    pub(crate) fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most, held: Rc::default(), releases: Rc::default() }
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
        let length = length.min(self.most).max(self.bytes.len());
        self.bytes.resize(length, 0);
        self.held.set(length);
    }

    fn release(&mut self) {
        self.bytes = Vec::new();
        self.held.set(0);
        self.releases.set(self.releases.get() + 1);
    }
}

pub(crate) fn client_of(events: usize, requests: usize) -> Client<Memory> {
    let machine = Machine::new(Endpoint::parse("127.0.0.1:9001").unwrap());
    Client::new(machine, Memory::new(events), Memory::new(requests))
}

/// Lets the client read all of these bytes.
pub(crate) fn feed(client: &mut Client<Memory>, bytes: &[u8]) {
    let mut left = bytes;
    while !left.is_empty() {
        let mut exchange = client.exchange();
        let room = exchange.room().expect("memory grows");
        let length = room.len().min(left.len());
        room[..length].copy_from_slice(&left[..length]);
        exchange.received(length);
        left = &left[length..];
    }
}

/// How much the sockets read and write at a time, and when they block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) writes: usize,
    pub(crate) reads: usize,
    /// Each bit says whether an operation would block, from the lowest bit on and repeatedly.
    pub(crate) blocks: u64,
    pub(crate) early: Early,
}

/// When the embedder reads bytes although no step asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    Never,
    /// Whenever there are bytes, with a step before and after each read.
    BetweenSteps,
    /// As soon as there are bytes, even right after a write and right before a command.
    AtOnce,
}

pub(crate) const ALL: Pace =
    Pace { writes: usize::MAX, reads: usize::MAX, blocks: 0, early: Early::Never };

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Do nothing: the test answers itself.
    Hold,
    Respond(Vec<u8>, bool),
    Fail,
    GiveUp,
    Stream(Vec<Vec<u8>>, bool),
    /// A stream that ends with an error.
    StreamThenFail(Vec<Vec<u8>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// An invocation is in flight that the test answers.
    InFlight,
    /// Nothing is outstanding, and the loop asks for no further invocation.
    Idle,
    /// The service has no more events, and the client waits for one.
    Waiting,
    Ended(End),
}

pub(crate) struct Loop {
    pub(crate) client: Client<Memory>,
    pub(crate) service: Service,
    pub(crate) pace: Pace,
    pub(crate) cut: Option<Cut>,
    /// One plan for each invocation; the last one applies to all further ones.
    pub(crate) plans: VecDeque<Plan>,
    /// Whether events are taken out of the client.
    pub(crate) takes_events: bool,
    /// Whether the loop asks for no more invocations.
    pub(crate) stops: bool,
    pub(crate) handed: Vec<(String, Vec<u8>)>,
    pub(crate) told: Vec<(String, Receipt)>,
    pub(crate) warnings: Vec<String>,
    pub(crate) losses: Vec<u32>,
    pub(crate) turns: usize,
    /// The size of the client's memory for events.
    pub(crate) held: Rc<Cell<usize>>,
    pub(crate) releases: Rc<Cell<usize>>,
    wire: Option<Wire>,
    operations: u32,
    due: Option<String>,
    body: Vec<u8>,
    stream: Option<(VecDeque<Vec<u8>>, Plan)>,
}

/// The number of steps after which a loop is considered endless.
const MOST_TURNS: usize = 300_000;

impl Loop {
    pub(crate) fn new(pace: Pace, events: &[(&str, Vec<u8>)], plans: &[Plan]) -> Self {
        Self::with_concurrency(Concurrency::Single, pace, events, plans)
    }

    pub(crate) fn with_concurrency(
        concurrency: Concurrency,
        pace: Pace,
        events: &[(&str, Vec<u8>)],
        plans: &[Plan],
    ) -> Self {
        let endpoint = Endpoint::parse("127.0.0.1:9001").unwrap();
        let machine = Machine::with_concurrency(endpoint, concurrency);
        let memory = Memory::new(1 << 20);
        let (held, releases) = (memory.held.clone(), memory.releases.clone());
        let events = events.iter().map(|(id, bytes)| (id.to_string(), bytes.clone())).collect();
        Self {
            client: Client::new(machine, memory, Memory::new(1 << 20)),
            service: Service { events, ..Service::default() },
            pace,
            cut: None,
            plans: plans.iter().cloned().collect(),
            takes_events: false,
            stops: false,
            handed: Vec::new(),
            told: Vec::new(),
            warnings: Vec::new(),
            losses: Vec::new(),
            turns: 0,
            held,
            releases,
            wire: None,
            operations: 0,
            due: None,
            body: Vec::new(),
            stream: None,
        }
    }

    /// Runs until there is nothing more to do.
    pub(crate) fn run(&mut self) -> Stop {
        loop {
            if let Some(stop) = self.turn() {
                return stop;
            }
        }
    }

    pub(crate) fn step(&mut self) -> Step {
        let (quiet, told) = (self.client.exchange().quiet_step(), self.warnings.len());
        let step = self.client.exchange().step(|warning| self.warnings.push(warning.to_string()));
        if let Some(quiet) = quiet {
            assert_eq!((quiet, told), (step, self.warnings.len()));
        }
        if !self.client.is_connected() {
            self.wire = None;
        }
        step
    }

    pub(crate) fn turn(&mut self) -> Option<Stop> {
        self.turns += 1;
        assert!(self.turns < MOST_TURNS, "the loop does not end");
        if self.pace.early == Early::AtOnce && self.is_readable() && !self.would_block() {
            self.read();
        }
        let step = self.step();
        let is_early = matches!(step, Step::Write | Step::Idle | Step::Answer)
            && self.pace.early == Early::BetweenSteps;
        if is_early && self.is_readable() && !self.would_block() {
            self.read();
            return None;
        }
        match step {
            Step::Connect { losses } => {
                self.losses.push(losses);
                self.service.connections.push(Vec::new());
                let is_first = self.losses.len() == 1;
                self.wire = Some(Wire { is_first, ..Wire::default() });
                self.client.exchange().connected();
                self.cut_if_due();
            }
            Step::Write => self.write(),
            Step::Read if self.is_readable() => {
                if !self.would_block() {
                    self.read();
                }
            }
            Step::Read => {
                assert!(
                    self.client.is_waiting(),
                    "the client waits for something that will never arrive"
                );
                assert!(self.service.events.is_empty(), "the client waits without having asked");
                return Some(Stop::Waiting);
            }
            Step::Idle if self.stops => return Some(Stop::Idle),
            Step::Idle => self.client.ask().unwrap(),
            Step::Answer => return self.in_flight(),
            Step::Settled(answer) => {
                let id = self.due.take().expect("a receipt without an answer");
                self.told.push((id, answer));
                // The client must not need the body any longer.
                self.body.clear();
                self.stream = None;
            }
            Step::End(end) => {
                assert_eq!(self.due, None, "the session ended without a receipt for the answer");
                assert_eq!(self.step(), Step::End(end));
                return Some(Stop::Ended(end));
            }
        }
        None
    }

    fn in_flight(&mut self) -> Option<Stop> {
        if self.stream.is_some() {
            self.go_on_streaming();
            return None;
        }
        assert_eq!(self.due, None);
        let invocation = self.client.invocation().unwrap();
        let (head, body) = (*invocation, invocation.body());
        let (id, body) = (head.request_id().to_owned(), body.to_vec());
        if self.takes_events {
            let other = Memory::new(1 << 20);
            (self.held, self.releases) = (other.held.clone(), other.releases.clone());
            let event = self.client.take_event(other).unwrap();
            let taken = event.invocation();
            assert_eq!((taken.request_id(), taken.body()), (&*id, &*body));
        }
        // If the connection is lost while the test holds the invocation, this is called again.
        if self.handed.last().is_none_or(|last| last.0 != id) {
            self.handed.push((id, body));
        }
        let plan = match self.plans.len() {
            0 | 1 => self.plans.front().cloned().unwrap_or(Plan::Hold),
            _ => self.plans.pop_front().unwrap(),
        };
        if plan == Plan::Hold {
            return Some(Stop::InFlight);
        }
        self.answer(&plan);
        None
    }

    pub(crate) fn answer(&mut self, plan: &Plan) {
        let Self { client, warnings, .. } = self;
        let mut tell =
            |warning: &lambda_proto::client::Warning<'_>| warnings.push(warning.to_string());
        match plan {
            Plan::Hold => return,
            Plan::Respond(body, is_pipelined) => {
                self.body.clone_from(body);
                client
                    .exchange()
                    .respond(Some(ContentType::JSON), body.len(), *is_pipelined)
                    .unwrap();
            }
            Plan::Fail => client.exchange().fail(&REPORT, &mut tell).unwrap(),
            Plan::GiveUp => client.give_up(&mut tell).unwrap(),
            Plan::Stream(pieces, _) | Plan::StreamThenFail(pieces) => {
                client.exchange().stream(ContentType::TEXT).unwrap();
                self.stream = Some((pieces.iter().cloned().collect(), plan.clone()));
            }
        }
        self.due = Some(self.handed.last().unwrap().0.clone());
    }

    fn go_on_streaming(&mut self) {
        let (pieces, plan) = self.stream.as_mut().unwrap();
        if let Some(piece) = pieces.pop_front() {
            self.client.exchange().chunk(piece.len()).unwrap();
            self.body = piece;
            return;
        }
        self.body.clear();
        match plan {
            Plan::Stream(_, is_pipelined) => self.client.exchange().finish(*is_pipelined).unwrap(),
            _ => self.client.exchange().fail(&REPORT, |_| {}).unwrap(),
        }
        self.stream = None;
    }

    fn would_block(&mut self) -> bool {
        self.operations += 1;
        self.pace.blocks >> (self.operations % 64) & 1 == 1
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| !wire.out.is_empty() || wire.cut.is_some())
    }

    /// The service sends unsolicited bytes.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.wire.as_mut().expect("no connection").out.extend(bytes);
    }

    /// The connection is lost, but the embedder has not noticed yet.
    pub(crate) fn cut(&mut self, how: How) {
        let wire = self.wire.as_mut().expect("no connection");
        wire.cut = Some(how);
        wire.deaf = Some(After::Discard);
        if how != How::Broken {
            wire.out.clear();
        }
    }

    fn cut_if_due(&mut self) {
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.is_first && wire.cut.is_none())
        else {
            return;
        };
        match self.cut {
            Some(Cut::Sent(at, how)) if at == wire.taken => self.cut(how),
            Some(Cut::Received(at, how)) if at == wire.given => {
                wire.out.clear();
                self.cut(how);
            }
            _ => {}
        }
    }

    /// Reads once, without blocking.
    pub(crate) fn read(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        if wire.out.is_empty() && wire.cut == Some(How::Reset) {
            return self.client.exchange().lost();
        }
        let mut most = self.pace.reads;
        if let (Some(Cut::Received(at, _)), true) = (self.cut, wire.is_first) {
            most = most.min(at.saturating_sub(wire.given));
        }
        let mut exchange = self.client.exchange();
        let Some(room) = exchange.room() else { return };
        assert!(!room.is_empty(), "no room to read into");
        let length = room.len().min(most).min(wire.out.len());
        for (to, from) in room.iter_mut().zip(wire.out.drain(..length)) {
            *to = from;
        }
        wire.given += length;
        self.client.exchange().received(length);
        self.cut_if_due();
    }

    fn write(&mut self) {
        let bytes = self.client.exchange().unsent(&self.body).concat();
        assert_eq!(bytes.len(), self.client.machine().unsent_len(), "bytes are missing");
        let is_blocked = self.would_block();
        let wire = self.wire.as_mut().expect("a write without a connection");
        if is_blocked || wire.deaf == Some(After::Block) {
            // An embedder that cannot write reads what is available.
            if !wire.out.is_empty() {
                self.read();
            }
            return;
        }
        match wire.cut {
            Some(How::Reset) => return self.client.exchange().lost(),
            Some(How::Broken) => return self.client.exchange().write_failed(),
            Some(How::Closed) => return self.client.exchange().sent(bytes.len()),
            None => {}
        }
        let mut most = self.pace.writes;
        if wire.is_first {
            // Stop writing at each position where the service is to do something.
            let cut = match self.cut {
                Some(Cut::Sent(at, _)) => Some(at),
                _ => None,
            };
            let next = self.service.interjections.front().map(|what| what.at);
            for place in [cut, next].into_iter().flatten().filter(|at| *at > wire.taken) {
                most = most.min(place - wire.taken);
            }
        }
        let length = bytes.len().min(most);
        self.service.take(wire, &bytes[..length]);
        self.client.exchange().sent(length);
        self.cut_if_due();
    }
}
