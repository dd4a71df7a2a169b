//! May the extension ask for its next event?
//!
//! An extension that works with telemetry wants the records of an invocation before it asks for the
//! next one, because the environment may be frozen from then on. But an invocation lasts until
//! every extension has asked, so one that waits for a record that never comes holds its function to
//! the timeout. A [`Barrier`] knows how long to wait. It holds no clock: readings are passed in.
//!
//! ```
//! use core::time::Duration;
//! use lambda_proto::api::Deadline;
//! use lambda_proto::json::JsonStr;
//! use lambda_proto::lifecycle::Clocks;
//! use lambda_proto_extension::barrier::{Barrier, Passage, Reason};
//!
//! let at = |millis| Clocks {
//!     monotonic: Duration::from_millis(millis),
//!     wall: Duration::from_millis(1_795_252_819_000 + millis),
//! };
//! let id = |id| JsonStr::from_field(Some(id));
//! let mut barrier = Barrier::new(Duration::from_millis(100));
//! assert_eq!(barrier.check(at(0)), Passage::Ask(Reason::NoInvocation));
//!
//! // INVOKE, three seconds before the deadline: wait until the runtime is done, at most until 100 ms
//! // before the deadline.
//! barrier.invoke(id("8f18"), Some(Deadline::from_unix_millis(1_795_252_822_000)), at(0));
//! assert_eq!(barrier.check(at(0)), Passage::Wait { at_most: Duration::from_millis(2_900) });
//! barrier.runtime_done(id("8f18"));
//! assert_eq!(barrier.check(at(40)), Passage::Ask(Reason::RuntimeDone));
//!
//! // Its report can only come later, with the next invocation or at SHUTDOWN.
//! assert!(barrier.outstanding().eq(["8f18"]));
//! barrier.shutdown(Some(Deadline::from_unix_millis(1_795_252_824_000)), at(3_000));
//! assert_eq!(barrier.check(at(3_000)), Passage::Wait { at_most: Duration::from_millis(1_900) });
//! barrier.report(id("8f18"));
//! assert_eq!(barrier.check(at(3_020)), Passage::End(Reason::AllReported));
//! ```
//!
//! The embedder calls [`check`](Barrier::check) after each event and each record, and when the time
//! that it returned is over.
//!
//! | call | when |
//! |---|---|
//! | [`invoke`](Barrier::invoke) | INVOKE was read |
//! | [`runtime_done`](Barrier::runtime_done) | `platform.runtimeDone` was read |
//! | [`report`](Barrier::report) | `platform.report` was read |
//! | [`started`](Barrier::started) | `platform.start` was read |
//! | [`no_runtime_done`](Barrier::no_runtime_done) | the environment is one of Managed Instances, or the schema of the Logs API has no `runtimeDone` |
//! | [`no_telemetry`](Barrier::no_telemetry) | the subscription was not accepted, has no records of the platform, or the listener has failed |
//! | [`shutdown`](Barrier::shutdown) | SHUTDOWN was read |
//!
#![doc = include_str!("table.md")]
//!
//! An invocation that is tried again has the request id of the first attempt. Its `runtimeDone` is
//! the second one with this id. But a record that comes again before the next INVOKE, as in a batch
//! that is delivered again, counts once.
//!
//! It never waits for the report of the current invocation: Lambda writes it when every extension
//! has asked for its next event [Lambda Developer Guide: Extensions API]. A report of the current
//! invocation that comes nevertheless, as after a timeout, says that the runtime is done.
//!
//! A wait that ends shortly before the deadline is not repeated: until the next `runtimeDone` or
//! report of any invocation, the barrier counts the telemetry as silent and lets the extension ask
//! at once. So a listener that has died costs one invocation, not all.

mod ids;

use core::time::Duration;

use lambda_proto::api::Deadline;
use lambda_proto::json::JsonStr;
use lambda_proto::lifecycle::{Clocks, TimeLimit};

use crate::limits::MAX_WAIT_WITHOUT_DEADLINE;
pub(crate) use ids::RequestId;
use ids::{Ids, Progress};

/// Decides when an extension may ask for its next event, and when it may end.
///
/// The [module](self) has its table.
#[derive(Clone, Debug)]
pub struct Barrier {
    state: State,
    ids: Ids,
    reserve: Duration,
    telemetry: Telemetry,
}

/// What the extension may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Ask for the next event.
    Ask(Reason),
    /// Wait for telemetry. Check again after the next record, and when this time is over.
    Wait {
        /// Never zero.
        at_most: Duration,
    },
    /// End, after SHUTDOWN. [`Barrier::outstanding`] names the invocations whose report is missing.
    End(Reason),
}

/// Why there is nothing to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// There has been no invocation yet.
    NoInvocation,
    /// The runtime is done with the invocation.
    RuntimeDone,
    /// The reserve is all that is left until the deadline.
    DeadlineNear,
    /// The last wait was in vain, and nothing has arrived since.
    Silent,
    /// No telemetry comes.
    NoTelemetry,
    /// Telemetry comes, but does not say when the runtime is done.
    NoRuntimeDone,
    /// After SHUTDOWN, nothing has arrived for as long as a record may wait for its batch
    /// ([`Collector`](crate::collector::Collector#shutdown)).
    Quiet,
    /// The request id of the invocation is empty or longer than
    /// [`MAX_REQUEST_ID`](crate::limits::MAX_REQUEST_ID), so no record can be matched with it.
    NoRequestId,
    /// Every invocation has its report.
    AllReported,
}

#[derive(Clone, Debug)]
enum State {
    Open(Reason),
    /// For `runtimeDone` of this invocation.
    Waiting {
        current: RequestId,
        limit: TimeLimit,
    },
    /// For reports, after SHUTDOWN.
    Reports {
        limit: TimeLimit,
    },
    Ended(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telemetry {
    Expected,
    Silent,
    /// All but `runtimeDone` is expected.
    NoRuntimeDone,
    None,
}

/// Which invocation a record says the end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndOf {
    /// The current one, which was waited for.
    Current,
    /// One whose INVOKE has not been read.
    Coming,
    /// Another one, or none.
    Other,
}

impl Barrier {
    /// A barrier before the first event.
    ///
    /// The reserve is the time that the extension needs between the end of a wait and the deadline:
    /// to send what it has, and for `next` to reach Lambda.
    pub const fn new(reserve: Duration) -> Self {
        Self {
            state: State::Open(Reason::NoInvocation),
            ids: Ids::new(),
            reserve,
            telemetry: Telemetry::Expected,
        }
    }

    /// Records an INVOKE, with the clocks when it was read.
    ///
    /// Without a plausible deadline, the wait ends after
    /// [`MAX_WAIT_WITHOUT_DEADLINE`].
    pub fn invoke(&mut self, request_id: JsonStr<'_>, deadline: Option<Deadline>, now: Clocks) {
        if self.telemetry == Telemetry::None {
            return self.open(Reason::NoTelemetry);
        }
        let Some(current) = RequestId::new(request_id) else {
            return self.open(Reason::NoRequestId);
        };
        let is_done = self.ids.invoked(&current);
        if is_done {
            return self.open(Reason::RuntimeDone);
        }
        match self.telemetry {
            Telemetry::Silent => return self.open(Reason::Silent),
            Telemetry::NoRuntimeDone => return self.open(Reason::NoRuntimeDone),
            Telemetry::Expected | Telemetry::None => {}
        }
        let limit = self.limit(deadline, now);
        if self.is_before_shutdown() {
            self.state = State::Waiting { current, limit };
        }
    }

    /// Records a SHUTDOWN, with the clocks when it was read.
    pub fn shutdown(&mut self, deadline: Option<Deadline>, now: Clocks) {
        if !self.is_before_shutdown() {
            return;
        }
        let limit = self.limit(deadline, now);
        self.state = match self.telemetry {
            Telemetry::None => State::Ended(Reason::NoTelemetry),
            _ if !self.ids.is_outstanding() => State::Ended(Reason::AllReported),
            _ => State::Reports { limit },
        };
    }

    /// Records a `platform.start`. An extension that takes no INVOKE knows from it which reports are
    /// outstanding at SHUTDOWN. It is trusted: if an invented id has no report, SHUTDOWN waits for it
    /// until the reserve. So it does for a start that comes again when its invocation is forgotten, and
    /// does not for another attempt with the same id. After [`no_runtime_done`](Self::no_runtime_done) it counts for
    /// nothing: on Managed Instances, more invocations run at the same time than can be named, and
    /// their reports are sent before SHUTDOWN is.
    pub fn started(&mut self, request_id: JsonStr<'_>) {
        self.started_of(RequestId::new(request_id).as_ref());
    }

    /// The same for an id that was read before; `None` if it cannot be matched.
    pub(crate) fn started_of(&mut self, id: Option<&RequestId>) {
        if let (Some(id), Telemetry::Expected | Telemetry::Silent) = (id, self.telemetry) {
            self.ids.started(id);
        }
    }

    /// Records a `platform.runtimeDone`. It may come before its INVOKE, more than once, and for any
    /// invocation.
    pub fn runtime_done(&mut self, request_id: JsonStr<'_>) {
        self.runtime_done_of(RequestId::new(request_id).as_ref());
    }

    /// The same for an id that was read before; `None` if it cannot be matched.
    pub(crate) fn runtime_done_of(&mut self, id: Option<&RequestId>) -> EndOf {
        let Some(id) = self.heard(id) else { return EndOf::Other };
        let progress = self.ids.done(id);
        self.open_if_current(id, progress)
    }

    /// Records a `platform.report`. It may come more than once, and for any invocation.
    pub fn report(&mut self, request_id: JsonStr<'_>) {
        self.report_of(RequestId::new(request_id).as_ref());
    }

    /// The same for an id that was read before; `None` if it cannot be matched.
    pub(crate) fn report_of(&mut self, id: Option<&RequestId>) -> EndOf {
        let mut end = EndOf::Other;
        if let Some(id) = self.heard(id) {
            let progress = self.ids.reported(id);
            end = self.open_if_current(id, progress);
        }
        if matches!(self.state, State::Reports { .. }) && !self.ids.is_outstanding() {
            self.state = State::Ended(Reason::AllReported);
        }
        end
    }

    /// Records that no `platform.runtimeDone` comes, from now on, as on Managed Instances: no
    /// invocation is waited for, and SHUTDOWN is followed by reports.
    pub fn no_runtime_done(&mut self) {
        if self.telemetry == Telemetry::None {
            return;
        }
        self.telemetry = Telemetry::NoRuntimeDone;
        if let State::Waiting { .. } = self.state {
            self.state = State::Open(Reason::NoRuntimeDone);
        }
    }

    /// Records that no telemetry comes, from now on.
    pub fn no_telemetry(&mut self) {
        self.telemetry = Telemetry::None;
        match self.state {
            State::Waiting { .. } => self.state = State::Open(Reason::NoTelemetry),
            State::Reports { .. } => self.state = State::Ended(Reason::NoTelemetry),
            State::Open(_) | State::Ended(_) => {}
        }
    }

    /// What the extension may do now.
    pub fn check(&mut self, now: Clocks) -> Passage {
        match &self.state {
            State::Open(reason) => Passage::Ask(*reason),
            State::Ended(reason) => Passage::End(*reason),
            State::Waiting { limit, .. } => match self.left(limit, now) {
                Duration::ZERO => {
                    self.telemetry = Telemetry::Silent;
                    self.open(Reason::DeadlineNear);
                    Passage::Ask(Reason::DeadlineNear)
                }
                at_most => Passage::Wait { at_most },
            },
            State::Reports { limit } => match self.left(limit, now) {
                Duration::ZERO => {
                    self.state = State::Ended(Reason::DeadlineNear);
                    Passage::End(Reason::DeadlineNear)
                }
                at_most => Passage::Wait { at_most },
            },
        }
    }

    /// The request ids of the invocations whose report has not been read, oldest first.
    pub fn outstanding(&self) -> impl Iterator<Item = &str> {
        self.ids.outstanding()
    }

    /// The number of invocations whose report has not been read and that are no longer named: more
    /// than [`MAX_OUTSTANDING`](crate::limits::MAX_OUTSTANDING) were outstanding.
    pub fn forgotten(&self) -> u32 {
        self.ids.forgotten()
    }

    fn is_before_shutdown(&self) -> bool {
        matches!(self.state, State::Open(_) | State::Waiting { .. })
    }

    fn open(&mut self, reason: Reason) {
        if self.is_before_shutdown() {
            self.state = State::Open(reason);
        }
    }

    fn open_if_current(&mut self, id: &RequestId, progress: Progress) -> EndOf {
        match &self.state {
            State::Waiting { current, .. } if current == id && progress.is_done => {
                self.state = State::Open(Reason::RuntimeDone);
                EndOf::Current
            }
            _ if progress.is_coming => EndOf::Coming,
            _ => EndOf::Other,
        }
    }

    /// The id of a record, which shows that telemetry comes.
    fn heard<'i>(&mut self, id: Option<&'i RequestId>) -> Option<&'i RequestId> {
        match self.telemetry {
            Telemetry::None => return None,
            Telemetry::Silent => self.telemetry = Telemetry::Expected,
            Telemetry::Expected | Telemetry::NoRuntimeDone => {}
        }
        id
    }

    /// The limit of an event, [`MAX_WAIT_WITHOUT_DEADLINE`] and the reserve after it if it has no
    /// plausible deadline.
    pub(crate) fn limit(&self, deadline: Option<Deadline>, now: Clocks) -> TimeLimit {
        let limit = TimeLimit::on_arrival(deadline, now);
        if limit.deadline().is_some() {
            return limit;
        }
        let end = now.wall.saturating_add(MAX_WAIT_WITHOUT_DEADLINE).saturating_add(self.reserve);
        let millis = u64::try_from(end.as_millis()).unwrap_or(u64::MAX);
        TimeLimit::on_arrival(Some(Deadline::from_unix_millis(millis)), now)
    }

    fn left(&self, limit: &TimeLimit, now: Clocks) -> Duration {
        limit.remaining(now).unwrap_or_default().saturating_sub(self.reserve)
    }
}
