//! A batch, and the choice of what becomes of it.

use core::fmt;

use super::deliveries::Earlier;
use super::exchange::Exchange;
use super::{Deliveries, Fate};

/// A batch, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub(super) earlier: Option<Earlier>,
    pub(super) records: u64,
    pub(super) unread: u64,
    /// The length of the records for which there was no memory.
    pub(super) denied: u64,
}

impl Batch {
    /// Whether this batch was delivered before, completely. Its records were handed out then.
    ///
    /// A batch is recognised by its field `Sequence-Id`, if it has one, or else by a digest of its
    /// body: then this is `false` until [`Step::Decide`](super::Step::Decide).
    pub fn is_redelivery(&self) -> bool {
        self.earlier.is_some()
    }

    /// What became of the last delivery of this batch; `None` if it was not delivered before.
    ///
    /// If it was [taken](Fate::Taken), the reply was lost, and every record of it is a duplicate.
    pub const fn earlier(&self) -> Option<Fate> {
        match self.earlier {
            Some(earlier) => Some(earlier.fate),
            None => None,
        }
    }

    /// How often the embedder has [sent it back](Decision::send_again) before. Batches that were
    /// delivered long ago are forgotten, and count from 0 again.
    pub const fn refusals(&self) -> u32 {
        match self.earlier {
            Some(earlier) => earlier.refusals,
            None => 0,
        }
    }

    /// The number of records that were handed out, with those that cannot be read.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// The number of records that cannot be read.
    pub const fn unread(&self) -> u64 {
        self.unread
    }

    /// The length of its records that did not fit because
    /// [others use the memory](super::Reason::MemoryInUse). Send such a batch back: when it comes
    /// again, there may be room for them.
    pub const fn denied_bytes(&self) -> u64 {
        self.denied
    }
}

/// The choice of what becomes of a batch: [`take`](Self::take) it or
/// [`send_again`](Self::send_again). If it is dropped, the next step offers it again.
pub struct Decision<'r> {
    pub(super) exchange: &'r mut Exchange,
    pub(super) deliveries: &'r mut Deliveries,
}

impl Decision<'_> {
    /// The batch.
    pub const fn batch(&self) -> Batch {
        self.exchange.batch
    }

    /// Replies that the batch was taken. Lambda forgets it.
    pub fn take(self) {
        self.exchange.decide(self.deliveries, Fate::Taken);
    }

    /// Replies that the batch could not be taken, which is counted. Lambda sends it again after a
    /// pause, and gives it up at some time: what is lost then comes as `platform.logsDropped`
    /// [Lambda Developer Guide: Telemetry API].
    pub fn send_again(self) {
        self.exchange.decide(self.deliveries, Fate::Refused);
    }

    /// Replies that the batch was taken although it was not, so that it is not sent without end; it is
    /// [counted](super::Losses::given_up_batches) as lost.
    pub fn give_up(self) {
        self.exchange.give_up(self.deliveries);
    }
}

impl fmt::Debug for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Decision").field(&self.exchange.batch).finish()
    }
}
