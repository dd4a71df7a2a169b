//! When a slot must be driven, even without an event.

use std::time::Instant;

use lambda_proto_host::MAX_ATTEMPT;

use super::cancelling::Notice;
use super::link::Link;
use super::{Held, Slot};
use crate::scheduler::Scheduler;

impl Slot {
    /// Changes the link, and with it the timer; returns the previous link.
    pub(super) fn put_link(&mut self, link: Link, scheduler: &mut Scheduler) -> Link {
        let before = std::mem::replace(&mut self.link, link);
        self.set_timer(scheduler);
        before
    }

    /// Changes what holds back the request for the next invocation, and with it the timer.
    pub(super) fn hold(&mut self, held: Held, scheduler: &mut Scheduler) {
        self.held = held;
        self.set_timer(scheduler);
    }

    /// Changes when the program gets notice of the cancellation, and with it the timer.
    pub(super) fn put_notice(&mut self, notice: Notice, scheduler: &mut Scheduler) {
        self.notice = notice;
        self.set_timer(scheduler);
    }

    fn set_timer(&self, scheduler: &mut Scheduler) {
        scheduler.timers.set(self.number, self.timer());
    }

    fn timer(&self) -> Option<Instant> {
        let link = self.link_timer();
        let Notice::At(notice) = self.notice else { return link };
        Some(link.map_or(notice, |link| link.min(notice)))
    }

    fn link_timer(&self) -> Option<Instant> {
        if let Held::ByWork { until } = self.held {
            // No request is open, so no connection is needed.
            return Some(until);
        }
        match self.link {
            Link::Paused { until } => Some(until),
            Link::Connecting { began, .. } => Some(began + MAX_ATTEMPT),
            Link::Down | Link::Waiting | Link::Up(_) | Link::Over => None,
        }
    }
}
