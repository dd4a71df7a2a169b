use std::fmt;
use std::time::Duration;

use heapless::String;
use lambda_proto::api::Concurrency;
use lambda_proto::lifecycle::Clocks;
use lambda_proto::limits::MAX_ID;

use super::{FreezeDecision, FreezePoint};

/// The open tasks of all invocations, so that no work is frozen unnoticed.
///
/// A task belongs to the invocation that it began for. The token from its beginning ends it, at any
/// time and on any thread (put the ledger into a lock then). A task that ends after the freeze
/// point, in the middle of a later invocation, is still attributed to its own invocation.
///
/// The ledger has places for `TASKS` tasks, of 32 bytes each. Request ids may be long and must
/// outlive their invocations, so the ledger keeps one copy per invocation, for up to `INVOCATIONS`
/// invocations; a task holds only a number. No task is lost when places run out: tasks without a
/// place are counted, and a task whose request id found no room has no request id in reports.
///
/// ```
/// use std::time::Duration;
/// use lambda_proto::api::Concurrency;
/// use lambda_proto::lifecycle::Clocks;
/// use lambda_proto_host::policy::{InvocationNumber, Ledger};
///
/// let at = |secs| Clocks { monotonic: Duration::from_secs(secs), wall: Duration::from_secs(secs) };
/// let mut ledger = Ledger::<16, 2>::new(Concurrency::Single);
/// let token = ledger.begin(InvocationNumber(1), "7b", at(0));
/// let report = ledger.report(at(2));
/// assert_eq!((report.outstanding(), report.oldest_age()), (1, Some(Duration::from_secs(2))));
///
/// let ended = ledger.end(token, at(3))?;
/// assert_eq!(ended.request_id, Some("7b"));
/// assert!(ledger.end(token, at(3)).is_err());
/// # Ok::<(), lambda_proto_host::policy::EndError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ledger<const TASKS: usize, const INVOCATIONS: usize> {
    concurrency: Concurrency,
    tasks: [Task; TASKS],
    names: [Name; INVOCATIONS],
    /// The number of the next task; the first is 1.
    next: u64,
    /// Tasks below this number were open at the last freeze point.
    left_behind_below: u64,
    /// Open tasks that no freeze point has decided about.
    news: usize,
    /// Open tasks that have a place.
    open: usize,
    excess: Excess,
}

/// A place for a task; number 0 means that it is free.
#[derive(Clone, Copy, Debug)]
struct Task {
    number: u64,
    invocation: InvocationNumber,
    begun: Stamp,
}

/// The request id of an invocation that has or had tasks.
#[derive(Clone, Debug)]
struct Name {
    invocation: Option<InvocationNumber>,
    request_id: String<MAX_ID>,
}

/// Tasks without a place: how many are open, and the range of their numbers.
#[derive(Clone, Copy, Debug)]
struct Excess {
    open: usize,
    first: u64,
    last: u64,
    since: Stamp,
}

/// The number of an invocation in the ledger, unique within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvocationNumber(
    /// The number, for example from a counter that all workers share.
    pub u64,
);

/// The token that ends a task, once, in the ledger that returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a task without its token never ends"]
pub struct TaskToken {
    number: u64,
    invocation: InvocationNumber,
    place: Option<usize>,
}

impl TaskToken {
    /// The place of the task in its ledger, or `None` if it has none. It is below `TASKS`, and no
    /// other open task has it, so the caller can use it as an index for data beside the ledger.
    pub const fn place(&self) -> Option<usize> {
        self.place
    }
}

impl<const TASKS: usize, const INVOCATIONS: usize> Ledger<TASKS, INVOCATIONS> {
    /// A ledger without tasks.
    pub const fn new(concurrency: Concurrency) -> Self {
        let task = Task { number: 0, invocation: InvocationNumber(0), begun: Stamp::ZERO };
        Self {
            concurrency,
            tasks: [task; TASKS],
            names: [const { Name { invocation: None, request_id: String::new() } }; INVOCATIONS],
            next: 1,
            left_behind_below: 1,
            news: 0,
            open: 0,
            excess: Excess { open: 0, first: 0, last: 0, since: Stamp::ZERO },
        }
    }

    /// Begins a task of an invocation.
    pub fn begin(
        &mut self,
        invocation: InvocationNumber,
        request_id: &str,
        now: Clocks,
    ) -> TaskToken {
        let number = self.next;
        self.next = number.saturating_add(1);
        self.news = self.news.saturating_add(1);
        let begun = Stamp::new(now);
        let place = self.tasks.iter().position(|task| task.number == 0);
        if let Some(task) = place.and_then(|place| self.tasks.get_mut(place)) {
            *task = Task { number, invocation, begun };
            self.open = self.open.saturating_add(1);
            self.name(invocation, request_id);
        } else {
            if self.excess.open == 0 {
                self.excess = Excess { open: 0, first: number, last: number, since: begun };
            }
            self.excess.open = self.excess.open.saturating_add(1);
            self.excess.last = number;
        }
        TaskToken { number, invocation, place }
    }

    /// Ends a task, and describes it.
    ///
    /// # Errors
    ///
    /// [`EndError`] if the token has no open task here; nothing changes then. Tasks without a place
    /// cannot be distinguished, so ending one of them twice is an error only once none of them is
    /// open.
    pub fn end(&mut self, token: TaskToken, now: Clocks) -> Result<EndedTask<'_>, EndError> {
        let TaskToken { number, invocation, place } = token;
        let begun = match place {
            Some(place) => {
                let is_it = |task: &&mut Task| task.number == number && number != 0;
                let task = self.tasks.get_mut(place).filter(is_it).ok_or(EndError)?;
                if task.invocation != invocation {
                    return Err(EndError);
                }
                task.number = 0;
                self.open = self.open.saturating_sub(1);
                task.begun
            }
            None => {
                let Excess { open, first, last, since } = self.excess;
                if open == 0 || !(first..=last).contains(&number) {
                    return Err(EndError);
                }
                self.excess.open = open.saturating_sub(1);
                since
            }
        };
        let is_late = number < self.left_behind_below;
        if !is_late {
            self.news = self.news.saturating_sub(1);
        }
        Ok(EndedTask {
            invocation,
            request_id: request_id_of(&self.names, invocation),
            age: now.since(begun.clocks()).length(),
            is_late,
        })
    }

    /// Decides what to do at a freeze point, and marks the tasks that it leaves behind.
    ///
    /// The policy applies to a task at only one freeze point, the first after it began. Later ones
    /// only count it, so a task that never ends does not delay every invocation.
    ///
    /// Under [`Concurrency::Multi`] nothing is frozen [Lambda Developer Guide: Lambda Managed
    /// Instances], so there is no freeze point, and the decision is always
    /// [`FreezeDecision::GoOn`]. At shutdown, the [report](Self::report) has the open tasks.
    pub fn cross(&mut self, freeze_point: &FreezePoint, now: Clocks) -> FreezeDecision {
        if self.concurrency == Concurrency::Multi {
            return FreezeDecision::GoOn;
        }
        let crossing = match self.news {
            0 => FreezeDecision::GoOn,
            _ => freeze_point.decide(now),
        };
        if matches!(crossing, FreezeDecision::GoOn | FreezeDecision::Report) {
            self.left_behind_below = self.next;
            self.news = 0;
        }
        crossing
    }

    /// How many tasks are open.
    pub fn outstanding(&self) -> usize {
        self.open.saturating_add(self.excess.open)
    }

    /// How many tasks the next freeze point decides about: those that were not left behind at an
    /// earlier one. If it is 0, [`cross`](Self::cross) changes nothing and returns
    /// [`FreezeDecision::GoOn`].
    pub fn undecided(&self) -> usize {
        self.news
    }

    /// The open tasks, for a freeze point before `next` is sent, or for shutdown.
    pub fn report(&self, now: Clocks) -> LedgerReport<'_> {
        LedgerReport { tasks: &self.tasks, names: &self.names, excess: self.excess, now }
    }

    /// Keeps the request id, if it is new, in place of one whose invocation has no open tasks.
    fn name(&mut self, invocation: InvocationNumber, request_id: &str) {
        if self.names.iter().any(|name| name.invocation == Some(invocation)) {
            return;
        }
        let tasks = &self.tasks;
        let has_tasks = |name: &Name| {
            let is_of = |task: &Task| task.number != 0 && name.invocation == Some(task.invocation);
            tasks.iter().any(is_of)
        };
        let free = self.names.iter_mut().find(|name| !has_tasks(name));
        if let (Some(free), Ok(request_id)) = (free, String::try_from(request_id)) {
            *free = Name { invocation: Some(invocation), request_id };
        }
    }
}

fn request_id_of(names: &[Name], invocation: InvocationNumber) -> Option<&str> {
    let name = names.iter().find(|name| name.invocation == Some(invocation))?;
    Some(&name.request_id)
}

/// A task that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedTask<'l> {
    /// The invocation that began it.
    pub invocation: InvocationNumber,
    /// The request id of that invocation; `None` if the ledger had no room for it.
    pub request_id: Option<&'l str>,
    /// How long ago it began. For a task without a place, this is the age of the oldest such task,
    /// an upper bound.
    pub age: Duration,
    /// Whether a freeze point had left it behind: it may have been frozen, and may have acted in
    /// the middle of another invocation.
    pub is_late: bool,
}

/// The tasks that are open at a moment.
#[derive(Clone, Copy, Debug)]
pub struct LedgerReport<'l> {
    tasks: &'l [Task],
    names: &'l [Name],
    excess: Excess,
    now: Clocks,
}

impl<'l> LedgerReport<'l> {
    /// How many tasks are open, including those without a place.
    pub fn outstanding(&self) -> usize {
        self.tasks().count().saturating_add(self.excess.open)
    }

    /// How many tasks have no place in the ledger, and so are not among the [`tasks`](Self::tasks).
    pub fn untracked(&self) -> usize {
        self.excess.open
    }

    /// How long ago the oldest task began.
    pub fn oldest_age(&self) -> Option<Duration> {
        let excess = (self.excess.open > 0).then(|| self.age(self.excess.since));
        self.tasks().map(|task| task.age).chain(excess).max()
    }

    /// The tasks that have a place, in no particular order.
    pub fn tasks(&self) -> impl Iterator<Item = OpenTask<'l>> + '_ {
        let open = self.tasks.iter().enumerate().filter(|(_, task)| task.number != 0);
        open.map(|(place, task)| OpenTask {
            place,
            invocation: task.invocation,
            request_id: request_id_of(self.names, task.invocation),
            age: self.age(task.begun),
        })
    }

    fn age(&self, begun: Stamp) -> Duration {
        self.now.since(begun.clocks()).length()
    }
}

/// A task that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTask<'l> {
    /// The place that its [token](TaskToken::place) gives.
    pub place: usize,
    /// The invocation that began it.
    pub invocation: InvocationNumber,
    /// The request id of that invocation; `None` if the ledger had no room for it.
    pub request_id: Option<&'l str>,
    /// How long ago it began.
    pub age: Duration,
}

/// The token has no open task in this ledger: it was used before, or belongs to another ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndError;

impl fmt::Display for EndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this task has already ended, or belongs to another ledger")
    }
}

impl std::error::Error for EndError {}

/// A reading of both clocks in 16 bytes, in whole microseconds, which overflow after 584,000 years.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    monotonic: u64,
    wall: u64,
}

impl Stamp {
    const ZERO: Self = Self { monotonic: 0, wall: 0 };

    const fn new(clocks: Clocks) -> Self {
        Self { monotonic: micros(clocks.monotonic), wall: micros(clocks.wall) }
    }

    const fn clocks(self) -> Clocks {
        Clocks {
            monotonic: Duration::from_micros(self.monotonic),
            wall: Duration::from_micros(self.wall),
        }
    }
}

const fn micros(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros() as u64)
}

// The documentation states this size.
const _: () = assert!(size_of::<Task>() == 32);
