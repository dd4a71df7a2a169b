//! The events of an invocation for telemetry.

use std::time::Instant;

use super::Environment;
use super::run::Run;
use crate::invocation::Invocation;
use crate::log::{Metrics, Status};
use crate::telemetry::{Outcome, Platform, Span};

impl Environment {
    /// The runtime is done with the invocation, with this status. Told once, and not of managed
    /// instances.
    pub(super) fn tell_runtime_done(
        &self,
        invocation: &Invocation,
        run: &mut Run,
        outcome: Outcome,
    ) {
        if self.settings.concurrency.is_some() || run.is_runtime_done {
            return;
        }
        run.is_runtime_done = true;
        let now = Instant::now();
        let ended = invocation.ended.get().copied().unwrap_or(now);
        let mut spans = self.answer_spans(invocation);
        if let Some(answered) = invocation.answered.get() {
            spans.push(self.span("runtimeOverhead", *answered, ended));
        }
        let since = invocation.delivered.get().copied();
        self.telemetry.platform(Platform::RuntimeDone {
            request: invocation.request(),
            outcome,
            duration: since.map_or_else(Default::default, |since| ended - since),
            produced: invocation.produced(),
            spans,
        });
    }

    /// The invocation is over: the end of its init if that failed, its start if there was none, the
    /// end of the runtime's part if that has not been told, and the report.
    ///
    /// Source: emulator, `rapid/handlers.go`, and `lambda-managed-instances/invoke/metrics.go`.
    pub(super) fn tell_end(
        &self,
        invocation: &Invocation,
        run: &mut Run,
        status: &Status,
        metrics: &Metrics,
    ) {
        let is_managed = self.settings.concurrency.is_some();
        match status {
            Status::Success => {}
            // It may be that of one worker of several.
            Status::Timeout if is_managed => {}
            Status::Timeout | Status::Error(_) => self.fail_start(&Outcome::from(status), run),
        }
        invocation.tell_start(&self.telemetry);
        let outcome = match status {
            Status::Success => invocation.outcome(),
            Status::Timeout if is_managed => Outcome::managed_timeout(),
            Status::Timeout | Status::Error(_) => Outcome::from(status),
        };
        self.tell_runtime_done(invocation, run, outcome.clone());
        let spans = match is_managed {
            true => self.answer_spans(invocation),
            false => self.extension_span(invocation, run).into_iter().collect(),
        };
        self.telemetry.platform(Platform::Report {
            request: invocation.request(),
            outcome,
            metrics: metrics.clone(),
            spans,
        });
    }

    /// The start of the processes has failed, unless it is over, or others have been started since.
    pub(super) fn fail_start(&self, outcome: &Outcome, run: &Run) {
        if run.processes.as_ref().is_none_or(|processes| self.life.are_current(processes)) {
            self.broker.fail_start(outcome, None);
        }
    }

    /// From the event to the first byte of the answer, and to its last.
    fn answer_spans(&self, invocation: &Invocation) -> Vec<Span> {
        let (Some(delivered), Some(answering)) =
            (invocation.delivered.get(), invocation.answering.get())
        else {
            return Vec::new();
        };
        let mut spans = vec![self.span("responseLatency", *delivered, *answering)];
        if let Some(answered) = invocation.answered.get() {
            spans.push(self.span("responseDuration", *answering, *answered));
        }
        spans
    }

    /// What the extensions needed after the runtime.
    fn extension_span(&self, invocation: &Invocation, run: &Run) -> Option<Span> {
        let (ended, settled) = (invocation.ended.get()?, run.settled?);
        let has_extensions = self.broker.has_extensions_that_are_invoked();
        has_extensions.then(|| self.span("extensionOverhead", *ended, settled))
    }

    fn span(&self, name: &'static str, start: Instant, end: Instant) -> Span {
        Span { name, start: self.clock.at(start), duration: end.saturating_duration_since(start) }
    }
}
