use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time for the functions of a lab and for its callers: the system's, plus what pretended
/// freezes have added to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// In milliseconds.
    ahead: Arc<AtomicU64>,
}

/// A thousand years: an HTTP date has four digits for the year.
const MOST: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

impl Clock {
    /// Moves the clock forward, for all clones of it.
    pub(crate) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(MOST);
        let _ = self
            .ahead
            .fetch_update(Relaxed, Relaxed, |ahead| Some(ahead.saturating_add(by).min(MOST)));
    }

    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now() + self.ahead()
    }

    /// The time since the Unix epoch.
    pub(crate) fn unix(&self) -> Duration {
        self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }

    /// This moment as time since the Unix epoch. It must not be before the clock was moved last.
    pub(crate) fn at(&self, moment: Instant) -> Duration {
        self.unix().saturating_sub(moment.elapsed())
    }

    /// How far this clock is ahead of the system's.
    pub(crate) fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_time_that_was_added() {
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
    fn the_clock_stays_within_what_an_http_date_can_express() {
        let clock = Clock::default();
        for _ in 0..3 {
            clock.advance(Duration::MAX);
        }
        assert!(httpdate::fmt_http_date(clock.now()).ends_with("GMT"));
        assert!(clock.unix() > Duration::from_millis(MOST));
    }
}
