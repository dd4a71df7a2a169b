//! Input from the network: bytes, the end of the stream, a lost connection.

use super::phase::{Input, Loss, Phase, Written};
use super::send_progress::SendProgress;
use super::{Event, Machine, ReceiveError, Recovery};
use crate::api::{Action, Call, Concurrency, HeadIndex, InvocationHead, Meaning, Outcome};
use crate::http::{ReplyPart, ReplyReader, ResponseHead};

impl Machine {
    /// Takes received bytes and returns one event at a time. Call it until it returns `None`; it
    /// may return an event although `input` is empty.
    ///
    /// The cursor moves over the consumed bytes. Only an incomplete head is left in the input; pass
    /// it again with more bytes after it. Everything else is consumed as it arrives, so slices may
    /// end anywhere, and a large body may be read straight into its final place.
    ///
    /// In [`Phase::ShuttingDown`], with no reply outstanding, everything is consumed and ignored.
    ///
    /// # Errors
    ///
    /// A [`ReceiveError`] if the bytes are not a valid reply to an outstanding request. The
    /// connection is then useless, and the rest of `input` is void. Usually the session is over
    /// too, and the phase is [`Phase::ShuttingDown`]; in any other phase the session continues on a
    /// new connection: [`must_reconnect`](Self::must_reconnect) is then true.
    pub fn receive<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, ReceiveError> {
        let result = self.receive_one(input);
        if let Err(error) = result {
            *input = &[];
            self.must_reconnect = true;
            self.forget_reply();
            if error != ReceiveError::Unsolicited {
                self.enter(Input::Violation);
            }
        }
        result
    }

    /// Records an orderly end of the stream, which ends a body without length.
    ///
    /// Returns the event that this completes, if any. In either case, call
    /// [`on_disconnect`](Self::on_disconnect) next. Do not call `end_of_stream` if the connection
    /// broke with an error.
    pub fn end_of_stream(&mut self) -> Option<Event<'static>> {
        if !self.reader.end_of_stream() {
            return None;
        }
        match self.receive(&mut &[][..]) {
            Ok(Some(Event::InvocationEnd)) => Some(Event::InvocationEnd),
            Ok(Some(Event::Outcome(outcome))) => Some(Event::Outcome(outcome)),
            _ => None,
        }
    }

    /// Records that `length` of the unsent bytes were sent.
    pub fn sent(&mut self, length: usize) {
        self.sending.sent(length);
    }

    /// Records that the connection is gone, and returns what follows. Later commands and input are
    /// for the next connection: discard unread bytes of the lost one.
    ///
    /// Call it when the connection has ended in any way, when one could not be made, and when
    /// [`must_reconnect`](Self::must_reconnect) says so. The table is
    /// [here](crate::machine#lost-connections).
    pub fn on_disconnect(&mut self) -> Recovery {
        // The service recognises a duplicate if it runs one invocation at a time or names each
        // attempt.
        let is_told_apart =
            self.concurrency == Concurrency::Single || self.ids.attempt_id().is_some();
        let loss = Loss {
            sent: self.sending.written(),
            is_reply_begun: self.is_reply_begun,
            outcome: self.outcome,
            is_told_apart,
        };
        // A connection that the service closes after a whole reply does not count as a loss.
        if !self.must_reconnect() {
            self.losses = self.losses.saturating_add(1);
        }
        let (state, recovery) = self.state.after_loss(loss);
        self.state = state;
        // Only what is to be sent again is kept; everything read from the lost connection is void.
        match recovery {
            Recovery::SendAgain => self.sending.rewind(),
            _ => self.sending = SendProgress::default(),
        }
        self.forget_reply();
        self.must_reconnect = false;
        self.is_reply_begun = false;
        recovery
    }

    fn receive_one<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, ReceiveError> {
        loop {
            // Ignore everything after the last reply of a connection (RFC 9112 section 9.6).
            if self.must_reconnect() || self.state.is_over() {
                *input = &[];
                return Ok(None);
            }
            // A reply needs an outstanding request. For a body, this was checked at its head.
            if !self.reader.is_in_body() {
                if input.is_empty() {
                    return Ok(None);
                }
                if self.state.awaits().is_none() || self.sending.written() == Written::Nothing {
                    return Err(ReceiveError::Unsolicited);
                }
                self.is_reply_begun = true;
            }
            // The head is indexed while it is parsed; the index is discarded unless it is an
            // event's.
            let arrived = *input;
            let mut index = HeadIndex::default();
            let Some(part) =
                self.reader.read(input, &mut |name, value| index.note(arrived, name, value))?
            else {
                return Ok(None);
            };
            // `outcome` tells the two kinds of bodies apart: an event has none.
            match (part, self.outcome) {
                (ReplyPart::Interim, _) => {}
                (ReplyPart::Head(response), _) => {
                    let length = arrived.len() - input.len();
                    let head = arrived.get(..length).unwrap_or(arrived);
                    if let Some(invocation) = self.read_head(index.on(head), response)? {
                        return Ok(Some(Event::Invocation(invocation)));
                    }
                }
                (ReplyPart::Body(piece), None) => return Ok(Some(Event::Body(piece))),
                (ReplyPart::Body(piece), Some(outcome)) if !outcome.is_accepted() => {
                    return Ok(Some(Event::Detail(piece)));
                }
                (ReplyPart::Body(_), Some(_)) => {}
                (ReplyPart::End, None) => {
                    self.end_of_reply(Input::EventEnd);
                    (self.losses, self.was_empty) = (0, false);
                    return Ok(Some(Event::InvocationEnd));
                }
                (ReplyPart::End, Some(outcome)) => {
                    self.end_of_reply(Input::Replied(outcome));
                    self.count_losses(outcome);
                    return Ok(Some(Event::Outcome(outcome)));
                }
            }
        }
    }

    /// Handles a whole head; returns `None` if it does not begin an event.
    fn read_head<'b>(
        &mut self,
        invocation: InvocationHead<'b>,
        response: ResponseHead,
    ) -> Result<Option<InvocationHead<'b>>, ReceiveError> {
        let Some(call) = self.state.awaits() else { return Err(ReceiveError::Unsolicited) };
        // The service had stopped waiting before the request came, as if it had just closed the
        // connection (RFC 9110 section 15.5.9).
        if response.status == 408 && self.phase() == Phase::Reporting {
            self.forget_reply();
            self.must_reconnect = true;
            self.is_reply_begun = false;
            return Ok(None);
        }
        self.must_reconnect |= !response.is_persistent || call == Call::RestoreNext;
        if call == Call::Next && matches!(response.status, 200..=203 | 205..=299) {
            if !self.ids.set(invocation.request_id(), invocation.attempt_id()) {
                return Err(ReceiveError::UnusableRequestId);
            }
            self.enter(Input::EventHead);
            return Ok(Some(invocation));
        }
        let outcome = Outcome::new(call, response.status)
            .to_second_attempt(self.state.follows_whole_attempt())
            .under(self.concurrency);
        self.outcome = Some(outcome);
        Ok(None)
    }

    /// Updates the count of losses after a reply.
    fn count_losses(&mut self, outcome: Outcome) {
        let is_empty_again = self.is_empty_again(outcome);
        if outcome.action() == Action::ContinueAfterBackoff {
            // Ask for a new connection, because the embedder already pauses before connecting.
            self.must_reconnect = true;
            self.losses = self.losses.max(1).saturating_add(1);
        } else if is_empty_again {
            // Some services reply 204 without waiting: make a short pause that does not grow.
            self.must_reconnect = true;
            self.losses = 2;
        } else {
            self.losses = 0;
        }
    }

    /// Whether both this reply and the previous one say that there is no invocation.
    fn is_empty_again(&mut self, outcome: Outcome) -> bool {
        let was_empty = self.was_empty;
        self.was_empty = outcome.meaning() == Meaning::NoInvocation;
        was_empty && self.was_empty
    }

    #[inline(always)]
    fn end_of_reply(&mut self, input: Input) {
        // `AllButNext` is not a cut: the answer is whole, and sending `next` continues.
        let is_cut = matches!(self.sending.written(), Written::Nothing | Written::Part);
        if is_cut || self.is_streaming() {
            // The reply came before the whole request was sent: the rest must not follow it.
            self.must_reconnect = true;
            self.sending = SendProgress::default();
        } else {
            self.sending.answered();
        }
        self.outcome = None;
        self.enter(input);
    }

    /// Forgets what has arrived of a reply.
    pub(super) fn forget_reply(&mut self) {
        self.reader = ReplyReader::default();
        self.outcome = None;
    }
}
