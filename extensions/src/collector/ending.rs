//! What is known of the end of an invocation, and of that of the environment.

use core::time::Duration;

/// The open batches in which `platform.runtimeDone` or a report was found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Telling {
    /// The number of the current invocation.
    pub(super) invocation: u32,
    pub(super) current: u32,
    pub(super) next: u32,
}

impl Telling {
    pub(super) fn begin_invocation(&mut self) {
        let invocation = self.invocation.wrapping_add(1);
        *self = Self { invocation, current: self.next, next: 0 };
    }

    pub(super) fn count(&mut self, invocation: u32) -> Option<&mut u32> {
        match invocation.wrapping_sub(self.invocation) {
            0 => Some(&mut self.current),
            1 => Some(&mut self.next),
            _ => None,
        }
    }
}

/// What is known of the records that come after SHUTDOWN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// Some may come.
    pub(super) comes: bool,
    /// The outstanding reports are all that is waited for: INVOKE was read, and reports come.
    pub(super) is_known: bool,
    pub(super) expects_reports: bool,
    /// How long it must be quiet if they are not known.
    quiet_time: Duration,
    /// What had arrived, and until when nothing more may.
    quiet: Option<(u32, Duration)>,
    /// What has arrived: bytes, beginnings and ends of batches, and their records.
    arrived: u32,
    /// Records that the handler has.
    pub(super) in_hand: u32,
}

impl Ending {
    pub(super) const fn new(expects_reports: bool, quiet_time: Duration) -> Self {
        Self {
            comes: true,
            is_known: false,
            expects_reports,
            quiet_time,
            quiet: None,
            arrived: 0,
            in_hand: 0,
        }
    }

    pub(super) fn arrives(&mut self) {
        self.arrived = self.arrived.wrapping_add(1);
    }

    /// How long to wait at most from now on; zero if it is quiet.
    pub(super) fn until_quiet(&mut self, now: Duration) -> Duration {
        let until = match self.quiet {
            Some((arrived, until)) if arrived == self.arrived => until,
            _ => {
                let until = now.saturating_add(self.quiet_time);
                self.quiet = Some((self.arrived, until));
                until
            }
        };
        let left = until.saturating_sub(now);
        // More may follow a record that the handler is busy with.
        if left.is_zero() && self.in_hand > 0 { self.quiet_time } else { left }
    }
}
