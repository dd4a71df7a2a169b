//! A Runtime API service that a test scripts itself, over sockets or in memory.
//!
//! The runtime runs on its own thread, and the test plays the service: it takes connections, reads
//! whole requests, and replies as it likes. Every wait is bounded: if something does not come
//! within [`PATIENCE`], the test fails.
//!
//! It has its own HTTP reader, so that it does not share the errors of the code under test.
#![forbid(unsafe_code)]

mod connection;
mod event;
mod pipe;
#[cfg(unix)]
pub mod program;
mod request;
mod running;
mod sync;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use connection::{Connection, TAKEN, reply};
pub use event::Event;
pub use pipe::{CAPACITY, Duplex, Pipe, ReadEnd};
pub use request::Request;
pub use running::Running;
pub use sync::{Gate, Lines};

/// How long something that has to happen may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long a test waits for something that must not happen.
pub const MOMENT: Duration = Duration::from_millis(100);

/// A service, which accepts connections.
pub struct Service {
    place: Place,
    incoming: Receiver<Box<dyn Duplex>>,
    /// Declared after the receiver, which must be dropped first.
    _listening: Option<Listening>,
}

/// A thread that accepts connections at this address until their receiver is gone.
struct Listening {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // One more connection wakes the thread, which then ends. Otherwise every test would leave
        // its sockets open.
        let is_seen = TcpStream::connect_timeout(&self.address, PATIENCE).is_ok();
        // Another service may listen at this address from now on.
        if let Some(thread) = self.thread.take().filter(|_| is_seen) {
            let _has_panicked = thread.join();
        }
    }
}

/// Where a runtime finds its service, and where its log goes.
#[derive(Clone)]
pub struct Place {
    address: String,
    lines: Lines,
    dial: Option<Sender<Box<dyn Duplex>>>,
}

impl Place {
    /// An address, whether or not a service is there.
    pub fn at(address: impl ToString) -> Self {
        Self { address: address.to_string(), lines: Lines::default(), dial: None }
    }

    /// An address of this machine where nothing listens, and which no other test uses.
    pub fn deserted() -> Self {
        static CALLS: AtomicU16 = AtomicU16::new(0);
        // On Linux all of 127.0.0.0/8 is loopback, so each process has its own address; a process
        // id has at most 22 bits. Systems do not assign these ports to a socket that asks for any
        // port.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, high.wrapping_add(1), middle, low);
        Self::at(SocketAddr::from((host, 20_000 + CALLS.fetch_add(1, Relaxed))))
    }

    /// The address in the form of `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the runtime has logged.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Connects to a service in memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConnectionRefused`] once the service is gone.
    pub fn dial(&self) -> io::Result<Pipe> {
        let dial = self.dial.as_ref().expect("the service is in memory");
        let (ours, theirs) = Pipe::pair();
        dial.send(Box::new(theirs)).map_err(|_| ErrorKind::ConnectionRefused)?;
        Ok(ours)
    }
}

impl Service {
    /// A service on a loopback address of this machine.
    pub fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into())
    }

    /// A service at this place, with the log of the runtime that tries to reach it there.
    pub fn start_on(place: &Place) -> Self {
        let address = place.address.parse().expect("an address of a socket");
        let mut service = Self::start_at(address);
        service.place.lines = place.lines.clone();
        service
    }

    /// A service at this address.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("loopback addresses can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, incoming) = channel::<Box<dyn Duplex>>();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection on loopback");
                stream.set_nodelay(true).expect("a socket has this option");
                if sender.send(Box::new(stream)).is_err() {
                    return;
                }
            }
        });
        let listening = Listening { address, thread: Some(thread) };
        Self { place: Place::at(address), incoming, _listening: Some(listening) }
    }

    /// A service that is reached only through [`Place::dial`].
    pub fn in_memory() -> Self {
        let (sender, incoming) = channel();
        let place = Place { dial: Some(sender), ..Place::at("memory:1") };
        Self { place, incoming, _listening: None }
    }

    /// The place of the service.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The address in the form of `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> String {
        self.place.address.clone()
    }

    /// What the runtime has logged.
    pub fn lines(&self) -> &Lines {
        self.place.lines()
    }

    /// Takes the next connection.
    #[track_caller]
    pub fn connection(&self) -> Connection {
        self.connection_within(PATIENCE).expect("no connection came")
    }

    /// Takes the next connection if it comes in this time.
    pub fn connection_within(&self, patience: Duration) -> Option<Connection> {
        match self.incoming.recv_timeout(patience) {
            Ok(stream) => Some(Connection::new(stream)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the service has ended"),
        }
    }

    /// Takes the next connection, replies to its request with these bytes and closes it; returns the
    /// request.
    #[track_caller]
    pub fn answer_one(&self, reply: impl AsRef<[u8]>) -> Request {
        let mut connection = self.connection();
        let request = connection.request();
        connection.send(reply);
        request
    }

    /// Takes the connections of `slots` slots, each with its `next` open.
    #[track_caller]
    pub fn open_slots(&self, slots: usize) -> Vec<Connection> {
        let mut connections: Vec<_> = (0..slots).map(|_| self.connection()).collect();
        for connection in &mut connections {
            connection.expect_next();
        }
        connections
    }

    /// Registers the extension without events that a runtime has in order to get SIGTERM, and
    /// returns the connection on which its `next` is open.
    #[track_caller]
    pub fn register_extension(&self) -> Connection {
        let mut connection = self.connection();
        let request = connection.request();
        connection.register_extension(&request);
        connection
    }

    /// Checks that no connection comes for a moment.
    #[track_caller]
    pub fn expect_no_connection(&self) {
        assert!(self.connection_within(MOMENT).is_none(), "a connection came that should not");
    }
}

/// The outcome of one invocation.
pub struct Outcome {
    /// The request that answered it.
    pub request: Request,
    /// What the runtime has logged.
    pub lines: Vec<String>,
}

impl Outcome {
    /// Serves this event to a runtime and takes its answer, checks that the runtime continues, and
    /// stops it.
    #[track_caller]
    pub fn of<E: std::fmt::Display>(service: &Service, run: Running<E>, event: Event) -> Self {
        let mut connection = service.connection();
        connection.invoke(event);
        let request = connection.request();
        connection.take_answer();
        connection.expect_next();
        Self { request, lines: run.stop() }
    }
}
