//! How the programs that are compared are started, measured and ended.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::client::{Client, functions};
use crate::usage;

/// The variables with which Lambda starts a function; `_HANDLER` and the address come to them.
pub(crate) const VARIABLES: [(&str, &str); 7] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "work"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/work"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
    ("AWS_REGION", "us-east-1"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
];

/// A client that runs. Dropping it ends it with all its processes.
pub(crate) struct Running {
    child: Child,
    /// When it was started.
    pub(crate) began: Instant,
    _temporary: TempDir,
}

impl Running {
    /// Starts a client.
    ///
    /// # Errors
    ///
    /// The reason, with the path of the program.
    pub(crate) fn start(client: &Client, address: &str) -> Result<Self, String> {
        let cannot = |error| format!("cannot start {}: {error}", client.program.display());
        let temporary = tempfile::tempdir().map_err(cannot)?;
        let errors = File::create(temporary.path().join("errors")).map_err(cannot)?;
        let mut command = Command::new(&client.program);
        command
            .args(client.arguments.iter())
            .env_clear()
            .envs(VARIABLES)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("LAMBDA_TASK_ROOT", functions())
            .env("_HANDLER", client.handler)
            .env("TMPDIR", temporary.path())
            .envs(client.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .process_group(0);
        let began = Instant::now();
        let child = command.spawn().map_err(cannot)?;
        Ok(Self { child, began, _temporary: temporary })
    }

    /// The processor time of the client and of its processes that have ended.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        usage::cpu(self.child.id())
    }

    /// The resident memory of the client and of its processes, in KiB.
    pub(crate) fn memory(&self) -> Result<u64, String> {
        usage::memory_of_all(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
