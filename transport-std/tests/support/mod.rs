//! A Runtime API service whose script is the test itself, over real sockets.
//!
//! The runtime runs on a thread of its own, and the test plays the service: it takes connections,
//! reads requests whole, and answers as it likes. Every wait is bounded: what does not come within
//! [`PATIENCE`] fails the test.
#![allow(dead_code, unused_imports, reason = "every test binary uses its part of it")]

mod connection;
mod event;
mod request;
mod sync;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use lambda_proto_std::{Endpoint, Error, Failure, Invocation, Reply, Runtime, Sent, StopHandle};

pub(crate) use connection::{Connection, TAKEN};
pub(crate) use event::Event;
pub(crate) use request::Request;
pub(crate) use sync::{Gate, Lines};

/// How long anything may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long is waited for something that must not happen.
pub(crate) const MOMENT: Duration = Duration::from_millis(100);

/// What takes connections, and what the runtime has logged.
pub(crate) struct Service {
    address: SocketAddr,
    incoming: Receiver<TcpStream>,
    lines: Lines,
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into())
    }

    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("loopback addresses can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, incoming) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if sender.send(stream.expect("a connection on loopback")).is_err() {
                    return;
                }
            }
        });
        Self { address, incoming, lines: Lines::default() }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// A runtime that talks to this service and logs to [`lines`](Self::lines).
    pub(crate) fn runtime(&self) -> Runtime {
        runtime_at(&self.address(), &self.lines)
    }

    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Runs a runtime with one slot.
    pub(crate) fn run<F>(&self, handler: F) -> Running
    where
        F: for<'i> Fn(Invocation<'i>, Reply<'i>) -> Result<Sent<'i>, Failure>,
        F: Send + Sync + 'static,
    {
        self.run_as(self.runtime(), handler)
    }

    /// Runs a runtime that the test has made.
    pub(crate) fn run_as<F>(&self, runtime: Runtime, handler: F) -> Running
    where
        F: for<'i> Fn(Invocation<'i>, Reply<'i>) -> Result<Sent<'i>, Failure>,
        F: Send + Sync + 'static,
    {
        Running::new(&self.lines, runtime.stop_handle(), move || runtime.run(handler))
    }

    /// Takes the next connection.
    pub(crate) fn connection(&self) -> Connection {
        self.connection_within(PATIENCE).expect("no connection came")
    }

    pub(crate) fn connection_within(&self, patience: Duration) -> Option<Connection> {
        match self.incoming.recv_timeout(patience) {
            Ok(stream) => Some(Connection::new(stream)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the service has ended"),
        }
    }

    pub(crate) fn expect_no_connection(&self) {
        assert!(self.connection_within(MOMENT).is_none(), "a connection came that should not");
    }
}

pub(crate) fn runtime_at(address: &str, lines: &Lines) -> Runtime {
    let endpoint = Endpoint::parse(address).expect("the test's address is one");
    let lines = lines.clone();
    Runtime::new(endpoint).log(move |line| lines.push(line.to_string()))
}

/// A runtime on a thread of its own.
pub(crate) struct Running {
    stop: StopHandle,
    result: Receiver<Result<(), Error>>,
    lines: Lines,
}

impl Running {
    pub(crate) fn new(
        lines: &Lines,
        stop: StopHandle,
        run: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Self {
        let (sender, result) = channel();
        thread::spawn(move || sender.send(run()));
        Self { stop, result, lines: lines.clone() }
    }

    pub(crate) fn stop_handle(&self) -> &StopHandle {
        &self.stop
    }

    /// Stops the runtime, which must end well; returns what it has logged.
    pub(crate) fn stop(self) -> Vec<String> {
        self.stop.stop();
        let lines = self.lines.clone();
        self.end().expect("a runtime that is stopped ends well");
        lines.all()
    }

    /// Waits until the runtime ends by itself.
    pub(crate) fn end(self) -> Result<(), Error> {
        self.result.recv_timeout(PATIENCE).expect("the runtime has not ended, or has panicked")
    }

    /// Waits until the runtime ends with an error, and returns the line that says why.
    pub(crate) fn error(self) -> String {
        self.end().expect_err("the runtime must end with an error").to_string()
    }
}

/// What one invocation led to.
pub(crate) struct Outcome {
    pub(crate) request: Request,
    pub(crate) lines: Vec<String>,
}

/// Runs one invocation whose service takes every answer, and sees to it that the loop goes on.
pub(crate) fn invoke_once<F>(event: Event, handler: F) -> Outcome
where
    F: for<'i> Fn(Invocation<'i>, Reply<'i>) -> Result<Sent<'i>, Failure>,
    F: Send + Sync + 'static,
{
    let service = Service::start();
    let run = service.run(handler);
    let mut connection = service.connection();
    connection.invoke(event);
    let request = connection.request();
    connection.take_answer();
    connection.expect_next();
    Outcome { request, lines: run.stop() }
}
