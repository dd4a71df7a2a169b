use std::any::Any;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::hook_threads::{HookThreads, add, drop_unrun};
use super::resources::Replaces;
use super::{Cancellation, Named, Shutdown, Store, clock};
use crate::policy::{Hook, HookResult, InitOutcome, InitTracker, Options};
use crate::{Failure, Level, Log, catch};

/// The error type if an init hook failed: the one that AWS's Rust client uses for a failed init
/// (`lambda_runtime_api_client`).
pub const INIT_ERROR: &str = "Runtime.InitError";
/// The error type if an init hook aborted. AWS defines none for this; its service recognises types
/// of the form `Runtime.` and a word (emulator: `fatalerror/fatalerror.go`).
pub const INIT_ABORTED: &str = "Runtime.InitAborted";
/// The error type if init took too long, chosen like [`INIT_ABORTED`].
pub const INIT_TIMEOUT: &str = "Runtime.InitTimeout";

/// An init hook. If it returns `false`, the function does not start.
pub type InitHook = Named<dyn FnOnce(&InitContext) -> Result<bool, Failure> + Send>;

/// How init ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum InitEnd {
    /// All hooks succeeded.
    Done,
    /// The runtime was stopped before the end of init.
    Cancelled,
}

/// Runs the init hooks, each on its own thread, within the init timeout. They put their values into
/// the store.
///
/// The first failure decides the outcome, so it cancels the other hooks. An abort does not cancel
/// them, since a failure would take precedence. This waits until all hooks have ended or the time
/// is over. A hook that has not ended by then is left running, on a thread that ends with the
/// process. A failure is logged immediately if other hooks are still running.
///
/// When `stopping` begins, the hooks are cancelled, and their results no longer count: a log line
/// reports that the start was cancelled, and how its hooks ended. A failure begins `stopping`, too.
///
/// Without hooks it returns immediately.
///
/// # Errors
///
/// One failure, which names every hook that failed (with the reason), aborted, or had not ended.
/// Its type is [`INIT_ERROR`] if a hook failed, panicked or got no thread, otherwise
/// [`INIT_ABORTED`] if one aborted, otherwise [`INIT_TIMEOUT`]. The stack trace and the X-Ray cause
/// are those of the hook that failed first.
pub fn run_init(
    hooks: Vec<InitHook>,
    options: &Options,
    store: &Store,
    stopping: &Shutdown,
    log: &Log,
) -> Result<InitEnd, Failure> {
    if hooks.is_empty() {
        return Ok(InitEnd::Done);
    }
    if stopping.is_begun() {
        log_cancelled(log, "");
        drop_unrun(hooks);
        return Ok(InitEnd::Cancelled);
    }
    let mut tracker = InitTracker::new(vec![Hook::Pending; hooks.len()], options, clock::now());
    let expires_at = tracker.expires_at();
    let mut crew = HookThreads::new(KIND);
    for Named { name, run } in hooks {
        let context = InitContext {
            hook: name.clone(),
            cancellation: Cancellation::at(clock::instant(expires_at), stopping),
            store: store.clone(),
            conflicts: Mutex::default(),
        };
        store.hook_begins(name.clone());
        crew.start(name, move || context.judge(catch(|| run(&context))));
    }
    let mut troubles = Troubles::default();
    let outcome = loop {
        if let Some(ended) = crew.next(expires_at) {
            store.hook_has_ended(&ended.name);
            let result = match ended.result {
                Ok(true) => HookResult::Done,
                Ok(false) => {
                    troubles.aborted.push(ended.name);
                    HookResult::Aborted
                }
                Err(failure) => {
                    if crew.is_running() {
                        let name = &ended.name;
                        let what = format_args!("init hook {name:?} failed");
                        log.failure(Level::Error, "", what, &failure);
                    }
                    // A failure after the stop is a consequence of the cancellation.
                    troubles.is_failed |= !stopping.is_begun();
                    if troubles.is_failed {
                        stopping.begin();
                    }
                    troubles.failed.push((ended.name, failure));
                    HookResult::Failed
                }
            };
            // Cannot fail: each place ends once, and none times out before there is an outcome.
            let _ = tracker.settle(ended.place, result);
        } else if let Some(outcome) = tracker.outcome(clock::now()) {
            break outcome;
        }
    };
    let what = troubles.told(crew.unfinished(), options.init_timeout());
    if stopping.is_begun() && !troubles.is_failed {
        log_cancelled(log, &what);
        return Ok(InitEnd::Cancelled);
    }
    let error_type = match outcome {
        InitOutcome::Ready => return Ok(InitEnd::Done),
        InitOutcome::TimedOut => INIT_TIMEOUT,
        InitOutcome::Aborted => INIT_ABORTED,
        InitOutcome::Failed => INIT_ERROR,
    };
    Err(troubles.into_failure(error_type, what))
}

const KIND: &str = "init";

/// Logs that the runtime was stopped before the end of init, and how its hooks ended.
fn log_cancelled(log: &Log, hooks: &str) {
    let between = if hooks.is_empty() { "" } else { ": " };
    log.info(format_args!("the start was cancelled, as the runtime was stopped{between}{hooks}"));
}

/// The context of an init hook.
pub struct InitContext {
    hook: Cow<'static, str>,
    cancellation: Cancellation,
    store: Store,
    /// The conflicts with values that other hooks have put.
    conflicts: Mutex<Vec<String>>,
}

impl InitContext {
    /// Puts a value where invocations and other hooks find it by its type.
    ///
    /// If a hook has already put a value of this type, that value stays, and this hook fails with
    /// an error that names both hooks. See [`Resources`](super::Resources) for two values of one
    /// type.
    pub fn put<T: Any + Send + Sync>(&self, value: T) {
        self.put_as("".into(), value, Replaces::No);
    }

    /// Puts a value where invocations and other hooks find it by its type and this name; otherwise
    /// like [`put`](Self::put).
    pub fn put_named<T: Any + Send + Sync>(&self, name: impl Into<Cow<'static, str>>, value: T) {
        self.put_as(name.into(), value, Replaces::No);
    }

    /// Puts a value, replacing any other of the same type.
    pub fn replace<T: Any + Send + Sync>(&self, value: T) {
        self.put_as("".into(), value, Replaces::Yes);
    }

    /// Puts a value, replacing any other of the same type and name.
    pub fn replace_named<T: Any + Send + Sync>(
        &self,
        name: impl Into<Cow<'static, str>>,
        value: T,
    ) {
        self.put_as(name.into(), value, Replaces::Yes);
    }

    fn put_as<T: Any + Send + Sync>(&self, name: Cow<'static, str>, value: T, replaces: Replaces) {
        if let Err(conflict) = self.store.put(self.hook.clone(), name, value, replaces) {
            self.conflicts.lock().unwrap_or_else(PoisonError::into_inner).push(conflict);
        }
    }

    /// The value of this type without a name, if a hook has put one so far.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.store.get("")
    }

    /// The value of this type and name, if a hook has put one so far.
    pub fn get_named<T: Any + Send + Sync>(&self, name: &str) -> Option<Arc<T>> {
        self.store.get(name)
    }

    /// A token that fires when the init time is over, when another hook has failed, and when the
    /// program stops: by a signal, or by the stop handle of its runtime.
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// The time left for all hooks; zero once they are cancelled.
    pub fn remaining(&self) -> Duration {
        self.cancellation.remaining().unwrap_or(Duration::MAX)
    }

    /// The result of the hook; a failure if one of its values was in conflict with another.
    fn judge(&self, result: Result<bool, Failure>) -> Result<bool, Failure> {
        let conflicts = self.conflicts.lock().unwrap_or_else(PoisonError::into_inner).join("; ");
        match result {
            result if conflicts.is_empty() => result,
            Ok(_) => Err(Failure::new(INIT_ERROR, conflicts)),
            Err(failure) => {
                let message = format!("{}; {conflicts}", failure.message());
                Err(failure.with_message(message))
            }
        }
    }
}

/// A value that an init hook may return: nothing, whether the function may start, or a [`Result`]
/// of either with a [`Failure`].
///
/// ```
/// use lambda_proto_host::lifecycle::Lifecycle;
///
/// Lifecycle::new()
///     .on_init("warm", |_| {})
///     .on_init("is allowed", |_| std::env::var_os("FORBIDDEN").is_none())
///     .on_init("number", |init| {
///         init.put("17".parse::<u32>()?);
///         Ok(())
///     });
/// ```
pub trait InitResult {
    /// Whether the function may start.
    ///
    /// # Errors
    ///
    /// The failure of the hook.
    fn into_result(self) -> Result<bool, Failure>;
}

impl InitResult for () {
    fn into_result(self) -> Result<bool, Failure> {
        Ok(true)
    }
}

impl InitResult for bool {
    fn into_result(self) -> Result<bool, Failure> {
        Ok(self)
    }
}

impl InitResult for Result<(), Failure> {
    fn into_result(self) -> Result<bool, Failure> {
        self.map(|()| true)
    }
}

impl InitResult for Result<bool, Failure> {
    fn into_result(self) -> Result<bool, Failure> {
        self
    }
}

/// The hooks that did not succeed, in the order in which they ended.
#[derive(Default)]
struct Troubles {
    failed: Vec<(Cow<'static, str>, Failure)>,
    aborted: Vec<Cow<'static, str>>,
    /// Whether a hook failed before it was cancelled.
    is_failed: bool,
}

impl Troubles {
    /// A sentence for each of these hooks, and for each that has not ended.
    fn told<'a>(&self, unfinished: impl Iterator<Item = &'a str>, timeout: Duration) -> String {
        let mut told = String::new();
        for (name, failure) in &self.failed {
            add(&mut told, KIND, name, format_args!("failed: {failure}"));
        }
        for name in &self.aborted {
            add(&mut told, KIND, name, format_args!("aborted the start"));
        }
        for name in unfinished {
            add(&mut told, KIND, name, format_args!("had not ended after {timeout:?}"));
        }
        told
    }

    fn into_failure(self, error_type: &'static str, message: String) -> Failure {
        match self.failed.into_iter().next() {
            Some((_, first)) => first.error_type(error_type).with_message(message),
            None => Failure::new(error_type, message),
        }
    }
}
