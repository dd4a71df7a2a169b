//! Streamed responses whose caller is slow.
#![allow(missing_docs)]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::{PATIENCE, Running, module};

/// The length of a piece.
const PIECE: usize = 24 * 1024;

/// More than the buffers between the runtime and the caller take, and more than
/// [`MOST_MEMORY`].
const LENGTH: usize = 96 * 1024 * 1024;

/// More than the runtime needs, and less than the response.
const MOST_MEMORY: usize = 64 * 1024 * 1024;

/// Writes pieces, each full of its number, and waits for `drain` where it has to.
const WRITES: &str = "
    const once = (stream, name) => new Promise((done) => stream.once(name, done));
    export const handler = awslambda.streamifyResponse(async ({ pieces, size, obeys }, stream) => {
        let most = 0, refused = 0, drains = 0, ticks = 0, isWrong = false;
        const timer = setInterval(() => {
            if (stream.writableNeedDrain && ++ticks === 50) console.log('nothing is taken');
        }, 2);
        stream.on('drain', () => { drains++; ticks = 0; isWrong ||= stream.writableLength !== 0; });
        for (let number = 0; number < pieces; number++) {
            const hasRoom = stream.write(new Uint8Array(size).fill(number));
            isWrong ||= hasRoom !== (stream.writableLength < stream.writableHighWaterMark);
            isWrong ||= hasRoom === stream.writableNeedDrain;
            most = Math.max(most, stream.writableLength);
            if (!hasRoom) refused++;
            if (!hasRoom && obeys) await once(stream, 'drain');
            if (number % 40 === 0) console.log(`piece ${number}`);
        }
        clearInterval(timer);
        const result = { most, refused, drains, isWrong, mark: stream.writableHighWaterMark };
        await new Promise((done) => stream.end(JSON.stringify(result), done));
        console.log(`after the end ${stream.writableLength} ${stream.writableFinished}`);
    });";

/// Plays [`WRITES`] to a caller that takes nothing for a while: until `has_seen` returns true.
/// Returns what the handler says of it.
fn play(running: &Running, obeys: bool, has_seen: impl Fn(&Running) -> bool) -> serde_json::Value {
    let pieces = LENGTH / PIECE;
    let event = serde_json::json!({"pieces": pieces, "size": PIECE, "obeys": obeys});
    let (mut taken, mut is_right, mut end, mut has_waited) = (0, true, vec![], false);
    let answer = running.lab.invoke_streaming(event.to_string(), |piece| {
        if !has_waited {
            has_waited = true;
            until(running, &has_seen);
        }
        for &byte in piece {
            if taken == pieces * PIECE {
                end.push(byte);
            } else {
                is_right &= byte == (taken / PIECE) as u8;
                taken += 1;
            }
        }
    });
    answer.unwrap();
    assert!(is_right && taken == pieces * PIECE, "{taken}");
    let said: serde_json::Value = serde_json::from_slice(&end).unwrap();
    assert_eq!(said["isWrong"], false, "{said}");
    let memory = running.peak_memory();
    assert!(memory < MOST_MEMORY, "{memory} bytes");
    said
}

fn until(running: &Running, holds: impl Fn(&Running) -> bool) {
    let begun = Instant::now();
    while !holds(running) {
        assert!(begun.elapsed() < PATIENCE, "{}", running.log());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_handler_that_waits_for_drain_has_timers_and_little_memory_while_the_caller_is_slow() {
    let running = module(WRITES).start();
    // A timer of the handler says so, while its stream takes nothing.
    let said = play(&running, true, |running| !running.lines("nothing is taken").is_empty());
    assert_eq!(said["mark"], 65536);
    assert!(said["most"].as_u64().unwrap() < 65536 + PIECE as u64, "{said}");
    assert_eq!(said["drains"], said["refused"], "{said}");
    assert!(said["drains"].as_u64().unwrap() > 100, "{said}");
    until(&running, |running| !running.lines("after the end 0 true").is_empty());
}

#[test]
fn a_handler_that_does_not_wait_for_drain_has_little_memory_too() {
    let running = module(WRITES).start();
    let last = std::cell::Cell::new((0, Instant::now()));
    let all = LENGTH / PIECE / 40;
    let said = play(&running, false, |running| {
        // It writes no more for a while.
        let now = running.lines("piece ").len();
        let (before, since) = last.get();
        if now != before {
            last.set((now, Instant::now()));
        }
        // Not all are written while nobody takes them, or memory would hold them.
        assert!(now < all, "{now} of {all}");
        now > 0 && now == before && since.elapsed() > Duration::from_millis(300)
    });
    // As in Node, since the loop has not run.
    assert!(said["most"].as_u64().unwrap() > LENGTH as u64 / 2, "{said}");
    assert_eq!(said["drains"], 0, "{said}");
}

#[test]
fn the_high_water_mark_may_be_set_and_callbacks_follow_their_pieces() {
    let source = "
        const handle = async (event, stream) => {
            const order = [], small = [stream.write('abc', () => order.push('abc')), stream.writableLength];
            await new Promise((done) => stream.once('drain', () => { order.push('drain'); done(); }));
            await new Promise((done) => stream.write(new Uint8Array(2), 'utf8', done));
            const [mark, length, needs] = [stream.writableHighWaterMark, stream.writableLength, stream.writableNeedDrain];
            stream.on('finish', () => order.push('finish')).on('close', () => console.log(order.join()));
            stream.end(JSON.stringify([...small, mark, length, needs]), () => order.push('end'));
        };
        export const handler = awslambda.streamifyResponse(handle, { highWaterMark: 3 });";
    let running = module(source).start();
    assert_eq!(running.text("1"), "abc\0\0[false,3,3,0,false]");
    until(&running, |running| !running.lines("drain,abc,finish,end").is_empty());
}

#[test]
fn timers_fire_while_one_piece_follows_the_other() {
    // A piece is written in less time than the code takes, so there is news whenever the loop looks.
    let source = "
        export const handler = awslambda.streamifyResponse(async (event, stream) => {
            let fired = 0, written = 0, done;
            const timer = setInterval(() => fired++, 1);
            const all = new Promise((resolve) => done = resolve);
            const next = () => {
                if (fired >= 3 || written === 150) return done();
                const end = performance.now() + 1;
                while (performance.now() < end);
                written++;
                stream.write('a', next);
            };
            for (let count = 0; count < 8; count++) next();
            await all;
            clearInterval(timer);
            stream.end(JSON.stringify({ fired }));
        });";
    let running = module(source).start();
    let mut answer = vec![];
    running.lab.invoke_streaming("1", |piece| answer.extend_from_slice(piece)).unwrap();
    let text = String::from_utf8(answer).unwrap();
    assert!(
        text.trim_start_matches('a').starts_with("{\"fired\":3"),
        "{}",
        text.trim_start_matches('a')
    );
}

#[test]
fn the_signal_fires_while_the_caller_takes_nothing() {
    let source = "
        export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
            context.signal.addEventListener('abort', () => console.log('the signal'));
            for (;;) {
                if (stream.write(new Uint8Array(65536))) continue;
                await new Promise((done) => stream.once('drain', done));
                if (context.signal.aborted) return stream.end();
            }
        });";
    // It fires after half of the time, and then there is a quarter until the end.
    let running = module(source)
        .timeout(Duration::from_secs(16))
        .variable("LAMBDA_PROTO_CANCELLATION_BUFFER_MS", "15000")
        .start();
    let mut has_waited = false;
    let _any_end = running.lab.invoke_streaming("1", |_| {
        if !has_waited {
            has_waited = true;
            until(&running, |running| !running.lines("the signal").is_empty());
        }
    });
    assert!(has_waited);
}

#[test]
fn a_stream_that_the_service_refuses_tells_those_who_wait() {
    // The service takes at most 200 MiB.
    let source = "
        import { once } from 'node:events';
        export const handler = awslambda.streamifyResponse(async (event, stream) => {
            const piece = new Uint8Array(1048576);
            for (let number = 0; number < 220; number++) {
                try {
                    if (!stream.write(piece)) await once(stream, 'drain');
                } catch (error) {
                    let again;
                    try { stream.write(piece); } catch (error) { again = error.message; }
                    console.log(`lost: ${error.code}, ${again}, ${stream.writable}, ${stream.writableLength}`);
                    throw error;
                }
            }
        });";
    let running = module(source).start();
    running.lab.invoke_streaming("1", |_| {}).unwrap_err();
    until(&running, |running| {
        !running.lines("lost: EPIPE, the Runtime API accepts no more").is_empty()
            && !running.lines("false, 0").is_empty()
    });
}
