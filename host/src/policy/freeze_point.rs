use std::time::Duration;

use lambda_proto::lifecycle::{Clocks, TimeLimit};

/// What to do about work that still runs when the next invocation is to be asked for, which freezes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Wait for it until so much is left before the deadline, then report what still runs.
    Drain {
        /// What is kept of the time of the invocation, for the report and for asking.
        reserve: Duration,
    },
    /// Report it and go on.
    Report,
    /// Take it for an error.
    Strict,
    /// Go on and say nothing.
    Abandon,
}

impl Policy {
    /// The reserve of a drain unless another is given.
    pub const DRAIN_RESERVE: Duration = Duration::from_millis(500);
    /// How long a drain waits when the deadline is not known: the timeout that a function has unless it
    /// is given another [Lambda Developer Guide: configure function timeout].
    pub const DRAIN_WITHOUT_DEADLINE: Duration = Duration::from_secs(3);
}

impl Default for Policy {
    /// Drains, with [`DRAIN_RESERVE`](Self::DRAIN_RESERVE).
    fn default() -> Self {
        Self::Drain { reserve: Self::DRAIN_RESERVE }
    }
}

/// The point between an answered invocation and the next: one value for each time it is reached.
///
/// [`Ledger::cross`](super::Ledger::cross) takes it as often as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreezePoint {
    policy: Policy,
    limit: TimeLimit,
    reached: Clocks,
}

impl FreezePoint {
    /// The freeze point behind the invocation of this limit, reached now.
    pub const fn reached(policy: Policy, limit: TimeLimit, now: Clocks) -> Self {
        Self { policy, limit, reached: now }
    }

    /// What to do now about work that runs and has not been waited for before.
    pub(super) fn decide(&self, now: Clocks) -> FreezeDecision {
        match self.policy {
            Policy::Drain { reserve } => match self.drain_left(reserve, now) {
                Duration::ZERO => FreezeDecision::Report,
                left => FreezeDecision::Wait { until: now.monotonic.saturating_add(left) },
            },
            Policy::Report => FreezeDecision::Report,
            Policy::Strict => FreezeDecision::Fail,
            Policy::Abandon => FreezeDecision::GoOn,
        }
    }

    fn drain_left(&self, reserve: Duration, now: Clocks) -> Duration {
        match self.limit.remaining(now) {
            Some(left) => left.saturating_sub(reserve),
            None => {
                let until = self.reached.monotonic.saturating_add(Policy::DRAIN_WITHOUT_DEADLINE);
                until.saturating_sub(now.monotonic)
            }
        }
    }
}

/// What to do now at a [`FreezePoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeDecision {
    /// Ask for the next invocation.
    GoOn,
    /// Wait until a task has ended or this moment has come, a time of the monotonic clock; then ask the
    /// ledger again.
    Wait {
        /// The moment.
        until: Duration,
    },
    /// Write down what the [report](super::Ledger::report) says, then ask for the next invocation.
    Report,
    /// Write down what the [report](super::Ledger::report) says, and do not ask: the policy takes work
    /// that is left behind for an error. An invocation that has been answered cannot be failed any
    /// more, so what is left is to end the process.
    Fail,
}
