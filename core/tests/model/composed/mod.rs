//! The runtime and the service together: every interleaving of their moves, with connections lost
//! at every point.
//!
//! The runtime is a [`Client`](lambda_proto::client::Client) in an ordinary loop. It connects. It
//! writes a byte of a request, all of it, a byte of the `next` after it, or all. It reads a part of
//! a head, a head with a part of a body, a message, or several. The service reads a request, hands
//! out an event, and notices that a connection is gone. A loss discards everything that the runtime
//! has not read. What the service has not read, it may read at any later time, or never. So an
//! answer from a lost connection may reach the service after the second copy of it, and a `next`
//! long after the runtime has asked again. At any time before its receipt, the runtime may lose the
//! body of its answer and withdraw it; if the invocation is unanswered then, it gives another answer.
//!
//! Checked in every state:
//!
//! - neither side waits for something that will not arrive, and there is no endless cycle;
//! - no answer takes effect twice, or for another invocation;
//! - the fate that the embedder learns is true, or "unknown".
//!
//! Checked at every end: each event was answered, or the embedder learnt what became of it, or it
//! was lost before the runtime had its id. The service allows that: a `next` on a connection that
//! drops loses the event.

mod host;
mod service;
mod world;

use std::collections::HashSet;

use service::Kind;
use world::{Mistaken, Move, Settings, World};

/// Explores everything that can happen, depth first. A client cannot be cloned, so a state is
/// reached again by taking all moves from the start.
struct Explorer {
    settings: Settings,
    /// Whether known states are not explored again.
    is_pruning: bool,
    known: HashSet<(u64, u64)>,
    on_the_way: HashSet<(u64, u64)>,
    way: Vec<Move>,
    ends: HashSet<(u64, u64)>,
    found: Found,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    states: u64,
    edges: u64,
    ends: usize,
    /// The number of moves on the longest way.
    depth: usize,
    mistaken: Mistaken,
}

impl Explorer {
    fn run(settings: Settings, is_pruning: bool) -> Self {
        let mut explorer = Self {
            settings,
            is_pruning,
            known: HashSet::new(),
            on_the_way: HashSet::new(),
            way: Vec::new(),
            ends: HashSet::new(),
            found: Found::default(),
        };
        explorer.visit(World::new(settings));
        explorer.found.ends = explorer.ends.len();
        explorer
    }

    fn visit(&mut self, mut world: World) {
        let key = world.key();
        let _shows_the_way = OnPanic(&self.way);
        assert!(!self.on_the_way.contains(&key), "endless cycle: {:?}", self.way);
        if !self.known.insert(key) && self.is_pruning {
            return;
        }
        self.found.states += 1;
        self.found.depth = self.found.depth.max(self.way.len());
        let moves = world.moves();
        if world.is_at_the_end() {
            world.check_end();
            self.ends.insert(key);
        } else {
            // Progress must not depend on a lost connection or body.
            let progresses = |it: &Move| !matches!(it, Move::Lose | Move::Withdraw);
            assert!(moves.iter().any(progresses), "deadlock after {:?}", self.way);
        }
        drop(_shows_the_way);
        self.on_the_way.insert(key);
        let mut world = Some(world);
        for (at, next) in moves.iter().copied().enumerate() {
            // The last move continues from this world; for the others it is built again.
            let here = if at + 1 == moves.len() { world.take() } else { None };
            let mut there = here.unwrap_or_else(|| self.again());
            self.way.push(next);
            let mistaken = there.mistaken;
            {
                let _shows_the_way = OnPanic(&self.way);
                there.take(next);
            }
            self.found.mistaken.timed_out += there.mistaken.timed_out - mistaken.timed_out;
            self.found.mistaken.earlier += there.mistaken.earlier - mistaken.earlier;
            self.found.mistaken.over += there.mistaken.over - mistaken.over;
            self.found.edges += 1;
            self.visit(there);
            self.way.pop();
        }
        self.on_the_way.remove(&key);
    }

    fn again(&self) -> World {
        let mut world = World::new(self.settings);
        self.way.iter().for_each(|next| world.take(*next));
        world
    }
}

/// Prints the moves that led to a state, if a check panics there.
struct OnPanic<'a>(&'a [Move]);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("after {:?}", self.0);
        }
    }
}

/// The state space for two invocations. There is a row for each kind of service, with and without
/// pipelining, and for each number of losses and timeouts. Its numbers are the states, the moves,
/// the ends, the moves on the longest way, and how often a reported fate is misleading.
///
/// "The first copy had been accepted" is reported when the service refuses the second copy of an
/// answer with 400 or 403 (`DESIGN.md`: "Why is an answer sent twice, and when?"). The service also
/// refuses it in this way if it has given up the invocation in the meantime (the fifth number), or
/// if an answer to an earlier delivery of the same event arrived late and was accepted (the sixth
/// number; the fate of that answer is reported as unknown). "The invocation is over" (410) is true,
/// but it may be reported for an answer whose first copy had been accepted, if the request id has
/// been used again in the meantime (the seventh number). No other reported fate is ever wrong.
type Row = (Kind, bool, usize, usize, [u64; 7]);

const ROWS: &[Row] = &[
    (Kind::Redelivering, false, 0, 0, [36, 52, 1, 35, 0, 0, 0]),
    (Kind::Redelivering, false, 1, 0, [598, 1317, 8, 42, 0, 0, 0]),
    (Kind::Redelivering, false, 2, 0, [6046, 19484, 30, 54, 0, 0, 0]),
    (Kind::Redelivering, false, 1, 1, [1551, 3611, 26, 43, 18, 0, 0]),
    (Kind::Redelivering, true, 0, 0, [59, 146, 1, 33, 0, 0, 0]),
    (Kind::Redelivering, true, 1, 0, [1916, 6071, 13, 50, 0, 0, 0]),
    (Kind::Redelivering, true, 2, 0, [33424, 140408, 77, 67, 0, 174, 0]),
    (Kind::Redelivering, true, 1, 1, [5007, 16479, 43, 51, 30, 0, 0]),
    (Kind::Losing, false, 0, 0, [36, 52, 1, 35, 0, 0, 0]),
    (Kind::Losing, false, 1, 0, [752, 1633, 13, 42, 0, 0, 0]),
    (Kind::Losing, false, 2, 0, [8137, 25245, 60, 49, 51, 0, 0]),
    (Kind::Losing, false, 1, 1, [1824, 4219, 34, 43, 18, 0, 0]),
    (Kind::Losing, true, 0, 0, [59, 146, 1, 33, 0, 0, 0]),
    (Kind::Losing, true, 1, 0, [1714, 5103, 20, 41, 0, 0, 0]),
    (Kind::Losing, true, 2, 0, [19827, 74277, 93, 49, 147, 0, 0]),
    (Kind::Losing, true, 1, 1, [4149, 12960, 49, 42, 30, 0, 0]),
    (Kind::Attempts, false, 0, 0, [36, 52, 1, 35, 0, 0, 0]),
    (Kind::Attempts, false, 1, 0, [681, 1486, 11, 42, 0, 0, 0]),
    (Kind::Attempts, false, 2, 0, [6739, 21093, 46, 49, 0, 0, 9]),
    (Kind::Attempts, false, 1, 1, [1665, 3923, 31, 43, 0, 0, 0]),
    (Kind::Attempts, true, 0, 0, [59, 146, 1, 33, 0, 0, 0]),
    (Kind::Attempts, true, 1, 0, [1430, 4137, 18, 41, 0, 0, 0]),
    (Kind::Attempts, true, 2, 0, [14401, 53261, 71, 49, 0, 0, 15]),
    (Kind::Attempts, true, 1, 1, [3664, 11369, 50, 42, 0, 0, 0]),
    (Kind::Several, false, 0, 0, [36, 52, 1, 35, 0, 0, 0]),
    (Kind::Several, false, 1, 0, [607, 1327, 11, 42, 0, 0, 0]),
    (Kind::Several, false, 2, 0, [5430, 16995, 45, 49, 0, 0, 0]),
    (Kind::Several, false, 1, 1, [1505, 3659, 31, 43, 0, 0, 0]),
    (Kind::Several, true, 0, 0, [59, 146, 1, 33, 0, 0, 0]),
    (Kind::Several, true, 1, 0, [1278, 3838, 16, 40, 0, 0, 0]),
    (Kind::Several, true, 2, 0, [11497, 44446, 57, 47, 0, 0, 0]),
    (Kind::Several, true, 1, 1, [3344, 10883, 46, 41, 0, 0, 0]),
    (Kind::Reused, false, 0, 0, [36, 52, 1, 35, 0, 0, 0]),
    (Kind::Reused, false, 1, 0, [505, 1005, 11, 42, 0, 0, 0]),
    (Kind::Reused, false, 2, 0, [3757, 10114, 45, 49, 0, 0, 0]),
    (Kind::Reused, true, 0, 0, [59, 146, 1, 33, 0, 0, 0]),
    (Kind::Reused, true, 1, 0, [990, 2650, 16, 40, 0, 0, 0]),
    (Kind::Reused, true, 2, 0, [7136, 23095, 57, 47, 0, 0, 0]),
];

/// The same, and at most one answer is withdrawn.
const WITHDRAWN: &[Row] = &[
    (Kind::Redelivering, false, 0, 0, [207, 364, 6, 47, 0, 0, 0]),
    (Kind::Redelivering, false, 1, 0, [4331, 11525, 48, 53, 0, 0, 0]),
    (Kind::Redelivering, true, 0, 0, [352, 981, 6, 45, 0, 0, 0]),
    (Kind::Redelivering, true, 1, 0, [16484, 60078, 84, 62, 0, 0, 0]),
    (Kind::Losing, false, 0, 0, [151, 248, 6, 37, 0, 0, 0]),
    (Kind::Losing, false, 1, 0, [3310, 8130, 61, 44, 0, 0, 0]),
    (Kind::Losing, true, 0, 0, [250, 654, 6, 35, 0, 0, 0]),
    (Kind::Losing, true, 1, 0, [7452, 23770, 87, 43, 0, 0, 0]),
    (Kind::Attempts, false, 0, 0, [138, 212, 6, 37, 0, 0, 0]),
    (Kind::Attempts, false, 1, 0, [2665, 6240, 52, 43, 0, 0, 0]),
    (Kind::Attempts, true, 0, 0, [227, 570, 6, 35, 0, 0, 0]),
    (Kind::Attempts, true, 1, 0, [5627, 16902, 77, 43, 0, 0, 0]),
    (Kind::Several, false, 0, 0, [153, 250, 6, 37, 0, 0, 0]),
    (Kind::Several, false, 1, 0, [2507, 6015, 50, 44, 0, 0, 0]),
    (Kind::Several, true, 0, 0, [255, 665, 6, 35, 0, 0, 0]),
    (Kind::Several, true, 1, 0, [5259, 16524, 67, 42, 0, 0, 0]),
    (Kind::Reused, false, 0, 0, [138, 212, 6, 37, 0, 0, 0]),
    (Kind::Reused, false, 1, 0, [1847, 3829, 50, 44, 0, 0, 0]),
    (Kind::Reused, true, 0, 0, [227, 570, 6, 35, 0, 0, 0]),
    (Kind::Reused, true, 1, 0, [3634, 9881, 67, 42, 0, 0, 0]),
];

/// Whether a row takes too long in a build without optimisation.
fn is_long((_, _, losses, timeouts, _): &Row, withdrawals: usize) -> bool {
    losses + timeouts + withdrawals > 1
}

/// Explores what each row says, while up to this number of answers are withdrawn.
fn explore(rows: &[Row], withdrawals: usize) {
    let rows = rows.iter().filter(|row| !cfg!(debug_assertions) || !is_long(row, withdrawals));
    for (kind, is_pipelined, losses, timeouts, expected) in rows.copied() {
        let settings =
            Settings { kind, is_pipelined, invocations: 2, losses, timeouts, withdrawals };
        let Found { states, edges, ends, depth, mistaken } = Explorer::run(settings, true).found;
        let Mistaken { timed_out, earlier, over } = mistaken;
        let found = [states, edges, ends as u64, depth as u64, timed_out, earlier, over];
        println!("    (Kind::{kind:?}, {is_pipelined}, {losses}, {timeouts}, {found:?}),");
        assert_eq!(found, expected, "{settings:?}");
        // Unless an invocation times out or is given up, the fate is not misleading.
        assert!(timed_out == 0 || timeouts > 0 || kind == Kind::Losing);
        assert!(earlier == 0 || kind == Kind::Redelivering);
        assert!(over == 0 || kind == Kind::Attempts);
    }
}

#[test]
fn whatever_the_runtime_and_the_service_do_no_invocation_is_lost_or_answered_twice() {
    explore(ROWS, 0);
}

#[test]
fn whenever_an_answer_is_withdrawn_no_invocation_is_lost_or_answered_twice() {
    explore(WITHDRAWN, 1);
}

/// Proves that states with the same key behave the same, so that each is explored only once.
#[test]
fn exploring_without_pruning_finds_the_same_states() {
    // All 697,116 ways with one invocation and one loss or, without optimisation, all ways with two
    // invocations and no loss.
    let (invocations, losses) = if cfg!(debug_assertions) { (2, 0) } else { (1, 1) };
    let kind = Kind::Redelivering;
    let (timeouts, withdrawals) = (0, 0);
    let settings =
        Settings { kind, is_pipelined: false, invocations, losses, timeouts, withdrawals };
    let all = Explorer::run(settings, false);
    let pruned = Explorer::run(settings, true);
    println!("{:?} ways, {:?} states", all.found.states, pruned.found.states);
    assert!(all.found.states > pruned.found.states);
    assert_eq!(all.ends, pruned.ends);
    assert_eq!(all.known, pruned.known);
}
