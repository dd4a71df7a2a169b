//! A receiver allocates nothing, whatever arrives.

#[path = "../../verify/allocations.rs"]
mod allocations;

use allocations::allocations;
use lambda_proto_extension::telemetry::{Deliveries, Line, Lines, Losses, Receiver, Step};

/// A batch of records of all kinds, one of them invalid and one longer than the memory.
fn batch(repeat: usize) -> Vec<u8> {
    let long = "x".repeat(MEMORY);
    let events = [
        r#"{"time":"2022-10-12T00:00:15.064Z","type":"function","record":"line \u00e9\n"}"#,
        r#"{"time":"2022-10-12T00:00:15.064Z","type":"function","record":{"level":"INFO"}}"#,
        r#"{"time":"2022-10-12T00:00:15.064Z","type":"platform.report","record":{"requestId":"1","status":"success","metrics":{"durationMs":1.5,"memorySizeMB":128},"spans":[{"name":"a","start":"b","durationMs":1}]}}"#,
        r#"{"type":"platform.new","record":[]}"#,
        "{\"type\":7}",
        &format!("{{\"type\":\"function\",\"record\":\"{long}\"}}"),
    ];
    let events = events.join(",");
    format!("[{}]", vec![events; repeat].join(",")).into_bytes()
}

const MEMORY: usize = 2048;

#[test]
fn a_receiver_allocates_nothing_for_records_of_any_kind() {
    let body = batch(1000);
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let request = [head.as_bytes(), &body].concat();
    let mut memory = [0; MEMORY];
    let (mut records, mut unread, mut bytes) = (0, 0, 0);

    let count = allocations(|| {
        let mut deliveries = Deliveries::new();
        let mut receiver = Receiver::new(&mut memory[..]);
        let mut rest = &request[..];
        loop {
            match receiver.step(&mut deliveries) {
                Step::Read if rest.is_empty() => break,
                Step::Read => {
                    let room = receiver.room();
                    let (piece, after) = rest.split_at(room.len().min(rest.len()));
                    room[..piece.len()].copy_from_slice(piece);
                    receiver.received(piece.len());
                    rest = after;
                }
                Step::Write => receiver.sent(1),
                Step::Record(record) => {
                    records += 1;
                    bytes += record.raw().len();
                }
                Step::Unread(_) => unread += 1,
                Step::Decide(decision) => decision.take(),
                _ => {}
            }
        }
    });

    assert_eq!((records, unread), (4000, 2000));
    assert!(bytes > 100 * MEMORY);
    assert_eq!(count, 0);
}

#[test]
fn lines_allocate_nothing() {
    let line = b"{\"type\":\"function\",\"record\":\"line\"}\n";
    let mut memory = [0; MEMORY];
    let mut records = 0;
    let count = allocations(|| {
        let mut losses = Losses::default();
        let mut lines = Lines::new(&mut memory[..]);
        while records < 1000 {
            match lines.step(&mut losses) {
                Line::Read => {
                    lines.room()[..line.len()].copy_from_slice(line);
                    lines.received(line.len());
                }
                Line::Record(_) => records += 1,
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(count, 0);
}
