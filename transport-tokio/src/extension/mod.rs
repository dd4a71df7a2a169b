//! Extensions: processes in `/opt/extensions`, and parts of the runtime's process.
//!
//! An extension gets an event at the beginning of each invocation and at the end of the
//! environment:
//!
//! ```no_run
//! use lambda_proto_tokio::extension::{EnvironmentEvent, Error, Extension};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     // The name of its file in /opt/extensions.
//!     let extension = Extension::from_env("audit")?;
//!     extension
//!         .run(async |event| {
//!             match event {
//!                 EnvironmentEvent::Invoke(invoke) => println!("{} begins", invoke.request_id),
//!                 EnvironmentEvent::Shutdown(shutdown) => println!("the end: {}", shutdown.reason),
//!                 _ => {}
//!             }
//!             Ok(())
//!         })
//!         .await
//! }
//! ```
//!
//! An invocation lasts until its extensions have asked for their next events, and that happens when
//! the handler returns. So whatever the handler does is billed with the invocation, but its caller
//! has the answer already, if the runtime was faster.
//!
//! The extension asks again by itself if its connection is lost, and gives up after a minute
//! without any.
//!
//! # Telemetry
//!
//! With [`telemetry`](Extension::telemetry), an extension gets what the function logs, and what Lambda
//! tells about the environment, one record at a time:
//!
//! ```no_run
//! use lambda_proto_tokio::extension::telemetry::Body;
//! use lambda_proto_tokio::extension::{Error, Extension, Telemetry, TelemetryTypes};
//! # async fn upload(_lines: &[String]) -> std::io::Result<()> { Ok(()) }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     let mut lines = Vec::new();
//!     Extension::from_env("collect")?
//!         .telemetry(TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION), async |telemetry| {
//!             match telemetry {
//!                 Telemetry::Record(record) => {
//!                     if let Body::FunctionLog(line) = record.body {
//!                         lines.push(line.to_string());
//!                     }
//!                 }
//!                 Telemetry::Unread(unread) => lines.push(unread.to_string()),
//!                 // The runtime is done with the invocation, so its caller has the answer.
//!                 Telemetry::Flush(_) => {
//!                     upload(&lines).await?;
//!                     // After an error, or at the deadline, they are kept for the next flush.
//!                     lines.clear();
//!                 }
//!                 _ => {}
//!             }
//!             Ok(())
//!         })
//!         .run(async |_event| Ok(()))
//!         .await
//! }
//! ```
//!
//! The handler is called for one record at a time. If it fails or panics with a record, Lambda
//! delivers the batch again, and after
//! [a few deliveries](lambda_proto_extension::limits::MAX_DELIVERIES) it is counted as lost. While it
//! awaits something, other connections wait for it, but the extension does not: it asks for its next
//! event before the deadline of the invocation. It leaves out a flush for which the handler is busy
//! until then, and drops the future of one that takes until then; half of the
//! [reserve](TelemetryOptions::reserve) is left at that moment. A handler that blocks its thread holds
//! up everything in the task, events too, and is not interrupted.
//!
//! A flush that fails is logged and counted, and nothing comes again: keep what you have until it was
//! sent. The same holds for one that is dropped. On Managed Instances there is no flush before
//! SHUTDOWN, and none at all for an internal extension: send from the record handler, by count or by
//! time.
//!
//! After the handler of an event has returned, the extension waits until the runtime is done with the
//! invocation, at most until [shortly before](TelemetryOptions::reserve) its deadline. At SHUTDOWN it
//! waits for the [last records](lambda_proto_extension::collector::Collector#shutdown): for those that
//! it knows to be missing, or until none has arrived for some time. What was lost is
//! logged at the end, as one line. Where the service has no telemetry, as with AWS's emulator, a line
//! says so, and the extension goes on without.
//!
//! An extension that subscribes to the records of its own log, and logs each of them, would never come
//! to an end; the [collector](lambda_proto_extension::collector::Collector#own-log-lines) prevents
//! that.
//!
//! # Beside a runtime
//!
//! An internal extension is a part of the runtime's process. It registers in the function's init,
//! because no extension can register once the runtime has asked for an invocation, and runs in the
//! same task:
//!
//! ```no_run
//! use lambda_proto_tokio::Runtime;
//! use lambda_proto_tokio::extension::Extension;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let runtime = Runtime::from_env()?;
//!     let extension = Extension::internal_from_env("after-the-answer")?;
//!     let extension = runtime.init(async || Ok(extension.register().await?)).await?;
//!     tokio::select! {
//!         ended = runtime.run(async |event, responder| Ok(responder.send(event.body()).await)) => {
//!             ended?;
//!         }
//!         ended = extension.run(async |_event| Ok(())) => ended?,
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The two take turns, as slots do. Neither future has to be `Send`, and the compiler does not prove
//! that they are: to spawn an extension, use a `tokio::task::LocalSet`, or a thread with a tokio
//! runtime of its own.

mod collecting;
mod listener;
mod session;

use std::future::Ready;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use lambda_proto::api::Endpoint;
use lambda_proto_extension::collector::Collector;
use lambda_proto_host::extension::{Config, Kind, Report};
use lambda_proto_host::{Failure, Record};
use tokio::net::TcpListener;
use tokio::time::sleep;

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

use crate::catching::Catching;
use collecting::Collecting;
use session::Session;

/// The telemetry handler of an extension that has none.
pub type NoTelemetry = for<'t> fn(Telemetry<'t>) -> Ready<Result<(), Failure>>;

/// An extension, configured but not connected.
///
/// The [module](self) has examples. Its futures need a tokio runtime with I/O and time enabled. `H` is
/// the handler of its [telemetry](Self::telemetry).
pub struct Extension<H = NoTelemetry> {
    config: Config,
    telemetry: Option<(TelemetryOptions, H)>,
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
    /// the runtime asks for its first invocation, and [run](Registered::run) it beside the runtime.
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

    /// Subscribes to telemetry, of these types or with these options. The handler gets it as the
    /// [module](self#telemetry) says.
    #[must_use]
    pub fn telemetry<H>(self, options: impl Into<TelemetryOptions>, handler: H) -> Extension<H>
    where
        H: for<'t> AsyncFnMut(Telemetry<'t>) -> Result<(), Failure>,
    {
        Extension { config: self.config, telemetry: Some((options.into(), handler)) }
    }
}

impl<H> Extension<H> {
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

    /// Registers the extension, and subscribes to [telemetry](Extension::telemetry), whose deliveries
    /// wait until the extension [runs](Registered::run). Takes at most 8 s: 1 s for the address of the
    /// listener, 5 s for the registration, 2 s for the subscription.
    ///
    /// # Errors
    ///
    /// Any [`Error`]. Return it from `main`. A registration is not retried: the service may have taken
    /// the request although its reply was lost. [`Error::Failed`] if it cannot listen for telemetry,
    /// because the port is taken or reserved; that was reported to Lambda.
    pub async fn register(self) -> Result<Registered<H>, Error> {
        let Self { config, telemetry } = self;
        let registrant = config.registrant()?;
        // Lambda connects as soon as it has accepted a subscription, and a failure can be reported
        // once the extension is registered.
        let listener = match &telemetry {
            Some((options, _)) => Some(collecting::listen(*options, &config).await),
            None => None,
        };
        let (mut session, function) =
            Session::register(config.settings.clone(), &registrant).await?;
        let Some(((options, handler), listener)) = telemetry.zip(listener) else {
            return Ok(Registered { session, function, telemetry: None });
        };
        let listener = collecting::subscribe(listener, options, &mut session).await?;
        let mut collector = Collector::new(&options, config.own_logs());
        if config.is_managed {
            collector.no_runtime_done();
        }
        if listener.is_none() {
            collector.no_telemetry();
        }
        let telemetry = Some(Subscribed { listener, collector, handler });
        Ok(Registered { session, function, telemetry })
    }

    /// Registers the extension and calls `handler` for each event; returns after SHUTDOWN.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register) and [`Registered::run`].
    pub async fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'e> AsyncFnMut(EnvironmentEvent<'e>) -> Result<(), Failure>,
        H: for<'t> AsyncFnMut(Telemetry<'t>) -> Result<(), Failure>,
    {
        self.register().await?.run(handler).await
    }
}

/// An extension that Lambda knows. Init is not complete until it [runs](Self::run).
pub struct Registered<H = NoTelemetry> {
    session: Session,
    function: Function,
    telemetry: Option<Subscribed<H>>,
}

/// What an extension with telemetry needs to run.
struct Subscribed<H> {
    /// `None` if no telemetry comes.
    listener: Option<TcpListener>,
    collector: Collector,
    handler: H,
}

impl<H> Registered<H> {
    /// The function of this environment.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Reports that the extension cannot start, and returns the error to end the process with.
    /// Lambda then ends the environment.
    pub async fn fail_init(mut self, failure: impl Into<Failure>) -> Error {
        self.session.report(Report::Init, failure.into()).await
    }

    /// Calls `handler` for each event; returns after SHUTDOWN. Without any event to come, it waits
    /// until the process ends. With [telemetry](Extension::telemetry), it serves the deliveries at the
    /// same time, and waits for telemetry after each event.
    ///
    /// An error or a panic of the handler ends the extension, which is reported: Lambda then resets
    /// the environment. So an error from which the extension recovers belongs into its log.
    ///
    /// If this future is dropped, the extension is gone, and the invocation in which that happens
    /// lasts until its timeout: end the process.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the handler fails, [`Error::Refused`], [`Error::Unreachable`] or
    /// [`Error::Protocol`] if the extension cannot go on. Return it from `main`.
    pub async fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'e> AsyncFnMut(EnvironmentEvent<'e>) -> Result<(), Failure>,
        H: for<'t> AsyncFnMut(Telemetry<'t>) -> Result<(), Failure>,
    {
        let Self { session, telemetry, .. } = self;
        let Some(Subscribed { listener, collector, handler: takes }) = telemetry else {
            return handle_events(session, handler, None::<&Collecting<H>>).await;
        };
        let collecting = Collecting::new(collector, takes, session.log().clone());
        let events = handle_events(session, handler, Some(&collecting));
        let Some(listener) = listener else { return events.await };
        let deliveries = listener::serve(&listener, &collecting);
        match select(pin!(events), pin!(deliveries)).await {
            Either::Left((result, _)) => result,
            Either::Right((never, _)) => match never {},
        }
    }
}

async fn handle_events<F, H>(
    mut session: Session,
    mut handler: F,
    collecting: Option<&Collecting<H>>,
) -> Result<(), Error>
where
    F: for<'e> AsyncFnMut(EnvironmentEvent<'e>) -> Result<(), Failure>,
    H: for<'t> AsyncFnMut(Telemetry<'t>) -> Result<(), Failure>,
{
    loop {
        let event = match session.next().await? {
            Ok(event) => event,
            Err(pause) => {
                sleep(pause).await;
                continue;
            }
        };
        let is_last = matches!(event, EnvironmentEvent::Shutdown(_));
        if let Some(collecting) = collecting {
            collecting.event(&event);
        }
        let handled = Catching::new(pin!(async { handler(event).await })).await;
        if let Err(failure) = handled.and_then(|result| result) {
            return Err(session.report(Report::Exit, failure).await);
        }
        if let Some(collecting) = collecting {
            collecting.wait_and_flush().await;
        }
        if is_last {
            return Ok(());
        }
    }
}
