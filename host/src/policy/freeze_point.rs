use std::time::Duration;

use lambda_proto::lifecycle::{Clocks, TimeLimit};

/// The policy for work that still runs after the answer. Asking for the next invocation would
/// freeze it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Wait for the work until only `reserve` is left before the deadline, then report what still
    /// runs.
    Drain {
        /// The time before the deadline that is kept for the report and for asking for the next
        /// invocation.
        reserve: Duration,
    },
    /// Report the work, and ask for the next invocation.
    Report,
    /// Treat the work as an error.
    Strict,
    /// Ask for the next invocation, without a report.
    Abandon,
}

impl Policy {
    /// The default reserve of a drain.
    pub const DRAIN_RESERVE: Duration = Duration::from_millis(500);
    /// How long a drain waits when the deadline is unknown: the default timeout of a function
    /// [Lambda Developer Guide: configure function timeout].
    pub const DRAIN_WITHOUT_DEADLINE: Duration = Duration::from_secs(3);
}

impl Default for Policy {
    /// Drains, with [`DRAIN_RESERVE`](Self::DRAIN_RESERVE).
    fn default() -> Self {
        Self::Drain { reserve: Self::DRAIN_RESERVE }
    }
}

/// The point between an answered invocation and the next, where the environment may freeze.
///
/// Make one each time that point is reached, and pass it to [`Ledger::cross`](super::Ledger::cross)
/// until it is crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreezePoint {
    policy: Policy,
    limit: TimeLimit,
    reached: Clocks,
}

impl FreezePoint {
    /// The freeze point after the invocation with this limit, reached now.
    pub const fn reached(policy: Policy, limit: TimeLimit, now: Clocks) -> Self {
        Self { policy, limit, reached: now }
    }

    /// What to do now about running work that no freeze point has decided about.
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
    /// Wait until a task has ended or the monotonic clock is at `until`; then ask the ledger again.
    Wait {
        /// A time on the monotonic clock.
        until: Duration,
    },
    /// Log the [report](super::Ledger::report), then ask for the next invocation.
    Report,
    /// Log the [report](super::Ledger::report), and do not ask for the next invocation: the policy
    /// treats work that is left behind as an error. An invocation that has been answered can no
    /// longer fail, so the process must end.
    Fail,
}
