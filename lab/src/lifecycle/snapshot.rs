//! Stops the processes of an environment, for a snapshot or a freeze, and continues them.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;

use super::{Lifecycle, Processes, Reason, Running, StartFailure};
use crate::answer::{ErrorType, FailureKind, FunctionFailure, Origin};
use crate::broker::Started;
use crate::log::{InitReport, Millis, Status};
use crate::output::Done;
use crate::telemetry::{Outcome, Phase};

/// The error type of an init that takes too long.
pub(crate) const INIT_TIMEOUT: &str = "Sandbox.Timedout";

impl Lifecycle {
    /// Starts the processes, waits until they are ready for their snapshot, and stops them there.
    ///
    /// The result is kept for the next invocation, which [takes](Self::take_snapshot) it.
    pub(crate) async fn prepare_snapshot(self: &Arc<Self>) {
        let began = Instant::now();
        self.broker.start_anew();
        self.broker.begin_init(Phase::SnapStart);
        let result = match self.start().await.1 {
            Err(_) if self.is_stopping() => Err(StartFailure::Stopped),
            Err(error) => {
                let failure = error.failure("");
                self.fail_start(&failure);
                self.end(Reason::Failure).await;
                Err(StartFailure::Failed(failure))
            }
            Ok(processes) => self.await_snapshot(&processes, began).await,
        };
        self.outputs.drain(Done::All);
        let log = &self.log;
        match &result {
            Ok(()) | Err(StartFailure::Stopped) => {}
            Err(StartFailure::Failed(failure)) => {
                let duration = self.broker.start_took().unwrap_or_else(|| began.elapsed());
                log.line(InitReport { duration, status: &status(failure) });
                log.line(format_args!("lambda-lab: cannot take a snapshot: {failure}"));
            }
        }
        *self.snapshot.lock().unwrap_or_else(|it| it.into_inner()) = Some(result);
    }

    async fn await_snapshot(
        &self,
        processes: &Processes,
        began: Instant,
    ) -> Result<(), StartFailure> {
        let limit = self.settings.init_timeout();
        let failure = tokio::select! {
            biased;
            () = self.stopping() => return Err(StartFailure::Stopped),
            started = self.broker.started() => match started {
                Started::Ready => {
                    processes.started().await;
                    self.telemetry.freeze();
                    processes.freeze();
                    self.broker.cut_connections();
                    self.outputs.drain(Done::All);
                    let took = self.broker.start_took().unwrap_or_else(|| began.elapsed());
                    self.log.line(format_args!(
                        "lambda-lab: snapshot taken, Init Duration: {} ms",
                        Millis(took)
                    ));
                    if let Some(snapstart) = &self.settings.snapstart {
                        tokio::select! {
                            () = self.stopping() => {}
                            () = sleep(snapstart.pause) => {}
                        }
                    }
                    return Ok(());
                }
                Started::Failed(failure) => {
                    self.await_exit(processes).await;
                    self.outputs.drain(Done::All);
                    self.fail_start(&failure);
                    self.end(Reason::Failure).await;
                    failure
                }
            },
            ended = processes.ended() => {
                self.hear_last_words(&ended).await;
                let reported = self.broker.start_failure();
                let failure = reported.unwrap_or_else(|| self.failure("", &ended));
                self.outputs.drain(Done::All);
                self.fail_start(&failure);
                self.end(Reason::Failure).await;
                failure
            }
            () = sleep(limit) => {
                let seconds = limit.as_secs_f64();
                let reason = format!("Init timed out after {seconds:.2} seconds");
                let kind = FailureKind::Init;
                let failure = FunctionFailure::of_service("", kind, INIT_TIMEOUT, &reason);
                self.outputs.drain(Done::All);
                self.fail_start(&failure);
                self.end(Reason::Timeout).await;
                failure
            }
        };
        Err(StartFailure::Failed(failure))
    }

    /// Tells telemetry of a start that failed.
    fn fail_start(&self, failure: &FunctionFailure) {
        self.broker.fail_start(&Outcome::from(&status(failure)), None);
    }

    /// Takes the result of the start for a snapshot, if there is one.
    pub(crate) fn take_snapshot(&self) -> Option<Result<(), StartFailure>> {
        self.snapshot.lock().unwrap_or_else(|it| it.into_inner()).take()
    }

    /// Stops the processes between two invocations.
    pub(crate) fn freeze(&self) {
        if let Running::Here(processes) = self.running() {
            self.telemetry.freeze();
            processes.freeze();
        }
    }

    /// Continues the processes for an invocation.
    pub(crate) fn thaw(&self, processes: &Processes) {
        let Some(frozen) = processes.thaw() else { return };
        self.telemetry.thaw();
        let millis = frozen.as_secs_f64() * 1000.0;
        let pretended = self.settings.freeze.unwrap_or_default();
        self.clock.advance(pretended);
        if pretended.is_zero() {
            self.log.line(format_args!("lambda-lab: thawed after {millis:.2} ms"));
        } else {
            self.log.line(format_args!(
                "lambda-lab: thawed after {millis:.2} ms; moved the clock forward by {} s",
                pretended.as_secs_f64()
            ));
        }
    }

    /// Continues the processes after their snapshot. Returns whether the runtime had called
    /// `restore/next`.
    pub(crate) fn restore(&self, processes: &Processes) -> bool {
        let is_restored = self.broker.restore();
        processes.thaw();
        self.telemetry.thaw();
        is_restored
    }
}

/// How a start ended that failed like this.
fn status(failure: &FunctionFailure) -> Status {
    match failure.error_type().unwrap_or_default() {
        name if name == INIT_TIMEOUT && failure.origin == Origin::Service => Status::Timeout,
        name => Status::Error(ErrorType { name, origin: failure.origin }),
    }
}
