//! Ten million invocations through a client and a service in memory, with random faults: the
//! embedder learns exactly one fate for each invocation, and it agrees with the service's records.
//!
//! `SOAK_SEED` repeats a run, `SOAK_INVOCATIONS` makes it shorter or longer.
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

mod soak_service;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lambda_proto::api::{ContentType, Endpoint, ErrorReport, Meaning};
use lambda_proto::client::{Client, End, Receipt, Step, Warning, WarningKind};
use lambda_proto::machine::{Machine, Phase};
use soak_service::{Chance, Service};

/// Counts allocations: there must be none once the run has begun.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller upholds the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the same contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const REPORT: ErrorReport<'static> = ErrorReport::new("Function.Broken", "it broke");

/// The fate of an answer, as the embedder finally learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    TakenBefore,
    Refused,
    Unknown,
}

/// What the embedder knows of an invocation.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    number: u64,
    is_handed: bool,
    /// The client reported an error by itself: the event was cut off, or did not fit.
    is_reported: bool,
    is_pipelined: bool,
    fate: Option<Fate>,
}

/// How many invocations ended in which way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    taken: u64,
    taken_before: u64,
    refused: u64,
    unknown: u64,
    /// Their events were cut off or too large, and the client reported an error.
    reported: u64,
    /// Their events were lost before the runtime knew of them.
    unseen: u64,
    /// Of those in `taken_before`, the ones that the service had refused instead: the only fate
    /// that may be wrong (`DESIGN.md`: "Why is an answer sent twice, and when?").
    mistaken: u64,
    /// Of all invocations, those whose answer or report took effect.
    effective: u64,
}

impl Totals {
    fn of_all(&self) -> u64 {
        self.taken + self.taken_before + self.refused + self.unknown + self.reported + self.unseen
    }
}

/// How many of the latest invocations are kept: nothing more can be learnt about older ones.
const RING: usize = 8;

struct Host<'m> {
    client: Client<&'m mut [u8]>,
    service: Service,
    chance: Chance,
    known: [Known; RING],
    totals: Totals,
    /// The invocation whose receipt is due.
    due: Option<u64>,
    /// The body of every answer; it begins with the number of the invocation.
    body: Vec<u8>,
    body_length: usize,
    pieces: u32,
    is_connected: bool,
    ends: u64,
    losses: u64,
}

impl Host<'_> {
    /// Runs until the service has no more events and the client waits for one.
    fn run(&mut self) {
        loop {
            let Self { client, known, .. } = self;
            let step = client.exchange().step(|warning| hear(known, warning));
            self.settle_pipelined();
            self.is_connected &= self.client.is_connected();
            match step {
                Step::Connect { .. } if self.chance.one_in(20) => self.client.exchange().lost(),
                Step::Connect { .. } => {
                    self.service.connect();
                    self.is_connected = true;
                    self.client.exchange().connected();
                }
                Step::Write => self.write(),
                Step::Read if self.service.is_over() && self.client.is_waiting() => break,
                Step::Read => self.read(),
                Step::Idle => self.client.ask().expect("nothing is in flight"),
                Step::Answer => self.in_flight(),
                Step::Settled(answer) => self.answered(answer),
                Step::End(end) => self.end(end),
            }
            self.close_books(RING as u64 / 2);
        }
        self.close_books(0);
    }

    fn write(&mut self) {
        if self.chance.one_in(200) {
            return self.lose();
        }
        if self.service.is_deaf() && self.chance.one_in(2) {
            return self.client.exchange().write_failed();
        }
        let unsent = self.client.machine().unsent_len();
        let exchange = self.client.exchange();
        let parts = exchange.unsent(&self.body[..self.body_length]);
        let all: usize = parts.iter().map(|part| part.len()).sum();
        assert_eq!(all, unsent, "bytes of the answer are missing");
        let most = if self.chance.one_in(8) { 1 + self.chance.below(all) } else { all };
        let mut left = most;
        for part in parts {
            let length = part.len().min(left);
            self.service.take(&part[..length]);
            left -= length;
        }
        self.client.exchange().sent(most);
        // Bytes that have arrived may be read before everything is written.
        self.service.serve();
        if self.chance.one_in(4) && self.service.has_said() {
            self.read();
        }
    }

    fn read(&mut self) {
        if self.chance.one_in(200) {
            return self.lose();
        }
        let most = if self.chance.one_in(8) { 1 + self.chance.below(40) } else { usize::MAX };
        let is_broken = self.service.is_closing() && self.chance.one_in(2);
        if !self.service.has_said() && is_broken {
            return self.client.exchange().lost();
        }
        assert!(
            self.service.has_said() || self.service.is_closing(),
            "the client waits for something that will never arrive: {:?}",
            self.client.machine().phase()
        );
        let mut exchange = self.client.exchange();
        let Some(room) = exchange.room() else { return };
        let most = most.min(room.len());
        let length = self.service.give(&mut room[..most]);
        self.client.exchange().received(length);
    }

    fn lose(&mut self) {
        self.losses += 1;
        if self.chance.one_in(3) {
            // What the service has sent can still be read.
            self.service.hang_up();
        } else {
            self.service.connect();
            self.client.exchange().lost();
        }
    }

    fn in_flight(&mut self) {
        if self.client.is_streaming() {
            return self.go_on_streaming();
        }
        if self.is_connected && self.chance.one_in(200) {
            // A proxy times out.
            self.service.say(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n");
            self.service.hang_up();
            return self.read();
        }
        let invocation = self.client.invocation().unwrap();
        let (head, body) = (*invocation, invocation.body());
        let number = number(head.request_id());
        assert!(body.starts_with(head.request_id().as_bytes()), "an event with a wrong id");
        let known = known(&mut self.known, number);
        assert!(!known.is_reported && known.fate.is_none(), "{known:?} is handed out again");
        known.is_handed = true;
        // Each answer begins with the number of its invocation.
        self.body_length = head.request_id().len() + self.chance.length();
        self.body[..head.request_id().len()].copy_from_slice(head.request_id().as_bytes());
        assert_eq!(self.due.replace(number), None);
        let is_pipelined = self.chance.one_in(2);
        match self.chance.below(16) {
            0 => self.client.exchange().fail(&REPORT, |_| {}).expect("it is in flight"),
            1 => self.client.give_up(|_| {}).expect("it is in flight"),
            2 | 3 => {
                self.pieces = self.chance.below(4) as u32;
                self.client.exchange().stream(ContentType::TEXT).expect("it is in flight");
            }
            _ => {
                let json = Some(ContentType::JSON);
                self.client
                    .exchange()
                    .respond(json, self.body_length, is_pipelined)
                    .expect("it is in flight");
            }
        }
    }

    fn go_on_streaming(&mut self) {
        let result = match (self.pieces, self.chance.below(4)) {
            (0, 0) => self.client.exchange().fail(&REPORT, |_| {}),
            (0, choice) => self.client.exchange().finish(choice == 1),
            _ => {
                self.pieces -= 1;
                self.client.exchange().chunk(self.body_length)
            }
        };
        result.expect("the step allows the next piece");
    }

    fn answered(&mut self, receipt: Receipt) {
        let number = self.due.take().expect("one receipt for each answer");
        let known = known(&mut self.known, number);
        match receipt {
            Receipt::Pipelined => known.is_pipelined = true,
            Receipt::FateUnknown => known.tell(Fate::Unknown),
            Receipt::Known(outcome) => known.tell(match outcome.meaning() {
                Meaning::Accepted => Fate::Taken,
                Meaning::AcceptedBefore => Fate::TakenBefore,
                _ => Fate::Refused,
            }),
        }
    }

    /// The reply to a pipelined answer has arrived if another invocation is awaited or has arrived.
    /// Without a warning, the answer was accepted.
    fn settle_pipelined(&mut self) {
        let is_in =
            !matches!(self.client.machine().phase(), Phase::Reporting | Phase::ShuttingDown);
        for known in &mut self.known {
            if known.is_pipelined && is_in {
                known.is_pipelined = false;
                known.tell(Fate::Taken);
            }
        }
    }

    /// The process ends, and a new one begins.
    fn end(&mut self, end: End) {
        assert!(matches!(end, End::Protocol(_) | End::Service(_)), "{end}");
        assert_eq!(self.due, None, "the session ended without a receipt for the answer");
        for known in self.known.iter_mut().filter(|known| known.is_pipelined) {
            known.is_pipelined = false;
            known.tell(Fate::Unknown);
        }
        self.ends += 1;
        self.client.begin_anew();
        self.is_connected = false;
    }

    /// Compares the known fates with the service's records, except for the `latest` invocations.
    fn close_books(&mut self, latest: u64) {
        while let Some((number, entry)) = self.service.close_next(latest) {
            let known = known(&mut self.known, number);
            let Totals { effective, mistaken, .. } = &mut self.totals;
            *effective += u64::from(entry.is_taken);
            let total = match (known.is_handed, known.is_reported, known.fate) {
                (true, false, Some(Fate::Taken)) => {
                    assert!(entry.is_taken, "{number} was reported as accepted");
                    &mut self.totals.taken
                }
                (true, false, Some(Fate::TakenBefore)) => {
                    let is_refused = matches!(entry.refusal, Some(400 | 403));
                    assert!(
                        entry.is_taken != is_refused,
                        "{number} was reported as accepted before"
                    );
                    *mistaken += u64::from(is_refused);
                    &mut self.totals.taken_before
                }
                (true, false, Some(Fate::Refused)) => {
                    assert!(!entry.is_taken, "{number} was reported as refused");
                    &mut self.totals.refused
                }
                (true, false, Some(Fate::Unknown)) => &mut self.totals.unknown,
                (false, true, None) => &mut self.totals.reported,
                (false, false, None) => {
                    assert!(!entry.is_taken, "{number} was never seen");
                    &mut self.totals.unseen
                }
                other => panic!("{number} does not have exactly one fate: {other:?}"),
            };
            *total += 1;
        }
    }
}

impl Known {
    fn tell(&mut self, fate: Fate) {
        assert_eq!(self.fate.replace(fate), None, "invocation {} has two fates", self.number);
    }
}

/// The entry of an invocation; it replaces that of an older one.
fn known(known: &mut [Known; RING], number: u64) -> &mut Known {
    let known = &mut known[number as usize % RING];
    if known.number != number {
        *known = Known { number, ..Known::default() };
    }
    known
}

fn number(id: &str) -> u64 {
    id.parse().expect("ids are numbers here")
}

fn hear(all: &mut [Known; RING], warning: &Warning<'_>) {
    let is_lost = matches!(warning.kind, WarningKind::EventLost | WarningKind::EventTooLarge);
    if is_lost {
        let known = known(all, number(warning.request_id));
        assert!(!known.is_reported && !known.is_handed);
        known.is_reported = true;
        return;
    }
    let fate = match warning.kind {
        WarningKind::Refused { .. } if !warning.request_id.is_empty() => Fate::Refused,
        WarningKind::FateUnknown => Fate::Unknown,
        _ => return,
    };
    // For answers that are not pipelined, the receipt tells the fate.
    let known = known(all, number(warning.request_id));
    if known.is_pipelined {
        known.is_pipelined = false;
        known.tell(fate);
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn every_invocation_has_one_fate_and_it_agrees_with_the_service() {
    let seed = setting("SOAK_SEED").unwrap_or(0x5eed);
    let default = if cfg!(debug_assertions) { 100_000 } else { 10_000_000 };
    let invocations = setting("SOAK_INVOCATIONS").unwrap_or(default);
    println!("SOAK_SEED={seed} SOAK_INVOCATIONS={invocations}");
    let machine = Machine::new(Endpoint::parse("127.0.0.1:9001").expect("an address"));
    let (mut events, mut requests) = ([0; 2048], [0; 4096]);
    let mut host = Host {
        client: Client::new(machine, &mut events[..], &mut requests[..]),
        service: Service::new(Chance::new(!seed), invocations),
        chance: Chance::new(seed),
        known: [Known::default(); RING],
        totals: Totals::default(),
        due: None,
        body: vec![b'x'; 16 * 1024],
        body_length: 0,
        pieces: 0,
        is_connected: false,
        ends: 0,
        losses: 0,
    };
    let start = Instant::now();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    host.run();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let took = start.elapsed();
    let rate = invocations as f64 / took.as_secs_f64();
    println!(
        "{took:.1?}, {rate:.0} invocations a second, {} connections lost, {} processes ended",
        host.losses, host.ends
    );
    println!("{:#?}", host.totals);
    let totals = &host.totals;
    assert_eq!(totals.of_all(), invocations);
    assert_eq!(totals.effective, host.service.taken());
    // The test harness may allocate a little in the meantime.
    assert!(allocations < 100, "{allocations} allocations");
    let each = [
        totals.taken,
        totals.taken_before,
        totals.refused,
        totals.unknown,
        totals.reported,
        totals.unseen,
    ];
    assert!(invocations < 10_000 || each.iter().all(|count| *count > 0), "{totals:?}");
}
