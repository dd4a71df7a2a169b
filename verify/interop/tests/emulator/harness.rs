//! The harness keeps its own promises.

use std::path::Path;

use lambda_interop::Function;

use crate::{describe, misbehave};

#[test]
fn nothing_that_an_emulator_has_started_outlives_it() {
    let mut emulator = misbehave().start().unwrap();
    let process = describe(&mut emulator)["process"].as_i64().unwrap();
    let family = emulator.family();
    assert!(family.len() >= 2 && family.contains(&(process as i32)), "{process} {family:?}");
    drop(emulator);
    let left: Vec<_> =
        family.iter().filter(|pid| Path::new(&format!("/proc/{pid}/cmdline")).exists()).collect();
    // The emulator was ours to wait for; its child is for init, which may take its time to bury it.
    let alive = |pid: &&&i32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
    };
    assert_eq!(left.iter().filter(alive).count(), 0, "{left:?}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Function::new("target/no/such/program").start().unwrap_err().to_string();
    assert!(error.contains("target/no/such/program is not the absolute path"), "{error}");
}
