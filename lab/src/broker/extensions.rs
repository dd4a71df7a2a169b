//! The internal extensions, as the service sees them.

use std::sync::Arc;

use uuid::Uuid;

use crate::invocation::Invocation;
use crate::refusal::{ExtensionRefusal, MAX_EXTENSIONS};

/// Those of one process.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    all: Vec<Extension>,
    /// The runtime has asked for its first event: nobody registers any more.
    is_closed: bool,
    /// The type of the failure that the first of them has reported.
    failure: Option<&'static str>,
}

#[derive(Debug)]
struct Extension {
    id: Uuid,
    name: String,
    has_invocations: bool,
    state: State,
    /// What it gets with its `next`.
    event: Option<Arc<Invocation>>,
    /// Somebody waits for it.
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

/// Where an extension fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    Init,
    Exit,
}

impl Extensions {
    /// A new one; the order of checks is that of the emulator.
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

    /// Nobody registers any more.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// One asks for its next event. One whose connection was lost in the meantime asks again.
    pub(crate) fn ask(&mut self, id: Uuid) -> Result<(), ExtensionRefusal> {
        let extension = self.find(id).ok_or(ExtensionRefusal::UnknownExtension(id))?;
        match extension.state {
            State::Ready | State::Running if extension.is_waiting => {
                return Err(extension.refuse(State::Ready));
            }
            State::Registered | State::Ready => extension.state = State::Ready,
            // It may not have got its event.
            State::Running if extension.event.is_some() => {}
            State::Running => extension.state = State::Ready,
            State::InitError | State::ExitError => return Err(extension.refuse(State::Ready)),
        }
        extension.is_waiting = true;
        Ok(())
    }

    /// What one who has asked gets now.
    pub(crate) fn take(&mut self, id: Uuid) -> Option<Arc<Invocation>> {
        self.find(id)?.event.take()
    }

    /// One who has asked got an event, or has gone.
    pub(crate) fn leave(&mut self, id: Uuid) {
        if let Some(extension) = self.find(id) {
            extension.is_waiting = false;
        }
    }

    /// Whether there is something for this one.
    pub(crate) fn has_event(&self, id: Uuid) -> bool {
        self.all.iter().any(|it| it.id == id && it.event.is_some())
    }

    /// One reports that it cannot go on. The first type that is told of one counts.
    pub(crate) fn fail(&mut self, id: Uuid, failing: Failing) -> Result<(), ExtensionRefusal> {
        let unknown = match failing {
            Failing::Init => ExtensionRefusal::UnknownIdentifier,
            Failing::Exit => ExtensionRefusal::UnknownExtension(id),
        };
        let extension = self.find(id).ok_or(unknown)?;
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

    /// The runtime gets an invocation, and with it those that want to know.
    pub(crate) fn invoke(&mut self, invocation: &Arc<Invocation>) {
        for extension in self.all.iter_mut().filter(|it| it.has_invocations) {
            extension.event = Some(Arc::clone(invocation));
            extension.state = State::Running;
        }
    }

    /// Whether the environment may get an event: each has asked for one.
    pub(crate) fn are_ready(&self) -> bool {
        self.all.iter().all(|it| it.state == State::Ready)
    }

    /// Whether there is one at all.
    pub(crate) fn is_any(&self) -> bool {
        !self.all.is_empty()
    }

    /// The type of the failure that the first of them has reported.
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
    fn an_extension_fails_in_the_states_of_the_table_and_in_no_others() {
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
    fn one_that_has_failed_asks_for_nothing_and_holds_up_the_rest() {
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
