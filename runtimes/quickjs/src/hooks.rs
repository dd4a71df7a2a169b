//! Hooks of the function: functions that run around a snapshot and before the process ends.

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use lambda_proto_std::{Failure, Lifecycle};

use crate::slot::Command;

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    BeforeSnapshot,
    AfterRestore,
    Shutdown,
}

impl Stage {
    /// The name of the list of hooks in the prelude.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BeforeSnapshot => "beforeSnapshot",
            Self::AfterRestore => "afterRestore",
            Self::Shutdown => "onShutdown",
        }
    }
}

/// The stages for which the function has hooks.
pub(crate) type Hooks = Vec<Stage>;

/// A lifecycle that runs these hooks on the threads of their JavaScript runtimes.
pub(crate) fn lifecycle(hooks: &Hooks, slots: &[Sender<Command>]) -> Lifecycle {
    hooks.iter().fold(Lifecycle::new(), |lifecycle, &stage| {
        let slots = slots.to_vec();
        match stage {
            Stage::BeforeSnapshot => {
                lifecycle.before_snapshot("javascript", move |_| run(&slots, stage, Duration::MAX))
            }
            Stage::AfterRestore => {
                lifecycle.after_restore("javascript", move |_| run(&slots, stage, Duration::MAX))
            }
            Stage::Shutdown => lifecycle
                .on_shutdown("javascript", move |context| run(&slots, stage, context.remaining())),
        }
    })
}

/// Runs the hooks of a stage in every slot, and waits for them.
fn run(slots: &[Sender<Command>], stage: Stage, within: Duration) -> Result<(), Failure> {
    let until = Instant::now().checked_add(within);
    let (done, results) = channel();
    for slot in slots {
        // A slot that has panicked has no hooks any more.
        let _ = slot.send(Command::Hooks(stage, done.clone()));
    }
    drop(done);
    let mut all = Ok(());
    for _ in slots {
        let left =
            until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        match results.recv_timeout(left) {
            Ok(result) => all = all.and(result),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                let message = format!("the {} hooks did not return in time", stage.name());
                return Err(Failure::new("Function.HookTimeout", message));
            }
        }
    }
    all
}
