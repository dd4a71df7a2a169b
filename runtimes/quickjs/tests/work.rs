//! What becomes of work that is open after the answer.
#![allow(missing_docs)]

mod support;

use std::time::{Duration, Instant};

use support::{Settings, module};

/// Leaves a short timer, a long one and an interval.
const TIMERS: &str = "const later = (ms) => setTimeout(() => console.log(`after ${ms} ms`), ms);
export const handler = async (event) => {
  if (event === 'work') {
    later(30);
    later(3600000);
    setInterval(() => console.log('tick'), 10000000);
  }
  return 1;
};";

fn with(policy: &str, source: &str) -> Settings {
    module(source).records().variable("LAMBDA_PROTO_WORK", policy)
}

fn report(running: &support::Running) -> Vec<serde_json::Value> {
    let is_report = |record: &serde_json::Value| {
        record["message"].as_str().is_some_and(|message| message.contains("work is left"))
    };
    running.records().into_iter().filter(is_report).collect()
}

#[test]
fn by_default_near_timers_run_and_far_ones_and_intervals_are_reported_once() {
    let running = with("", TIMERS).frozen().start();
    let id = running.to_the_end(r#""work""#);
    assert_eq!(running.ids("after 30 ms"), [&id[..]]);
    let reports = report(&running);
    assert_eq!(reports.len(), 1);
    let message = reports[0]["message"].as_str().unwrap();
    assert!(message.contains("setTimeout at later ("), "{message}");
    assert!(message.contains("index.mjs:1:"), "{message}");
    assert!(message.contains("setInterval at "), "{message}");
    assert!(message.contains("ms old)"), "{message}");
    assert_eq!(reports[0]["requestId"], *id);
    assert_eq!(reports[0]["level"], "WARN");
    assert_eq!(reports[0]["outstanding"], 2);
    assert_eq!(reports[0]["tasks"][0]["requestId"], *id);
    // Nothing new is left by the next invocation.
    running.to_the_end("1");
    assert_eq!(report(&running).len(), 1);
}

#[test]
fn the_answer_is_sent_before_what_is_left_runs() {
    // Some seconds, so that a busy machine reads the log before they are over.
    let source = "export const handler = (event, context) => {
        if (event === 'work') context.waitUntil(new Promise((done) => {
            setTimeout(() => { console.log('done'); done(); }, 5000); }));
        return 1; };";
    let running = with("drain", source).start();
    running.answer(r#""work""#);
    assert!(running.ids("done").is_empty());
    running.to_the_end("1");
    assert_eq!(running.ids("done").len(), 1);
}

#[test]
fn the_grace_is_bounded() {
    let source = "const again = () => setTimeout(again, 20); export const handler = () => { again(); return 1; };";
    let running = with("drain", source).variable("LAMBDA_QUICKJS_GRACE_MS", "200").start();
    let begun = Instant::now();
    running.to_the_end("1");
    // Long before the deadline, which is two minutes away.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(report(&running).len(), 1);
}

#[test]
fn a_promise_of_wait_until_is_waited_for_with_the_timers_that_it_needs() {
    let source = "import { setTimeout as wait } from 'timers/promises';
        export const handler = (event, context) => {
            context.waitUntil((async () => {
                for (let i = 0; i < 3; i++) await wait(100);
                console.log('sent');
                if (event === 'reject') throw new Error('not sent');
            })());
            return 1;
        };";
    let running = with("drain", source).variable("LAMBDA_QUICKJS_GRACE_MS", "0").start();
    let first = running.to_the_end("1");
    assert_eq!(running.ids("sent"), [&first[..]]);
    assert!(report(&running).is_empty());
    let second = running.to_the_end(r#""reject""#);
    assert_eq!(running.ids("not sent"), [second]);
}

#[test]
fn a_promise_of_wait_until_that_can_never_settle_is_reported_and_not_waited_for() {
    let source = "export const handler = (event, context) => { context.waitUntil(new Promise(() => {})); return 1; };";
    let running = with("drain", source).start();
    let begun = Instant::now();
    running.to_the_end("1");
    assert!(begun.elapsed() < Duration::from_secs(60));
    let reports = report(&running);
    assert!(reports[0]["message"].as_str().unwrap().contains("waitUntil at "), "{reports:?}");
}

#[test]
fn waiting_ends_at_the_deadline_less_the_reserve() {
    let source = "export const handler = (event, context) => {
            context.waitUntil(new Promise(() => setInterval(() => {}, 10))); return 1; };";
    let running = with("drain", source)
        .timeout(Duration::from_secs(20))
        .variable("LAMBDA_PROTO_DRAIN_RESERVE_MS", "18000")
        .variable("LAMBDA_PROTO_WORK", "drain")
        .start();
    let begun = Instant::now();
    running.to_the_end("1");
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    assert_eq!(report(&running).len(), 1);
    // It was left behind, and is not waited for again.
    running.to_the_end("1");
}

#[test]
fn waiting_goes_on_after_the_moment_when_code_before_the_answer_would_have_been_given_up() {
    // That moment is 14 s after the event, and waiting ends after 15.5 s.
    let source = "let count = 0;
        export const handler = (event, context) => {
            if (event === 'work') context.waitUntil(new Promise((done) => setTimeout(done, 14200)));
            return ++count; };";
    let running = with("drain", source)
        .timeout(Duration::from_secs(16))
        .variable("LAMBDA_PROTO_CANCELLATION_BUFFER_MS", "8000")
        .start();
    running.to_the_end(r#""work""#);
    // The same process.
    assert_eq!(running.text("1"), "2");
}

#[test]
fn the_policies_report_and_abandon_wait_for_nothing() {
    let running = with("report", TIMERS).start();
    running.to_the_end(r#""work""#);
    assert_eq!(report(&running)[0]["outstanding"], 3);
    assert!(running.ids("after 30 ms").is_empty());
    let running = with("abandon", TIMERS).start();
    running.to_the_end(r#""work""#);
    running.to_the_end("1");
    assert!(report(&running).is_empty());
}

#[test]
fn the_policy_strict_ends_the_process_with_an_error() {
    let source = format!(
        "{TIMERS}\nlet count = 0; export const counted = async (event) => {{ await handler(event); return ++count; }};"
    );
    let running = with("strict", &source).handler("index.counted").start();
    assert_eq!(running.text("1"), "1");
    assert_eq!(running.text("2"), "2");
    assert_eq!(running.text(r#""work""#), "3");
    // A new process.
    assert_eq!(running.text("1"), "1");
    let log = running.log();
    assert!(log.contains("which the policy treats as an error"), "{log}");
    assert!(log.contains(r#""level":"ERROR""#), "{log}");
}

#[test]
fn work_of_many_invocations_is_reported_under_the_request_id_of_each() {
    let source = "export const handler = () => { setTimeout(() => {}, 3600000); return 1; };";
    let running = with("report", source).start();
    // More than the ledger has request ids for.
    let ids: Vec<_> = (0..20).map(|_| running.to_the_end("1")).collect();
    let reports = report(&running);
    assert_eq!(reports.len(), ids.len());
    let last = reports.last().unwrap();
    let tasks = last["tasks"].as_array().unwrap();
    let told: Vec<_> = tasks.iter().map(|task| task["requestId"].as_str().unwrap()).collect();
    assert_eq!(told.iter().filter(|id| id.is_empty()).count(), 0, "{last}");
    assert!(ids.iter().all(|id| told.contains(&&id[..])), "{last}");
    assert!(!last["message"].as_str().unwrap().contains("of init"), "{last}");
}

#[test]
fn the_policy_strict_ends_the_process_also_with_several_slots() {
    let running = with("strict", TIMERS).concurrency(2).start();
    assert_eq!(running.text(r#""work""#), "1");
    let begun = Instant::now();
    while !running.log().contains("Error: work is left after the answer") {
        assert!(begun.elapsed() < support::PATIENCE, "{}", running.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_unreferenced_timer_is_neither_waited_for_nor_reported() {
    let source = "export const handler = (event) => {
            const timer = setTimeout(() => console.log('fired'), 20).unref();
            const before = timer.hasRef();
            if (event === 2) timer.ref();
            return [before, timer.hasRef()];
        };";
    let running = with("drain", source).start();
    running.to_the_end("1");
    assert!(report(&running).is_empty() && running.ids("fired").is_empty());
    let running = with("drain", source).start();
    assert_eq!(running.text("2"), "[false,true]");
    running.to_the_end("1");
    assert_eq!(running.ids("fired").len(), 1);
}

#[test]
fn work_that_was_left_behind_is_told_when_it_ends() {
    let source = "export const handler = (event) => event === 1
        ? (setTimeout(() => {}, 50), 1) : new Promise((done) => setTimeout(done, 200));";
    let running = with("report", source).start();
    let first = running.to_the_end("1");
    running.to_the_end("2");
    assert_eq!(running.ids("was left behind by its invocation, and has ended"), [first]);
}
