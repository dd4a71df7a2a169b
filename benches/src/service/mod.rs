//! The Runtime API for the measurements: one thread that replies immediately with canned bytes.
//!
//! It stands apart from `lambda-proto-service` because its own cost must not show in the
//! measurements.
//!
//! It sends events only while [`Service::serve`] runs: between two calls every slot of the client
//! waits for one. A client with one connection is served with blocking reads and writes, which are
//! the cheapest, so that the service disturbs the measurement least; clients with several are
//! served with `epoll`.

mod connection;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use lambda_benches::canned::{self, Canned, TAKEN};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{Timespec, epoll::Event};

use crate::error::{During, Error, Result};
use connection::{Connection, Request};

/// How long to wait for a client to do something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a client may be without connections before it counts as ended.
const GRACE: Duration = Duration::from_secs(2);

const LISTENER: u64 = u64::MAX;

/// More invocations than a client can have in flight, unless some of them are overtaken that often.
const IN_HAND: usize = 8192;

/// What the events are, and what a client has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// JSON of this many bytes; the same bytes.
    Echo(usize),
    /// A request for `/`; a response whose body is [`canned::HELLO`].
    Http,
}

impl Exchange {
    fn event(self) -> Vec<u8> {
        match self {
            Self::Echo(length) => canned::event(length),
            Self::Http => canned::http_event(),
        }
    }
}

pub(crate) struct Service {
    listener: TcpListener,
    epoll: OwnedFd,
    events: Vec<Event>,
    room: Box<[u8]>,
    connections: Vec<Connection>,
    state: State,
    is_blocking: bool,
}

/// The invocations of all connections: a client with a connection pool may send an answer on
/// another connection than the one on which it got the event.
struct State {
    canned: Canned,
    exchange: Exchange,
    /// Connections whose `next` is open.
    waiting: Vec<usize>,
    /// The number of connections that have not ended.
    alive: usize,
    /// The numbers of the invocations in flight, plus one, each at its number modulo the length.
    in_flight: Box<[usize]>,
    /// Those whose place another invocation has taken, because the client lets some slots wait.
    overtaken: HashSet<usize>,
    given: usize,
    answered: usize,
    last: usize,
    /// Whether answers are compared byte by byte.
    checks_bodies: bool,
}

impl Service {
    /// Starts a service with these events.
    pub(crate) fn start(exchange: Exchange) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("cannot listen on 127.0.0.1")?;
        listener.set_nonblocking(true).during("cannot make a socket non-blocking")?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).during("cannot create an epoll")?;
        let data = EventData::new_u64(LISTENER);
        epoll::add(&epoll, &listener, data, EventFlags::IN).during("cannot add to epoll")?;
        Ok(Self {
            listener,
            epoll,
            events: Vec::with_capacity(1024),
            room: vec![0; 256 * 1024].into(),
            connections: Vec::new(),
            state: State {
                canned: Canned::new(&exchange.event()),
                exchange,
                waiting: Vec::new(),
                alive: 0,
                in_flight: vec![0; IN_HAND].into(),
                overtaken: HashSet::new(),
                given: 0,
                answered: 0,
                last: 0,
                checks_bodies: true,
            },
            is_blocking: false,
        })
    }

    pub(crate) fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().during("cannot get the address of the service")
    }

    /// Waits until this many slots wait for an event.
    pub(crate) fn wait_for_slots(&mut self, slots: usize) -> Result<()> {
        while self.state.waiting.len() < slots {
            self.turn()?;
        }
        Ok(())
    }

    /// From now on, bodies are only counted and not compared, and a single connection is served
    /// with blocking calls if `may_block` is set.
    pub(crate) fn become_fast(&mut self, may_block: bool) -> Result<()> {
        self.state.checks_bodies = false;
        let mut alive = self.connections.iter().filter(|connection| !connection.is_over());
        if let (true, Some(only), None) = (may_block, alive.next(), alive.next()) {
            only.become_blocking(&self.epoll)?;
            self.is_blocking = true;
        }
        Ok(())
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Sends this many events, each as soon as a slot asks for one, and waits until all are
    /// answered and all slots wait again. Returns the time that this took.
    pub(crate) fn serve(&mut self, invocations: usize) -> Result<Duration> {
        let slots = self.state.waiting.len();
        let began = Instant::now();
        self.state.last = self.state.given + invocations;
        for index in std::mem::take(&mut self.state.waiting) {
            self.connections[index].responder(&mut self.state, index, Replies::NEXT)?;
        }
        while self.state.answered < self.state.last || self.state.waiting.len() < slots {
            if self.is_blocking {
                self.serve_only()?;
            } else {
                self.turn()?;
            }
        }
        Ok(began.elapsed())
    }

    /// Serves the only connection, with blocking calls.
    fn serve_only(&mut self) -> Result<()> {
        let alive = |connection: &Connection| !connection.is_over();
        let index = self.connections.iter().position(alive).ok_or_else(has_gone)?;
        self.connections[index].take(&mut self.state, index, &mut self.room, true)
    }

    /// Waits for any connection, and serves all that are ready.
    fn turn(&mut self) -> Result<()> {
        // A client without connections has probably ended, but some close a connection before they
        // open another.
        let patience =
            if self.state.alive == 0 && !self.connections.is_empty() { GRACE } else { PATIENCE };
        let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: 0 };
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, Some(&patience)) {
            Ok(0) if self.state.alive == 0 => return Err(has_gone()),
            Ok(0) => {
                return Err(Error::new(format!("the client did nothing for {PATIENCE:?}")));
            }
            Err(rustix::io::Errno::INTR) => return Ok(()),
            result => result.during("epoll")?,
        };
        for at in 0..self.events.len() {
            let Event { flags, data } = self.events[at];
            if data.u64() == LISTENER {
                self.accept()?;
                continue;
            }
            let index = data.u64() as usize;
            let connection = &mut self.connections[index];
            if flags.contains(EventFlags::OUT) {
                connection.flush(&self.state.canned)?;
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                connection.take(&mut self.state, index, &mut self.room, false)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nodelay(true).during("cannot set TCP_NODELAY")?;
            stream.set_nonblocking(true).during("cannot make a socket non-blocking")?;
            let data = EventData::new_u64(self.connections.len() as u64);
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&self.epoll, &stream, data, flags).during("cannot add to epoll")?;
            self.connections.push(Connection::new(stream));
            self.state.alive += 1;
        }
        Ok(())
    }
}

fn has_gone() -> Error {
    Error::new("the client ended or closed its connections")
}

/// The replies to send on a connection.
#[derive(Clone, Copy, Default)]
struct Replies {
    taken: bool,
    next: bool,
}

impl Replies {
    const NEXT: Self = Self { taken: false, next: true };
}

impl State {
    /// The part of the canned bytes that is due. If there are no more events, a `next` stays open.
    fn due(&mut self, index: usize, replies: Replies) -> std::ops::Range<usize> {
        let start = if replies.taken { 0 } else { TAKEN.len() };
        if !replies.next || self.given == self.last {
            if replies.next {
                self.waiting.push(index);
            }
            return start..TAKEN.len();
        }
        self.canned.set_number(self.given);
        let place = &mut self.in_flight[self.given % IN_HAND];
        if let Some(overtaken) = place.checked_sub(1) {
            self.overtaken.insert(overtaken);
        }
        *place = self.given + 1;
        self.given += 1;
        start..self.canned.bytes().len()
    }

    /// Takes note of the head of an answer.
    fn begin_answer(&mut self, number: usize) -> Result<()> {
        let place = &mut self.in_flight[number % IN_HAND];
        if *place == number + 1 {
            *place = 0;
        } else if !self.overtaken.remove(&number) {
            return Err(Error::new(format!(
                "the client answered invocation {number}, which is not in flight"
            )));
        }
        Ok(())
    }

    fn note(&mut self, request: Request, replies: &mut Replies) {
        match request {
            Request::Next => replies.next = true,
            Request::Answer => {
                self.answered += 1;
                replies.taken = true;
            }
        }
    }
}
