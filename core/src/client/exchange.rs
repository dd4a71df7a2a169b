use super::channel::Channel;
use super::receive::ReceiveBuffer;
use super::{End, Receipt, Step, Storage, Warning};
use crate::api::{ContentType, ErrorReport};
use crate::machine::{CommandError, Machine};

/// The handle for all I/O of a client and for the answer to its invocation in flight.
///
/// [`Client::exchange`](super::Client::exchange) returns one that serves every step.
/// [`Client::in_flight`](super::Client::in_flight) returns one together with the borrowed event, so
/// that an answer can be sent from the memory of its event; it serves every step up to
/// [`Step::Settled`]. The same loop can drive both.
///
/// It holds no state: it may be dropped at any moment, and the next `Exchange` continues where it
/// stopped. Until [`Step::Settled`], each of them needs the body of the answer; an embedder that
/// no longer has it [withdraws](Self::withdraw) the answer.
pub struct Exchange<'s, S> {
    pub(super) channel: &'s mut Channel<S>,
    /// `None` while the event is borrowed.
    pub(super) events: Option<&'s mut ReceiveBuffer<S>>,
}

impl<S: Storage> Exchange<'_, S> {
    /// Returns what to do now. Passes each warning to `tell`; a warning does not end the session.
    pub fn step(&mut self, mut tell: impl FnMut(&Warning<'_>)) -> Step {
        let step = self.channel.step(self.events.as_deref_mut(), &mut tell);
        self.prepare(step)
    }

    /// Returns what [`step`](Self::step) would return if nothing has happened since the last step
    /// but commands and writes: no bytes have arrived, nothing is to be warned of, and no receipt or
    /// end is due. `None` if `step` has more to do, and nothing has changed then.
    ///
    /// It takes a small part of the code of `step`. An embedder that is called for each step, as a
    /// C interface is, asks it first and keeps `step` out of line.
    #[inline]
    pub fn quiet_step(&mut self) -> Option<Step> {
        let step = self.channel.quiet_step()?;
        Some(self.prepare(step))
    }

    /// Releases the memory that is not needed while an invocation is awaited.
    #[inline(always)]
    fn prepare(&mut self, step: Step) -> Step {
        if matches!(step, Step::Read) {
            match &mut self.events {
                // The next bytes belong to the next event, and this handle does not have the memory
                // for it.
                None if self.channel.reads_events() => return Step::Settled(Receipt::Pipelined),
                Some(events) if self.channel.is_waiting() => {
                    self.channel.release();
                    events.forget_event();
                    events.release();
                }
                _ => {}
            }
        }
        step
    }

    /// Records that there is a new connection.
    pub fn connected(&mut self) {
        self.channel.connected();
    }

    /// Returns the bytes to send, in order, for a vectored write. `body` is the whole body of the
    /// answer, or the piece of the stream from the last [`chunk`](Self::chunk).
    pub fn unsent<'a>(&'a self, body: &'a [u8]) -> [&'a [u8]; 3] {
        self.channel.unsent(body)
    }

    /// Records that `length` of the unsent bytes were written. A write that takes none has
    /// [failed](Self::write_failed).
    pub fn sent(&mut self, length: usize) {
        self.channel.sent(length);
    }

    /// Records that the connection takes no more bytes. A reply that the service sent before it
    /// stopped reading is still read.
    pub fn write_failed(&mut self) {
        self.channel.write_failed();
    }

    /// Returns room to read into, never empty. If it is `None`, take the next step; if a head fills
    /// the memory, that is the end of the session.
    ///
    /// The bytes of [`unsent`](Self::unsent) may move: an embedder with a write in progress, as in
    /// a completion queue, must not read before that write has completed.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.channel.room(self.events.as_deref_mut())
    }

    /// Records that `length` bytes were read into the room; 0 is the end of the stream.
    pub fn received(&mut self, length: usize) {
        self.channel.received(length, self.events.as_deref_mut());
    }

    /// Records that the connection broke with an error, or that the embedder has dropped it.
    pub fn lost(&mut self) {
        self.channel.lost();
    }

    /// Whether there is a connection, as far as the client knows. If not, the embedder drops any
    /// connection that it still has.
    pub fn is_connected(&self) -> bool {
        self.channel.is_connected()
    }

    /// Whether the client only waits for an invocation or a restore, and nothing of it has arrived.
    pub fn is_waiting(&self) -> bool {
        self.channel.is_waiting()
    }

    /// Whether nothing is in flight or arriving, so that the embedder may stop here without losing
    /// an invocation that it knows of.
    pub fn may_stop(&self) -> bool {
        self.channel.may_stop()
    }

    /// Whether the embedder has begun to [stream](Self::stream) the response and not ended it.
    /// [`Machine::is_streaming`] is true only once the head of the stream has been encoded.
    pub fn is_streaming(&self) -> bool {
        self.channel.is_streaming()
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        self.channel.machine()
    }

    /// Why the session is over, if it is.
    pub fn end(&self) -> Option<End> {
        self.channel.end()
    }

    /// Answers the invocation with a body of `body_length` bytes. If `pipelined`, and if the memory
    /// has room for both, asks for the next one in the same write: see [`Machine::respond`] and
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

    /// Reports that the invocation failed, at the end of its stream if that has a piece, and warns
    /// `tell`.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing is sent then. [`CommandError::WrongPhase`] means that the
    /// invocation has been answered; `tell` is warned of that too.
    pub fn fail(
        &mut self,
        report: &ErrorReport<'_>,
        mut tell: impl FnMut(&Warning<'_>),
    ) -> Result<(), CommandError> {
        self.channel.fail(report, &mut tell)
    }

    /// Begins to stream the response: call [`chunk`](Self::chunk) at each [`Step::Answer`], then
    /// [`finish`](Self::finish) or [`fail`](Self::fail). If [`Step::Settled`] comes before that,
    /// the service accepts no more of the stream.
    ///
    /// Nothing is sent before the first piece or the end. Until then a lost connection costs
    /// nothing, and a stream that fails is reported as an error, as without a stream.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`] but [`BufferTooSmall`](CommandError::BufferTooSmall), which the first
    /// piece or the end returns; nothing has changed then.
    pub fn stream(&mut self, content_type: ContentType<'_>) -> Result<(), CommandError> {
        self.channel.stream(content_type)
    }

    /// Sends the next piece of the stream, which [`unsent`](Self::unsent) takes as its `body` until
    /// the next [`Step::Answer`] or [`Step::Settled`]. An empty piece sends nothing. The first
    /// piece is not written together with the head of the request but after it.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then. [`CommandError::MustReconnect`] if the
    /// service has begun to reply, perhaps only with a 100: take the next step.
    pub fn chunk(&mut self, length: usize) -> Result<(), CommandError> {
        self.channel.chunk(length)
    }

    /// Ends the stream. If `pipelined`, asks for the next invocation in the same write.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn finish(&mut self, pipelined: bool) -> Result<(), CommandError> {
        self.channel.finish(pipelined)
    }

    /// Takes back the answer, or the piece or the end of a stream, whose body is no longer
    /// available, as far as that is possible. [`Machine::withdraw`] has the table. Call it between
    /// two steps, and not before the step that follows [`received`](Self::received).
    ///
    /// | sent | then |
    /// |---|---|
    /// | no byte of the response | the invocation is unanswered again: [`Step::Answer`] |
    /// | no byte of the piece, or of the end of the stream | the stream is as it was before [`chunk`](Self::chunk) or [`finish`](Self::finish) |
    /// | a part of the response or of the piece | the connection is given up, and nothing is sent again: [`Receipt::FateUnknown`] and a warning, unless a reply has begun to arrive |
    /// | the whole response | [`Step::Settled`] comes as usual; if the connection is lost first, with [`Receipt::FateUnknown`] |
    /// | anything else, such as a report | nothing changes: it is still sent, and needs no body |
    ///
    /// [`Client::give_up`](super::Client::give_up) reports an invocation that is then unanswered.
    pub fn withdraw(&mut self) {
        self.channel.withdraw();
    }

    /// Gives up the answer, because the embedder ends before it is sent, and warns `tell`.
    pub fn abandon(&mut self, mut tell: impl FnMut(&Warning<'_>)) -> Receipt {
        self.channel.abandon(&mut tell)
    }

    /// Ends the session, whatever is in flight. The embedder drops the connection.
    pub fn shut_down(&mut self) {
        self.channel.shut_down();
    }
}
