//! The transitions: the only file that decides which phase follows which.
//!
//! The tables in the documentation of the [crate] say the same. They are rendered from the data
//! that the tests compare this code with.

use core::fmt;

use super::{Call, Reply};

/// Where an extension is in its life. The transitions are [here](crate#commands-and-input).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The service does not know the extension.
    Unregistered,
    /// Its registration is in flight.
    Registering,
    /// It is registered and has not asked for an event.
    Registered,
    /// It has asked for telemetry or logs.
    Subscribing,
    /// It has asked for an event, which may take forever; never put a timeout on it.
    Asking,
    /// It has asked before and may ask again.
    Ready,
    /// It has read SHUTDOWN: it may report a failure, and must end.
    ShuttingDown,
    /// Its error report is in flight.
    Reporting {
        /// The call that carries it.
        call: Call,
    },
    /// It has ended.
    Over,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unregistered => "Unregistered",
            Self::Registering => "Registering",
            Self::Registered => "Registered",
            Self::Subscribing => "Subscribing",
            Self::Asking => "Asking",
            Self::Ready => "Ready",
            Self::ShuttingDown => "ShuttingDown",
            Self::Reporting { .. } => "Reporting",
            Self::Over => "Over",
        })
    }
}

/// What to do after a lost connection, by the [table](crate#lost-connections).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Connect when there is something to send.
    Reconnect,
    /// Connect and register. If the service refuses, it may have accepted the earlier request whose
    /// reply was lost; then the identifier is lost too, and init can no longer complete.
    RegisterAgain,
    /// Connect and subscribe. The service may have taken the earlier request whose reply was lost.
    /// Lambda replaces a subscription; AWS's emulator of Managed Instances refuses a second one
    /// with 500.
    SubscribeAgain,
    /// Connect and ask for an event.
    AskAgain,
    /// The status of the reply is known, as if it had arrived whole. Connect when there is
    /// something to send.
    Answered(Reply),
    /// End the extension.
    Exit,
}

/// Everything that can change the phase, except for a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Register,
    Subscribe,
    Next,
    FailInit,
    Fail,
    ShutDown,
    /// SHUTDOWN was read.
    ReadShutdown,
    Replied(Reply),
    /// An invalid reply.
    Violation,
}

impl Phase {
    /// The call whose reply is due.
    pub(super) const fn awaits(self) -> Option<Call> {
        match self {
            Self::Registering => Some(Call::Register),
            Self::Subscribing => Some(Call::Subscribe),
            Self::Asking => Some(Call::Next),
            Self::Reporting { call } => Some(call),
            _ => None,
        }
    }

    /// The table of commands and input; `None` where there is no transition.
    pub(super) fn after(self, input: Input) -> Option<Self> {
        Some(match (self, input) {
            (_, Input::ShutDown | Input::Violation) => Self::Over,
            (Self::Unregistered, Input::Register) => Self::Registering,
            (Self::Registering, Input::Replied(reply)) if reply.is_accepted() => Self::Registered,
            (Self::Registering, Input::Replied(_)) => Self::Unregistered,
            (Self::Registered, Input::Subscribe) => Self::Subscribing,
            (Self::Subscribing, Input::Replied(_)) => Self::Registered,
            (Self::Registered | Self::Ready, Input::Next) => Self::Asking,
            (Self::Asking, Input::Replied(_)) => Self::Ready,
            (Self::Ready, Input::ReadShutdown) => Self::ShuttingDown,
            (Self::Registered, Input::FailInit) => Self::Reporting { call: Call::InitError },
            (Self::Registered | Self::Ready | Self::ShuttingDown, Input::Fail) => {
                Self::Reporting { call: Call::ExitError }
            }
            (Self::Reporting { .. }, Input::Replied(_)) => Self::Over,
            _ => return None,
        })
    }

    /// The table of lost connections; `reply` is the one whose status is known and whose rest is
    /// missing.
    pub(super) fn after_loss(self, reply: Option<Reply>) -> (Self, Recovery) {
        match (self, reply) {
            (Self::Registering | Self::Subscribing, Some(reply)) => {
                (self.after(Input::Replied(reply)).unwrap_or(self), Recovery::Answered(reply))
            }
            (Self::Registering, None) => (Self::Unregistered, Recovery::RegisterAgain),
            (Self::Subscribing, None) => (Self::Registered, Recovery::SubscribeAgain),
            // Without its end, an event is of no use.
            (Self::Asking, _) => (Self::Ready, Recovery::AskAgain),
            (Self::Reporting { .. } | Self::Over, _) => (Self::Over, Recovery::Exit),
            _ => (self, Recovery::Reconnect),
        }
    }
}
