//! The timers of a slot, in the order in which they fire.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use lambda_proto_host::policy::TaskToken;

use crate::owners::Owner;

/// A timer.
pub(crate) struct Timer {
    /// The number that JavaScript knows it by.
    pub(crate) id: u32,
    pub(crate) owner: Rc<Owner>,
    /// The time between two runs of an interval; `None` for a timer that fires once.
    pub(crate) every: Option<Duration>,
    /// The entry in the ledger of open work; `None` if the timer was unreferenced.
    pub(crate) token: Option<TaskToken>,
    /// Whether a freeze point has left it behind.
    pub(crate) is_left_behind: bool,
}

/// When a timer fires; timers of the same moment fire in the order in which they were set.
type Moment = (Instant, u64);

/// The timers of a slot.
#[derive(Default)]
pub(crate) struct Timers {
    timers: BTreeMap<Moment, Timer>,
    moments: HashMap<u32, Moment>,
    set: u64,
}

impl Timers {
    /// Sets a timer.
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.set += 1;
        let moment = (at, self.set);
        self.moments.insert(timer.id, moment);
        self.timers.insert(moment, timer);
    }

    /// Removes the timer with this number.
    pub(crate) fn remove(&mut self, id: u32) -> Option<Timer> {
        self.timers.remove(&self.moments.remove(&id)?)
    }

    /// The timer with this number.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Timer> {
        self.timers.get_mut(self.moments.get(&id)?)
    }

    /// When the next timer fires.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|(&(at, _), _)| at)
    }

    /// When the next timer fires that fires once, is referenced, and that no freeze point has left
    /// behind.
    pub(crate) fn next_awaited(&self) -> Option<Instant> {
        let is_awaited =
            |timer: &Timer| timer.every.is_none() && timer.token.is_some() && !timer.is_left_behind;
        self.timers.iter().find(|(_, timer)| is_awaited(timer)).map(|(&(at, _), _)| at)
    }

    /// Takes the next timer if it is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let entry = self.timers.first_entry().filter(|entry| entry.key().0 <= now)?;
        let timer = entry.remove();
        self.moments.remove(&timer.id);
        Some(timer)
    }

    /// Notes that a freeze point has left all timers behind.
    pub(crate) fn leave_behind(&mut self) {
        for timer in self.timers.values_mut() {
            timer.is_left_behind = true;
        }
    }
}
