//! How a slot tells the program that the cancellation of its invocation is due.

use std::time::Instant;

use super::{Doing, Slot};
use crate::command_queue::Key;
use crate::event::Event;
use crate::scheduler::{Cancelling, Scheduler};

/// When the program gets notice of the cancellation of an invocation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    /// There is no invocation, it has been answered, or the notice was given.
    Never,
    /// At this moment, and at the end of the process.
    At(Instant),
    /// Only at the end of the process, since the deadline is not known.
    AtTheEnd,
}

impl Slot {
    /// Tells the program that the cancellation is due, unless it was told or has answered.
    pub(crate) fn cancel(&mut self, scheduler: &mut Scheduler) {
        if !matches!(self.notice, Notice::Never) {
            self.put_notice(Notice::Never, scheduler);
            scheduler.push(Event::CancellationDue { key: self.key() });
        }
    }

    /// Whether the program owes this invocation an answer, or the rest of one.
    pub(crate) fn is_unanswered(&self, key: Key) -> bool {
        key == self.key() && self.is_answer_owed()
    }

    /// Prepares for the cancellation of the invocation that has just been handed out.
    pub(super) fn expect_cancellation(&mut self, scheduler: &mut Scheduler) {
        if scheduler.cancelling == Cancelling::Untold {
            return;
        }
        let (Some(active), Some(limit)) = (&scheduler.active, self.limit) else { return };
        let at = active.cancel_at(limit);
        self.put_notice(at.map_or(Notice::AtTheEnd, Notice::At), scheduler);
        // Compared with the clock, not with the time of the turn: a late invocation is due since it
        // was handed out, which is later than the beginning of the turn.
        if scheduler.cancelling == Cancelling::All || at.is_some_and(|at| at <= Instant::now()) {
            self.cancel(scheduler);
        }
    }

    /// Drops the notice of an invocation that has been answered.
    pub(super) fn forget_cancellation_if_answered(&mut self, scheduler: &mut Scheduler) {
        if !matches!(self.notice, Notice::Never) && !self.is_answer_owed() {
            self.put_notice(Notice::Never, scheduler);
        }
    }

    pub(super) fn is_cancellation_due(&self, now: Instant) -> bool {
        matches!(self.notice, Notice::At(at) if at <= now)
    }

    fn is_answer_owed(&self) -> bool {
        matches!(self.doing, Doing::InFlight | Doing::Streaming { finish: None, .. })
    }
}
