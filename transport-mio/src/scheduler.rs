//! The scheduler: the state that the slots of one loop share.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lambda_proto::client::{Outage, Warning};
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::{Active, Error, Settings};
use mio::{Registry, Token};

use crate::command_queue::{CommandQueue, Next};
use crate::dialer::{AfterFailure, Dialer};
use crate::event::Event;
use crate::timers::Timers;

pub(crate) struct Scheduler {
    pub(crate) settings: Settings,
    /// The state that the invocations share; only with a lifecycle.
    pub(crate) active: Option<Arc<Active>>,
    pub(crate) registry: Registry,
    /// One for each slot, and one for the waker if the slots have their own.
    pub(crate) tokens: Range<usize>,
    pub(crate) queue: Arc<CommandQueue>,
    pub(crate) dialer: Dialer,
    /// The time that the program passed last.
    pub(crate) now: Instant,
    /// When each slot must be driven, even without an event.
    pub(crate) timers: Timers,
    /// Slots with more work than fits into one turn.
    pub(crate) unfinished: VecDeque<usize>,
    outage: Outage,
    /// Slots that have not ended.
    pub(crate) live: usize,
    life: Life,
    /// The state that all slots have been told.
    known: Life,
    /// Slots that wait for the result of another slot may connect themselves.
    pub(crate) look_again: bool,
    pub(crate) is_told_of_losses: bool,
    pub(crate) cancelling: Cancelling,
    result: Result<(), Error>,
    out: VecDeque<Event>,
}

/// How close the slots are to their end. It only advances.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Running,
    /// The slots ask for no more invocations.
    Stopping,
    /// There is no service: everything ends now.
    Over,
}

/// Which cancellations the program is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelling {
    /// None: there is no lifecycle, or the loop ignores the events.
    Untold,
    /// The cancellation of each invocation, when it is due.
    Each,
    /// The cancellation of every invocation immediately, since the process must end.
    All,
}

/// News that one slot has found and all slots must know.
pub(crate) enum News {
    /// There is no service: everything ends now.
    Over,
    /// The slots ask for no more invocations.
    Stop,
    /// Slots that wait for the result of another slot may connect.
    LookAgain,
}

impl Scheduler {
    pub(crate) fn new(
        settings: Settings,
        active: Option<Arc<Active>>,
        registry: Registry,
        tokens: Range<usize>,
        queue: Arc<CommandQueue>,
        dialer: Dialer,
        now: Instant,
    ) -> Self {
        let slots = settings.slots;
        Self {
            settings,
            active,
            registry,
            tokens,
            queue,
            dialer,
            now,
            timers: Timers::new(slots),
            unfinished: VecDeque::with_capacity(slots),
            outage: Outage::default(),
            live: slots,
            life: Life::Running,
            known: Life::Running,
            look_again: false,
            is_told_of_losses: false,
            cancelling: Cancelling::Untold,
            result: Ok(()),
            // For each slot, an invocation and the receipt of the previous answer.
            out: VecDeque::with_capacity(2 * slots + 1),
        }
    }

    pub(crate) fn token(&self, slot: usize) -> Token {
        Token(self.tokens.start + slot)
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.out.push_back(event);
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.out.pop_front()
    }

    pub(crate) fn peek(&self) -> Option<&Event> {
        self.out.front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Where warnings go.
    pub(crate) fn tell(&self) -> impl FnMut(&Warning<'_>) {
        |warning| self.settings.log.warning(warning)
    }

    /// Notes that a slot has a connection; returns the length of the outage, if that was logged.
    pub(crate) fn connected(&mut self) -> Option<Duration> {
        self.outage.connected();
        self.look_again |= self.dialer.is_down();
        self.dialer.reached(self.now)
    }

    pub(crate) fn lost_connection(&mut self) {
        self.outage.lost(clock::monotonic(self.now));
    }

    /// Notes that an attempt of a slot, which began at `began`, has failed.
    pub(crate) fn failed_to_connect(
        &mut self,
        slot: usize,
        began: Instant,
        reason: io::Error,
    ) -> AfterFailure {
        self.outage.failed(clock::monotonic(began));
        let lasted = self.outage.lasted(clock::monotonic(self.now));
        // Unlimited while another slot has a connection.
        let left =
            lasted.map_or(Duration::MAX, |lasted| self.settings.patience.saturating_sub(lasted));
        self.dialer.failed(slot, began, left, reason)
    }

    /// Whether the next invocation may be asked for together with an answer; not while registered
    /// work is running, which the freeze would stop.
    pub(crate) fn may_pipeline(&self, next: Next) -> bool {
        next == Next::Pipelined && !self.is_stopping() && !self.has_work()
    }

    fn has_work(&self) -> bool {
        self.settings.slots == 1
            && self.active.as_ref().is_some_and(|active| active.tasks.outstanding() > 0)
    }

    /// Stops asking for invocations.
    pub(crate) fn stop(&mut self) {
        self.life = self.life.max(Life::Stopping);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.life != Life::Running
    }

    /// Notes that a slot has ended. An error ends the others once they have answered.
    pub(crate) fn slot_is_done(&mut self, error: Option<Error>) {
        if let Some(error) = error {
            self.stop();
            self.fail(error);
        }
        self.live -= 1;
        if self.live == 0 {
            let result = std::mem::replace(&mut self.result, Ok(()));
            self.push(Event::Ended(result));
        }
    }

    /// Takes the next news that every slot must know, if there is any.
    pub(crate) fn take_news(&mut self) -> Option<News> {
        if std::mem::replace(&mut self.known, self.life) < self.life {
            return Some(if self.life == Life::Over { News::Over } else { News::Stop });
        }
        std::mem::take(&mut self.look_again).then_some(News::LookAgain)
    }

    /// Ends everything and returns `true` if there was no connection for longer than the patience.
    pub(crate) fn gives_up(&mut self) -> bool {
        let lasted = self.outage.lasted(clock::monotonic(self.now));
        let Some(waited) = lasted.filter(|lasted| *lasted >= self.settings.patience) else {
            return false;
        };
        let Some(reason) = self.dialer.give_up() else { return false };
        self.fail(self.settings.unreachable(waited, reason));
        self.life = Life::Over;
        true
    }

    /// Sets the error with which all slots end, unless there was an error before.
    pub(crate) fn fail(&mut self, error: Error) {
        if self.result.is_ok() {
            self.result = Err(error);
        }
    }
}
