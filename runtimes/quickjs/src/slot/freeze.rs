//! The time between the answer and the freeze.

use std::rc::Rc;
use std::time::Instant;

use lambda_proto_host::lifecycle::{Cancellation, clock};
use lambda_proto_host::policy::{FreezePoint, Policy};
use lambda_proto_std::Failure;

use super::{End, Slot};
use crate::engine::Turn;
use crate::owners::Owner;
use crate::times::{Times, between};
use crate::watchdog::{Limits, TIMEOUT, timeout};

impl Slot<'_, '_> {
    /// Runs what may run after the answer, and reports what is left.
    pub(super) fn freeze_point(
        &self,
        owner: &Rc<Owner>,
        times: Option<Times>,
        cancellation: &Cancellation,
    ) -> Result<(), End> {
        if let Some(times) = times {
            let times = Times { give_up_at: times.deadline, ..times };
            self.host.time.limit(Some(times.limits(times.end_at.max(Instant::now()))));
        }
        // Jobs may be left from what has described the result.
        let turn = self.engine.turn(owner, || Ok(()));
        self.check_after_answer(&turn);
        let reached = clock::now();
        let Some(limit) = self.host.limit.get() else { return Ok(()) };
        let policy = match self.settings.policy {
            Policy::Drain { reserve } => {
                let left = limit.remaining(reached);
                let left = left
                    .map_or(Policy::DRAIN_WITHOUT_DEADLINE, |left| left.saturating_sub(reserve));
                if !left.is_zero() {
                    self.drain(Instant::now() + left, times, cancellation);
                }
                Policy::Report
            }
            policy => policy,
        };
        let has_undecided = self.host.work.borrow().has_undecided();
        if has_undecided && self.host.leave_behind(FreezePoint::reached(policy, limit, reached)) {
            return Err(End::LeftBehind);
        }
        Ok(())
    }

    /// Runs timers while there is something to wait for.
    fn drain(&self, until: Instant, times: Option<Times>, cancellation: &Cancellation) {
        let end_of_grace = until.min(Instant::now() + self.settings.grace);
        let times = times.map(|times| {
            let give_up_at = times.give_up_at.max(between(until, times.deadline));
            Times { give_up_at, ..times }
        });
        if let Some(times) = times {
            self.watchdog.watch(times.give_up_at, times.deadline);
        }
        let end = until + Policy::DRAIN_WITHOUT_DEADLINE;
        let limits = times.map_or(Limits { until, end, stuck: end }, |times| times.limits(until));
        self.host.time.limit(Some(limits));
        loop {
            let (next, awaited) = {
                let timers = self.host.timers.borrow();
                (timers.next(), timers.next_awaited())
            };
            let Some(next) = next else { return };
            let target = if self.host.has_awaited() {
                (next <= until).then_some(next)
            } else {
                awaited.filter(|&at| at <= end_of_grace)
            };
            let Some(target) = target else { return };
            let now = Instant::now();
            if now >= until {
                return;
            }
            // Other timers that are due before run, too.
            let at = target.min(next);
            if at > now {
                self.sleep(Some(at), cancellation);
                continue;
            }
            if let Some(turn) = self.engine.fire_due() {
                self.check_after_answer(&turn);
            }
        }
    }

    /// Logs what was interrupted in a turn after the answer, and ends the process if jobs are left.
    fn check_after_answer(&self, turn: &Turn<()>) {
        for owner in &turn.interrupted {
            self.host.unhandled(owner, "work after the answer was interrupted", &timeout());
        }
        if turn.is_stuck {
            let message = "jobs queue each other without an end after the answer, so the process \
                           was ended";
            self.host.end(&Failure::new(TIMEOUT, message), 1);
        }
    }
}
