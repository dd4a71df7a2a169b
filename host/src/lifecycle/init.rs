use std::any::Any;
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::hook_threads::HookThreads;
use super::resources::Making;
use super::{Cancellation, Named, Resources, Shutdown, clock};
use crate::policy::{Hook, HookResult, InitOutcome, InitTracker, Options};
use crate::{Failure, Log};

/// The error type of a start of which a hook failed: the one that AWS's Rust client has for a start that
/// fails (`lambda_runtime_api_client`).
pub const INIT_ERROR: &str = "Runtime.InitError";
/// The error type of a start that a hook aborted. AWS names none; `Runtime.` and a word is what its service
/// recognises (emulator: `fatalerror/fatalerror.go`).
pub const INIT_ABORTED: &str = "Runtime.InitAborted";
/// The error type of a start that took too long, found as [`INIT_ABORTED`].
pub const INIT_TIMEOUT: &str = "Runtime.InitTimeout";

/// A hook of the start; `false` wants the function not to start.
pub type InitHook = Named<dyn FnOnce(&InitContext) -> Result<bool, Failure> + Send>;

/// Runs the init hooks, each on a thread of its own, for as long as the init timeout allows; what they put
/// is what it returns.
///
/// With the first failure nothing else can come of it, so the other hooks are cancelled then; after an
/// abort they go on, since a failure would say more. All are waited for until they have ended or the time
/// is over. A hook that goes on all the same is left to itself, on a thread that ends with the process. A
/// failure that others are still waited for is logged at once.
///
/// Without hooks it returns at once.
///
/// # Errors
///
/// One failure, which names every hook that failed, and why; that aborted; or that had not ended. Its type
/// is [`INIT_ERROR`] if a hook failed or panicked or there was no thread for it, or else
/// [`INIT_ABORTED`] if one aborted, or else [`INIT_TIMEOUT`]. Stack trace and cause are those of the hook
/// that failed first.
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
                        log.error(format_args!(
                            "init hook {name:?} failed: {failure}; waiting for the other hooks"
                        ));
                    }
                    failed.begin();
                    troubles.failed.push((ended.name, failure));
                    HookResult::Failed
                }
            };
            // A place ends once, and none has timed out before there is an outcome.
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

/// What an init hook is given.
pub struct InitContext {
    cancellation: Cancellation,
    made: Arc<Making>,
}

impl InitContext {
    /// Puts a value where invocations and other hooks find it by its type; it replaces one of the same
    /// type.
    pub fn put<T: Any + Send + Sync>(&self, value: T) {
        self.made.put(value);
    }

    /// The value of this type, if a hook has put one by now.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.made.get()
    }

    /// Fires when the time of the start is over, and when another hook has failed.
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// The time that is left to all hooks; zero once they are cancelled.
    pub fn remaining(&self) -> Duration {
        self.cancellation.remaining().unwrap_or(Duration::MAX)
    }
}

/// What an init hook may return: nothing, or whether the function shall start, and a failure instead of
/// either.
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
    /// Whether the function shall start.
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

/// The hooks that ended other than well, in the order of their ends.
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
