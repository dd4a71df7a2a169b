//! Starts the process of an environment.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Lifecycle;
use crate::answer::{FailureKind, FunctionFailure};
use crate::process::{Process, obstacle};
use crate::watch::{BUILD_PATIENCE, PAUSE};

/// Why there is no process for an invocation.
#[derive(Clone, Debug)]
pub(crate) enum StartFailure {
    Stopped,
    Failed(FunctionFailure),
}

impl StartFailure {
    /// The program of the function cannot be started.
    pub(crate) fn of_program(id: &str, reason: &str) -> Self {
        let (kind, error_type) = (FailureKind::Exit, "Runtime.InvalidEntrypoint");
        Self::Failed(FunctionFailure::of_service(id, kind, error_type, reason))
    }
}

/// How long a program is waited for that is still not being executed when the lab stops.
const START_PATIENCE: Duration = Duration::from_secs(2);

impl Lifecycle {
    /// Starts the process. An earlier process must have been [ended](Self::end).
    ///
    /// If the program is still not being executed a moment after the lab has begun to stop, it is
    /// left to itself, and killed when it is.
    async fn start(&self) -> io::Result<Arc<Process>> {
        let stopped = || io::Error::other("the lab has been stopped");
        if self.is_stopping() {
            return Err(stopped());
        }
        let launch = self.place.launch(&self.settings)?;
        let mut command = self.settings.command(&launch, self.place.runtime_api);
        let log = self.settings.log.clone();
        let started = match self.outputs.connect(&mut command) {
            Err(error) => Err(error),
            Ok(()) => {
                // On another thread, as it takes long if the file system is slow.
                let starting = spawn_blocking(move || Process::start(&mut command, &log));
                let hurry = async {
                    self.stopping().await;
                    sleep(START_PATIENCE).await;
                };
                tokio::select! {
                    biased;
                    started = starting => started.unwrap_or_else(|error| Err(error.into())),
                    () = hurry => return Err(stopped()),
                }
            }
        };
        let started = started.map_err(|error| {
            let file = launch.file.as_os_str();
            let reason = obstacle::explain(file, self.settings.path(), &error);
            io::Error::new(error.kind(), format!("cannot start {}: {reason}", file.display()))
        })?;
        // If the lab stops, it ends this process, too, as it waits for the start.
        Ok(Arc::clone(self.lock().insert(Arc::new(started))))
    }

    /// Starts the process as soon as its file is not open for writing, as by linkers and copies.
    /// This is waited for, 10 s at most.
    ///
    /// Returns also when the start began that succeeded or failed.
    pub(crate) async fn start_when_written(&self) -> (Instant, io::Result<Arc<Process>>) {
        let first = Instant::now();
        loop {
            let began = Instant::now();
            match self.start().await {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy
                        && first.elapsed() < BUILD_PATIENCE
                        && !self.is_stopping() =>
                {
                    sleep(PAUSE).await;
                }
                started => return (began, started),
            }
        }
    }
}
