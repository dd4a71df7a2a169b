//! One start of a runtime: the state that both kinds of rules share, and the events that the
//! environment waits for.

use std::pin::pin;

use tokio::sync::watch;

use super::extensions::Extensions;
use super::{Broker, Rules};
use crate::answer::FunctionFailure;
use crate::invocation::Invocation;
use crate::machine::{Call, State};
use crate::refusal::Refusal;

/// A start of a runtime, and how far that one is.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) state: State,
    /// One for each start.
    pub(super) number: u64,
    pub(super) extensions: Extensions,
    /// The process is being ended: it is given nothing more, but may still say something.
    is_ending: bool,
    /// The process has ended, and nobody waits for anything any more.
    has_ended: bool,
    /// Why it could not start, if it said so before there was an invocation to tell it to.
    failure: Option<FunctionFailure>,
}

impl Start {
    pub(super) fn new() -> Self {
        Self {
            state: State::Started,
            number: 0,
            extensions: Extensions::default(),
            is_ending: false,
            has_ended: false,
            failure: None,
        }
    }

    /// The next one.
    pub(super) fn anew(&mut self) {
        *self = Self { number: self.number + 1, ..Self::new() };
    }

    /// A call, if it is in order; with the first event that is asked for, registration is closed.
    pub(super) fn call(&mut self, call: Call) -> Result<(), Refusal> {
        let state = self.state.after(call)?;
        if matches!(call, Call::Next | Call::RestoreNext) {
            if self.has_ended {
                return Err(Refusal::Internal);
            }
            self.extensions.close();
        }
        self.state = state;
        Ok(())
    }

    /// Whether those who asked in this start may still wait.
    pub(super) fn is_current(&self, number: u64) -> bool {
        self.number == number && !self.has_ended
    }

    /// Whether an event may be given out: everyone has asked for one.
    pub(super) fn takes_events(&self) -> bool {
        !self.is_ending && self.extensions.are_ready()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// How a start came out, as far as the runtime said.
#[derive(Debug)]
pub(crate) enum Started {
    /// The runtime, and its extensions, have asked for an event or to be restored.
    Ready,
    Failed(FunctionFailure),
}

impl Broker {
    /// The process is being ended: it is given no event any more.
    pub(crate) fn is_ending(&self) {
        self.lock().start().is_ending = true;
    }

    /// The start is done once more, for the invocation that is there.
    pub(crate) fn retry(&self) {
        self.lock().start().anew();
        self.changed();
    }

    /// Waits until everything has been heard that the runtime said before it ended.
    pub(crate) async fn hear_last_words(&self) {
        self.lock().start().has_ended = true;
        self.changed();
        // It fails if the sender is gone, which is `self`.
        let _ = self.visits.subscribe().wait_for(|visits| *visits == 0).await;
    }

    /// Whether the runtime must be started again before it can take an invocation.
    pub(crate) fn is_terminal(&self) -> bool {
        self.lock().start().state.is_terminal()
    }

    /// Whether the process has registered an extension, which is what it gets SIGTERM for.
    pub(crate) fn has_extensions(&self) -> bool {
        self.lock().start().extensions.is_any()
    }

    /// What an extension has reported that cannot go on.
    pub(crate) fn failed_extension(&self) -> Option<&'static str> {
        self.lock().start().extensions.failure()
    }

    /// Waits until a start has come out, for which there is no invocation yet.
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

    /// What the runtime said of a start that has failed, if it said something.
    pub(crate) fn start_failure(&self) -> Option<FunctionFailure> {
        self.lock().start().failure.clone()
    }

    /// Waits until the runtime has got the invocation.
    pub(crate) async fn delivered(&self, invocation: &Invocation) {
        self.until(|_| invocation.delivered.get().map(drop)).await;
    }

    /// Waits until each extension that gets invocations has asked for the next.
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

    /// Restores the runtime, if it waits for that. Gives whether it does.
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

    /// `init/error` or `restore/error`: the runtime cannot start. Gives the ids of the invocations that
    /// it was started for, or restored.
    pub(crate) fn start_error(&self, call: Call) -> Result<Vec<String>, Refusal> {
        self.lock().start_error(call)
    }

    /// What it reported, with no invocation to tell it to.
    pub(crate) fn keep_failure(&self, failure: FunctionFailure) {
        self.lock().start().failure.get_or_insert(failure);
        self.changed();
    }

    /// All connections that there are now are dead, but for those that are told so by their answer.
    pub(crate) fn cut_connections(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How often all connections have been cut.
    pub(crate) fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    /// Tells all who wait for something to look again.
    pub(super) fn changed(&self) {
        self.asked.notify_waiters();
        self.changes.notify_waiters();
    }

    /// Waits until there is something to give.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&mut dyn Rules) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changes.notified());
            // From here on: what comes behind the look must not be missed.
            changed.as_mut().enable();
            if let Some(found) = look(&mut **self.lock()) {
                return found;
            }
            changed.await;
        }
    }
}
