//! Loops for the tests: one on its own thread, and one that the test turns by hand.
#![allow(dead_code, unreachable_pub, missing_docs)]

#[cfg(unix)]
pub mod program;

use std::fs;
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lambda_proto_mio::{
    Endpoint, Error, Event, Failure, Invocation, Key, Receipt, Responder, Runtime, Sent, Slots,
    StopHandle,
};
use lambda_proto_service::{Connection, MOMENT, PATIENCE, Place, Running};
use mio::{Events, Poll, Registry, Token};

/// A runtime for the service at this place, which logs to the lines of the place.
pub fn runtime(place: &Place, slots: usize) -> Runtime {
    let lines = place.lines().clone();
    Runtime::new(Endpoint::parse(place.address()).unwrap())
        .slots(slots)
        .log(move |line| lines.push(line.to_string()))
}

/// Runs a runtime with a handler on its own thread.
pub fn run(
    place: &Place,
    slots: usize,
    handler: impl FnMut(Invocation, Responder) -> Result<Sent, Failure> + Send + 'static,
) -> Running<Error> {
    let runtime = runtime(place, slots);
    let stop = runtime.stop_handle();
    Running::new(place.lines(), move || stop.stop(), move || runtime.run(handler))
}

/// A loop on its own thread, which passes every event to the test.
pub struct Host {
    events: Receiver<Event>,
    stop: StopHandle,
    thread: Option<JoinHandle<()>>,
    /// The id of the thread, as the operating system knows it.
    thread_id: String,
    turns: Arc<AtomicUsize>,
}

impl Host {
    pub fn start(runtime: Runtime) -> Self {
        let (sender, events) = channel();
        let (tell, thread_id) = channel();
        let stop = runtime.stop_handle();
        let turns = Arc::<AtomicUsize>::default();
        let counted = turns.clone();
        let thread = thread::spawn(move || {
            let own = fs::read_link("/proc/thread-self").expect("the tests run on Linux");
            tell.send(own.file_name().unwrap().to_str().unwrap().to_owned()).unwrap();
            let mut turner = Turner::new(runtime);
            loop {
                while let Some(event) = turner.slots.next_event(Instant::now()) {
                    let is_end = matches!(event, Event::Ended(_));
                    // A test that has seen enough no longer listens.
                    let is_heard = sender.send(event).is_ok();
                    if is_end || !is_heard {
                        turner.turn(Duration::from_millis(20));
                        let more = turner.slots.next_event(Instant::now());
                        assert!(!is_end || more.is_none(), "{more:?} after the end");
                        return;
                    }
                }
                turner.turn(Duration::MAX);
                counted.fetch_add(1, Relaxed);
            }
        });
        let thread_id = thread_id.recv_timeout(PATIENCE).expect("the loop begins");
        Self { events, stop, thread: Some(thread), thread_id, turns }
    }

    #[track_caller]
    pub fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("the loop emits no event")
    }

    #[track_caller]
    pub fn invocation(&self) -> (Invocation, Responder) {
        match self.event() {
            Event::Invocation(invocation, responder) => (invocation, responder),
            other => panic!("not an invocation: {other:?}"),
        }
    }

    /// Takes `count` invocations, in the order of their ids.
    #[track_caller]
    pub fn invocations(&self, count: usize) -> Vec<(Invocation, Responder)> {
        let mut all: Vec<_> = (0..count).map(|_| self.invocation()).collect();
        all.sort_by(|one, other| one.0.request_id().cmp(other.0.request_id()));
        all
    }

    #[track_caller]
    pub fn answered(&self) -> (Key, Receipt) {
        match self.event() {
            Event::Settled { key, receipt } => (key, receipt),
            other => panic!("not a receipt: {other:?}"),
        }
    }

    /// The status of the reply to an answer.
    #[track_caller]
    pub fn status(&self, key: Key) -> u16 {
        match self.answered() {
            (of, Receipt::Known(outcome)) if of == key => outcome.status(),
            other => panic!("not the status of the answer of {key:?}: {other:?}"),
        }
    }

    pub fn event_within(&self, patience: Duration) -> Option<Event> {
        self.events.recv_timeout(patience).ok()
    }

    #[track_caller]
    pub fn expect_nothing(&self) {
        if let Some(event) = self.event_within(MOMENT) {
            panic!("unexpected event: {event:?}");
        }
    }

    pub fn tell_to_stop(&self) {
        self.stop.stop();
    }

    /// Waits for the end, which is the next event and the last one.
    #[track_caller]
    pub fn end(mut self) -> Result<(), Error> {
        let result = match self.event() {
            Event::Ended(result) => result,
            other => panic!("not the end: {other:?}"),
        };
        self.thread.take().unwrap().join().expect("no event follows the end");
        result
    }

    #[track_caller]
    pub fn stop(self) {
        self.tell_to_stop();
        self.end().unwrap();
    }

    /// The processor time that the loop has used.
    pub fn cpu(&self) -> Duration {
        let path = format!("/proc/self/task/{}/schedstat", self.thread_id);
        let text = fs::read_to_string(path).expect("the loop runs");
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    /// How often the loop has woken.
    pub fn turns(&self) -> usize {
        self.turns.load(Relaxed)
    }
}

/// A loop that runs only when the test turns it.
pub struct Turner {
    pub poll: Poll,
    pub slots: Slots,
    events: Events,
}

impl Turner {
    pub fn new(runtime: Runtime) -> Self {
        Self::of(|registry| runtime.register(registry, Token(0)))
    }

    pub fn of(register: impl FnOnce(&Registry) -> Result<Slots, Error>) -> Self {
        let poll = Poll::new().unwrap();
        let slots = register(poll.registry()).unwrap();
        Self { poll, slots, events: Events::with_capacity(256) }
    }

    /// Sleeps until something happens, for `most` at most, and returns the number of poll events.
    pub fn turn(&mut self, most: Duration) -> usize {
        let due = self.slots.next_timeout();
        let timeout = due.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.unwrap_or(most).min(most);
        match self.poll.poll(&mut self.events, (timeout < Duration::MAX).then_some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("{error}"),
            _ => {}
        }
        let now = Instant::now();
        for event in &self.events {
            assert!(self.slots.handle_event(event, now), "only the slots are in this loop");
        }
        self.slots.handle_timeout(now);
        self.events.iter().count()
    }

    /// Turns until there is an event.
    #[track_caller]
    pub fn event(&mut self) -> Event {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.slots.next_event(Instant::now()) {
                return event;
            }
            assert!(Instant::now() < until, "the loop emits no event");
            self.turn(MOMENT);
        }
    }

    #[track_caller]
    pub fn invocation(&mut self) -> (Invocation, Responder) {
        match self.event() {
            Event::Invocation(invocation, responder) => (invocation, responder),
            other => panic!("not an invocation: {other:?}"),
        }
    }

    /// Turns for this time; fails if there is an event.
    #[track_caller]
    pub fn idle(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Some(event) = self.slots.next_event(Instant::now()) {
                panic!("unexpected event: {event:?}");
            }
            self.turn(left);
        }
    }

    /// Turns until the condition holds; fails if there is an event before.
    #[track_caller]
    pub fn until(&mut self, condition: impl Fn(&Slots) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !condition(&self.slots) {
            assert!(Instant::now() < until, "the condition never holds");
            self.idle(Duration::from_millis(1));
        }
    }
}

/// A listener that accepts only when the test does. It stands apart from `lambda-proto-service`
/// because its queue can fill, and because tests need the sockets of its connections.
pub struct Door(TcpListener);

impl Door {
    pub fn open() -> Self {
        Self::open_at(([127, 0, 0, 1], 0).into())
    }

    pub fn open_at(address: SocketAddr) -> Self {
        Self(TcpListener::bind(address).expect("loopback addresses can be bound"))
    }

    /// A door at an address that no other test uses, so that nothing takes it when it is closed.
    pub fn open_on(place: &Place) -> Self {
        Self::open_at(place.address().parse().unwrap())
    }

    pub fn place(&self) -> Place {
        Place::at(self.0.local_addr().unwrap())
    }

    pub fn accept_within(&self, patience: Duration) -> Option<Peer> {
        let until = Instant::now() + patience;
        self.0.set_nonblocking(true).unwrap();
        loop {
            match self.0.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let connection = Connection::over(stream.try_clone().unwrap());
                    return Some(Peer { stream, connection });
                }
                Err(_) if Instant::now() > until => return None,
                Err(_) => thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    #[track_caller]
    pub fn accept(&self) -> Peer {
        self.accept_within(PATIENCE).expect("no connection came")
    }

    /// The connections of `slots` slots, each with its `next` open.
    #[track_caller]
    pub fn open_slots(&self, slots: usize) -> Vec<Peer> {
        let mut peers: Vec<_> = (0..slots).map(|_| self.accept()).collect();
        peers.iter_mut().for_each(|peer| drop(peer.expect_next()));
        peers
    }
}

/// A connection with its socket.
pub struct Peer {
    pub stream: TcpStream,
    connection: Connection,
}

impl Deref for Peer {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Peer {
    /// Whether the runtime asks for an invocation; `false` if it closes the connection instead.
    pub fn try_next(&mut self) -> bool {
        let is_alive = !matches!(self.stream.peek(&mut [0]), Ok(0) | Err(_));
        if is_alive {
            self.expect_next();
        }
        is_alive
    }

    /// Stops sending, but continues to read.
    pub fn shut_down(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// Numbers that look random and are the same in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}
