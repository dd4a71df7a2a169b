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
        match id.as_escaped() {
            plain if !plain.as_bytes().contains(&b'\\') => text.push_str(plain).ok()?,
            _ => id.chars().try_for_each(|character| text.push(character)).ok()?,
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
    /// Its `platform.start` was read.
    is_started: bool,
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

    /// Whether it is known to have begun, from its INVOKE or its `platform.start`.
    fn has_begun(&self) -> bool {
        self.is_started || self.invoked > 0
    }

    fn is_complete(&self) -> bool {
        self.has_begun() && self.reported >= self.expected()
    }

    /// How many records of a kind may count. The first may come before its INVOKE.
    fn expected(&self) -> u8 {
        self.invoked.max(1)
    }
}

/// What a record has shown of its invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The runtime is done with the latest one that has this id.
    pub(super) is_done: bool,
    /// Its INVOKE has not been read.
    pub(super) is_coming: bool,
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

    /// Returns whether the runtime is done with it.
    pub(super) fn invoked(&mut self, id: &RequestId) -> bool {
        self.known.retain(|known| known.id != *id || !known.is_complete());
        self.note(id, |known| known.invoked = known.invoked.saturating_add(1)).is_done
    }

    pub(super) fn started(&mut self, id: &RequestId) {
        self.note(id, |known| known.is_started = true);
    }

    pub(super) fn done(&mut self, id: &RequestId) -> Progress {
        self.note(id, |known| known.done = next(known.done, known.expected()))
    }

    pub(super) fn reported(&mut self, id: &RequestId) -> Progress {
        self.note(id, |known| known.reported = next(known.reported, known.expected()))
    }

    pub(super) fn is_outstanding(&self) -> bool {
        self.outstanding().next().is_some()
    }

    pub(super) fn outstanding(&self) -> impl Iterator<Item = &str> {
        self.known
            .iter()
            .filter(|known| known.has_begun() && !known.is_complete())
            .map(|known| known.id.0.as_str())
    }

    pub(super) fn forgotten(&self) -> u32 {
        self.forgotten
    }

    /// Changes what is known of an id, which becomes known if it was not.
    fn note(&mut self, id: &RequestId, change: impl FnOnce(&mut Known)) -> Progress {
        if !self.known.iter().any(|known| known.id == *id) {
            self.make_room();
            let (id, is_started) = (id.clone(), false);
            // There is room, so it is not refused.
            let _ = self.known.push(Known { id, is_started, invoked: 0, done: 0, reported: 0 });
        }
        match self.known.iter_mut().find(|known| known.id == *id) {
            Some(known) => {
                change(known);
                Progress { is_done: known.is_done(), is_coming: known.invoked == 0 }
            }
            None => Progress { is_done: false, is_coming: false },
        }
    }

    /// Forgets the oldest id of which nothing is outstanding, or else the oldest invocation.
    fn make_room(&mut self) {
        if !self.known.is_full() {
            return;
        }
        let settled = self.known.iter().position(|known| !known.has_begun() || known.is_complete());
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
