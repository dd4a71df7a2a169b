//! One start of an environment: the state that both kinds of rules share, and the events that the
//! environment waits for.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use super::extensions::{Extensions, Shutdown};
use super::progress::Progress;
use super::{Broker, Rules};
use crate::answer::FunctionFailure;
use crate::invocation::Invocation;
use crate::machine::{Call, State};
use crate::refusal::Refusal;
use crate::telemetry::{Outcome, Phase};

/// One start of an environment, and its state since then.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) state: State,
    /// Counts the starts.
    pub(super) number: u64,
    pub(super) extensions: Extensions,
    pub(super) progress: Progress,
    /// The processes are being ended: there is no new invocation, but the one in flight may still
    /// be answered.
    is_ending: bool,
    ended: Ended,
    /// The error that the runtime reported in init, if no invocation was there to receive it.
    failure: Option<FunctionFailure>,
}

/// Which of the processes have ended, and so has everything that waited for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Nothing,
    /// External extensions still wait for events.
    Runtime,
    Everything,
}

impl Start {
    pub(super) fn new(extensions: Extensions, progress: Progress) -> Self {
        Self {
            state: State::Started,
            number: 0,
            extensions,
            progress,
            is_ending: false,
            ended: Ended::Nothing,
            failure: None,
        }
    }

    /// Replaces this start by the next one.
    pub(super) fn restart(&mut self) {
        let (extensions, progress) = (self.extensions.renewed(), self.progress.restart());
        *self = Self { number: self.number + 1, ..Self::new(extensions, progress) };
    }

    /// Makes a call, if it is allowed now. Asking for an event closes registration.
    pub(super) fn call(&mut self, call: Call) -> Result<(), Refusal> {
        let state = self.state.after(call)?;
        if matches!(call, Call::Next | Call::RestoreNext) {
            if self.ended != Ended::Nothing {
                return Err(Refusal::Internal);
            }
            self.extensions.close();
            self.progress.runtime_asks();
        }
        self.state = state;
        self.look();
        Ok(())
    }

    /// Ends init if the runtime and every extension have asked for an event.
    pub(super) fn look(&mut self) {
        if matches!(self.state, State::Ready | State::RestoreReady) && self.extensions.are_ready() {
            self.progress.are_ready(&self.extensions);
        }
    }

    /// Whether a call of the runtime, in the start with this number, may still wait.
    pub(super) fn is_current(&self, number: u64) -> bool {
        self.number == number && self.ended == Ended::Nothing
    }

    /// Whether a call of this extension, in the start with this number, may still wait.
    pub(super) fn is_current_for(&self, id: Uuid, number: u64) -> bool {
        self.number == number && !self.has_ended_for(id)
    }

    /// Whether the process of this extension has ended.
    pub(super) fn has_ended_for(&self, id: Uuid) -> bool {
        match self.extensions.is_external(id) {
            true => self.ended == Ended::Everything,
            false => self.ended != Ended::Nothing,
        }
    }

    /// Whether an invocation may be given out: the processes are not being ended, and every
    /// extension has asked for an event.
    pub(super) fn takes_events(&self) -> bool {
        !self.is_ending && self.extensions.are_ready()
    }
}

/// The result of a start, as the runtime reported it.
#[derive(Debug)]
pub(crate) enum Started {
    /// The runtime, and its extensions, have asked for an event or to be restored.
    Ready,
    Failed(FunctionFailure),
}

impl Broker {
    /// The processes are being ended: there is no new invocation.
    pub(crate) fn is_ending(&self) {
        self.lock().start().is_ending = true;
    }

    /// The runtime is started again for the same invocation.
    pub(crate) fn retry(&self) {
        self.lock().start().restart();
        self.changed();
    }

    /// The external extensions that registered for it are asked to end.
    pub(crate) fn shut_down_extensions(&self, shutdown: Shutdown) {
        self.lock().start().extensions.shut_down(shutdown);
        self.changed();
    }

    /// Whether the external extension of this name has registered for its shutdown.
    pub(crate) fn takes_shutdown(&self, name: &str) -> bool {
        self.lock().start().extensions.takes_shutdown(name)
    }

    /// Waits until every external extension has registered.
    pub(crate) async fn registered(&self) {
        self.until(|rules| rules.start().extensions.are_registered().then_some(())).await;
    }

    /// The runtime has ended: waits until everything that it sent before has been read. External
    /// extensions may still call.
    pub(crate) async fn hear_runtime(&self) {
        self.has_ended(Ended::Runtime);
        self.visits.none_of(None).await;
    }

    /// The external extension of this name has ended: waits until everything that it sent before
    /// has been read.
    pub(crate) async fn hear_extension(&self, name: &str) {
        let id = self.lock().start().extensions.external_id(name);
        if id.is_some() {
            self.visits.none_of(id).await;
        }
    }

    /// All processes have ended: waits until everything that they sent before has been read.
    pub(crate) async fn hear_last_words(&self) {
        self.has_ended(Ended::Everything);
        self.visits.none().await;
    }

    fn has_ended(&self, ended: Ended) {
        {
            let mut rules = self.lock();
            let start = rules.start();
            start.ended = start.ended.max(ended);
        }
        self.changed();
    }

    /// Whether the runtime must be started again before it can take an invocation.
    pub(crate) fn is_terminal(&self) -> bool {
        self.lock().start().state.is_terminal()
    }

    /// Whether there is an extension, and the runtime therefore gets SIGTERM when it is ended.
    pub(crate) fn has_extensions(&self) -> bool {
        self.lock().start().extensions.is_any()
    }

    /// Whether an internal extension has registered.
    pub(crate) fn has_internal_extensions(&self) -> bool {
        self.lock().start().extensions.is_any_internal()
    }

    /// The error type of the first extension that reported a failure.
    pub(crate) fn failed_extension(&self) -> Option<&'static str> {
        self.lock().start().extensions.failure()
    }

    /// The process of the external extension of this name cannot be started.
    pub(crate) fn cannot_launch(&self, name: &str) {
        self.lock().start().extensions.cannot_launch(name);
    }

    /// The number of the current start.
    pub(crate) fn start_number(&self) -> u64 {
        self.lock().start().number
    }

    /// Waits for the result of a start that is not made for an invocation. Init is over then.
    pub(crate) async fn started(&self) -> Started {
        self.until(|rules| {
            let start = rules.start();
            match start.state {
                State::InitError => start.failure.clone().map(Started::Failed),
                State::Ready | State::RestoreReady => {
                    start.takes_events().then_some(Started::Ready)
                }
                _ => None,
            }
        })
        .await
    }

    /// Init begins.
    pub(crate) fn begin_init(&self, phase: Phase) {
        self.lock().start().progress.begin_init(phase);
    }

    /// The processes were started at this time.
    pub(crate) fn has_started(&self, at: Instant) {
        self.lock().start().progress.has_started(at);
    }

    /// Init or the restore has failed, unless it is over. Without a duration, it is the time until
    /// now.
    pub(crate) fn fail_start(&self, outcome: &Outcome, took: Option<Duration>) {
        let mut rules = self.lock();
        let Start { progress, extensions, .. } = rules.start();
        progress.fail(outcome, took, extensions);
    }

    /// How long init or the restore took that ended last, if one did.
    pub(crate) fn start_took(&self) -> Option<Duration> {
        self.lock().start().progress.took()
    }

    /// When the init began that is not over.
    pub(crate) fn init_began(&self) -> Option<Instant> {
        self.lock().start().progress.init_began()
    }

    /// Waits for the end of an init that succeeds.
    pub(crate) async fn initialized(&self) {
        self.until(|rules| rules.start().progress.is_initialized().then_some(())).await;
    }

    /// Whether an extension gets invocations.
    pub(crate) fn has_extensions_that_are_invoked(&self) -> bool {
        self.lock().start().extensions.are_any_invoked()
    }

    /// The name of the extension with this id.
    pub(crate) fn extension_name(&self, id: Uuid) -> Option<String> {
        self.lock().start().extensions.name(id)
    }

    /// The error that the runtime reported when it could not start, if it reported one.
    pub(crate) fn start_failure(&self) -> Option<FunctionFailure> {
        self.lock().start().failure.clone()
    }

    /// Waits until the runtime has got the invocation.
    pub(crate) async fn delivered(&self, invocation: &Invocation) {
        self.until(|_| invocation.delivered.get().map(drop)).await;
    }

    /// Waits until each extension has asked for its next event.
    pub(crate) async fn settled(&self) {
        self.until(|rules| rules.start().extensions.are_ready().then_some(())).await;
    }

    /// `restore/next`: waits to be restored.
    pub(crate) async fn restore_next(&self) -> Result<(), Refusal> {
        let number = {
            let mut rules = self.lock();
            rules.start().call(Call::RestoreNext)?;
            rules.start().number
        };
        self.changed();
        self.until(|rules| match rules.start() {
            start if !start.is_current(number) => Some(Err(Refusal::Internal)),
            start => (start.state == State::Restoring).then_some(Ok(())),
        })
        .await
    }

    /// A restore begins. If the runtime does not wait for that, it is over immediately.
    ///
    /// Source: emulator, `rapid/handlers.go`, `handleRestore`.
    pub(crate) fn begin_restore(&self) {
        let mut rules = self.lock();
        let Start { state, progress, .. } = rules.start();
        progress.begin_restore();
        if *state != State::RestoreReady {
            progress.runtime_asks();
        }
    }

    /// Restores the runtime, if it waits for that. Returns whether it does.
    pub(crate) fn restore(&self) -> bool {
        let mut rules = self.lock();
        let start = rules.start();
        let waits = start.state == State::RestoreReady;
        if waits {
            start.state = State::Restoring;
        }
        drop(rules);
        self.changed();
        waits
    }

    /// `init/error` or `restore/error`: the runtime cannot start. Returns the ids of the
    /// invocations that it was started or restored for.
    pub(crate) fn start_error(&self, call: Call) -> Result<Vec<String>, Refusal> {
        self.lock().start_error(call)
    }

    /// Keeps an error that the runtime reported when there was no invocation to receive it.
    pub(crate) fn keep_failure(&self, failure: FunctionFailure) {
        self.lock().start().failure.get_or_insert(failure);
        self.changed();
    }

    /// Cuts all connections that are open now. A connection that waits for the reply to
    /// `restore/next` still gets that reply.
    pub(crate) fn cut_connections(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How often all connections have been cut.
    pub(crate) fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    /// Makes every waiting task check its condition again.
    pub(super) fn changed(&self) {
        self.asked.notify_waiters();
        self.changes.notify_waiters();
    }

    /// Waits until `look` returns a value.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&mut dyn Rules) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changes.notified());
            // Registered before the check below, so that no change after it is missed.
            changed.as_mut().enable();
            if let Some(found) = look(&mut **self.lock()) {
                return found;
            }
            changed.await;
        }
    }
}
