//! The events since the start, which extensions that subscribe after them get, too.

use std::collections::VecDeque;

use super::Subscriber;
use super::buffer::SLOW;
use super::event::Event;
use super::platform::Facts;
use super::schema::{Kind, Schema};

/// The events since the start, for extensions that subscribe after them.
///
/// Source: emulator, `lambda-managed-instances/aws-lambda-rie/internal/telemetry/relay.go`, whose
/// memory for them has no bound.
#[derive(Debug, Default)]
pub(super) struct Replay {
    events: VecDeque<Event>,
    /// Of the lines among the events.
    lines: usize,
    bytes: usize,
    /// How many lines of each kind did not fit, and their bytes.
    lost: Vec<(Kind, u64, u64)>,
}

/// The most lines that are replayed, and their bytes: what the smallest buffer holds.
const MOST_LINES: usize = 2 * 1000;
const MOST_BYTES: usize = 2 * 256 * 1024;

impl Replay {
    /// Keeps an event. Those of the platform are few, and always kept.
    pub(super) fn push(&mut self, event: Event, facts: &Facts) {
        let kind = event.kind();
        if kind != Kind::Platform {
            // A line keeps this form for subscribers.
            let records = event.render(facts, Schema::Telemetry20250129);
            let bytes: usize = records.map(|record| record.len()).sum();
            if self.lines >= MOST_LINES || self.bytes + bytes > MOST_BYTES {
                self.lose(kind, bytes as u64);
                return;
            }
            self.lines += 1;
            self.bytes += bytes;
        }
        self.events.push_back(event);
    }

    pub(super) fn tell(&self, subscriber: &Subscriber, facts: &Facts) {
        self.events.iter().for_each(|event| subscriber.tell(event, facts));
        for (kind, records, bytes) in &self.lost {
            if subscriber.subscription.types.contains(kind) {
                subscriber.delivery.lose(*records, *bytes, SLOW);
            }
        }
    }

    fn lose(&mut self, kind: Kind, length: u64) {
        match self.lost.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, records, bytes)) => {
                *records += 1;
                *bytes += length;
            }
            None => self.lost.push((kind, 1, length)),
        }
    }
}
