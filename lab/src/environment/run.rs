//! The phases of an invocation in flight, and their limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};

use super::Environment;
use super::end::End;
use crate::invocation::Invocation;
use crate::lifecycle::{Ended, Processes, Reason, StartFailure};
use crate::log::{InitReport, Status};
use crate::output::Done;
use crate::telemetry::{Outcome, Phase as InitPhase};

/// The processes and the times of an invocation in flight.
pub(super) struct Run {
    pub(super) processes: Option<Arc<Processes>>,
    pub(super) phase: Phase,
    /// When the phase began.
    pub(super) since: Instant,
    pub(super) init: Option<Duration>,
    pub(super) restore: Option<Duration>,
    /// The processes have written something that had to be passed on.
    pub(super) has_written: bool,
    /// Telemetry has been told that the runtime is done.
    pub(super) is_runtime_done: bool,
    /// When the extensions were done, too.
    pub(super) settled: Option<Instant>,
}

/// The pauses between two looks at the memory of an invocation that takes its time: a tenth of what
/// it has taken, within these limits. Shorter invocations are measured at their end only.
const SHORTEST_SAMPLING: Duration = Duration::from_millis(5);
const LONGEST_SAMPLING: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Until the runtime gets the invocation.
    Init,
    /// Init that another invocation of a managed instance has begun.
    InitOfAnother,
    Restore,
    Invoke,
}

impl Run {
    /// The runtime has got the invocation, after an init or a restore that took this long, if there
    /// was one.
    fn enter_invoke(&mut self, invocation: &Invocation, took: Option<Duration>) {
        let delivered = invocation.delivered.get().copied().unwrap_or_else(Instant::now);
        let took = took.or(Some(delivered - self.since));
        match self.phase {
            Phase::Init => self.init = took,
            Phase::Restore => self.restore = took,
            Phase::InitOfAnother | Phase::Invoke => {}
        }
        (self.phase, self.since) = (Phase::Invoke, delivered);
    }
}

impl Environment {
    /// Waits for the end of an invocation, or of its time.
    pub(super) async fn until_the_end(&self, invocation: &Invocation, run: &mut Run) -> End {
        let is_managed = self.settings.concurrency.is_some();
        let started = Instant::now();
        let mut is_over = false;
        loop {
            let pause = (started.elapsed() / 10).clamp(SHORTEST_SAMPLING, LONGEST_SAMPLING);
            let limit = match run.phase {
                Phase::Init | Phase::InitOfAnother => self.settings.init_timeout(),
                Phase::Restore => self.settings.snapstart.unwrap_or_default().restore_timeout,
                Phase::Invoke => self.settings.timeout,
            };
            tokio::select! {
                biased;
                // The wait for a slot counts against the timeout, init does not.
                () = self.broker.initialized(), if is_managed && run.phase != Phase::Invoke => {
                    invocation.begin();
                    run.enter_invoke(invocation, self.broker.start_took());
                    continue;
                }
                // Checked before the end of the invocation, so that the end of the phase is
                // recorded.
                () = self.broker.delivered(invocation),
                    if !is_managed && run.phase != Phase::Invoke =>
                {
                    run.enter_invoke(invocation, self.broker.start_took());
                    continue;
                }
                () = invocation.over(), if !is_over => {
                    is_over = true;
                    self.end_runtime(invocation, run);
                    continue;
                }
                () = self.settled(invocation, run.processes.as_deref()), if is_over => {
                    run.settled = run.is_runtime_done.then(Instant::now);
                    return End::Over;
                }
                () = self.life.stopped() => return End::Stopped,
                ended = exited(run.processes.as_deref()) => {
                    // Another invocation that waited for the same init may have ended the processes.
                    let is_late = run.phase != Phase::Invoke && run.since.elapsed() >= limit;
                    return if is_managed && is_late { End::InitTimeout } else { End::Exit(ended) };
                }
                () = sleep(pause), if run.processes.is_some() => {
                    if let Some(processes) = &run.processes {
                        processes.sample_memory();
                    }
                    // Not before the limit is looked at.
                    if run.since.elapsed() < limit {
                        continue;
                    }
                }
                () = sleep_until((run.since + limit).into()) => {}
            }
            match run.phase {
                Phase::Init if !is_managed => {
                    if let Err(failure) = self.init_again(invocation, run).await {
                        return End::NoStart(failure);
                    }
                }
                Phase::Init | Phase::InitOfAnother => return End::InitTimeout,
                Phase::Restore => return End::RestoreTimeout,
                Phase::Invoke => return End::Timeout,
            }
        }
    }

    /// Ends processes whose init takes too long, and starts others within the invocation's timeout.
    ///
    /// Source: Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
    async fn init_again(&self, invocation: &Invocation, run: &mut Run) -> Result<(), StartFailure> {
        let _changing = self.changing.lock().await;
        let duration = run.since.elapsed();
        if let Some(processes) = &run.processes {
            self.life.pass_output(processes, Done::All);
        }
        self.log.line(InitReport { duration, status: &Status::Timeout });
        self.broker.fail_start(&Outcome::from(&Status::Timeout), Some(duration));
        self.life.end(Reason::Timeout).await;
        self.broker.retry();
        self.init_within(invocation, run).await
    }

    /// Starts processes whose init is a part of the invocation, after those before have failed.
    ///
    /// Source: emulator, `rapid/handlers.go`, `doInvoke`; Lambda Developer Guide, "Understanding the
    /// Lambda execution environment lifecycle", "Failures during the invoke phase".
    pub(super) async fn init_within(
        &self,
        invocation: &Invocation,
        run: &mut Run,
    ) -> Result<(), StartFailure> {
        self.broker.begin_init(InitPhase::Invoke);
        invocation.begin();
        run.phase = Phase::Invoke;
        run.processes = Some(self.start(&invocation.request_id, run).await?);
        Ok(())
    }

    /// The runtime is done with the invocation, or will not ask again.
    fn end_runtime(&self, invocation: &Invocation, run: &mut Run) {
        if invocation.dead_end.get().is_some() || self.settings.concurrency.is_some() {
            // Told with the end of the invocation.
            return;
        }
        if let Some(processes) = &run.processes {
            run.has_written |= self.life.pass_output(processes, Done::Runtime);
        }
        self.tell_runtime_done(invocation, run, invocation.outcome());
    }

    /// Waits until the extensions are done with the invocation, too.
    async fn settled(&self, invocation: &Invocation, processes: Option<&Processes>) {
        if let Some(processes) = processes {
            processes.started().await;
        }
        if self.settings.concurrency.is_none() && invocation.dead_end.get().is_none() {
            self.broker.settled().await;
        }
    }
}

async fn exited(processes: Option<&Processes>) -> Ended {
    match processes {
        Some(processes) => processes.ended().await,
        None => std::future::pending().await,
    }
}
