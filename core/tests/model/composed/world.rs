//! A runtime in an ordinary loop, and the service: the moves that each can make next.

use std::hash::{DefaultHasher, Hash, Hasher};

use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto::client::{Client, Receipt, Step, VecStorage};
use lambda_proto::machine::{Machine, Phase};

use super::host::{Fate, Host};
use super::service::{Kind, Line, Service, request_id};

/// What to explore.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) kind: Kind,
    pub(crate) is_pipelined: bool,
    pub(crate) invocations: usize,
    pub(crate) losses: usize,
    /// How many invocations may time out although their event arrived.
    pub(crate) timeouts: usize,
    /// How many answers may be withdrawn.
    pub(crate) withdrawals: usize,
}

/// One move of either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// The runtime does what its client asks for, other than I/O.
    Go,
    Write(usize),
    Read(usize),
    /// The runtime loses its connection, or fails to make one.
    Lose,
    /// The runtime withdraws its answer, and has its body no longer.
    Withdraw,
    /// The service reads a request.
    Serve(usize),
    /// The service hands out an event.
    Invoke(usize),
    /// The service notices that a connection is gone, and loses what it has not read from it.
    Notice(usize),
    /// The service gives up an invocation.
    TimeOut(usize),
}

/// How often a reported fate was misleading; see [`Row`](super::Row).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mistaken {
    /// "The first copy had been accepted", but the invocation had timed out.
    pub(crate) timed_out: u64,
    /// "The first copy had been accepted", but an answer to an earlier delivery of the event had
    /// been accepted instead.
    pub(crate) earlier: u64,
    /// "The invocation is over", but the answer had been accepted before.
    pub(crate) over: u64,
}

pub(crate) struct World {
    settings: Settings,
    client: Client<VecStorage>,
    step: Step,
    host: Host,
    body: String,
    pub(crate) service: Service,
    /// The connection of the runtime.
    line: Option<usize>,
    /// The answer whose fate was last compared with what the service knows, and that fate.
    checked: Option<(usize, Fate)>,
    pub(crate) mistaken: Mistaken,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        let concurrency = match settings.kind {
            Kind::Redelivering | Kind::Losing => Concurrency::Single,
            Kind::Attempts | Kind::Several | Kind::Reused => Concurrency::Multi,
        };
        let endpoint = Endpoint::parse("127.0.0.1").expect("an address");
        let machine = Machine::with_concurrency(endpoint, concurrency);
        let mut world = Self {
            settings,
            client: Client::new(
                machine,
                VecStorage::new(0, usize::MAX),
                VecStorage::new(0, usize::MAX),
            ),
            step: Step::Idle,
            host: Host::default(),
            body: String::new(),
            service: Service::new(settings.kind, settings.invocations),
            line: None,
            checked: None,
            mistaken: Mistaken::default(),
        };
        world.settle();
        world
    }

    /// All moves that are possible now; withdrawals and losses come last.
    pub(crate) fn moves(&mut self) -> Vec<Move> {
        let mut moves = Vec::new();
        match self.step {
            Step::Write => {
                let lengths = self.writes();
                moves.extend(lengths.into_iter().map(Move::Write));
                moves.extend(self.reads().into_iter().map(Move::Read));
            }
            Step::Read => moves.extend(self.reads().into_iter().map(Move::Read)),
            Step::Connect { .. } | Step::Idle | Step::Answer => moves.push(Move::Go),
            Step::Settled(_) | Step::End(_) => unreachable!("settled"),
        }
        for (at, line) in self.service.lines.iter().enumerate() {
            if self.service.has_request(at) {
                moves.push(Move::Serve(at));
            }
            if self.service.has_event(at) {
                moves.push(Move::Invoke(at));
            }
            if line.is_lost {
                moves.push(Move::Notice(at));
            }
        }
        for (number, entry) in self.service.entries.iter().enumerate() {
            // A timeout that alone can resolve a stuck state is always possible; other timeouts
            // are limited.
            if entry.is_running && (self.is_stuck() || self.host.timeouts < self.settings.timeouts)
            {
                moves.push(Move::TimeOut(number));
            }
        }
        if self.host.is_due && self.host.withdrawals < self.settings.withdrawals {
            moves.push(Move::Withdraw);
        }
        let is_losable = self.line.is_some() || matches!(self.step, Step::Connect { .. });
        if is_losable && self.host.losses < self.settings.losses {
            moves.push(Move::Lose);
        }
        moves
    }

    /// Whether there is no progress until an invocation whose event or answer was lost times out.
    fn is_stuck(&self) -> bool {
        let waits = |line: &Line| !line.is_lost && line.is_asking;
        self.service.lines.iter().all(waits)
            && !self.service.lines.is_empty()
            && (0..self.service.lines.len()).all(|line| !self.service.has_event(line))
            && matches!(self.settings.kind, Kind::Attempts | Kind::Several | Kind::Reused)
    }

    pub(crate) fn take(&mut self, what: Move) {
        match what {
            Move::Go => self.go(),
            Move::Write(length) => {
                let bytes = self.client.exchange().unsent(self.body.as_bytes()).concat();
                let line = self.line.expect("connected");
                self.service.lines[line].up.extend_from_slice(&bytes[..length]);
                self.client.exchange().sent(length);
                self.settle();
            }
            Move::Read(length) => self.read(length),
            Move::Lose => {
                self.host.losses += 1;
                self.drop_line();
                self.client.exchange().lost();
                self.settle();
            }
            Move::Withdraw => self.withdraw(),
            Move::Serve(line) => {
                self.service.read(line);
                self.forget_lost();
            }
            Move::Invoke(line) => {
                self.service.invoke(line);
                self.forget_lost();
            }
            Move::Notice(line) => {
                self.service.lines.remove(line);
                self.line = self.line.map(|at| if at > line { at - 1 } else { at });
            }
            Move::TimeOut(number) => {
                self.host.timeouts += usize::from(!self.is_stuck());
                self.service.give_up(number);
            }
        }
        assert!(
            self.service.entries.iter().enumerate().all(|(number, entry)| {
                entry.taken.as_ref().is_none_or(|taken| is_result_of(taken, number))
            }),
            "an invocation was answered with the result of another one: {:?}",
            self.service.entries
        );
    }

    fn drop_line(&mut self) {
        if let Some(at) = self.line.take() {
            let line = &mut self.service.lines[at];
            line.is_lost = true;
            (line.down, line.offset) = Default::default();
        }
    }

    fn withdraw(&mut self) {
        self.host.withdrawals += 1;
        self.body.clear();
        self.client.exchange().withdraw();
        if self.client.machine().phase() == Phase::Invoking {
            // The invocation is unanswered: no byte, or only a part of a lost copy, was sent.
            self.host.is_due = false;
            self.host.answers.pop();
        }
        self.settle();
        if !self.client.is_connected() {
            self.drop_line();
        }
    }

    /// Discards what the service has sent on lost connections.
    fn forget_lost(&mut self) {
        for line in self.service.lines.iter_mut().filter(|line| line.is_lost) {
            line.down.clear();
        }
    }

    fn go(&mut self) {
        match self.step {
            Step::Connect { .. } => {
                self.service.lines.push(Line::default());
                self.line = Some(self.service.lines.len() - 1);
                self.client.exchange().connected();
            }
            Step::Idle => self.client.ask().expect("nothing is in flight"),
            Step::Answer => {
                let invocation = self.client.invocation().unwrap();
                let (head, body) = (*invocation, invocation.body());
                let body = core::str::from_utf8(body).expect("text");
                let number: usize =
                    body.strip_prefix("event").and_then(|it| it.parse().ok()).expect("an event");
                let kind = self.settings.kind;
                assert_eq!(head.request_id(), request_id(kind, number), "an event with a wrong id");
                if kind == Kind::Attempts {
                    let attempt = head.attempt_id().expect("an attempt");
                    assert_eq!(attempt, number.to_string().as_bytes());
                }
                let time = self.host.answers.iter().filter(|answer| answer.0 == number).count();
                assert!(time == 0 || kind == Kind::Redelivering, "the same event twice");
                // A withdrawn answer must not take effect, so another one has another body.
                self.body = format!("result{number}.{}", time + self.host.withdrawals);
                let is_pipelined = self.settings.is_pipelined;
                self.client
                    .exchange()
                    .respond(None, self.body.len(), is_pipelined)
                    .expect("it is in flight");
                self.host.answers.push((number, self.body.clone(), None));
                self.host.is_due = true;
            }
            _ => unreachable!("these steps are other moves"),
        }
        self.settle();
    }

    /// How much can be written: one byte, the whole answer, a byte of `next` too, or everything.
    fn writes(&mut self) -> Vec<usize> {
        let exchange = self.client.exchange();
        let [head, body, next] = exchange.unsent(self.body.as_bytes());
        let answer = head.len() + body.len();
        let all = answer + next.len();
        let begins = head.starts_with(b"POST") || head.starts_with(b"GET");
        let mut lengths = Vec::new();
        if answer > 0 {
            lengths.extend(begins.then_some(1));
            lengths.push(answer);
        }
        if next.starts_with(b"GET") {
            lengths.push(answer + 1);
        }
        lengths.push(all);
        lengths.dedup();
        lengths
    }

    /// How much can be read: a part of a head, a head and a byte after it, a whole message, and the
    /// same of the messages after it.
    fn reads(&self) -> Vec<usize> {
        let Some(line) = self.line.map(|at| &self.service.lines[at]) else { return Vec::new() };
        let mut lengths = Vec::new();
        let mut before = 0;
        let mut offset = line.offset;
        for message in &line.down {
            let body = if message.ends_with(b"{}") { 2 } else { 6 };
            for end in [9, message.len() - body + 1, message.len()] {
                if end > offset {
                    lengths.push(before + end - offset);
                }
            }
            before += message.len() - offset;
            offset = 0;
        }
        lengths
    }

    fn read(&mut self, length: usize) {
        let line = &mut self.service.lines[self.line.expect("connected")];
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let message = line.down.front().expect("the move reads only available bytes");
            let end = message.len().min(line.offset + length - bytes.len());
            bytes.extend_from_slice(&message[line.offset..end]);
            line.offset = end;
            if end == message.len() {
                line.down.pop_front();
                line.offset = 0;
            }
        }
        let mut exchange = self.client.exchange();
        let room = exchange.room().expect("memory grows");
        room[..length].copy_from_slice(&bytes);
        self.client.exchange().received(length);
        self.settle();
    }

    /// Records the receipts and warnings of the client, up to the next step that needs a move.
    fn settle(&mut self) {
        loop {
            let Self { client, host, .. } = self;
            let lost_before = host.events_lost.len();
            let quiet = client.exchange().quiet_step();
            self.step = client.exchange().step(|warning| host.hear(warning));
            assert!(quiet.is_none_or(|quiet| quiet == self.step), "{quiet:?}, {:?}", self.step);
            if host.events_lost.len() > lost_before {
                host.events_lost[lost_before] = match self.settings.kind {
                    // The one that was handed out last: its ids do not identify it.
                    Kind::Reused => self.service.entries.len() - 1,
                    kind => number_of(kind, client.machine()),
                };
            }
            match self.step {
                Step::Settled(answer) => {
                    assert!(self.host.is_due, "two receipts for an answer");
                    self.host.is_due = false;
                    self.tell(match answer {
                        Receipt::Pipelined => Fate::Pipelined,
                        Receipt::FateUnknown => Fate::Unknown,
                        Receipt::Known(outcome) => Fate::of(outcome),
                    });
                }
                Step::End(end) => panic!("the client ends: {end}"),
                _ => break,
            }
        }
        // The reply to a pipelined answer has arrived, and there was no warning.
        let last = self.host.answers.last().map(|answer| answer.2);
        if last == Some(Some(Fate::Pipelined)) && self.client.machine().phase() != Phase::Reporting
        {
            self.tell(Fate::Taken);
        }
        self.check_last();
    }

    fn tell(&mut self, fate: Fate) {
        let answer = self.host.answers.last_mut().expect("an answer was given");
        answer.2 = Some(fate);
    }

    /// Checks that the reported fate of the last answer is true.
    fn check_last(&mut self) {
        let Some((number, body, Some(fate))) = self.host.answers.last() else { return };
        let told = Some((self.host.answers.len(), *fate));
        if core::mem::replace(&mut self.checked, told) == told {
            return;
        }
        let entry = &self.service.entries[*number];
        let is_taken = entry.taken.as_ref() == Some(body);
        match fate {
            Fate::Taken => assert!(is_taken, "reported as accepted, but was not"),
            Fate::TakenBefore if is_taken => {}
            // The two cases in which a refusal of the second copy means something else.
            Fate::TakenBefore if entry.is_given_up => self.mistaken.timed_out += 1,
            Fate::TakenBefore if entry.taken.is_some() => self.mistaken.earlier += 1,
            Fate::TakenBefore => panic!("reported as accepted before, but no answer was"),
            Fate::Refused => assert!(!is_taken, "reported as refused, but was accepted"),
            Fate::Over => {
                assert!(!entry.is_running, "reported as over, but it runs");
                self.mistaken.over += u64::from(is_taken);
            }
            Fate::Unknown | Fate::Pipelined => {}
        }
    }

    /// Whether the scenario is complete: no event is left, and a `next` waits.
    pub(crate) fn is_at_the_end(&self) -> bool {
        let lines = &self.service.lines;
        self.step == Step::Read
            && self.client.is_waiting()
            && self.service.entries.len() == self.settings.invocations
            && matches!(&lines[..], [line] if !line.is_lost && line.is_asking)
            && self.service.entries.iter().all(|entry| !entry.is_running)
            && self.service.is_ready()
    }

    /// At the end every invocation is answered, or the embedder has learnt what happened to it, or
    /// its event was lost before the runtime knew of it. The service allows that (emulator: a
    /// `next` on a connection that drops loses the event).
    pub(crate) fn check_end(&self) {
        for (number, entry) in self.service.entries.iter().enumerate() {
            let told: Vec<_> =
                self.host.answers.iter().filter(|answer| answer.0 == number).collect();
            assert!(told.iter().all(|answer| answer.2.is_some()), "an answer without a fate");
            let is_reported = self.host.events_lost.contains(&number);
            let is_unknown = told.iter().any(|answer| answer.2 == Some(Fate::Unknown))
                || self.host.reports_unknown.contains(&number);
            let is_refused =
                told.iter().any(|answer| matches!(answer.2, Some(Fate::Refused | Fate::Over)));
            match &entry.taken {
                Some(taken) if taken.starts_with("result") => {
                    assert!(told.iter().any(|answer| answer.1 == *taken));
                }
                Some(_) => assert!(is_reported, "a report without a warning"),
                None => {
                    let is_known = !told.is_empty() || is_reported;
                    let is_weak = told.iter().any(|answer| answer.2 == Some(Fate::TakenBefore));
                    assert!(entry.is_given_up, "an invocation is neither answered nor given up");
                    assert!(
                        !is_known || is_unknown || is_refused || is_reported || is_weak,
                        "invocation {number} is lost without a warning: {told:?}"
                    );
                }
            }
        }
    }

    /// Identifies this state. Of the client, it includes everything but bytes whose content follows
    /// from the rest: the machine, the step, the bytes on the connection and what the embedder
    /// knows determine all further calls.
    pub(crate) fn key(&mut self) -> (u64, u64) {
        let machine = format!("{:?}", self.client.machine());
        let losses = format!("losses: {},", self.client.machine().losses());
        let machine = machine.replacen(&losses, "", 1);
        let step = match self.step {
            Step::Connect { .. } => "connect",
            Step::Write => "write",
            Step::Read => "read",
            Step::Idle => "idle",
            _ => "in flight",
        };
        let invocation = self.client.invocation().map(|it| it.body());
        let is_connected = self.client.is_connected();
        let invocation = invocation.map(<[u8]>::to_vec);
        let mut half = |seed: u8| {
            let mut hasher = DefaultHasher::new();
            (seed, &machine, step, &invocation, is_connected).hash(&mut hasher);
            (&self.host, &self.body, &self.service, self.line).hash(&mut hasher);
            self.client.exchange().unsent(self.body.as_bytes()).hash(&mut hasher);
            hasher.finish()
        };
        (half(0), half(1))
    }
}

/// The number of the invocation in flight.
fn number_of(kind: Kind, machine: &Machine) -> usize {
    let ids = machine.invocation().expect("one is in flight");
    let text = match kind {
        Kind::Attempts => ids.attempt_id().and_then(|id| core::str::from_utf8(id).ok()),
        _ => ids.request_id().strip_prefix("id"),
    };
    text.and_then(|text| text.parse().ok()).expect("a number")
}

fn is_result_of(taken: &str, number: usize) -> bool {
    match taken.strip_prefix("result") {
        Some(result) => result.starts_with(&format!("{number}.")),
        None => taken.contains("Runtime.EventTruncated"),
    }
}
