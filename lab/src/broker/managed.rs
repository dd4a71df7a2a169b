//! The rules for Lambda Managed Instances: many concurrent invocations, each with its own order of
//! calls. Each open `next` takes one invocation.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::{InFlight, Post, Rules, Stage, Start};
use crate::invocation::Invocation;
use crate::machine::{Call, State};
use crate::refusal::Refusal;

/// Source: emulator, `lambda-managed-instances`: `rapi/handler`, `invoke` and `core/states.go`.
#[derive(Debug)]
pub(super) struct Managed {
    /// Its state is `Started`, `Ready` or `InitError`.
    start: Start,
    in_flight: HashMap<String, InFlight>,
    /// The ids of the invocations that no `next` has taken yet.
    waiting: VecDeque<String>,
    /// The number of open `next`s.
    idle: usize,
    /// A worker reported that it could not start, after another had started.
    has_failed_worker: bool,
    /// The ids of invocations that timed out. The first answer to each is refused with 410.
    late: VecDeque<String>,
}

/// Source: emulator, `rapid/sandbox.go`.
const MAX_IDLE: usize = 10_000;

/// Source: emulator, `invoke/timeout/timeout_cache.go`.
const MAX_LATE: usize = 1000;

impl Managed {
    pub(super) fn new(start: Start) -> Self {
        Self {
            start,
            in_flight: HashMap::new(),
            waiting: VecDeque::new(),
            idle: 0,
            has_failed_worker: false,
            late: VecDeque::new(),
        }
    }
}

impl Rules for Managed {
    fn start(&mut self) -> &mut Start {
        &mut self.start
    }

    fn in_flight(&mut self) -> &mut HashMap<String, InFlight> {
        &mut self.in_flight
    }

    fn hand_over(&mut self, in_flight: InFlight) {
        let id = in_flight.invocation.request_id.clone();
        self.waiting.push_back(id.clone());
        self.in_flight.insert(id, in_flight);
    }

    /// A new runtime gets nothing that an earlier one had in flight. The tasks that wait for those
    /// invocations give them up.
    fn start_anew(&mut self) {
        self.start.restart();
        self.waiting.clear();
        self.late.clear();
        self.has_failed_worker = false;
    }

    fn replace(&mut self) -> Vec<InFlight> {
        self.start.restart();
        self.late.clear();
        self.has_failed_worker = false;
        self.in_flight.extract_if(|_, it| it.is_taken).map(|(_, in_flight)| in_flight).collect()
    }

    fn ask(&mut self) -> Result<(), Refusal> {
        if self.idle >= MAX_IDLE {
            return Err(Refusal::Internal);
        }
        self.start.call(Call::Next)?;
        self.idle += 1;
        Ok(())
    }

    /// Only one `next` gets the event.
    fn wake(&self, asked: &Notify) {
        asked.notify_one();
    }

    fn has_event(&mut self) -> bool {
        self.start.takes_events() && !self.waiting.is_empty()
    }

    fn take(&mut self) -> Option<Arc<Invocation>> {
        if !self.start.takes_events() {
            return None;
        }
        while let Some(id) = self.waiting.pop_front() {
            if let Some(in_flight) = self.in_flight.get_mut(&id) {
                in_flight.is_taken = true;
                return Some(in_flight.deliver(self.start.progress.telemetry()));
            }
        }
        None
    }

    fn leave(&mut self) {
        self.idle -= 1;
    }

    /// For a response, the order is checked before the attempt id; for an error, after it. An error
    /// may come while the response to the same invocation is still being streamed.
    fn begin(
        &mut self,
        post: Post,
        request_id: &str,
        attempt_id: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        let Some(in_flight) = self.in_flight.get_mut(request_id) else {
            return Err(match self.late.iter().position(|late| late == request_id) {
                Some(index) => {
                    self.late.remove(index);
                    Refusal::OtherAttempt
                }
                None => Refusal::InvalidRequestId,
            });
        };
        let is_other = in_flight.is_other_attempt(attempt_id);
        let is_in_order = match (post, in_flight.stage) {
            (_, Stage::Running) => true,
            (Post::Error, Stage::Answering) => in_flight.stream.is_some(),
            _ => false,
        };
        match post {
            Post::Error if is_other => Err(Refusal::OtherAttempt),
            _ if !is_in_order => Err(Refusal::InvalidRequestId),
            _ if is_other => Err(Refusal::OtherAttempt),
            _ => {
                in_flight.stage = Stage::Answering;
                Ok(())
            }
        }
    }

    fn finish(&mut self, request_id: &str) {
        self.in_flight.remove(request_id);
    }

    /// After a successful init, an error of one worker changes nothing for the workers that have
    /// asked for events.
    fn start_error(&mut self, call: Call) -> Result<Vec<String>, Refusal> {
        if self.start.state == State::Ready {
            if self.has_failed_worker {
                // No call is allowed after a failed init, so this always returns the refusal.
                State::InitError.after(call)?;
            }
            self.has_failed_worker = true;
            return Ok(Vec::new());
        }
        self.start.call(call)?;
        Ok(self.in_flight.keys().cloned().collect())
    }

    fn end(&mut self, request_id: &str) {
        self.in_flight.remove(request_id);
    }

    fn give_up(&mut self, request_id: &str) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(request_id)?;
        if in_flight.stage == Stage::Waiting {
            self.waiting.retain(|waiting| waiting != request_id);
        } else {
            self.late.truncate(MAX_LATE - 1);
            self.late.push_front(request_id.to_owned());
        }
        Some(in_flight)
    }

    fn max_error(&self) -> usize {
        1024 * 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Extensions;
    use crate::broker::progress::Progress;

    #[test]
    fn ten_thousand_may_ask_and_the_next_is_refused_until_one_leaves() {
        let mut rules = Managed::new(Start::new(Extensions::new([].into()), Progress::untold()));
        for _ in 0..MAX_IDLE {
            rules.ask().unwrap();
        }
        assert_eq!(rules.ask(), Err(Refusal::Internal));
        rules.leave();
        rules.ask().unwrap();
    }
}
