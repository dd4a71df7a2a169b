//! Shared by the tests of the machine: commands and situations as data, and events that own their
//! bytes.

// Each test binary uses a part of this.
#![allow(dead_code)]

pub(crate) mod facts;
pub(crate) mod recording;

use lambda_proto::api::{Call, Concurrency, ContentType, Endpoint, ErrorReport, Outcome};
use lambda_proto::machine::{CommandError, Event, Machine, ReceiveError, Recovery};

pub(crate) const REQUEST_ID: &str = "7b3c";
pub(crate) const ATTEMPT_ID: &str = "attempt-1";
pub(crate) const ACCEPTED: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";
/// An event whose head announces more bytes than follow.
pub(crate) const CUT_EVENT: &[u8] =
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b3c\r\nContent-Length: 9\r\n\r\n\"A";

pub(crate) fn machine() -> Machine {
    machine_for(Concurrency::Single)
}

pub(crate) fn machine_for(concurrency: Concurrency) -> Machine {
    let endpoint = Endpoint::parse("127.0.0.1:9001").expect("an address and a port");
    Machine::with_concurrency(endpoint, concurrency)
}

pub(crate) fn report() -> ErrorReport<'static> {
    ErrorReport::new("Function.Broken", "it broke")
}

/// A whole event, with further header lines.
pub(crate) fn event(request_id: &str, more_fields: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {request_id}\r\n{more_fields}\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
    )
    .into_bytes()
}

/// A reply that is not an event, with a document of the service.
pub(crate) fn answer(status: u16, document: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{document}",
        document.len(),
    )
    .into_bytes()
}

/// The commands of a machine, without their arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    Next,
    Respond,
    Fail,
    Stream,
    Chunk,
    EmptyChunk,
    Finish,
    FinishWithError,
    FailInit,
    RestoreNext,
    FailRestore,
}

pub(crate) const BODY: &[u8] = b"{\"ok\":true}";

impl Command {
    pub(crate) const ALL: [Self; 11] = [
        Self::Next,
        Self::Respond,
        Self::Fail,
        Self::Stream,
        Self::Chunk,
        Self::EmptyChunk,
        Self::Finish,
        Self::FinishWithError,
        Self::FailInit,
        Self::RestoreNext,
        Self::FailRestore,
    ];

    pub(crate) fn give(self, to: &mut Machine, out: &mut [u8]) -> Result<usize, CommandError> {
        match self {
            Self::Next => to.next(out),
            Self::Respond => to.respond(Some(ContentType::JSON), BODY.len(), out),
            Self::Fail => to.fail(&report(), out),
            Self::Stream => to.stream(ContentType::TEXT, out),
            Self::Chunk => to.chunk(BODY.len(), out),
            Self::EmptyChunk => to.chunk(0, out),
            Self::Finish => to.finish(out),
            Self::FinishWithError => to.finish_with_error(&report(), out),
            Self::FailInit => to.fail_init(&report(), out),
            Self::RestoreNext => to.restore_next(out),
            Self::FailRestore => to.fail_restore(&report(), out),
        }
    }

    /// The body to send after the head that the command writes.
    pub(crate) fn body(self) -> &'static [u8] {
        if matches!(self, Self::Respond | Self::Chunk) { BODY } else { b"" }
    }
}

/// One thing that happens to a machine on its way into a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A command, all of which is sent.
    Do(Command),
    /// A command, nothing of which is sent.
    Say(Command),
    /// This number of the unsent bytes is sent.
    Sent(usize),
    /// All unsent bytes but this number are sent.
    SentBut(usize),
    /// A whole event arrives.
    Event,
    /// A whole event with an attempt id arrives.
    Attempt,
    /// These bytes arrive.
    Bytes(&'static [u8]),
    /// A whole reply with this status arrives.
    Status(u16),
    /// The connection ends.
    Lost(Recovery),
    /// The body of the answer is gone.
    Withdraw,
    ShutDown,
}

impl Step {
    pub(crate) fn take(self, machine: &mut Machine) {
        let mut out = [0; 1024];
        match self {
            Self::Do(command) => {
                Self::Say(command).take(machine);
                machine.sent(machine.unsent_len());
            }
            Self::Say(command) => {
                command.give(machine, &mut out).expect("the steps are legal");
            }
            Self::Sent(length) => machine.sent(length),
            Self::SentBut(length) => machine.sent(machine.unsent_len() - length),
            Self::Event => {
                receive(machine, &event(REQUEST_ID, "", "\"Ada\"")).expect("an event is awaited");
            }
            Self::Attempt => {
                let field = format!("Lambda-Runtime-Invocation-Id: {ATTEMPT_ID}\r\n");
                receive(machine, &event(REQUEST_ID, &field, "\"Ada\""))
                    .expect("an event is awaited");
            }
            Self::Bytes(bytes) => {
                receive(machine, bytes).expect("these bytes are awaited");
            }
            Self::Status(status) => {
                receive(machine, &answer(status, "")).expect("a reply is awaited");
            }
            Self::Lost(recovery) => assert_eq!(machine.on_disconnect(), recovery),
            Self::Withdraw => machine.withdraw(),
            Self::ShutDown => machine.shut_down(),
        }
    }
}

pub(crate) fn walk(concurrency: Concurrency, steps: &[Step]) -> Machine {
    let mut machine = machine_for(concurrency);
    for step in steps {
        step.take(&mut machine);
    }
    machine
}

/// Gives a command, sends all of it and returns what went over the wire.
pub(crate) fn send(machine: &mut Machine, command: Command) -> Vec<u8> {
    let mut out = [0; 4096];
    let length = command
        .give(machine, &mut out)
        .unwrap_or_else(|error| panic!("{command:?} in phase {}: {error}", machine.phase()));
    flush(machine, &out[..length], command.body())
}

/// Sends everything that is unsent, in one vectored write.
pub(crate) fn flush(machine: &mut Machine, head: &[u8], body: &[u8]) -> Vec<u8> {
    let wire = machine.unsent(head, body).concat();
    assert_eq!(wire.len(), machine.unsent_len(), "the slices hold all unsent bytes");
    machine.sent(wire.len());
    assert_eq!(machine.unsent_len(), 0);
    wire
}

/// Both halves of a request: the head with its empty line, and the body.
pub(crate) fn halves(wire: &[u8]) -> (&str, &str) {
    let (head, _) = text(wire).split_once("\r\n\r\n").expect("a request has an empty line");
    text(wire).split_at(head.len() + 4)
}

pub(crate) fn text(wire: &[u8]) -> &str {
    core::str::from_utf8(wire).expect("requests are text here")
}

/// An event that owns its bytes; pieces of one body are joined.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Invocation(Vec<u8>),
    Body(Vec<u8>),
    InvocationEnd,
    Detail(Vec<u8>),
    Outcome(Outcome),
}

impl Seen {
    pub(crate) fn reply(call: Call, status: u16) -> Self {
        Self::Outcome(Outcome::new(call, status))
    }
}

/// Takes one event, checks where its slice ends and adds it to `seen`.
pub(crate) fn receive_one(
    machine: &mut Machine,
    input: &mut &[u8],
    seen: &mut Vec<Seen>,
) -> Result<bool, ReceiveError> {
    let Some(event) = machine.receive(input)? else { return Ok(false) };
    let ends_at_cursor = |slice: &[u8]| slice.as_ptr_range().end == input.as_ptr();
    match event {
        Event::Invocation(head) => {
            assert!(ends_at_cursor(head.as_bytes()), "the head ends at the cursor");
            seen.push(Seen::Invocation(head.as_bytes().to_vec()));
        }
        Event::Body(piece) => {
            assert!(!piece.is_empty() && ends_at_cursor(piece), "a piece ends at the cursor");
            match seen.last_mut() {
                Some(Seen::Body(body)) => body.extend_from_slice(piece),
                _ => seen.push(Seen::Body(piece.to_vec())),
            }
        }
        Event::InvocationEnd => seen.push(Seen::InvocationEnd),
        Event::Detail(piece) => {
            assert!(!piece.is_empty() && ends_at_cursor(piece), "a piece ends at the cursor");
            match seen.last_mut() {
                Some(Seen::Detail(detail)) => detail.extend_from_slice(piece),
                _ => seen.push(Seen::Detail(piece.to_vec())),
            }
        }
        Event::Outcome(reply) => seen.push(Seen::Outcome(reply)),
    }
    Ok(true)
}

/// Returns all events of these bytes, or the error.
pub(crate) fn receive(machine: &mut Machine, bytes: &[u8]) -> Result<Vec<Seen>, ReceiveError> {
    let mut input = bytes;
    let mut seen = Vec::new();
    while receive_one(machine, &mut input, &mut seen)? {}
    // An incomplete head stays in the input and must be passed again; the machine has no copy of
    // it.
    assert!(input.is_empty() || bytes.ends_with(input), "the cursor only moves forward");
    Ok(seen)
}

/// The events of bytes that arrive cut at `cuts`, and the error if there is one. Bytes that are not
/// consumed are passed again together with the next piece.
pub(crate) fn receive_cut(
    machine: &mut Machine,
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> (Vec<Seen>, Option<ReceiveError>) {
    let mut seen = Vec::new();
    let mut consumed = 0;
    for arrived in cuts.into_iter().chain([bytes.len()]) {
        let mut input = &bytes[consumed..arrived];
        loop {
            match receive_one(machine, &mut input, &mut seen) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return (seen, Some(error)),
            }
        }
        consumed = arrived - input.len();
    }
    (seen, None)
}
