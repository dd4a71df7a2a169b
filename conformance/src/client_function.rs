//! The test function on `lambda_proto::client::Client`, without sockets.

use std::collections::VecDeque;

use lambda_proto::api::{
    Concurrency, ContentType, Endpoint, ErrorReport, HttpPrelude, PreludeError,
};
use lambda_proto::client::{Client, Exchange, Receipt, Step, VecStorage, Warning};
use lambda_proto::limits;
use lambda_proto::machine::{CommandError, Machine};

use crate::function::{Act, Fail, describe, with_prelude};

/// A client together with the test function. The embedder owns the socket.
pub struct ClientFunction {
    client: Client<VecStorage>,
    /// The body of the response, or the piece of it that is being sent.
    body: Vec<u8>,
    /// The rest of a streamed response.
    stream: Option<Stream>,
    is_pipelined: bool,
    seen: Vec<Seen>,
}

struct Stream {
    pieces: VecDeque<Vec<u8>>,
    fail: Option<Fail>,
}

/// What a [`ClientFunction`] has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An invocation: its [description](describe), and the event.
    Invocation(String, Vec<u8>),
    /// The receipt of an answer.
    Settled(Receipt),
    /// A warning.
    Notice(String),
}

impl ClientFunction {
    /// A client that is not connected yet. If it is pipelined, it sends `next` in the same write as
    /// each answer.
    pub fn new(endpoint: Endpoint, concurrency: Concurrency, is_pipelined: bool) -> Self {
        let machine = Machine::with_concurrency(endpoint, concurrency);
        let memory = || VecStorage::new(0, usize::MAX);
        let client = Client::new(machine, memory(), memory());
        Self {
            client: client.with_max_event(limits::MAX_PAYLOAD),
            body: Vec::new(),
            stream: None,
            is_pipelined,
            seen: Vec::new(),
        }
    }

    /// Reports an init error instead of asking for events.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`].
    pub fn fail_start(&mut self) -> Result<(), CommandError> {
        self.client.fail_init(&ErrorReport::new("Function.NoStart", "it was to fail"))
    }

    /// Begins a new session after an end that allows it.
    pub fn begin_anew(&mut self) {
        self.client.begin_anew();
    }

    /// The handle for all I/O, and the body that is being sent.
    pub fn exchange(&mut self) -> (Exchange<'_, VecStorage>, &[u8]) {
        (self.client.exchange(), &self.body)
    }

    /// Everything that the function has seen so far.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// What the embedder has to do next: [`Step::Connect`], [`Step::Write`], [`Step::Read`] or
    /// [`Step::End`].
    ///
    /// # Errors
    ///
    /// The client refused a command, which is a bug of this function.
    pub fn step(&mut self) -> Result<Step, CommandError> {
        loop {
            let seen = &mut self.seen;
            match self.client.exchange().step(|warning| seen.push(Seen::of(warning))) {
                Step::Idle => self.client.ask()?,
                Step::Answer => self.go_on()?,
                Step::Settled(answer) => {
                    self.seen.push(Seen::Settled(answer));
                    self.body.clear();
                    self.stream = None;
                }
                step => return Ok(step),
            }
        }
    }

    /// Answers the invocation in flight, or streams the next piece.
    fn go_on(&mut self) -> Result<(), CommandError> {
        if let Some(mut stream) = self.stream.take() {
            let Some(piece) = stream.pieces.pop_front() else {
                return match stream.fail {
                    None => self.client.exchange().finish(self.is_pipelined),
                    Some(fail) => self.fail(&fail.error_type, &fail.message(), &fail.stack_trace),
                };
            };
            self.body = piece;
            self.stream = Some(stream);
            return match self.client.exchange().chunk(self.body.len()) {
                // The service has replied early; `Client::step` handles that.
                Err(CommandError::MustReconnect) => Ok(()),
                result => result,
            };
        }
        let Some(invocation) = self.client.invocation() else { return Ok(()) };
        let description = describe(&invocation).to_string();
        let event = invocation.body().to_vec();
        self.seen.push(Seen::Invocation(description.clone(), event.clone()));
        match Act::of(&event) {
            Act::Echo => self.respond(None, event),
            Act::Describe => self.respond(Some(ContentType::JSON), description.into_bytes()),
            Act::Answer { bytes, content_type } => {
                match content_type.as_deref().map(ContentType::new).transpose() {
                    Ok(content_type) => self.respond(content_type, b"a".repeat(bytes)),
                    Err(error) => self.fail("Function.Error", &error.to_string(), ""),
                }
            }
            Act::Fail(fail) => self.fail(&fail.error_type, &fail.message(), &fail.stack_trace),
            Act::Panic { message } => self.fail("Function.Panic", &message, ""),
            Act::Stream { content_type, chunks, fail } => match ContentType::new(&content_type) {
                Ok(content_type) => {
                    let pieces = chunks.into_iter().map(String::into_bytes).collect();
                    self.stream = Some(Stream { pieces, fail });
                    self.client.exchange().stream(content_type)
                }
                Err(error) => self.fail("Function.Error", &error.to_string(), ""),
            },
            Act::Http { status, headers, cookies, chunks } => {
                match with_prelude(status, &headers, &cookies, encoded) {
                    Ok(prelude) => {
                        let body = chunks.into_iter().map(String::into_bytes);
                        let pieces = [prelude].into_iter().chain(body).collect();
                        self.stream = Some(Stream { pieces, fail: None });
                        self.client.exchange().stream(ContentType::HTTP_INTEGRATION)
                    }
                    Err(message) => self.fail("Function.Error", &message, ""),
                }
            }
        }
    }

    fn respond(
        &mut self,
        content_type: Option<ContentType<'_>>,
        body: Vec<u8>,
    ) -> Result<(), CommandError> {
        self.body = body;
        self.client.exchange().respond(content_type, self.body.len(), self.is_pipelined)
    }

    fn fail(&mut self, error_type: &str, message: &str, trace: &str) -> Result<(), CommandError> {
        let report = ErrorReport::new(error_type, message).stack_trace(trace);
        let seen = &mut self.seen;
        self.body.clear();
        self.client.exchange().fail(&report, |warning| seen.push(Seen::of(warning)))
    }
}

impl Seen {
    fn of(warning: &Warning<'_>) -> Self {
        Self::Notice(warning.to_string())
    }
}

/// The encoded prelude, which goes before the body.
fn encoded(prelude: Result<HttpPrelude<'_>, PreludeError>) -> Result<Vec<u8>, String> {
    let prelude = prelude.map_err(|error| error.to_string())?;
    let mut room = vec![0; limits::MAX_REQUEST_HEAD];
    let length = prelude.encode(&mut room).map_err(|error| error.to_string())?;
    room.truncate(length);
    Ok(room)
}
