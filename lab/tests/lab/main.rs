//! The lab from outside: its Runtime API, Invoke API, processes and command line.

mod addresses;
mod by_hand;
mod callers;
mod command_line;
mod daemons;
mod embedding;
mod environments;
mod extensions;
mod external;
mod external_extensions;
mod external_failures;
mod external_lifecycle;
mod external_shutdown;
mod freeze;
mod init;
mod invoke_api;
mod leavers;
mod listener;
mod managed;
mod meeting;
mod memory;
mod output;
mod pages;
mod peak_memory;
mod processes;
mod program_files;
mod programs;
mod runtime_calls;
mod served;
mod shutdown;
mod slow_starts;
mod snapstart;
mod starts;
mod streams;
mod support;
mod telemetry;
mod telemetry_delivery;
mod telemetry_extensions;
mod telemetry_life;
mod telemetry_lines;
mod telemetry_managed;
mod telemetry_restore;
mod telemetry_stage;
mod temporary;
mod variables;
mod watch;

/// A bootstrap: a lab starts this test program, with this test, as the function.
///
/// Without a lab the test does nothing.
#[test]
fn bootstrap() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        support::behave();
    }
}

/// A child of a function that takes memory until it is killed; see [`peak_memory`].
///
/// Without its variable the test does nothing.
#[test]
fn hungry() {
    if let Ok(megabytes) = std::env::var(peak_memory::HUNGRY) {
        peak_memory::eat(megabytes.parse().unwrap());
    }
}
