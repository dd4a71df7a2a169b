//! Starts `capi/tests/runtime.c`, which plays calls of layer two.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lambda_interop::{Process, c_programs};
use lambda_proto_service::{Connection, Service};

use crate::build::{self, SANITIZERS};

/// The player of calls, built once.
pub(crate) fn player() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let sources = c_programs::with_layer_two(&["tests/runtime.c"]).unwrap();
        build::c("gcc", "runtime", &sources, &SANITIZERS)
    })
}

pub(crate) fn play(address: &str, calls: &str) -> Process {
    play_with(player(), address, calls)
}

/// Without the sanitizers, which look at what system calls read and limit no address space.
pub(crate) fn plain_player() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build::c("gcc", "runtime-plain", &["tests/runtime.c"], &[]))
}

pub(crate) fn play_with(player: &Path, address: &str, calls: &str) -> Process {
    let mut command = Command::new(player);
    command.args(calls.split_whitespace()).env("AWS_LAMBDA_RUNTIME_API", address);
    Process::start(&mut command).unwrap()
}

/// Waits for the end of the process, and checks what it wrote, without its log, and whether it
/// ended well.
#[track_caller]
pub(crate) fn assert_played(process: &mut Process, expected: &[&str]) {
    let status = process.wait().unwrap();
    if let Some(last) = expected.last() {
        process.wait_for_output(last).unwrap();
    }
    let output = process.output();
    let results: Vec<_> =
        output.lines().filter(|line| !line.starts_with("lambda_proto: ")).collect();
    assert_eq!(results, expected, "{output}");
    assert_eq!(status.code(), Some(0), "{output}");
}

/// The next connection, with its `next` open.
pub(crate) fn asking(service: &Service) -> Connection {
    let mut connection = service.connection();
    connection.expect_next();
    connection
}
