use core::time::Duration;

/// A reading of both clocks, taken at one moment.
///
/// Neither clock can be trusted alone. The monotonic clock may stand still while the environment is
/// frozen and restart after a snapshot is restored. The wall clock jumps in both directions when it
/// is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Time of the monotonic clock, since the same origin for all readings.
    pub monotonic: Duration,
    /// Time of the wall clock, since the Unix epoch.
    pub wall: Duration,
}

impl Clocks {
    /// The time since an earlier reading, such as the one taken before `next` was sent.
    pub const fn since(self, earlier: Self) -> IdleGap {
        IdleGap {
            // A clock that went backwards counts as stopped, so the other one decides.
            monotonic: self.monotonic.saturating_sub(earlier.monotonic),
            wall: self.wall.saturating_sub(earlier.wall),
            is_restarted: !earlier.monotonic.saturating_sub(self.monotonic).is_zero(),
        }
    }
}

/// The time between two readings, such as before and after a `next`.
///
/// ```
/// use core::time::Duration;
/// use lambda_proto::lifecycle::Clocks;
///
/// // Frozen for ten minutes: the monotonic clock stood still.
/// let before = Clocks { monotonic: Duration::from_secs(7), wall: Duration::from_secs(1_795_252_819) };
/// let after = Clocks { monotonic: Duration::from_secs(8), wall: Duration::from_secs(1_795_253_419) };
/// let gap = after.since(before);
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
    /// The length of the gap by the clock that advanced further.
    ///
    /// A clock that stood still or went backwards counts too little, and then the other one is
    /// right. A wall clock that was set forward counts too much, which looks the same as a freeze.
    pub const fn length(&self) -> Duration {
        // `max` is not `const` for durations.
        self.monotonic.saturating_add(self.wall.saturating_sub(self.monotonic))
    }

    /// The length, if the environment was away so long that pooled connections or credentials may
    /// be gone.
    ///
    /// That is the case if the length is at least `least`, and always if the monotonic clock went
    /// backwards, which happens only when another machine resumes from a snapshot. If the wall
    /// clock went backwards too, the length is unknown and given as zero.
    ///
    /// Under multi-concurrency the environment is never frozen [Lambda Developer Guide: Lambda
    /// Managed Instances], but idle connections still die.
    pub const fn thawed_after(&self, least: Duration) -> Option<Duration> {
        let length = self.length();
        // `length >= least`; comparisons are not `const` for durations.
        if self.is_restarted || least.saturating_sub(length).is_zero() {
            return Some(length);
        }
        None
    }
}
