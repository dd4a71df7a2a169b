//! The order in which a runtime may make its calls, as a table.

use std::fmt;

/// The state of a runtime, as the service sees it. The names appear in the service's error texts.
///
/// Source: emulator, `core/states.go` and `core/runtime_state_names.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the service's own names, which Debug shows")]
pub(crate) enum State {
    Started,
    InitError,
    Ready,
    Running,
    InvocationResponse,
    InvocationErrorResponse,
    RuntimeResponseSentState,
    RestoreReady,
    Restoring,
    RuntimeRestoreErrorState,
}

/// A call whose order is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Next,
    Response,
    Error,
    InitError,
    RestoreNext,
    RestoreError,
}

/// A call out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forbidden {
    from: State,
    to: State,
}

impl State {
    /// The state after a call. `next` in [`State::Running`] returns the same event again.
    pub(crate) fn after(self, call: Call) -> Result<Self, Forbidden> {
        use State::*;
        match (self, call) {
            (Started | Restoring | Ready | RuntimeResponseSentState, Call::Next) => Ok(Ready),
            (Running, Call::Next) => Ok(Running),
            (Running, Call::Response) => Ok(InvocationResponse),
            (Running, Call::Error) => Ok(InvocationErrorResponse),
            (Started, Call::InitError) => Ok(InitError),
            (Started, Call::RestoreNext) => Ok(RestoreReady),
            (Restoring, Call::RestoreError | Call::InitError) => Ok(RuntimeRestoreErrorState),
            // The service's error text names the same state for both calls.
            (from, Call::Next | Call::RestoreNext) => Err(Forbidden { from, to: Ready }),
            (from, Call::Response) => Err(Forbidden { from, to: InvocationResponse }),
            (from, Call::Error) => Err(Forbidden { from, to: InvocationErrorResponse }),
            (from, Call::InitError) => Err(Forbidden { from, to: InitError }),
            (from, Call::RestoreError) => Err(Forbidden { from, to: RuntimeRestoreErrorState }),
        }
    }

    /// Whether no further call is allowed until the runtime is started again.
    pub(crate) fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::InitError
                | Self::InvocationResponse
                | Self::InvocationErrorResponse
                | Self::RuntimeRestoreErrorState
        )
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "State transition from {from:?} to {to:?} failed for runtime. \
             Error: State transition is not allowed"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, State};

    #[test]
    fn every_call_in_every_state_follows_the_table() {
        use State::*;
        let states = [
            Started,
            InitError,
            Ready,
            Running,
            InvocationResponse,
            InvocationErrorResponse,
            RuntimeResponseSentState,
            RestoreReady,
            Restoring,
            RuntimeRestoreErrorState,
        ];
        let calls = [
            Call::Next,
            Call::Response,
            Call::Error,
            Call::InitError,
            Call::RestoreNext,
            Call::RestoreError,
        ];
        let allowed = [
            (Started, Call::Next, Ready),
            (Started, Call::InitError, InitError),
            (Started, Call::RestoreNext, RestoreReady),
            (Restoring, Call::Next, Ready),
            (Restoring, Call::RestoreError, RuntimeRestoreErrorState),
            (Restoring, Call::InitError, RuntimeRestoreErrorState),
            (Ready, Call::Next, Ready),
            (Running, Call::Next, Running),
            (Running, Call::Response, InvocationResponse),
            (Running, Call::Error, InvocationErrorResponse),
            (RuntimeResponseSentState, Call::Next, Ready),
        ];
        for state in states {
            for call in calls {
                let row = allowed.iter().find(|(from, by, _)| (*from, *by) == (state, call));
                assert_eq!(state.after(call).ok(), row.map(|(_, _, to)| *to), "{state:?} {call:?}");
            }
        }
    }

    #[test]
    fn a_forbidden_call_has_the_error_text_of_the_service() {
        let error = State::RuntimeResponseSentState.after(Call::Response).unwrap_err();
        assert_eq!(
            error.to_string(),
            "State transition from RuntimeResponseSentState to InvocationResponse failed for \
             runtime. Error: State transition is not allowed"
        );
        for (state, call, from_to) in [
            (State::InitError, Call::Next, "from InitError to Ready"),
            (State::RestoreReady, Call::RestoreNext, "from RestoreReady to Ready"),
            (State::Started, Call::RestoreError, "from Started to RuntimeRestoreErrorState"),
        ] {
            let error = state.after(call).unwrap_err().to_string();
            assert!(error.starts_with(&format!("State transition {from_to} failed")), "{error}");
        }
    }
}
