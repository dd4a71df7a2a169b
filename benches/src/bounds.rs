//! What `check` holds counts to: all bounds, each with its reason. Times have none; they depend on the day.

use crate::clients::Kind;
use crate::error::{Error, Result};
use crate::measure::Calls;

/// System calls of an invocation with an event of 128 B, whose every request and reply is one segment.
pub(crate) struct CallBound {
    pub(crate) kind: Kind,
    pub(crate) slots: usize,
    pub(crate) most: f64,
    /// For the floor: one that makes fewer has not answered, and one that makes more is no floor.
    pub(crate) is_exact: bool,
}

/// What is rare may come on top: a heap that grows, a read that is begun in one of the two runs only.
const RARE: f64 = 0.01;

pub(crate) const CALLS: [CallBound; 6] = [
    // Two requests written, two replies read.
    CallBound { kind: Kind::Floor, slots: 1, most: 4.0, is_exact: true },
    // The answer and the next request are one write, the replies to both one read.
    CallBound { kind: Kind::FloorPipelined, slots: 1, most: 2.0, is_exact: true },
    // As the floor: there is nothing else to ask of an operating system.
    CallBound { kind: Kind::Echo, slots: 1, most: 4.0, is_exact: false },
    CallBound { kind: Kind::EchoPipelined, slots: 1, most: 2.0, is_exact: false },
    // And a wait for each of the two replies.
    CallBound { kind: Kind::Pool, slots: 1, most: 6.0, is_exact: false },
    // Busy slots share their waits: at least four of them each time.
    CallBound { kind: Kind::Pool, slots: 64, most: 4.5, is_exact: false },
];

impl CallBound {
    /// Whether this many are right.
    pub(crate) fn holds(&self, calls: f64) -> bool {
        let is_enough = !self.is_exact || calls >= self.most - RARE;
        is_enough && calls <= self.most + RARE
    }
}

/// User instructions of an invocation with an event of 128 B, as callgrind counts them: so many beyond what
/// httparse spends on the same two heads in the same run. What there is, and a little for another compiler;
/// the aim is 2,000.
pub(crate) const BEYOND_HTTPARSE: [(Kind, f64); 2] =
    [(Kind::Echo, 1_980.0), (Kind::EchoPipelined, 1_630.0)];

/// Bare httparse itself: if it spends more, it is another version or was built otherwise, and the bound above
/// means something else.
pub(crate) const HTTPARSE: f64 = 3_100.0;

/// `lambda-proto-mio` in one slot: what the queue, the pool of memory and `epoll` take on top of the slot
/// that it shares with `lambda-proto-std`. It was 8,435 on 2026-11-28; the rest is for another compiler.
pub(crate) const POOL: f64 = 8_500.0;

/// That the floor is one, wherever its replies are one segment each.
pub(crate) fn assert_floor(kind: Kind, body: usize, calls: &Calls) -> Result<()> {
    let bound = CALLS.iter().find(|bound| bound.kind == kind && bound.is_exact);
    let Some(bound) = bound.filter(|_| body <= 2048) else { return Ok(()) };
    let count: f64 = calls.values().sum();
    if bound.holds(count) {
        return Ok(());
    }
    Err(Error::new(format!(
        "{} makes {count} system calls an invocation and not {}, so nothing can be compared with it: {calls:?}",
        kind.name(),
        bound.most
    )))
}
