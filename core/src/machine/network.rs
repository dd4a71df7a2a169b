//! What the network says: bytes, the end of the stream, a lost connection.

use super::phase::{Input, Loss, Phase, Written};
use super::send_progress::SendProgress;
use super::{Event, Machine, ReceiveError, Recovery};
use crate::api::{Action, Call, Concurrency, HeadIndex, InvocationHead, Meaning, Outcome};
use crate::http::{ReplyPart, ReplyReader, ResponseHead};

impl Machine {
    /// Takes what has arrived, one event at a time. Call it until it returns `None`; an event may
    /// come although `input` is empty.
    ///
    /// The cursor moves over what is consumed. What is left, a part of a head, must be presented
    /// again with more bytes behind it; everything else is consumed as it comes, so any slice may be
    /// fed and a large body read straight into its final place.
    ///
    /// In [`Phase::ShuttingDown`], with no reply outstanding, everything is consumed and ignored.
    ///
    /// # Errors
    ///
    /// A [`ReceiveError`] if these are not the answers that were asked for. This connection is of no
    /// use then, and what is left of `input` is void. Mostly the conversation is over, too, and the
    /// phase [`Phase::ShuttingDown`]; in any other phase it goes on as after a lost connection:
    /// [`must_reconnect`](Self::must_reconnect) holds.
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

    /// Tells that the service has closed the connection in order, which ends a body without length.
    ///
    /// Returns the event that this completes, if it does. Whatever it returns,
    /// [`on_disconnect`](Self::on_disconnect) is due next. Not to be called when the connection broke
    /// with an error.
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

    /// Tells that so many of the unsent bytes were sent.
    pub fn sent(&mut self, length: usize) {
        self.sending.sent(length);
    }

    /// Tells that the connection is gone, and says what follows. Commands after it are for the next
    /// connection, and so is what is received: throw away what the lost one has left behind.
    ///
    /// Due after the connection ended in whatever way, when one could not be made, and when
    /// [`must_reconnect`](Self::must_reconnect) says so. The table is [here](crate::machine#lost-connections).
    pub fn on_disconnect(&mut self) -> Recovery {
        // Both facts say that the service recognises a duplicate: it runs one invocation at a time, or
        // names each attempt.
        let is_told_apart =
            self.concurrency == Concurrency::Single || self.ids.attempt_id().is_some();
        let loss = Loss {
            sent: self.sending.written(),
            is_reply_begun: self.is_answer_begun,
            outcome: self.outcome,
            is_told_apart,
        };
        // A connection that the service gave up behind a whole answer is no loss.
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
        self.is_answer_begun = false;
        recovery
    }

    fn receive_one<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, ReceiveError> {
        loop {
            // Behind the last answer of a connection nothing counts (RFC 9112 section 9.6).
            if self.must_reconnect() || self.state.is_over() {
                *input = &[];
                return Ok(None);
            }
            // Before the first byte of a reply there must be a request that it can answer. Inside a body
            // this was asked when its head came.
            if !self.reader.is_in_body() {
                if input.is_empty() {
                    return Ok(None);
                }
                if self.state.awaits().is_none() || self.sending.written() == Written::Nothing {
                    return Err(ReceiveError::Unsolicited);
                }
                self.is_answer_begun = true;
            }
            // The index of the head is made while it is parsed, and is thrown away unless it is an event's.
            let arrived = *input;
            let mut index = HeadIndex::default();
            let Some(part) =
                self.reader.read(input, &mut |name, value| index.note(arrived, name, value))?
            else {
                return Ok(None);
            };
            // `outcome` tells the two kinds of bodies apart: an event's has none.
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
                    self.end_of_answer(Input::EventEnd);
                    (self.losses, self.was_empty) = (0, false);
                    return Ok(Some(Event::InvocationEnd));
                }
                (ReplyPart::End, Some(outcome)) => {
                    self.end_of_answer(Input::Replied(outcome));
                    self.count_losses(outcome);
                    return Ok(Some(Event::Outcome(outcome)));
                }
            }
        }
    }

    /// Takes note of one whole head; `None` if it does not begin an event.
    fn read_head<'b>(
        &mut self,
        invocation: InvocationHead<'b>,
        response: ResponseHead,
    ) -> Result<Option<InvocationHead<'b>>, ReceiveError> {
        let Some(call) = self.state.awaits() else { return Err(ReceiveError::Unsolicited) };
        // The service had given up waiting before the request came: as if it had just hung up
        // (RFC 9110 section 15.5.9).
        if response.status == 408 && self.phase() == Phase::Reporting {
            self.forget_reply();
            self.must_reconnect = true;
            self.is_answer_begun = false;
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
            .to_second_copy(self.state.follows_whole_attempt())
            .under(self.concurrency);
        self.outcome = Some(outcome);
        Ok(None)
    }

    /// Counts what the reply means for the next connection.
    fn count_losses(&mut self, outcome: Outcome) {
        let is_empty_again = self.is_empty_again(outcome);
        if outcome.action() == Action::ContinueAfterPause {
            // Connecting anew is what a host knows how to put off.
            self.must_reconnect = true;
            self.losses = self.losses.max(1).saturating_add(1);
        } else if is_empty_again {
            // Some services answer so at once: a short pause, always the same.
            self.must_reconnect = true;
            self.losses = 2;
        } else {
            self.losses = 0;
        }
    }

    /// Whether this is not the first answer in a row that there is no invocation.
    fn is_empty_again(&mut self, outcome: Outcome) -> bool {
        let was_empty = self.was_empty;
        self.was_empty = outcome.meaning() == Meaning::NoInvocation;
        was_empty && self.was_empty
    }

    fn end_of_answer(&mut self, input: Input) {
        // `AllButNext` is no cut: the answer is whole, and `next` after it goes on.
        let is_cut = matches!(self.sending.written(), Written::Nothing | Written::Part);
        if is_cut || self.is_streaming() {
            // Answered before all of the request was there: its rest has no place behind this.
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
