//! The lab from outside: its Runtime API, Invoke API, processes and command line.

mod by_hand;
mod callers;
mod command_line;
mod embedding;
mod environments;
mod extensions;
mod freeze;
mod init;
mod invoke_api;
mod managed;
mod memory;
mod output;
mod pages;
mod processes;
mod runtime_calls;
mod served;
mod shutdown;
mod snapstart;
mod streams;
mod support;
mod telemetry;

/// A bootstrap: a lab starts this test program, with this test, as the function.
///
/// Without a lab the test does nothing.
#[test]
fn bootstrap() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        support::behave();
    }
}
