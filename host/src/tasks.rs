//! Post-response work: what goes on after the answer.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lambda_proto::api::Concurrency;
use lambda_proto::lifecycle::{Clocks, TimeLimit};

use crate::lifecycle::clock;
use crate::log::{OWN, put_escaped};
use crate::policy::{FreezeDecision, FreezePoint, InvocationNumber, Ledger, Policy, TaskToken};
use crate::{Fields, Level, Log, Record};

/// The post-response work of a runtime's invocations; clones share it.
///
/// After the answer the environment runs until `next` is asked for; then it is frozen, with all
/// work in it. Each piece of known work has a [`Task`]. Before `next` a runtime crosses the freeze
/// point, and its [`Policy`] decides about open tasks: they are waited for, reported in a log line,
/// treated as an error, or left alone. Each is decided about at one freeze point, its own. Begin a
/// task before the answer is sent, or in another task: a later one may miss the freeze point.
///
/// An invocation without tasks costs one relaxed atomic load at its freeze point, and no lock,
/// clock reading or allocation.
///
/// 64 tasks are told apart, with the request ids of 16 invocations, in 8 KB; further ones are
/// counted, waited for and reported, but not named.
///
/// Under [`Concurrency::Multi`] nothing is frozen, and there is no freeze point: crossing does
/// nothing [Lambda Developer Guide: Lambda Managed Instances].
///
/// At the end of the runtime, open tasks are [waited for](Self::drain), if the policy drains, and
/// what is open then is [reported](Self::report_at_shutdown).
///
/// The log writer and the waker are called without a lock, on the thread that crosses or that ends
/// a task; they must not panic.
///
/// ```
/// use lambda_proto::api::Concurrency;
/// use lambda_proto_host::policy::{InvocationNumber, Policy};
/// use lambda_proto_host::{Log, Tasks};
/// use std::thread;
///
/// let tasks = Tasks::new(Concurrency::Single, Policy::default(), Log::default());
/// let task = tasks.begin_named(InvocationNumber(1), "7b", "flush");
/// assert_eq!(tasks.outstanding(), 1);
/// let work = thread::spawn(move || drop(task));
/// work.join().unwrap();
/// assert_eq!(tasks.outstanding(), 0);
/// ```
#[derive(Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

/// A task, which ends when this is dropped, on any thread, also in a panic.
///
/// If a freeze point left it behind, its end is logged at level INFO with the request id of the
/// invocation that began it, its name and its age, unless the policy is [`Policy::Abandon`].
#[must_use = "a task that is dropped at once has ended at once"]
pub struct Task {
    shared: Arc<Shared>,
    token: TaskToken,
    name: &'static str,
}

/// What an event loop does now at a freeze point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossed {
    /// Ask for the next invocation.
    GoOn,
    /// Try again when the [waker](Tasks::set_waker) has been called, or at `until`.
    Wait {
        /// The moment.
        until: Instant,
    },
}

/// The tasks that were open at one moment: the error of [`Policy::Strict`].
///
/// `Display` is the logged line, without its fields.
#[derive(Clone)]
pub struct LeftBehind {
    outstanding: usize,
    untracked: usize,
    oldest_age: Duration,
    at: Point,
    /// A JSON array.
    tasks: String,
}

#[derive(Clone, Copy)]
enum Point {
    FreezePoint,
    Shutdown,
}

struct Shared {
    /// How many tasks are open.
    outstanding: AtomicUsize,
    /// Whether the freeze point needs more than going on. Like `outstanding`, it is written under
    /// the lock; readers that need only this value do not take it.
    has_freeze_point: AtomicBool,
    concurrency: Concurrency,
    policy: Policy,
    log: Log,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ledger: Ledger<TASKS, INVOCATIONS>,
    /// By place in the ledger.
    names: [&'static str; TASKS],
    /// The freeze point that the last attempt did not cross.
    freeze_point: Option<FreezePoint>,
    /// Whether the last task that it waits for has ended since, and the waker was called.
    has_woken: bool,
    /// Somebody waits for the end of all tasks.
    is_draining: bool,
    /// Counts the reasons for waiters to look again.
    changes: u64,
    waker: Option<Arc<dyn Fn() + Send + Sync>>,
}

const TASKS: usize = 64;
const INVOCATIONS: usize = 16;

impl Tasks {
    /// No tasks yet.
    pub fn new(concurrency: Concurrency, policy: Policy, log: Log) -> Self {
        let state = State {
            ledger: Ledger::new(concurrency),
            names: [""; TASKS],
            freeze_point: None,
            has_woken: false,
            is_draining: false,
            changes: 0,
            waker: None,
        };
        let shared = Shared {
            outstanding: AtomicUsize::new(0),
            has_freeze_point: AtomicBool::new(false),
            concurrency,
            policy,
            log,
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Begins a task of an invocation.
    pub fn begin(&self, invocation: InvocationNumber, request_id: &str) -> Task {
        self.begin_named(invocation, request_id, "")
    }

    /// Begins a task of an invocation, with a name for reports; empty means none.
    pub fn begin_named(
        &self,
        invocation: InvocationNumber,
        request_id: &str,
        name: &'static str,
    ) -> Task {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let token = state.ledger.begin(invocation, request_id, clock::now());
        if let Some(place) = token.place().and_then(|place| state.names.get_mut(place)) {
            *place = name;
        }
        shared.publish(&state);
        drop(state);
        Task { shared, token, name }
    }

    /// How many tasks are open, including those that freeze points have left behind.
    pub fn outstanding(&self) -> usize {
        self.shared.outstanding.load(Ordering::Relaxed)
    }

    /// Tries to cross the freeze point after the invocation with this limit, without blocking: for
    /// event loops, before `next` is asked for.
    ///
    /// `limit` is called once per freeze point, if there is something to wait for; its clock
    /// readings are those of this process. When this goes on, work left behind has been logged.
    ///
    /// # Errors
    ///
    /// [`LeftBehind`] if the policy treats that as an error; it has been logged too. Do not ask for
    /// the next invocation then: the process must end.
    pub fn try_cross(&self, limit: impl FnOnce() -> TimeLimit) -> Result<Crossed, LeftBehind> {
        let shared = &*self.shared;
        if !shared.has_freeze_point.load(Ordering::Relaxed) {
            return Ok(Crossed::GoOn);
        }
        let mut state = shared.lock();
        // `limit` is the caller's code, which may want the lock.
        let freeze_point = match state.freeze_point {
            Some(freeze_point) => freeze_point,
            None => {
                drop(state);
                let freeze_point = FreezePoint::reached(shared.policy, limit(), clock::now());
                state = shared.lock();
                freeze_point
            }
        };
        let now = clock::now();
        let crossing = state.ledger.cross(&freeze_point, now);
        let is_waiting = matches!(crossing, FreezeDecision::Wait { .. });
        state.freeze_point = is_waiting.then_some(freeze_point);
        state.has_woken = false;
        shared.publish(&state);
        match crossing {
            FreezeDecision::GoOn => Ok(Crossed::GoOn),
            FreezeDecision::Wait { until } => Ok(Crossed::Wait { until: clock::moment(until) }),
            FreezeDecision::Report => {
                let left_behind = state.left_behind(Point::FreezePoint, now);
                drop(state);
                left_behind.log(&shared.log, Level::Warn);
                Ok(Crossed::GoOn)
            }
            FreezeDecision::Fail => {
                let left_behind = state.left_behind(Point::FreezePoint, now);
                drop(state);
                left_behind.log(&shared.log, Level::Error);
                Err(left_behind)
            }
        }
    }

    /// Crosses the freeze point after the invocation with this limit, and blocks while the policy
    /// waits: for blocking runtimes, before `next` is asked for.
    ///
    /// It returns when the last task that it waits for has ended, when the policy's time is over,
    /// or, soon after a [`wake`](Self::wake), when `is_stopping` says so. In that last case nothing
    /// is crossed or reported; open tasks are for [`report_at_shutdown`](Self::report_at_shutdown).
    ///
    /// # Errors
    ///
    /// As [`try_cross`](Self::try_cross).
    pub fn cross(
        &self,
        limit: impl Fn() -> TimeLimit,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<(), LeftBehind> {
        let shared = &*self.shared;
        if !shared.has_freeze_point.load(Ordering::Relaxed) {
            return Ok(());
        }
        loop {
            // Any change after this reading is noticed before the wait.
            let seen = shared.lock().changes;
            if is_stopping() {
                return Ok(());
            }
            let Crossed::Wait { until } = self.try_cross(&limit)? else { return Ok(()) };
            let at_most = until.saturating_duration_since(Instant::now());
            let is_unchanged = |state: &mut State| state.changes == seen;
            let waited = shared.changed.wait_timeout_while(shared.lock(), at_most, is_unchanged);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits at the end of the runtime until no task is open, but not beyond `until`, and only under
    /// [`Policy::Drain`].
    pub fn drain(&self, until: Instant) {
        if self.outstanding() == 0 || !matches!(self.shared.policy, Policy::Drain { .. }) {
            return;
        }
        let mut state = self.shared.lock();
        state.is_draining = true;
        let at_most = until.saturating_duration_since(Instant::now());
        let is_going_on = |state: &mut State| state.ledger.outstanding() > 0;
        let waited = self.shared.changed.wait_timeout_while(state, at_most, is_going_on);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_draining = false;
    }

    /// Makes those that wait in [`cross`](Self::cross) check whether to stop. It takes a lock, so
    /// it is not for signal handlers.
    pub fn wake(&self) {
        self.shared.wake(self.shared.lock());
    }

    /// Sets what wakes the loop when the last task that a freeze point [waits](Crossed::Wait) for
    /// has ended, on the thread that ends it. It is not called again until the loop has tried.
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) {
        let waker: Arc<dyn Fn() + Send + Sync> = Arc::new(waker);
        let old = self.shared.lock().waker.replace(waker);
        // Dropped outside the lock, which what it holds may want.
        drop(old);
    }

    /// Logs the tasks that are open at the end of the process, at level WARN; logs nothing if there
    /// are none, or under [`Policy::Abandon`].
    pub fn report_at_shutdown(&self) {
        if self.outstanding() == 0 || self.shared.policy == Policy::Abandon {
            return;
        }
        let left_behind = self.shared.lock().left_behind(Point::Shutdown, clock::now());
        // They may have ended since.
        if left_behind.outstanding > 0 {
            left_behind.log(&self.shared.log, Level::Warn);
        }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outstanding = self.outstanding();
        f.debug_struct("Tasks").field("outstanding", &outstanding).finish_non_exhaustive()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let shared = &*self.shared;
        let now = clock::now();
        let mut state = shared.lock();
        // It cannot fail: the token is this ledger's, and ends only here.
        let Ok(ended) = state.ledger.end(self.token, now) else { return };
        let is_told = ended.is_late && shared.policy != Policy::Abandon;
        let late = is_told.then(|| (ended.request_id.unwrap_or_default().to_owned(), ended.age));
        shared.publish(&state);
        let is_awaited = state.freeze_point.is_some() && !state.has_woken;
        if is_awaited && state.ledger.undecided() == 0 {
            state.has_woken = true;
            let waker = state.waker.clone();
            shared.wake(state);
            if let Some(waker) = waker {
                waker();
            }
        } else if state.is_draining && state.ledger.outstanding() == 0 {
            shared.wake(state);
        } else {
            drop(state);
        }
        if let Some((request_id, age)) = late {
            log_late(&shared.log, &request_id, self.name, age);
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the values that are read without the lock.
    fn publish(&self, state: &State) {
        let has_undecided = self.concurrency == Concurrency::Single && state.ledger.undecided() > 0;
        // A freeze point that was not crossed must be looked at once more, so that it is not taken
        // for the next one.
        let has_freeze_point = has_undecided || state.freeze_point.is_some();
        self.outstanding.store(state.ledger.outstanding(), Ordering::Relaxed);
        self.has_freeze_point.store(has_freeze_point, Ordering::Relaxed);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        state.changes = state.changes.wrapping_add(1);
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    fn left_behind(&self, at: Point, now: Clocks) -> LeftBehind {
        let report = self.ledger.report(now);
        let mut tasks = String::from("[");
        for (index, task) in report.tasks().enumerate() {
            tasks.push_str(if index == 0 { "{" } else { ",{" });
            put_text(&mut tasks, "requestId", task.request_id.unwrap_or_default());
            put_text(&mut tasks, "name", self.names.get(task.place).copied().unwrap_or_default());
            let _infallible = write!(tasks, "\"ageMs\":{}}}", task.age.as_millis());
        }
        tasks.push(']');
        LeftBehind {
            outstanding: report.outstanding(),
            untracked: report.untracked(),
            oldest_age: report.oldest_age().unwrap_or_default(),
            at,
            tasks,
        }
    }
}

/// Writes a text field of a JSON object and a comma, unless the text is empty.
fn put_text(json: &mut String, name: &str, text: &str) {
    if !text.is_empty() {
        let _infallible = write!(json, "\"{name}\":\"");
        put_escaped(json, text);
        json.push_str("\",");
    }
}

impl LeftBehind {
    /// How many tasks there were.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn log(&self, log: &Log, level: Level) {
        let add = |fields: &mut Fields<'_>| {
            fields.json("outstanding", format_args!("{}", self.outstanding));
            fields.json("oldestAgeMs", format_args!("{}", self.oldest_age.as_millis()));
            if self.untracked > 0 {
                fields.json("untracked", format_args!("{}", self.untracked));
            }
            fields.json("tasks", format_args!("{}", self.tasks));
        };
        log.write(&Record::new(level, format_args!("{self}")).logger(OWN).fields(&add));
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outstanding {
            1 => f.write_str("a task of an answered invocation still runs ")?,
            more => write!(f, "{more} tasks of answered invocations still run ")?,
        }
        f.write_str(match self.at {
            Point::FreezePoint => {
                "when the next one is to be asked for, which freezes the environment"
            }
            Point::Shutdown => "when the process is to end",
        })
    }
}

impl fmt::Debug for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for LeftBehind {}

fn log_late(log: &Log, request_id: &str, name: &str, age: Duration) {
    let add = |fields: &mut Fields<'_>| {
        if !name.is_empty() {
            fields.text("name", format_args!("{name}"));
        }
        fields.json("ageMs", format_args!("{}", age.as_millis()));
    };
    let line = format_args!("a task that was left behind at the end of its invocation has ended");
    log.write(&Record::new(Level::Info, line).logger(OWN).request_id(request_id).fields(&add));
}

// The documentation states this size.
const _: () = assert!(size_of::<Shared>() <= 8 * 1024);
