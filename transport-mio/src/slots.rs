use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lambda_proto::api::ErrorReport;
use lambda_proto_host::{Active, Error, Failure, Level, NO_RESPONSE, Settings, Started};
use mio::{Registry, Token, Waker, event};

use crate::command_queue::{Command, CommandQueue, Key, Taken};
use crate::dialer::Dialer;
use crate::event::Event;
use crate::pool::Pool;
use crate::scheduler::{Cancelling, News, Scheduler};
use crate::sent::Sent;
use crate::slot::{Slot, refuse};
use crate::stop::StopHandle;

/// The slots of a runtime in the program's own event loop.
///
/// In each turn the program polls with [`next_timeout`](Self::next_timeout), passes every event of
/// the [tokens](Self::tokens) to [`handle_event`](Self::handle_event), calls
/// [`handle_timeout`](Self::handle_timeout), and then takes events from
/// [`next_event`](Self::next_event) until there are no more. None of these calls blocks. Only slots
/// with a lifecycle read the clocks, when an invocation arrives.
///
/// ```no_run
/// use std::io::ErrorKind;
/// use std::time::Instant;
/// use lambda_proto_mio::{Event, Runtime};
/// use mio::{Events, Poll, Token};
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(64);
/// let mut slots = Runtime::from_env()?.register(poll.registry(), Token(100))?;
/// loop {
///     while let Some(event) = slots.next_event(Instant::now()) {
///         match event {
///             Event::Invocation(invocation, responder) => {
///                 responder.send(invocation.body());
///             }
///             Event::Ended(result) => return Ok(result?),
///             _ => {}
///         }
///     }
///     let timeout = slots.next_timeout().map(|at| at.saturating_duration_since(Instant::now()));
///     match poll.poll(&mut events, timeout) {
///         Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
///         _ => {}
///     }
///     let now = Instant::now();
///     for event in &events {
///         if slots.handle_event(event, now) {
///             continue;
///         }
///         // One of the program's own sockets.
///     }
///     slots.handle_timeout(now);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A loop of another library watches the file descriptor of a `mio::Poll` that holds the slots:
/// when that is readable, or at `next_timeout`, it does such a turn with a timeout of zero.
///
/// Slots with a [lifecycle](crate::Runtime::lifecycle) emit an [`Event::CancellationDue`] when the
/// time of an invocation is nearly over, and are [finished](Self::finish) after [`Event::Ended`].
///
/// If the slots are dropped before [`Event::Ended`], they end immediately, and so do their
/// invocations in flight; responders that still exist then do nothing. Dropping slots that have not
/// been finished runs the shutdown hooks, whose failures are only logged then.
pub struct Slots {
    slots: Vec<Slot>,
    scheduler: Scheduler,
    /// Commands taken out of the queue.
    taken: VecDeque<(Key, Command)>,
    /// How many more commands may be taken in this turn.
    budget: usize,
    /// The lifecycle that ends with the slots.
    started: Option<Started>,
}

/// The settings from which slots are made.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    /// Bytes that the pool keeps for later.
    pub(crate) max_pooled: usize,
    pub(crate) stop: StopHandle,
    /// Only with a lifecycle.
    pub(crate) active: Option<Arc<Active>>,
}

impl Slots {
    /// Slots whose tokens begin with `first`; `own_waker` takes one more.
    pub(crate) fn new(
        plan: Plan,
        registry: &Registry,
        first: Token,
        waker: Arc<Waker>,
        own_waker: bool,
    ) -> Result<Self, Error> {
        let Plan { settings, max_pooled, stop, active } = plan;
        let slots = settings.slots;
        let dialer = Dialer::new(&settings.endpoint)
            .map_err(|reason| settings.unreachable(Duration::ZERO, reason))?;
        let registry = registry.try_clone().map_err(Error::Poll)?;
        let pool = Arc::new(Pool::new(max_pooled, slots));
        let queue = Arc::new(CommandQueue::new(slots, waker, pool));
        stop.attach(&queue);
        if let Some(active) = &active {
            let queue = Arc::downgrade(&queue);
            active.tasks.set_waker(move || {
                if let Some(queue) = queue.upgrade() {
                    queue.work_is_over();
                }
            });
        }
        let tokens = first.0..first.0 + slots + usize::from(own_waker);
        // Read here, because resolving the address may have taken long.
        let now = Instant::now();
        let scheduler = Scheduler::new(settings, active, registry, tokens, queue, dialer, now);
        Ok(Self {
            slots: (0..slots).map(|number| Slot::new(number, &scheduler)).collect(),
            scheduler,
            taken: VecDeque::with_capacity(2 * slots),
            budget: budget(slots),
            started: None,
        })
    }

    /// The same slots with a lifecycle, which they end, and with events for cancellations.
    pub(crate) fn with_started(mut self, started: Option<Started>) -> Self {
        if let Some(Started { active, .. }) = &started {
            self.scheduler.cancelling = Cancelling::Each;
            let queue = Arc::downgrade(&self.scheduler.queue);
            active.on_cancel(move || {
                if let Some(queue) = queue.upgrade() {
                    queue.cancel();
                }
            });
        }
        self.started = started;
        self
    }

    /// Asks for invocations in all slots.
    pub(crate) fn begin(&mut self) {
        self.each_slot(Slot::drive);
    }

    /// Reports on the first slot that the function could not start.
    pub(crate) fn fail_init(&mut self, report: &ErrorReport<'_>) {
        self.slots[0].fail_init(report, &mut self.scheduler);
        self.settle();
    }

    /// Tells the service on the first slot that it may take the snapshot. [`Event::Settled`]
    /// reports the restore; no invocation is asked for after it.
    pub(crate) fn restore_next(&mut self) {
        self.slots[0].restore_next(&mut self.scheduler);
        self.settle();
    }

    /// Reports on the first slot that the function could not resume.
    pub(crate) fn fail_restore(&mut self, report: &ErrorReport<'_>) {
        self.slots[0].fail_restore(report, &mut self.scheduler);
        self.settle();
    }

    /// The tokens whose events belong to the slots.
    pub fn tokens(&self) -> Range<usize> {
        self.scheduler.tokens.clone()
    }

    /// Handles an event of the poll at time `now`; `false` if its token does not belong to the
    /// slots.
    pub fn handle_event(&mut self, event: &event::Event, now: Instant) -> bool {
        let token = event.token().0;
        if !self.scheduler.tokens.contains(&token) {
            return false;
        }
        self.scheduler.now = now;
        if let Some(slot) = self.slots.get_mut(token - self.scheduler.tokens.start) {
            slot.handle_event(event, &mut self.scheduler);
            self.settle();
        }
        true
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest, if at all. Ask before
    /// every poll: the time may be now, if there was more to do than fits into one turn.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.budget == 0 || !self.scheduler.unfinished.is_empty() {
            return Some(self.scheduler.now);
        }
        self.scheduler.timers.earliest()
    }

    /// Does what is due at time `now`. Call it in every turn, since a turn begins here; extra calls
    /// do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.scheduler.now = now;
        self.budget = budget(self.slots.len());
        // A slot has two timers at most. A timer that is set again and due immediately waits for
        // the next turn.
        for _ in 0..2 * self.slots.len() {
            let Some(number) = self.scheduler.timers.due(now) else { break };
            self.slots[number].handle_timer(&mut self.scheduler);
        }
        for _ in 0..self.scheduler.unfinished.len() {
            if let Some(number) = self.scheduler.unfinished.pop_front() {
                self.slots[number].go_on(&mut self.scheduler);
            }
        }
        self.settle();
    }

    /// The next event at time `now`; on `None` the program may poll.
    pub fn next_event(&mut self, now: Instant) -> Option<Event> {
        self.scheduler.now = now;
        loop {
            while self.budget > 0 {
                match self.scheduler.queue.take(&mut self.taken, self.scheduler.is_empty()) {
                    Taken::Commands => {
                        self.budget = self.budget.saturating_sub(self.taken.len());
                        while let Some((key, command)) = self.taken.pop_front() {
                            self.slots[key.slot].apply(key, command, &mut self.scheduler);
                        }
                    }
                    Taken::Stop => self.scheduler.stop(),
                    Taken::WorkOver => {
                        self.slots
                            .iter_mut()
                            .for_each(|slot| slot.work_is_over(&mut self.scheduler));
                    }
                    Taken::Cancelled => {
                        self.scheduler.cancelling = Cancelling::All;
                        self.slots.iter_mut().for_each(|slot| slot.cancel(&mut self.scheduler));
                    }
                    Taken::Nothing => break,
                }
                self.settle();
            }
            match self.scheduler.peek() {
                // The invocation has been answered since.
                Some(Event::CancellationDue { key })
                    if !self.slots[key.slot].is_unanswered(*key) =>
                {
                    self.scheduler.pop();
                }
                _ => return self.scheduler.pop(),
            }
        }
    }

    /// Ends the [lifecycle](crate::Runtime::lifecycle) of the slots, if they have one: runs the
    /// shutdown hooks, lets registered work end at the same time, and reports the work that is
    /// left. Call it after [`Event::Ended`] and before `main` returns. Slots that have not ended
    /// end immediately, as when they are dropped.
    ///
    /// It blocks until the hooks and the work have ended, but no longer than the
    /// [`Options`](crate::Options) allow. Work that the program's loop does itself has to end
    /// before the call. If a signal has arrived and the time for the invocations in flight was over
    /// before this call, the hooks run on another thread, which exits the process; then this call
    /// does not return.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`] if hooks failed or did not end, which has been logged.
    pub fn finish(mut self) -> Result<(), Error> {
        let started = self.started.take();
        drop(self);
        started.map_or(Ok(()), Started::finish)
    }

    /// A handle that stops the slots, from any thread.
    pub fn stop_handle(&self) -> StopHandle {
        let stop = StopHandle::default();
        stop.attach(&self.scheduler.queue);
        stop
    }

    /// Handles the result of a handler, before the next event is taken.
    pub(crate) fn handled(&self, key: Key, result: Result<Sent, Failure>) {
        let log = &self.scheduler.settings.log;
        let failure = match result {
            Ok(sent) if sent.key() == key => return,
            Ok(_) => {
                let line = "the handler returned the proof of another invocation";
                log.error(format_args!("slot {}: {line}", key.slot));
                Failure::new(NO_RESPONSE, line)
            }
            Err(failure) => failure,
        };
        if let Err(failure) = self.scheduler.queue.fail(key, failure) {
            let failure = self.scheduler.settings.error_types.named(failure);
            let what = format_args!("a handler failed after its invocation was answered");
            log.failure(Level::Warn, "", what, &failure);
        }
    }

    fn each_slot(&mut self, mut act: impl FnMut(&mut Slot, &mut Scheduler)) {
        self.slots.iter_mut().for_each(|slot| act(slot, &mut self.scheduler));
        self.settle();
    }

    /// Passes the news that one slot has found to all slots.
    fn settle(&mut self) {
        while let Some(news) = self.scheduler.take_news() {
            let act = match news {
                News::Over => Slot::shut_down,
                News::Stop => Slot::drive,
                News::LookAgain => Slot::look_again,
            };
            self.slots.iter_mut().for_each(|slot| act(slot, &mut self.scheduler));
        }
    }
}

/// The most commands taken in one turn: a few for each slot, so that writers of streams cannot
/// starve the rest of the program.
fn budget(slots: usize) -> usize {
    4 * slots + 64
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.scheduler.stop();
        // Writers that wait for room must not wait forever.
        self.each_slot(Slot::shut_down);
        while !matches!(self.scheduler.queue.take(&mut self.taken, false), Taken::Nothing) {
            self.taken.drain(..).for_each(|(key, command)| refuse(key, command, &self.scheduler));
        }
        // The process may end after this.
        self.scheduler.settings.log.flush();
        if let Some(started) = self.started.take() {
            // Failures of the hooks are in the log.
            let _logged = started.finish();
        }
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("tokens", &self.tokens()).finish_non_exhaustive()
    }
}
