//! Arbitrary programs over several invocations: each line of the log and each rejection belongs to
//! the invocation that caused it, also where invocations share promises, and no policy keeps the
//! environment longer than it says.
#![allow(missing_docs)]

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use support::{Running, Settings, module};

/// Plays programs. `tag` is what the program says of itself in each line.
const PLAYER: &str = r"
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    const shares = new Map();
    const shared = (name) => {
        let share = shares.get(name);
        if (share === undefined) {
            share = Promise.withResolvers();
            // A rejection without a reaction belongs to whoever rejects.
            share.promise.catch(() => {});
            shares.set(name, share);
        }
        return share;
    };
    const intervals = [];
    // Changes when everything that has no end is ended.
    let round = 0;
    const again = (ms, of) => { if (of === round) setTimeout(again, ms, ms, of); };
    const play = (steps, context, tag) => { for (const step of steps) one(step, context, tag); };
    const one = ([name, value, then = []], context, tag) => {
        const go = () => play(then, context, tag);
        const share = () => shared(value).promise;
        switch (name) {
            case 'log': console.log(`line of ${tag}`); break;
            case 'timer': setTimeout(go, value); break;
            case 'microtask': queueMicrotask(go); break;
            case 'then': Promise.resolve(value).then(go); break;
            case 'await': (async () => { await value; go(); await null; go(); })(); break;
            case 'sleep': (async () => { await wait(value); go(); })(); break;
            case 'reject': Promise.reject(new Error(`rejection of ${tag}`)); break;
            case 'throw': setTimeout(() => { throw new Error(`rejection of ${tag}`); }, value); break;
            case 'async throw': (async () => { await null; throw new Error(`rejection of ${tag}`); })(); break;
            case 'await shared': (async () => { try { await share(); } catch {} go(); await null; go(); })(); break;
            case 'then shared': share().then(go, go); break;
            case 'chain shared': share().catch(() => {}).then(go).finally(go); break;
            case 'all shared': Promise.allSettled([share(), null, shared('x').promise]).then(go); break;
            case 'return shared': (async () => { const work = async () => share(); try { await work(); } catch {} go(); })(); break;
            case 'adopt shared': new Promise((done) => done(share())).then(go, go); break;
            case 'throw shared': (async () => { try { await share(); } catch {} throw new Error(`rejection of ${tag}`); })(); break;
            case 'settle': shared(value).resolve(1); break;
            case 'fail': shared(value).reject(new Error('shared')); break;
            // What may keep the environment.
            case 'interval': intervals.push(setInterval(go, value)); break;
            case 'again': again(value, round); break;
            case 'unref': setTimeout(go, value).unref(); break;
            case 'wait until': context.waitUntil(wait(value).then(go)); break;
            case 'wait until shared': context.waitUntil(share().then(go, go)); break;
            case 'wait until never': context.waitUntil(new Promise(() => {})); break;
        }
    };
    export const handler = async ({ tag, steps, settles }, context) => {
        play(steps, context, tag);
        if (settles) {
            await wait(30);
            for (const share of shares.values()) share.resolve(1);
            shares.clear();
            round++;
            for (const interval of intervals.splice(0)) clearInterval(interval);
            await wait(30);
        }
    };";

/// More than any test waits for.
const HOUR_MS: u32 = 3_600_000;

/// A step that may keep the environment after the answer.
fn keeping() -> impl Strategy<Value = Value> {
    let delay = || prop_oneof![Just(1_u32), Just(20), Just(70), Just(150), Just(HOUR_MS)];
    prop_oneof![
        2 => delay().prop_map(|ms| json!(["timer", ms, [["log"]]])),
        2 => delay().prop_map(|ms| json!(["interval", ms.max(20)])),
        2 => delay().prop_map(|ms| json!(["again", ms])),
        1 => delay().prop_map(|ms| json!(["unref", ms])),
        1 => delay().prop_map(|ms| json!(["wait until", ms, [["log"]]])),
        1 => Just(json!(["wait until shared", "x", [["log"]]])),
        1 => Just(json!(["wait until never"])),
    ]
}

fn steps() -> impl Strategy<Value = Value> {
    let share = prop_oneof![Just("x"), Just("y"), Just("z")];
    let leaf = prop_oneof![
        3 => Just(json!(["log"])),
        1 => Just(json!(["reject"])),
        1 => Just(json!(["async throw"])),
        1 => (0..5).prop_map(|ms| json!(["throw", ms])),
        2 => share.clone().prop_map(|name| json!(["settle", name])),
        1 => share.clone().prop_map(|name| json!(["fail", name])),
        1 => share.clone().prop_map(|name| json!(["throw shared", name])),
    ];
    let step = leaf.prop_recursive(4, 40, 4, move |step| {
        let inner = || prop::collection::vec(step.clone(), 0..4);
        let shared = prop_oneof![
            Just("await shared"),
            Just("then shared"),
            Just("chain shared"),
            Just("all shared"),
            Just("return shared"),
            Just("adopt shared"),
        ];
        prop_oneof![
            2 => (0..5, inner()).prop_map(|(ms, steps)| json!(["timer", ms, steps])),
            1 => inner().prop_map(|steps| json!(["microtask", 0, steps])),
            1 => inner().prop_map(|steps| json!(["then", 0, steps])),
            1 => inner().prop_map(|steps| json!(["await", 0, steps])),
            1 => (0..5, inner()).prop_map(|(ms, steps)| json!(["sleep", ms, steps])),
            5 => (shared, share.clone(), inner())
                .prop_map(|(name, share, steps)| json!([name, share, steps])),
        ]
    });
    prop::collection::vec(step, 1..6).prop_map(Value::Array)
}

/// A program of [`steps`] that also has steps which may keep the environment.
fn keeping_steps() -> impl Strategy<Value = Value> {
    let both = (steps(), prop::collection::vec(keeping(), 1..4));
    both.prop_map(|(steps, keeping)| {
        Value::Array(
            keeping.into_iter().chain(steps.as_array().cloned().unwrap_or_default()).collect(),
        )
    })
}

/// Plays programs, three at a time, and checks whose each line is.
struct Player {
    running: Running,
    /// The request ids, by the tags of the programs.
    ids: HashMap<String, String>,
    /// The records that have been checked.
    seen: usize,
    /// The lines that came after those of a later invocation.
    late: usize,
}

/// An invocation of a program.
struct Played {
    id: String,
    /// The time until the runtime has asked for the next one.
    time: Duration,
}

impl Player {
    fn new(settings: Settings) -> Self {
        Self { running: settings.records().frozen().start(), ids: HashMap::new(), seen: 0, late: 0 }
    }

    /// Plays programs one after the other. Returns their invocations, and the new records.
    fn play(&mut self, programs: &[Value]) -> (Vec<Played>, Vec<Value>) {
        let (mut played, last) = (vec![], programs.len() - 1);
        for (index, steps) in programs.iter().enumerate() {
            let tag = format!("<{}>", self.ids.len() + 1);
            let event = json!({"tag": tag, "steps": steps, "settles": index == last});
            let begun = Instant::now();
            let id = self.running.to_the_end(event.to_string());
            self.ids.insert(tag, id.clone());
            played.push(Played { id, time: begun.elapsed() });
        }
        let records = self.running.records().split_off(self.seen);
        self.seen += records.len();
        let mut newest = 0;
        for record in &records {
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            let told = format!("{} {}", text("message"), text("errorMessage"));
            let Some((_, rest)) = told.split_once(" of <") else { continue };
            let tag = format!("<{}>", rest.split_once('>').unwrap().0);
            assert_eq!(text("requestId"), self.ids[&tag], "{record}\n{}", json!(programs));
            // A line of an earlier invocation than the newest that was seen is late.
            if let Some(place) = played.iter().position(|played| played.id == self.ids[&tag]) {
                newest = newest.max(place);
                self.late += usize::from(place < newest);
            }
        }
        (played, records)
    }
}

/// Calls `check` with programs of these steps, three for each of the cases: with others in each run, or
/// always with the same.
fn for_programs(
    mut runner: TestRunner,
    cases: u32,
    steps: impl Strategy<Value = Value>,
    mut check: impl FnMut(&[Value]),
) {
    let programs = prop::collection::vec(steps, 3);
    // Not `TestRunner::run`, whose closure may not change anything.
    for _ in 0..cases {
        check(&programs.new_tree(&mut runner).unwrap().current());
    }
}

#[test]
fn each_line_and_each_rejection_belongs_to_the_invocation_that_caused_it() {
    let mut player = Player::new(module(PLAYER).variable("LAMBDA_PROTO_WORK", "abandon"));
    for_programs(TestRunner::default(), 40, steps(), |programs| {
        player.play(programs);
    });
    // Otherwise this test would show nothing.
    let Player { seen, late, .. } = player;
    assert!(seen > 100 && late > 20, "{seen} records, {late} late");
}

const GRACE: Duration = Duration::from_millis(100);

/// The time of the policy `drain` for `waitUntil`: until the deadline less the reserve.
const UNTIL_RESERVE: Duration = Duration::from_millis(1000);

/// What a policy has no part in: the code, the process, the machine. Long before the deadline.
const SLACK: Duration = Duration::from_secs(40);

/// The deadline is further away than [`SLACK`], and the reserve of `drain` is such that
/// [`UNTIL_RESERVE`] is left.
fn bounded(policy: &str) -> Settings {
    module(PLAYER)
        .timeout(Duration::from_secs(60))
        .variable("LAMBDA_PROTO_WORK", policy)
        .variable("LAMBDA_QUICKJS_GRACE_MS", &GRACE.as_millis().to_string())
}

/// Whether a program passes a promise to `waitUntil`, which only [`keeping`] does, in the call of
/// the handler.
fn may_wait_until(steps: &Value) -> bool {
    steps.to_string().contains("wait until")
}

/// The bound is checked in two ways. The runtime says until when it has waited, which is its own
/// decision: that must never pass the bound, and no busy machine can change it. And the whole
/// time must not pass it by more than a slack, which is less than the time until the deadline and
/// until the timers that must not be waited for.
#[test]
fn no_policy_keeps_the_environment_longer_than_it_says() {
    let mut player =
        Player::new(bounded("drain").variable("LAMBDA_PROTO_DRAIN_RESERVE_MS", "59000"));
    let (mut waits, mut long_waits) = (0, 0);
    // How many of the programs wait is asserted below, so they are the same in each run.
    for_programs(TestRunner::deterministic(), 20, keeping_steps(), |programs| {
        let (played, records) = player.play(programs);
        for (Played { id, time }, steps) in played.iter().zip(programs) {
            let bound = if may_wait_until(steps) { UNTIL_RESERVE } else { GRACE };
            assert!(*time < bound + SLACK, "{time:?}: {}", json!(programs));
            let of_it =
                |record: &&Value| record["requestId"] == id[..] && !record["keptMs"].is_null();
            let kept: Vec<_> = records.iter().filter(of_it).collect();
            assert!(kept.len() <= 1, "{kept:?}");
            for record in kept {
                let awaited = Duration::from_millis(record["awaitedMs"].as_u64().unwrap());
                assert!(awaited <= bound, "{record}: {}", json!(programs));
                waits += usize::from(!awaited.is_zero());
                long_waits += usize::from(awaited > GRACE);
            }
        }
    });
    // Otherwise this test would show nothing.
    assert!(waits > 10 && long_waits > 2, "{waits} waits, {long_waits} of them long");
    for policy in ["report", "abandon"] {
        let mut player = Player::new(bounded(policy));
        for_programs(TestRunner::default(), 10, keeping_steps(), |programs| {
            let (played, records) = player.play(programs);
            assert!(records.iter().all(|record| record["keptMs"].is_null()), "{records:?}");
            for Played { time, .. } in played {
                assert!(time < SLACK, "{time:?}: {}", json!(programs));
            }
        });
    }
}
