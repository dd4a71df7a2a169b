//! The extensions of an environment, as the service sees them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use uuid::Uuid;

use crate::invocation::Invocation;
use crate::lifecycle::Reason;
use crate::presence::is_closed;
use crate::refusal::{ExtensionRefusal, MAX_EXTENSIONS};
use crate::telemetry::{Platform, of_extension};

/// The extensions of one start of an environment.
#[derive(Debug)]
pub(crate) struct Extensions {
    /// The names of the external ones, which are started with the environment.
    external: Arc<[String]>,
    all: Vec<Extension>,
    /// Registration of internal extensions ends when the runtime asks for its first event.
    is_closed: bool,
    /// The type of the failure that was reported first.
    failure: Option<&'static str>,
}

#[derive(Debug)]
struct Extension {
    id: Uuid,
    name: String,
    kind: Kind,
    events: Events,
    state: State,
    /// The event that its `next` will return.
    event: Option<ExtensionEvent>,
    /// The `next` of this extension that is open.
    waiting: Option<Waiting>,
    /// How often it has asked.
    asked: u64,
    /// The type of the error that it reported, or with which it could not be started.
    error_type: Option<String>,
}

/// An open `next`.
#[derive(Debug)]
struct Waiting {
    /// Counts those of the extension.
    number: u64,
    peer: Peer,
}

/// The socket of a connection, if the system has given another handle for it.
pub(crate) type Peer = Option<Arc<OwnedFd>>;

/// Where an extension runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the process of the runtime.
    Internal,
    /// In a process of its own. Its name is that of its file.
    External,
}

/// The events that an extension has registered for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) invoke: bool,
    pub(crate) shutdown: bool,
}

/// What `event/next` returns.
#[derive(Clone, Debug)]
pub(crate) enum ExtensionEvent {
    Invoke(Arc<Invocation>),
    Shutdown(Shutdown),
}

/// The event that asks an external extension to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shutdown {
    /// When it is killed, in milliseconds since the Unix epoch.
    pub(crate) deadline: u128,
    pub(crate) reason: Reason,
}

/// Source: emulator, `core/internalagent_states.go` and `core/externalagent_states.go`; the names
/// are those of its error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// An external extension that has not registered yet.
    Started,
    Registered,
    /// It has asked for an event.
    Ready,
    /// It has one in flight.
    Running,
    InitError,
    ExitError,
    /// The process of an external extension could not be started.
    LaunchError,
}

/// The call by which an extension reports that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    Init,
    Exit,
}

impl Extensions {
    /// The external extensions of these names, which have not registered yet.
    pub(crate) fn new(external: Arc<[String]>) -> Self {
        let all = external.iter().map(|name| {
            let state = State::Started;
            Extension { state, ..Extension::new(name, Kind::External, Events::default()) }
        });
        Self { all: all.collect(), external, is_closed: false, failure: None }
    }

    /// The extensions of the next start.
    pub(crate) fn renewed(&self) -> Self {
        Self::new(Arc::clone(&self.external))
    }

    /// What an extension that registers with this name is.
    pub(crate) fn kind_of(&self, name: &str) -> Kind {
        match self.external.iter().any(|it| it == name) {
            true => Kind::External,
            false => Kind::Internal,
        }
    }

    /// Registers an extension. The order of checks is that of the emulator,
    /// `rapi/handler/agentregister.go`.
    pub(crate) fn register(
        &mut self,
        name: &str,
        events: Events,
    ) -> Result<Uuid, ExtensionRefusal> {
        match self.kind_of(name) {
            Kind::External => self.register_external(name, events),
            Kind::Internal => self.register_internal(name, events),
        }
    }

    fn register_external(&mut self, name: &str, events: Events) -> Result<Uuid, ExtensionRefusal> {
        // Cannot be `None`: all external extensions are there from the start.
        let extension = self.all.iter_mut().find(|it| it.name == name);
        let extension = extension.ok_or(ExtensionRefusal::Internal)?;
        if extension.state != State::Started {
            let (from, to) = (extension.state.name(), State::Registered.name());
            return Err(ExtensionRefusal::Order { extension: name.to_owned(), from, to });
        }
        extension.events = events;
        extension.enter(State::Registered);
        Ok(extension.id)
    }

    fn register_internal(&mut self, name: &str, events: Events) -> Result<Uuid, ExtensionRefusal> {
        if self.is_closed {
            return Err(ExtensionRefusal::Closed);
        }
        if self.all.len() >= MAX_EXTENSIONS {
            return Err(ExtensionRefusal::TooMany);
        }
        if self.all.iter().any(|it| it.name == name) {
            return Err(ExtensionRefusal::NameTaken);
        }
        let extension = Extension::new(name, Kind::Internal, events);
        let id = extension.id;
        self.all.push(extension);
        Ok(id)
    }

    /// Ends registration.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// An extension asks for its next event, or asks again because it lost its connection. Returns
    /// the number of the call.
    pub(crate) fn ask(&mut self, id: Uuid, peer: Peer) -> Result<u64, ExtensionRefusal> {
        let extension = self.find(id).ok_or(ExtensionRefusal::UnknownExtension(id))?;
        let is_waiting = extension.waiting.as_ref().is_some_and(Waiting::is_there);
        match extension.state {
            State::Ready | State::Running if is_waiting => {
                return Err(extension.refuse(State::Ready));
            }
            State::Registered | State::Ready => extension.enter(State::Ready),
            // The extension may not have received its event.
            State::Running if extension.event.is_some() => {}
            State::Running => extension.enter(State::Ready),
            State::Started | State::InitError | State::ExitError | State::LaunchError => {
                return Err(extension.refuse(State::Ready));
            }
        }
        extension.asked += 1;
        let number = extension.asked;
        extension.waiting = Some(Waiting { number, peer });
        Ok(number)
    }

    /// Takes the event for an extension that has asked, if there is one.
    pub(crate) fn take(&mut self, id: Uuid) -> Option<ExtensionEvent> {
        let extension = self.find(id)?;
        let event = extension.event.take()?;
        extension.enter(State::Running);
        Some(event)
    }

    /// An extension that had asked with this call got its event, or closed its connection.
    pub(crate) fn leave(&mut self, id: Uuid, number: u64) {
        if let Some(extension) = self.find(id) {
            extension.waiting.take_if(|waiting| waiting.number == number);
        }
    }

    /// Whether there is an event for this extension.
    pub(crate) fn has_event(&self, id: Uuid) -> bool {
        self.all.iter().any(|it| it.id == id && it.event.is_some())
    }

    /// An extension reports that it failed, with an error of this type. The failure that was
    /// reported first counts, and of one extension the first type.
    pub(crate) fn fail(
        &mut self,
        id: Uuid,
        failing: Failing,
        error_type: &str,
    ) -> Result<(), ExtensionRefusal> {
        let extension = self.find(id).ok_or(ExtensionRefusal::UnknownIdentifier)?;
        let (to, failure) = match (failing, extension.state) {
            (Failing::Init, State::Registered | State::InitError) => {
                (State::InitError, "Extension.InitError")
            }
            (
                Failing::Exit,
                State::Registered | State::Ready | State::Running | State::ExitError,
            ) => (State::ExitError, "Extension.ExitError"),
            (Failing::Init, _) => return Err(extension.refuse(State::InitError)),
            (Failing::Exit, from) => {
                let (extension, from) = (id.to_string(), from.name());
                return Err(ExtensionRefusal::Order { extension, from, to: "Exited" });
            }
        };
        extension.enter(to);
        extension.error_type.get_or_insert_with(|| of_extension(error_type, failure));
        self.failure.get_or_insert(failure);
        Ok(())
    }

    /// The process of this external extension cannot be started.
    pub(crate) fn cannot_launch(&mut self, name: &str) {
        if let Some(extension) = self.all.iter_mut().find(|it| it.name == name) {
            extension.enter(State::LaunchError);
            extension.error_type = Some("Extension.LaunchError".to_owned());
        }
    }

    /// The runtime gets an invocation, and so do the extensions that registered for invocations.
    pub(crate) fn invoke(&mut self, invocation: &Arc<Invocation>) {
        for extension in self.all.iter_mut().filter(|it| it.events.invoke) {
            extension.event = Some(ExtensionEvent::Invoke(Arc::clone(invocation)));
            extension.enter(State::Running);
        }
    }

    /// The external extensions that registered for it are asked to end. One that has an invocation
    /// in flight gets this event with its next call.
    pub(crate) fn shut_down(&mut self, shutdown: Shutdown) {
        for extension in self.all.iter_mut().filter(|it| it.events.shutdown) {
            extension.event = Some(ExtensionEvent::Shutdown(shutdown));
        }
    }

    /// Whether the external extension of this name has registered for its shutdown.
    pub(crate) fn takes_shutdown(&self, name: &str) -> bool {
        self.all.iter().any(|it| it.name == name && it.events.shutdown)
    }

    /// Whether every external extension has registered.
    pub(crate) fn are_registered(&self) -> bool {
        self.all.iter().all(|it| it.state != State::Started)
    }

    /// Whether the environment may get an event: every extension has asked for one.
    pub(crate) fn are_ready(&self) -> bool {
        self.all.iter().all(|it| it.state == State::Ready)
    }

    /// Whether an extension of this name is registered.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.all.iter().any(|it| it.name == name)
    }

    /// Whether an extension with this id is registered.
    #[cfg(test)]
    fn has(&self, id: Uuid) -> bool {
        self.name(id).is_some()
    }

    /// The name of the extension with this id.
    pub(crate) fn name(&self, id: Uuid) -> Option<String> {
        self.all.iter().find(|it| it.id == id).map(|it| it.name.clone())
    }

    /// Whether an extension gets invocations.
    pub(crate) fn are_any_invoked(&self) -> bool {
        self.all.iter().any(|it| it.events.invoke)
    }

    /// What telemetry says of each at the end of init.
    ///
    /// Source: emulator, `rapid/handlers.go`, `logAgentsInitStatus`.
    pub(crate) fn events(&self) -> impl Iterator<Item = Platform> {
        self.all.iter().map(|extension| {
            let Events { invoke, shutdown } = extension.events;
            let events = [(invoke, "INVOKE"), (shutdown, "SHUTDOWN")];
            Platform::Extension {
                name: extension.name.clone(),
                state: extension.state.name(),
                events: events.into_iter().filter(|it| it.0).map(|it| it.1).collect(),
                error_type: extension.error_type.clone(),
            }
        })
    }

    /// Whether this is the id of an external extension.
    pub(crate) fn is_external(&self, id: Uuid) -> bool {
        self.all.iter().any(|it| it.id == id && it.kind == Kind::External)
    }

    /// The id of the external extension of this name.
    pub(crate) fn external_id(&self, name: &str) -> Option<Uuid> {
        let mut all = self.all.iter();
        all.find(|it| it.kind == Kind::External && it.name == name).map(|it| it.id)
    }

    /// Whether there is an extension: an internal one that has registered, or an external one.
    pub(crate) fn is_any(&self) -> bool {
        !self.all.is_empty()
    }

    /// Whether an internal extension has registered.
    pub(crate) fn is_any_internal(&self) -> bool {
        self.all.iter().any(|it| it.kind == Kind::Internal)
    }

    /// The type of the failure that was reported first.
    pub(crate) fn failure(&self) -> Option<&'static str> {
        self.failure
    }

    fn find(&mut self, id: Uuid) -> Option<&mut Extension> {
        self.all.iter_mut().find(|it| it.id == id)
    }
}

impl Waiting {
    /// Whether the extension has not closed the connection, as far as is known.
    fn is_there(&self) -> bool {
        self.peer.as_ref().is_none_or(|peer| !is_closed(peer))
    }
}

impl Extension {
    fn new(name: &str, kind: Kind, events: Events) -> Self {
        Self {
            id: Uuid::new_v4(),
            name: name.to_owned(),
            kind,
            events,
            state: State::Registered,
            event: None,
            waiting: None,
            asked: 0,
            error_type: None,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
    }

    fn refuse(&self, to: State) -> ExtensionRefusal {
        let (from, to) = (self.state.name(), to.name());
        ExtensionRefusal::Order { extension: self.id.to_string(), from, to }
    }
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Registered => "Registered",
            Self::Ready => "Ready",
            Self::Running => "Running",
            Self::InitError => "InitError",
            Self::ExitError => "ExitError",
            Self::LaunchError => "LaunchError",
        }
    }
}

#[cfg(test)]
mod tests;
