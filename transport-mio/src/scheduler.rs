//! What the slots of one loop have in common.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use lambda_proto::client::Warning;
use lambda_proto_host::{Active, Error, Settings};
use mio::{Registry, Token};

use crate::command_queue::{CommandQueue, Next};
use crate::dialer::Dialer;
use crate::event::Event;

pub(crate) struct Scheduler {
    pub(crate) settings: Settings,
    /// What the invocations of a runtime with a lifecycle share.
    pub(crate) active: Option<Arc<Active>>,
    pub(crate) registry: Registry,
    /// One for each slot, and one for the waker if that is the slots' own.
    pub(crate) tokens: Range<usize>,
    pub(crate) queue: Arc<CommandQueue>,
    pub(crate) dialer: Dialer,
    /// The time, as the host has told it last.
    pub(crate) now: Instant,
    /// Slots with a timer, and some that had one.
    pub(crate) armed: Vec<usize>,
    /// Slots that have more to do than fits one turn.
    pub(crate) unfinished: VecDeque<usize>,
    /// Slots with a connection.
    pub(crate) connections: usize,
    /// Slots that have not ended.
    pub(crate) live: usize,
    life: Life,
    /// What all slots have heard of.
    known: Life,
    /// Slots that wait for the service may look for it themselves.
    pub(crate) look_again: bool,
    pub(crate) is_told_of_losses: bool,
    result: Result<(), Error>,
    out: VecDeque<Event>,
}

/// How near the slots are to their end. It never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Running,
    /// Nothing more is asked for.
    Stopping,
    /// There is no service: everything ends now.
    Over,
}

/// What one slot has found and all of them have to hear of.
pub(crate) enum News {
    /// There is no service: everything ends now.
    Over,
    /// Nothing more is asked for.
    Stop,
    /// Those that wait for the service may look for it.
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
            armed: Vec::with_capacity(slots),
            unfinished: VecDeque::with_capacity(slots),
            connections: 0,
            live: slots,
            life: Life::Running,
            known: Life::Running,
            look_again: false,
            is_told_of_losses: false,
            result: Ok(()),
            // An invocation and the fate of the one before, from each.
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

    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Whom kind is told.
    pub(crate) fn tell(&self) -> impl FnMut(&Warning<'_>) {
        |warning| self.settings.log.warning(warning)
    }

    pub(crate) fn lost_connection(&mut self) {
        self.connections -= 1;
        if self.connections == 0 {
            self.dialer.nothing_is_left(self.now);
        }
    }

    /// Whether the next invocation may be asked for together with an answer: not while work goes on that
    /// the freeze would stop.
    pub(crate) fn may_pipeline(&self, next: Next) -> bool {
        next == Next::Pipelined && !self.is_stopping() && !self.has_work()
    }

    fn has_work(&self) -> bool {
        self.settings.slots == 1
            && self.active.as_ref().is_some_and(|active| active.tasks.outstanding() > 0)
    }

    /// Nothing more is asked for.
    pub(crate) fn stop(&mut self) {
        self.life = self.life.max(Life::Stopping);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.life != Life::Running
    }

    /// A slot has ended. An error ends the others, when they have answered what is in hand.
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

    /// What every slot has to hear of, if anything.
    pub(crate) fn take_news(&mut self) -> Option<News> {
        if std::mem::replace(&mut self.known, self.life) < self.life {
            return Some(if self.life == Life::Over { News::Over } else { News::Stop });
        }
        std::mem::take(&mut self.look_again).then_some(News::LookAgain)
    }

    /// Whether there has been no connection for longer than anybody waits: everything ends then.
    pub(crate) fn gives_up(&mut self) -> bool {
        if self.connections > 0 {
            return false;
        }
        let Some((waited, reason)) = self.dialer.give_up(self.now, self.settings.patience) else {
            return false;
        };
        self.fail(self.settings.unreachable(waited, reason));
        self.life = Life::Over;
        true
    }

    /// This is what all slots end with, unless there was an error before.
    pub(crate) fn fail(&mut self, error: Error) {
        if self.result.is_ok() {
            self.result = Err(error);
        }
    }
}
