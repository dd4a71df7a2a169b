//! Arbitrary programs over several invocations: each line of the log and each rejection belongs to
//! the invocation that caused it, also where invocations share promises.
#![allow(missing_docs)]

mod support;

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use support::module;

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
    const play = (steps, tag) => { for (const step of steps) one(step, tag); };
    const one = ([name, value, then = []], tag) => {
        const go = () => play(then, tag);
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
        }
    };
    export const handler = async ({ tag, steps, settles }) => {
        play(steps, tag);
        if (settles) {
            await wait(30);
            for (const share of shares.values()) share.resolve(1);
            shares.clear();
            await wait(30);
        }
    };";

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

#[test]
fn each_line_and_each_rejection_belongs_to_the_invocation_that_caused_it() {
    let running =
        module(PLAYER).records().variable("LAMBDA_PROTO_WORK", "abandon").frozen().start();
    let running = &running;
    let mut ids: HashMap<String, String> = HashMap::new();
    let (mut number, mut seen, mut late) = (0, 0, 0);
    let config =
        Config { cases: 40, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let programs = prop::collection::vec(steps(), 3);
    // Not `TestRunner::run`, whose closure may not change anything.
    let mut runner = TestRunner::new(config.clone());
    for _ in 0..config.cases {
        let programs = programs.new_tree(&mut runner).unwrap().current();
        let (mut order, last) = (vec![], programs.len() - 1);
        for (index, steps) in programs.iter().enumerate() {
            number += 1;
            let tag = format!("<{number}>");
            let event = json!({"tag": tag, "steps": steps, "settles": index == last});
            let id = running.to_the_end(event.to_string());
            order.push(id.clone());
            ids.insert(tag, id);
        }
        let records = running.records();
        let mut newest = 0;
        for record in &records[seen..] {
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            let told = format!("{} {}", text("message"), text("errorMessage"));
            let Some((_, rest)) = told.split_once('<') else { continue };
            let tag = format!("<{}>", rest.split_once('>').unwrap().0);
            assert_eq!(text("requestId"), ids[&tag], "{record}\n{}", json!(programs));
            // A line of an earlier invocation than the newest that was seen is late.
            if let Some(place) = order.iter().position(|id| *id == ids[&tag]) {
                newest = newest.max(place);
                late += usize::from(place < newest);
            }
        }
        seen = records.len();
    }
    // Otherwise this test would show nothing.
    assert!(seen > 100 && late > 20, "{seen} records, {late} late");
}
