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
/// The hooks get the duration less the buffer. An invocation in flight may use the rest; then it is
/// cancelled, and the hooks begin. Without an invocation they begin immediately, and the buffer is
/// left for the end of the process.
///
/// Moments are times of the monotonic clock: the wall clock is often set just after a thaw, and a
/// shutdown often begins with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownWindow {
    duration: Duration,
    hooks: Duration,
}

impl ShutdownWindow {
    /// A window of `duration`, of which the hooks may not use `buffer`. A buffer as long as the
    /// window leaves them nothing.
    pub const fn new(duration: Duration, buffer: Duration) -> Self {
        Self { duration, hooks: duration.saturating_sub(buffer) }
    }

    /// The time from SIGTERM to SIGKILL.
    pub const fn duration(&self) -> Duration {
        self.duration
    }

    /// The time that all hooks share: the duration less the buffer, or zero.
    pub const fn hooks(&self) -> Duration {
        self.hooks
    }

    /// The time that an invocation in flight may still use after the signal.
    pub const fn invocation(&self) -> Duration {
        // The buffer, or the whole window if the buffer is longer.
        self.duration.saturating_sub(self.hooks)
    }

    /// When to cancel the invocation in flight, if the signal came at `signal`.
    pub const fn cancel_at(&self, signal: Clocks) -> Duration {
        signal.monotonic.saturating_add(self.invocation())
    }

    /// When hooks that begin at `now` must end, if the signal came at `signal`: they get at most
    /// their share, and no time beyond SIGKILL.
    pub const fn hooks_until(&self, signal: Clocks, now: Clocks) -> Duration {
        // An invocation that ends early does not lengthen the share of the hooks; one that ends
        // late shortens it.
        let kill = signal.monotonic.saturating_add(self.duration);
        let until = now.monotonic.saturating_add(self.hooks);
        // `min` is not `const` for durations.
        until.saturating_sub(until.saturating_sub(kill))
    }
}
