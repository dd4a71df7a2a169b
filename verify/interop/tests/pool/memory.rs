//! What many slots and large events cost in resident memory.

use std::path::Path;
use std::process::Command;

use lambda_interop::programs;

use crate::alone;
use crate::child::Child;
use crate::service::{Answer, Load};

/// In KiB, as `/proc` tells it.
const MIB: usize = 1024;

/// What the pool keeps at most unless the program says otherwise.
const CAP: usize = 64 * MIB;

fn start_pool(slots: usize) -> Child {
    Child::start(&programs::example("pool").unwrap(), &[], slots)
}

/// The test's own build of it.
fn slots_on_mio() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_slots-on-mio"))
}

fn large(_number: usize) -> Vec<u8> {
    vec![b'x'; 6 * 1024 * 1024]
}

fn echo<'l>(invocations: usize, at_once: usize, event: &'l dyn Fn(usize) -> Vec<u8>) -> Load<'l> {
    Load { invocations, at_once, event, answer: Answer::Echo }
}

/// Every slot has one, so that all of its own state has been touched.
fn small(slots: usize) -> Load<'static> {
    echo(slots, slots, &|number| number.to_string().into_bytes())
}

#[test]
fn an_idle_slot_holds_no_buffer_and_costs_less_than_8_kib_and_16_kib_once_it_was_used() {
    let _alone = alone();
    let (mut one, mut thousand) = (start_pool(1), start_pool(1000));
    let idle = [&one, &thousand].map(Child::resident);
    one.service.serve(&small(1));
    // One at a time, so that the pool keeps one buffer of each kind in both.
    thousand.service.serve(&Load { at_once: 1, ..small(1000) });
    let used = [&one, &thousand].map(Child::resident);
    let each = |[one, thousand]: [usize; 2]| (thousand - one) * 1024 / 999;
    println!("1 and 1,000 slots, idle: {idle:?} KiB; each: {} bytes", each(idle));
    println!("idle again behind their first: {used:?} KiB; each: {} bytes", each(used));
    assert!(each(idle) < 8 * 1024, "{idle:?} KiB");
    // The smallest buffers, of an event and of a request, would be 20 KiB.
    assert!(each(used) < 16 * 1024, "{used:?} KiB");
}

/// What glibc keeps of freed memory is glibc's own affair: unless told otherwise it takes large blocks
/// from its heap once one was freed, and gives back only what no used block lies above.
#[test]
fn a_thousand_slots_that_have_seen_large_events_keep_no_more_than_the_cap() {
    let _alone = alone();
    let mut command = Command::new(programs::example("pool").unwrap());
    // Large blocks are mapped, and given back when they are freed.
    command.env("MALLOC_MMAP_THRESHOLD_", "1048576");
    let mut child = Child::start_as(command, 1000);
    child.service.serve(&Load { at_once: 1, ..small(1000) });
    let idle = child.resident();
    child.service.serve(&echo(1000, 1, &large));
    let one_by_one = child.resident();
    child.service.serve(&echo(200, 50, &large));
    let fifty = child.resident();
    println!("idle: {idle} KiB; after one by one: {one_by_one} KiB; after 50 at once: {fifty} KiB");
    // One event and its answer were in flight at a time; the pool keeps both, and the requests.
    assert!(one_by_one < idle + 13 * MIB, "{one_by_one} KiB");
    // 600 MiB were in use at once.
    assert!(fifty < idle + CAP + 4 * MIB, "{fifty} KiB");
}

#[test]
fn with_what_glibc_keeps_of_it_large_events_in_50_slots_leave_no_more_than_was_in_use() {
    let _alone = alone();
    let mut child = start_pool(50);
    let idle = child.resident();
    let mut left = [0; 4];
    for left in &mut left {
        child.service.serve(&echo(100, 50, &large));
        *left = child.resident();
    }
    let peak = child.peak();
    println!("idle: {idle} KiB; after 50 at once, each time: {left:?} KiB; peak: {peak} KiB");
    // 50 events and 50 answers.
    assert!(peak < idle + 50 * 2 * 6 * MIB + 32 * MIB, "{peak} KiB");
}

#[test]
fn a_large_event_and_a_streamed_answer_of_200_mb_need_no_more_than_the_event() {
    let _alone = alone();
    let bytes = 200_000_000;
    let mut child = Child::start(slots_on_mio(), &["--stream", &bytes.to_string()], 1);
    let idle = child.peak();
    let answer = Answer::Stream(bytes);
    child.service.serve(&Load { invocations: 1, at_once: 1, event: &large, answer });
    let peak = child.peak();
    println!("peak when idle: {idle} KiB; behind event and stream: {peak} KiB");
    // 64 KiB wait for the loop and as much is sent; the rest is the stack of the writer's thread.
    assert!(peak < idle + 6 * MIB + MIB, "{peak} KiB");
}

#[test]
fn memory_is_as_steady_at_the_end_of_a_million_invocations_as_behind_the_first_tenth() {
    let _alone = alone();
    let mut child = start_pool(64);
    let began = std::time::Instant::now();
    let event = |number| format!("{{\"number\":{number:07}}}").into_bytes();
    child.service.serve(&echo(100_000, 64, &event));
    let tenth = child.resident();
    child.service.serve(&echo(900_000, 64, &event));
    let whole = child.resident();
    println!("{tenth} KiB, then {whole} KiB; {:?}", began.elapsed());
    // A page for each slot, for those that have not all been busy at once before. What leaks a byte in
    // three invocations leaks more.
    assert!(whole.abs_diff(tenth) <= 64 * 4, "{tenth} KiB, then {whole} KiB");
    assert_eq!(child.process.output(), "", "every refusal and every loss has a line");
}
