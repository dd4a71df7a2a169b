//! Every sequence of steps: each step is tried in each distinct state.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use lambda_proto::api::Concurrency;

use super::pair::{Pair, Step};
use super::phase_table::{COMMANDS, LOSSES, Reached};
use super::reference::Reference;

/// States that differ only in a number of losses above this are the same: nothing else depends on
/// that number, and it is compared after every step.
const MANY_LOSSES: u32 = 0;

/// The largest depth to explore: the whole space takes seconds with optimisation, minutes without.
const DEEPEST: usize = if cfg!(debug_assertions) { 9 } else { usize::MAX };

#[derive(Debug, PartialEq, Eq)]
struct Space {
    states: usize,
    edges: usize,
    /// The largest number of steps that a state is away from the start.
    depth: usize,
}

/// Takes every step in every state until there are no new states. States are told apart by every
/// field of the machine and of the reference, so a distinction that one of them lacks is kept by
/// the other.
fn explore(concurrency: Concurrency, reached: &mut Reached) -> Space {
    let steps = Step::all();
    let mut references: HashMap<Reference, usize> = HashMap::new();
    let mut known = HashSet::new();
    let mut ways: Vec<(usize, Step)> = Vec::new();
    let mut open = VecDeque::new();
    let mut text = String::new();
    let mut key = |pair: &Pair| {
        let next = references.len();
        let reference = pair.reference().without_many_losses(MANY_LOSSES);
        let reference = *references.entry(reference).or_insert(next);
        pair.write_machine(MANY_LOSSES, &mut text);
        (reference, text.clone())
    };
    let start = Pair::new(concurrency);
    known.insert(key(&start));
    ways.push((usize::MAX, Step::Lose));
    open.push_back((start, 0, 0));
    let mut space = Space { states: 1, edges: 0, depth: 0 };
    while let Some((pair, number, depth)) = open.pop_front() {
        space.depth = depth;
        if depth == DEEPEST {
            continue;
        }
        for step in steps.iter().copied().filter(|step| pair.has(*step)) {
            let mut next = pair.clone();
            let rows = catch_unwind(AssertUnwindSafe(|| next.take(step, &[])));
            let rows = rows.unwrap_or_else(|panic| {
                println!("{concurrency:?}, {step:?} after {:?}", way(&ways, number));
                resume_unwind(panic)
            });
            rows.into_iter().for_each(|row| reached.note(row));
            space.edges += 1;
            if known.insert(key(&next)) {
                ways.push((number, step));
                open.push_back((next, space.states, depth + 1));
                space.states += 1;
            }
        }
    }
    space
}

/// The steps that led to a state.
fn way(ways: &[(usize, Step)], mut number: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while number != 0 {
        let (from, step) = ways[number];
        steps.push(step);
        number = from;
    }
    steps.reverse();
    steps
}

/// Takes every sequence of `depth` steps, whether or not it leads to a new state.
fn every_sequence(pair: &Pair, steps: &[Step], depth: usize, taken: &mut Vec<Step>) -> u64 {
    if depth == 0 {
        return 1;
    }
    let mut sequences = 0;
    for step in steps.iter().copied().filter(|step| pair.has(*step)) {
        let mut next = pair.clone();
        taken.push(step);
        let result = catch_unwind(AssertUnwindSafe(|| next.take(step, &[])));
        if let Err(panic) = result {
            println!("{taken:?}");
            resume_unwind(panic);
        }
        sequences += every_sequence(&next, steps, depth - 1, taken);
        taken.pop();
    }
    sequences
}

#[test]
fn the_machine_does_what_the_tables_say_after_any_sequence_of_steps() {
    let mut reached = Reached::default();
    let single = explore(Concurrency::Single, &mut reached);
    let multi = explore(Concurrency::Multi, &mut reached);
    reached.check(COMMANDS.iter().chain(LOSSES));
    println!("\nSingle: {single:?}\nMulti: {multi:?}");
    // The size of the state space with 49 kinds of steps: all states that any sequence leads to,
    // told apart by all fields of both sides. Input arrives whole here, and cut in `random`. After
    // a change of the machine or of the steps, update these numbers.
    let expected = if cfg!(debug_assertions) {
        [(5_818, 144_630, 9), (5_200, 134_402, 9)]
    } else {
        [(23_547, 1_067_484, 23), (18_659, 845_548, 21)]
    };
    let expected = expected.map(|(states, edges, depth)| Space { states, edges, depth });
    assert_eq!([single, multi], expected);
}

#[test]
fn sequences_that_return_to_a_known_state_are_followed_too() {
    let steps = Step::all();
    let start = Pair::new(Concurrency::Single);
    // Four steps take too long in a build without optimisation.
    let expected: &[u64] = &[44, 1_945, 86_069, 3_809_707];
    let depths = if cfg!(debug_assertions) { 3 } else { 4 };
    let sequences: Vec<_> =
        (1..=depths).map(|depth| every_sequence(&start, &steps, depth, &mut Vec::new())).collect();
    println!("sequences of 1, 2, … out of {} steps: {sequences:?}", steps.len());
    assert_eq!((steps.len(), &sequences[..]), (49, &expected[..depths]));
}
