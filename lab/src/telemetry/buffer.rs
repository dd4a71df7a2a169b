//! What a subscriber is to get: the records that wait, and the count of those that did not fit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// When a batch is delivered.
///
/// Source: Lambda Developer Guide, "Lambda Telemetry API reference".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The most records of a batch.
    pub(crate) items: usize,
    /// A batch is complete when its records have this many bytes. As the last one is not cut, it
    /// may have up to twice as many.
    pub(crate) bytes: usize,
    /// The most time that a record waits for others.
    pub(crate) time: Duration,
}

/// Records that were dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub(super) records: u64,
    /// Of the records as they would have been delivered.
    pub(super) bytes: u64,
    pub(super) reason: String,
}

/// The records that wait for one subscriber.
///
/// It has no clock and does no I/O. Its memory is bounded: at most [`MOST_BATCHES`] batches wait.
/// Records that do not fit are dropped, the newest first. They are counted at their place between
/// the others, and the count is delivered there, so that it needs no room and is never lost.
#[derive(Debug)]
pub(super) struct Buffer {
    limits: Limits,
    /// Whether the subscriber gets events of the platform, and so the counts of what was dropped.
    tells_losses: bool,
    waiting: VecDeque<Item>,
    /// The number of records that wait, and their bytes.
    records: usize,
    bytes: usize,
    /// What was dropped after the last record that waits.
    lost: Losses,
    /// What was dropped in total.
    total: Losses,
    /// Since when the first of the batch waits.
    since: Option<Instant>,
}

#[derive(Debug)]
enum Item {
    Record(Bytes),
    Lost(Losses),
}

/// Records to be delivered together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) parts: VecDeque<Part>,
}

/// A record, and what it counts if it is an event of losses.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    losses: Option<Losses>,
}

/// How many batches wait at most, besides the one that is being delivered: one that is complete,
/// and one that becomes so.
const MOST_BATCHES: usize = 2;

/// Source: emulator, `lambda-managed-instances/aws-lambda-rie/internal/telemetry/internal`,
/// `subscriber.go`.
pub(super) const SLOW: &str = "Some logs were dropped because the downstream consumer is slower than the logs production rate";

impl Buffer {
    pub(super) fn new(limits: Limits, tells_losses: bool) -> Self {
        Self {
            limits,
            tells_losses,
            waiting: VecDeque::new(),
            records: 0,
            bytes: 0,
            lost: Losses::default(),
            total: Losses::default(),
            since: None,
        }
    }

    /// Adds a record, or drops it if there is no room. A record that has the buffer for itself
    /// always fits.
    pub(super) fn push(&mut self, record: Bytes, now: Instant) {
        let has_room = self.records < MOST_BATCHES * self.limits.items
            && self.bytes + record.len() <= MOST_BATCHES * self.limits.bytes;
        if !has_room && self.records > 0 {
            self.lose(1, record.len() as u64, SLOW, now);
            return;
        }
        self.since.get_or_insert(now);
        self.place_losses();
        self.records += 1;
        self.bytes += record.len();
        self.waiting.push_back(Item::Record(record));
    }

    /// Counts records that were dropped before they came here.
    pub(super) fn lose(&mut self, records: u64, bytes: u64, reason: &str, now: Instant) {
        let losses = Losses { records, bytes, reason: reason.to_owned() };
        self.since.get_or_insert(now);
        self.total.add(&losses);
        if self.tells_losses {
            self.lost.add(&losses);
        }
    }

    /// Takes the next batch, if anything waits. `render` makes an event of losses.
    pub(super) fn take(
        &mut self,
        now: Instant,
        render: impl Fn(&Losses) -> Bytes,
    ) -> Option<Batch> {
        let (mut parts, mut records, mut bytes) = (VecDeque::new(), 0, 0);
        while records < self.limits.items && bytes < self.limits.bytes {
            match self.waiting.pop_front() {
                Some(Item::Record(record)) => {
                    records += 1;
                    bytes += record.len();
                    parts.push_back(Part { bytes: record, losses: None });
                }
                Some(Item::Lost(losses)) => parts.push_back(Part::of(losses, &render)),
                None => break,
            }
        }
        self.records -= records;
        self.bytes -= bytes;
        if self.waiting.is_empty() && self.lost.records > 0 {
            parts.push_back(Part::of(std::mem::take(&mut self.lost), &render));
        }
        self.since = (!self.waiting.is_empty()).then_some(now);
        (!parts.is_empty()).then_some(Batch { parts })
    }

    /// Puts back what is left of a batch whose delivery has ended.
    pub(super) fn put_back(&mut self, batch: Batch) {
        for part in batch.parts.into_iter().rev() {
            self.waiting.push_front(match part.losses {
                Some(losses) => Item::Lost(losses),
                None => {
                    self.records += 1;
                    self.bytes += part.bytes.len();
                    Item::Record(part.bytes)
                }
            });
        }
    }

    /// The number of records that wait, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }

    /// Drops what is left of a batch that could not be delivered, for this reason.
    pub(super) fn give_up(&mut self, batch: Batch, reason: &str, now: Instant) {
        let mut losses = Losses::default();
        for part in batch.parts {
            match part.losses {
                None => {
                    let dropped = Losses {
                        records: 1,
                        bytes: part.bytes.len() as u64,
                        reason: reason.to_owned(),
                    };
                    self.total.add(&dropped);
                    losses.add(&dropped);
                }
                Some(counted) => losses.add(&counted),
            }
        }
        if !self.tells_losses || losses.records == 0 {
            return;
        }
        self.since.get_or_insert(now);
        match self.waiting.front_mut() {
            Some(Item::Lost(counted)) => counted.add(&losses),
            Some(Item::Record(_)) => self.waiting.push_front(Item::Lost(losses)),
            None => {
                losses.add(&self.lost);
                self.lost = losses;
            }
        }
    }

    /// Whether a batch is complete.
    pub(super) fn is_full(&self) -> bool {
        self.records >= self.limits.items || self.bytes >= self.limits.bytes
    }

    /// When the next batch is to be delivered at the latest; `None` if nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_empty = self.waiting.is_empty() && self.lost.records == 0;
        self.since.filter(|_| !is_empty).map(|since| since + self.limits.time)
    }

    /// What was dropped in total.
    pub(super) fn total(&self) -> &Losses {
        &self.total
    }

    /// Counts what was dropped before the next record at its place.
    fn place_losses(&mut self) {
        if self.lost.records > 0 {
            self.waiting.push_back(Item::Lost(std::mem::take(&mut self.lost)));
        }
    }
}

impl Losses {
    /// Adds others, whose reason counts if there was none.
    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        if self.reason.is_empty() {
            self.reason.clone_from(&other.reason);
        }
    }
}

impl Part {
    fn of(losses: Losses, render: impl Fn(&Losses) -> Bytes) -> Self {
        Self { bytes: render(&losses), losses: Some(losses) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(items: usize, bytes: usize) -> Limits {
        Limits { items, bytes, time: SECOND }
    }

    fn record(length: usize) -> Bytes {
        Bytes::from(vec![b'x'; length])
    }

    fn render(losses: &Losses) -> Bytes {
        Bytes::from(format!("lost {} {} {}", losses.records, losses.bytes, losses.reason))
    }

    fn lengths(batch: &Batch) -> Vec<usize> {
        batch.parts.iter().map(|part| part.bytes.len()).collect()
    }

    fn texts(batch: &Batch) -> Vec<String> {
        let text = |part: &Part| String::from_utf8(part.bytes.to_vec()).unwrap();
        batch.parts.iter().map(text).collect()
    }

    #[test]
    fn what_is_put_back_waits_at_its_place() {
        let now = Instant::now();
        let mut buffer = Buffer::new(limits(1, 100), true);
        buffer.push(record(1), now);
        buffer.push(record(2), now);
        buffer.push(record(3), now);
        assert_eq!(buffer.waiting(), (2, 3), "the third has no room");
        let batch = buffer.take(now, render).unwrap();
        assert_eq!(buffer.waiting(), (1, 2));
        buffer.put_back(batch);
        assert_eq!(buffer.waiting(), (2, 3));
        assert_eq!(lengths(&buffer.take(now, render).unwrap()), [1]);
    }

    #[test]
    fn a_batch_is_complete_by_its_records_or_its_bytes_and_due_by_its_time() {
        let now = Instant::now();
        let mut buffer = Buffer::new(limits(3, 100), true);
        assert_eq!((buffer.due(), buffer.is_full()), (None, false));
        assert!(buffer.take(now, render).is_none());
        buffer.push(record(1), now);
        buffer.push(record(2), now + SECOND / 2);
        assert_eq!((buffer.due(), buffer.is_full()), (Some(now + SECOND), false));
        buffer.push(record(3), now);
        assert!(buffer.is_full());
        buffer.push(record(4), now);
        assert_eq!(lengths(&buffer.take(now + SECOND, render).unwrap()), [1, 2, 3]);
        // The rest waits for others again.
        assert_eq!((buffer.due(), buffer.is_full()), (Some(now + 2 * SECOND), false));
        buffer.push(record(95), now);
        assert!(!buffer.is_full());
        buffer.push(record(60), now);
        assert!(buffer.is_full());
        assert_eq!(lengths(&buffer.take(now, render).unwrap()), [4, 95, 60]);
        assert_eq!(buffer.due(), None);
    }

    #[test]
    fn a_batch_has_at_most_twice_the_bytes() {
        let now = Instant::now();
        let mut buffer = Buffer::new(limits(1000, 100), true);
        for _ in 0..2 {
            buffer.push(record(99), now);
        }
        assert_eq!(lengths(&buffer.take(now, render).unwrap()), [99, 99]);
        // A record that is larger than all of the buffer is delivered if it is alone.
        buffer.push(record(1000), now);
        buffer.push(record(1), now);
        let batch = buffer.take(now, render).unwrap();
        assert_eq!(lengths(&batch)[0], 1000);
        assert_eq!(texts(&batch)[1], format!("lost 1 1 {SLOW}"));
    }

    #[test]
    fn what_does_not_fit_is_counted_at_its_place() {
        let now = Instant::now();
        let mut buffer = Buffer::new(limits(2, 1000), true);
        for length in 1..=6 {
            buffer.push(record(length), now);
        }
        assert_eq!(lengths(&buffer.take(now, render).unwrap()), [1, 2]);
        buffer.push(record(7), now);
        assert_eq!(lengths(&buffer.take(now, render).unwrap()), [3, 4]);
        let batch = buffer.take(now, render).unwrap();
        assert_eq!(texts(&batch), [format!("lost 2 11 {SLOW}"), "x".repeat(7)]);
        assert_eq!((buffer.total().records, buffer.total().bytes), (2, 11));
        assert_eq!(buffer.due(), None);
    }

    #[test]
    fn a_batch_that_is_given_up_is_counted_with_the_losses_that_it_told() {
        let now = Instant::now();
        let mut buffer = Buffer::new(limits(2, 1000), true);
        for length in 1..=5 {
            buffer.push(record(length), now);
        }
        let first = buffer.take(now, render).unwrap();
        buffer.give_up(first, "closed", now);
        assert!(buffer.due().is_some());
        let second = buffer.take(now, render).unwrap();
        assert_eq!(texts(&second)[0], "lost 2 3 closed");
        // The loss of the fifth is told, too.
        assert_eq!(texts(&second)[3], format!("lost 1 5 {SLOW}"));
        buffer.push(record(6), now);
        buffer.give_up(second, "closed", now);
        let third = buffer.take(now, render).unwrap();
        assert_eq!(texts(&third), ["lost 5 15 closed".to_owned(), "x".repeat(6)]);
        assert_eq!(buffer.total().records, 5);
    }

    #[test]
    fn a_subscriber_without_events_of_the_platform_is_not_told_of_losses() {
        let now = Instant::now();
        let mut buffer = Buffer::new(limits(1, 1000), false);
        for length in 1..=3 {
            buffer.push(record(length), now);
        }
        let batch = buffer.take(now, render).unwrap();
        assert_eq!(lengths(&batch), [1]);
        buffer.give_up(batch, "closed", now);
        assert_eq!(lengths(&buffer.take(now, render).unwrap()), [2]);
        assert_eq!(buffer.due(), None);
        assert!(buffer.take(now, render).is_none());
        assert_eq!((buffer.total().records, buffer.total().bytes), (2, 4));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Deliver,
        /// Gives up a batch after this many of its parts were delivered.
        Fail(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (1..300_usize).prop_map(Step::Push),
            2 => Just(Step::Deliver),
            1 => (0..5_usize).prop_map(Step::Fail),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn what_was_given_is_delivered_or_counted_and_memory_is_bounded(
            steps in steps(),
            items in 1..10_usize,
            bytes in 1..1000_usize,
        ) {
            let now = Instant::now();
            let mut buffer = Buffer::new(limits(items, bytes), true);
            let (mut given, mut delivered, mut told) = ((0, 0), (0, 0), (0, 0));
            let mut deliver = |parts: &mut VecDeque<Part>, count: usize| {
                for part in parts.drain(..count) {
                    let (into, records, size) = match &part.losses {
                        None => (&mut delivered, 1, part.bytes.len() as u64),
                        Some(losses) => (&mut told, losses.records, losses.bytes),
                    };
                    into.0 += records;
                    into.1 += size;
                }
            };
            for step in steps {
                match step {
                    Step::Push(length) => {
                        given.0 += 1;
                        given.1 += length as u64;
                        buffer.push(record(length), now);
                    }
                    Step::Deliver => {
                        if let Some(Batch { mut parts }) = buffer.take(now, render) {
                            let count = parts.len();
                            deliver(&mut parts, count);
                        }
                    }
                    Step::Fail(after) => {
                        if let Some(mut batch) = buffer.take(now, render) {
                            let count = after.min(batch.parts.len());
                            deliver(&mut batch.parts, count);
                            buffer.give_up(batch, "failed", now);
                        }
                    }
                }
                prop_assert!(buffer.records <= MOST_BATCHES * items);
                prop_assert!(buffer.records <= 1 || buffer.bytes <= MOST_BATCHES * bytes);
                // Never two counts one after the other.
                prop_assert!(buffer.waiting.len() <= 2 * buffer.records + 1);
            }
            while let Some(Batch { mut parts }) = buffer.take(now, render) {
                let records = parts.iter().filter(|part| part.losses.is_none()).count();
                prop_assert!(records <= items);
                let count = parts.len();
                deliver(&mut parts, count);
            }
            prop_assert_eq!(buffer.due(), None);
            prop_assert_eq!((delivered.0 + told.0, delivered.1 + told.1), given);
            prop_assert_eq!((buffer.total().records, buffer.total().bytes), told);
        }
    }
}
