//! Internal extensions, as the service sees them.

use std::sync::Arc;

use uuid::Uuid;

use crate::invocation::Invocation;
use crate::refusal::{ExtensionRefusal, MAX_EXTENSIONS};

/// The extensions of one process.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    all: Vec<Extension>,
    /// Registration ends when the runtime asks for its first event.
    is_closed: bool,
    /// The type of the failure that was reported first.
    failure: Option<&'static str>,
}

#[derive(Debug)]
struct Extension {
    id: Uuid,
    name: String,
    has_invocations: bool,
    state: State,
    /// The event that its `next` will return.
    event: Option<Arc<Invocation>>,
    /// A `next` of this extension is open.
    is_waiting: bool,
}

/// Source: emulator, `core/internalagent_states.go`; the names are those of its error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Registered,
    /// It has asked for an event.
    Ready,
    /// It has one in flight.
    Running,
    InitError,
    ExitError,
}

/// The call by which an extension reports that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    Init,
    Exit,
}

impl Extensions {
    /// Adds an extension. The order of checks is that of the emulator.
    pub(crate) fn register(
        &mut self,
        name: &str,
        has_invocations: bool,
    ) -> Result<Uuid, ExtensionRefusal> {
        if self.is_closed {
            return Err(ExtensionRefusal::Closed);
        }
        if self.all.len() >= MAX_EXTENSIONS {
            return Err(ExtensionRefusal::TooMany);
        }
        if self.all.iter().any(|it| it.name == name) {
            return Err(ExtensionRefusal::NameTaken);
        }
        let id = Uuid::new_v4();
        self.all.push(Extension {
            id,
            name: name.to_owned(),
            has_invocations,
            state: State::Registered,
            event: None,
            is_waiting: false,
        });
        Ok(id)
    }

    /// Ends registration.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// An extension asks for its next event, or asks again because it lost its connection.
    pub(crate) fn ask(&mut self, id: Uuid) -> Result<(), ExtensionRefusal> {
        let extension = self.find(id).ok_or(ExtensionRefusal::UnknownExtension(id))?;
        match extension.state {
            State::Ready | State::Running if extension.is_waiting => {
                return Err(extension.refuse(State::Ready));
            }
            State::Registered | State::Ready => extension.state = State::Ready,
            // The extension may not have received its event.
            State::Running if extension.event.is_some() => {}
            State::Running => extension.state = State::Ready,
            State::InitError | State::ExitError => return Err(extension.refuse(State::Ready)),
        }
        extension.is_waiting = true;
        Ok(())
    }

    /// Takes the event for an extension that has asked, if there is one.
    pub(crate) fn take(&mut self, id: Uuid) -> Option<Arc<Invocation>> {
        self.find(id)?.event.take()
    }

    /// An extension that had asked got its event, or closed its connection.
    pub(crate) fn leave(&mut self, id: Uuid) {
        if let Some(extension) = self.find(id) {
            extension.is_waiting = false;
        }
    }

    /// Whether there is an event for this extension.
    pub(crate) fn has_event(&self, id: Uuid) -> bool {
        self.all.iter().any(|it| it.id == id && it.event.is_some())
    }

    /// An extension reports that it failed. The failure that was reported first counts.
    pub(crate) fn fail(&mut self, id: Uuid, failing: Failing) -> Result<(), ExtensionRefusal> {
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
                let from = from.name();
                return Err(ExtensionRefusal::Order { id, from, to: "Exited" });
            }
        };
        extension.state = to;
        self.failure.get_or_insert(failure);
        Ok(())
    }

    /// The runtime gets an invocation, and so do the extensions that registered for invocations.
    pub(crate) fn invoke(&mut self, invocation: &Arc<Invocation>) {
        for extension in self.all.iter_mut().filter(|it| it.has_invocations) {
            extension.event = Some(Arc::clone(invocation));
            extension.state = State::Running;
        }
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
    pub(crate) fn has(&self, id: Uuid) -> bool {
        self.all.iter().any(|it| it.id == id)
    }

    /// Whether an extension is registered.
    pub(crate) fn is_any(&self) -> bool {
        !self.all.is_empty()
    }

    /// The type of the failure that was reported first.
    pub(crate) fn failure(&self) -> Option<&'static str> {
        self.failure
    }

    fn find(&mut self, id: Uuid) -> Option<&mut Extension> {
        self.all.iter_mut().find(|it| it.id == id)
    }
}

impl Extension {
    fn refuse(&self, to: State) -> ExtensionRefusal {
        ExtensionRefusal::Order { id: self.id, from: self.state.name(), to: to.name() }
    }
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Registered => "Registered",
            Self::Ready => "Ready",
            Self::Running => "Running",
            Self::InitError => "InitError",
            Self::ExitError => "ExitError",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_may_fail_only_in_the_states_of_the_table() {
        use Failing::{Exit, Init};
        use State::*;
        for (state, failing, then) in [
            (Registered, Init, Some(InitError)),
            (Registered, Exit, Some(ExitError)),
            (Ready, Init, None),
            (Ready, Exit, Some(ExitError)),
            (Running, Init, None),
            (Running, Exit, Some(ExitError)),
            (InitError, Init, Some(InitError)),
            (InitError, Exit, None),
            (ExitError, Init, None),
            (ExitError, Exit, Some(ExitError)),
        ] {
            let mut extensions = Extensions::default();
            let id = extensions.register("x", false).unwrap();
            extensions.all[0].state = state;
            let result = extensions.fail(id, failing);
            assert_eq!(result.is_ok(), then.is_some(), "{state:?} {failing:?}");
            assert_eq!(extensions.all[0].state, then.unwrap_or(state), "{state:?} {failing:?}");
        }
    }

    #[test]
    fn a_failed_extension_may_not_ask_and_blocks_further_events() {
        for failing in [Failing::Init, Failing::Exit] {
            let mut extensions = Extensions::default();
            let id = extensions.register("x", false).unwrap();
            extensions.fail(id, failing).unwrap();
            assert!(matches!(extensions.ask(id), Err(ExtensionRefusal::Order { .. })));
            assert!(!extensions.are_ready());
        }
    }

    #[test]
    fn the_failure_that_was_reported_first_counts() {
        let mut extensions = Extensions::default();
        let [one, two] = ["1", "2"].map(|name| extensions.register(name, false).unwrap());
        assert_eq!(extensions.failure(), None);
        extensions.fail(two, Failing::Exit).unwrap();
        extensions.fail(one, Failing::Init).unwrap();
        assert_eq!(extensions.failure(), Some("Extension.ExitError"));
    }
}
