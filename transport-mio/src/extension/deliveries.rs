//! The listener for telemetry and its connections, without waiting.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use lambda_proto_extension::collector::{Collector, Intake, Step, Telemetry};
use lambda_proto_extension::limits::{MAX_IDLE_TIME, MAX_REQUEST_TIME, MAX_TELEMETRY_CONNECTIONS};
use lambda_proto_extension::telemetry::BUSY;
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::telemetry::{ConnectionMemory, MemoryPool};
use lambda_proto_host::{Failure, Log, catch};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token, event};

use crate::socket::{Io, Socket};

/// How long a connection is read after its last reply.
const LINGER: Duration = Duration::from_secs(1);

/// The pause after a connection that could not be accepted, as without descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The most connections, with those that are refused. Further ones are closed without a reply.
pub(super) const MAX_SOCKETS: usize = 2 * MAX_TELEMETRY_CONNECTIONS;

/// The steps of one turn, so that deliveries cannot starve the rest of the program.
const STEPS: usize = 1024;

/// Dropping it logs what was lost.
pub(super) struct Deliveries {
    pub(super) collector: Collector,
    log: Log,
    registry: Registry,
    /// The first token is that of the listener.
    first: Token,
    listener: Option<TcpListener>,
    may_accept: bool,
    paused_until: Option<Instant>,
    peers: Vec<Option<Peer>>,
    memory: MemoryPool,
    /// The peer whose turn is next.
    next: usize,
    is_unfinished: bool,
}

struct Peer {
    socket: Socket,
    stage: Stage,
}

#[expect(clippy::large_enum_variant, reason = "most connections are served")]
enum Stage {
    Served(Service),
    /// Its client gets this, and nothing more.
    Refused {
        unsent: &'static [u8],
        until: Instant,
    },
    /// It is read until its end, since bytes that arrive at a closed connection reset it, and a reply
    /// that was not read yet is lost (RFC 9112 section 9.6).
    Lingers {
        until: Instant,
    },
}

struct Service {
    intake: Intake<ConnectionMemory>,
    /// When the request must be over; `None` if none has begun.
    until: Option<Instant>,
    idle_since: Option<Instant>,
}

/// What became of a peer in its turn.
enum Turn {
    Waits,
    Closes,
    /// There was more to do than fits into the turn.
    Unfinished,
}

impl Deliveries {
    pub(super) fn new(
        collector: Collector,
        listener: Option<TcpListener>,
        registry: Registry,
        first: Token,
        log: Log,
    ) -> io::Result<Self> {
        let mut listener = listener;
        if let Some(listener) = &mut listener {
            registry.register(listener, first, Interest::READABLE)?;
        }
        Ok(Self {
            collector,
            log,
            registry,
            first,
            listener,
            may_accept: true,
            paused_until: None,
            peers: (0..MAX_SOCKETS).map(|_| None).collect(),
            memory: MemoryPool::default(),
            next: 0,
            is_unfinished: false,
        })
    }

    /// Notes an event of the poll.
    pub(super) fn note(&mut self, event: &event::Event) {
        match event.token().0.checked_sub(self.first.0) {
            Some(0) => self.may_accept = true,
            Some(place) => {
                if let Some(Some(peer)) = self.peers.get_mut(place - 1) {
                    peer.socket.note(event);
                }
            }
            None => {}
        }
    }

    /// When to serve at the latest.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if self.is_unfinished {
            return Some(now);
        }
        let peers = self.peers.iter().flatten().filter_map(|peer| match &peer.stage {
            Stage::Served(service) => service.until,
            Stage::Refused { until, .. } | Stage::Lingers { until } => Some(*until),
        });
        peers.chain(self.paused_until).min()
    }

    /// Does what can be done now.
    pub(super) fn serve(
        &mut self,
        now: Instant,
        handler: &mut dyn FnMut(Telemetry<'_>) -> Result<(), Failure>,
    ) {
        self.accept(now);
        self.take_turns(now, handler);
        // The time of the handler, or of another one, is not that of the clients.
        let held = now.elapsed();
        self.peers.iter_mut().flatten().for_each(|peer| peer.leave_out(held));
    }

    fn take_turns(
        &mut self,
        now: Instant,
        handler: &mut dyn FnMut(Telemetry<'_>) -> Result<(), Failure>,
    ) {
        let mut steps = STEPS;
        self.is_unfinished = false;
        for offset in 0..self.peers.len() {
            let place = (self.next + offset) % self.peers.len();
            let Some(mut peer) = self.peers[place].take() else { continue };
            match self.take_turn(&mut peer, now, &mut steps, handler) {
                Turn::Waits => self.peers[place] = Some(peer),
                Turn::Closes => peer.socket.close(&self.registry),
                Turn::Unfinished => {
                    self.peers[place] = Some(peer);
                    self.is_unfinished = true;
                    // The others are first then.
                    self.next = (place + 1) % self.peers.len();
                    return;
                }
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        while self.may_accept {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream, now),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.may_accept = false,
                Err(error) => {
                    self.warn(format_args!("no connection for telemetry accepted: {error}"));
                    self.paused_until = now.checked_add(PAUSE);
                    return;
                }
            }
        }
    }

    /// Admits a connection, in the place of one that is idle if there is no other.
    fn admit(&mut self, stream: TcpStream, now: Instant) {
        let _without_it_replies_are_late = stream.set_nodelay(true);
        let is_served = |peer: &&Peer| matches!(peer.stage, Stage::Served(_));
        let served = self.peers.iter().flatten().filter(is_served).count();
        let Some(place) = self.peers.iter().position(Option::is_none) else {
            self.collector.connection_refused();
            return;
        };
        let is_admitted = served < MAX_TELEMETRY_CONNECTIONS || self.evict(now);
        if !is_admitted {
            self.collector.connection_refused();
        }
        let token = Token(self.first.0 + 1 + place);
        let socket = match Socket::register(stream, &self.registry, token) {
            Ok(socket) => socket,
            Err(error) => {
                self.warn(format_args!("no connection for telemetry accepted: {error}"));
                return;
            }
        };
        let stage = if is_admitted {
            let intake = Intake::new(self.memory.memory());
            Stage::Served(Service { intake, until: None, idle_since: Some(now) })
        } else {
            Stage::Refused { unsent: BUSY, until: now + LINGER }
        };
        self.peers[place] = Some(Peer { socket, stage });
    }

    /// Ends the connection that has been idle longest, if for long enough.
    fn evict(&mut self, now: Instant) -> bool {
        let Self { peers, collector, log, .. } = self;
        let idle = peers.iter_mut().flatten().filter_map(|peer| match &peer.stage {
            Stage::Served(Service { idle_since: Some(since), intake, .. })
                if intake.is_idle() && now.saturating_duration_since(*since) >= MAX_IDLE_TIME =>
            {
                Some((*since, peer))
            }
            _ => None,
        });
        let Some((_, peer)) = idle.min_by_key(|(since, _)| *since) else { return false };
        peer.linger(now, collector, log);
        true
    }

    fn take_turn(
        &mut self,
        peer: &mut Peer,
        now: Instant,
        steps: &mut usize,
        handler: &mut dyn FnMut(Telemetry<'_>) -> Result<(), Failure>,
    ) -> Turn {
        loop {
            if *steps == 0 {
                return Turn::Unfinished;
            }
            *steps -= 1;
            let Peer { socket, stage } = peer;
            match stage {
                Stage::Served(service) => match self.step(socket, service, now, handler) {
                    Progress::Made => {}
                    Progress::None => return Turn::Waits,
                    Progress::Over => peer.linger(now, &mut self.collector, &self.log),
                },
                Stage::Refused { unsent, until } => {
                    if unsent.is_empty() || now >= *until {
                        peer.linger(now, &mut self.collector, &self.log);
                        continue;
                    }
                    if !socket.is_writable() {
                        return Turn::Waits;
                    }
                    match socket.write([unsent, &[], &[]]) {
                        Io::Done(length) => *unsent = &unsent[length..],
                        Io::Blocked => return Turn::Waits,
                        Io::Failed => return Turn::Closes,
                    }
                }
                Stage::Lingers { until } => {
                    if now >= *until {
                        return Turn::Closes;
                    }
                    if !socket.is_readable() {
                        return Turn::Waits;
                    }
                    match socket.read(&mut [0; 512]) {
                        Io::Done(0) | Io::Failed => return Turn::Closes,
                        Io::Done(_) => {}
                        Io::Blocked => return Turn::Waits,
                    }
                }
            }
        }
    }

    fn step(
        &mut self,
        socket: &mut Socket,
        service: &mut Service,
        now: Instant,
        handler: &mut dyn FnMut(Telemetry<'_>) -> Result<(), Failure>,
    ) -> Progress {
        let Service { intake, until, idle_since } = service;
        match intake.step(&mut self.collector) {
            Step::Hand(telemetry) => {
                let result = catch(|| handler(telemetry));
                intake.handled(&mut self.collector, result.is_ok());
                if let Err(failure) = result {
                    self.warn(format_args!("the telemetry handler failed: {failure}"));
                }
            }
            Step::Warn(warning) => self.warn(format_args!("{warning}")),
            Step::Pass => {}
            Step::Read => {
                let is_idle = intake.is_idle();
                *idle_since = if is_idle { idle_since.or(Some(now)) } else { None };
                *until = if is_idle {
                    None
                } else {
                    until.or_else(|| now.checked_add(MAX_REQUEST_TIME))
                };
                // A client that always has something to read must not go on forever.
                if until.is_some_and(|until| now >= until) {
                    intake.lost();
                    return Progress::Made;
                }
                if !socket.is_readable() {
                    return Progress::None;
                }
                match socket.read(intake.room()) {
                    Io::Done(0) => intake.end_of_stream(),
                    Io::Done(length) => {
                        // The turn may end before the next step.
                        *idle_since = None;
                        intake.received(length, clock::now());
                    }
                    Io::Blocked => return Progress::None,
                    Io::Failed => intake.lost(),
                }
            }
            Step::Write => {
                *idle_since = None;
                let until = *until.get_or_insert(now + MAX_REQUEST_TIME);
                if now >= until {
                    intake.lost();
                    return Progress::Made;
                }
                if !socket.is_writable() {
                    return Progress::None;
                }
                match socket.write([intake.unsent(), &[], &[]]) {
                    Io::Done(length) => intake.sent(length),
                    Io::Blocked => return Progress::None,
                    Io::Failed => intake.lost(),
                }
            }
            Step::Close => return Progress::Over,
        }
        Progress::Made
    }

    /// Logs a line about a delivery, unless there were too many.
    fn warn(&mut self, line: fmt::Arguments<'_>) {
        if self.collector.may_log(clock::now()) {
            self.log.warn(line);
        }
    }
}

enum Progress {
    Made,
    /// The socket would block.
    None,
    /// The connection has to be closed.
    Over,
}

impl Peer {
    /// Leaves out this time from that of a request.
    fn leave_out(&mut self, time: Duration) {
        if let Stage::Served(Service { until, .. }) = &mut self.stage {
            *until = until.and_then(|until| until.checked_add(time));
        }
    }

    /// Sends nothing more. What has begun on the connection is over.
    fn linger(&mut self, now: Instant, collector: &mut Collector, log: &Log) {
        if let Stage::Served(Service { intake, .. }) = &mut self.stage {
            intake.lost();
            // After a loss, there are no more records and no reply.
            while let Step::Warn(warning) = intake.step(collector) {
                if collector.may_log(clock::now()) {
                    log.warn(format_args!("{warning}"));
                }
            }
        }
        self.socket.end();
        self.stage = Stage::Lingers { until: now + LINGER };
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        if let Some(listener) = &mut self.listener {
            let _closing_does_it_too = self.registry.deregister(listener);
        }
        for peer in self.peers.iter_mut().filter_map(Option::take) {
            peer.socket.close(&self.registry);
        }
        if let Some(summary) = self.collector.summary() {
            self.log.warn(format_args!("{summary}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::SocketAddr;

    use lambda_proto_extension::EnvironmentEvent;
    use lambda_proto_extension::barrier::Passage;
    use lambda_proto_extension::collector::{OwnLogs, TelemetryOptions};
    use lambda_proto_extension::subscription::TelemetryTypes;
    use lambda_proto_extension::telemetry::Losses;
    use mio::{Events, Poll};

    use super::*;

    /// Deliveries, with the loop that tells what their sockets are ready for.
    struct Loop {
        poll: Poll,
        deliveries: Deliveries,
        address: SocketAddr,
        handled: usize,
    }

    impl Loop {
        fn new() -> Self {
            let poll = Poll::new().unwrap();
            let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
            let address = listener.local_addr().unwrap();
            let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
            let collector = Collector::new(&options, OwnLogs::Extension);
            let registry = poll.registry().try_clone().unwrap();
            let log = Log::to(|_| {});
            let deliveries =
                Deliveries::new(collector, Some(listener), registry, Token(0), log).unwrap();
            Self { poll, deliveries, address, handled: 0 }
        }

        fn connect(&self) -> std::net::TcpStream {
            let client = std::net::TcpStream::connect(self.address).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            client
        }

        /// Takes turns at this time until a condition holds.
        fn run(&mut self, now: Instant, is_over: impl Fn(&Self) -> bool) {
            let mut events = Events::with_capacity(8);
            let begun = Instant::now();
            while !is_over(self) {
                assert!(begun.elapsed() < Duration::from_secs(30), "nothing happens");
                self.poll.poll(&mut events, Some(Duration::from_millis(1))).unwrap();
                events.iter().for_each(|event| self.deliveries.note(event));
                self.turn(now);
            }
        }

        /// Only accepts connections.
        fn accept_until(&mut self, now: Instant, is_over: impl Fn(&Self) -> bool) {
            let begun = Instant::now();
            while !is_over(self) {
                assert!(begun.elapsed() < Duration::from_secs(30), "no connection");
                self.deliveries.may_accept = true;
                self.deliveries.accept(now);
            }
        }

        fn turn(&mut self, now: Instant) {
            let Self { deliveries, handled, .. } = self;
            deliveries.serve(now, &mut |_| {
                *handled += 1;
                Ok(())
            });
        }

        fn peers(&self) -> impl Iterator<Item = &Peer> {
            self.deliveries.peers.iter().flatten()
        }

        fn served(&self) -> usize {
            self.peers().filter(|peer| matches!(peer.stage, Stage::Served(_))).count()
        }

        fn losses(&self) -> Losses {
            self.deliveries.collector.losses()
        }
    }

    /// A batch of this many records, all of which fit into one read.
    fn batch(records: usize) -> String {
        let body = vec![r#"{"type":"function","record":"a"}"#; records].join(",");
        let length = body.len() + 2;
        format!("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: {length}\r\n\r\n[{body}]")
    }

    /// Deliveries in the middle of a batch, because a turn ended there, and their client.
    fn in_mid_batch(now: Instant) -> (Loop, std::net::TcpStream) {
        let mut it = Loop::new();
        let mut client = it.connect();
        let batch = batch(MOST);
        assert!(batch.len() < MemoryPool::FIRST);
        client.write_all(batch.as_bytes()).unwrap();
        it.run(now, |it| it.handled > 0);
        assert!(it.handled < MOST && it.deliveries.is_unfinished, "{}", it.handled);
        (it, client)
    }

    /// More than fit into one turn.
    const MOST: usize = STEPS + STEPS / 2;

    #[test]
    fn a_client_that_sends_nothing_more_is_cut_off_when_its_request_has_taken_too_long() {
        for (sent, broken) in
            [("POST / HT", 0), ("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 9999\r\n\r\n[", 1)]
        {
            let mut it = Loop::new();
            let mut client = it.connect();
            client.write_all(sent.as_bytes()).unwrap();
            it.run(Instant::now(), |it| it.deliveries.next_timeout(Instant::now()).is_some());
            let mut deliveries = it.deliveries;
            let early = Instant::now() + MAX_REQUEST_TIME / 2;
            deliveries.serve(early, &mut |_| Ok(()));
            assert_eq!(deliveries.collector.losses().broken_batches, 0);
            let due = deliveries.next_timeout(early).unwrap();
            deliveries.serve(due, &mut |_| Ok(()));
            assert_eq!(deliveries.collector.losses().broken_batches, broken);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            // It is read from for a moment, and then forgotten.
            let due = deliveries.next_timeout(due).unwrap();
            deliveries.serve(due, &mut |_| Ok(()));
            assert!(deliveries.peers.iter().all(Option::is_none));
        }
    }
    #[test]
    fn a_connection_with_a_batch_at_hand_is_not_idle() {
        let now = Instant::now();
        let (mut it, mut client) = in_mid_batch(now);
        let others: Vec<_> = (1..MAX_TELEMETRY_CONNECTIONS).map(|_| it.connect()).collect();
        it.accept_until(now, |it| it.served() == MAX_TELEMETRY_CONNECTIONS);
        let last = it.connect();
        it.accept_until(now + MAX_IDLE_TIME, |it| it.peers().count() > it.served());
        it.run(now + MAX_IDLE_TIME, |it| it.handled == MOST);
        let mut reply = [0; 12];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"HTTP/1.1 200");
        assert_eq!((it.losses().broken_batches, it.losses().refused_connections), (0, 0));
        drop((others, last));
    }

    #[test]
    fn a_connection_that_is_ended_in_the_middle_of_a_batch_ends_the_batch() {
        let now = Instant::now();
        let (mut it, _client) = in_mid_batch(now);
        let Deliveries { peers, collector, log, .. } = &mut it.deliveries;
        peers.iter_mut().flatten().for_each(|peer| peer.linger(now, collector, log));
        assert_eq!((it.losses().broken_batches, it.handled < MOST), (1, true));
        // Nothing is waited for.
        let shutdown = br#"{"eventType":"SHUTDOWN"}"#;
        let event = EnvironmentEvent::parse(shutdown).unwrap();
        let collector = &mut it.deliveries.collector;
        collector.no_telemetry();
        collector.event(&event, clock::now());
        assert!(matches!(collector.check(clock::now()), Passage::End(_)));
    }

    #[test]
    fn a_connection_for_which_there_is_no_place_is_counted() {
        let now = Instant::now();
        let mut it = Loop::new();
        let clients: Vec<_> = (0..MAX_SOCKETS).map(|_| it.connect()).collect();
        it.accept_until(now, |it| it.peers().count() == MAX_SOCKETS);
        let refused = (MAX_SOCKETS - MAX_TELEMETRY_CONNECTIONS) as u64;
        assert_eq!(it.losses().refused_connections, refused);
        let Deliveries { peers, collector, log, .. } = &mut it.deliveries;
        peers.iter_mut().flatten().for_each(|peer| peer.linger(now, collector, log));
        let mut more = it.connect();
        it.accept_until(now, |it| it.losses().refused_connections > refused);
        assert_eq!(more.read(&mut [0]).unwrap(), 0);
        drop(clients);
    }
}
