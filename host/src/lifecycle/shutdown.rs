use std::any::Any;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::hook_threads::{HookThreads, add, drop_unrun};
use super::{Cancellation, Named, Resources, Shutdown, Store, clock};
use crate::{Error, Failure, Level, Log};

/// A shutdown hook.
pub type ShutdownHook = Named<dyn FnOnce(&ShutdownContext) -> Result<(), Failure> + Send>;

/// Runs the shutdown hooks, each on its own thread, and returns when all have ended or at `until`.
///
/// Each failure and panic is logged with the name of its hook. One line names the hooks that had
/// not ended; these are left running, on threads that end with the process. If `until` has already
/// passed, no hook begins, since it could be cut off anywhere, and a line names the hooks.
///
/// The hooks are cancelled at `until`, or earlier when `ending` begins.
///
/// Without hooks it returns immediately.
///
/// # Errors
///
/// [`Error::Shutdown`], which names every hook that failed (with the reason), had not ended, or had
/// no time to begin. All of that has been logged.
pub fn run_shutdown(
    hooks: Vec<ShutdownHook>,
    until: Instant,
    ending: &Shutdown,
    store: &Store,
    log: &Log,
) -> Result<(), Error> {
    let mut crew = HookThreads::new(KIND);
    let mut told = String::new();
    if until <= Instant::now() {
        for hook in &hooks {
            add(&mut told, KIND, &hook.name, format_args!("had no time to run"));
        }
        if !hooks.is_empty() {
            let names = listed(hooks.iter().map(|hook| &*hook.name));
            log.error(format_args!("no time was left for shutdown hooks: {names}"));
        }
        drop_unrun(hooks);
        return told_as_error(told);
    }
    for Named { name, run } in hooks {
        let cancellation = Cancellation::at(Some(until), ending);
        let context = ShutdownContext { cancellation, store: store.clone(), used: OnceLock::new() };
        crew.start(name, move || run(&context));
    }
    while let Some(ended) = crew.next(clock::monotonic(until)) {
        if let Err(failure) = ended.result {
            let what = format_args!("shutdown hook {:?} failed", ended.name);
            log.failure(Level::Error, "", what, &failure);
            add(&mut told, KIND, &ended.name, format_args!("failed: {failure}"));
        }
    }
    if crew.is_running() {
        let names = listed(crew.unfinished());
        log.error(format_args!("shutdown hooks had not ended when their time was over: {names}"));
        for name in crew.unfinished() {
            add(&mut told, KIND, name, format_args!("had not ended when its time was over"));
        }
    }
    told_as_error(told)
}

/// Drops the values that init hooks have put, each on a new thread, since dropping a value runs the
/// function's code. Waits for that, but not beyond `until`. Values that a context still uses are
/// dropped when their last user is gone.
pub(crate) fn drop_values(store: &Store, until: Instant, log: &Log) {
    let Some(values) = store.close().into_values() else {
        return log.warn(format_args!(
            "values of init hooks are not dropped: a handler or a hook still uses them"
        ));
    };
    let mut crew = HookThreads::new("value");
    for (name, value) in values {
        crew.start(name.into(), move || {
            drop(value);
            Ok(())
        });
    }
    while let Some(ended) = crew.next(clock::monotonic(until)) {
        if let Err(failure) = ended.result {
            let what = format_args!("dropping {} failed", ended.name);
            log.failure(Level::Error, "", what, &failure);
        }
    }
    for name in crew.unfinished() {
        log.error(format_args!("dropping {name} did not finish in time"));
    }
}

const KIND: &str = "shutdown";

/// The context of a shutdown hook.
pub struct ShutdownContext {
    cancellation: Cancellation,
    store: Store,
    /// The values, once the hook has asked for one.
    used: OnceLock<Resources>,
}

impl ShutdownContext {
    /// The value of this type without a name, if an init hook has put one. If the start was
    /// cancelled, there are only the values that its hooks had put by then.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.values().get()
    }

    /// The value of this type and name, if an init hook has put one.
    pub fn get_named<T: Any + Send + Sync>(&self, name: &str) -> Option<&T> {
        self.values().get_named(name)
    }

    fn values(&self) -> &Resources {
        self.used.get_or_init(|| self.store.values())
    }

    /// A token that fires when the time of the hooks is over. No other hook shares it.
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

fn told_as_error(told: String) -> Result<(), Error> {
    if told.is_empty() { Ok(()) } else { Err(Error::Shutdown { message: told }) }
}
