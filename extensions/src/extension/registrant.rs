use super::ExtensionName;

/// An extension as it introduces itself to the service: its name, its kind, the events that it
/// takes, and the features that it accepts.
///
/// Which events an extension may take follows from its kind, so the service never refuses one for
/// its events (emulator: `rapi/handler/agentregister.go`, and the same file of its Managed
/// Instances):
///
/// | | default capacity | Managed Instances |
/// |---|---|---|
/// | [external](Self::external), a process of its own | INVOKE, SHUTDOWN | SHUTDOWN |
/// | [internal](Self::internal), in the runtime's process | INVOKE | none |
///
/// ```compile_fail
/// use lambda_proto_extension::{ExtensionName, ExternalEvents, Registrant};
///
/// let name = ExtensionName::new("inside")?;
/// // An internal extension gets no SHUTDOWN.
/// let registrant = Registrant::internal(name, ExternalEvents::Shutdown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrant<'a> {
    pub(super) name: ExtensionName<'a>,
    /// The document that the service expects.
    pub(super) document: &'static str,
    pub(super) accepts_account_id: bool,
    pub(super) is_managed: bool,
}

/// The events of an external extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExternalEvents {
    /// None. Its `next` stays open until the process is killed.
    None,
    /// The beginning of each invocation.
    Invoke,
    /// The end of the environment.
    Shutdown,
    /// Both.
    InvokeAndShutdown,
}

/// The events of an internal extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InternalEvents {
    /// None. Its `next` stays open until the process ends.
    None,
    /// The beginning of each invocation.
    Invoke,
}

/// The events of an external extension on Managed Instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManagedEvents {
    /// None. Its `next` stays open until the process is killed.
    None,
    /// The end of the environment.
    Shutdown,
}

const NONE: &str = r#"{"events":[]}"#;
const INVOKE: &str = r#"{"events":["INVOKE"]}"#;
const SHUTDOWN: &str = r#"{"events":["SHUTDOWN"]}"#;
const BOTH: &str = r#"{"events":["INVOKE","SHUTDOWN"]}"#;

impl<'a> Registrant<'a> {
    /// A process of its own, which Lambda has started from `/opt/extensions`. The name must be that
    /// of its file there.
    pub const fn external(name: ExtensionName<'a>, events: ExternalEvents) -> Self {
        Self::new(
            name,
            match events {
                ExternalEvents::None => NONE,
                ExternalEvents::Invoke => INVOKE,
                ExternalEvents::Shutdown => SHUTDOWN,
                ExternalEvents::InvokeAndShutdown => BOTH,
            },
        )
    }

    /// A part of the runtime's process. The name must not be that of another extension, in
    /// particular of a file in `/opt/extensions`.
    pub const fn internal(name: ExtensionName<'a>, events: InternalEvents) -> Self {
        Self::new(
            name,
            match events {
                InternalEvents::None => NONE,
                InternalEvents::Invoke => INVOKE,
            },
        )
    }

    /// Like [`external`](Self::external), on Managed Instances.
    pub const fn managed_external(name: ExtensionName<'a>, events: ManagedEvents) -> Self {
        Self::new(
            name,
            match events {
                ManagedEvents::None => NONE,
                ManagedEvents::Shutdown => SHUTDOWN,
            },
        )
        .on_managed_instances()
    }

    /// Like [`internal`](Self::internal), on Managed Instances, where such an extension takes no
    /// events.
    pub const fn managed_internal(name: ExtensionName<'a>) -> Self {
        Self::new(name, NONE).on_managed_instances()
    }

    /// Asks for the id of the account, which is then in the
    /// [registration](super::Registration::account_id).
    #[must_use]
    pub const fn with_account_id(mut self) -> Self {
        self.accepts_account_id = true;
        self
    }

    /// The name.
    pub const fn name(&self) -> ExtensionName<'a> {
        self.name
    }

    const fn new(name: ExtensionName<'a>, document: &'static str) -> Self {
        Self { name, document, accepts_account_id: false, is_managed: false }
    }

    const fn on_managed_instances(mut self) -> Self {
        self.is_managed = true;
        self
    }
}
