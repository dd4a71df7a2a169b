//! A receiver allocates nothing, whatever arrives.
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lambda_proto_extension::telemetry::{Deliveries, Line, Lines, Losses, Receiver, Step};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

fn count() {
    // While a thread ends, its counter is gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

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

    let before = ALLOCATIONS.get();
    let mut deliveries = Deliveries::new();
    let mut receiver = Receiver::new(&mut memory[..]);
    let mut rest = &request[..];
    loop {
        match receiver.step(&mut deliveries) {
            Step::Read if rest.is_empty() => break,
            Step::Read => {
                let room = receiver.room();
                let (piece, behind) = rest.split_at(room.len().min(rest.len()));
                room[..piece.len()].copy_from_slice(piece);
                receiver.received(piece.len());
                rest = behind;
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
    let allocations = ALLOCATIONS.get() - before;

    assert_eq!((records, unread), (4000, 2000));
    assert!(bytes > 100 * MEMORY);
    assert_eq!(allocations, 0);
}

#[test]
fn lines_allocate_nothing() {
    let line = b"{\"type\":\"function\",\"record\":\"line\"}\n";
    let mut memory = [0; MEMORY];
    let mut count = 0;
    let before = ALLOCATIONS.get();
    let mut losses = Losses::default();
    let mut lines = Lines::new(&mut memory[..]);
    while count < 1000 {
        match lines.step(&mut losses) {
            Line::Read => {
                lines.room()[..line.len()].copy_from_slice(line);
                lines.received(line.len());
            }
            Line::Record(_) => count += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
