//! Extensions in a program's own loop: processes in `/opt/extensions`, and parts of the runtime's
//! process, beside the [slots](crate::Slots) and without a further thread.
//!
//! An extension gets an event at the beginning of each invocation and at the end of the environment
//! and, if it wants to, what the function logs and what Lambda tells about the environment, one record
//! at a time:
//!
//! ```no_run
//! use std::io::ErrorKind;
//! use std::ops::ControlFlow;
//! use std::time::Instant;
//!
//! use lambda_proto_mio::extension::telemetry::Body;
//! use lambda_proto_mio::extension::{Event, Extension, Telemetry, TelemetryTypes};
//! use lambda_proto_mio::{self as runtime, Runtime};
//! use mio::{Events, Poll, Token};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut poll = Poll::new()?;
//!     let mut events = Events::with_capacity(64);
//!     // It registers before the runtime asks for its first invocation.
//!     let mut extension = Extension::internal_from_env("collect")?
//!         .telemetry(TelemetryTypes::PLATFORM)
//!         .register(poll.registry(), Token(0))?;
//!     let first = Token(extension.tokens().end);
//!     let mut slots = Runtime::from_env()?.register(poll.registry(), first)?;
//!     let mut done = 0;
//!     loop {
//!         while let Some(event) = slots.next_event(Instant::now()) {
//!             match event {
//!                 runtime::Event::Invocation(event, responder) => {
//!                     responder.send(event.body());
//!                 }
//!                 runtime::Event::Ended(result) => return Ok(result?),
//!                 _ => {}
//!             }
//!         }
//!         let turn = extension.dispatch(Instant::now(), |event| {
//!             match event {
//!                 Event::Telemetry(Telemetry::Record(record)) => {
//!                     if let Body::RuntimeDone(_) = record.body {
//!                         done += 1;
//!                     }
//!                 }
//!                 // The caller has its answer.
//!                 Event::Telemetry(Telemetry::Flush(_)) => eprintln!("{done} invocations"),
//!                 _ => {}
//!             }
//!             Ok(())
//!         });
//!         if let ControlFlow::Break(result) = turn {
//!             return Ok(result?);
//!         }
//!         let now = Instant::now();
//!         let until = [slots.next_timeout(), extension.next_timeout(now)].into_iter().flatten().min();
//!         match poll.poll(&mut events, until.map(|at| at.saturating_duration_since(now))) {
//!             Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
//!             _ => {}
//!         }
//!         let now = Instant::now();
//!         for event in &events {
//!             if !extension.handle_event(event) {
//!                 slots.handle_event(event, now);
//!             }
//!         }
//!         slots.handle_timeout(now);
//!     }
//! }
//! ```
//!
//! An invocation lasts until its extensions have asked for their next events. Without telemetry, that
//! happens when the handler of an event has returned; with telemetry, when the runtime is done, too, or
//! [shortly before](TelemetryOptions::reserve) the deadline, and the handler has returned from
//! [`Telemetry::Flush`]. At SHUTDOWN the extension waits for the
//! [last records](lambda_proto_extension::collector::Collector#shutdown): for those that it knows to be
//! missing, or until none has arrived for some time. What was lost is logged at
//! the end.
//!
//! Nothing interrupts a handler, so it must bound its flush itself: at
//! [`Reason::DeadlineNear`] only the reserve is left, and a flush that takes longer holds the function
//! to its timeout. A flush that fails is logged and counted, and nothing comes again: keep what you
//! have until it was sent. On Managed Instances there is no flush before SHUTDOWN, and none at all for
//! an internal extension: send from the record handler, by count or by time.
//!
//! A handler that fails with a record gets its batch again, and after
//! [a few deliveries](lambda_proto_extension::limits::MAX_DELIVERIES) the batch is counted as lost.
//! Where the service has no telemetry, as with AWS's emulator, a line says so, and the extension goes on
//! without. An extension that subscribes to the records of its own log, and logs each of them, would
//! never come to an end; the
//! [collector](lambda_proto_extension::collector::Collector#own-log-lines) prevents that.
//!
//! A handler that blocks the loop holds up its slots, its deliveries and its events.

mod api;
mod deliveries;

use std::io;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use lambda_proto::api::Endpoint;
use lambda_proto_extension::barrier::Passage;
use lambda_proto_extension::collector::Collector;
use lambda_proto_extension::subscription::Listener;
use lambda_proto_host::extension::{
    CANNOT_LISTEN, Config, INVALID_SUBSCRIPTION, Kind, Lost, REGISTRATION_TIMEOUT, REPORT_TIMEOUT,
    Report, SUBSCRIPTION_TIMEOUT, Session,
};
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::{Failure, Record, catch};
use mio::net::TcpListener;
use mio::{Registry, Token, event};

pub use lambda_proto_extension::barrier::Reason;
pub use lambda_proto_extension::collector::{Telemetry, TelemetryOptions};
pub use lambda_proto_extension::subscription::{
    Buffering, InvalidSubscription, LogsSchema, TelemetrySchema, TelemetryTypes,
};
pub use lambda_proto_extension::{
    EnvironmentEvent, InvalidExtensionName, Invoke, Remedy, Shutdown, ShutdownCause,
    ShutdownReason, telemetry,
};
pub use lambda_proto_host::extension::{Error, Function};

use api::Api;
use deliveries::{Deliveries, MAX_SOCKETS};

/// An extension, configured but not connected.
///
/// The [module](self) has an example.
#[derive(Clone)]
pub struct Extension {
    config: Config,
    telemetry: Option<TelemetryOptions>,
}

impl Extension {
    /// An external extension: a process that Lambda has started from `/opt/extensions`. The name
    /// must be that of its file.
    ///
    /// It gets INVOKE and SHUTDOWN; on Managed Instances, which `AWS_LAMBDA_INITIALIZATION_TYPE`
    /// names, only SHUTDOWN.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] if `AWS_LAMBDA_RUNTIME_API` is missing or invalid.
    pub fn from_env(name: &str) -> Result<Self, Error> {
        Ok(Self { config: Config::from_env(name, Kind::External)?, telemetry: None })
    }

    /// An internal extension: a part of the runtime's process. [Register](Self::register) it before
    /// the slots of the runtime.
    ///
    /// It gets INVOKE; on Managed Instances nothing.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn internal_from_env(name: &str) -> Result<Self, Error> {
        Ok(Self { config: Config::from_env(name, Kind::Internal)?, telemetry: None })
    }

    /// An external extension at this address, on default capacity.
    pub fn new(endpoint: Endpoint, name: &str) -> Self {
        Self { config: Config::new(endpoint, name, Kind::External), telemetry: None }
    }

    /// An internal extension at this address, on default capacity.
    pub fn internal(endpoint: Endpoint, name: &str) -> Self {
        Self { config: Config::new(endpoint, name, Kind::Internal), telemetry: None }
    }

    /// Sets whether this is an environment of Managed Instances, where an extension may take fewer
    /// events.
    #[must_use]
    pub fn on_managed_instances(mut self) -> Self {
        self.config.is_managed = true;
        self
    }

    /// Leaves out INVOKE, for an extension that works at the end of the environment only.
    #[must_use]
    pub fn without_invocations(mut self) -> Self {
        self.config.takes_invocations = false;
        self
    }

    /// Subscribes to telemetry, of these types or with these options.
    #[must_use]
    pub fn telemetry(mut self, options: impl Into<TelemetryOptions>) -> Self {
        self.telemetry = Some(options.into());
        self
    }

    /// How long to keep trying without a connection before giving up; 60 s unless set.
    #[must_use]
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.config.settings.patience = patience;
        self
    }

    /// Where log lines go, as [`Runtime::log`](crate::Runtime::log).
    #[must_use]
    pub fn log(mut self, write: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Self {
        self.config.settings.set_log(write);
        self
    }

    /// Registers the extension, subscribes to telemetry, and puts both into the program's loop, with
    /// the tokens from `first` on. Blocks for at most 8 s: 1 s for the address of the listener, 5 s for
    /// the registration, 2 s for the subscription; longer only to resolve the name of the service.
    ///
    /// # Errors
    ///
    /// Any [`Error`]. Return it from `main`. A registration is not retried: the service may have taken
    /// the request although its reply was lost. [`Error::Failed`] if it cannot listen for telemetry,
    /// because the port is taken or reserved, or use the loop; that was reported to Lambda.
    pub fn register(self, registry: &Registry, first: Token) -> Result<Registered, Error> {
        let Self { config, telemetry } = self;
        let registrant = config.registrant()?;
        let settings = config.settings.clone();
        let log = settings.log.clone();
        // Lambda connects as soon as it has accepted a subscription, and a failure can be reported
        // once the extension is registered.
        let listener = telemetry.map(|options| {
            let port = options.listening_port();
            let listener = lambda_proto_host::telemetry::listen(port, config.is_managed, &log);
            (options, listener)
        });
        let unreachable = |reason| Error::Registration {
            address: config.settings.endpoint.authority().to_owned(),
            reason,
        };
        let own = registry.try_clone().map_err(unreachable)?;
        let mut api = Api::new(Session::new(settings), own, first).map_err(unreachable)?;
        let result = api.wait_for(REGISTRATION_TIMEOUT, |session| session.register(&registrant));
        let function = api.session.registered(result)?;
        let mut collected = None;
        if let Some((options, listener)) = listener {
            let mut collector = Collector::new(&options, config.own_logs());
            let listener = subscribe(&mut api, listener, options)?;
            if config.is_managed {
                collector.no_runtime_done();
            }
            if listener.is_none() {
                collector.no_telemetry();
            }
            collected = Some((collector, listener));
        }
        let place = || -> io::Result<Option<Deliveries>> {
            api.move_to(registry.try_clone()?, first)?;
            let Some((collector, listener)) = collected else { return Ok(None) };
            let listener = listener.map(TcpListener::from_std);
            let next = Token(first.0 + 1);
            Deliveries::new(collector, listener, registry.try_clone()?, next, log).map(Some)
        };
        let deliveries = match place() {
            Ok(deliveries) => deliveries,
            Err(error) => {
                return Err(fail(&mut api, Failure::new(CANNOT_LISTEN, error.to_string())));
            }
        };
        let end = if deliveries.is_some() { first.0 + 2 + MAX_SOCKETS } else { first.0 + 1 };
        Ok(Registered { api, function, deliveries, tokens: first.0..end, state: State::Ask })
    }
}

/// Subscribes to telemetry for a listener; `None` if none comes.
fn subscribe(
    api: &mut Api,
    listener: io::Result<std::net::TcpListener>,
    options: TelemetryOptions,
) -> Result<Option<std::net::TcpListener>, Error> {
    let failure = match try_subscribe(api, listener, options) {
        // Managed Instances would refuse it.
        Ok(Err(Error::Command(error))) => Failure::new(INVALID_SUBSCRIPTION, error.to_string()),
        Ok(result) => return result,
        Err(error) => Failure::new(CANNOT_LISTEN, error.to_string()),
    };
    Err(fail(api, failure))
}

fn try_subscribe(
    api: &mut Api,
    listener: io::Result<std::net::TcpListener>,
    options: TelemetryOptions,
) -> io::Result<Result<Option<std::net::TcpListener>, Error>> {
    let listener = listener?;
    listener.set_nonblocking(true)?;
    let subscription = options.subscription(Listener::of(&listener)?);
    let until = Instant::now() + SUBSCRIPTION_TIMEOUT;
    let mut result = api.wait_until(until, |session| session.subscribe(&subscription));
    if let Err(Lost::Connection(_)) = result {
        // The service takes the same subscription twice.
        result = api.wait_until(until, |session| session.subscribe(&subscription));
    }
    let comes = api.session.subscribed(result);
    Ok(comes.map(|comes| comes.then_some(listener)))
}

/// Reports a failed start; returns the error to end with.
fn fail(api: &mut Api, failure: Failure) -> Error {
    let result = api.wait_for(REPORT_TIMEOUT, |session| session.report(Report::Init, &failure));
    api.session.reported(failure, result)
}

/// What the handler of an extension is given.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a record is handed out once, without allocation")]
pub enum Event<'e> {
    /// An event of the environment. A failure ends the extension, which is reported: Lambda then
    /// resets the environment.
    Environment(EnvironmentEvent<'e>),
    /// Telemetry. After a failure with a record, Lambda delivers the batch again. A failure to flush is
    /// logged and counted.
    Telemetry(Telemetry<'e>),
}

/// An extension that Lambda knows, in the program's loop. Init is not complete until its first
/// [`dispatch`](Self::dispatch).
///
/// In each turn the program calls [`dispatch`](Self::dispatch), polls until
/// [`next_timeout`](Self::next_timeout) at most, and passes the events of the
/// [tokens](Self::tokens) to [`handle_event`](Self::handle_event). None of these calls blocks.
///
/// If it is dropped, the extension is gone, and the invocation in which that happens lasts until its
/// timeout: end the process.
pub struct Registered {
    api: Api,
    function: Function,
    deliveries: Option<Deliveries>,
    tokens: Range<usize>,
    state: State,
}

/// What the extension does about its next event.
enum State {
    /// It has to ask.
    Ask,
    /// It has asked, in a request that began then.
    Asking(Instant),
    /// It asks again then.
    Pausing(Instant),
    /// It waits for telemetry, until then at the latest.
    Waiting {
        is_last: bool,
        until: Option<Instant>,
    },
    /// It reports a failure.
    Reporting(Option<Failure>),
    Over,
}

impl Registered {
    /// The function of this environment.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Reports that the extension cannot start, and returns the error to end the process with.
    /// Lambda then ends the environment. Blocks for at most 2 s.
    pub fn fail_init(mut self, failure: impl Into<Failure>) -> Error {
        fail(&mut self.api, failure.into())
    }

    /// The tokens whose events belong to the extension.
    pub fn tokens(&self) -> Range<usize> {
        self.tokens.clone()
    }

    /// Notes an event of the poll; `false` if its token does not belong to the extension.
    pub fn handle_event(&mut self, event: &event::Event) -> bool {
        if !self.tokens.contains(&event.token().0) {
            return false;
        }
        if event.token().0 == self.tokens.start {
            self.api.note(event);
        } else if let Some(deliveries) = &mut self.deliveries {
            deliveries.note(event);
        }
        true
    }

    /// When to call [`dispatch`](Self::dispatch) at the latest, if at all; `now` if there was more to
    /// do than fits into one turn.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let own = match &self.state {
            State::Ask => Some(now),
            State::Asking(_) | State::Reporting(_) => self.api.next_timeout(),
            State::Pausing(until) => Some(*until),
            State::Waiting { until, .. } => *until,
            State::Over => None,
        };
        let deliveries = self.deliveries.as_ref().and_then(|it| it.next_timeout(now));
        [own, deliveries].into_iter().flatten().min()
    }

    /// Does what can be done at time `now`, and calls `handler` for what has arrived. A panic of the
    /// handler is a failure.
    ///
    /// Breaks after SHUTDOWN, or with an [`Error`] if the handler has failed with an event of the
    /// environment or the extension cannot go on: return it from `main`.
    pub fn dispatch<F>(&mut self, now: Instant, mut handler: F) -> ControlFlow<Result<(), Error>>
    where
        F: FnMut(Event<'_>) -> Result<(), Failure>,
    {
        if let Some(deliveries) = &mut self.deliveries {
            deliveries.serve(now, &mut |telemetry| handler(Event::Telemetry(telemetry)));
        }
        match self.advance(now, &mut handler) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => {
                self.state = State::Over;
                ControlFlow::Break(Ok(()))
            }
            Err(error) => {
                self.state = State::Over;
                ControlFlow::Break(Err(error))
            }
        }
    }

    /// Goes on until the extension has to wait; `false` at its end.
    fn advance(
        &mut self,
        now: Instant,
        handler: &mut dyn FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Result<bool, Error> {
        loop {
            match &mut self.state {
                State::Over => return Ok(false),
                State::Ask => {
                    self.api.begin(now, None, Session::ask)?;
                    self.state = State::Asking(now);
                }
                State::Pausing(until) if now < *until => return Ok(true),
                State::Pausing(_) => self.state = State::Ask,
                State::Asking(begun) => {
                    let begun = *begun;
                    let Some((had_connection, result)) = self.api.drive(now) else {
                        return Ok(true);
                    };
                    self.state = match self.api.session.asked(begun, had_connection, result)? {
                        Some(pause) => State::Pausing(now + pause),
                        None => self.handle_event_of_environment(now, handler)?,
                    };
                }
                State::Waiting { is_last, .. } => {
                    let is_last = *is_last;
                    if let Some(at_most) = self.wait_or_flush(handler) {
                        let until = Instant::now().checked_add(at_most);
                        self.state = State::Waiting { is_last, until };
                        return Ok(true);
                    }
                    self.state = if is_last { State::Over } else { State::Ask };
                }
                State::Reporting(failure) => {
                    let Some((_, result)) = self.api.drive(now) else { return Ok(true) };
                    let Some(failure) = failure.take() else { return Ok(false) };
                    return Err(self.api.session.reported(failure, result));
                }
            }
        }
    }

    fn handle_event_of_environment(
        &mut self,
        now: Instant,
        handler: &mut dyn FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Result<State, Error> {
        let event = match self.api.session.event() {
            Ok(event) => event,
            Err(pause) => return Ok(State::Pausing(now + pause)),
        };
        let is_last = matches!(event, EnvironmentEvent::Shutdown(_));
        if let Some(deliveries) = &mut self.deliveries {
            deliveries.collector.event(&event, clock::now());
        }
        let Err(failure) = catch(|| handler(Event::Environment(event))) else {
            return Ok(State::Waiting { is_last, until: None });
        };
        let command = |session: &mut Session| session.report(Report::Exit, &failure);
        match self.api.begin(now, Some(now + REPORT_TIMEOUT), command) {
            Ok(()) => Ok(State::Reporting(Some(failure))),
            Err(error) => Err(self.api.session.reported(failure, Err(error.into()))),
        }
    }

    /// How long to wait for telemetry; `None` if there is nothing to wait for, and the handler has
    /// flushed.
    fn wait_or_flush(
        &mut self,
        handler: &mut dyn FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Option<Duration> {
        let Deliveries { collector, .. } = self.deliveries.as_mut()?;
        let reason = match collector.check(clock::now()) {
            Passage::Wait { at_most } => return Some(at_most),
            Passage::Ask(reason) | Passage::End(reason) => reason,
        };
        if !collector.take_flush() {
            return None;
        }
        if let Err(failure) = catch(|| handler(Event::Telemetry(Telemetry::Flush(reason)))) {
            collector.flush_failed();
            let line = format_args!("the telemetry handler failed to flush: {failure}");
            self.api.session.log().error(line);
        }
        None
    }
}
