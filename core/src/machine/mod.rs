//! The machine: one value per runtime worker, driven by whoever owns the socket.
//!
//! Its methods fall in four kinds.
//!
//! | kind | methods |
//! |---|---|
//! | facts | [`phase`](Machine::phase), [`invocation`](Machine::invocation), [`awaits`](Machine::awaits), [`unsent`](Machine::unsent), [`announced`](Machine::announced), [`must_reconnect`](Machine::must_reconnect) |
//! | what the network says | [`receive`](Machine::receive), [`end_of_stream`](Machine::end_of_stream), [`sent`](Machine::sent), [`on_disconnect`](Machine::on_disconnect) |
//! | what the application says | [`next`](Machine::next), [`respond`](Machine::respond), [`fail`](Machine::fail), [`stream`](Machine::stream), [`chunk`](Machine::chunk), [`finish`](Machine::finish), [`finish_with_error`](Machine::finish_with_error), [`fail_init`](Machine::fail_init), [`restore_next`](Machine::restore_next), [`fail_restore`](Machine::fail_restore), [`shut_down`](Machine::shut_down) |
//! | what the caller must do | send the bytes that a command has written; do what [`Recovery`] and [`Outcome::action`](crate::api::Outcome::action) say |
//!
//! A command writes the head of a request into the caller's buffer and returns its length. The body
//! stays where it is; [`unsent`](Machine::unsent) returns both, in order, for a vectored write. The
//! [first page](crate) of the crate walks through all phases with exact bytes.
//!
#![doc = include_str!("phase.md")]
//!
//! A reply of 408 to a response or error counts as a connection lost without a reply: the service
//! had stopped waiting for a request before this one came (RFC 9110 section 15.5.9).
//!
//! The service recognises duplicates if it runs one invocation at a time, or gave the attempt an id
//! of its own. An interim reply (1xx) counts as a part of the reply. A chunk continues the request
//! that `stream` began, so a chunk of which no byte was sent is a part of an answer sent. A response
//! or error is not sent again once a pipelined `next` after it was sent whole: by then, the embedder
//! may have freed its body.

mod commands;
mod errors;
mod network;
mod phase;
mod send_progress;

pub use errors::{CommandError, ReceiveError};
use phase::{Input, State, Written};
pub use phase::{Phase, Recovery};
use send_progress::SendProgress;

use crate::api::{Call, Concurrency, Endpoint, InvocationHead, InvocationIds, Outcome};
use crate::http::ReplyReader;

/// What has arrived. Slices end where the cursor of [`Machine::receive`] stands.
#[derive(Clone, Copy, Debug)]
pub enum Event<'b> {
    /// The head of an invocation. Its body follows.
    Invocation(InvocationHead<'b>),
    /// A piece of the event, never empty.
    Body(&'b [u8]),
    /// The event is complete: the phase is now [`Phase::Invoking`].
    InvocationEnd,
    /// A piece of the document in which the service says why it refuses; the reply follows.
    /// [`ServiceError`](crate::api::ServiceError) reads the whole.
    Detail(&'b [u8]),
    /// The answer to anything but a `next` that brought an event.
    Outcome(Outcome),
}

impl PartialEq for Event<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Invocation(one), Self::Invocation(two)) => one.as_bytes() == two.as_bytes(),
            (Self::Body(one), Self::Body(two)) => one == two,
            (Self::InvocationEnd, Self::InvocationEnd) => true,
            (Self::Detail(one), Self::Detail(two)) => one == two,
            (Self::Outcome(one), Self::Outcome(two)) => one == two,
            _ => false,
        }
    }
}

/// The protocol, from the first `next` to the end of the process.
///
/// It holds no buffer, no socket and no clock, and may be stored, moved and cloned. The
/// [first page](crate) walks through it, and the [module](self) has its transitions.
#[derive(Clone, Debug)]
pub struct Machine {
    endpoint: Endpoint,
    concurrency: Concurrency,
    state: State,
    ids: InvocationIds,
    sending: SendProgress,
    reader: ReplyReader,
    /// What the reply says whose body is arriving; `None` while that is an event.
    outcome: Option<Outcome>,
    must_reconnect: bool,
    /// Something of an answer has arrived since the last command.
    is_answer_begun: bool,
    losses: u32,
    /// The last answer was that there is no invocation.
    was_empty: bool,
}

impl Machine {
    /// A machine that has not asked for anything yet, the only one of its environment.
    ///
    /// One of several must be told so by [`with_concurrency`](Self::with_concurrency): it may not send
    /// an answer twice where the service could take it for another invocation's.
    pub fn new(endpoint: Endpoint) -> Self {
        Self::with_concurrency(endpoint, Concurrency::Single)
    }

    /// A machine that is one of several in its environment, or the only one.
    pub fn with_concurrency(endpoint: Endpoint, concurrency: Concurrency) -> Self {
        Self {
            endpoint,
            concurrency,
            state: State::Init,
            ids: InvocationIds::default(),
            sending: SendProgress::default(),
            reader: ReplyReader::default(),
            outcome: None,
            must_reconnect: false,
            is_answer_begun: false,
            losses: 0,
            was_empty: false,
        }
    }

    /// Forgets everything but where the service is and whether there are other machines.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self::with_concurrency(self.endpoint.clone(), self.concurrency);
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// The invocation that is arriving, in hand, or being answered.
    pub fn invocation(&self) -> Option<&InvocationIds> {
        self.state.has_invocation().then_some(&self.ids)
    }

    /// The invocation in hand or, if there is none, the one before: empty before the first.
    pub(crate) fn latest_ids(&self) -> &InvocationIds {
        &self.ids
    }

    /// Whether the answer to the invocation in hand is being streamed.
    pub fn is_streaming(&self) -> bool {
        self.state.is_streaming()
    }

    /// Whether an event has begun to arrive that is not complete.
    pub(crate) fn is_receiving(&self) -> bool {
        self.state == State::Receiving
    }

    /// Whether the next invocation has been asked for.
    pub fn is_asked(&self) -> bool {
        self.state.is_asked()
    }

    /// The call whose answer comes next, if any is outstanding.
    pub fn awaits(&self) -> Option<Call> {
        self.state.awaits()
    }

    /// The bytes that are to be sent, in order: what is left of the head, of the body, and of a
    /// pipelined `next`.
    ///
    /// `head` is the buffer that the commands have written to, from its beginning (what stands behind
    /// what they wrote does not matter), `body` the whole body of the answer or the chunk. Slices that
    /// are shorter than was said give less, never a panic: three empty ones while
    /// [`unsent_len`](Self::unsent_len) is not 0 mean that these are not the slices of the command.
    pub fn unsent<'a>(&self, head: &'a [u8], body: &'a [u8]) -> [&'a [u8]; 3] {
        self.sending.unsent(head, body)
    }

    /// Whether nothing has been sent of a request that is to be sent.
    pub(crate) fn is_request_untouched(&self) -> bool {
        self.sending.written() == Written::Nothing
    }

    /// How many bytes are to be sent.
    pub fn unsent_len(&self) -> usize {
        self.sending.unsent_len()
    }

    /// Whether a part of an answer has arrived whose rest is missing.
    pub fn is_inside_answer(&self) -> bool {
        self.reader.is_inside()
    }

    /// How often in a row a connection was lost without a whole answer, or the service was too busy to
    /// give an invocation ([`Action::ContinueAfterPause`](crate::api::Action::ContinueAfterPause), which
    /// counts double at first, so that a pause is due at once). A second 204 in a row makes it 2.
    ///
    /// From 2 on, wait before connecting, longer each time: some services accept and hang up at once
    /// (AWS's emulator does, before it is first invoked).
    pub fn losses(&self) -> u32 {
        self.losses
    }

    /// Bytes of the event that the service has announced and that follow without framing between
    /// them. Useful for reading a large event into place; no reason to reserve so much at once.
    pub fn announced(&self) -> u64 {
        if self.outcome.is_none() { self.reader.announced() } else { 0 }
    }

    /// Whether this connection can carry no further request: the service closes it, has answered
    /// before it had all of a request, or has sent what is no answer; or it was used for a restore.
    ///
    /// Drop it and call [`on_disconnect`](Self::on_disconnect); commands are refused until then.
    pub fn must_reconnect(&self) -> bool {
        self.must_reconnect && !self.is_inside_answer()
    }

    /// The address and the user agent.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes a transition that what has arrived makes.
    fn enter(&mut self, input: Input) {
        if let Some(state) = self.state.after(input) {
            self.state = state;
        }
    }
}
