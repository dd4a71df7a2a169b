//! The end of an invocation: what its caller gets, and whether the process ends, too.

use std::process::ExitStatus;
use std::sync::Arc;

use super::Environment;
use crate::answer::{FailureKind, FunctionFailure};
use crate::invocation::Invocation;
use crate::lifecycle::{Reason, StartFailure};
use crate::log::Status;
use crate::process::Process;

/// How an invocation ended.
pub(super) enum End {
    /// The runtime has asked for the next one, or will not ask again.
    Over,
    /// The runtime could not be started.
    NoStart(StartFailure),
    Exit(ExitStatus),
    Timeout,
    RestoreTimeout,
    Stopped,
}

impl Environment {
    /// Gives the caller a failure, if it has no answer yet, and ends the process if necessary.
    pub(super) async fn conclude(
        &self,
        end: End,
        invocation: &Invocation,
        process: Option<&Arc<Process>>,
    ) -> Status {
        let id = invocation.request_id.as_str();
        match end {
            End::Over => invocation.dead_end.get().cloned().map_or(Status::Success, Status::Error),
            End::NoStart(StartFailure::Stopped) | End::Stopped => {
                // Drops the caller's channel, which becomes `InvokeError::Stopped`.
                self.broker.start_anew();
                Status::Success
            }
            End::NoStart(StartFailure::Failed(failure)) => self.fail(failure),
            End::Exit(status) => {
                self.hear_last_words(process).await;
                if self.life.is_stopping() {
                    self.broker.start_anew();
                    return Status::Success;
                }
                self.fail(self.life.exit(Some(id), status))
            }
            End::Timeout => {
                let seconds = self.settings.timeout.as_secs_f64();
                let reason = format!("Task timed out after {seconds:.2} seconds");
                self.log.line(format_args!("RequestId: {id} {reason}"));
                let failure = FunctionFailure::new(id, FailureKind::Timeout, reason);
                let failure = failure.with_type("Sandbox.Timedout");
                if self.settings.concurrency.is_some() {
                    self.broker.give_up(failure);
                } else {
                    self.end_late(failure, process).await;
                }
                Status::Timeout
            }
            End::RestoreTimeout => {
                let limit = self.settings.snapstart.unwrap_or_default().restore_timeout;
                let seconds = limit.as_secs_f64();
                let reason =
                    format!("RequestId: {id} Error: Restore timed out after {seconds:.2} seconds");
                let error_type = "Runtime.RestoreHookUserTimeout";
                self.log_failure(id, &reason, error_type);
                let kind = FailureKind::Init;
                let failure = FunctionFailure::of_service(id, kind, error_type, &reason);
                self.end_late(failure, process).await;
                Status::Error(error_type.to_owned())
            }
        }
    }

    /// Gives the caller the timeout as a failure, and ends the process.
    async fn end_late(&self, failure: FunctionFailure, process: Option<&Arc<Process>>) {
        let _changing = self.changing.lock().await;
        if self.broker.has_extensions() {
            // Otherwise an answer that the process gives before it ends would reach the caller.
            self.broker.tell(failure.clone());
        }
        if process.is_some_and(|process| self.life.is_current(process)) {
            self.life.end(Reason::Timeout).await;
        }
        self.broker.give_up(failure);
    }

    /// Logs a failure of the process, and gives it to the caller unless it has an answer.
    fn fail(&self, failure: FunctionFailure) -> Status {
        let error_type = failure.error_type().unwrap_or_default();
        let reason = failure.error_message().unwrap_or_default();
        self.log_failure(&failure.request_id, &reason, &error_type);
        self.broker.give_up(failure);
        Status::Error(error_type)
    }

    /// Logs the reason and the type of an error in the form that Lambda has for its own: the type
    /// on a line of its own, if it cannot be taken for another line.
    fn log_failure(&self, id: &str, reason: &str, error_type: &str) {
        let request = format!("RequestId: {id} ");
        match reason.strip_prefix(&request) {
            Some(reason) => self.log.line(format_args!("{request}{reason}")),
            None => self.log.line(format_args!("{request}Error: {reason}")),
        }
        if !error_type.is_empty() && !error_type.contains(char::is_whitespace) {
            self.log.line(error_type);
        }
    }

    /// Waits until everything that this process sent before it ended has been read, unless another
    /// process has been started since.
    async fn hear_last_words(&self, process: Option<&Arc<Process>>) {
        let _changing = self.changing.lock().await;
        if process.is_some_and(|process| self.life.is_current(process)) {
            self.life.hear_last_words().await;
        }
    }
}
