//! What is lost, as totals.

use core::fmt;

use super::{Body, LogsDropped, Number, Record};

/// Totals of what was lost, by Lambda or on the way into the extension.
///
/// Everything that is counted here was also told when it happened, by a record or a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Losses {
    /// The records that Lambda has dropped, as the `platform.logsDropped` of taken batches say.
    pub dropped_records: u64,
    /// The size of these records in bytes.
    pub dropped_bytes: u64,
    /// The records of taken batches that could not be read, and were handed out as
    /// [`Unread`](super::Unread).
    pub unread_records: u64,
    /// How often a batch was sent back by the embedder. It is not lost unless Lambda gives it up.
    pub refused_batches: u64,
    /// How often a batch broke off, or its framing was invalid. Lambda sends it again.
    pub broken_batches: u64,
    /// The batches that can never be read, and that Lambda was told to forget.
    pub unreadable_batches: u64,
    /// The batches that the embedder has [given up](super::Decision::give_up).
    pub given_up_batches: u64,
    /// The log records that were withheld from the handler, because they may be its own
    /// ([`Collector`](crate::collector::Collector#own-log-lines)).
    pub withheld_records: u64,
    /// The connections that were refused because there were too many. Lambda sends their batches
    /// again.
    pub refused_connections: u64,
    /// How often the handler failed to flush.
    pub failed_flushes: u64,
}

impl Losses {
    /// Whether there are none at all.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds these to the totals, as for the receiver of another listener.
    pub fn add(&mut self, more: &Self) {
        let totals = [
            (&mut self.dropped_records, more.dropped_records),
            (&mut self.dropped_bytes, more.dropped_bytes),
            (&mut self.unread_records, more.unread_records),
            (&mut self.refused_batches, more.refused_batches),
            (&mut self.broken_batches, more.broken_batches),
            (&mut self.unreadable_batches, more.unreadable_batches),
            (&mut self.given_up_batches, more.given_up_batches),
            (&mut self.withheld_records, more.withheld_records),
            (&mut self.refused_connections, more.refused_connections),
            (&mut self.failed_flushes, more.failed_flushes),
        ];
        for (total, more) in totals {
            *total = total.saturating_add(more);
        }
    }

    /// Counts what a record says about losses.
    pub(super) fn note(&mut self, record: &Record<'_>) {
        if let Body::LogsDropped(LogsDropped { records, bytes, .. }) = record.body {
            let read = |number: Option<Number<'_>>| number.and_then(|it| it.to_u64()).unwrap_or(0);
            self.dropped_records = self.dropped_records.saturating_add(read(records));
            self.dropped_bytes = self.dropped_bytes.saturating_add(read(bytes));
        }
    }

    pub(super) fn note_broken(&mut self) {
        self.broken_batches = self.broken_batches.saturating_add(1);
    }

    pub(super) fn note_unread(&mut self) {
        self.unread_records = self.unread_records.saturating_add(1);
    }
}

/// One line for a log.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "records dropped by Lambda: {} ({} bytes); records not read: {}; batches refused: {}, \
             broken: {}, unreadable: {}, given up: {}; log records withheld: {}; connections \
             refused: {}; failed flushes: {}",
            self.dropped_records,
            self.dropped_bytes,
            self.unread_records,
            self.refused_batches,
            self.broken_batches,
            self.unreadable_batches,
            self.given_up_batches,
            self.withheld_records,
            self.refused_connections,
            self.failed_flushes
        )
    }
}
