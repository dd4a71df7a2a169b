//! The timers of the slots: when each slot must be driven.

use std::time::Instant;

/// One timer for each slot; the earliest is found in constant time.
///
/// It is a tournament tree: a binary tree in an array, in which a node holds the earlier timer of
/// its two children, the nodes `2 * at` and `2 * at + 1`. The root is node 1, and the second half
/// are the slots:
///
/// ```text
/// node     1          2          3          4        5        6        7
///      (the root) (of 4, 5)  (of 6, 7)   slot 0   slot 1   slot 2   slot 3
/// ```
#[derive(Debug)]
pub(crate) struct Timers {
    nodes: Vec<Option<Instant>>,
}

impl Timers {
    /// No timer is set.
    pub(crate) fn new(slots: usize) -> Self {
        Self { nodes: vec![None; 2 * slots] }
    }

    /// Sets the timer of a slot, or clears it.
    pub(crate) fn set(&mut self, slot: usize, timer: Option<Instant>) {
        let mut at = self.nodes.len() / 2 + slot;
        let mut earlier = timer;
        // If a node does not change, no node above it changes.
        while self.nodes[at] != earlier {
            self.nodes[at] = earlier;
            if at == ROOT {
                break;
            }
            earlier = earlier_of(earlier, self.nodes[at ^ 1]);
            at /= 2;
        }
    }

    /// The earliest timer.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.nodes.get(ROOT).copied().flatten()
    }

    /// The slot with the earliest timer, if that is due at time `now`.
    pub(crate) fn due(&self, now: Instant) -> Option<usize> {
        let earliest = self.earliest().filter(|earliest| *earliest <= now);
        earliest?;
        let first_slot = self.nodes.len() / 2;
        let mut at = ROOT;
        while at < first_slot {
            at *= 2;
            if self.nodes[at] != earliest {
                at += 1;
            }
        }
        Some(at - first_slot)
    }
}

const ROOT: usize = 1;

fn earlier_of(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Compares the timers with the same timers in a plain list.
    fn assert_like(timers: &Timers, model: &[Option<Instant>], times: &[Instant]) {
        let earliest = model.iter().flatten().min().copied();
        assert_eq!(timers.earliest(), earliest, "{model:?}");
        for now in times {
            let Some(slot) = timers.due(*now) else {
                assert!(earliest.is_none_or(|earliest| earliest > *now), "{model:?}");
                continue;
            };
            assert_eq!(model[slot], earliest, "{model:?}");
            assert!(earliest.unwrap() <= *now, "{model:?}");
        }
    }

    #[test]
    fn every_short_sequence_of_changes_gives_the_same_timers_as_a_list() {
        let start = Instant::now();
        let times = [0, 1, 2].map(|millis| start + Duration::from_millis(millis));
        let settings = [None, Some(times[0]), Some(times[1]), Some(times[2])];
        for slots in 1..=4_usize {
            let ways = slots * settings.len();
            for sequence in 0..ways.pow(4) {
                let mut timers = Timers::new(slots);
                let mut model = vec![None; slots];
                let mut rest = sequence;
                for _ in 0..4 {
                    let (slot, timer) = (rest % slots, settings[rest / slots % settings.len()]);
                    rest /= ways;
                    timers.set(slot, timer);
                    model[slot] = timer;
                    assert_like(&timers, &model, &times);
                }
            }
        }
    }

    #[test]
    fn many_slots_come_out_in_the_order_of_their_timers() {
        let start = Instant::now();
        for slots in [1, 2, 3, 5, 6, 7, 12, 63, 64, 65, 1_000] {
            let mut timers = Timers::new(slots);
            let mut model = vec![None; slots];
            // Each twice, so that later timers become earlier and the other way round.
            for step in 0..2 * slots {
                let slot = step * 7_919 % slots;
                let timer = Some(start + Duration::from_millis(step as u64 * 6_101 % 4_099));
                timers.set(slot, timer);
                model[slot] = timer;
            }
            let mut expected: Vec<_> = model.iter().flatten().copied().collect();
            expected.sort();
            let end = start + Duration::from_secs(60);
            let found = std::iter::from_fn(|| {
                let slot = timers.due(end)?;
                timers.set(slot, None);
                model[slot].take()
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "{slots} slots");
            assert_eq!(timers.earliest(), None);
        }
    }

    #[test]
    fn a_timer_is_due_from_its_moment_on() {
        let mut timers = Timers::new(3);
        let moment = Instant::now() + Duration::from_secs(1);
        timers.set(1, Some(moment));
        assert_eq!(timers.due(moment - Duration::from_nanos(1)), None);
        assert_eq!(timers.due(moment), Some(1));
        timers.set(1, None);
        assert_eq!(timers.due(moment), None);
    }
}
