//! The phase table of an extension: every phase, and every transition between them, as data.
//!
//! `src/extension/phase.md` is rendered from it, the tests of the table compare the machine with
//! it, and the model looks up its transitions in it. The machine has no access to it.

// Each test binary uses a part of this.
#![allow(dead_code)]

pub(crate) mod render;

use lambda_proto::api::ErrorReport;
use lambda_proto_extension::subscription::{Destination, Listener, Subscription, TelemetryTypes};
use lambda_proto_extension::{
    Call, CommandError, Extension, ExtensionName, InternalEvents, Phase, Recovery, Registrant,
};

use Input::{AnyOtherCommand, Do, Lost, ReadShutdown, Replied, ShutDown, Unasked, Violation};
use Loss::{Idle, Known, Open};
use Phase::{
    Asking, Over, Ready, Registered, Registering, ShuttingDown, Subscribing, Unregistered,
};
use Target::{Refused, Same, SameReconnecting, To};

/// A transition, or several that lead to the same phase for the same reason.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) from: &'static [Phase],
    pub(crate) inputs: &'static [Input],
    /// The inputs in the words of the documentation.
    words: &'static str,
    target: Target,
    /// For a lost connection only.
    pub(crate) recovery: Option<RecoveryKind>,
}

/// Everything that can change the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Do(Command),
    AnyOtherCommand,
    ShutDown,
    /// `read_event` with a SHUTDOWN.
    ReadShutdown,
    Replied(Answer),
    /// Bytes that are not a valid reply.
    Violation,
    /// Bytes that answer no request.
    Unasked,
    Lost(Loss),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    Register,
    Subscribe,
    Next,
    FailInit,
    Fail,
}

/// What a whole reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Accepted,
    Refused,
}

/// What is known when a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Loss {
    /// No request is outstanding.
    Idle,
    /// A request is outstanding, and the status of its reply is unknown.
    Open,
    /// The status of the reply has arrived, its end has not.
    Known(Answer),
}

/// A [`Recovery`] without its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RecoveryKind {
    Reconnect,
    RegisterAgain,
    SubscribeAgain,
    AskAgain,
    Answered,
    Exit,
}

impl RecoveryKind {
    pub(crate) fn of(recovery: Recovery) -> Self {
        match recovery {
            Recovery::Reconnect => Self::Reconnect,
            Recovery::RegisterAgain => Self::RegisterAgain,
            Recovery::SubscribeAgain => Self::SubscribeAgain,
            Recovery::AskAgain => Self::AskAgain,
            Recovery::Answered(_) => Self::Answered,
            Recovery::Exit => Self::Exit,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    To(Phase),
    Same,
    /// The same phase, and the connection can carry no further request.
    SameReconnecting,
    Refused,
}

/// The row of an input, and the phase that it leads to; `None` if there is no transition.
pub(crate) fn follow(from: Phase, input: Input) -> Option<(&'static Row, Phase)> {
    let applies = |row: &&Row| row.from.contains(&from) && row.inputs.contains(&input);
    let row = COMMANDS.iter().chain(LOSSES).find(applies)?;
    let to = match row.target {
        To(phase) => phase,
        Same | SameReconnecting | Refused => from,
    };
    Some((row, to))
}

/// The same for a command, which has a row even if it is refused.
pub(crate) fn follow_command(from: Phase, command: Command) -> (&'static Row, Phase) {
    follow(from, Do(command))
        .or_else(|| follow(from, AnyOtherCommand))
        .expect("any other command has a row in every phase")
}

impl Row {
    pub(crate) fn is_refused(&self) -> bool {
        self.target == Refused
    }

    pub(crate) fn must_reconnect(&self) -> bool {
        self.target == SameReconnecting
    }
}

impl Command {
    pub(crate) const ALL: [Self; 5] =
        [Self::Register, Self::Subscribe, Self::Next, Self::FailInit, Self::Fail];

    /// Gives the command to an extension.
    pub(crate) fn give(
        self,
        extension: &mut Extension,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let report = ErrorReport::new("Extension.NoSuchTable", "it broke");
        match self {
            Self::Register => {
                let name = ExtensionName::new("inproc").expect("a name");
                extension.register(&Registrant::internal(name, InternalEvents::Invoke), out)
            }
            Self::Subscribe => {
                let listener = Listener::on_port(8099).expect("a port");
                let destination = Destination::http(listener);
                let types = TelemetryTypes::PLATFORM;
                extension.subscribe(&Subscription::telemetry(types, destination), out)
            }
            Self::Next => extension.next(out),
            Self::FailInit => extension.fail_init(&report, out),
            Self::Fail => extension.fail(&report, out),
        }
    }
}

pub(crate) const REPORTING_INIT: Phase = Phase::Reporting { call: Call::InitError };
pub(crate) const REPORTING_EXIT: Phase = Phase::Reporting { call: Call::ExitError };

/// A phase and its properties.
pub(crate) struct Facts {
    pub(crate) phase: Phase,
    name: &'static str,
    meaning: &'static str,
    /// The call whose reply is outstanding.
    pub(crate) awaits: Option<Call>,
}

pub(crate) const PHASES: [Facts; 10] = [
    facts(Unregistered, "Unregistered", "the service does not know the extension", None),
    facts(Registering, "Registering", "the registration is in flight", Some(Call::Register)),
    facts(Registered, "Registered", "it has an identifier and has not asked for an event", None),
    facts(Subscribing, "Subscribing", "it has asked for telemetry or logs", Some(Call::Subscribe)),
    facts(Asking, "Asking", "it has asked for an event", Some(Call::Next)),
    facts(Ready, "Ready", "it can ask for the next event", None),
    facts(ShuttingDown, "ShuttingDown", "it has read SHUTDOWN", None),
    facts(
        REPORTING_INIT,
        "Reporting, init",
        "the report of a failed start is in flight",
        Some(Call::InitError),
    ),
    facts(
        REPORTING_EXIT,
        "Reporting, exit",
        "the report of a failure is in flight",
        Some(Call::ExitError),
    ),
    facts(Over, "Over", "it has ended", None),
];

const ALL: &[Phase] = &[
    Unregistered,
    Registering,
    Registered,
    Subscribing,
    Asking,
    Ready,
    ShuttingDown,
    REPORTING_INIT,
    REPORTING_EXIT,
    Over,
];

/// The phases in which a reply is outstanding.
const AWAITING: &[Phase] = &[Registering, Subscribing, Asking, REPORTING_INIT, REPORTING_EXIT];

/// The phases in which bytes may be unsolicited. While a request is outstanding they are, as long
/// as no byte of it was sent.
const OPEN: &[Phase] = &[
    Unregistered,
    Registering,
    Registered,
    Subscribing,
    Asking,
    Ready,
    ShuttingDown,
    REPORTING_INIT,
    REPORTING_EXIT,
];

const ANY_REPLY: &[Input] = &[Replied(Answer::Accepted), Replied(Answer::Refused)];

/// Commands and input.
pub(crate) static COMMANDS: &[Row] = &[
    row(&[Unregistered], &[Do(Command::Register)], "`register`", To(Registering)),
    row(&[Registering], &[Replied(Answer::Accepted)], "reply of 2xx", To(Registered)),
    row(&[Registering], &[Replied(Answer::Refused)], "any other reply", To(Unregistered)),
    row(&[Registered], &[Do(Command::Subscribe)], "`subscribe`", To(Subscribing)),
    row(&[Subscribing], ANY_REPLY, "reply", To(Registered)),
    row(&[Registered, Ready], &[Do(Command::Next)], "`next`", To(Asking)),
    row(&[Asking], ANY_REPLY, "reply", To(Ready)),
    row(&[Ready], &[ReadShutdown], "`read_event` of SHUTDOWN", To(ShuttingDown)),
    row(&[Registered], &[Do(Command::FailInit)], "`fail_init`", To(REPORTING_INIT)),
    row(&[Registered, Ready, ShuttingDown], &[Do(Command::Fail)], "`fail`", To(REPORTING_EXIT)),
    row(&[REPORTING_INIT, REPORTING_EXIT], ANY_REPLY, "reply", To(Over)),
    row(AWAITING, &[Violation], "bytes that are not a valid reply", To(Over)),
    row(OPEN, &[Unasked], "bytes that answer no request", SameReconnecting),
    row(ALL, &[ShutDown], "`shut_down`", To(Over)),
    row(ALL, &[AnyOtherCommand], "any other command", Refused),
];

/// Lost connections.
pub(crate) static LOSSES: &[Row] = &[
    loss(
        &[Unregistered, Registered, Ready, ShuttingDown],
        &[Lost(Idle)],
        "nothing outstanding",
        RecoveryKind::Reconnect,
        Same,
    ),
    loss(
        &[Registering],
        &[Lost(Open)],
        "no status of a reply received",
        RecoveryKind::RegisterAgain,
        To(Unregistered),
    ),
    loss(
        &[Registering],
        &[Lost(Known(Answer::Accepted))],
        "2xx received, the rest of the reply missing",
        RecoveryKind::Answered,
        To(Registered),
    ),
    loss(
        &[Registering],
        &[Lost(Known(Answer::Refused))],
        "any other status received, the rest of the reply missing",
        RecoveryKind::Answered,
        To(Unregistered),
    ),
    loss(
        &[Subscribing],
        &[Lost(Open)],
        "no status of a reply received",
        RecoveryKind::SubscribeAgain,
        To(Registered),
    ),
    loss(
        &[Subscribing],
        &[Lost(Known(Answer::Accepted)), Lost(Known(Answer::Refused))],
        "the status of the reply received, its rest missing",
        RecoveryKind::Answered,
        To(Registered),
    ),
    loss(
        &[Asking],
        &[Lost(Open), Lost(Known(Answer::Accepted)), Lost(Known(Answer::Refused))],
        "no whole event received",
        RecoveryKind::AskAgain,
        To(Ready),
    ),
    loss(
        &[REPORTING_INIT, REPORTING_EXIT],
        &[Lost(Open), Lost(Known(Answer::Accepted)), Lost(Known(Answer::Refused))],
        "whatever was received",
        RecoveryKind::Exit,
        To(Over),
    ),
    loss(&[Over], &[Lost(Idle)], "nothing outstanding", RecoveryKind::Exit, Same),
];

const fn facts(
    phase: Phase,
    name: &'static str,
    meaning: &'static str,
    awaits: Option<Call>,
) -> Facts {
    Facts { phase, name, meaning, awaits }
}

const fn row(
    from: &'static [Phase],
    inputs: &'static [Input],
    words: &'static str,
    target: Target,
) -> Row {
    Row { from, inputs, words, target, recovery: None }
}

const fn loss(
    from: &'static [Phase],
    inputs: &'static [Input],
    words: &'static str,
    recovery: RecoveryKind,
    target: Target,
) -> Row {
    Row { from, inputs, words, target, recovery: Some(recovery) }
}
