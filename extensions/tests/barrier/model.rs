//! Random sequences, against a model that follows the table and remembers everything.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use lambda_proto_extension::barrier::{Barrier, Passage};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::table::{Input, ROWS, Row, Stage, follow};
use super::{RESERVE, at, deadline, id, ms};

#[derive(Clone, Debug)]
enum Step {
    /// An id, and the time until the deadline.
    Invoke(usize, u64),
    Done(usize),
    Report(usize),
    Start(usize),
    NoTelemetry,
    NoRuntimeDone,
    Shutdown(u64),
    Pass(u64),
}

/// Usable ids, and one that is not.
const IDS: [&str; 5] = ["a", "b", "c", "d", ""];

fn step() -> impl Strategy<Value = Step> {
    let any_id = || 0..IDS.len();
    let time = || prop::sample::select(vec![0, 50, 100, 101, 500, 3_000]);
    prop_oneof![
        30 => (any_id(), time()).prop_map(|(id, left)| Step::Invoke(id, left)),
        30 => any_id().prop_map(Step::Done),
        25 => any_id().prop_map(Step::Report),
        30 => prop::sample::select(vec![1, 99, 400, 2_900]).prop_map(Step::Pass),
        10 => any_id().prop_map(Step::Start),
        1 => Just(Step::NoTelemetry),
        1 => Just(Step::NoRuntimeDone),
        3 => time().prop_map(Step::Shutdown),
    ]
}

#[derive(Default)]
struct Counts {
    is_started: bool,
    invoked: usize,
    done: usize,
    reported: usize,
    /// When it became known, among all steps.
    since: usize,
}

impl Counts {
    fn has_begun(&self) -> bool {
        self.is_started || self.invoked > 0
    }

    fn is_complete(&self) -> bool {
        self.has_begun() && self.reported >= self.invoked.max(1)
    }
}

struct Model {
    stage: Stage,
    counts: BTreeMap<usize, Counts>,
    current: usize,
    /// The time at which a wait ends.
    limit: u64,
    has_telemetry: bool,
    has_runtime_done: bool,
    is_silent: bool,
    now: u64,
    steps: usize,
}

type Reached = HashSet<(usize, Stage)>;

impl Model {
    fn new() -> Self {
        Self {
            stage: Stage::Open,
            counts: BTreeMap::new(),
            current: 0,
            limit: 0,
            has_telemetry: true,
            has_runtime_done: true,
            is_silent: false,
            now: 0,
            steps: 0,
        }
    }

    fn reach(&mut self, input: Input, reached: &mut Reached) {
        let (row, to) = follow(self.stage, input);
        let index = ROWS.iter().position(|known: &Row| std::ptr::eq(known, row));
        reached.insert((index.expect("it is one of them"), self.stage));
        self.stage = to;
    }

    fn take(&mut self, step: &Step, reached: &mut Reached) {
        self.steps += 1;
        let is_before = matches!(self.stage, Stage::Open | Stage::Waiting);
        match *step {
            Step::Invoke(at, left) => {
                let input = self.invoke(at);
                if is_before && input == Input::Invoke {
                    (self.current, self.limit) = (at, self.now + left.saturating_sub(100));
                }
                self.reach(input, reached);
            }
            Step::Done(at) => {
                let is_current = self.record(at, |counts| counts.done += 1);
                let is_hit = is_current && self.stage == Stage::Waiting;
                self.reach(if is_hit { Input::Done } else { Input::Other }, reached);
            }
            Step::Report(at) => {
                let is_current = self.record(at, |counts| counts.reported += 1);
                let input = match self.stage {
                    Stage::Waiting if is_current => Input::Reported,
                    Stage::Reports if self.outstanding().is_empty() => Input::ReportedLast,
                    _ => Input::Other,
                };
                self.reach(input, reached);
            }
            Step::Start(at) => {
                if self.has_telemetry && self.has_runtime_done && !IDS[at].is_empty() {
                    self.known(at).is_started = true;
                }
                self.reach(Input::Other, reached);
            }
            Step::NoRuntimeDone => {
                if self.has_telemetry {
                    (self.has_runtime_done, self.is_silent) = (false, false);
                    self.reach(Input::NoRuntimeDone, reached);
                }
            }
            Step::NoTelemetry => {
                self.has_telemetry = false;
                self.reach(Input::NoTelemetry, reached);
            }
            Step::Shutdown(left) => {
                if is_before {
                    self.limit = self.now + left.saturating_sub(100);
                }
                let is_settled = !self.has_telemetry || self.outstanding().is_empty();
                let input = if is_settled { Input::ShutdownSettled } else { Input::Shutdown };
                self.reach(input, reached);
            }
            Step::Pass(millis) => self.now += millis,
        }
        let is_elapsed = self.now >= self.limit;
        self.is_silent |= is_elapsed && self.stage == Stage::Waiting;
        self.reach(if is_elapsed { Input::Elapsed } else { Input::Check }, reached);
    }

    fn invoke(&mut self, at: usize) -> Input {
        if !self.has_telemetry {
            return Input::InvokeWithout;
        }
        if IDS[at].is_empty() {
            return Input::InvokeUnnamed;
        }
        let steps = self.steps;
        let counts = self.known(at);
        if counts.is_complete() {
            *counts = Counts { since: steps, ..Counts::default() };
        }
        counts.invoked += 1;
        match counts.done.max(counts.reported) >= counts.invoked {
            true => Input::InvokeDone,
            false if self.is_silent => Input::InvokeSilent,
            false if !self.has_runtime_done => Input::InvokeReportsOnly,
            false => Input::Invoke,
        }
    }

    /// Whether the runtime is now done with the current invocation.
    fn record(&mut self, at: usize, count: impl FnOnce(&mut Counts)) -> bool {
        if !self.has_telemetry {
            return false;
        }
        self.is_silent = false;
        if IDS[at].is_empty() {
            return false;
        }
        let counts = self.known(at);
        count(counts);
        // A record that comes again before the next INVOKE counts once.
        let expected = counts.invoked.max(1);
        counts.done = counts.done.min(expected);
        counts.reported = counts.reported.min(expected);
        let is_done = counts.done.max(counts.reported) >= counts.invoked;
        is_done && self.current == at
    }

    fn known(&mut self, at: usize) -> &mut Counts {
        let since = self.steps;
        self.counts.entry(at).or_insert(Counts { since, ..Counts::default() })
    }

    fn outstanding(&self) -> Vec<&'static str> {
        let is_outstanding = |counts: &Counts| counts.has_begun() && !counts.is_complete();
        let mut ids: Vec<_> =
            self.counts.iter().filter(|(_, counts)| is_outstanding(counts)).collect();
        ids.sort_by_key(|(_, counts)| counts.since);
        ids.into_iter().map(|(at, _)| IDS[*at]).collect()
    }
}

fn give(barrier: &mut Barrier, step: &Step, now: u64) {
    match *step {
        Step::Invoke(at_id, left) => {
            barrier.invoke(id(IDS[at_id]), deadline(now + left), at(now));
        }
        Step::Done(at_id) => barrier.runtime_done(id(IDS[at_id])),
        Step::Report(at_id) => barrier.report(id(IDS[at_id])),
        Step::Start(at_id) => barrier.started(id(IDS[at_id])),
        Step::NoTelemetry => barrier.no_telemetry(),
        Step::NoRuntimeDone => barrier.no_runtime_done(),
        Step::Shutdown(left) => barrier.shutdown(deadline(now + left), at(now)),
        Step::Pass(_) => {}
    }
}

#[test]
fn the_barrier_does_what_the_table_says_in_long_programs() {
    let all = Mutex::new(Reached::new());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) };
    let programs = prop::collection::vec(step(), 0..60);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, rng).run(&programs, |program| {
        let (mut barrier, mut model) = (Barrier::new(RESERVE), Model::new());
        let mut reached = Reached::new();
        for step in &program {
            give(&mut barrier, step, model.now);
            model.take(step, &mut reached);
            let passage = barrier.check(at(model.now));
            let expected = match passage {
                Passage::Ask(_) => Stage::Open,
                Passage::Wait { at_most } => {
                    prop_assert_eq!(at_most, ms(model.limit - model.now));
                    model.stage
                }
                Passage::End(_) => Stage::Ended,
            };
            prop_assert_eq!(expected, model.stage, "{:?}", passage);
            let is_waiting = matches!(model.stage, Stage::Waiting | Stage::Reports);
            prop_assert_eq!(is_waiting, matches!(passage, Passage::Wait { .. }));
            prop_assert_eq!(barrier.outstanding().collect::<Vec<_>>(), model.outstanding());
            prop_assert_eq!(barrier.forgotten(), 0);
        }
        all.lock().expect("no test panics with it").extend(reached);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let all = all.into_inner().expect("no test panics with it");
    for (index, row) in ROWS.iter().enumerate() {
        for stage in row.from {
            assert!(all.contains(&(index, *stage)), "{row:?} from {stage:?} was not reached");
        }
    }
}

#[test]
fn a_stage_and_an_input_have_at_most_one_row() {
    for input in Input::ALL {
        for stage in [Stage::Open, Stage::Waiting, Stage::Reports, Stage::Ended] {
            let rows = ROWS
                .iter()
                .filter(|row| row.from.contains(&stage) && row.inputs.contains(&input))
                .count();
            assert!(rows <= 1, "{input:?} in {stage:?}");
        }
    }
}
