use core::time::Duration;

/// A reading of both clocks, taken at one moment.
///
/// Neither clock alone can be trusted here. The monotonic one may stand still while the environment is
/// frozen, and start anew after the restore of a snapshot; the wall clock jumps when it is set, in both
/// directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Time of the monotonic clock, since an origin that is the same for all readings.
    pub monotonic: Duration,
    /// Time of the wall clock, since the Unix epoch.
    pub wall: Duration,
}

impl Clocks {
    /// What has passed since an earlier reading, such as the one before `next` was asked for.
    pub const fn since(self, earlier: Self) -> IdleGap {
        IdleGap {
            monotonic: self.monotonic.saturating_sub(earlier.monotonic),
            wall: self.wall.saturating_sub(earlier.wall),
            is_restarted: !earlier.monotonic.saturating_sub(self.monotonic).is_zero(),
        }
    }
}

/// The time between two readings, such as before and behind a `next`.
///
/// ```
/// use core::time::Duration;
/// use lambda_proto::lifecycle::Clocks;
///
/// // Frozen for ten minutes: the monotonic clock stood still.
/// let before = Clocks { monotonic: Duration::from_secs(7), wall: Duration::from_secs(1_795_252_819) };
/// let behind = Clocks { monotonic: Duration::from_secs(8), wall: Duration::from_secs(1_795_253_419) };
/// let gap = behind.since(before);
/// assert_eq!(gap.length(), Duration::from_secs(600));
/// assert_eq!(gap.thawed_after(Duration::from_secs(30)), Some(Duration::from_secs(600)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleGap {
    monotonic: Duration,
    wall: Duration,
    is_restarted: bool,
}

impl IdleGap {
    /// How long it was: what the clock says that counted more.
    ///
    /// A clock that stood still or went backwards counts too little, and then the other one is right. A
    /// wall clock that was set forward counts too much; that cannot be told from a freeze.
    pub const fn length(&self) -> Duration {
        // `max` is not `const` for durations.
        self.monotonic.saturating_add(self.wall.saturating_sub(self.monotonic))
    }

    /// The length, if the environment has been away for so long that what it had open may be gone:
    /// pooled connections, credentials.
    ///
    /// So it is if the length is `least` or more, and always if the monotonic clock has gone backwards,
    /// for that happens only when another machine goes on from a snapshot. If the wall clock then went
    /// backwards too, nobody knows how long it was, and the length is zero.
    ///
    /// Under multi-concurrency nothing is ever frozen [Lambda Developer Guide: Lambda Managed
    /// Instances], but idle connections die all the same.
    pub const fn thawed_after(&self, least: Duration) -> Option<Duration> {
        let length = self.length();
        if self.is_restarted || least.saturating_sub(length).is_zero() {
            return Some(length);
        }
        None
    }
}
