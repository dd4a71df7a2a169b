//! The rules for functions on demand: one invocation at a time. The order of calls is checked, and
//! the following `next` ends an invocation.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{InFlight, Post, Rules, Stage, Start};
use crate::event::MAX_PAYLOAD;
use crate::invocation::Invocation;
use crate::machine::{Call, State};
use crate::refusal::Refusal;

/// Source: emulator, `core/states.go` and `rapi/middleware`.
#[derive(Debug)]
pub(super) struct OnDemand {
    start: Start,
    /// One at most.
    in_flight: HashMap<String, InFlight>,
    /// Somebody else starts the runtime, and may do so at any time.
    is_external: bool,
}

impl OnDemand {
    pub(super) fn new(is_external: bool) -> Self {
        Self { start: Start::new(), in_flight: HashMap::new(), is_external }
    }
}

impl Rules for OnDemand {
    fn start(&mut self) -> &mut Start {
        &mut self.start
    }

    fn in_flight(&mut self) -> &mut HashMap<String, InFlight> {
        &mut self.in_flight
    }

    fn hand_over(&mut self, in_flight: InFlight) {
        self.in_flight.clear();
        self.in_flight.insert(in_flight.invocation.request_id.clone(), in_flight);
        self.deliver();
    }

    /// A runtime that asks gets the invocation that is there, and so do its extensions.
    fn deliver(&mut self) {
        let Some(in_flight) = self.in_flight.values_mut().next() else { return };
        if self.start.state == State::Ready
            && in_flight.stage != Stage::Over
            && self.start.takes_events()
        {
            self.start.extensions.invoke(&in_flight.deliver());
            self.start.state = State::Running;
        }
    }

    fn start_anew(&mut self) {
        self.start.anew();
        self.in_flight.clear();
    }

    fn ask(&mut self) -> Result<(), Refusal> {
        let is_answered = self.start.state == State::RuntimeResponseSentState;
        self.start.call(Call::Next)?;
        if is_answered {
            self.in_flight.clear();
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

    /// One that has an invocation in flight gets the same again.
    fn take(&mut self) -> Option<Arc<Invocation>> {
        let in_flight = self.in_flight.values().next()?;
        (self.start.state == State::Running).then(|| Arc::clone(&in_flight.invocation))
    }

    /// The id is checked before the order, and with an error the attempt before the order too.
    fn begin(
        &mut self,
        post: Post,
        request_id: &str,
        attempt_id: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        let in_flight = self.in_flight.get(request_id).ok_or(Refusal::InvalidRequestId)?;
        let is_other = in_flight.is_other_attempt(attempt_id);
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
        if self.in_flight.contains_key(request_id) {
            self.start.state = State::RuntimeResponseSentState;
        }
    }

    /// One that somebody else starts may come again if nobody has invoked yet.
    fn start_error(&mut self, call: Call) -> Result<Vec<String>, Refusal> {
        self.start.call(call)?;
        let ids: Vec<_> = self.in_flight.keys().cloned().collect();
        if ids.is_empty() && self.is_external {
            self.start_anew();
        }
        Ok(ids)
    }

    /// Its id stays the current one.
    fn end(&mut self, _request_id: &str) {}

    /// It is forgotten together with its runtime.
    fn give_up(&mut self, request_id: &str) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(request_id);
        self.start_anew();
        in_flight
    }

    fn max_error(&self) -> usize {
        MAX_PAYLOAD
    }
}
