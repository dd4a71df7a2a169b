use std::any::Any;
use std::time::{Duration, Instant};

use super::hook_threads::HookThreads;
use super::{Cancellation, Named, Resources, Shutdown, clock};
use crate::{Failure, Level, Log};

/// A shutdown hook.
pub type ShutdownHook = Named<dyn FnOnce(&ShutdownContext) -> Result<(), Failure> + Send>;

/// Runs the shutdown hooks, each on its own thread, and returns when all have ended or at `until`.
///
/// Each failure and panic is logged with the name of its hook. One line names the hooks that had
/// not ended; these are left running, on threads that end with the process. If `until` has passed
/// already, no hook begins, since it could be cut off anywhere, and the line says so.
///
/// Without hooks it returns at once.
pub fn run_shutdown(hooks: Vec<ShutdownHook>, until: Instant, resources: &Resources, log: &Log) {
    if hooks.is_empty() {
        return;
    }
    if until <= Instant::now() {
        let names = listed(hooks.iter().map(|hook| &*hook.name));
        return log.error(format_args!("no time was left for shutdown hooks: {names}"));
    }
    let mut crew = HookThreads::new("shutdown");
    for Named { name, run } in hooks {
        // Not the token of the invocations, which has fired by now.
        let cancellation = Cancellation::at(Some(until), &Shutdown::new());
        let context = ShutdownContext { cancellation, resources: resources.clone() };
        crew.start(name, move || run(&context));
    }
    while let Some(ended) = crew.next(clock::monotonic(until)) {
        if let Err(failure) = ended.result {
            let what = format_args!("shutdown hook {:?} failed", ended.name);
            log.failure(Level::Error, "", what, &failure);
        }
    }
    if crew.is_running() {
        let names = listed(crew.unfinished());
        log.error(format_args!("shutdown hooks had not ended when their time was over: {names}"));
    }
}

/// The context of a shutdown hook.
pub struct ShutdownContext {
    cancellation: Cancellation,
    resources: Resources,
}

impl ShutdownContext {
    /// The value of this type, if an init hook has put one and all init hooks have run.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.resources.get()
    }

    /// A token that fires when the time of the hooks is over. It is this hook's own.
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// The time that is left.
    pub fn remaining(&self) -> Duration {
        self.cancellation.remaining().unwrap_or(Duration::MAX)
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    names.join(", ")
}
