use std::any::Any;
use std::time::{Duration, Instant};

use super::hook_threads::HookThreads;
use super::{Cancellation, Named, Resources, Shutdown, clock};
use crate::{Failure, Log};

/// A hook of the end.
pub type ShutdownHook = Named<dyn FnOnce(&ShutdownContext) -> Result<(), Failure> + Send>;

/// Runs the shutdown hooks, each on a thread of its own, and returns when all have ended or the moment has
/// come.
///
/// Each failure and panic is logged with the name of its hook, and one line names the hooks that had not
/// ended; these are left to themselves, on threads that end with the process. If the moment has come
/// already, no hook begins, for it would be cut off anywhere, and that is what the line says.
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
        // Not that of the invocations, which has fired by now.
        let cancellation = Cancellation::at(Some(until), &Shutdown::new());
        let context = ShutdownContext { cancellation, resources: resources.clone() };
        crew.start(name, move || run(&context));
    }
    while let Some(ended) = crew.next(clock::monotonic(until)) {
        if let Err(failure) = ended.result {
            log.error(format_args!("shutdown hook {:?} failed: {failure}", ended.name));
        }
    }
    if crew.is_running() {
        let names = listed(crew.unfinished());
        log.error(format_args!("shutdown hooks had not ended when their time was over: {names}"));
    }
}

/// What a shutdown hook is given.
pub struct ShutdownContext {
    cancellation: Cancellation,
    resources: Resources,
}

impl ShutdownContext {
    /// What an init hook has put, by its type; nothing if the process is ended before all of them have run.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.resources.get()
    }

    /// Fires when the time of the hooks is over. It is this hook's own.
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
