//! Telemetry on the side of the events: what the extension waits for, and when it flushes.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::pin;
use std::time::Duration;

use lambda_proto_extension::EnvironmentEvent;
use lambda_proto_extension::barrier::Passage;
use lambda_proto_extension::collector::{Collector, Telemetry, TelemetryOptions};
use lambda_proto_extension::subscription::Listener;
use lambda_proto_host::extension::{CANNOT_LISTEN, Config, Error, INVALID_SUBSCRIPTION, Report};
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::{Failure, Log, telemetry};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::session::Session;
use crate::catching::Catching;

/// What the connections and the events share. Dropping it logs what was lost.
pub(super) struct Collecting<H> {
    /// Never borrowed while something is awaited or logged.
    collector: RefCell<Collector>,
    pub(super) handler: Mutex<H>,
    /// Something has changed for which the events wait.
    pub(super) changed: Notify,
    log: Log,
}

impl<H> Collecting<H> {
    pub(super) fn new(collector: Collector, handler: H, log: Log) -> Self {
        let (handler, changed) = (Mutex::new(handler), Notify::new());
        Self { collector: RefCell::new(collector), handler, changed, log }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Collector) -> T) -> T {
        act(&mut self.collector.borrow_mut())
    }

    /// Logs a line about a delivery, unless there were too many.
    pub(super) fn warn(&self, line: fmt::Arguments<'_>) {
        if self.with(|collector| collector.may_log(clock::now())) {
            self.log.warn(line);
        }
    }

    /// Notes an event that was read.
    pub(super) fn event(&self, event: &EnvironmentEvent<'_>) {
        self.with(|collector| collector.event(event, clock::now()));
    }

    /// Waits until the extension may ask for its next event, or end, and flushes before.
    pub(super) async fn wait_and_flush(&self)
    where
        H: for<'t> AsyncFnMut(Telemetry<'t>) -> Result<(), Failure>,
    {
        let reason = loop {
            match self.with(|collector| collector.check(clock::now())) {
                Passage::Ask(reason) | Passage::End(reason) => break reason,
                Passage::Wait { at_most } => {
                    let _changed_or_not = timeout(at_most, self.changed.notified()).await;
                }
            }
        };
        if !self.with(Collector::take_flush) {
            return;
        }
        let Ok(mut handler) = timeout(self.time_left(), self.handler.lock()).await else {
            return self.flush_failed(format_args!(
                "the telemetry handler is still busy with a record; flush left out"
            ));
        };
        // An upload that hangs must not hold the function to its timeout.
        let flush = handle(&mut *handler, Telemetry::Flush(reason));
        let flushed = timeout(self.time_left(), flush).await;
        drop(handler);
        match flushed {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                self.flush_failed(format_args!("the telemetry handler failed to flush: {failure}"));
            }
            Err(_) => self.flush_failed(format_args!(
                "the telemetry handler did not flush in time, and was dropped before the deadline"
            )),
        }
    }

    fn time_left(&self) -> Duration {
        self.with(|collector| collector.time_left(clock::now()))
    }

    fn flush_failed(&self, line: fmt::Arguments<'_>) {
        self.with(Collector::flush_failed);
        self.log.error(line);
    }
}

impl<H> Drop for Collecting<H> {
    fn drop(&mut self) {
        if let Some(summary) = self.collector.get_mut().summary() {
            self.log.warn(format_args!("{summary}"));
        }
    }
}

/// Calls the handler, whose panic is a failure.
pub(super) async fn handle<H>(handler: &mut H, telemetry: Telemetry<'_>) -> Result<(), Failure>
where
    H: for<'t> AsyncFnMut(Telemetry<'t>) -> Result<(), Failure>,
{
    let handled = Catching::new(pin!(async { handler(telemetry).await })).await;
    handled.and_then(|result| result)
}

/// A listener, before the extension is registered: Lambda connects as soon as it has accepted a
/// subscription.
pub(super) async fn listen(
    options: TelemetryOptions,
    config: &Config,
) -> io::Result<std::net::TcpListener> {
    let (is_managed, log) = (config.is_managed, config.settings.log.clone());
    // It looks up a name.
    spawn_blocking(move || telemetry::listen(options.listening_port(), is_managed, &log)).await?
}

/// Subscribes to telemetry for a listener; `None` if none comes.
pub(super) async fn subscribe(
    listener: io::Result<std::net::TcpListener>,
    options: TelemetryOptions,
    session: &mut Session,
) -> Result<Option<TcpListener>, Error> {
    let failure = match try_subscribe(listener, options, session).await {
        // Managed Instances would refuse it.
        Ok(Err(Error::Command(error))) => Failure::new(INVALID_SUBSCRIPTION, error.to_string()),
        Ok(result) => return result,
        Err(error) => Failure::new(CANNOT_LISTEN, error.to_string()),
    };
    Err(session.report(Report::Init, failure).await)
}

async fn try_subscribe(
    listener: io::Result<std::net::TcpListener>,
    options: TelemetryOptions,
    session: &mut Session,
) -> io::Result<Result<Option<TcpListener>, Error>> {
    let listener = listener?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let port = listener.local_addr()?.port();
    let bound = Listener::on_port(port)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let subscribed = session.subscribe(&options.subscription(bound)).await;
    Ok(subscribed.map(|comes| comes.then_some(listener)))
}
