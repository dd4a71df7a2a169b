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

mod session;

use std::pin::pin;
use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto_host::extension::{Config, Kind, Report};
use lambda_proto_host::{Failure, Record};

pub use lambda_proto_extension::{
    EnvironmentEvent, InvalidExtensionName, Invoke, Remedy, Shutdown, ShutdownCause, ShutdownReason,
};
pub use lambda_proto_host::extension::{Error, Function};

use crate::catching::Catching;
use session::Session;

/// An extension, configured but not connected.
///
/// The [module](self) has examples. Its futures need a tokio runtime with I/O and time enabled.
#[derive(Clone)]
pub struct Extension {
    config: Config,
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
        Ok(Self { config: Config::from_env(name, Kind::External)? })
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
        Ok(Self { config: Config::from_env(name, Kind::Internal)? })
    }

    /// An external extension at this address, on default capacity.
    pub fn new(endpoint: Endpoint, name: &str) -> Self {
        Self { config: Config::new(endpoint, name, Kind::External) }
    }

    /// An internal extension at this address, on default capacity.
    pub fn internal(endpoint: Endpoint, name: &str) -> Self {
        Self { config: Config::new(endpoint, name, Kind::Internal) }
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

    /// Registers the extension, within 5 s.
    ///
    /// # Errors
    ///
    /// Any [`Error`] but [`Error::Failed`]. Return it from `main`. A registration is not retried:
    /// the service may have taken the request although its reply was lost.
    pub async fn register(self) -> Result<Registered, Error> {
        let registrant = self.config.registrant()?;
        let settings = self.config.settings.clone();
        let (session, function) = Session::register(settings, &registrant).await?;
        Ok(Registered { session, function })
    }

    /// Registers the extension and calls `handler` for each event; returns after SHUTDOWN.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register) and [`Registered::run`].
    pub async fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'e> AsyncFnMut(EnvironmentEvent<'e>) -> Result<(), Failure>,
    {
        self.register().await?.run(handler).await
    }
}

/// An extension that Lambda knows. Init is not complete until it [runs](Self::run).
pub struct Registered {
    session: Session,
    function: Function,
}

impl Registered {
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
    /// until the process ends.
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
    pub async fn run<F>(mut self, mut handler: F) -> Result<(), Error>
    where
        F: for<'e> AsyncFnMut(EnvironmentEvent<'e>) -> Result<(), Failure>,
    {
        loop {
            let Some(event) = self.session.next().await? else { continue };
            let is_last = matches!(event, EnvironmentEvent::Shutdown(_));
            let handled = Catching::new(pin!(async { handler(event).await })).await;
            match handled.and_then(|result| result) {
                Ok(()) if is_last => return Ok(()),
                Ok(()) => {}
                Err(failure) => return Err(self.session.report(Report::Exit, failure).await),
            }
        }
    }
}
