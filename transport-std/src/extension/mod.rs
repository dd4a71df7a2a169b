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

mod error;
mod session;

use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto_extension::{
    ExtensionName, ExternalEvents, InternalEvents, ManagedEvents, Registrant, Registration,
};
use lambda_proto_host::environment::{Environment, InitializationType};
use lambda_proto_host::{Failure, Record, Settings, catch};

pub use error::Error;
pub use lambda_proto_extension::{
    EnvironmentEvent, InvalidExtensionName, Invoke, Shutdown, ShutdownCause, ShutdownReason,
};

use session::Session;

/// An extension, configured but not connected.
///
/// The [module](self) has an example.
#[derive(Clone)]
pub struct Extension {
    settings: Settings,
    name: String,
    kind: Kind,
    is_managed: bool,
    takes_invocations: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    External,
    Internal,
}

/// The longest time that a registration may take, connecting included. Lambda replies within
/// milliseconds, and init has 10 s for everything.
const REGISTRATION: Duration = Duration::from_secs(5);

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
        Self::of_environment(name, Kind::External)
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
        Self::of_environment(name, Kind::Internal)
    }

    /// An external extension at this address, on default capacity.
    pub fn new(endpoint: Endpoint, name: &str) -> Self {
        Self::with(Settings::new(endpoint), name, Kind::External)
    }

    /// An internal extension at this address, on default capacity.
    pub fn internal(endpoint: Endpoint, name: &str) -> Self {
        Self::with(Settings::new(endpoint), name, Kind::Internal)
    }

    /// Sets whether this is an environment of Managed Instances, where an extension may take fewer
    /// events.
    #[must_use]
    pub fn on_managed_instances(mut self) -> Self {
        self.is_managed = true;
        self
    }

    /// Leaves out INVOKE, for an extension that works at the end of the environment only.
    #[must_use]
    pub fn without_invocations(mut self) -> Self {
        self.takes_invocations = false;
        self
    }

    /// How long to keep trying without a connection before giving up; 60 s unless set.
    #[must_use]
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Where log lines go, as [`Runtime::log`](crate::Runtime::log).
    #[must_use]
    pub fn log(mut self, write: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Self {
        self.settings.set_log(write);
        self
    }

    /// Registers the extension. Blocks for at most 5 s.
    ///
    /// # Errors
    ///
    /// Any [`Error`] but [`Error::Failed`]. Return it from `main`. A registration is not retried:
    /// the service may have taken the request although its reply was lost.
    pub fn register(self) -> Result<Registered, Error> {
        let name = ExtensionName::new(&self.name).map_err(Error::Name)?;
        let registrant = match (self.kind, self.is_managed, self.takes_invocations) {
            (Kind::External, false, true) => {
                Registrant::external(name, ExternalEvents::InvokeAndShutdown)
            }
            (Kind::External, false, false) => Registrant::external(name, ExternalEvents::Shutdown),
            (Kind::External, true, _) => {
                Registrant::managed_external(name, ManagedEvents::Shutdown)
            }
            (Kind::Internal, false, true) => Registrant::internal(name, InternalEvents::Invoke),
            (Kind::Internal, false, false) => Registrant::internal(name, InternalEvents::None),
            (Kind::Internal, true, _) => Registrant::managed_internal(name),
        };
        let (session, document) =
            Session::register(self.settings, &registrant.with_account_id(), REGISTRATION)?;
        Ok(Registered { session, function: Function::of(&document) })
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

    fn of_environment(name: &str, kind: Kind) -> Result<Self, Error> {
        let mut this = Self::with(Settings::from_env()?, name, kind);
        let environment = Environment::read();
        this.is_managed =
            environment.initialization_type() == Some(InitializationType::ManagedInstances);
        Ok(this)
    }

    fn with(settings: Settings, name: &str, kind: Kind) -> Self {
        let name = name.to_owned();
        Self { settings, name, kind, is_managed: false, takes_invocations: true }
    }
}

/// An extension that Lambda knows. Init is not complete until it [runs](Self::run).
pub struct Registered {
    session: Session,
    function: Function,
}

/// The function that an extension is registered with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its version, `$LATEST` or a number.
    pub version: String,
    /// Its handler; often empty in a container image.
    pub handler: String,
    /// The id of its account; empty if the service does not tell.
    pub account_id: String,
}

impl Function {
    fn of(document: &[u8]) -> Self {
        // The extension is registered, whatever the document says.
        let registration = Registration::parse(document).unwrap_or_default();
        Self {
            name: registration.function_name.to_string(),
            version: registration.function_version.to_string(),
            handler: registration.handler.to_string(),
            account_id: registration.account_id.to_string(),
        }
    }
}

impl Registered {
    /// The function of this environment.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Reports that the extension cannot start, and returns the error to end the process with.
    /// Lambda then ends the environment.
    pub fn fail_init(mut self, failure: impl Into<Failure>) -> Error {
        self.session.fail_init(failure.into())
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
            let (event, log) = self.session.next()?;
            let event = match event {
                Ok(event) => event,
                Err(reason) => {
                    log.warn(format_args!(
                        "an event cannot be read, asking for the next: {reason}"
                    ));
                    continue;
                }
            };
            let is_last = matches!(event, EnvironmentEvent::Shutdown(_));
            match catch(|| handler(event)) {
                Ok(()) if is_last => return Ok(()),
                Ok(()) => {}
                Err(failure) => return Err(self.session.fail(failure)),
            }
        }
    }
}
