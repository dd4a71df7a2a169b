use std::any::Any;
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::hook_threads::HookThreads;
use super::resources::Making;
use super::{Cancellation, Named, Resources, Shutdown, clock};
use crate::policy::{Hook, HookResult, InitOutcome, InitTracker, Options};
use crate::{Failure, Level, Log};

/// The error type if an init hook failed: the one that AWS's Rust client has for an init that fails
/// (`lambda_runtime_api_client`).
pub const INIT_ERROR: &str = "Runtime.InitError";
/// The error type if an init hook aborted. AWS names none; its service recognises `Runtime.` and a
/// word (emulator: `fatalerror/fatalerror.go`).
pub const INIT_ABORTED: &str = "Runtime.InitAborted";
/// The error type if init took too long, chosen like [`INIT_ABORTED`].
pub const INIT_TIMEOUT: &str = "Runtime.InitTimeout";

/// An init hook; `false` keeps the function from starting.
pub type InitHook = Named<dyn FnOnce(&InitContext) -> Result<bool, Failure> + Send>;

/// Runs the init hooks, each on its own thread, within the init timeout; returns what they put.
///
/// The first failure decides the outcome, so it cancels the other hooks. An abort does not, since a
/// failure would say more. All are waited for until they have ended or the time is over. A hook
/// that goes on regardless is left running, on a thread that ends with the process. A failure is
/// logged at once if other hooks are still waited for.
///
/// Without hooks it returns at once.
///
/// # Errors
///
/// One failure, which names every hook that failed, and why; that aborted; or that had not ended.
/// Its type is [`INIT_ERROR`] if a hook failed, panicked or got no thread, otherwise
/// [`INIT_ABORTED`] if one aborted, otherwise [`INIT_TIMEOUT`]. Stack trace and cause are those of
/// the hook that failed first.
pub fn run_init(hooks: Vec<InitHook>, options: &Options, log: &Log) -> Result<Resources, Failure> {
    let mut tracker = InitTracker::new(vec![Hook::Pending; hooks.len()], options, clock::now());
    let expires_at = tracker.expires_at();
    let (failed, made) = (Shutdown::new(), Arc::new(Making::default()));
    let mut crew = HookThreads::new("init");
    for Named { name, run } in hooks {
        let cancellation = Cancellation::at(clock::instant(expires_at), &failed);
        let context = InitContext { cancellation, made: Arc::clone(&made) };
        crew.start(name, move || run(&context));
    }
    let mut troubles = Troubles::default();
    let outcome = loop {
        if let Some(ended) = crew.next(expires_at) {
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
                    failed.begin();
                    troubles.failed.push((ended.name, failure));
                    HookResult::Failed
                }
            };
            // A place ends once, and none times out before there is an outcome.
            let _ = tracker.settle(ended.place, result);
        } else if let Some(outcome) = tracker.outcome(clock::now()) {
            break outcome;
        }
    };
    let error_type = match outcome {
        InitOutcome::Ready => return Ok(made.freeze()),
        InitOutcome::TimedOut => INIT_TIMEOUT,
        InitOutcome::Aborted => INIT_ABORTED,
        InitOutcome::Failed => INIT_ERROR,
    };
    Err(troubles.into_failure(error_type, crew.unfinished(), options.init_timeout()))
}

/// The context of an init hook.
pub struct InitContext {
    cancellation: Cancellation,
    made: Arc<Making>,
}

impl InitContext {
    /// Puts a value where invocations and other hooks find it by its type; it replaces one of the
    /// same type.
    pub fn put<T: Any + Send + Sync>(&self, value: T) {
        self.made.put(value);
    }

    /// The value of this type, if a hook has put one so far.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.made.get()
    }

    /// A token that fires when the init time is over, and when another hook has failed.
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// The time left for all hooks; zero once they are cancelled.
    pub fn remaining(&self) -> Duration {
        self.cancellation.remaining().unwrap_or(Duration::MAX)
    }
}

/// What an init hook may return: nothing, or whether the function is to start, or a failure instead
/// of either.
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
    /// Whether the function is to start.
    ///
    /// # Errors
    ///
    /// The failure, if it is one.
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
}

impl Troubles {
    fn into_failure<'a>(
        self,
        error_type: &'static str,
        unfinished: impl Iterator<Item = &'a str>,
        timeout: Duration,
    ) -> Failure {
        let mut message = String::new();
        let mut tell = |line: std::fmt::Arguments<'_>| {
            let between = if message.is_empty() { "" } else { "; " };
            let _infallible = write!(message, "{between}init hook {line}");
        };
        for (name, failure) in &self.failed {
            tell(format_args!("{name:?} failed: {failure}"));
        }
        for name in &self.aborted {
            tell(format_args!("{name:?} aborted the start"));
        }
        for name in unfinished {
            tell(format_args!("{name:?} had not ended after {timeout:?}"));
        }
        match self.failed.into_iter().next() {
            Some((_, first)) => first.error_type(error_type).with_message(message),
            None => Failure::new(error_type, message),
        }
    }
}
