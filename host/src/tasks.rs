//! Post-response work: work that continues after the answer.

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
/// After the answer, the environment runs until `next` is sent; then it is frozen, with all work in
/// it. Each piece of registered work has a [`Task`]. Before `next`, a runtime crosses the freeze
/// point, and its [`Policy`] drains open tasks, reports them in a log line, treats them as an
/// error, or abandons them. The policy decides about each task only once, at the first freeze point
/// after it began. Begin a task before the answer is sent, or within another task: one that begins
/// later may miss the freeze point.
///
/// An invocation without tasks costs one relaxed atomic load at its freeze point, and no lock,
/// clock reading or allocation.
///
/// Up to 64 tasks are tracked one by one, with the request ids of up to 16 invocations, in 8 KB.
/// Further tasks are counted, drained and reported, but not named.
///
/// Under [`Concurrency::Multi`] nothing is frozen, and there is no freeze point: crossing does
/// nothing [Lambda Developer Guide: Lambda Managed Instances].
///
/// At the end of the runtime, open tasks are [drained](Self::drain) if that is the policy, and
/// tasks that are still open are [reported](Self::report_at_shutdown).
///
/// The log writer and the waker are called without a lock held, on the thread that crosses the
/// freeze point or ends a task. They must not panic.
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

/// A task. It ends when this is dropped, on any thread, even during a panic.
///
/// If a freeze point left it behind, its end is logged at level INFO with the request id of the
/// invocation that began it, its name and its age, unless the policy is [`Policy::Abandon`].
#[must_use = "a task ends when it is dropped"]
pub struct Task {
    shared: Arc<Shared>,
    token: TaskToken,
    name: &'static str,
}

/// What an event loop has to do now at a freeze point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossed {
    /// Ask for the next invocation.
    GoOn,
    /// Try again when the [waker](Tasks::set_waker) has been called, or at `until`.
    Wait {
        /// When to try again at the latest.
        until: Instant,
    },
}

/// The tasks that were open at a freeze point or at shutdown: the error of [`Policy::Strict`].
///
/// `Display` writes the logged line, without its fields.
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
    /// Whether the freeze point needs any work. Like `outstanding`, it is written under the lock;
    /// readers that need only this value do not take the lock.
    has_freeze_point: AtomicBool,
    concurrency: Concurrency,
    policy: Policy,
    log: Log,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ledger: Ledger<TASKS, INVOCATIONS>,
    /// The names of tasks, by their place in the ledger.
    names: [&'static str; TASKS],
    /// The freeze point that the last attempt did not cross.
    freeze_point: Option<FreezePoint>,
    /// Whether the last task that the freeze point waits for has ended since the last attempt, so
    /// that the waker was called.
    has_woken: bool,
    /// Whether a thread waits in `drain` for the end of all tasks.
    is_draining: bool,
    /// Counts the changes after which waiters must check again.
    changes: u64,
    waker: Option<Arc<dyn Fn() + Send + Sync>>,
}

const TASKS: usize = 64;
const INVOCATIONS: usize = 16;

impl Tasks {
    /// A set without tasks.
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

    /// How many tasks are open, including those that were left behind at freeze points.
    pub fn outstanding(&self) -> usize {
        self.shared.outstanding.load(Ordering::Relaxed)
    }

    /// Tries to cross the freeze point after the invocation with this limit, without blocking.
    /// Event loops call it before `next`.
    ///
    /// `limit` is called once per freeze point, and only if there are tasks to decide about; it
    /// must be based on the clock readings of this process. When this returns [`Crossed::GoOn`],
    /// the tasks left behind have been logged if the policy reports them.
    ///
    /// # Errors
    ///
    /// [`LeftBehind`] if there are open tasks and the policy treats them as an error, which has
    /// been logged. Do not ask for the next invocation then: the process must end.
    pub fn try_cross(&self, limit: impl FnOnce() -> TimeLimit) -> Result<Crossed, LeftBehind> {
        let shared = &*self.shared;
        if !shared.has_freeze_point.load(Ordering::Relaxed) {
            return Ok(Crossed::GoOn);
        }
        let mut state = shared.lock();
        // Unlocked before calling `limit`, which is the caller's code and may need the lock.
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
    /// waits. Blocking runtimes call it before `next`.
    ///
    /// It returns when the last task that it waits for has ended, when the time of the policy is
    /// over, or, soon after a [`wake`](Self::wake), when `is_stopping` returns `true`. In that last
    /// case the freeze point is not crossed, and nothing is reported; call
    /// [`report_at_shutdown`](Self::report_at_shutdown) for the open tasks.
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
            // Any change after this reading prevents the wait below.
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

    /// Waits until no task is open, at the end of the runtime, but not beyond `until`. It waits
    /// only under [`Policy::Drain`].
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

    /// Makes threads that wait in [`cross`](Self::cross) check whether to stop. It takes a lock, so
    /// signal handlers must not call it.
    pub fn wake(&self) {
        self.shared.wake(self.shared.lock());
    }

    /// Sets the function that wakes the event loop when the last task that a freeze point
    /// [waits](Crossed::Wait) for has ended, on the thread that ends it. It is not called again
    /// until the loop has called [`try_cross`](Self::try_cross).
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) {
        let waker: Arc<dyn Fn() + Send + Sync> = Arc::new(waker);
        let old = self.shared.lock().waker.replace(waker);
        // Dropped outside the lock, which the drop of captured values may need.
        drop(old);
    }

    /// Logs the tasks that are open at the end of the process, at level WARN; logs nothing if there
    /// are none, or under [`Policy::Abandon`].
    pub fn report_at_shutdown(&self) {
        if self.outstanding() == 0 || self.shared.policy == Policy::Abandon {
            return;
        }
        let left_behind = self.shared.lock().left_behind(Point::Shutdown, clock::now());
        // The tasks may have ended since.
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
        // It cannot fail: the token belongs to this ledger, and is used only here.
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
        // Nothing panics in the middle of a change under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the values that are read without the lock.
    fn publish(&self, state: &State) {
        let has_undecided = self.concurrency == Concurrency::Single && state.ledger.undecided() > 0;
        // A freeze point that was not crossed needs another attempt, or else it would be taken for
        // the next freeze point.
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
            1 => f.write_str("a task of an answered invocation still runs")?,
            more => write!(f, "{more} tasks of answered invocations still run")?,
        }
        f.write_str(match self.at {
            Point::FreezePoint => ", and asking for the next invocation freezes the environment",
            Point::Shutdown => " at the end of the process",
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

// The documentation of `Tasks` states this size.
const _: () = assert!(size_of::<Shared>() <= 8 * 1024);
