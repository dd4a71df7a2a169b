//! The panic hook of a runtime configured from the environment: it logs a panic as one record.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::OnceLock;
use std::thread;

use crate::failure::{PANIC, panic_message};
use crate::log::{LoggedError, one_line};
use crate::{Failure, Level, Log};

/// A panic that has not yet become a failure or a log record.
#[derive(Clone)]
struct Panicked {
    message: String,
    /// Where it happened, and the backtrace if one was requested. Empty once it has been logged.
    stack_trace: String,
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::START) };
    /// The latest panic on this thread that has not become a failure.
    static LATEST: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

/// The state that every call of [`catch`] reads, in one cell because each access costs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    /// How many calls of [`catch`] this thread is inside.
    depth: u32,
    /// Whether [`LATEST`] has a panic.
    has_latest: bool,
}

impl State {
    const START: Self = Self { depth: 0, has_latest: false };
}

/// The log for panics that do not become failures.
static LOG: OnceLock<Log> = OnceLock::new();

/// Installs the hook, once per process.
///
/// The default hook writes plain lines to standard error, which are not JSON and block if nobody
/// reads them. This hook keeps the panic of a handler for the failure that it becomes, and logs any
/// other panic as a record. If the program has installed a hook that captures values, it is called
/// first; a hook without captures cannot be distinguished from the default hook. A hook that the
/// program installs later replaces this one.
pub(crate) fn install(log: &Log) {
    if LOG.set(log.clone()).is_err() {
        return;
    }
    let before = panic::take_hook();
    // The default hook is a plain function, whose size is zero.
    let is_of_program = size_of_val(&*before) > 0;
    panic::set_hook(Box::new(move |info| {
        if is_of_program {
            before(info);
        }
        let mut panicked = Panicked::new(info);
        // The handler may have caught the previous panic itself.
        log_unclaimed();
        if !is_catching() {
            panicked.log();
            // Records that follow from this panic need not repeat it.
            panicked.stack_trace.clear();
        }
        keep(panicked);
    }));
}

/// Calls the function's code; a panic in it becomes a failure.
#[inline]
pub(crate) fn catch<T>(code: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let state = STATE.get();
    if state.has_latest {
        begin_anew(state);
    }
    let inside = State { depth: state.depth + 1, has_latest: false };
    STATE.set(inside);
    // Code that panicked may have left its own data half changed, and will see that data again. It
    // holds no data of these crates that could be half changed.
    let result = match catch_unwind(AssertUnwindSafe(code)) {
        Ok(result) => result,
        Err(payload) => Err(failure_of(payload)),
    };
    if STATE.get() != inside {
        log_unclaimed();
    }
    STATE.set(State { depth: state.depth, has_latest: false });
    result
}

/// Logs a panic that the handler itself has caught. [`catch`](crate::catch) does this when it
/// returns; a loop that calls several handlers within one `catch` calls it after each.
#[inline]
pub fn settle_panics() {
    if STATE.get().has_latest {
        log_unclaimed();
    }
}

/// Settles the latest panic before a new call. Outside all calls, it was logged when it happened.
#[cold]
fn begin_anew(state: State) {
    if state.depth == 0 { drop(take()) } else { log_unclaimed() }
}

/// The failure of a panic that was caught.
#[cold]
fn failure_of(payload: Box<dyn Any + Send>) -> Failure {
    let mut failure = Failure::from_panic(&*payload);
    // The latest panic may be another: one that was caught while the first was unwinding.
    if let Some(panicked) = take_if(|panicked| panicked.message == failure.message()) {
        failure = failure.stack_trace(panicked.stack_trace);
    }
    // Dropping the payload may panic again.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    failure
}

/// The failure of an invocation whose responder is being dropped, if a panic is the reason;
/// otherwise `None`.
pub fn unwinding() -> Option<Failure> {
    if !thread::panicking() {
        return None;
    }
    // It stays the latest, for the code that catches it.
    let latest = LATEST.try_with(|latest| latest.borrow().clone()).ok().flatten();
    Some(match latest {
        Some(Panicked { message, stack_trace }) => {
            Failure::new(PANIC, message).stack_trace(stack_trace)
        }
        None => Failure::new(PANIC, "the handler panicked with the invocation in flight"),
    })
}

/// Whether a panic of this thread becomes a failure. In programs that abort on panics, none does.
fn is_catching() -> bool {
    cfg!(panic = "unwind") && STATE.get().depth > 0
}

/// Logs a panic that the handler itself has caught.
#[cold]
fn log_unclaimed() {
    if is_catching()
        && let Some(unclaimed) = take()
    {
        unclaimed.log();
    }
}

/// Keeps a panic as the latest of this thread.
fn keep(panicked: Panicked) {
    let kept = LATEST.try_with(|latest| latest.replace(Some(panicked)));
    set_latest(kept.is_ok());
}

fn set_latest(has_latest: bool) {
    STATE.set(State { has_latest, ..STATE.get() });
}

/// Takes the latest panic of this thread.
fn take() -> Option<Panicked> {
    take_if(|_| true)
}

fn take_if(is_wanted: impl FnOnce(&Panicked) -> bool) -> Option<Panicked> {
    if !STATE.get().has_latest {
        return None;
    }
    let take = |latest: &RefCell<Option<Panicked>>| {
        let taken = latest.borrow_mut().take_if(|panicked| is_wanted(panicked));
        set_latest(taken.is_none());
        taken
    };
    LATEST.try_with(take).ok().flatten()
}

impl Panicked {
    fn new(info: &PanicHookInfo<'_>) -> Self {
        let message = panic_message(info.payload());
        let mut stack_trace = String::new();
        if let Some(place) = info.location() {
            let _infallible = writeln!(stack_trace, "{place}");
        }
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            let _infallible = write!(stack_trace, "{backtrace}");
        }
        Self { message, stack_trace }
    }

    fn log(&self) {
        let Some(log) = LOG.get() else { return };
        let Self { message, stack_trace } = self;
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name");
        let error = LoggedError { error_type: PANIC, message, stack_trace };
        let line = format_args!("thread {name} panicked: {}", one_line(message));
        log.write_error(Level::Error, "", line, error);
    }
}
