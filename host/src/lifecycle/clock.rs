//! Readings of both clocks, in the form that the lifecycle functions use, and the conversion back.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_proto::api::Deadline;
use lambda_proto::lifecycle::Clocks;

/// How far the origin lies before the first reading. After a restore the monotonic clock may have
/// gone back, but must not be before the origin.
const HEAD_START: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads both clocks. The origin of the monotonic clock is the same in the whole process.
///
/// A wall clock before the Unix epoch reads as zero.
pub fn now() -> Clocks {
    Clocks { monotonic: monotonic(Instant::now()), wall: wall() }
}

/// The time left until a deadline, by the wall clock; zero once it has passed.
pub fn time_left(deadline: Deadline) -> Duration {
    deadline.remaining(wall())
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The monotonic time of a moment.
pub fn monotonic(moment: Instant) -> Duration {
    moment.saturating_duration_since(origin())
}

/// The moment of a monotonic time that [`now`] returned, or that was computed from such a time;
/// `None` if it is too far in the future.
///
/// ```
/// use std::time::{Duration, Instant};
/// use lambda_proto_host::lifecycle::clock;
///
/// let in_a_second = clock::now().monotonic + Duration::from_secs(1);
/// assert!(clock::instant(in_a_second).unwrap() > Instant::now());
/// assert_eq!(clock::instant(Duration::MAX), None);
/// ```
pub fn instant(monotonic: Duration) -> Option<Instant> {
    origin().checked_add(monotonic)
}

/// The same, for a thread that waits: a moment too far in the future becomes a day from now.
pub(crate) fn moment(monotonic: Duration) -> Instant {
    instant(monotonic).unwrap_or_else(|| Instant::now() + HEAD_START)
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        let now = Instant::now();
        // Some systems cannot represent moments before their start.
        now.checked_sub(HEAD_START).unwrap_or(now)
    })
}
