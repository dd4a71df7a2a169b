//! Extensions: processes in `/opt/extensions`, and parts of the runtime's process.
//!
//! An extension gets an event at the beginning of each invocation and at the end of the
//! environment:
//!
//! ```no_run
//! use lambda_proto_std::extension::{EnvironmentEvent, Error, Extension};
//!
//! fn main() -> Result<(), Error> {
//!     // The name of its file in /opt/extensions.
//!     Extension::from_env("audit")?.run(|event| {
//!         match event {
//!             EnvironmentEvent::Invoke(invoke) => println!("{} begins", invoke.request_id),
//!             EnvironmentEvent::Shutdown(shutdown) => println!("the end: {}", shutdown.reason),
//!             _ => {}
//!         }
//!         Ok(())
//!     })
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
//! use lambda_proto_std::extension::telemetry::Body;
//! use lambda_proto_std::extension::{Error, Extension, Telemetry, TelemetryTypes};
//!
//! fn main() -> Result<(), Error> {
//!     let mut lines = Vec::new();
//!     Extension::from_env("collect")?
//!         .telemetry(TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION), move |telemetry| {
//!             match telemetry {
//!                 Telemetry::Record(record) => {
//!                     if let Body::FunctionLog(line) = record.body {
//!                         lines.push(line.to_string());
//!                     }
//!                 }
//!                 Telemetry::Unread(unread) => lines.push(unread.to_string()),
//!                 // The runtime is done with the invocation, so its caller has the answer.
//!                 Telemetry::Flush(_) => {
//!                     send(&lines)?;
//!                     lines.clear();
//!                 }
//!                 _ => {}
//!             }
//!             Ok(())
//!         })
//!         .run(|_event| Ok(()))
//! }
//! # fn send(_lines: &[String]) -> std::io::Result<()> {
//! #     Ok(())
//! # }
//! ```
//!
//! The handler is called for one record at a time, on the thread of a connection; for a
//! [flush](Telemetry::Flush), on that of the events. If it fails or panics with a record, Lambda
//! delivers the batch again, and after [a few
//! deliveries](lambda_proto_extension::limits::MAX_DELIVERIES) it is counted as lost. While it is slow
//! with a record, other connections wait, but the extension does not: it leaves the flush out, and asks
//! for its next event before the deadline of the invocation.
//!
//! After the handler of an event has returned, the extension waits until the runtime is done with the
//! invocation, at most until [shortly before](TelemetryOptions::reserve) its deadline. At SHUTDOWN it
//! waits for the [last records](lambda_proto_extension::collector::Collector#shutdown): for those that
//! it knows to be missing, or until none has arrived for some time. What was lost is
//! logged then, as one line. Where the service has no telemetry, as with AWS's emulator, a line says
//! so, and the extension goes on without.
//!
//! # Flushes
//!
//! - Nothing limits the time of a flush, and the extension asks for its next event only when the
//!   handler returns. So the handler must end by the deadline of the latest event, for example with
//!   timeouts for a server. At [`Reason::DeadlineNear`], only the reserve is left.
//!   [`extension_flush`](https://github.com/lambda-proto/lambda-proto/blob/main/transport-std/examples/extension_flush.rs)
//!   takes the deadline from the event.
//! - A flush that fails is logged and counted, and nothing comes again: keep what you have until it was
//!   sent.
//! - A flush follows INVOKE and SHUTDOWN. On Managed Instances, there is none before SHUTDOWN, and an
//!   internal extension gets none at all: send from the handler of the records, by count or by time.
//!
//! # Own log lines
//!
//! An extension that subscribes to the records of its own log, and logs each of them, would never come
//! to an end; the [collector](lambda_proto_extension::collector::Collector#own-log-lines) prevents
//! that.
//!
//! # Beside a runtime
//!
//! An internal extension is a part of the runtime's process, and runs on a thread of its own. No
//! extension can register once the runtime has asked for an invocation. Lambda sends it no SHUTDOWN,
//! so a shutdown hook [ends](EndHandle::end) its telemetry, and logs what was lost:
//!
//! ```no_run
//! use lambda_proto_std::extension::{Extension, TelemetryTypes};
//! use lambda_proto_std::{Lifecycle, Runtime};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let extension = Extension::internal_from_env("lines")?
//!         .telemetry(TelemetryTypes::FUNCTION, |_telemetry| Ok(()))
//!         .register()?;
//!     let telemetry = extension.end_handle();
//!     std::thread::spawn(move || {
//!         if let Err(error) = extension.run(|_event| Ok(())) {
//!             eprintln!("the extension has ended: {error}");
//!         }
//!     });
//!     let lifecycle = Lifecycle::new().on_shutdown("telemetry", move |_| {
//!         telemetry.end();
//!         Ok(())
//!     });
//!     let runtime = Runtime::from_env()?.lifecycle(lifecycle);
//!     runtime.run(|event, responder, _context| Ok(responder.send(event.body())))?;
//!     Ok(())
//! }
//! ```

mod collecting;
mod listener;
mod session;

use std::thread;
use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto_host::extension::{Config, Kind, Report};
use lambda_proto_host::{Failure, Record, catch};

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

use collecting::{Collecting, Handler};
use session::Session;

/// An extension, configured but not connected.
///
/// The [module](self) has an example.
pub struct Extension {
    config: Config,
    telemetry: Option<(TelemetryOptions, Handler)>,
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
    /// the runtime asks for its first invocation, and [run](Registered::run) it on a thread of its
    /// own.
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

    /// Subscribes to telemetry, of these types or with these options. The handler gets it as the
    /// [module](self#telemetry) says.
    ///
    /// Of several calls, the last counts.
    #[must_use]
    pub fn telemetry<F>(mut self, options: impl Into<TelemetryOptions>, handler: F) -> Self
    where
        F: FnMut(Telemetry<'_>) -> Result<(), Failure> + Send + 'static,
    {
        self.telemetry = Some((options.into(), Box::new(handler)));
        self
    }

    /// Registers the extension, and subscribes to [telemetry](Self::telemetry). Blocks for at most
    /// 8 s: 1 s for the address of the listener, 5 s for the registration, 2 s for the subscription.
    ///
    /// # Errors
    ///
    /// Any [`Error`]. Return it from `main`. A registration is not retried: the service may have taken
    /// the request although its reply was lost. [`Error::Failed`] if it cannot listen for telemetry,
    /// because the port is taken or reserved; that was reported to Lambda.
    pub fn register(self) -> Result<Registered, Error> {
        let registrant = self.config.registrant()?;
        // Lambda connects as soon as it has accepted a subscription, and a failure can be reported
        // once the extension is registered.
        let collecting = self
            .telemetry
            .map(|(options, handler)| Collecting::listen(options, handler, &self.config));
        let (mut session, function) = Session::register(self.config.settings.clone(), &registrant)?;
        let collecting = match collecting {
            None => None,
            Some(Err(failure)) => return Err(session.report(Report::Init, failure)),
            Some(Ok(collecting)) => Some(collecting.subscribe(&mut session)?),
        };
        Ok(Registered { session, function, collecting })
    }

    /// Registers the extension and calls `handler` for each event; returns after SHUTDOWN.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register) and [`Registered::run`].
    pub fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: FnMut(EnvironmentEvent<'_>) -> Result<(), Failure>,
    {
        self.register()?.run(handler)
    }
}

/// An extension that Lambda knows. Init is not complete until it [runs](Self::run).
pub struct Registered {
    session: Session,
    function: Function,
    collecting: Option<Collecting>,
}

impl Registered {
    /// The function of this environment.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// A handle that ends the extension's telemetry before the process ends.
    pub fn end_handle(&self) -> EndHandle {
        EndHandle(self.collecting.as_ref().map(Collecting::end_handle))
    }

    /// Reports that the extension cannot start, and returns the error to end the process with.
    /// Lambda then ends the environment.
    pub fn fail_init(mut self, failure: impl Into<Failure>) -> Error {
        self.session.report(Report::Init, failure.into())
    }

    /// Calls `handler` for each event; returns after SHUTDOWN. Without any event to come, it blocks
    /// until the process ends. With [telemetry](Extension::telemetry), it waits after each event.
    ///
    /// An error or a panic of the handler ends the extension, which is reported: Lambda then resets
    /// the environment. So an error from which the extension recovers belongs into its log.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the handler fails, [`Error::Refused`], [`Error::Unreachable`] or
    /// [`Error::Protocol`] if the extension cannot go on. Return it from `main`.
    pub fn run<F>(mut self, mut handler: F) -> Result<(), Error>
    where
        F: FnMut(EnvironmentEvent<'_>) -> Result<(), Failure>,
    {
        loop {
            let event = match self.session.next()? {
                Ok(event) => event,
                Err(pause) => {
                    thread::sleep(pause);
                    continue;
                }
            };
            let is_last = matches!(event, EnvironmentEvent::Shutdown(_));
            if let Some(collecting) = &self.collecting {
                collecting.event(&event);
            }
            if let Err(failure) = catch(|| handler(event)) {
                return Err(self.session.report(Report::Exit, failure));
            }
            if let Some(collecting) = &self.collecting {
                collecting.wait_and_flush();
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// Ends the telemetry of an extension that gets no SHUTDOWN, from another thread.
///
/// [`Registered::run`] does the same after SHUTDOWN, and when it fails.
#[derive(Clone)]
pub struct EndHandle(Option<collecting::EndHandle>);

impl EndHandle {
    /// Closes the listener and its connections, and logs what was lost, once; another call returns
    /// when that is done. The handler gets nothing more, except a record or a flush that it has begun
    /// with, and is dropped. The extension goes on without telemetry, and waits for none. Without
    /// telemetry, this does nothing.
    pub fn end(&self) {
        if let Some(handle) = &self.0 {
            handle.end();
        }
    }
}
