//! The rules for on-demand functions: one invocation at a time. The order of calls is checked, and
//! an invocation ends with the `next` that follows it.

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
    /// At most one invocation.
    in_flight: HashMap<String, InFlight>,
    /// The lab does not start the runtime, which may connect at any time.
    is_external: bool,
}

impl OnDemand {
    pub(super) fn new(is_external: bool, start: Start) -> Self {
        Self { start, in_flight: HashMap::new(), is_external }
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

    /// If the runtime has asked for an invocation and there is one, the runtime and its extensions
    /// get it.
    fn deliver(&mut self) {
        let Some(in_flight) = self.in_flight.values_mut().next() else { return };
        if self.start.state == State::Ready
            && in_flight.stage != Stage::Over
            && self.start.takes_events()
        {
            let invocation = in_flight.deliver(self.start.progress.telemetry());
            self.start.extensions.invoke(&invocation);
            self.start.state = State::Running;
        }
    }

    fn start_anew(&mut self) {
        self.start.restart();
        self.in_flight.clear();
    }

    fn replace(&mut self) -> Vec<InFlight> {
        self.start.restart();
        let in_flight = self.in_flight.drain().map(|(_, in_flight)| in_flight);
        let (ended, waiting): (Vec<_>, Vec<_>) =
            in_flight.partition(|it| it.is_taken || it.stage == Stage::Over);
        for mut in_flight in waiting {
            in_flight.stage = Stage::Waiting;
            self.in_flight.insert(in_flight.invocation.request_id.clone(), in_flight);
        }
        ended
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

    /// Every open `next` gets the same event.
    fn wake(&self, asked: &Notify) {
        asked.notify_waiters();
    }

    fn has_event(&mut self) -> bool {
        self.start.state == State::Running
    }

    /// A runtime that has an invocation in flight gets the same one again.
    fn take(&mut self) -> Option<Arc<Invocation>> {
        let in_flight = self.in_flight.values_mut().next()?;
        (self.start.state == State::Running).then(|| {
            in_flight.is_taken = true;
            Arc::clone(&in_flight.invocation)
        })
    }

    /// The request id is checked before the order. The attempt id is checked after the order for a
    /// response, and before it for an error.
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

    /// An external runtime may start again if no invocation is waiting for it.
    fn start_error(&mut self, call: Call) -> Result<Vec<String>, Refusal> {
        self.start.call(call)?;
        let ids: Vec<_> = self.in_flight.keys().cloned().collect();
        if ids.is_empty() && self.is_external {
            self.start_anew();
        }
        Ok(ids)
    }

    /// The id of the invocation stays the current one.
    fn end(&mut self, _request_id: &str) {}

    /// The state of the runtime is reset together with the invocation.
    fn give_up(&mut self, request_id: &str) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(request_id);
        self.start_anew();
        in_flight
    }

    fn max_error(&self) -> usize {
        MAX_PAYLOAD
    }
}
