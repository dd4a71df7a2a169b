use core::time::Duration;

use super::Clocks;

/// How the time between SIGTERM and SIGKILL is divided.
///
/// ```text
///  SIGTERM                                                       SIGKILL
///     |<- an invocation ->|<-------------- hooks -------------->|
///     |<------------------------ duration --------------------->|
/// ```
///
/// The hooks have the duration less the buffer. An invocation that is under way may use the rest, is
/// cancelled then, and the hooks begin. If there is none, they begin at once, and the buffer is left for
/// the end of the process.
///
/// Moments are times of the monotonic clock: the wall clock is often set just behind a thaw, and a
/// shutdown often begins with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownWindow {
    duration: Duration,
    hooks: Duration,
}

impl ShutdownWindow {
    /// A window of `duration`, of which the hooks may not use `buffer`: one as long as the window leaves them
    /// nothing.
    pub const fn new(duration: Duration, buffer: Duration) -> Self {
        Self { duration, hooks: duration.saturating_sub(buffer) }
    }

    /// The time from SIGTERM to SIGKILL.
    pub const fn duration(&self) -> Duration {
        self.duration
    }

    /// What all hooks share: the duration less the buffer, or nothing.
    pub const fn hooks(&self) -> Duration {
        self.hooks
    }

    /// What an invocation may still use that runs when the signal comes.
    pub const fn invocation(&self) -> Duration {
        self.duration.saturating_sub(self.hooks)
    }

    /// When to cancel the invocation that runs, if the signal came at this reading.
    pub const fn cancel_at(&self, signal: Clocks) -> Duration {
        signal.monotonic.saturating_add(self.invocation())
    }

    /// When the hooks must have ended that begin now, if the signal came at the first reading: they
    /// never have more than their share, and nothing beyond SIGKILL.
    pub const fn hooks_until(&self, signal: Clocks, now: Clocks) -> Duration {
        let kill = signal.monotonic.saturating_add(self.duration);
        let until = now.monotonic.saturating_add(self.hooks);
        // `min` is not `const` for durations.
        until.saturating_sub(until.saturating_sub(kill))
    }
}
