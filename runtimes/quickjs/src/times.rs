//! When the code of an invocation is interrupted, given up and over.

use std::time::Instant;

use lambda_proto_host::Context;

use crate::watchdog::Limits;

/// When the code of an invocation must end.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// When the cancellation fires, and code that runs is interrupted.
    pub(crate) cancel_at: Instant,
    /// When the handler must have answered.
    pub(crate) end_at: Instant,
    /// When the process ends if native code has not returned.
    pub(crate) give_up_at: Instant,
    pub(crate) deadline: Instant,
}

impl Times {
    /// The times of an invocation that begins now; `None` if its deadline is unknown.
    pub(crate) fn of(context: &Context) -> Option<Self> {
        let left = context.remaining()?;
        let now = Instant::now();
        let uncancelled = context.cancellation().remaining().unwrap_or(left);
        let cancel_after = uncancelled.max(left / 2);
        let end_after = (cancel_after + left) / 2;
        Some(Self {
            cancel_at: now + cancel_after,
            end_at: now + end_after,
            give_up_at: now + (end_after + left) / 2,
            deadline: now + left,
        })
    }

    /// The limits of code that is interrupted at this moment.
    pub(crate) fn limits(self, until: Instant) -> Limits {
        let end = self.end_at.max(until);
        Limits { until, end, stuck: between(end, self.give_up_at.max(end)) }
    }
}

/// The middle of a span.
pub(crate) fn between(begin: Instant, end: Instant) -> Instant {
    begin + end.saturating_duration_since(begin) / 2
}
