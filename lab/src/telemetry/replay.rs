//! The events since the start, which extensions that subscribe after them get, too.

use std::collections::VecDeque;

use super::Subscriber;
use super::buffer::SLOW;
use super::event::{Event, What};
use super::platform::{Facts, Platform};
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
    /// The lines that did not fit, by their kind.
    lost: Vec<(Kind, Lost)>,
}

/// Lines that did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lost {
    records: u64,
    /// Their bytes in the schemas in which lines are text, and in those in which they may be objects.
    as_text: u64,
    as_objects: u64,
}

/// The most lines that are replayed, and their bytes: what the smallest buffer holds.
const MOST_LINES: usize = 2 * 1000;
const MOST_BYTES: usize = 2 * 256 * 1024;

impl Replay {
    /// Keeps an event. Those of the platform are few, and always kept; of the subscriptions of an
    /// extension, the last one.
    pub(super) fn push(&mut self, event: Event, facts: &Facts) {
        let kind = event.kind();
        if kind != Kind::Platform {
            // A line keeps this form for subscribers.
            let bytes = length(&event, facts, Schema::Telemetry20250129);
            if self.lines >= MOST_LINES || self.bytes + bytes > MOST_BYTES {
                let as_text = length(&event, facts, Schema::Telemetry20220701) as u64;
                self.lose(kind, Lost { records: 1, as_text, as_objects: bytes as u64 });
                return;
            }
            self.lines += 1;
            self.bytes += bytes;
        }
        if let What::Platform(Platform::Subscription { name, .. }) = &event.what {
            self.events.retain(|event| match &event.what {
                What::Platform(Platform::Subscription { name: earlier, .. }) => earlier != name,
                _ => true,
            });
        }
        self.events.push_back(event);
    }

    pub(super) fn tell(&self, subscriber: &Subscriber, facts: &Facts) {
        self.events.iter().for_each(|event| subscriber.tell(event, facts));
        for (kind, lost) in &self.lost {
            if subscriber.subscription.types.contains(kind) {
                let bytes = lost.bytes(subscriber.subscription.schema);
                subscriber.delivery.lose(lost.records, bytes, SLOW);
            }
        }
    }

    fn lose(&mut self, kind: Kind, lost: Lost) {
        match self.lost.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, sum)) => {
                sum.records += lost.records;
                sum.as_text += lost.as_text;
                sum.as_objects += lost.as_objects;
            }
            None => self.lost.push((kind, lost)),
        }
    }
}

impl Lost {
    fn bytes(&self, schema: Schema) -> u64 {
        if schema.has_objects() { self.as_objects } else { self.as_text }
    }
}

/// The bytes of an event in this schema.
fn length(event: &Event, facts: &Facts, schema: Schema) -> usize {
    event.render(facts, schema).map(|record| record.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::event::Line;
    use crate::telemetry::{Api, Source};

    fn facts() -> Facts {
        Facts {
            name: "f".into(),
            memory: 128,
            initialization_type: "on-demand",
            instance_id: None,
            is_managed: false,
        }
    }

    fn line(source: Source, text: &str, is_json: bool) -> Event {
        let what = What::Line(Line::new(source, text.into(), None, is_json));
        Event { time: Duration::ZERO, what }
    }

    fn kept(replay: &Replay) -> usize {
        replay.events.iter().map(|event| length(event, &facts(), Schema::Telemetry20250129)).sum()
    }

    #[test]
    fn the_bytes_of_lines_that_do_not_fit_are_those_of_the_schema() {
        for is_json in [true, false] {
            let mut replay = Replay::default();
            for source in [Source::Function, Source::Extension] {
                for _ in 0..1250 {
                    replay.push(line(source, "plain", is_json), &facts());
                }
            }
            assert_eq!((replay.events.len(), replay.lines), (MOST_LINES, MOST_LINES));
            let [(Kind::Extension, lost)] = replay.lost[..] else { panic!("{:?}", replay.lost) };
            assert_eq!(lost.records, 500);
            for schema in Schema::ALL {
                let one = length(&line(Source::Extension, "plain", is_json), &facts(), schema);
                assert_eq!(lost.bytes(schema), 500 * one as u64, "{schema:?}");
            }
            assert_eq!(lost.as_text < lost.as_objects, is_json);
        }
    }

    #[test]
    fn the_bytes_of_the_lines_are_bounded() {
        let mut replay = Replay::default();
        let text = "x".repeat(1000);
        for number in 0..1000 {
            replay.push(line(Source::Function, &text[number..], false), &facts());
        }
        assert!(replay.bytes <= MOST_BYTES && replay.lines < 1000);
        assert_eq!(replay.bytes, kept(&replay));
        let [(Kind::Function, lost)] = replay.lost[..] else { panic!("{:?}", replay.lost) };
        assert_eq!(replay.lines as u64 + lost.records, 1000);
        // Events of the platform are kept all the same.
        let event = Event { time: Duration::ZERO, what: What::Platform(Platform::RestoreStart) };
        replay.push(event, &facts());
        assert_eq!(replay.events.len(), replay.lines + 1);
    }

    #[test]
    fn the_last_subscription_of_each_extension_is_kept() {
        let mut replay = Replay::default();
        for number in 0..100 {
            for name in ["one", "other"] {
                let (api, name, types) = (Api::Telemetry, name.to_owned(), vec![Kind::Function]);
                let what = What::Platform(Platform::Subscription { api, name, types });
                replay.push(Event { time: Duration::from_secs(number), what }, &facts());
            }
        }
        let times: Vec<_> = replay.events.iter().map(|event| event.time.as_secs()).collect();
        assert_eq!(times, [99, 99]);
    }
}
