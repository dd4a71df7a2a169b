//! The lab from outside: by its Runtime API, its Invoke API, its processes and its command line.

mod callers;
mod command_line;
mod embedding;
mod environments;
mod extensions;
mod freeze;
mod init;
mod managed;
mod processes;
mod runtime_calls;
mod served;
mod shutdown;
mod snapstart;
mod streams;
mod support;

/// A bootstrap: this program, started by a lab as the function.
///
/// Of itself it does nothing, for without a lab there is nothing to do.
#[test]
fn bootstrap() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        support::behave();
    }
}
