//! One invocation at a time: the order of calls counts, and an invocation ends with the next `next`.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{InHand, Post, Rules, Stage};
use crate::event::MAX_PAYLOAD;
use crate::invocation::Invocation;
use crate::machine::{Call, State};
use crate::refusal::Refusal;

/// Source: emulator, `core/states.go` and `rapi/middleware`.
#[derive(Debug)]
pub(super) struct OnDemand {
    state: State,
    /// One for each start of a runtime.
    start: u64,
    /// One at most.
    in_hand: HashMap<String, InHand>,
    has_ended: bool,
    /// Somebody else starts the runtime, and may do so at any time.
    is_external: bool,
}

impl OnDemand {
    pub(super) fn new(is_external: bool) -> Self {
        let in_hand = HashMap::new();
        Self { state: State::Started, start: 0, in_hand, has_ended: false, is_external }
    }

    /// A runtime that asks gets the invocation that is there.
    fn deliver(&mut self) {
        let Some(in_hand) = self.in_hand.values_mut().next() else { return };
        if self.state == State::Ready && in_hand.stage != Stage::Over {
            in_hand.deliver();
            self.state = State::Running;
        }
    }
}

impl Rules for OnDemand {
    fn in_hand(&mut self) -> &mut HashMap<String, InHand> {
        &mut self.in_hand
    }

    fn hand_over(&mut self, in_hand: InHand) {
        self.in_hand.clear();
        self.in_hand.insert(in_hand.invocation.request_id.clone(), in_hand);
        self.deliver();
    }

    fn start_anew(&mut self) {
        self.state = State::Started;
        self.start += 1;
        self.in_hand.clear();
        self.has_ended = false;
    }

    fn has_ended(&mut self) {
        self.has_ended = true;
    }

    fn is_terminal(&self) -> bool {
        self.state.is_terminal()
    }

    fn ask(&mut self) -> Result<u64, Refusal> {
        if self.has_ended {
            return Err(Refusal::Internal);
        }
        let state = self.state.after(Call::Next)?;
        if self.state == State::RuntimeResponseSentState {
            self.in_hand.clear();
        }
        self.state = state;
        self.deliver();
        Ok(self.start)
    }

    /// All get it.
    fn wake(&self, asked: &Notify) {
        asked.notify_waiters();
    }

    fn has_event(&self) -> bool {
        self.state == State::Running
    }

    /// One that has an invocation in hand gets the same again.
    fn take(&mut self, start: u64) -> Option<Result<Arc<Invocation>, Refusal>> {
        if self.start != start || self.has_ended {
            return Some(Err(Refusal::Internal));
        }
        let in_hand = self.in_hand.values().next()?;
        (self.state == State::Running).then(|| Ok(Arc::clone(&in_hand.invocation)))
    }

    /// The id is checked before the order, and with an error the attempt before the order too.
    fn begin(
        &mut self,
        post: Post,
        request_id: &str,
        attempt_id: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        let in_hand = self.in_hand.get(request_id).ok_or(Refusal::InvalidRequestId)?;
        let is_other = in_hand.is_other_attempt(attempt_id);
        let state = match post {
            Post::Response => self.state.after(Call::Response)?,
            Post::Error if is_other => return Err(Refusal::OtherAttempt),
            Post::Error => self.state.after(Call::Error)?,
        };
        if is_other {
            return Err(Refusal::OtherAttempt);
        }
        self.state = state;
        Ok(())
    }

    fn finish(&mut self, request_id: &str) {
        if self.in_hand.contains_key(request_id) {
            self.state = State::RuntimeResponseSentState;
        }
    }

    /// One that somebody else starts may come again if nobody has invoked yet.
    fn init_error(&mut self) -> Result<Vec<String>, Refusal> {
        self.state = self.state.after(Call::InitError)?;
        let ids: Vec<_> = self.in_hand.keys().cloned().collect();
        if ids.is_empty() && self.is_external {
            self.start_anew();
        }
        Ok(ids)
    }

    /// Its id stays the current one.
    fn end(&mut self, _request_id: &str) {}

    /// It is forgotten together with its runtime.
    fn give_up(&mut self, request_id: &str) -> Option<InHand> {
        let in_hand = self.in_hand.remove(request_id);
        self.start_anew();
        in_hand
    }

    fn max_error(&self) -> usize {
        MAX_PAYLOAD
    }
}
