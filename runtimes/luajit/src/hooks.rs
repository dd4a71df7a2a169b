//! Hooks of scripts: functions that run at the end of init, around a snapshot and before the end of the
//! process.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use lambda_proto_host::lifecycle::INIT_ABORTED;
use lambda_proto_host::policy::Options;
use lambda_proto_std::{Failure, Lifecycle};

use crate::slot::Command;

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Init,
    BeforeSnapshot,
    AfterRestore,
    Shutdown,
}

impl Stage {
    /// The name of the list of hooks in the prelude.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Init => "on_init",
            Self::BeforeSnapshot => "before_snapshot",
            Self::AfterRestore => "after_restore",
            Self::Shutdown => "on_shutdown",
        }
    }
}

/// The most that init may take under SnapStart [Lambda Developer Guide: Lambda execution
/// environment].
const BEFORE_SNAPSHOT: Duration = Options::MAX_TIMEOUT;

/// The time for the hooks after a restore [Lambda Developer Guide: SnapStart runtime hooks].
const AFTER_RESTORE: Duration = Duration::from_secs(10);

/// The stages for which scripts have hooks.
pub(crate) type Hooks = Vec<Stage>;

/// A lifecycle that runs these hooks on the threads of their Lua states.
pub(crate) fn lifecycle(hooks: &Hooks, slots: &[Sender<Command>]) -> Lifecycle {
    hooks.iter().fold(Lifecycle::new(), |lifecycle, &stage| {
        let slots = slots.to_vec();
        match stage {
            Stage::Init => lifecycle.on_init("lua", move |context| {
                match run(&slots, stage, context.remaining()) {
                    Err(failure) if failure.reported_type() == INIT_ABORTED => Ok(false),
                    result => result.map(|()| true),
                }
            }),
            Stage::BeforeSnapshot => {
                lifecycle.before_snapshot("lua", move |_| run(&slots, stage, BEFORE_SNAPSHOT))
            }
            Stage::AfterRestore => {
                lifecycle.after_restore("lua", move |_| run(&slots, stage, AFTER_RESTORE))
            }
            Stage::Shutdown => {
                lifecycle.on_shutdown("lua", move |context| run(&slots, stage, context.remaining()))
            }
        }
    })
}

/// Runs the hooks of a stage in every slot, and waits for them. Lua code that takes longer is
/// interrupted, and a C function that takes longer is not waited for.
fn run(slots: &[Sender<Command>], stage: Stage, within: Duration) -> Result<(), Failure> {
    let until = Instant::now() + within;
    // So that the slot can still tell what it has interrupted.
    let interrupt_at = until.checked_sub(within / 10).unwrap_or(until);
    let (done, results) = channel();
    for slot in slots {
        // A slot that has panicked has no hooks any more.
        let _ = slot.send(Command::Hooks(stage, interrupt_at, done.clone()));
    }
    drop(done);
    let mut all = Ok(());
    for _ in slots {
        let left = until.saturating_duration_since(Instant::now());
        match results.recv_timeout(left) {
            Ok(result) => all = all.and(result),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let message = format!("the {} hooks did not return in time", stage.name());
                return Err(Failure::new("Function.HookTimeout", message));
            }
        }
    }
    all
}
