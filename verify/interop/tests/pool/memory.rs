//! Measures the resident memory of many slots and large events.

use std::path::Path;
use std::process::Command;

use lambda_interop::programs;

use crate::alone;
use crate::child::Child;
use crate::service::{Answer, Load};

/// One MiB in KiB, the unit of `/proc`.
const MIB: usize = 1024;

/// How much freed memory the pool keeps by default, at most.
const CAP: usize = 64 * MIB;

fn start_pool(slots: usize) -> Child {
    Child::start(&programs::example("pool").unwrap(), &[], slots)
}

/// The program, built with this test.
fn slots_on_mio() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_slots-on-mio"))
}

fn large(_number: usize) -> Vec<u8> {
    vec![b'x'; 6 * 1024 * 1024]
}

fn echo<'l>(invocations: usize, at_once: usize, event: &'l dyn Fn(usize) -> Vec<u8>) -> Load<'l> {
    Load { invocations, at_once, event, answer: Answer::Echo }
}

/// One small event for every slot, so that all memory of each slot has been touched.
fn small(slots: usize) -> Load<'static> {
    echo(slots, slots, &|number| number.to_string().into_bytes())
}

#[test]
fn an_idle_slot_costs_less_than_8_kib_before_and_16_kib_after_its_first_invocation() {
    let _alone = alone();
    let (mut one, mut thousand) = (start_pool(1), start_pool(1000));
    let idle = [&one, &thousand].map(Child::resident);
    one.service.serve(&small(1));
    // One at a time, so that the pool keeps one buffer of each kind in both.
    thousand.service.serve(&Load { at_once: 1, ..small(1000) });
    let used = [&one, &thousand].map(Child::resident);
    let each = |[one, thousand]: [usize; 2]| (thousand - one) * 1024 / 999;
    println!("1 and 1,000 slots, idle: {idle:?} KiB; each: {} bytes", each(idle));
    println!("idle after their first invocation: {used:?} KiB; each: {} bytes", each(used));
    assert!(each(idle) < 8 * 1024, "{idle:?} KiB");
    // Buffers for an event and a request would take at least 20 KiB.
    assert!(each(used) < 16 * 1024, "{used:?} KiB");
}

/// By default, once a large block has been freed, glibc takes large blocks from its heap, and
/// returns freed memory to the system only if no used block lies above it. The variable below
/// avoids this.
#[test]
fn a_thousand_slots_that_have_seen_large_events_keep_no_more_than_the_cap() {
    let _alone = alone();
    let mut command = Command::new(programs::example("pool").unwrap());
    // With this, large blocks are mapped, and returned to the system when they are freed.
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
    // 600 MiB were in use at the same time.
    assert!(fifty < idle + CAP + 4 * MIB, "{fifty} KiB");
}

#[test]
fn with_default_glibc_large_events_in_50_slots_use_no_more_memory_than_their_buffers() {
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
fn a_large_event_and_a_streamed_response_of_200_mb_need_no_more_memory_than_the_event() {
    let _alone = alone();
    let bytes = 200_000_000;
    let mut child = Child::start(slots_on_mio(), &["--stream", &bytes.to_string()], 1);
    let idle = child.peak();
    let answer = Answer::Stream(bytes);
    child.service.serve(&Load { invocations: 1, at_once: 1, event: &large, answer });
    let peak = child.peak();
    println!("peak when idle: {idle} KiB; after event and stream: {peak} KiB");
    // 64 KiB are queued for the loop and 64 KiB are being sent; the rest is the stack of the
    // writing thread.
    assert!(peak < idle + 6 * MIB + MIB, "{peak} KiB");
}

#[test]
fn a_million_invocations_use_no_more_memory_than_the_first_tenth_of_them() {
    let _alone = alone();
    let mut child = start_pool(64);
    let began = std::time::Instant::now();
    let event = |number| format!("{{\"number\":{number:07}}}").into_bytes();
    child.service.serve(&echo(100_000, 64, &event));
    let tenth = child.resident();
    child.service.serve(&echo(900_000, 64, &event));
    let whole = child.resident();
    println!("{tenth} KiB, then {whole} KiB; {:?}", began.elapsed());
    // One page per slot of tolerance, because not all slots may have been busy together before. A
    // leak of one byte in three invocations would exceed it.
    assert!(whole.abs_diff(tenth) <= 64 * 4, "{tenth} KiB, then {whole} KiB");
    assert_eq!(child.process.output(), "", "the runtime logged a refusal or a lost connection");
}
