use core::time::Duration;

use crate::http::parse_decimal;

/// When an invocation times out: a point of wall-clock time, as the service sends it.
///
/// It may lie in the past, even decades back: some local services send a duration instead of a
/// date. The protocol layers never act on it; [`TimeLimit`](crate::lifecycle::TimeLimit) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline {
    millis: u64,
}

impl Deadline {
    /// A deadline `millis` milliseconds after the Unix epoch.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self { millis }
    }

    /// Reads the decimal milliseconds of the header; anything else is `None`.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        parse_decimal(value).map(Self::from_unix_millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_unix_millis(self) -> u64 {
        self.millis
    }

    /// The time left at `now`, which counts from the Unix epoch; zero once the deadline has passed.
    ///
    /// ```
    /// use core::time::Duration;
    /// use lambda_proto::api::Deadline;
    ///
    /// let deadline = Deadline::from_unix_millis(1_795_252_820_229);
    /// let now = Duration::from_millis(1_795_252_819_000);
    /// assert_eq!(deadline.remaining(now), Duration::from_millis(1_229));
    /// assert_eq!(deadline.remaining(now + Duration::from_secs(9)), Duration::ZERO);
    /// ```
    pub const fn remaining(self, now: Duration) -> Duration {
        Duration::from_millis(self.millis).saturating_sub(now)
    }
}
