// joined with lifecycle::clock when merged
//! Readings of both clocks.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_proto::lifecycle::Clocks;

/// Reads both clocks, the monotonic one since an origin that is the same for the whole process.
pub(crate) fn now() -> Clocks {
    Clocks {
        monotonic: origin().elapsed(),
        wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

/// The moment of a time of the monotonic clock.
pub(crate) fn moment(monotonic: Duration) -> Instant {
    // What is too far away to be said is not waited for.
    origin().checked_add(monotonic).unwrap_or_else(origin)
}

/// When the clock was read first.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}
