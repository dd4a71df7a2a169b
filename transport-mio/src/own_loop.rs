//! A loop for programs that have none.

use std::io;
use std::sync::Arc;
use std::time::Instant;

#[cfg(any(feature = "log", feature = "tracing"))]
use lambda_proto_host::current;
use lambda_proto_host::{Error, Failure, Settings, catch};
use mio::{Events, Poll, Token, Waker};

use crate::Receipt;
use crate::event::Event;
use crate::invocation::Invocation;
use crate::responder::Responder;
use crate::sent::Sent;
use crate::slots::{Plan, Slots};

pub(crate) struct Loop {
    poll: Poll,
    events: Events,
    slots: Slots,
}

impl Loop {
    pub(crate) fn new(plan: Plan) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::Poll)?;
        let waker = Waker::new(poll.registry(), Token(plan.settings.slots)).map_err(Error::Poll)?;
        let waker = Arc::new(waker);
        let slots = Slots::new(plan, poll.registry(), Token(0), waker, true)?;
        Ok(Self { poll, events: Events::with_capacity(1024), slots })
    }

    /// A loop with one slot for the calls before the first invocation; the plan's handle stops it.
    pub(crate) fn of_start(plan: &Plan) -> Result<Self, Error> {
        let settings = Settings { slots: 1, ..plan.settings.clone() };
        Self::new(Plan { settings, max_pooled: 0, stop: plan.stop.clone(), active: None })
    }

    /// Calls the handler for every invocation until the slots have ended.
    pub(crate) fn run(
        mut self,
        mut handler: impl FnMut(Invocation, Responder) -> Result<Sent, Failure>,
    ) -> Result<(), Error> {
        self.slots.begin();
        loop {
            match self.event()? {
                Event::Invocation(invocation, responder) => {
                    let key = invocation.key();
                    let handled = catch(|| {
                        #[cfg(any(feature = "log", feature = "tracing"))]
                        let _until_it_returns = current::begin(invocation.request_id());
                        handler(invocation, responder)
                    });
                    self.slots.handled(key, handled);
                }
                Event::Ended(result) => return result,
                Event::Settled { .. } | Event::Writable { .. } | Event::CancellationDue { .. } => {}
            }
        }
    }

    /// Reports that the function could not start, and waits until that is done.
    pub(crate) fn fail_init(mut self, failure: &Failure) -> Result<(), Error> {
        self.slots.fail_init(&failure.as_error_report());
        self.end()
    }

    /// Tells the service that it may take the snapshot, and waits for the restore; `None` if the
    /// slot was stopped before it.
    pub(crate) fn restore_next(&mut self) -> Result<Option<Receipt>, Error> {
        self.slots.restore_next();
        loop {
            match self.event()? {
                Event::Settled { receipt, .. } => return Ok(Some(receipt)),
                Event::Ended(result) => return result.map(|()| None),
                Event::Invocation(..) | Event::Writable { .. } | Event::CancellationDue { .. } => {}
            }
        }
    }

    /// Reports that the function could not resume, and waits until that is done.
    pub(crate) fn fail_restore(mut self, failure: &Failure) -> Result<(), Error> {
        self.slots.fail_restore(&failure.as_error_report());
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        loop {
            if let Event::Ended(result) = self.event()? {
                return result;
            }
        }
    }

    /// Waits for the next event of the slots.
    fn event(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.slots.next_event(Instant::now()) {
                return Ok(event);
            }
            let timeout =
                self.slots.next_timeout().map(|at| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut self.events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Error::Poll(error));
                }
                _ => {}
            }
            let now = Instant::now();
            for event in &self.events {
                self.slots.handle_event(event, now);
            }
            self.slots.handle_timeout(now);
        }
    }
}
