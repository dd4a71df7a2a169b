//! `echo` returns each event, over one connection.

use lambda_interop::{Emulator, Function};

use crate::{assert_nothing_was_refused, example};

/// The largest event and the largest response: 6 MiB and 100 bytes.
const LARGEST: usize = 6 * 1024 * 1024 + 100;

/// Sizes around the thresholds of the emulator (it sends events above 2,048 bytes in chunks), of
/// this project's buffers, and of Lambda (the largest).
const SIZES: [usize; 9] = [0, 1, 2_047, 2_048, 2_049, 65_536, 1 << 20, 5 << 20, LARGEST];

fn sequential() -> Function {
    example("echo")
}

fn pipelined() -> Function {
    example("echo").argument("--pipelined")
}

fn async_echo(arguments: &[&str]) -> Function {
    arguments.iter().fold(example("async_echo"), |function, it| function.argument(it))
}

/// Bytes of every value, with a period that no buffer size divides.
fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8 ^ (index / 251 % 256) as u8).collect()
}

fn assert_echoes(emulator: &mut Emulator, size: usize) {
    let event = payload(size);
    let answer = emulator.invoke(&event).unwrap();
    assert_eq!(answer.status, 200, "{size} bytes: {}", emulator.output());
    // `assert_eq` would print megabytes.
    assert!(answer.body == event, "{size} bytes came back as {} different ones", answer.body.len());
}

#[test]
fn events_of_every_size_come_back_identical() {
    let mut emulator = sequential().start().unwrap();
    SIZES.iter().chain(SIZES.iter().rev()).for_each(|size| assert_echoes(&mut emulator, *size));
    assert_nothing_was_refused(&emulator);
}

#[test]
fn events_of_every_size_come_back_identical_when_pipelined() {
    let mut emulator = pipelined().start().unwrap();
    SIZES.iter().chain(SIZES.iter().rev()).for_each(|size| assert_echoes(&mut emulator, *size));
    assert_nothing_was_refused(&emulator);
}

#[test]
fn events_of_every_size_come_back_identical_from_event_loops() {
    for name in ["pool", "own_loop", "tokio_driver"] {
        let mut emulator = example(name).start().unwrap();
        SIZES.iter().chain(SIZES.iter().rev()).for_each(|size| assert_echoes(&mut emulator, *size));
        assert_nothing_was_refused(&emulator);
    }
}

#[test]
fn events_of_every_size_come_back_identical_from_async_handlers() {
    for arguments in [&[][..], &["--pipelined"]] {
        let mut emulator = async_echo(arguments).start().unwrap();
        SIZES.iter().chain(SIZES.iter().rev()).for_each(|size| assert_echoes(&mut emulator, *size));
        assert_nothing_was_refused(&emulator);
    }
}

#[test]
fn the_emulator_cuts_an_event_above_the_limit_and_the_function_gets_the_rest() {
    let mut emulator = sequential().start().unwrap();
    let event = payload(LARGEST + 10);
    let answer = emulator.invoke(&event).unwrap();
    assert!(answer.body == event[..LARGEST], "{} bytes came back", answer.body.len());
    assert_echoes(&mut emulator, 10);
}

#[test]
fn a_thousand_invocations_use_one_connection() {
    let mut emulator = sequential().count_connections().start().unwrap();
    (0..1_000).for_each(|number| assert_echoes(&mut emulator, number % 100));
    assert_eq!(emulator.connections(), 1);
}

#[test]
fn a_thousand_pipelined_invocations_use_one_connection() {
    let mut emulator = pipelined().count_connections().start().unwrap();
    (0..1_000).for_each(|number| assert_echoes(&mut emulator, number % 100));
    assert_eq!(emulator.connections(), 1);
}

#[test]
fn a_thousand_invocations_of_an_async_handler_use_one_connection() {
    for arguments in [&[][..], &["--pipelined"]] {
        let mut emulator = async_echo(arguments).count_connections().start().unwrap();
        (0..1_000).for_each(|number| assert_echoes(&mut emulator, number % 100));
        assert_eq!(emulator.connections(), 1);
    }
}
