//! JavaScript that does not return in time, or takes too much memory.
#![allow(missing_docs)]

mod support;

use std::time::{Duration, Instant};

use support::{Running, module};

/// A function whose code is interrupted after 4 s, and whose process ends after 7 s: a busy machine
/// may need some time to run the code again.
#[track_caller]
fn limited(code: &str) -> Running {
    let source = format!(
        "const wait = (ms) => new Promise((done) => setTimeout(done, ms));
        export const handler = async (event, context) => {{ if (event !== 'stop') return event; {code} }};"
    );
    let buffer = ("LAMBDA_PROTO_CANCELLATION_BUFFER_MS", "4000");
    module(&source).timeout(Duration::from_secs(8)).variable(buffer.0, buffer.1).start()
}

#[track_caller]
fn is_ended(code: &str) {
    let running = limited(code);
    let began = Instant::now();
    running.fails("\"stop\"", "Function.Timeout", "the time of the invocation is over");
    // Not before; the clock of the deadline counts milliseconds.
    assert!(began.elapsed() > Duration::from_millis(3_990), "{:?}", began.elapsed());
    // The same process goes on.
    assert_eq!(running.text("\"go\""), "\"go\"");
    assert!(!running.log().contains("was ended"), "{}", running.log());
}

#[test]
fn an_endless_loop_ends_before_the_deadline() {
    is_ended("for (;;);");
}

#[test]
fn a_loop_that_catches_errors_ends_before_the_deadline() {
    is_ended("for (;;) { try { for (;;); } catch {} finally { event; } }");
}

#[test]
fn a_loop_after_an_await_or_in_a_timer_ends_before_the_deadline() {
    is_ended("await wait(1); for (;;);");
    is_ended("setTimeout(() => { for (;;); }, 1); await wait(3600000);");
}

#[test]
fn a_long_regular_expression_ends_before_the_deadline() {
    is_ended("/^(a+)+$/.test('a'.repeat(64) + 'b');");
}

#[test]
fn a_handler_that_waits_too_long_ends_before_the_deadline() {
    is_ended("await wait(3600000);");
}

#[test]
fn jobs_without_an_end_are_reported_and_the_process_ends() {
    // An interrupt usually hits the loop of a job, which has queued the next one already; what it
    // hits before that is one of many.
    let running = limited(
        "const again = () => { Promise.resolve().then(again); for (let i = 0; i < 1000; i++); };
        for (let i = 0; i < 100; i++) again();
        await wait(1);",
    );
    running.fails("\"stop\"", "Function.Timeout", "jobs queue each other");
    assert_eq!(running.text("\"go\""), "\"go\"");
}

#[test]
fn the_signal_fires_before_the_deadline_and_leaves_time_for_an_answer() {
    let code = "await new Promise((done) => context.signal.addEventListener('abort', done));
        return [context.signal.reason.name, context.getRemainingTimeInMillis() > 0];";
    let running = limited(code);
    assert_eq!(running.text("\"stop\""), r#"["TimeoutError",true]"#);
}

#[test]
fn reactions_belong_to_their_invocations_after_an_interrupt_in_promise_resolve() {
    let source = "let settle;
        export const handler = async (event, context) => {
            if (event === 'stop') {
                const promise = Promise.resolve(1);
                Object.defineProperty(promise, 'constructor', { get() { for (;;); } });
                Promise.resolve(promise);
            }
            if (event === 'share') {
                const shared = new Promise((done) => { settle = done; });
                shared.then(() => console.log('of share'));
            }
            if (event === 'settle') { settle(); await null; }
            return event; };";
    let running = module(source)
        .records()
        .timeout(Duration::from_secs(8))
        .variable("LAMBDA_PROTO_CANCELLATION_BUFFER_MS", "4000")
        .variable("LAMBDA_PROTO_WORK", "abandon")
        .start();
    running.fails("\"stop\"", "Function.Timeout", "the time of the invocation is over");
    let id = running.to_the_end("\"share\"");
    running.to_the_end("\"settle\"");
    assert_eq!(running.ids("of share"), [id]);
}

#[test]
fn code_that_the_signal_starts_has_the_time_until_the_end() {
    let code = "await new Promise((done) => context.signal.addEventListener('abort', done));
        const until = Date.now() + 200;
        while (Date.now() < until);
        return 'in time';";
    let running = limited(code);
    assert_eq!(running.text("\"stop\""), "\"in time\"");
}

#[test]
fn an_error_that_cannot_be_described_in_time_is_a_timeout_of_its_own_invocation() {
    is_ended("throw Object.defineProperty(new Error(), 'message', { get() { for (;;); } });");
}

#[test]
fn a_job_that_is_interrupted_at_the_end_does_not_end_the_process() {
    is_ended(
        "for (let i = 0; i < 3; i++) Promise.resolve().then(() => { for (;;); });
        await wait(1);",
    );
}

#[test]
fn a_reaction_that_is_interrupted_is_told_of_the_invocation_that_attached_it() {
    let source = "let settle;
        export const handler = async (event, context) => {
            if (event === 'share') {
                new Promise((done) => { settle = done; }).then(() => { for (;;); });
                return 1;
            }
            await null;
            settle();
            await new Promise((done) => context.signal.addEventListener('abort', done));
            return 'unharmed';
        };";
    let running = module(source)
        .records()
        .timeout(Duration::from_secs(8))
        .variable("LAMBDA_PROTO_CANCELLATION_BUFFER_MS", "4000")
        .variable("LAMBDA_PROTO_WORK", "abandon")
        .start();
    let id = running.to_the_end("\"share\"");
    assert_eq!(running.text("\"settle\""), "\"unharmed\"");
    assert_eq!(running.ids("late work was interrupted"), [id]);
}

#[test]
fn memory_beyond_the_limit_is_an_error_and_the_process_lives() {
    let source = "export const handler = async (event) => {
        if (event !== 'stop') return event;
        const all = []; for (;;) all.push('x'.repeat(1024 * 1024) + all.length); };";
    let running = module(source).memory(128).start();
    for _ in 0..2 {
        running.fails("\"stop\"", "Function.OutOfMemory", "memory");
        assert_eq!(running.text("\"go\""), "\"go\"");
    }
    let small = "export const handler = async (event) => {
        if (event !== 'stop') return event;
        const all = []; for (;;) all.push({}); };";
    let running = module(small).memory(128).start();
    running.fails("\"stop\"", "Function.OutOfMemory", "memory");
    assert_eq!(running.text("\"go\""), "\"go\"");
    assert!(!running.log().contains("exit"), "{}", running.log());
}

#[test]
fn bytes_count_towards_the_limit_of_the_memory() {
    // Twice the limit, so that this ends without a limit, too.
    let source = "const text = 'x'.repeat(1024 * 1024);
        export const handler = async (event) => {
            if (event !== 'stop') return event;
            const all = [];
            for (let i = 0; i < 192; i++) all.push(new TextEncoder().encode(text));
            return all.length; };";
    let running = module(source).memory(128).start();
    running.fails("\"stop\"", "Function.OutOfMemory", "memory");
    assert_eq!(running.text("\"go\""), "\"go\"");
}

#[test]
fn a_stack_overflow_is_an_error_and_the_process_lives() {
    let source = "let count = 0; const down = (n) => 1 + down(n + 1);
        export const handler = async (event) => { count++; return event === 'stop' ? down(0) : count; };";
    let running = module(source).start();
    running.fails("\"stop\"", "RangeError", "call stack");
    assert_eq!(running.text("\"go\""), "2");
}

#[test]
fn an_event_that_does_not_fit_fails_and_the_process_lives() {
    let source = "export const handler = async (event) => event.length;";
    let running = module(source).memory(128).start();
    let event = format!("[{}1]", "{\"a\":[]},".repeat(500_000));
    running.fails(event.as_str(), "Function.OutOfMemory", "memory");
    assert_eq!(running.text("[1]"), "1");
}
