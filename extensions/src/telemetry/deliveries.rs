//! Which batches were delivered before.

use super::Losses;
use crate::limits::{MAX_REMEMBERED_BATCHES, MAX_UNREADABLE_BATCHES};

/// What is remembered of the batches of one listener, and the totals of what was lost.
///
/// One is enough for all connections of a listener, and needed: Lambda may send a batch again on
/// another connection.
#[derive(Clone, Debug)]
pub struct Deliveries {
    decided: [Option<Decided>; MAX_REMEMBERED_BATCHES],
    unreadable: [Option<Unreadable>; MAX_UNREADABLE_BATCHES],
    /// The number of deliveries, by which the oldest is found.
    turn: u64,
    losses: Losses,
}

/// What became of an earlier delivery of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It was taken. If the batch comes again, the reply was lost.
    Taken,
    /// It was sent back.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Decided {
    identity: u64,
    earlier: Earlier,
    turn: u64,
}

/// The earlier deliveries of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Earlier {
    /// What became of the last one.
    pub(super) fate: Fate,
    /// How many were sent back.
    pub(super) refusals: u32,
    /// Whether one was taken, so that its losses are counted.
    was_taken: bool,
}

#[derive(Clone, Copy, Debug)]
struct Unreadable {
    identity: u64,
    deliveries: u32,
}

/// The delivery at which a batch that can never be read is accepted, so that it is not sent again
/// for the rest of the environment's life.
const LAST_DELIVERY: u32 = 3;

impl Default for Deliveries {
    fn default() -> Self {
        Self::new()
    }
}

impl Deliveries {
    /// Nothing was delivered yet.
    pub const fn new() -> Self {
        Self {
            decided: [None; MAX_REMEMBERED_BATCHES],
            unreadable: [None; MAX_UNREADABLE_BATCHES],
            turn: 0,
            losses: NONE,
        }
    }

    /// What was lost until now.
    pub const fn losses(&self) -> Losses {
        self.losses
    }

    pub(crate) fn losses_mut(&mut self) -> &mut Losses {
        &mut self.losses
    }

    /// The earlier deliveries of this batch.
    pub(super) fn earlier(&self, identity: u64) -> Option<Earlier> {
        let mut decided = self.decided.iter().flatten();
        decided.find(|decided| decided.identity == identity).map(|decided| decided.earlier)
    }

    /// Whether a batch was sent back and has not come again.
    pub(crate) fn awaits_batch(&self) -> bool {
        let mut decided = self.decided.iter().flatten();
        decided.any(|decided| decided.earlier.fate == Fate::Refused && !decided.earlier.was_taken)
    }

    /// Records what becomes of a batch, with the losses that its records tell.
    pub(super) fn decide(&mut self, identity: u64, fate: Fate, told: &Losses) {
        let earlier = self.earlier(identity);
        let was_taken = self.was_taken(identity);
        match fate {
            Fate::Refused => self.losses.add(&Losses { refused_batches: 1, ..NONE }),
            Fate::Taken if was_taken => {}
            Fate::Taken => self.losses.add(told),
        }
        let before = earlier.map_or(0, |earlier| earlier.refusals);
        let refusals = before.saturating_add(u32::from(fate == Fate::Refused));
        let was_taken = was_taken || fate == Fate::Taken;
        self.turn = self.turn.saturating_add(1);
        let earlier = Earlier { fate, refusals, was_taken };
        let decided = Decided { identity, earlier, turn: self.turn };
        let age = |place: &&mut Option<Decided>| match place {
            Some(known) if known.identity == identity => (0, 0),
            None => (1, 0),
            Some(known) => (2, known.turn),
        };
        if let Some(place) = self.decided.iter_mut().min_by_key(age) {
            *place = Some(decided);
        }
    }

    fn was_taken(&self, identity: u64) -> bool {
        self.earlier(identity).is_some_and(|earlier| earlier.was_taken)
    }

    /// Records that a batch is not asked for again although it could not be taken. One that was taken
    /// before is no loss.
    pub(super) fn give_up(&mut self, identity: u64, told: &Losses) {
        if !self.was_taken(identity) {
            self.losses.add(&Losses { given_up_batches: 1, ..NONE });
        }
        self.decide(identity, Fate::Taken, told);
    }

    /// Records a delivery of a batch that can never be read. Returns its number, and whether it is
    /// accepted to be rid of it.
    pub(super) fn cannot_read(&mut self, identity: u64) -> (u32, bool) {
        let mut known = self.unreadable.iter_mut().flatten();
        if let Some(known) = known.find(|known| known.identity == identity) {
            known.deliveries = known.deliveries.saturating_add(1);
            let deliveries = known.deliveries;
            if deliveries == LAST_DELIVERY {
                self.losses.add(&Losses { unreadable_batches: 1, ..NONE });
            }
            return (deliveries, deliveries >= LAST_DELIVERY);
        }
        // Those that are accepted make place. If there is none left, this one would not be
        // recognised, so it is accepted at once.
        let is_pending =
            |known: &Option<Unreadable>| known.is_some_and(|it| it.deliveries < LAST_DELIVERY);
        let free = self.unreadable.iter_mut().filter(|place| !is_pending(place));
        let Some(place) = free.min_by_key(|place| place.is_some()) else {
            self.losses.add(&Losses { unreadable_batches: 1, ..NONE });
            return (1, true);
        };
        *place = Some(Unreadable { identity, deliveries: 1 });
        (1, false)
    }
}

const NONE: Losses = Losses {
    dropped_records: 0,
    dropped_bytes: 0,
    unread_records: 0,
    refused_batches: 0,
    broken_batches: 0,
    unreadable_batches: 0,
    given_up_batches: 0,
    withheld_records: 0,
    refused_connections: 0,
    failed_flushes: 0,
};
