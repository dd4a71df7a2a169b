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

mod session;

use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto_host::extension::{Config, Kind, Report};
use lambda_proto_host::{Failure, Record, catch};

pub use lambda_proto_extension::{
    EnvironmentEvent, InvalidExtensionName, Invoke, Remedy, Shutdown, ShutdownCause, ShutdownReason,
};
pub use lambda_proto_host::extension::{Error, Function};

use session::Session;

/// An extension, configured but not connected.
///
/// The [module](self) has an example.
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
    /// the runtime asks for its first invocation, and [run](Registered::run) it on a thread of its
    /// own.
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

    /// Registers the extension. Blocks for at most 5 s.
    ///
    /// # Errors
    ///
    /// Any [`Error`] but [`Error::Failed`]. Return it from `main`. A registration is not retried:
    /// the service may have taken the request although its reply was lost.
    pub fn register(self) -> Result<Registered, Error> {
        let registrant = self.config.registrant()?;
        let (session, function) = Session::register(self.config.settings.clone(), &registrant)?;
        Ok(Registered { session, function })
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
}

impl Registered {
    /// The function of this environment.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Reports that the extension cannot start, and returns the error to end the process with.
    /// Lambda then ends the environment.
    pub fn fail_init(mut self, failure: impl Into<Failure>) -> Error {
        self.session.report(Report::Init, failure.into())
    }

    /// Calls `handler` for each event; returns after SHUTDOWN. Without any event to come, it blocks
    /// until the process ends.
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
            let Some(event) = self.session.next()? else { continue };
            let is_last = matches!(event, EnvironmentEvent::Shutdown(_));
            match catch(|| handler(event)) {
                Ok(()) if is_last => return Ok(()),
                Ok(()) => {}
                Err(failure) => return Err(self.session.report(Report::Exit, failure)),
            }
        }
    }
}
