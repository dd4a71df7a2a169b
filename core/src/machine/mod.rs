//! The protocol state machine: one value per runtime client, driven by the embedder.
//!
//! Its methods are of three kinds:
//!
//! | kind | methods |
//! |---|---|
//! | queries | [`phase`](Machine::phase), [`invocation`](Machine::invocation), [`awaits`](Machine::awaits), [`unsent`](Machine::unsent), [`announced`](Machine::announced), [`must_reconnect`](Machine::must_reconnect) |
//! | input | [`receive`](Machine::receive), [`end_of_stream`](Machine::end_of_stream), [`sent`](Machine::sent), [`on_disconnect`](Machine::on_disconnect) |
//! | commands | [`next`](Machine::next), [`respond`](Machine::respond), [`fail`](Machine::fail), [`stream`](Machine::stream), [`chunk`](Machine::chunk), [`finish`](Machine::finish), [`finish_with_error`](Machine::finish_with_error), [`fail_init`](Machine::fail_init), [`restore_next`](Machine::restore_next), [`fail_restore`](Machine::fail_restore), [`withdraw`](Machine::withdraw), [`shut_down`](Machine::shut_down) |
//!
//! The embedder sends the bytes that a command has written, and does what [`Recovery`] and
//! [`Outcome::action`](crate::api::Outcome::action) say.
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
//! The service recognises duplicates if it runs one invocation at a time, or if the attempt has its
//! own id. An interim reply (1xx) counts as a part of the reply. A chunk continues the request that
//! `stream` began, so the answer counts as partly sent even if no byte of the chunk was sent. A
//! response or error is not sent again once all of a pipelined `next` after it was sent: by then,
//! the embedder may have freed the body.

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

/// What [`Machine::receive`] returns. Each slice ends at the cursor.
#[derive(Clone, Copy, Debug)]
pub enum Event<'b> {
    /// The head of an invocation. Its body follows.
    Invocation(InvocationHead<'b>),
    /// A piece of the event, never empty.
    Body(&'b [u8]),
    /// The event is complete: the phase is now [`Phase::Invoking`].
    InvocationEnd,
    /// A piece of the document in which the service explains a refusal; the outcome follows.
    /// [`ServiceError`](crate::api::ServiceError) reads the whole.
    Detail(&'b [u8]),
    /// The outcome of a complete reply that is not an event.
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

/// The state of the protocol, from the first request to the end of the session.
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
    /// The outcome of the reply whose body is arriving; `None` if that is an event.
    outcome: Option<Outcome>,
    must_reconnect: bool,
    /// Whether a part of a reply has arrived since the last command.
    is_reply_begun: bool,
    losses: u32,
    /// Whether the last reply said that there is no invocation.
    was_empty: bool,
}

impl Machine {
    /// A new machine, the only one of its environment.
    ///
    /// For one of several, use [`with_concurrency`](Self::with_concurrency): such a machine must
    /// not send an answer again where the service could take the second copy for the answer to
    /// another invocation.
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
            is_reply_begun: false,
            losses: 0,
            was_empty: false,
        }
    }

    /// Resets everything but the endpoint and the concurrency.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self::with_concurrency(self.endpoint.clone(), self.concurrency);
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// The invocation that is arriving, in flight, or being answered.
    pub fn invocation(&self) -> Option<&InvocationIds> {
        self.state.has_invocation().then_some(&self.ids)
    }

    /// The invocation in flight or, if there is none, the previous one; empty before the first.
    pub(crate) fn latest_ids(&self) -> &InvocationIds {
        &self.ids
    }

    /// Whether the answer to the invocation in flight is being streamed.
    pub fn is_streaming(&self) -> bool {
        self.state.is_streaming()
    }

    /// Whether an event has begun to arrive and is not complete.
    pub(crate) fn is_receiving(&self) -> bool {
        self.state == State::Receiving
    }

    /// Whether the next invocation has been asked for.
    pub fn is_asked(&self) -> bool {
        self.state.is_asked()
    }

    /// The call whose reply comes next, if any is outstanding.
    pub fn awaits(&self) -> Option<Call> {
        self.state.awaits()
    }

    /// Returns the bytes to send, in order: what is left of the head, of the body, and of a
    /// pipelined `next`.
    ///
    /// `head` is the buffer that the commands have written to, from its beginning; bytes after
    /// theirs are ignored. `body` is the whole body of the answer or the chunk. Slices that are too
    /// short yield less and never panic: if all three parts are empty while
    /// [`unsent_len`](Self::unsent_len) is not 0, these are not the slices of the command.
    pub fn unsent<'a>(&self, head: &'a [u8], body: &'a [u8]) -> [&'a [u8]; 3] {
        self.sending.unsent(head, body)
    }

    /// Whether a request is to be sent and no byte of it has been sent.
    pub(crate) fn is_request_untouched(&self) -> bool {
        self.sending.written() == Written::Nothing
    }

    /// The number of bytes to send.
    pub fn unsent_len(&self) -> usize {
        self.sending.unsent_len()
    }

    /// Whether a reply has arrived in part.
    pub fn is_inside_reply(&self) -> bool {
        self.reader.is_inside()
    }

    /// How often in a row a connection was lost without a whole reply, or the service was too busy
    /// to hand out an invocation
    /// ([`Action::ContinueAfterBackoff`](crate::api::Action::ContinueAfterBackoff)). The first such
    /// reply counts twice, so that it already causes a pause. A second 204 in a row sets the count
    /// to 2.
    ///
    /// From 2 on, wait before connecting, longer each time: some services accept a connection and
    /// close it immediately (AWS's emulator does, before it is first invoked).
    pub fn losses(&self) -> u32 {
        self.losses
    }

    /// The number of announced bytes of the event that follow without framing between them. Use it
    /// to read a large event into place, not to reserve that much memory in advance.
    pub fn announced(&self) -> u64 {
        if self.outcome.is_none() { self.reader.announced() } else { 0 }
    }

    /// Whether this connection can carry no further request: the service closes it, replied before
    /// it had the whole request, or sent an invalid reply; or the connection was used for a
    /// restore.
    ///
    /// Drop it and call [`on_disconnect`](Self::on_disconnect); commands are refused until then.
    pub fn must_reconnect(&self) -> bool {
        self.must_reconnect && !self.is_inside_reply()
    }

    /// The address and the user agent.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Makes the transition for `input`, if there is one.
    #[inline(always)]
    fn enter(&mut self, input: Input) {
        if let Some(state) = self.state.after(input) {
            self.state = state;
        }
    }
}
