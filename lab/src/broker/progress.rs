//! The progress of a start, for telemetry: init, and the restore of a snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::extensions::Extensions;
use crate::telemetry::{Outcome, Phase, Platform, Telemetry};

/// How far a start has come.
#[derive(Debug)]
pub(super) struct Progress {
    telemetry: Arc<Telemetry>,
    stage: Stage,
    /// How long init or the restore took that ended last.
    took: Option<Duration>,
    /// Init has succeeded.
    is_initialized: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing has been started.
    New,
    Init {
        phase: Phase,
        began: Instant,
        is_runtime_done: bool,
    },
    Restore {
        began: Instant,
    },
    Over,
}

impl Progress {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry, stage: Stage::New, took: None, is_initialized: false }
    }

    /// Without subscribers.
    #[cfg(test)]
    pub(super) fn untold() -> Self {
        let settings = crate::Function::external().settings();
        let log = Arc::new(crate::log::LogStream::new(&settings.log));
        Self::new(Arc::new(Telemetry::new(&settings, 0, crate::clock::Clock::default(), log)))
    }

    /// The progress of the next start. Subscriptions are void.
    pub(super) fn restart(&self) -> Self {
        self.telemetry.start_anew();
        Self::new(Arc::clone(&self.telemetry))
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Init begins, unless it has begun. That of a runtime which the lab does not start begins with
    /// its first call.
    pub(super) fn begin_init(&mut self, phase: Phase) {
        if matches!(self.stage, Stage::New) {
            let began = Instant::now();
            self.stage = Stage::Init { phase, began, is_runtime_done: false };
            self.telemetry.platform(Platform::InitStart(phase));
        }
    }

    /// The processes were started at this time, after a wait for their files.
    pub(super) fn has_started(&mut self, at: Instant) {
        if let Stage::Init { began, .. } = &mut self.stage {
            *began = at;
        }
    }

    /// The runtime asks for its first event, or to be restored, or for an event after its restore.
    pub(super) fn runtime_asks(&mut self) {
        self.begin_init(Phase::Init);
        match &mut self.stage {
            Stage::Init { phase, is_runtime_done, .. } if !*is_runtime_done => {
                *is_runtime_done = true;
                let done = Platform::InitRuntimeDone(*phase, Outcome::success());
                self.telemetry.platform(done);
            }
            Stage::Restore { began } => {
                let took = began.elapsed();
                self.end_restore(&Outcome::success(), took);
            }
            _ => {}
        }
    }

    /// The runtime and all extensions have asked for an event: init is over, and with it the time
    /// for subscriptions.
    ///
    /// Source: emulator, `rapid/handlers.go`, `doRuntimeDomainInit`.
    pub(super) fn are_ready(&mut self, extensions: &Extensions) {
        if let Stage::Init { phase, began, is_runtime_done: true } = self.stage {
            self.end_init(phase, &Outcome::success(), began.elapsed(), extensions);
            self.is_initialized = true;
        }
    }

    /// When the init began that is not over.
    pub(super) fn init_began(&self) -> Option<Instant> {
        match self.stage {
            Stage::Init { began, .. } => Some(began),
            _ => None,
        }
    }

    /// Whether init has succeeded.
    pub(super) fn is_initialized(&self) -> bool {
        self.is_initialized
    }

    pub(super) fn begin_restore(&mut self) {
        self.stage = Stage::Restore { began: Instant::now() };
        self.telemetry.platform(Platform::RestoreStart);
    }

    /// The start has failed. Without a duration, it is the time until now.
    pub(super) fn fail(
        &mut self,
        outcome: &Outcome,
        took: Option<Duration>,
        extensions: &Extensions,
    ) {
        match self.stage {
            Stage::Init { phase, began, is_runtime_done } => {
                if !is_runtime_done {
                    let done = Platform::InitRuntimeDone(phase, outcome.clone());
                    self.telemetry.platform(done);
                }
                let took = took.unwrap_or_else(|| began.elapsed());
                self.end_init(phase, outcome, took, extensions);
            }
            Stage::Restore { began } => {
                self.end_restore(outcome, took.unwrap_or_else(|| began.elapsed()));
            }
            Stage::New | Stage::Over => {}
        }
    }

    /// How long init or the restore took that ended last, if one did.
    pub(super) fn took(&self) -> Option<Duration> {
        self.took
    }

    fn end_init(
        &mut self,
        phase: Phase,
        outcome: &Outcome,
        took: Duration,
        extensions: &Extensions,
    ) {
        extensions.events().for_each(|event| self.telemetry.platform(event));
        self.telemetry.platform(Platform::InitReport(phase, outcome.clone(), took));
        self.telemetry.close();
        (self.stage, self.took) = (Stage::Over, Some(took));
    }

    fn end_restore(&mut self, outcome: &Outcome, took: Duration) {
        self.telemetry.platform(Platform::RestoreRuntimeDone(outcome.clone()));
        self.telemetry.platform(Platform::RestoreReport(outcome.clone(), took));
        (self.stage, self.took) = (Stage::Over, Some(took));
    }
}
