//! Timers, jobs, and the invocation that each line of the log belongs to.
#![allow(missing_docs)]

mod support;

use support::module;

#[test]
fn jobs_are_drained_after_each_macrotask_and_timers_fire_in_their_order() {
    let source = r"
        export const handler = async () => {
            const order = [];
            const note = (name) => order.push(name);
            await new Promise((done) => {
                setTimeout(() => { note('timer 2'); done(); }, 400);
                setTimeout(() => { note('timer 1'); queueMicrotask(() => note('job of timer 1')); }, 200);
                setTimeout((a, b) => note(`timer ${a}${b}`), 0, 0, 'a');
                setImmediate(() => note('immediate'));
                Promise.resolve().then(() => note('then')).then(() => note('then then'));
                process.nextTick(() => note('tick'));
                (async () => { note('async'); await null; note('after await'); })();
                note('sync');
            });
            return order;
        };";
    let running = module(source).start();
    assert_eq!(
        running.text("1"),
        r#"["async","sync","then","tick","after await","then then","timer 0a","immediate","timer 1","job of timer 1","timer 2"]"#
    );
}

#[test]
fn an_await_continues_in_the_order_in_which_it_was_attached() {
    let source = r"
        export const handler = async () => {
            const order = [];
            let settle;
            const shared = new Promise((done) => { settle = done; });
            (async () => { await shared; order.push('await 1'); })();
            shared.then(() => order.push('then 2'));
            (async () => { await shared; order.push('await 3'); })();
            shared.finally(() => order.push('finally 4'));
            setTimeout(settle, 1);
            await shared;
            order.push('await 5');
            await null;
            return [order, shared.constructor === Promise, Promise.resolve(shared) === shared];
        };";
    let running = module(source).start();
    let order = r#"[["await 1","then 2","await 3","finally 4","await 5"],true,true]"#;
    assert_eq!(running.text("1"), order);
}

#[test]
fn timers_are_cleared_refreshed_and_counted_as_in_node() {
    let source = r"
        const wait = (ms) => new Promise((done) => setTimeout(done, ms));
        export const handler = async () => {
            let count = 0;
            await new Promise((done) => {
                const interval = setInterval(() => { if (++count === 3) { clearInterval(interval); done(); } }, 1);
            });
            clearTimeout(setTimeout(() => { count = 100; }, 1));
            const number = +setTimeout(() => { count = 100; }, 1);
            clearTimeout(number);
            clearTimeout(undefined); clearTimeout(null); clearTimeout({}); clearTimeout(12345);
            const text = setTimeout(() => { count = 100; }, 1);
            clearTimeout(String(text));
            const self = setTimeout(function () { this.fired = true; }, 2147483648);
            await wait(30);
            let failed;
            try { setTimeout('code'); } catch (error) { failed = [error.name, error.code]; }
            return [count, self.fired, self.hasRef(), failed];
        };";
    let running = module(source).start();
    assert_eq!(running.text("1"), r#"[3,true,false,["TypeError","ERR_INVALID_ARG_TYPE"]]"#);
}

#[test]
fn a_handler_whose_promise_can_never_settle_fails_at_once() {
    let source = "export const handler = (event) => event === 1 ? new Promise(() => {}) : event;";
    let running = module(source).start();
    running.fails("1", "Function.NeverSettles", "no timer is left");
    // The process lives.
    assert_eq!(running.text("2"), "2");
    // A timer that is left is waited for, although it does not settle the promise.
    let source = "export const handler = () => { setTimeout(() => console.log('ran'), 20); return new Promise(() => {}); };";
    let running = module(source).start();
    running.fails("1", "Function.NeverSettles", "no timer is left");
    assert_eq!(running.lines("ran").len(), 1);
}

#[test]
fn late_work_of_an_earlier_invocation_may_settle_a_handler() {
    let source = r"
        let settle;
        export const handler = (event) => {
            if (event === 1) { setTimeout(() => settle('late'), 20); return 1; }
            return new Promise((done) => { settle = done; });
        };";
    // Nothing runs between the two, so the timer does not fire before the second has begun.
    let running = module(source).variable("LAMBDA_PROTO_WORK", "report").start();
    assert_eq!(running.text("1"), "1");
    assert_eq!(running.text("2"), r#""late""#);
}

#[test]
fn a_rejection_is_judged_after_the_jobs_are_drained() {
    let source = r"
        export const handler = async (event) => {
            const handled = Promise.reject(new Error('handled'));
            handled.catch(() => {});
            const later = Promise.reject(new Error('handled later'));
            queueMicrotask(() => later.catch(() => {}));
            if (event) Promise.reject(new Error('unhandled'));
            return 1;
        };";
    let running = module(source).records().start();
    let id = running.answer("1").request_id;
    running.to_the_end("0");
    assert_eq!(running.ids("unhandled"), [id]);
    assert!(running.ids("handled later").is_empty());
    // Under the strict policy it is an error of its invocation.
    let running = module(source).variable("LAMBDA_PROTO_WORK", "strict").start();
    running.fails("1", "Error", "unhandled");
    assert_eq!(running.text("0"), "1");
}

#[test]
fn a_job_of_what_describes_an_error_belongs_to_the_invocation_that_has_failed() {
    let source = r"
        export const handler = async (event) => {
            if (event === 2) return 2;
            throw Object.defineProperty(new Error(), 'message', { get() {
                queueMicrotask(() => console.log('of the first'));
                return 'described';
            } });
        };";
    let running = module(source).records().variable("LAMBDA_PROTO_WORK", "report").start();
    let id = running.failure("1").request_id;
    running.to_the_end("2");
    assert_eq!(running.ids("of the first"), [id]);
}

#[test]
fn what_a_timer_throws_is_logged_and_harms_nobody() {
    let source = r"
        export const handler = async () => {
            setTimeout(() => { throw new RangeError('thrown in a timer'); }, 1);
            await new Promise((done) => setTimeout(done, 20));
            return 'fine';
        };";
    let running = module(source).records().start();
    let answer = running.answer("1");
    assert_eq!(answer.text(), r#""fine""#);
    assert_eq!(running.ids("thrown in a timer"), [answer.request_id]);
}

/// Invocation A leaves work behind; B waits until it has run.
const LATE: &str = r"
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    let shared, settle, lines = 0;
    const log = (text) => { lines++; console.log(text); };
    export const handler = async (event) => {
        if (event === 'begin') {
            (async () => {
                await wait(20);
                log('late line');
                await wait(1);
                log('late line');
                Promise.reject(new Error('late rejection'));
                throw new Error('late rejection');
            })();
            return 1;
        }
        if (event === 'share') {
            shared = new Promise((done) => { settle = done; });
            (async () => {
                await shared;
                log('of share');
                await null;
                log('of share');
                setTimeout(() => log('of share'), 1);
            })();
            shared.then(() => { log('of share'); }).then(() => log('of share'));
            return 1;
        }
        let enough = 2;
        if (event === 'settle') {
            enough = 8;
            (async () => { await shared; log('of settle'); })();
            settle();
            Promise.resolve().then(() => log('of settle'));
            queueMicrotask(() => log('of settle'));
        }
        while (lines < enough) await wait(5);
        console.log('of settle');
        return 2;
    };";

#[test]
fn late_work_logs_and_fails_under_its_own_invocation_and_the_next_one_is_unharmed() {
    let running = module(LATE).records().frozen().variable("LAMBDA_PROTO_WORK", "report").start();
    let first = running.to_the_end(r#""begin""#);
    let second = running.answer("2");
    assert_eq!(second.text(), "2");
    assert_eq!(running.ids("late line"), [&first[..], &first]);
    assert_eq!(running.ids("late rejection"), [&first[..], &first]);
}

#[test]
fn a_reaction_belongs_to_the_invocation_that_attached_it() {
    let running = module(LATE).records().variable("LAMBDA_PROTO_WORK", "abandon").start();
    let first = running.to_the_end(r#""share""#);
    let second = running.to_the_end(r#""settle""#);
    assert_eq!(running.ids("of share"), vec![first; 5], "{}", running.log());
    assert_eq!(running.ids("of settle"), vec![second; 4]);
}

#[test]
fn slots_have_runtimes_of_their_own() {
    let source = r"
        let count = 0;
        export const handler = async () => {
            count++;
            await new Promise((done) => setTimeout(done, 50));
            console.log(`count ${count}`);
            return count;
        };";
    let running = module(source).records().concurrency(3).start();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..9).map(|_| scope.spawn(|| running.answer("1"))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    // A slot runs one invocation at a time, so no count changes during one.
    let mut total = 0;
    for answer in &answers {
        let count: u32 = answer.text().parse().unwrap();
        total += u32::from(count == 1);
        assert_eq!(
            running
                .ids(&format!("count {count}"))
                .iter()
                .filter(|id| **id == answer.request_id)
                .count(),
            1
        );
    }
    assert!((1..=3).contains(&total), "{total}");
}
