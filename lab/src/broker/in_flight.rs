//! Invocations that the runtime has, or is to get.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Caller;
use crate::answer::{Answered, FunctionFailure};
use crate::invocation::Invocation;
use crate::telemetry::Telemetry;

/// An invocation that the runtime has, or is to get.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) invocation: Arc<Invocation>,
    /// `None` once the caller has its answer.
    pub(super) caller: Option<Caller>,
    /// While the answer is streamed: tells the stream that the invocation failed.
    pub(super) stream: Option<oneshot::Sender<FunctionFailure>>,
    pub(super) stage: Stage,
    /// A `next` has returned it.
    pub(super) is_taken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The runtime has not got it yet.
    Waiting,
    Running,
    Answering,
    /// The invocation is over, though its id is still the current one.
    Over,
}

impl InFlight {
    pub(super) fn new(invocation: Arc<Invocation>, caller: Caller) -> Self {
        Self {
            invocation,
            caller: Some(caller),
            stream: None,
            stage: Stage::Waiting,
            is_taken: false,
        }
    }

    /// The event for the runtime.
    pub(super) fn deliver(&mut self, telemetry: &Telemetry) -> Arc<Invocation> {
        self.stage = Stage::Running;
        self.invocation.begin();
        let _is_the_first_time = self.invocation.delivered.set(Instant::now());
        self.invocation.tell_start(telemetry);
        Arc::clone(&self.invocation)
    }

    /// The invocation is over, though its id may still be the current one.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Over;
        // Fails if it was over before.
        let _ = self.invocation.ended.set(Instant::now());
        self.invocation.over.send_replace(true);
    }

    pub(super) fn is_other_attempt(&self, attempt_id: Option<&[u8]>) -> bool {
        attempt_id.is_some_and(|it| it != self.invocation.attempt_id.as_bytes())
    }

    /// Gives the caller this answer, unless it has one.
    pub(super) fn tell(&mut self, answer: Result<Answered, FunctionFailure>) {
        if let Some(caller) = self.caller.take() {
            // The caller may have disconnected.
            let _ = caller.send(answer);
        }
    }

    /// Gives the failure to the caller, or to the stream that the caller is reading.
    pub(super) fn fail(&mut self, failure: FunctionFailure) {
        match self.stream.take() {
            Some(stream) => {
                // The stream may have ended.
                let _ = stream.send(failure);
            }
            None => self.tell(Err(failure)),
        }
    }
}

/// An invocation that is no longer in flight is over.
impl Drop for InFlight {
    fn drop(&mut self) {
        self.end();
    }
}
