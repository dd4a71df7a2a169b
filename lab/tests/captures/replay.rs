//! A client that sends what a recorded one sent, and compares the replies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lambda_lab::{Answer, Event, FailureKind, Function, InvokeError, Lab, Output};

use crate::message::{Message, REQUEST_ID};
use crate::recording::{self, ID_LENGTH, NEXT, Recording};

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The result of a replay.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Each difference once, as text.
    pub(crate) differences: BTreeSet<String>,
    /// How many events were compared with recorded ones.
    pub(crate) events: usize,
}

/// Replays a recording against a new lab.
pub(crate) fn replay(recording: &Recording) -> Outcome {
    // As in the recordings, the process keeps running and makes no calls; the test plays the
    // runtime.
    let lab = Function::new("/bin/sleep")
        .argument("3600")
        .timeout(recording.timeout.unwrap_or(PATIENCE))
        .output(Output::Discarded)
        .start()
        .expect("a lab");
    thread::scope(|scope| {
        // The scope only ends when all callers have, so the lab is stopped even after a panic.
        let _stopped_at_the_end = Stop(&lab);
        let (tell, results) = mpsc::channel();
        let callers = [(), ()].map(|()| {
            let (post, events) = mpsc::channel();
            let (tell, lab) = (tell.clone(), &lab);
            scope.spawn(move || {
                for event in events {
                    // Waits until the runtime asks for its next event, as callers of the emulator
                    // do.
                    let _ = tell.send(lab.invoke_to_the_end(event, |_| {}));
                }
            });
            post
        });
        let connections = recording.connections.iter().map(|_| Connection::open(&lab)).collect();
        let mut replay = Replay {
            recording,
            lab: &lab,
            callers,
            results,
            connections,
            is_started: false,
            actual: BTreeMap::new(),
            outcome: Outcome::default(),
        };
        if let Err(difference) = replay.play() {
            replay.outcome.differences.insert(difference);
        }
        replay.outcome
    })
}

struct Stop<'l>(&'l Lab);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Replay<'r> {
    recording: &'r Recording,
    lab: &'r Lab,
    /// Each posts its next event when it has the answer to the one before.
    callers: [mpsc::Sender<Event>; 2],
    results: mpsc::Receiver<Result<Answer, InvokeError>>,
    connections: Vec<Connection>,
    is_started: bool,
    /// The lab's value for each recorded id or deadline, by field name and recorded value.
    actual: BTreeMap<(String, String), String>,
    outcome: Outcome,
}

impl Replay<'_> {
    /// An error is a difference after which the replay cannot continue.
    fn play(&mut self) -> Result<(), String> {
        if let Some(event) = self.recording.unasked {
            self.post(event.into())?;
        }
        let mut posted = BTreeSet::new();
        for number in 0..self.recording.turns() {
            if self.recording.told_before == Some(number) {
                self.await_caller()?;
            }
            if let Some(event) = self.recording.at_once.filter(|_| number > 0) {
                self.callers[1].send(event.into()).expect("it listens");
            }
            let connections = self.recording.connections.iter().enumerate();
            let turns: Vec<_> =
                connections.filter_map(|(at, turns)| Some((at, turns.get(number)?))).collect();
            for answer in turns.iter().flat_map(|(_, turn)| &turn.answers) {
                if let Some(id) = answer.request_id()
                    && posted.insert(id)
                {
                    self.post(self.recording.posted(&answer.body))?;
                }
            }
            for (at, turn) in &turns {
                for write in &turn.writes {
                    self.send(*at, write);
                }
            }
            for (at, turn) in turns {
                for recorded in &turn.answers {
                    self.compare_next(at, recorded)?;
                }
            }
        }
        self.end()
    }

    /// Posts an event. The first one starts the function, which voids all earlier calls.
    fn post(&mut self, event: Event) -> Result<(), String> {
        self.callers[0].send(event).expect("it listens");
        let began = Instant::now();
        while !self.is_started {
            if let Ok(Err(error)) = self.results.try_recv() {
                return Err(format!("not invoked: {error:?}"));
            }
            // The process starts after its event has been handed over, so this is late enough.
            self.is_started = runs(&self.lab.runtime_api());
            assert!(began.elapsed() < PATIENCE, "the function does not start");
            thread::yield_now();
        }
        Ok(())
    }

    fn await_caller(&mut self) -> Result<(), String> {
        let result = self.results.recv_timeout(PATIENCE).expect("every caller gets a result");
        match (result, self.recording.timeout) {
            (Ok(_), None) => Ok(()),
            (Err(InvokeError::Function(failure)), Some(_))
                if failure.kind == FailureKind::Timeout =>
            {
                self.is_started = false;
                Ok(())
            }
            (other, _) => Err(format!("the caller gets {other:?}")),
        }
    }

    /// Sends a recorded write, with the ids of this lab.
    fn send(&mut self, at: usize, write: &recording::Write) {
        let mut bytes = write.bytes.clone();
        for request in &write.requests {
            if let Some(place) = request.id.clone() {
                let recorded = std::str::from_utf8(&bytes[place.clone()]).expect("text");
                let key = (REQUEST_ID.to_owned(), recorded.to_owned());
                // An id that the service never gave out stays as it is.
                if let Some(actual) = self.actual.get(&key) {
                    bytes[place].copy_from_slice(actual.as_bytes());
                }
            }
        }
        let connection = &mut self.connections[at];
        connection.pending.extend(write.requests.iter().map(|request| request.name.clone()));
        connection.send(&bytes);
    }

    fn compare_next(&mut self, at: usize, recorded: &Message) -> Result<(), String> {
        let (request, answer) = self.connections[at].receive()?;
        let mut differ = |difference: String| {
            self.outcome.differences.insert(format!("{request}: {difference}"));
        };
        if answer.status() != recorded.status() {
            differ(format!("{}, recorded {}", answer.status(), recorded.status()));
        }
        if answer.body != recorded.body {
            differ(format!("body {}, recorded {}", show(&answer.body), show(&recorded.body)));
        }
        if answer.chunks != recorded.chunks {
            differ(format!("chunks {:?}, recorded {:?}", answer.chunks, recorded.chunks));
        }
        let (fields, recorded_fields) = (by_name(&answer), by_name(recorded));
        for name in fields.keys().filter(|name| !recorded_fields.contains_key(*name)) {
            differ(format!("{name} is sent"));
        }
        for (name, recorded) in recorded_fields {
            let Some(values) = fields.get(name) else {
                differ(format!("{name} is not sent"));
                continue;
            };
            let expected = match name {
                // Only has to be present.
                "Date" => continue,
                // May have another value, but the same one wherever the recorded values are equal.
                // Different recorded ids must have different values.
                REQUEST_ID | DEADLINE => {
                    let key = (name.to_owned(), recorded[0].to_owned());
                    let is_taken = self.actual.values().any(|known| known == values[0]);
                    let is_new = !self.actual.contains_key(&key);
                    if name == REQUEST_ID && (values[0].len() != ID_LENGTH || is_new && is_taken) {
                        differ(format!("{name} is {values:?}, not a new id"));
                        continue;
                    }
                    vec![&**self.actual.entry(key).or_insert_with(|| values[0].to_owned())]
                }
                _ => recorded,
            };
            if *values != expected {
                differ(format!("{name} is {values:?}, recorded {expected:?}"));
            }
        }
        self.outcome.events += usize::from(answer.request_id().is_some());
        Ok(())
    }

    /// Checks that requests without a recorded reply have had none here either: posts a last event,
    /// which must be the first reply that they get. This needs no waiting for silence.
    fn end(&mut self) -> Result<(), String> {
        for at in 0..self.connections.len() {
            let Some(first) = self.connections[at].pending.front().cloned() else { continue };
            if self.recording.hung_up {
                self.instead_of_hanging_up(at)?;
                continue;
            }
            assert_eq!(first, "next", "everything else is answered");
            self.post(LAST.into())?;
            let (_, answer) = self.connections[at].receive()?;
            if (answer.status(), &answer.body[..]) != (200, LAST.as_bytes()) {
                let difference = format!("next waited for {}", brief(&answer));
                self.outcome.differences.insert(difference);
            }
        }
        Ok(())
    }

    /// The recorded service crashed without a reply, so every reply here is a difference.
    fn instead_of_hanging_up(&mut self, at: usize) -> Result<(), String> {
        let mut may_ask_again = false;
        if self.recording.at_once.is_none() {
            may_ask_again = !self.is_started;
            self.post(LAST.into())?;
        }
        while !self.connections[at].pending.is_empty() {
            let Ok((request, answer)) = self.connections[at].receive() else { return Ok(()) };
            if may_ask_again && answer.status() == 500 {
                // This `next` was sent before the function started, which voids it if the lab had
                // read it by then. Whether it had cannot be seen from here.
                may_ask_again = false;
                self.connections[at].send(NEXT.as_bytes());
                self.connections[at].pending.push_back(request);
                continue;
            }
            let difference = format!("{request}: {}, recorded the end", brief(&answer));
            self.outcome.differences.insert(difference);
        }
        Ok(())
    }
}

const DEADLINE: &str = "Lambda-Runtime-Deadline-Ms";

/// The event for a `next` that has no recorded event.
const LAST: &str = "the last";

fn by_name(message: &Message) -> BTreeMap<&str, Vec<&str>> {
    let mut fields: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in &message.fields {
        fields.entry(name).or_default().push(value);
    }
    fields
}

fn brief(answer: &Message) -> String {
    format!("{} {}", answer.status(), show(&answer.body))
}

fn show(body: &[u8]) -> String {
    let beginning = String::from_utf8_lossy(&body[..body.len().min(200)]);
    format!("{beginning:?} ({} bytes)", body.len())
}

/// Whether the function runs whose Runtime API is at this address.
fn runs(runtime_api: &str) -> bool {
    let variable = format!("AWS_LAMBDA_RUNTIME_API={runtime_api}");
    let processes = std::fs::read_dir("/proc").expect("a Linux").filter_map(Result::ok);
    // The environments of other users' processes cannot be read.
    let mut environments =
        processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
    environments.any(|it| it.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes()))
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// The requests that have no reply yet.
    pending: VecDeque<String>,
}

impl Connection {
    fn open(lab: &Lab) -> Self {
        let stream = TcpStream::connect(lab.runtime_api()).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Self { stream, received: Vec::new(), pending: VecDeque::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        // If the lab has closed the connection, the missing reply shows it.
        let _ = self.stream.write_all(bytes);
    }

    /// The next reply, and the name of its request.
    fn receive(&mut self) -> Result<(String, Message), String> {
        let request = self.pending.front().expect("answers are for requests").clone();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            if let Some((message, length)) = Message::parse(&self.received) {
                self.received.drain(..length);
                if message.status() >= 200 {
                    self.pending.pop_front();
                }
                return Ok((request, message));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(format!("{request}: the connection ends")),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) => return Err(format!("{request}: no reply, {}", error.kind())),
            }
        }
    }
}
