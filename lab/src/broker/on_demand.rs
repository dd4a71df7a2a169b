//! The rules for functions on demand: one invocation at a time. The order of calls is checked, and
//! the following `next` ends an invocation.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{InHand, Post, Rules, Stage, Start};
use crate::event::MAX_PAYLOAD;
use crate::invocation::Invocation;
use crate::machine::{Call, State};
use crate::refusal::Refusal;

/// Source: emulator, `core/states.go` and `rapi/middleware`.
#[derive(Debug)]
pub(super) struct OnDemand {
    start: Start,
    /// One at most.
    in_hand: HashMap<String, InHand>,
    /// Somebody else starts the runtime, and may do so at any time.
    is_external: bool,
}

impl OnDemand {
    pub(super) fn new(is_external: bool) -> Self {
        Self { start: Start::new(), in_hand: HashMap::new(), is_external }
    }
}

impl Rules for OnDemand {
    fn start(&mut self) -> &mut Start {
        &mut self.start
    }

    fn in_hand(&mut self) -> &mut HashMap<String, InHand> {
        &mut self.in_hand
    }

    fn hand_over(&mut self, in_hand: InHand) {
        self.in_hand.clear();
        self.in_hand.insert(in_hand.invocation.request_id.clone(), in_hand);
        self.deliver();
    }

    /// A runtime that asks gets the invocation that is there, and so do its extensions.
    fn deliver(&mut self) {
        let Some(in_hand) = self.in_hand.values_mut().next() else { return };
        if self.start.state == State::Ready
            && in_hand.stage != Stage::Over
            && self.start.takes_events()
        {
            self.start.extensions.invoke(&in_hand.deliver());
            self.start.state = State::Running;
        }
    }

    fn start_anew(&mut self) {
        self.start.anew();
        self.in_hand.clear();
    }

    fn ask(&mut self) -> Result<(), Refusal> {
        let is_answered = self.start.state == State::RuntimeResponseSentState;
        self.start.call(Call::Next)?;
        if is_answered {
            self.in_hand.clear();
        }
        self.deliver();
        Ok(())
    }

    /// All get it.
    fn wake(&self, asked: &Notify) {
        asked.notify_waiters();
    }

    fn has_event(&mut self) -> bool {
        self.start.state == State::Running
    }

    /// One that has an invocation in hand gets the same again.
    fn take(&mut self) -> Option<Arc<Invocation>> {
        let in_hand = self.in_hand.values().next()?;
        (self.start.state == State::Running).then(|| Arc::clone(&in_hand.invocation))
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
            Post::Response => self.start.state.after(Call::Response)?,
            Post::Error if is_other => return Err(Refusal::OtherAttempt),
            Post::Error => self.start.state.after(Call::Error)?,
        };
        if is_other {
            return Err(Refusal::OtherAttempt);
        }
        self.start.state = state;
        Ok(())
    }

    fn finish(&mut self, request_id: &str) {
        if self.in_hand.contains_key(request_id) {
            self.start.state = State::RuntimeResponseSentState;
        }
    }

    /// One that somebody else starts may come again if nobody has invoked yet.
    fn start_error(&mut self, call: Call) -> Result<Vec<String>, Refusal> {
        self.start.call(call)?;
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
