//! Ends the process of an environment.

use std::time::Instant;

use tokio::time::timeout;

use super::Lifecycle;
use crate::process::{KILL_PATIENCE, Process, unyielding};

/// Why a process is ended.
///
/// Source: Lambda Developer Guide, "Using the Lambda Extensions API to create extensions".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The lab stops.
    Spindown,
    Timeout,
    Failure,
}

impl Lifecycle {
    pub(super) async fn shut_down(&self, process: &Process, reason: Reason) {
        if process.exit_status().is_some() {
            return;
        }
        self.broker.is_ending();
        let began = Instant::now();
        let most = self.settings.shutdown_timeout();
        let (how, status) = if !self.broker.has_extensions() {
            self.kill(process).await;
            ("SIGKILL, as no extension is registered".to_owned(), String::new())
        } else {
            process.terminate();
            match timeout(most, process.wait()).await {
                Ok(status) => ("SIGTERM".to_owned(), format!(", {status}")),
                Err(_) => {
                    self.kill(process).await;
                    (format!("SIGTERM, and SIGKILL after {} ms", most.as_millis()), String::new())
                }
            }
        };
        let millis = began.elapsed().as_secs_f64() * 1000.0;
        let ended = match process.exit_status() {
            Some(_) => "ended",
            None => "not ended",
        };
        // Its last words come before the line that says that it has ended.
        self.outputs.close();
        self.log.line(format_args!(
            "lambda-lab: shutdown ({reason}): {how}; {ended} after {millis:.2} ms{status}"
        ));
    }

    /// Kills the process, and waits for its end for a limited time, as it may be in an
    /// uninterruptible call, or belong to another user.
    async fn kill(&self, process: &Process) {
        process.kill();
        if timeout(KILL_PATIENCE, process.wait()).await.is_err() {
            process.leave();
            self.log.line(unyielding(process.id(), ""));
        }
    }
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
