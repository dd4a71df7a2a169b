use super::channel::Channel;
use super::receive::ReceiveBuffer;
use super::{End, Receipt, Step, Storage, Warning};
use crate::api::{ContentType, ErrorReport};
use crate::machine::{CommandError, Machine};

/// The requests of a client and their replies: all of its I/O, and the answer to the invocation in flight.
///
/// [`Client::exchange`](super::Client::exchange) gives one that serves every step.
/// [`Client::in_flight`](super::Client::in_flight) gives one beside the borrowed event, so that an answer can
/// be sent from the memory of its event; it goes as far as [`Step::Settled`]. One loop serves both.
///
/// Nothing is kept in it. Dropped at any moment, it leaves a client that goes on where it was, by the next
/// `Exchange`; until [`Step::Settled`] the body of an answer must be there for each of them.
pub struct Exchange<'s, S> {
    pub(super) channel: &'s mut Channel<S>,
    /// `None` while the event is lent out.
    pub(super) events: Option<&'s mut ReceiveBuffer<S>>,
}

impl<S: Storage> Exchange<'_, S> {
    /// What there is to do now. `tell` is told of kind that ends nothing but that somebody should
    /// know of.
    pub fn step(&mut self, mut tell: impl FnMut(&Warning<'_>)) -> Step {
        let step = self.channel.step(self.events.as_deref_mut(), &mut tell);
        if matches!(step, Step::Read) && self.channel.is_waiting() {
            self.channel.release();
            if let Some(events) = &mut self.events {
                events.forget_event();
                events.release();
            }
        }
        step
    }

    /// Tells that there is a new connection.
    pub fn connected(&mut self) {
        self.channel.connected();
    }

    /// The bytes that are to be sent, in order, for a vectored write. `body` is the whole body of the
    /// answer or the piece of the stream that was told of last.
    pub fn unsent<'a>(&'a self, body: &'a [u8]) -> [&'a [u8]; 3] {
        self.channel.unsent(body)
    }

    /// Tells that `length` of the unsent bytes were written. A write that takes none has
    /// [failed](Self::write_failed).
    pub fn sent(&mut self, length: usize) {
        self.channel.sent(length);
    }

    /// Tells that the connection takes no more bytes. What the service may have said before it hung up
    /// is still read.
    pub fn write_failed(&mut self) {
        self.channel.write_failed();
    }

    /// Room to read into, never empty; `None` if there is none, and the next step says what follows: the
    /// end of the client, if a head fills the memory.
    ///
    /// What [`unsent`](Self::unsent) has given may move: a host whose write is still under way, as in a
    /// completion queue, reads when that is done.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.channel.room(self.events.as_deref_mut())
    }

    /// Tells that `length` bytes were read into the room; 0 is the end of the stream.
    pub fn received(&mut self, length: usize) {
        self.channel.received(length, self.events.as_deref_mut());
    }

    /// Tells that the connection broke with an error, or that the host has dropped it.
    pub fn lost(&mut self) {
        self.channel.lost();
    }

    /// Whether there is a connection, as far as the client knows. If not, the host drops the one that it
    /// may still have.
    pub fn is_connected(&self) -> bool {
        self.channel.is_connected()
    }

    /// Whether the client does nothing but wait for an invocation, or a restore, of which nothing has arrived.
    pub fn is_waiting(&self) -> bool {
        self.channel.is_waiting()
    }

    /// Whether nothing is in flight or on its way, so that the host may stop here and lose no invocation
    /// that it has heard of.
    pub fn may_stop(&self) -> bool {
        self.channel.may_stop()
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        self.channel.machine()
    }

    /// Why the conversation is over, if it is.
    pub fn end(&self) -> Option<End> {
        self.channel.end()
    }

    /// Answers the invocation with a body of `body_length` bytes, and asks for the next one in the same
    /// write if it is `pipelined` and the memory has room for both: see [`Machine::respond`] and
    /// [`Machine::next`].
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn respond(
        &mut self,
        content_type: Option<ContentType<'_>>,
        body_length: usize,
        pipelined: bool,
    ) -> Result<(), CommandError> {
        self.channel.respond(content_type, body_length, pipelined)
    }

    /// Reports that the invocation failed, at the end of its stream if that has begun, and tells of it.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing is sent then. [`CommandError::WrongPhase`] means that it has been
    /// answered, which is told of.
    pub fn fail(
        &mut self,
        report: &ErrorReport<'_>,
        mut tell: impl FnMut(&Warning<'_>),
    ) -> Result<(), CommandError> {
        self.channel.fail(report, &mut tell)
    }

    /// Begins to stream the answer: [`chunk`](Self::chunk) at each [`Step::Answer`], then
    /// [`finish`](Self::finish) or [`fail`](Self::fail). If [`Step::Settled`] comes before that, the
    /// service takes no more of it.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn stream(&mut self, content_type: ContentType<'_>) -> Result<(), CommandError> {
        self.channel.stream(content_type)
    }

    /// Sends the next piece of the stream, which [`unsent`](Self::unsent) takes as body.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then. [`CommandError::MustReconnect`] if the service
    /// has begun to reply, which may be a mere 100: what follows is the next step.
    pub fn chunk(&mut self, length: usize) -> Result<(), CommandError> {
        self.channel.chunk(length)
    }

    /// Ends the stream, and asks for the next invocation in the same write if it is `pipelined`.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn finish(&mut self, pipelined: bool) -> Result<(), CommandError> {
        self.channel.finish(pipelined)
    }

    /// Gives up the answer, because the host ends before it is sent, and tells of it.
    pub fn abandon(&mut self, mut tell: impl FnMut(&Warning<'_>)) -> Receipt {
        self.channel.abandon(&mut tell)
    }

    /// Ends the conversation, whatever is in flight. The host drops the connection.
    pub fn shut_down(&mut self) {
        self.channel.shut_down();
    }
}
