//! The bounds of `check`, each with its reason. There are none for times, which vary between runs.

use crate::clients::Kind;
use crate::error::{Error, Result};
use crate::measure::Calls;

/// System calls of an invocation with an event of 128 B, or with an HTTP request. Every request and
/// reply is one segment.
pub(crate) struct CallBound {
    pub(crate) kind: Kind,
    pub(crate) slots: usize,
    pub(crate) most: f64,
    /// Whether the count must also not be lower: a floor that makes fewer calls has not answered.
    pub(crate) is_exact: bool,
}

/// Tolerance for rare calls: a growing heap, or a read that has begun in only one of the two runs.
const RARE: f64 = 0.01;

pub(crate) const CALLS: [CallBound; 12] = [
    // Two requests written, two replies read.
    CallBound { kind: Kind::Floor, slots: 1, most: 4.0, is_exact: true },
    // The response and the next request are one write, and the replies to both one read.
    CallBound { kind: Kind::FloorPipelined, slots: 1, most: 2.0, is_exact: true },
    // As many as the floor: no other calls are needed.
    CallBound { kind: Kind::Echo, slots: 1, most: 4.0, is_exact: false },
    CallBound { kind: Kind::EchoPipelined, slots: 1, most: 2.0, is_exact: false },
    // The C interface adds none.
    CallBound { kind: Kind::CEcho, slots: 1, most: 4.0, is_exact: false },
    // In addition, a wait for each of the two replies.
    CallBound { kind: Kind::Pool, slots: 1, most: 6.0, is_exact: false },
    // Busy slots share their waits: at least four of them each time.
    CallBound { kind: Kind::Pool, slots: 64, most: 4.5, is_exact: false },
    // As many as the pool: on top of each read that has to wait, tokio waits once. No read is
    // repeated, and there is no timer and no wake-up from another thread.
    CallBound { kind: Kind::AsyncEcho, slots: 1, most: 6.0, is_exact: false },
    CallBound { kind: Kind::AsyncEchoPipelined, slots: 1, most: 3.0, is_exact: false },
    CallBound { kind: Kind::AsyncEcho, slots: 64, most: 4.5, is_exact: false },
    // No more: an owned event and an owned answer need memory only.
    CallBound { kind: Kind::AsyncService, slots: 1, most: 6.0, is_exact: false },
    CallBound { kind: Kind::AsyncAxum, slots: 1, most: 6.0, is_exact: false },
];

impl CallBound {
    /// Whether this number of calls is within the bound.
    pub(crate) fn holds(&self, calls: f64) -> bool {
        let is_enough = !self.is_exact || calls >= self.most - RARE;
        is_enough && calls <= self.most + RARE
    }
}

/// User instructions of an invocation with an event of 128 B, counted by callgrind, beyond those of
/// bare httparse for the same two heads. The bound is the present count and some tolerance for
/// other compilers; the target is 2,000. That one reader serves the heads of replies and of requests
/// takes 23 instructions a head. The short way for steps in which nothing has arrived costs `echo`
/// 16 more, and saves 21 when pipelined, 104 in `pool`, and 256 in the C interface.
pub(crate) const BEYOND_HTTPARSE: [(Kind, f64); 2] =
    [(Kind::Echo, 2_020.0), (Kind::EchoPipelined, 1_655.0)];

/// User instructions of an invocation that `c_echo` takes beyond those of `echo`, both with their
/// sockets: the calls of layer one, which Rust inlines (758 without a socket, `capi/cost/run`), and
/// layer two. The count was 703 on 2026-12-01, 14 % of `echo`; the rest is tolerance for other
/// compilers.
pub(crate) const C_BEYOND_ECHO: f64 = 740.0;

/// The instructions of bare httparse. If there are more, it is another version or was built
/// differently, and the bounds above do not apply.
pub(crate) const HTTPARSE: f64 = 3_100.0;

/// All instructions of an invocation on the transports with an event loop.
///
/// - `lambda-proto-mio` with one slot: the slot itself, whose code it shares with
///   `lambda-proto-std`, the queue, the memory pool and `epoll`. The count was 8,519 on 2026-11-29;
///   the rest is tolerance for other compilers.
/// - `lambda-proto-tokio` with one slot: a quarter is tokio's scheduler, I/O and time driver.
///   The counts were 10,018 and 7,776 on 2026-11-29, in a program with both of tokio's schedulers,
///   and 280 less with one of them; the rest is tolerance for other compilers.
/// - A service of tower on it: the task of the slot, and the owned event and answer. The count was
///   11,701 on 2026-11-29.
/// - An axum application on it, of which the most is axum, the event as JSON and its headers. The
///   count was 71,374 on 2026-11-29, and 75,507 on 2026-11-30, when contexts of another form are
///   kept; versions of axum differ by more than compilers.
pub(crate) const EVENT_LOOPS: [(Kind, f64); 5] = [
    (Kind::Pool, 8_500.0),
    (Kind::AsyncEcho, 10_150.0),
    (Kind::AsyncEchoPipelined, 7_900.0),
    (Kind::AsyncService, 11_850.0),
    (Kind::AsyncAxum, 79_000.0),
];

/// Allocations of an invocation, by the program and its libraries: none, once it is warm, except
/// those below. The two runs may differ by one or two at the start and the end.
pub(crate) const ALLOCATIONS: f64 = RARE;

/// Allocations of an invocation by the clients that make some: the answer of a service, which owns
/// it; what an HTTP request and its response consist of, and axum (61 on 2026-11-29).
pub(crate) const ALLOCATING: [(Kind, f64); 2] =
    [(Kind::AsyncService, 1.0 + RARE), (Kind::AsyncAxum, 64.0)];

/// The crates that a function on `lambda-proto-tokio` without features is built from, that package
/// included. The target is 45; one more is a decision.
pub(crate) const TOKIO_CRATES: usize = 31;

/// Fails unless the floor makes exactly its system calls. Checked only if each reply is one
/// segment.
pub(crate) fn assert_floor(kind: Kind, body: usize, calls: &Calls) -> Result<()> {
    let bound = CALLS.iter().find(|bound| bound.kind == kind && bound.is_exact);
    let Some(bound) = bound.filter(|_| body <= 2048) else { return Ok(()) };
    let count: f64 = calls.values().sum();
    if bound.holds(count) {
        return Ok(());
    }
    Err(Error::new(format!(
        "{} makes {count} system calls per invocation instead of {}, so it cannot serve as the floor: {calls:?}",
        kind.name(),
        bound.most
    )))
}
