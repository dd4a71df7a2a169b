//! The time between the answer and the freeze.

use std::rc::Rc;
use std::time::{Duration, Instant};

use lambda_proto_host::lifecycle::{Cancellation, clock};
use lambda_proto_host::policy::{FreezePoint, Policy};
use lambda_proto_std::{Failure, Level, Record};

use super::{End, Slot};
use crate::engine::Turn;
use crate::owners::Owner;
use crate::times::{Times, between};
use crate::watchdog::{Limits, TIMEOUT, timeout};
use crate::work::LOGGER;

/// What the environment was kept for after the answer.
#[derive(Default)]
struct Kept {
    /// The latest moment that was waited for, after the answer. The policy bounds it, whatever the
    /// code and the machine do.
    awaited: Duration,
    timers: u32,
}

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
                    let begun = Instant::now();
                    let kept = self.drain(begun, begun + left, times, cancellation);
                    self.tell(owner, &kept, begun.elapsed());
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
    fn drain(
        &self,
        begun: Instant,
        until: Instant,
        times: Option<Times>,
        cancellation: &Cancellation,
    ) -> Kept {
        let mut kept = Kept::default();
        let end_of_grace = until.min(begun + self.settings.grace);
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
            let Some(next) = next else { return kept };
            let target = if self.host.has_awaited() {
                (next <= until).then_some(next)
            } else {
                awaited.filter(|&at| at <= end_of_grace)
            };
            let Some(target) = target else { return kept };
            let now = Instant::now();
            if now >= until {
                return kept;
            }
            // Other timers that are due before run, too.
            let at = target.min(next);
            if at > now {
                kept.awaited = kept.awaited.max(at.saturating_duration_since(begun));
                self.sleep(Some(at), Some(cancellation));
                continue;
            }
            if let Some(turn) = self.engine.fire_due() {
                kept.timers += 1;
                self.check_after_answer(&turn);
            }
        }
    }

    /// Says in the log how long the environment was kept, and for what.
    fn tell(&self, owner: &Owner, kept: &Kept, time: Duration) {
        let Kept { awaited, timers } = *kept;
        if awaited.is_zero() && timers == 0 {
            return;
        }
        let time = time.as_millis();
        let line = format_args!(
            "kept the environment for {time} ms after the answer: {timers} timers ran"
        );
        let add = |fields: &mut lambda_proto_host::Fields<'_>| {
            fields.json("keptMs", format_args!("{time}"));
            fields.json("awaitedMs", format_args!("{}", awaited.as_millis()));
            fields.json("timers", format_args!("{timers}"));
        };
        let record = Record::new(Level::Debug, line).logger(LOGGER).request_id(&owner.request_id);
        self.host.log.write(&record.fields(&add));
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
