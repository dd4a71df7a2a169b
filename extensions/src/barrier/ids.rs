//! The invocations of which something is known and something else is not.

use heapless::{String, Vec};
use lambda_proto::json::JsonStr;

use crate::limits::{MAX_OUTSTANDING, MAX_REQUEST_ID};

/// A request id that fits, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String<MAX_REQUEST_ID>);

impl RequestId {
    /// `None` if it is empty or too long.
    pub(crate) fn new(id: JsonStr<'_>) -> Option<Self> {
        let mut text = String::new();
        for character in id.chars() {
            text.push(character).ok()?;
        }
        (!text.is_empty()).then_some(Self(text))
    }
}

/// What is known of a request id. An invocation that failed may be tried again with the same one
/// [Lambda Developer Guide: asynchronous invocation], so everything is counted. But a record counts
/// once for an INVOKE: it comes again if its batch is delivered again.
#[derive(Clone, Debug)]
struct Known {
    id: RequestId,
    invoked: u8,
    done: u8,
    reported: u8,
}

impl Known {
    /// Whether the runtime is done with the latest invocation. A report follows the end of its
    /// invocation, so it counts as well.
    fn is_done(&self) -> bool {
        self.done.max(self.reported) >= self.invoked
    }

    fn is_complete(&self) -> bool {
        self.invoked > 0 && self.reported >= self.invoked
    }

    /// How many records of a kind may count. The first may come before its INVOKE.
    fn expected(&self) -> u8 {
        self.invoked.max(1)
    }
}

/// In the order in which they became known. Complete ones stay until others need the place, so that
/// a record that comes again is not taken for one of the next attempt.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    known: Vec<Known, MAX_OUTSTANDING>,
    forgotten: u32,
}

impl Ids {
    pub(super) const fn new() -> Self {
        Self { known: Vec::new(), forgotten: 0 }
    }

    /// Each of these returns whether the runtime is done with the latest invocation of this id.
    pub(super) fn invoked(&mut self, id: &RequestId) -> bool {
        self.known.retain(|known| known.id != *id || !known.is_complete());
        self.note(id, |known| known.invoked = known.invoked.saturating_add(1))
    }

    pub(super) fn done(&mut self, id: &RequestId) -> bool {
        self.note(id, |known| known.done = next(known.done, known.expected()))
    }

    pub(super) fn reported(&mut self, id: &RequestId) -> bool {
        self.note(id, |known| known.reported = next(known.reported, known.expected()))
    }

    pub(super) fn is_outstanding(&self) -> bool {
        self.outstanding().next().is_some()
    }

    pub(super) fn outstanding(&self) -> impl Iterator<Item = &str> {
        self.known
            .iter()
            .filter(|known| known.invoked > 0 && !known.is_complete())
            .map(|known| known.id.0.as_str())
    }

    pub(super) fn forgotten(&self) -> u32 {
        self.forgotten
    }

    /// Changes what is known of an id, which becomes known if it was not.
    fn note(&mut self, id: &RequestId, change: impl FnOnce(&mut Known)) -> bool {
        if !self.known.iter().any(|known| known.id == *id) {
            self.make_room();
            // There is room, so it is not refused.
            let _ = self.known.push(Known { id: id.clone(), invoked: 0, done: 0, reported: 0 });
        }
        let Some(known) = self.known.iter_mut().find(|known| known.id == *id) else { return false };
        change(known);
        known.is_done()
    }

    /// Forgets the oldest id of which nothing is outstanding, or else the oldest invocation.
    fn make_room(&mut self) {
        if !self.known.is_full() {
            return;
        }
        let settled = self.known.iter().position(|known| known.invoked == 0 || known.is_complete());
        if settled.is_none() {
            self.forgotten = self.forgotten.saturating_add(1);
        }
        let mut at = 0;
        self.known.retain(|_| {
            let is_kept = at != settled.unwrap_or(0);
            at += 1;
            is_kept
        });
    }
}

fn next(count: u8, most: u8) -> u8 {
    count.saturating_add(1).min(most)
}
