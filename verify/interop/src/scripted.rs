//! A service that sends a fixed script of replies, in known TCP segments.

use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lambda_proto_service::{Connection, Event, PATIENCE, Request, Service, TAKEN};

use crate::{Error, Result};

/// When the next event is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each reply is sent when its request arrives, in one segment.
    OneByOne,
    /// The next event is already waiting: it comes in one segment with the reply to the answer.
    NextIsWaiting,
}

/// A Runtime API that sends a number of events on one connection and then refuses `next` with a
/// 403, so that the runtime ends.
#[derive(Debug)]
pub struct ScriptedService {
    address: String,
    thread: JoinHandle<usize>,
}

const NO_MORE: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";

impl ScriptedService {
    /// Starts a service that sends `events` events, each a JSON text of `size` bytes.
    pub fn start(events: usize, size: usize, pace: Pace) -> Self {
        let service = Service::start();
        let address = service.address();
        let thread = thread::spawn(move || {
            let mut connection = service.connection();
            let mut first = connection.request();
            // A runtime that wants SIGTERM registers an extension, on a connection that stays open.
            let mut _extension = None;
            if !first.is_next() {
                connection.register_extension(&first);
                _extension = Some(std::mem::replace(&mut connection, service.connection()));
                first = connection.request();
            }
            assert!(first.is_next(), "not a `next`: {first:?}");
            serve(&mut connection, events, size, pace)
        });
        Self { address, thread }
    }

    /// Starts such a service for a runtime that asks and answers on several connections.
    pub fn start_on_several(events: usize, size: usize) -> Self {
        let service = Service::start();
        let address = service.address();
        let thread = thread::spawn(move || serve_several(&service, events, size));
        Self { address, thread }
    }

    /// The address on which the service listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits for the end of the session; returns how many answers were right: the event itself, or
    /// the report of an error.
    ///
    /// # Errors
    ///
    /// An [`Error`] if the session ended early; the thread has printed the reason.
    pub fn finish(self) -> Result<usize> {
        self.thread.join().map_err(|_| Error::new("the scripted service panicked"))
    }
}

/// Serves a runtime whose first `next` is open.
fn serve(connection: &mut Connection, events: usize, size: usize, pace: Pace) -> usize {
    let event = event(size);
    let mut right = 0;
    // What one call of `send` takes is one write, which the loopback device carries as one segment.
    let mut due = Vec::new();
    for number in 0..events {
        due.extend(reply(number, &event));
        connection.send(std::mem::take(&mut due));
        right += usize::from(is_right(&connection.request(), number, &event));
        due.extend(TAKEN.as_bytes());
        if pace == Pace::OneByOne {
            connection.send(std::mem::take(&mut due));
        }
        connection.expect_next();
    }
    due.extend(NO_MORE.as_bytes());
    connection.send(due);
    right
}

/// Where a session on several connections is.
#[derive(Default)]
struct Session {
    /// How many events were sent.
    sent: usize,
    right: usize,
    is_over: bool,
}

/// Serves a runtime that may use another connection for each request. It ends with the runtime.
fn serve_several(service: &Service, events: usize, size: usize) -> usize {
    let (session, event) = (Mutex::new(Session::default()), event(size));
    let converse = |mut connection: Connection| {
        while connection.has_more() {
            let request = connection.request();
            let mut session = session.lock().unwrap();
            if !request.is_next() {
                let number = session.sent.checked_sub(1).expect("an event comes first");
                session.right += usize::from(is_right(&request, number, &event));
                connection.take_answer();
            } else if session.sent < events {
                session.sent += 1;
                connection.send(reply(session.sent - 1, &event));
            } else {
                session.is_over = true;
                return connection.send(NO_MORE);
            }
        }
    };
    thread::scope(|scope| {
        let mut threads = vec![];
        let mut patience = PATIENCE;
        while !session.lock().unwrap().is_over && !patience.is_zero() {
            let moment = Duration::from_millis(10);
            if let Some(connection) = service.connection_within(moment) {
                threads.push(scope.spawn(|| converse(connection)));
            } else if threads.iter().all(|thread| thread.is_finished()) {
                patience = patience.saturating_sub(moment);
            }
        }
    });
    session.into_inner().unwrap().right
}

/// A JSON text of this length, since some clients need JSON.
fn event(size: usize) -> String {
    match size.checked_sub(2) {
        Some(letters) => format!("\"{}\"", "e".repeat(letters)),
        None => "1".repeat(size),
    }
}

/// The reply to `next` with the event of this number.
fn reply(number: usize, event: &str) -> Vec<u8> {
    Event::new(&format!("id-{number}"), event)
        .header("Content-Type", "application/json")
        .header("Lambda-Runtime-Deadline-Ms", "4102444800000")
        .bytes()
}

/// Whether this answer, which must be that of this invocation, is the event or the report of an
/// error.
fn is_right(answer: &Request, number: usize, event: &str) -> bool {
    let start = format!("/2018-06-01/runtime/invocation/id-{number}/");
    assert!(answer.method == "POST" && answer.path.starts_with(&start), "{answer:?}");
    answer.body == event.as_bytes() || answer.body.starts_with(b"{\"errorType\"")
}
