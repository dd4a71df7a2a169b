//! Telemetry: what the extensions of an environment are told about it.
//!
//! ```text
//!  events of the platform ─┐             ┌─ Buffer ── Delivery ── Outlet ── HTTP to an extension
//!                          ├─ Telemetry ─┤
//!  lines of output ── Lines┘   └─ replay └─ Buffer ── Delivery ── Outlet ── TCP to another one
//! ```
//!
//! Telling an event never waits. Each subscription has a buffer of a fixed size, and a task
//! that delivers it. What does not fit is dropped, counted, and the count delivered.

mod buffer;
mod delivery;
mod event;
mod lines;
mod outlet;
mod pace;
mod platform;
mod replay;
mod schema;
mod subscription;
mod time;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock::Clock;
use crate::log::LogStream;
use crate::refusal::SubscriptionRefusal;
use crate::settings::Settings;
use delivery::Delivery;
use event::{Event, Line, What};
use outlet::Outlet;
use pace::Pace;
use platform::Facts;
use replay::Replay;
use subscription::{Rules, Subscription};

pub(crate) use lines::Lines;
pub(crate) use platform::{Outcome, Phase, Platform, RESTORE_TIMEOUT, Request, Span, of_extension};
pub(crate) use schema::Api;

/// What the extensions of one environment are told about it.
#[derive(Debug)]
pub(crate) struct Telemetry {
    facts: Facts,
    rules: Rules,
    clock: Clock,
    log: Arc<LogStream>,
    /// Whether the function logs JSON.
    is_json: bool,
    /// Whether there is telemetry at all.
    is_on: bool,
    /// Whether an event would be of use now.
    is_heard: AtomicBool,
    is_frozen: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Whether extensions may subscribe.
    is_open: bool,
    replay: Replay,
    subscribers: Vec<Subscriber>,
    /// The invocation that runs, if it is the only one.
    request_id: Option<Arc<str>>,
}

#[derive(Debug)]
struct Subscriber {
    id: Uuid,
    subscription: Subscription,
    delivery: Delivery,
}

/// How long an extension that the lab has not started is delivered to after its start is over: as
/// long as a shutdown takes.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whose output it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Function,
    Extension,
}

impl Telemetry {
    /// `runtime_api` is the port of the environment's Runtime API.
    pub(crate) fn new(
        settings: &Settings,
        runtime_api: u16,
        clock: Clock,
        log: Arc<LogStream>,
    ) -> Self {
        let is_managed = settings.concurrency.is_some();
        let facts = Facts {
            name: settings.name.clone(),
            memory: settings.memory,
            initialization_type: settings.initialization_type(),
            instance_id: settings.log_stream(),
            is_managed,
        };
        let telemetry = Self {
            facts,
            rules: Rules { is_managed, runtime_api },
            clock,
            log,
            is_json: settings.logs_json(),
            is_on: settings.has_telemetry,
            is_heard: AtomicBool::new(false),
            is_frozen: watch::Sender::new(false),
            state: Mutex::new(State {
                is_open: true,
                replay: Replay::default(),
                subscribers: Vec::new(),
                request_id: None,
            }),
        };
        telemetry.update(&telemetry.lock());
        telemetry
    }

    /// Tells an event, which has happened now.
    pub(crate) fn platform(&self, event: Platform) {
        if !self.is_on {
            return;
        }
        let mut state = self.lock();
        match &event {
            Platform::Start(request) if !self.facts.is_managed => {
                state.request_id = Some(request.id.as_str().into());
            }
            Platform::Report { .. } => state.request_id = None,
            _ => {}
        }
        self.tell(&mut state, What::Platform(event));
    }

    /// Tells a line of output, which is given without its line end.
    pub(crate) fn output(&self, source: Source, line: &[u8]) {
        if !self.hears_output() {
            return;
        }
        let mut state = self.lock();
        let request_id = state.request_id.clone();
        let line = Line::new(source, line.to_vec(), request_id, self.is_json);
        self.tell(&mut state, What::Line(line));
    }

    /// Whether an extension has subscribed.
    pub(crate) fn has_subscribers(&self) -> bool {
        !self.lock().subscribers.is_empty()
    }

    /// Whether anybody gets the output, or may still ask for it.
    pub(crate) fn hears_output(&self) -> bool {
        self.is_heard.load(Relaxed)
    }

    /// A new start: subscriptions of an earlier one are void, and extensions may subscribe.
    ///
    /// Extensions that the lab has not started may still run. They get what waits for them, within
    /// [`FAREWELL`].
    pub(crate) fn start_anew(&self) {
        self.thaw();
        let mut state = self.lock();
        state.is_open = true;
        state.replay = Replay::default();
        let subscribers = std::mem::take(&mut state.subscribers);
        self.update(&state);
        drop(state);
        if let Ok(runtime) = Handle::try_current()
            && !subscribers.is_empty()
        {
            runtime.spawn(async move {
                let flushing: Vec<_> = subscribers.iter().map(|it| it.delivery.flush()).collect();
                let flush = async {
                    for flush in flushing {
                        flush.await;
                    }
                };
                let _ = timeout(FAREWELL, flush).await;
            });
        }
    }

    /// The extensions have ended. Nothing is delivered any more, and there are no subscriptions
    /// until the next start.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_open = false;
        state.replay = Replay::default();
        state.subscribers.clear();
        self.update(&state);
    }

    /// Init is over: no further subscriptions.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_open = false;
        state.replay = Replay::default();
        self.update(&state);
    }

    /// Delivers what waits now. Returns when that has been done, or when an attempt has failed; the
    /// caller limits the wait.
    pub(crate) async fn flush(&self) {
        let flushing: Vec<_> = {
            let state = self.lock();
            state.subscribers.iter().map(|subscriber| subscriber.delivery.flush()).collect()
        };
        for flush in flushing {
            flush.await;
        }
    }

    /// The extensions are being stopped with the environment, so that nothing is delivered until
    /// the [thaw](Self::thaw).
    pub(crate) fn freeze(&self) {
        self.is_frozen.send_replace(true);
    }

    /// The extensions run again.
    pub(crate) fn thaw(&self) {
        self.is_frozen.send_replace(false);
    }

    /// Subscribes an extension with this document. What happened since the start is delivered to
    /// it, too. On demand, its next subscription replaces this one.
    ///
    /// The documentation says that a subscription is idempotent, and that an extension which has
    /// subscribed with one API gets an error from the other one. The emulator of managed instances
    /// answers every second subscription with an error.
    ///
    /// Source: Lambda Developer Guide, "Using the Lambda Logs API"; emulator,
    /// `lambda-managed-instances/aws-lambda-rie/internal/telemetry/relay.go`.
    ///
    /// # Errors
    ///
    /// A [`SubscriptionRefusal`] if the document is not valid, a TCP port has no listener, or init
    /// is over.
    pub(crate) async fn subscribe(
        &self,
        id: Uuid,
        name: &str,
        api: Api,
        document: &[u8],
    ) -> Result<(), SubscriptionRefusal> {
        let invalid = |reason| SubscriptionRefusal::Invalid { api, reason };
        let subscription = Subscription::read(api, document, self.rules).map_err(invalid)?;
        let opened = Outlet::open(&subscription.destination, self.rules.is_managed).await;
        let outlet = opened.map_err(|reason| invalid(format!("Invalid destination: {reason}")))?;
        let mut state = self.lock();
        if !state.is_open {
            return Err(SubscriptionRefusal::Closed { api, is_managed: self.rules.is_managed });
        }
        let earlier = state.subscribers.iter().position(|subscriber| subscriber.id == id);
        if let Some(at) = earlier {
            let earlier = &state.subscribers[at].subscription;
            if self.rules.is_managed {
                return Err(SubscriptionRefusal::Internal);
            }
            if earlier.schema.api() != api {
                let other = earlier.schema.api().name();
                return Err(invalid(format!("the extension has subscribed with the {other} API")));
            }
            if *earlier == subscription {
                return Ok(());
            }
            state.subscribers.remove(at).delivery.replace();
        }
        let types = subscription.types.clone();
        let delivery = Delivery::start(
            name,
            outlet,
            subscription.limits,
            subscription.has_platform(),
            Pace::new(&self.is_frozen),
            self.clock.clone(),
            Arc::clone(&self.log),
        );
        let subscriber = Subscriber { id, subscription, delivery };
        state.replay.tell(&subscriber, &self.facts);
        state.subscribers.push(subscriber);
        self.update(&state);
        let name = name.to_owned();
        self.tell(&mut state, What::Platform(Platform::Subscription { api, name, types }));
        Ok(())
    }

    fn tell(&self, state: &mut State, what: What) {
        // Under the lock, so that the times have the order of the events.
        let event = Event { time: self.clock.unix(), what };
        for subscriber in &state.subscribers {
            subscriber.tell(&event, &self.facts);
        }
        if state.is_open {
            state.replay.push(event, &self.facts);
        }
    }

    fn update(&self, state: &State) {
        let is_heard = self.is_on && (state.is_open || !state.subscribers.is_empty());
        self.is_heard.store(is_heard, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Subscriber {
    fn tell(&self, event: &Event, facts: &Facts) {
        if self.subscription.types.contains(&event.kind()) {
            let records = event.render(facts, self.subscription.schema);
            records.for_each(|record| self.delivery.push(record));
        }
    }
}
