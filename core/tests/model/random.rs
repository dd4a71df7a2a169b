//! Random sequences, far longer than those of the exhaustive search, with input cut anywhere.

use lambda_proto::api::Concurrency;
use proptest::prelude::*;

use super::pair::{Pair, Step};
use super::phase_table::Stage;
use super::wire::Said;
use crate::support::Command;

/// A step, and where its input is cut if it has any.
fn any_step() -> impl Strategy<Value = (Step, Vec<usize>)> {
    use super::pair::Amount::All;
    // The steps of ordinary exchanges, preferred over all others.
    let common = vec![
        Step::Do(Command::Next),
        Step::Do(Command::Respond),
        Step::Do(Command::Stream),
        Step::Do(Command::Chunk),
        Step::Do(Command::Finish),
        Step::Send(All),
        Step::Send(All),
        Step::Hear(Said::Event { has_attempt: false }),
        Step::Hear(Said::Event { has_attempt: true }),
        Step::Hear(Said::Answer(202)),
        Step::Lose,
    ];
    let ends = |step: &Step| match step {
        Step::ShutDown | Step::Do(Command::FailInit | Command::FailRestore) => true,
        Step::Hear(said) => {
            matches!(said, Said::Answer(500) | Said::CutAnswer(500) | Said::Switch | Said::Nonsense)
        }
        _ => false,
    };
    let every = Step::all();
    let lasting: Vec<_> = every.iter().copied().filter(|step| !ends(step)).collect();
    let step = prop_oneof![
        60 => prop::sample::select(common),
        40 => prop::sample::select(lasting),
        1 => prop::sample::select(every),
    ];
    let cuts = prop::collection::vec(0..120usize, 0..4);
    let sorted = cuts.prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    });
    (step, sorted)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn the_machine_does_what_the_tables_say_in_long_programs(
        is_multi in any::<bool>(),
        program in prop::collection::vec(any_step(), 0..300),
    ) {
        let concurrency = if is_multi { Concurrency::Multi } else { Concurrency::Single };
        let mut pair = Pair::new(concurrency);
        for (step, cuts) in program {
            if pair.has(step) {
                pair.take(step, &cuts);
            }
            // No step leads out of this stage, so start again.
            if pair.stage() == Stage::ShuttingDown {
                pair = Pair::new(concurrency);
            }
        }
    }
}
