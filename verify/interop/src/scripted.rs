//! A service that sends a fixed script of replies, in known TCP segments.

use std::thread::{self, JoinHandle};

use lambda_proto_service::{Connection, Event, Service, TAKEN};

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
    // JSON, which some clients need.
    let event = match size.checked_sub(2) {
        Some(letters) => format!("\"{}\"", "e".repeat(letters)),
        None => "1".repeat(size),
    };
    let mut right = 0;
    // What one call of `send` takes is one write, which the loopback device carries as one segment.
    let mut due = Vec::new();
    for number in 0..events {
        let id = format!("id-{number}");
        let reply = Event::new(&id, event.as_str())
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Deadline-Ms", "4102444800000");
        due.extend(reply.bytes());
        connection.send(std::mem::take(&mut due));
        let answer = connection.request();
        let start = format!("/2018-06-01/runtime/invocation/{id}/");
        assert!(answer.method == "POST" && answer.path.starts_with(&start), "{answer:?}");
        let is_report = answer.body.starts_with(b"{\"errorType\"");
        right += usize::from(answer.body == event.as_bytes() || is_report);
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
