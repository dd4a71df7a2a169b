//! The rules for Lambda Managed Instances: many concurrent invocations, each with its own order of
//! calls. Each open `next` takes one.

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
    /// Its state is one of these: `Started`, `Ready` or `InitError`.
    start: Start,
    in_flight: HashMap<String, InFlight>,
    /// The ids of those that no `next` has taken yet.
    waiting: VecDeque<String>,
    /// How many have asked for an event.
    idle: usize,
    /// One of the workers has reported that it could not start, behind the start of another.
    has_failed_worker: bool,
    /// The ids of those that took too long: the first answer to one is told so.
    late: VecDeque<String>,
}

/// Source: emulator, `rapid/sandbox.go`.
const MAX_IDLE: usize = 10_000;

/// Source: emulator, `invoke/timeout/timeout_cache.go`.
const MAX_LATE: usize = 1000;

impl Managed {
    pub(super) fn new() -> Self {
        Self {
            start: Start::new(),
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

    /// What an earlier runtime had in flight is given up by those who wait for its end; a new one gets
    /// none of it.
    fn start_anew(&mut self) {
        self.start.anew();
        self.waiting.clear();
        self.late.clear();
        self.has_failed_worker = false;
    }

    fn ask(&mut self) -> Result<(), Refusal> {
        if self.idle >= MAX_IDLE {
            return Err(Refusal::Internal);
        }
        self.start.call(Call::Next)?;
        self.idle += 1;
        Ok(())
    }

    /// One gets it.
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
                return Some(in_flight.deliver());
            }
        }
        None
    }

    fn leave(&mut self) {
        self.idle -= 1;
    }

    /// A response is checked for a first one before the attempt, an error the other way round. An
    /// error may come while its own response is still being streamed.
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

    /// A start that has come out stays so: the workers that have asked for events go on without the one
    /// that reports.
    fn start_error(&mut self, call: Call) -> Result<Vec<String>, Refusal> {
        if self.start.state == State::Ready {
            if self.has_failed_worker {
                // Nothing follows a failed start: this is its refusal.
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

    /// 1 MiB.
    fn max_error(&self) -> usize {
        1024 * 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_may_ask_and_one_more_is_refused_until_one_has_left() {
        let mut rules = Managed::new();
        for _ in 0..MAX_IDLE {
            rules.ask().unwrap();
        }
        assert_eq!(rules.ask(), Err(Refusal::Internal));
        rules.leave();
        rules.ask().unwrap();
    }
}
