//! A model of the service's state machine, from the tables of its emulator: the id of an answer is
//! checked before the state (`rapi/middleware`, `core/states.go`).
//!
//! It stands apart from `lambda-proto-service` because it is a model: a value, which can be copied,
//! compared and hashed.

use std::collections::VecDeque;

/// The kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// One invocation at a time; a `next` while one runs gets the same event again.
    Redelivering,
    /// One invocation at a time; a `next` while one runs means that its event was lost with a
    /// connection, and the service gives up the invocation. A runtime that was restarted in the
    /// middle would see the same.
    Losing,
    /// Several invocations at a time, each with an attempt id, and all with the same request id:
    /// the second event is a retry of the first.
    Attempts,
    /// Several invocations at a time, without attempt ids.
    Several,
    /// Like `Several`, but all with the same request id: a second copy of the first answer cannot
    /// be told from an answer to the second invocation. So this service must not read from a lost
    /// connection later, as no runtime could make up for that.
    Reused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Started,
    Ready,
    Running,
    ResponseSent,
}

/// What the service knows of one invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) is_running: bool,
    /// The body of the answer that took effect.
    pub(crate) taken: Option<String>,
    /// Whether it was given up, because of a timeout or a lost event.
    pub(crate) is_given_up: bool,
}

/// One connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    /// Bytes from the runtime that the service has not read.
    pub(crate) up: Vec<u8>,
    /// Messages from the service that the runtime has not read; `offset` bytes of the first one
    /// have been read.
    pub(crate) down: VecDeque<Vec<u8>>,
    pub(crate) offset: usize,
    /// Whether the runtime has lost it and the service has not noticed.
    pub(crate) is_lost: bool,
    /// Whether a `next` waits on it.
    pub(crate) is_asking: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Service {
    kind: Kind,
    state: State,
    /// The invocation that ids are compared with, if one runs at a time.
    current: Option<usize>,
    pub(crate) entries: Vec<Entry>,
    /// How many events to hand out in total.
    wanted: usize,
    pub(crate) lines: Vec<Line>,
}

pub(crate) fn event(kind: Kind, number: usize) -> Vec<u8> {
    let attempt = match kind {
        Kind::Attempts => format!("Lambda-Runtime-Invocation-Id: {number}\r\n"),
        _ => String::new(),
    };
    let id = request_id(kind, number);
    format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {id}\r\n{attempt}Content-Length: 6\r\n\r\nevent{number}"
    )
    .into_bytes()
}

fn has_one_id(kind: Kind) -> bool {
    matches!(kind, Kind::Attempts | Kind::Reused)
}

pub(crate) fn request_id(kind: Kind, number: usize) -> String {
    if has_one_id(kind) { "id".to_owned() } else { format!("id{number}") }
}

fn reply(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes()
}

impl Service {
    pub(crate) fn new(kind: Kind, wanted: usize) -> Self {
        Self {
            kind,
            state: State::Started,
            current: None,
            entries: Vec::new(),
            wanted,
            lines: Vec::new(),
        }
    }

    fn is_one_at_a_time(&self) -> bool {
        matches!(self.kind, Kind::Redelivering | Kind::Losing)
    }

    /// Whether the service only waits for an event to hand out.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_one_at_a_time() || self.state == State::Ready
    }

    /// Whether a whole request waits on a connection without an unanswered `next`.
    pub(crate) fn has_request(&self, line: usize) -> bool {
        let line = &self.lines[line];
        let is_late = line.is_lost && self.kind == Kind::Reused;
        !line.is_asking && !is_late && whole(&line.up).is_some()
    }

    /// Reads one request and replies to it, or lets it wait.
    pub(crate) fn read(&mut self, line: usize) {
        let (path, body, length) = whole(&self.lines[line].up).expect("a request is there");
        self.lines[line].up.drain(..length);
        if path.ends_with("/next") {
            return self.next(line);
        }
        let status = self.answer(&path, body);
        self.lines[line].down.push_back(reply(status));
    }

    fn next(&mut self, line: usize) {
        if self.is_one_at_a_time() && self.state == State::Running {
            let number = self.current.expect("one runs");
            if self.kind == Kind::Redelivering {
                self.lines[line].down.push_back(event(self.kind, number));
                return;
            }
            self.give_up(number);
        }
        self.state = State::Ready;
        self.lines[line].is_asking = true;
    }

    /// The status of the reply to a response or an error.
    fn answer(&mut self, path: &str, body: String) -> u16 {
        // The path of a call is followed by the attempt id.
        let (path, attempt) = path.split_once(' ').expect("a path and an attempt");
        let id = path.split('/').rev().nth(1).expect("an id");
        let is_named = |number: &usize| request_id(self.kind, *number) == id;
        if self.is_one_at_a_time() {
            let Some(number) = self.current.filter(is_named) else { return 400 };
            if self.state != State::Running {
                return 403;
            }
            self.state = State::ResponseSent;
            self.take(number, body);
            return 202;
        }
        let Some(number) = (0..self.entries.len()).rev().find(is_named) else { return 400 };
        let is_other = !attempt.is_empty() && attempt != number.to_string();
        match &self.entries[number] {
            Entry { taken: Some(_), .. } => 400,
            _ if is_other => 410,
            Entry { is_running: false, .. } => 410,
            _ => {
                self.take(number, body);
                202
            }
        }
    }

    fn take(&mut self, number: usize, body: String) {
        let entry = &mut self.entries[number];
        assert!(entry.is_running, "an answer takes effect after its invocation is over");
        let before = entry.taken.replace(body);
        assert_eq!(before, None, "two answers to invocation {number} take effect");
        entry.is_running = false;
    }

    /// Whether there is an event for the `next` that waits on a connection.
    pub(crate) fn has_event(&self, line: usize) -> bool {
        let is_free = match self.kind {
            Kind::Several => true,
            // A retry follows when the previous attempt is over.
            Kind::Attempts | Kind::Reused => self.entries.iter().all(|entry| !entry.is_running),
            Kind::Redelivering | Kind::Losing => self.state == State::Ready,
        };
        self.lines[line].is_asking && is_free && self.entries.len() < self.wanted
    }

    /// Hands out an event; if one invocation runs at a time, on all connections that ask for one.
    pub(crate) fn invoke(&mut self, line: usize) {
        let number = self.entries.len();
        self.entries.push(Entry { is_running: true, ..Entry::default() });
        self.state = State::Running;
        self.current = Some(number);
        let is_for_all = self.is_one_at_a_time();
        for (at, asking) in self.lines.iter_mut().enumerate() {
            if asking.is_asking && (is_for_all || at == line) {
                asking.is_asking = false;
                asking.down.push_back(event(self.kind, number));
            }
        }
    }

    /// The invocation is over without an answer.
    pub(crate) fn give_up(&mut self, number: usize) {
        let entry = &mut self.entries[number];
        (entry.is_running, entry.is_given_up) = (false, true);
        if self.is_one_at_a_time() {
            (self.state, self.current) = (State::ResponseSent, None);
        }
    }
}

/// The path with the attempt id, the body and the length of the request that begins here, if it is
/// whole.
fn whole(bytes: &[u8]) -> Option<(String, String, usize)> {
    let text = core::str::from_utf8(bytes).expect("requests are text here");
    let (head, behind) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?;
    let field =
        |wanted: &str| lines.clone().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(": "));
    let length = field("Content-Length").map_or(0, |length| length.parse().expect("a length"));
    let attempt = field("Lambda-Runtime-Invocation-Id").unwrap_or_default();
    let path = if path.ends_with("/next") { path.to_owned() } else { format!("{path} {attempt}") };
    Some((path, behind.get(..length)?.to_owned(), head.len() + 4 + length))
}
