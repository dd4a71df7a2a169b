use lambda_proto::api::Endpoint;
use lambda_proto_extension::collector::OwnLogs;
use lambda_proto_extension::{
    ExtensionName, ExternalEvents, InternalEvents, ManagedEvents, Registrant,
};

use super::Error;
use crate::Settings;
use crate::environment::{Environment, InitializationType};

/// How an extension introduces itself, and the settings of its session.
#[derive(Clone)]
pub struct Config {
    /// The address, the patience and the log.
    pub settings: Settings,
    /// The name; that of an external extension is the name of its file.
    pub name: String,
    /// Where the extension lives.
    pub kind: Kind,
    /// Whether this is an environment of Managed Instances, where an extension may take fewer
    /// events.
    pub is_managed: bool,
    /// Whether the extension takes INVOKE, where it may.
    pub takes_invocations: bool,
}

/// Where an extension lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A process of its own, which Lambda has started from `/opt/extensions`.
    External,
    /// A part of the runtime's process.
    Internal,
}

impl Config {
    /// The configuration of the environment: the address of `AWS_LAMBDA_RUNTIME_API`, and Managed
    /// Instances if `AWS_LAMBDA_INITIALIZATION_TYPE` names them.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] as [`Settings::from_env`].
    pub fn from_env(name: &str, kind: Kind) -> Result<Self, Error> {
        let mut this = Self::with(Settings::from_env()?, name, kind);
        let environment = Environment::read();
        this.is_managed =
            environment.initialization_type() == Some(InitializationType::ManagedInstances);
        Ok(this)
    }

    /// An extension at this address, on default capacity.
    pub fn new(endpoint: Endpoint, name: &str, kind: Kind) -> Self {
        Self::with(Settings::new(endpoint), name, kind)
    }

    /// What the extension says of itself.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] if the name cannot be sent.
    pub fn registrant(&self) -> Result<Registrant<'_>, Error> {
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
        Ok(registrant.with_account_id())
    }

    /// As which telemetry the extension finds its own output.
    pub fn own_logs(&self) -> OwnLogs {
        match self.kind {
            Kind::External => OwnLogs::Extension,
            Kind::Internal => OwnLogs::Function,
        }
    }

    fn with(settings: Settings, name: &str, kind: Kind) -> Self {
        let name = name.to_owned();
        Self { settings, name, kind, is_managed: false, takes_invocations: true }
    }
}
