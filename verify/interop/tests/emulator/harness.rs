//! Tests the harness itself.

use std::path::Path;

use lambda_interop::Function;

use crate::{describe, misbehave};

#[test]
fn no_process_outlives_its_emulator() {
    let mut emulator = misbehave().start().unwrap();
    let process = describe(&mut emulator)["process"].as_i64().unwrap();
    let family = emulator.family();
    assert!(family.len() >= 2 && family.contains(&(process as i32)), "{process} {family:?}");
    drop(emulator);
    let left: Vec<_> =
        family.iter().filter(|pid| Path::new(&format!("/proc/{pid}/cmdline")).exists()).collect();
    // The harness has reaped the emulator, but init reaps its child, maybe later: a zombie counts
    // as dead.
    let alive = |pid: &&&i32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
    };
    assert_eq!(left.iter().filter(alive).count(), 0, "{left:?}");
}

#[test]
fn the_error_for_a_missing_program_names_it() {
    let error = Function::new("target/no/such/program").start().unwrap_err().to_string();
    assert!(error.contains("target/no/such/program is not the absolute path"), "{error}");
}
