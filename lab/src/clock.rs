use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What time it is for the functions of a lab and for its callers: that of the system, and what
/// pretended freezes have added to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// In milliseconds.
    ahead: Arc<AtomicU64>,
}

/// A thousand years: an HTTP date has four digits for the year.
const MOST: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

impl Clock {
    /// The time passes, at once.
    pub(crate) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(MOST);
        let _ = self
            .ahead
            .fetch_update(Relaxed, Relaxed, |ahead| Some(ahead.saturating_add(by).min(MOST)));
    }

    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now() + self.ahead()
    }

    /// Since the Unix epoch.
    pub(crate) fn unix(&self) -> Duration {
        self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }

    /// How far it is ahead of the system's.
    pub(crate) fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_see_the_time_that_has_passed_at_once() {
        let clock = Clock::default();
        let other = clock.clone();
        assert_eq!(other.ahead(), Duration::ZERO);
        clock.advance(Duration::from_secs(600));
        clock.advance(Duration::from_millis(1));
        assert_eq!(other.ahead(), Duration::from_millis(600_001));
        let system = SystemTime::now();
        assert!(other.now() >= system + Duration::from_secs(600));
        assert!(other.now() < system + Duration::from_secs(1200));
    }

    #[test]
    fn it_never_goes_so_far_that_a_date_cannot_be_written() {
        let clock = Clock::default();
        for _ in 0..3 {
            clock.advance(Duration::MAX);
        }
        assert!(httpdate::fmt_http_date(clock.now()).ends_with("GMT"));
        assert!(clock.unix() > Duration::from_millis(MOST));
    }
}
