//! The end of an invocation: what its caller gets, and whether the processes end, too.

use std::sync::Arc;

use super::Environment;
use super::run::Run;
use crate::answer::{ErrorType, FailureKind, FunctionFailure};
use crate::invocation::Invocation;
use crate::lifecycle::{Ended, INIT_TIMEOUT, Processes, Reason, Running, StartFailure};
use crate::log::{Metrics, Status};
use crate::telemetry::{Outcome, Platform, RESTORE_TIMEOUT};

/// How an invocation ended.
pub(super) enum End {
    /// The runtime and the extensions have asked for the next one, or the runtime will not ask
    /// again.
    Over,
    /// A process could not be started.
    NoStart(StartFailure),
    Exit(Ended),
    /// The init of a managed instance took too long.
    InitTimeout,
    Timeout,
    RestoreTimeout,
    Stopped,
}

impl Environment {
    /// Gives the caller a failure, if it has no answer yet, and ends the processes if necessary.
    ///
    /// Telemetry is told before, so that extensions get it with what is left of it.
    pub(super) async fn conclude(
        &self,
        end: End,
        invocation: &Invocation,
        run: &mut Run,
        metrics: &Metrics,
    ) -> Status {
        let id = invocation.request_id.as_str();
        let processes = run.processes.clone();
        let processes = processes.as_ref();
        match end {
            End::Over => {
                let dead_end = invocation.dead_end.get().cloned();
                let status = dead_end.map_or(Status::Success, Status::Error);
                self.tell_end(invocation, run, &status, metrics);
                status
            }
            End::NoStart(StartFailure::Stopped) | End::Stopped => self.stopped().await,
            End::NoStart(StartFailure::Failed(failure)) => {
                let status = self.log_end(&failure);
                self.tell_end(invocation, run, &status, metrics);
                let changing = self.changing.lock().await;
                // Unless others have been started since.
                if matches!(self.life.running(), Running::Not) {
                    self.life.end(Reason::Failure).await;
                }
                drop(changing);
                self.broker.give_up(failure);
                status
            }
            End::Exit(ended) => {
                self.hear_last_words(&ended, processes).await;
                if self.life.is_stopping() {
                    return self.stopped().await;
                }
                let failure = self.life.failure(id, &ended);
                let status = self.log_end(&failure);
                self.tell_end(invocation, run, &status, metrics);
                if self.settings.extensions.is_empty() && !self.telemetry.has_subscribers() {
                    self.broker.give_up(failure);
                } else {
                    self.end_with(failure, Reason::Failure, processes).await;
                }
                status
            }
            End::InitTimeout => {
                let seconds = self.settings.init_timeout().as_secs_f64();
                let reason =
                    format!("RequestId: {id} Error: Init timed out after {seconds:.2} seconds");
                self.log_failure(id, &reason, INIT_TIMEOUT);
                self.fail_start(&Outcome::from(&Status::Timeout), run);
                self.tell_end(invocation, run, &Status::Timeout, metrics);
                let kind = FailureKind::Init;
                let failure = FunctionFailure::of_service(id, kind, INIT_TIMEOUT, &reason);
                // Source: emulator, `lambda-managed-instances/rapid`, which has no other reason.
                self.end_with(failure, Reason::Failure, processes).await;
                Status::Timeout
            }
            End::Timeout => {
                let seconds = self.settings.timeout.as_secs_f64();
                let reason = format!("Task timed out after {seconds:.2} seconds");
                let line = format!("RequestId: {id} {reason}");
                self.log.line(&line);
                self.telemetry.platform(Platform::Fault(line));
                self.tell_end(invocation, run, &Status::Timeout, metrics);
                let failure = FunctionFailure::new(id, FailureKind::Timeout, reason);
                let failure = failure.with_type("Sandbox.Timedout");
                if self.settings.concurrency.is_some() {
                    self.broker.give_up(failure);
                } else {
                    self.end_with(failure, Reason::Timeout, processes).await;
                }
                Status::Timeout
            }
            End::RestoreTimeout => {
                let limit = self.settings.snapstart.unwrap_or_default().restore_timeout;
                let seconds = limit.as_secs_f64();
                let reason =
                    format!("RequestId: {id} Error: Restore timed out after {seconds:.2} seconds");
                self.log_failure(id, &reason, RESTORE_TIMEOUT);
                let status = Status::Error(ErrorType::of_service(RESTORE_TIMEOUT));
                self.broker.fail_start(&Outcome::restore_timeout(), None);
                self.tell_end(invocation, run, &status, metrics);
                let kind = FailureKind::Init;
                let failure = FunctionFailure::of_service(id, kind, RESTORE_TIMEOUT, &reason);
                self.end_with(failure, Reason::Timeout, processes).await;
                status
            }
        }
    }

    /// The lab stops, and the caller gets no answer any more.
    async fn stopped(&self) -> Status {
        // Until then, extensions may still get their shutdown.
        self.life.stopped().await;
        // Drops the caller's channel, which becomes `InvokeError::Stopped`.
        self.broker.start_anew();
        Status::Success
    }

    /// Gives the caller the failure, and ends the processes.
    async fn end_with(
        &self,
        failure: FunctionFailure,
        reason: Reason,
        processes: Option<&Arc<Processes>>,
    ) {
        let _changing = self.changing.lock().await;
        if self.broker.has_extensions() {
            // Otherwise an answer that the runtime gives before it ends would reach the caller.
            self.broker.tell(failure.clone());
        }
        if processes.is_some_and(|processes| self.life.are_current(processes)) {
            self.life.end(reason).await;
        }
        self.broker.give_up(failure);
    }

    /// Logs a failure of the processes.
    fn log_end(&self, failure: &FunctionFailure) -> Status {
        let name = failure.error_type().unwrap_or_default();
        let reason = failure.error_message().unwrap_or_default();
        self.log_failure(&failure.request_id, &reason, &name);
        Status::Error(ErrorType { name, origin: failure.origin })
    }

    /// Logs the reason and the type of an error in the form that Lambda has for its own: the type
    /// on a line of its own, if it cannot be taken for another line.
    fn log_failure(&self, id: &str, reason: &str, error_type: &str) {
        let request = format!("RequestId: {id} ");
        let mut fault = match reason.strip_prefix(&request) {
            Some(reason) => format!("{request}{reason}"),
            None => format!("{request}Error: {reason}"),
        };
        self.log.line(&fault);
        if !error_type.is_empty() && !error_type.contains(char::is_whitespace) {
            self.log.line(error_type);
            fault.push('\n');
            fault.push_str(error_type);
        }
        self.telemetry.platform(Platform::Fault(fault));
    }

    /// Waits until everything that a process sent before it ended has been read, unless other
    /// processes have been started since.
    async fn hear_last_words(&self, ended: &Ended, processes: Option<&Arc<Processes>>) {
        let _changing = self.changing.lock().await;
        if processes.is_some_and(|processes| self.life.are_current(processes)) {
            self.life.hear_last_words(ended).await;
        }
    }
}
