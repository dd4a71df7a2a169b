//! Ends the processes of an environment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use super::Lifecycle;
use super::processes::{ExtensionProcess, Processes};
use crate::broker::Shutdown;
use crate::output::Writer;
use crate::process::{KILL_PATIENCE, Process, unyielding};

/// Why processes are ended.
///
/// Source: Lambda Developer Guide, "Using the Lambda Extensions API to create extensions".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The lab stops.
    Spindown,
    Timeout,
    Failure,
}

/// The time that a shutdown has.
#[derive(Clone, Copy, Debug)]
struct Limit {
    began: Instant,
    whole: Duration,
}

impl Lifecycle {
    /// Ends the runtime, and then the external extensions.
    ///
    /// Source: emulator, `rapid/shutdown.go`.
    pub(super) async fn shut_down(&self, processes: &Processes, reason: Reason) {
        processes.end_start().await;
        let limit = Limit { began: Instant::now(), whole: self.settings.shutdown_timeout() };
        self.telemetry.thaw();
        if processes.have_ended() {
            // A listener that is not in these processes.
            self.flush_telemetry(limit).await;
            return self.name_those_that_had_ended(&processes.extensions(), reason);
        }
        self.broker.is_ending();
        let extensions = processes.extensions();
        // The runtime is continued by its signal.
        for extension in &extensions {
            extension.process.thaw();
        }
        if let Some(runtime) = processes.runtime().filter(|it| it.exit_status().is_none()) {
            // What an internal extension is to get, it gets before its process ends.
            let mut ending = std::pin::pin!(self.shut_down_runtime(&runtime, reason));
            tokio::select! {
                () = &mut ending => {}
                () = self.telemetry.flush() => ending.await,
            }
        }
        self.flush_telemetry(limit).await;
        let has_ended = |it: &Arc<ExtensionProcess>| it.process.exit_status().is_some();
        let (ended, running): (Vec<_>, Vec<_>) = extensions.into_iter().partition(has_ended);
        self.name_those_that_had_ended(&ended, reason);
        if !running.is_empty() {
            let deadline = (self.clock.unix() + limit.left()).as_millis();
            self.shut_down_extensions(running, Shutdown { deadline, reason }, limit).await;
        }
    }

    async fn shut_down_runtime(&self, process: &Process, reason: Reason) {
        let began = Instant::now();
        let has_internal = self.broker.has_internal_extensions();
        let most = self.settings.shutdown_timeout_of_runtime(has_internal);
        let (how, status) = if !self.broker.has_extensions() {
            kill(process).await;
            ("SIGKILL, as no extension is registered".to_owned(), String::new())
        } else {
            process.terminate();
            match timeout(most, process.wait()).await {
                Ok(status) => ("SIGTERM".to_owned(), format!(", {status}")),
                Err(_) => {
                    kill(process).await;
                    (format!("SIGTERM, and SIGKILL after {} ms", most.as_millis()), String::new())
                }
            }
        };
        self.name_unyielding(process, "");
        // Its last words come before the line that says that it has ended.
        self.outputs.close_of(&Writer::Function);
        let ended = ended_after(process, began.elapsed());
        self.log.line(format_args!("lambda-lab: shutdown ({reason}): {how}; {ended}{status}"));
    }

    /// Delivers what is left of telemetry, for a shutdown without processes.
    pub(super) async fn flush_now(&self) {
        let limit = Limit { began: Instant::now(), whole: self.settings.shutdown_timeout() };
        self.flush_telemetry(limit).await;
    }

    /// Delivers what is left of telemetry before extensions are asked to end, within half of the
    /// time that is left, as one may not listen any more.
    ///
    /// Source: emulator, `lambda-managed-instances/rapid/shutdown.go`, for the order.
    async fn flush_telemetry(&self, limit: Limit) {
        let _ = timeout(limit.left() / 2, self.telemetry.flush()).await;
    }

    /// Ends the external extensions, all at the same time.
    async fn shut_down_extensions(
        &self,
        extensions: Vec<Arc<ExtensionProcess>>,
        shutdown: Shutdown,
        limit: Limit,
    ) {
        // One that registers from now on is killed.
        let takes_shutdown = |it: &Arc<ExtensionProcess>| self.broker.takes_shutdown(&it.name);
        let (asked, killed): (Vec<_>, Vec<_>) = extensions.into_iter().partition(takes_shutdown);
        self.broker.shut_down_extensions(shutdown);
        let began = Instant::now();
        let mut ends = JoinSet::new();
        for (extensions, patience) in [(asked, Some(limit)), (killed, None)] {
            for extension in extensions {
                ends.spawn(async move {
                    let process = &extension.process;
                    let by_itself = match patience {
                        Some(limit) => timeout_at(limit.end().into(), process.wait()).await.ok(),
                        None => None,
                    };
                    if by_itself.is_none() {
                        kill(process).await;
                    }
                    (extension, patience.is_some(), by_itself, began.elapsed())
                });
            }
        }
        while let Some(ended) = ends.join_next().await {
            // Fails only if the task panicked, which would be a bug.
            let Ok((extension, is_asked, by_itself, took)) = ended else { continue };
            let (name, process) = (&extension.name, &extension.process);
            let how = match (is_asked, by_itself) {
                (true, Some(_)) => "SHUTDOWN".to_owned(),
                (true, None) => {
                    format!("SHUTDOWN, and SIGKILL after {} ms", limit.whole.as_millis())
                }
                (false, _) => "SIGKILL, as it has not registered for SHUTDOWN".to_owned(),
            };
            let status = by_itself.map_or_else(String::new, |status| format!(", {status}"));
            self.outputs.close_of(&Writer::Extension(Arc::clone(name)));
            self.name_unyielding(process, &format!(", the extension {name},"));
            let ended = ended_after(process, took);
            self.log.line(format_args!(
                "lambda-lab: shutdown ({}): extension {name}: {how}; {ended}{status}",
                shutdown.reason
            ));
        }
    }

    /// Logs the extensions that ended before they were asked to.
    fn name_those_that_had_ended(&self, extensions: &[Arc<ExtensionProcess>], reason: Reason) {
        for extension in extensions {
            if let Some(status) = extension.process.exit_status() {
                let name = &extension.name;
                self.outputs.close_of(&Writer::Extension(Arc::clone(name)));
                self.log.line(format_args!(
                    "lambda-lab: shutdown ({reason}): extension {name} had ended by itself, {status}"
                ));
            }
        }
    }

    fn name_unyielding(&self, process: &Process, which: &str) {
        if process.exit_status().is_none() {
            self.log.line(unyielding(process.id(), which));
        }
    }
}

impl Limit {
    fn end(self) -> Instant {
        self.began + self.whole
    }

    fn left(self) -> Duration {
        self.end().saturating_duration_since(Instant::now())
    }
}

/// Kills the process, and waits for its end for a limited time, as it may be in an uninterruptible
/// call, or belong to another user.
async fn kill(process: &Process) {
    process.kill();
    if timeout(KILL_PATIENCE, process.wait()).await.is_err() {
        process.leave();
    }
}

/// How long it took until the process ended, for people.
fn ended_after(process: &Process, took: Duration) -> String {
    let ended = match process.exit_status() {
        Some(_) => "ended",
        None => "not ended",
    };
    format!("{ended} after {:.2} ms", took.as_secs_f64() * 1000.0)
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        })
    }
}
