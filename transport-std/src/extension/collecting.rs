//! Telemetry on the side of the events: what the extension waits for, and when it flushes.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lambda_proto_extension::barrier::Passage;
use lambda_proto_extension::collector::{Collector, Telemetry, TelemetryOptions};
use lambda_proto_extension::subscription::Listener;
use lambda_proto_extension::{EnvironmentEvent, limits};
use lambda_proto_host::extension::{CANNOT_LISTEN, Config, Error, INVALID_SUBSCRIPTION, Report};
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::{Failure, Log, catch, telemetry};

use super::listener::{Listening, Peers};
use super::session::Session;

pub(super) type Handler = Box<dyn FnMut(Telemetry<'_>) -> Result<(), Failure> + Send>;

/// An extension that listens for telemetry. Dropping it ends its threads, and logs what was lost.
pub(super) struct Collecting {
    end: EndHandle,
}

/// What ends an extension's telemetry, once.
#[derive(Clone)]
pub(super) struct EndHandle {
    shared: Arc<Shared>,
    /// `None` once it has ended.
    open: Arc<Mutex<Option<Open>>>,
}

/// The thread that accepts connections; `None` if no telemetry comes.
struct Open(Option<Listening>);

/// A socket that nobody accepts from.
pub(super) struct Bound {
    socket: std::net::TcpListener,
    options: TelemetryOptions,
    shared: Arc<Shared>,
}

/// What the threads of the connections and that of the events share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// For a passage, or the handler.
    changed: Condvar,
    /// How long a request may take.
    pub(super) request_time: Duration,
    pub(super) log: Log,
}

pub(super) struct State {
    pub(super) collector: Collector,
    /// Taken out while it is called, so that nobody waits for it with the lock held.
    pub(super) handler: Option<Handler>,
    pub(super) peers: Peers,
    pub(super) has_ended: bool,
}

impl Collecting {
    /// Binds a socket for telemetry.
    pub(super) fn listen(
        options: TelemetryOptions,
        handler: Handler,
        config: &Config,
    ) -> Result<Bound, Failure> {
        let (is_managed, log) = (config.is_managed, config.settings.log.clone());
        let socket = telemetry::listen(options.listening_port(), is_managed, &log)
            .map_err(|error| Failure::new(CANNOT_LISTEN, error.to_string()))?;
        let mut collector = Collector::new(&options, config.own_logs());
        if is_managed {
            collector.no_runtime_done();
        }
        let peers = Peers::new(limits::MAX_TELEMETRY_CONNECTIONS);
        let state = State { collector, handler: Some(handler), peers, has_ended: false };
        let shared = Shared::new(state, limits::MAX_REQUEST_TIME, log);
        Ok(Bound { socket, options, shared: Arc::new(shared) })
    }

    fn new(shared: Arc<Shared>, listening: Option<Listening>) -> Self {
        let open = Arc::new(Mutex::new(Some(Open(listening))));
        Self { end: EndHandle { shared, open } }
    }

    pub(super) fn end_handle(&self) -> EndHandle {
        self.end.clone()
    }

    /// Records an event of the environment.
    pub(super) fn event(&self, event: &EnvironmentEvent<'_>) {
        self.end.shared.lock().collector.event(event, clock::now());
    }

    /// Waits until the extension may ask for its next event, or end, and lets the handler flush.
    pub(super) fn wait_and_flush(&self) {
        let shared = &*self.end.shared;
        let mut state = shared.lock();
        let reason = loop {
            if state.has_ended {
                return;
            }
            match state.collector.check(clock::now()) {
                Passage::Ask(reason) | Passage::End(reason) => break reason,
                Passage::Wait { at_most } => state = shared.wait_for(state, at_most),
            }
        };
        if !state.collector.take_flush() {
            return;
        }
        let mut handler = loop {
            if state.has_ended {
                return;
            }
            if let Some(handler) = state.handler.take() {
                break handler;
            }
            match state.collector.time_left(clock::now()) {
                Duration::ZERO => {
                    state.collector.flush_failed();
                    drop(state);
                    let line = "the telemetry handler is still busy with a record; flush left out";
                    return shared.log.error(format_args!("{line}"));
                }
                left => state = shared.wait_for(state, left),
            }
        };
        drop(state);
        let result = catch(|| handler(Telemetry::Flush(reason)));
        let mut state = shared.lock();
        let mut handler = Some(handler);
        if !state.has_ended {
            state.handler = handler.take();
        }
        if result.is_err() {
            state.collector.flush_failed();
        }
        drop(state);
        // Its code may run when it is dropped.
        drop(handler);
        shared.changed.notify_all();
        if let Err(failure) = result {
            shared.log.error(format_args!("the telemetry handler failed to flush: {failure}"));
        }
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        self.end.end();
    }
}

impl EndHandle {
    /// Ends it, or waits until another thread that has begun with that is done.
    pub(super) fn end(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Open(listening)) = open.take() else { return };
        // From then on, no connection takes a step, so nothing is counted after the summary.
        drop(listening);
        let mut state = self.shared.lock();
        state.has_ended = true;
        let summary = state.collector.summary().map(|summary| summary.to_string());
        state.collector.no_telemetry();
        // A handle may be kept for longer than the extension. Who has the handler now drops it.
        let handler = state.handler.take();
        drop(state);
        // The events may wait for telemetry.
        self.shared.notify();
        if let Some(line) = summary {
            self.shared.log.warn(format_args!("{line}"));
        }
        drop(open);
        drop(handler);
    }
}

impl Bound {
    /// Asks for telemetry, and serves the connections that bring it.
    pub(super) fn subscribe(self, session: &mut Session) -> Result<Collecting, Error> {
        let Self { socket, options, shared } = self;
        let listener = match Listener::of(&socket) {
            Ok(listener) => listener,
            Err(error) => {
                let failure = Failure::new(CANNOT_LISTEN, error.to_string());
                return Err(session.report(Report::Init, failure));
            }
        };
        let comes = match session.subscribe(&options.subscription(listener)) {
            Ok(comes) => comes,
            // Managed Instances would refuse it.
            Err(Error::Command(error)) => {
                let failure = Failure::new(INVALID_SUBSCRIPTION, error.to_string());
                return Err(session.report(Report::Init, failure));
            }
            Err(error) => return Err(error),
        };
        if !comes {
            shared.lock().collector.no_telemetry();
            return Ok(Collecting::new(shared, None));
        }
        match Listening::start(socket, &shared) {
            Ok(listening) => Ok(Collecting::new(shared, Some(listening))),
            Err(error) => {
                let text = format!("no thread for telemetry: {error}");
                Err(session.report(Report::Init, Failure::new(CANNOT_LISTEN, text)))
            }
        }
    }
}

impl Shared {
    pub(super) fn new(state: State, request_time: Duration, log: Log) -> Self {
        Self { state: Mutex::new(state), changed: Condvar::new(), request_time, log }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // No code of the program runs with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the handler, once nobody else has it; `None` if the extension has ended.
    pub(super) fn wait_for_handler<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
    ) -> Option<Handler> {
        while !state.has_ended {
            if let Some(handler) = state.handler.take() {
                return Some(handler);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Wakes everybody who waits for a passage or the handler.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    fn wait_for<'s>(
        &self,
        state: MutexGuard<'s, State>,
        at_most: Duration,
    ) -> MutexGuard<'s, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}
