use core::fmt;

use crate::barrier::Barrier;
use crate::telemetry::Losses;

/// What an extension says at its end: the invocations without a report, what was lost, and what
/// was about to arrive.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'c> {
    barrier: &'c Barrier,
    losses: Losses,
    open: u32,
    unlogged: u64,
}

impl<'c> Summary<'c> {
    pub(super) fn new(barrier: &'c Barrier, losses: Losses, open: u32, unlogged: u64) -> Self {
        Self { barrier, losses, open, unlogged }
    }

    pub(super) fn is_needed(&self) -> bool {
        !self.losses.is_none() || self.open > 0 || self.unlogged > 0 || self.is_report_missing()
    }

    fn is_report_missing(&self) -> bool {
        self.barrier.forgotten() > 0 || self.barrier.outstanding().next().is_some()
    }
}

/// One line for a log.
impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("telemetry at the end: ")?;
        if self.is_report_missing() {
            f.write_str("no platform.report of")?;
            for (number, id) in self.barrier.outstanding().enumerate() {
                f.write_str(if number == 0 { " " } else { ", " })?;
                // An id comes from the sender, and this is one line.
                id.chars().try_for_each(|character| {
                    write!(f, "{}", if character.is_control() { ' ' } else { character })
                })?;
            }
            match self.barrier.forgotten() {
                0 => {}
                more => write!(f, " and {more} earlier invocations")?,
            }
            f.write_str("; ")?;
        }
        self.losses.fmt(f)?;
        match self.open {
            0 => {}
            open => write!(f, "; batches that had begun and were not taken: {open}")?,
        }
        match self.unlogged {
            0 => Ok(()),
            unlogged => write!(f, "; warnings not logged: {unlogged}"),
        }
    }
}
