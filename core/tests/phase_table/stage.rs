//! The stages: phases with what the machine must remember in them.

use lambda_proto::api::Call;
use lambda_proto::machine::{CommandError, Machine, Phase};

use super::{Input, follow};
use crate::support::{self, Command, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    Init,
    Restoring,
    Restored,
    Ready,
    Asked,
    Receiving,
    Invoking,
    Streaming,
    Reporting,
    ReportingAsked,
    Withdrawn,
    ReportingFailure,
    ShuttingDown,
}

use Stage::{
    Asked, Init, Invoking, Ready, Receiving, Reporting, ReportingAsked, ReportingFailure, Restored,
    Restoring, ShuttingDown, Streaming, Withdrawn,
};

/// The properties of a stage.
pub(super) struct Facts {
    stage: Stage,
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    phase: Phase,
    /// The calls that may be outstanding, of which one is.
    pub(super) awaits: &'static [Call],
    pub(super) has_invocation: bool,
}

pub(super) static STAGES: [Facts; 13] = [
    Facts {
        stage: Init,
        name: "Init",
        meaning: "nothing has been asked for, except perhaps a restore",
        phase: Phase::Init,
        awaits: &[],
        has_invocation: false,
    },
    Facts {
        stage: Restoring,
        name: "Init, restoring",
        meaning: "the environment is snapshotted and restored",
        phase: Phase::Init,
        awaits: &[Call::RestoreNext],
        has_invocation: false,
    },
    Facts {
        stage: Restored,
        name: "Init, restored",
        meaning: "the environment is restored, as far as can be told",
        phase: Phase::Init,
        awaits: &[],
        has_invocation: false,
    },
    Facts {
        stage: Ready,
        name: "Ready",
        meaning: "the next invocation can be asked for",
        phase: Phase::Ready,
        awaits: &[],
        has_invocation: false,
    },
    Facts {
        stage: Asked,
        name: "Ready, asked",
        meaning: "the next invocation has been asked for",
        phase: Phase::Ready,
        awaits: &[Call::Next],
        has_invocation: false,
    },
    Facts {
        stage: Receiving,
        name: "Ready, receiving",
        meaning: "the head of an event has arrived, its end has not",
        phase: Phase::Ready,
        awaits: &[Call::Next],
        has_invocation: true,
    },
    Facts {
        stage: Invoking,
        name: "Invoking",
        meaning: "the invocation must be answered",
        phase: Phase::Invoking,
        awaits: &[],
        has_invocation: true,
    },
    Facts {
        stage: Streaming,
        name: "Invoking, streaming",
        meaning: "a streamed response has begun",
        phase: Phase::Invoking,
        awaits: &[Call::Response],
        has_invocation: true,
    },
    Facts {
        stage: Reporting,
        name: "Reporting",
        meaning: "the answer is complete",
        phase: Phase::Reporting,
        awaits: &[Call::Response, Call::Error],
        has_invocation: true,
    },
    Facts {
        stage: ReportingAsked,
        name: "Reporting, asked",
        meaning: "a pipelined `next` follows the answer",
        phase: Phase::Reporting,
        awaits: &[Call::Response, Call::Error],
        has_invocation: true,
    },
    Facts {
        stage: Withdrawn,
        name: "Reporting, withdrawn",
        meaning: "a part of the answer was sent, and its body is gone",
        phase: Phase::Reporting,
        awaits: &[Call::Response],
        has_invocation: true,
    },
    Facts {
        stage: ReportingFailure,
        name: "ShuttingDown, reporting",
        meaning: "the report of a failed init or restore is complete",
        phase: Phase::ShuttingDown,
        awaits: &[Call::InitError, Call::RestoreError],
        has_invocation: false,
    },
    Facts {
        stage: ShuttingDown,
        name: "ShuttingDown",
        meaning: "the session is over",
        phase: Phase::ShuttingDown,
        awaits: &[],
        has_invocation: false,
    },
];

impl Stage {
    pub(crate) const ALL: [Self; 13] = {
        let mut all = [Init; 13];
        let mut at = 0;
        while at < all.len() {
            all[at] = STAGES[at].stage;
            at += 1;
        }
        all
    };

    pub(super) fn facts(self) -> &'static Facts {
        let facts = &STAGES[self as usize];
        assert_eq!(facts.stage, self, "the facts are in the order of the stages");
        facts
    }

    pub(crate) fn phase(self) -> Phase {
        self.facts().phase
    }

    pub(crate) fn has_invocation(self) -> bool {
        self.facts().has_invocation
    }

    /// The outstanding call, if one is; `answered_by` is the call of the latest answer or report.
    pub(crate) fn awaits(self, answered_by: Option<Call>) -> Option<Call> {
        match self.facts().awaits {
            [] => None,
            [call] => Some(*call),
            calls => answered_by.filter(|call| calls.contains(call)),
        }
    }

    pub(crate) fn is_asked(self) -> bool {
        matches!(self, Asked | Receiving | ReportingAsked)
    }
}

/// The call that a command makes or continues.
pub(crate) fn call_of(command: Command) -> Call {
    match command {
        Command::Next => Call::Next,
        Command::RestoreNext => Call::RestoreNext,
        Command::FailInit => Call::InitError,
        Command::FailRestore => Call::RestoreError,
        Command::Fail => Call::Error,
        Command::Respond
        | Command::Stream
        | Command::Chunk
        | Command::EmptyChunk
        | Command::Finish
        | Command::FinishWithError => Call::Response,
    }
}

/// The call that is outstanding in a stage at the end of these steps.
pub(crate) fn awaited(stage: Stage, steps: &[Step]) -> Option<Call> {
    let answered_by = steps.iter().rev().find_map(|step| match step {
        Step::Do(Command::Next) | Step::Say(Command::Next) => None,
        Step::Do(command) | Step::Say(command) => Some(call_of(*command)),
        _ => None,
    });
    stage.awaits(answered_by)
}

/// Checks everything observable that tells stages apart, for a machine that has taken these steps.
pub(crate) fn assert_stage(machine: &Machine, stage: Stage, steps: &[Step], label: &str) {
    assert_eq!(machine.phase(), stage.phase(), "{label}");
    assert_eq!(machine.awaits(), awaited(stage, steps), "{label}");
    assert_eq!(machine.is_asked(), stage.is_asked(), "{label}");
    assert_eq!(machine.is_streaming(), stage == Streaming, "{label}");
    let id = machine.invocation().map(|ids| ids.request_id());
    assert_eq!(id, stage.has_invocation().then_some(support::REQUEST_ID), "{label}");
    for command in Command::ALL {
        let result = command.give(&mut machine.clone(), &mut [0; 1024]);
        let is_refused = result == Err(CommandError::WrongPhase(stage.phase()));
        let has_row = follow(stage, Input::Do(command)).is_some();
        assert_eq!(is_refused, !has_row, "{label}: {command:?} gives {result:?}");
    }
}
