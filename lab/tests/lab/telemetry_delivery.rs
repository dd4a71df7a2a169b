//! How telemetry is delivered, to listeners of all kinds.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_lab::{Function, Lab, Output};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::listener::{Extension, Listener, Mouth, Reply, Reserved, TELEMETRY, document};
use crate::support::{
    Connection, NEXT, PATIENCE, await_process, external, of, request, wait_until,
};

const SCHEMA: &str = "2022-12-13";

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn types(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["type"].as_str().unwrap()).collect()
}

/// Invokes a function whose runtime the test plays, once.
fn invoke(lab: &Lab, runtime: &mut Connection) {
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let event = runtime.request(NEXT, &[], "");
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn a_delivery_is_a_post_with_a_json_array_on_a_connection_that_is_kept() {
    let (lab, listener) = (external(), Listener::start());
    let mut extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    extension.listens(SCHEMA, &listener);
    listener.until("platform.telemetrySubscription");
    extension.asks();
    invoke(&lab, &mut Connection::open(lab.runtime_api()));
    listener.until("platform.start");
    let deliveries = listener.deliveries();
    assert!(deliveries.len() > 1);
    assert_eq!(listener.connections(), 1);
    for delivery in deliveries {
        let mut lines: Vec<_> = delivery.head.trim_end().split("\r\n").collect();
        lines.sort_unstable_by_key(|line| line.to_ascii_lowercase());
        let host = format!("host: sandbox.localdomain:{}", listener.port);
        let length = format!("content-length: {}", delivery.body.len());
        let expected =
            [length.as_str(), "content-type: application/json", &host, "POST /t HTTP/1.1"];
        assert_eq!(lines, expected);
        assert!(serde_json::from_slice::<Vec<Value>>(&delivery.body).is_ok());
    }
}

#[test]
fn managed_instances_post_to_the_root_with_an_id_of_the_batch() {
    let function = Function::external().concurrency(2);
    let lab = function.output(Output::Discarded).start().unwrap();
    let listener = Listener::start();
    let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    extension.listens("2025-01-29", &listener);
    listener.until("platform.telemetrySubscription");
    let delivery = listener.deliveries().remove(0);
    assert!(delivery.head.starts_with("POST / HTTP/1.1\r\n"), "{}", delivery.head);
    let id = delivery.head.lines().find_map(|line| line.strip_prefix("sequence-id: ")).unwrap();
    assert_eq!(id, STANDARD.encode(Sha256::digest(&delivery.body)));
}

/// Each of these is no acknowledgement, so the same batch comes again.
#[test]
fn a_delivery_is_repeated_until_a_whole_reply_says_200() {
    let elsewhere = Listener::start();
    let location = format!("http://127.0.0.1:{}/", elsewhere.port);
    let hostile = [
        Reply::Bytes(bytes("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")),
        Reply::Bytes(bytes("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")),
        Reply::Bytes(bytes("HTTP/1.1 204 No Content\r\n\r\n")),
        Reply::Bytes(bytes(&format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ))),
        Reply::Bytes(bytes(&format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ))),
        Reply::BytesAndClose(Vec::new()),
        Reply::BytesAndClose(bytes("HTTP/1.1 20")),
        Reply::BytesAndClose(bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")),
        Reply::BytesAndClose(bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha")),
        Reply::BytesAndClose(bytes("nonsense\r\n\r\n")),
        Reply::Endless(
            bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            bytes("4\r\nmore\r\n"),
        ),
        Reply::Endless(bytes("HTTP/1.1 200 OK\r\n"), bytes("X-More: more\r\n")),
        Reply::Endless(bytes("HTTP/1.1 "), bytes("2")),
    ];
    thread::scope(|scope| {
        for reply in hostile {
            scope.spawn(move || {
                let shown = format!("{reply:?}");
                let lab = external();
                let listener = Listener::with(move |number| match number {
                    0 => reply.clone(),
                    _ => Reply::Take,
                });
                let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
                extension.listens(SCHEMA, &listener);
                let records = listener.until("platform.telemetrySubscription");
                let expected = ["platform.initStart", "platform.telemetrySubscription"];
                assert_eq!(types(&records), expected, "{shown}");
                let deliveries = listener.deliveries();
                assert_eq!(deliveries[0].body, deliveries[1].body, "{shown}");
            });
        }
    });
    assert_eq!(elsewhere.connections(), 0, "redirects are not followed");
}

#[test]
fn a_listener_that_is_silent_gets_the_batch_again_and_delays_nothing_else() {
    let lab = external();
    let replies = Arc::new(AtomicBool::new(false));
    let listener = {
        let replies = Arc::clone(&replies);
        Listener::with(move |_| if replies.load(Relaxed) { Reply::Take } else { Reply::Silence })
    };
    let mut extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    extension.listens(SCHEMA, &listener);
    wait_until("the first delivery has come", || !listener.deliveries().is_empty());
    extension.asks();
    let mut runtime = Connection::open(lab.runtime_api());
    for _ in 0..3 {
        invoke(&lab, &mut runtime);
    }
    assert!(listener.records().is_empty(), "the invocations did not wait");
    replies.store(true, Relaxed);
    let records = listener.until("platform.start");
    assert_eq!(types(&records)[..2], ["platform.initStart", "platform.telemetrySubscription"]);
}

#[test]
fn a_listener_that_starts_late_gets_what_happened_before() {
    let lab = external();
    let reserved = Reserved::new();
    let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    extension.is_subscribed(TELEMETRY, &document(SCHEMA, reserved.port(), 25));
    let listener = Listener::on(reserved.listen(), |_| Reply::Take);
    let records = listener.until("platform.telemetrySubscription");
    assert_eq!(types(&records), ["platform.initStart", "platform.telemetrySubscription"]);
}

#[test]
fn a_batch_that_is_refused_again_and_again_is_dropped_and_counted() {
    let lab = external();
    let refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let listener = Listener::with(move |number| match number {
        0..5 => Reply::Bytes(bytes(refusal)),
        _ => Reply::Take,
    });
    let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    extension.listens(SCHEMA, &listener);
    let records = listener.until("platform.logsDropped");
    let deliveries = listener.deliveries();
    let refused: Vec<Value> = serde_json::from_slice(&deliveries[0].body).unwrap();
    let record = &records[0]["record"];
    assert_eq!(record["droppedRecords"], refused.len());
    // Without the brackets and commas of the array.
    assert_eq!(record["droppedBytes"], deliveries[0].body.len() - refused.len() - 1);
    let reason = "could not send events: it replied 503 Service Unavailable";
    assert_eq!(record["reason"], reason);
    assert!(deliveries[1..5].iter().all(|delivery| delivery.body == deliveries[0].body));
    // A pause begins after the reply, and each is twice as long as the one before.
    for (pair, millis) in deliveries[..5].windows(2).zip([100, 200, 400, 800]) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_millis(millis), "{pause:?} is less than {millis} ms");
    }
}

/// A lab whose runtime and extension the test plays, which delivers what waits after 30 s.
fn slow(function: Function) -> (Lab, Listener, Extension, Connection) {
    let lab = function.output(Output::Discarded).shutdown_timeout(PATIENCE).start().unwrap();
    let listener = Listener::start();
    let mut extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    extension.is_subscribed(TELEMETRY, &document(SCHEMA, listener.port, 30_000));
    extension.asks();
    let runtime = Connection::open(lab.runtime_api());
    (lab, listener, extension, runtime)
}

#[test]
fn an_extension_that_is_started_by_hand_gets_what_waits_after_a_timeout() {
    let function = Function::external().timeout(Duration::from_millis(500));
    let (lab, listener, _extension, mut runtime) = slow(function);
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        runtime.request(NEXT, &[], "");
        assert!(listener.records().is_empty(), "it waits for 30 s");
        caller.join().unwrap().unwrap_err();
    });
    let records = listener.until("platform.report");
    assert_eq!(types(&records).last(), Some(&"platform.report"));
    assert_eq!(records.last().unwrap()["record"]["status"], "timeout");
}

#[test]
fn an_extension_that_is_started_by_hand_gets_what_waits_when_the_lab_stops() {
    let (lab, listener, _extension, mut runtime) = slow(Function::external().timeout(PATIENCE));
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let event = runtime.request(NEXT, &[], "");
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        caller.join().unwrap().unwrap();
    });
    assert!(listener.records().is_empty(), "it waits for 30 s");
    lab.stop();
    let records = listener.records();
    assert_eq!(types(&records).last(), Some(&"platform.report"), "{records:?}");
}

/// Writes 100,000 lines while the listener is in this state, and then lets it work.
fn flood(is_open: bool) {
    const LINES: usize = 100_000;
    let mouth = Mouth::new();
    let lab = mouth.function().start().unwrap();
    let works = Arc::new(AtomicBool::new(false));
    let reply = {
        let works = Arc::clone(&works);
        move |_| {
            while !works.load(Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            Reply::Take
        }
    };
    let reserved = Reserved::new();
    let port = reserved.port();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        await_process(&lab);
        let mut out = mouth.open();
        let mut extension = Extension::register(&lab.runtime_api(), "mine", "[]");
        extension.is_subscribed(TELEMETRY, &document(SCHEMA, port, 25));
        extension.asks();
        let mut runtime = Connection::open(lab.runtime_api());
        let listen = move |reserved: Reserved| Listener::on(reserved.listen(), reply);
        let (open, closed) = match is_open {
            true => (Some(listen.clone()(reserved)), None),
            false => (None, Some(reserved)),
        };
        let event = runtime.request(NEXT, &[], "");
        let began = Instant::now();
        let mut lines = Vec::new();
        for number in 0..LINES {
            writeln!(lines, "line {number} {}", "x".repeat(80)).unwrap();
        }
        // Nothing blocks the function: this returns though nothing is delivered.
        out.write_all(&lines).unwrap();
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        let listener = open.or_else(|| closed.map(listen)).expect("it is open, or opened now");
        works.store(true, Relaxed);
        wait_until("all lines are delivered or counted", || {
            // Each look takes a while.
            thread::sleep(Duration::from_millis(100));
            let (delivered, dropped) = listener.lines_of_flood();
            delivered + dropped >= LINES as u64
        });
        let (delivered, dropped) = listener.lines_of_flood();
        // The events of the platform before the lines may be dropped, too.
        assert!((LINES as u64..LINES as u64 + 8).contains(&(delivered + dropped)));
        if is_open {
            assert_eq!(delivered + dropped, LINES as u64);
        }
        assert!(dropped > 0 && delivered > 0, "{delivered} {dropped}");
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn lines_that_a_slow_listener_does_not_take_are_counted_exactly() {
    flood(true);
}

#[test]
fn lines_that_nobody_takes_are_counted_exactly() {
    flood(false);
}

/// Reads lines of JSON.
fn read_lines(stream: TcpStream, count: usize) -> Vec<Value> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.take(count).map(|line| serde_json::from_str(&line).unwrap()).collect()
}

#[test]
fn over_tcp_each_line_is_a_record_and_a_new_connection_continues() {
    let lab = external();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let document = format!(
        r#"{{"schemaVersion":"{SCHEMA}","types":["platform"],"buffering":{{"timeoutMs":25}},"destination":{{"protocol":"TCP","port":{port}}}}}"#
    );
    let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    extension.is_subscribed(TELEMETRY, &document);
    let records = read_lines(socket.accept().unwrap().0, 2);
    assert_eq!(types(&records), ["platform.initStart", "platform.telemetrySubscription"]);
    // The first connection is closed now. What is written before that is known is lost.
    let other = Extension::register(&lab.runtime_api(), "other", "[]");
    let (listener, mut millis, mut accepted) = (Listener::start(), 25, None);
    socket.set_nonblocking(true).unwrap();
    wait_until("it connects again", || {
        millis += 1;
        other.is_subscribed(TELEMETRY, &self::document(SCHEMA, listener.port, millis));
        accepted = socket.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    let records = read_lines(stream, 1);
    assert_eq!(types(&records), ["platform.telemetrySubscription"]);
    assert_eq!(records[0]["record"]["name"], "other");
}

#[test]
fn nothing_is_delivered_while_the_environment_is_frozen() {
    let (mouth, listener) = (Mouth::new(), Listener::start());
    let lab = mouth.function().freeze().start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let pid = await_process(&lab);
        let out = mouth.open();
        let mut extension = Extension::register(&lab.runtime_api(), "mine", "[]");
        // Longer than the way from the report to the freeze.
        extension.is_subscribed(TELEMETRY, &document(SCHEMA, listener.port, 1000));
        extension.asks();
        let mut runtime = Connection::open(lab.runtime_api());
        let event = runtime.request(NEXT, &[], "");
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        caller.join().unwrap().unwrap();
        wait_until("it is frozen", || crate::support::is_stopped(pid));
        let has_report = || types(&listener.records()).contains(&"platform.report");
        if !has_report() {
            // By then it would have been delivered.
            let (other, reference) = (external(), Listener::start());
            let extension = Extension::register(&other.runtime_api(), "mine", "[]");
            extension.is_subscribed(TELEMETRY, &document(SCHEMA, reference.port, 1100));
            reference.until("platform.telemetrySubscription");
            assert!(!has_report(), "a frozen listener cannot reply");
        }
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let event = runtime.response();
        listener.until("platform.report");
        runtime.post(&of(&event.id(), "response"), "").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        caller.join().unwrap().unwrap();
        drop(out);
    });
}
