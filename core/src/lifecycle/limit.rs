use core::time::Duration;

use super::Clocks;
use crate::api::Deadline;

/// How long one invocation may run: its deadline and the clocks when it arrived.
///
/// A deadline more than a day away on arrival, in either direction, counts as unknown: no
/// invocation runs that long, and some local services send a duration instead of a date. An
/// invocation without a known deadline is never cancelled. One that arrives late is not refused: it
/// runs, and its cancellation is already due.
///
/// ```
/// use core::time::Duration;
/// use lambda_proto::api::Deadline;
/// use lambda_proto::lifecycle::{Clocks, TimeLimit};
///
/// let arrival = Clocks {
///     monotonic: Duration::from_secs(70),
///     wall: Duration::from_millis(1_795_252_819_000),
/// };
/// let limit = TimeLimit::on_arrival(Some(Deadline::from_unix_millis(1_795_252_820_229)), arrival);
/// assert_eq!(limit.remaining(arrival), Some(Duration::from_millis(1_229)));
/// let buffer = Duration::from_millis(500);
/// assert_eq!(limit.cancel_at(buffer), Some(Duration::from_millis(70_729)));
///
/// // A service that sends 600000 means ten minutes, not the year 1970.
/// let odd = TimeLimit::on_arrival(Some(Deadline::from_unix_millis(600_000)), arrival);
/// assert_eq!(odd.cancel_at(buffer), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit {
    /// In milliseconds since the Unix epoch, or [`UNKNOWN`]. The context of an invocation holds its
    /// limit and is often moved; an `Option` would make it larger.
    deadline: u64,
    arrival: Clocks,
}

/// Stands for an unknown deadline; no plausible one is that far away.
const UNKNOWN: u64 = u64::MAX;

impl TimeLimit {
    /// The limit of an invocation that arrives now.
    pub const fn on_arrival(deadline: Option<Deadline>, arrival: Clocks) -> Self {
        let deadline = match deadline {
            Some(deadline) if is_plausible(deadline, arrival.wall) => deadline.as_unix_millis(),
            _ => UNKNOWN,
        };
        Self { deadline, arrival }
    }

    /// The deadline, if it is known.
    pub const fn deadline(&self) -> Option<Deadline> {
        match self.deadline {
            UNKNOWN => None,
            millis => Some(Deadline::from_unix_millis(millis)),
        }
    }

    /// The clocks when the invocation arrived.
    pub const fn arrival(&self) -> Clocks {
        self.arrival
    }

    /// The time left: zero once the deadline has passed, `None` if there is no known deadline.
    ///
    /// The smaller of what both clocks say: the wall clock may have been set back since the
    /// invocation arrived, and the monotonic one may have stood still.
    pub const fn remaining(&self, now: Clocks) -> Option<Duration> {
        let Some(deadline) = self.deadline() else { return None };
        // The clock that leaves less time counts: cancelling early costs an invocation a little
        // time, cancelling late costs all of it. On arrival both clocks agree.
        let by_wall = deadline.remaining(now.wall);
        let passed = now.monotonic.saturating_sub(self.arrival.monotonic);
        let by_monotonic = deadline.remaining(self.arrival.wall).saturating_sub(passed);
        // `min` is not `const` for durations.
        Some(by_wall.saturating_sub(by_wall.saturating_sub(by_monotonic)))
    }

    /// When to cancel the invocation, as a time of the monotonic clock: `buffer` before the
    /// deadline, but not before the arrival.
    pub const fn cancel_at(&self, buffer: Duration) -> Option<Duration> {
        match self.remaining(self.arrival) {
            // `total` is 0 for a deadline that had passed on arrival: cancel immediately.
            Some(total) => {
                Some(self.arrival.monotonic.saturating_add(total.saturating_sub(buffer)))
            }
            None => None,
        }
    }

    /// Whether to cancel the invocation now: at most `buffer` is left.
    pub const fn is_cancellation_due(&self, buffer: Duration, now: Clocks) -> bool {
        match self.remaining(now) {
            Some(left) => left.saturating_sub(buffer).is_zero(),
            None => false,
        }
    }
}

/// Whether a deadline is at most a day away.
const fn is_plausible(deadline: Deadline, now: Duration) -> bool {
    // The distance in either direction: one of the two differences is zero.
    let at = Duration::from_millis(deadline.as_unix_millis());
    let away = at.saturating_sub(now).saturating_add(now.saturating_sub(at));
    away.saturating_sub(DAY).is_zero()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
