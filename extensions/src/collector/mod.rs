//! An extension with telemetry, as a whole: what it may do next, and what becomes of each record.
//!
//! One [`Collector`] belongs to an extension, and one [`Intake`] to each connection of its listener.
//! They hold no socket, no clock and no handler, so that transports differ in their I/O only:
//!
//! ```text
//!  connection ──bytes──▶ Intake ──Telemetry──▶ handler
//!      ▲                  │  ▲ ──handled──────────┘
//!      └─────replies──────┘  │ losses, ends of invocations, own log lines
//!                            ▼
//!  event/next ──event──▶ Collector ──check──▶ ask for the next event, wait, or end
//! ```
//!
//! # The loop of events
//!
//! 1. Ask for the next event, and pass it to [`Collector::event`].
//! 2. Call the event handler.
//! 3. Call [`Collector::check`] until it says [`Ask`](Passage::Ask) or [`End`](Passage::End). Wait
//!    between the calls for the time that it returns, until [`Intake::handled`] returns `true`, or
//!    until the reply to a batch was written.
//! 4. If a [flush is due](Collector::take_flush), call the telemetry handler with
//!    [`Telemetry::Flush`]. If it is busy beyond [`Collector::time_left`], leave it out.
//! 5. After the end, log the [`Collector::summary`].
//!
//! # A connection
//!
//! ```
//! use lambda_proto_extension::collector::{
//!     Collector, Intake, OwnLogs, Step, Telemetry, TelemetryOptions,
//! };
//! use lambda_proto_extension::subscription::TelemetryTypes;
//! use lambda_proto_extension::telemetry::Body;
//! # let none = core::time::Duration::ZERO;
//! # let now = lambda_proto::lifecycle::Clocks { monotonic: none, wall: none };
//!
//! let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
//! let mut collector = Collector::new(&options, OwnLogs::Extension);
//! let mut memory = [0; 1024];
//! let mut intake = Intake::new(&mut memory[..]);
//!
//! let posted = b"POST / HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 38\r\n\r\n\
//!     [{\"type\":\"function\",\"record\":\"hello\"}]";
//! intake.room()[..posted.len()].copy_from_slice(posted);
//! intake.received(posted.len(), now);
//!
//! let Step::Hand(Telemetry::Record(record)) = intake.step(&mut collector) else { panic!() };
//! let Body::FunctionLog(line) = record.body else { panic!() };
//! assert_eq!(line.to_string(), "hello");
//! // The handler failed, so the batch is asked for again.
//! intake.handled(&mut collector, false);
//! let Step::Warn(warning) = intake.step(&mut collector) else { panic!() };
//! assert_eq!(
//!     warning.to_string(),
//!     "the telemetry handler failed; its batch is asked for again (delivery 1 of 3)"
//! );
//! assert!(matches!(intake.step(&mut collector), Step::Write));
//! assert!(intake.unsent().starts_with(b"HTTP/1.1 503 "));
//! ```
//!
//! # What becomes of a record
//!
//! | the handler | this record | the rest of its batch | reply |
//! |---|---|---|---|
//! | takes it | is over | is handed out | 200 after the last one |
//! | is not called: [others use the memory](crate::telemetry::Reason::MemoryInUse), deliveries 1 and 2 | comes again | is handed out, and comes again | 503 |
//! | is not called for the same reason, delivery 3 | is lost, told as [unread](Telemetry::Unread) and counted | is handed out | 200 |
//! | fails, deliveries 1 and 2 | comes again | is skipped, and comes again | 503 |
//! | fails, delivery [3](crate::limits::MAX_DELIVERIES) | is lost, and counted | is skipped, lost and counted | 200 |
//!
//! So a handler gets a record at least once. It gets records again that came before one with which
//! it failed, and those of a batch whose reply was lost, unless it has a `Sequence-Id`.
//!
//! `platform.runtimeDone` and `platform.report` count as soon as they were read, even if the handler
//! failed: the function must not wait until a batch comes again, and one that is given up comes no
//! more. Both count also if they are handed out as [unread](Telemetry::Unread) because another field
//! is wrong.

mod ending;
mod fact;
mod intake;
mod options;
mod summary;
mod warning;

use core::time::Duration;

use lambda_proto::lifecycle::{Clocks, TimeLimit};

use crate::EnvironmentEvent;
use crate::barrier::{Barrier, EndOf, Passage, Reason};
use crate::limits::{
    MAX_FUNCTION_LOGS, MAX_OWN_LOGS, MAX_WAIT_FOR_BATCHES, MAX_WARNINGS, OWN_LOGS_PERIOD,
};
use crate::telemetry::{Deliveries, Losses, Record, RecordType, Unread};

use ending::{Ending, Telling};
use fact::Fact;

pub use intake::{Intake, Step};
pub use options::TelemetryOptions;
pub use summary::Summary;
pub use warning::Warning;

/// What a telemetry handler is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a record is handed out once, without allocation")]
pub enum Telemetry<'a> {
    /// A record.
    Record(Record<'a>),
    /// A record that cannot be read, as it was sent, with the reason.
    Unread(Unread<'a>),
    /// An invocation or the environment is over, as far as the extension can wait for it: process
    /// what was handed out. The extension asks for its next event, or ends, when the handler
    /// returns; the environment may be frozen then. At [`Reason::DeadlineNear`], only the
    /// [reserve](TelemetryOptions::reserve) is left. A handler that the transport does not interrupt
    /// must itself end by the deadline of the latest event.
    ///
    /// A flush that fails is logged and counted, and nothing comes again: keep what you have until it
    /// was sent.
    ///
    /// It follows INVOKE and SHUTDOWN. On Managed Instances, there is none before SHUTDOWN, and an
    /// internal extension gets none at all: send from the handler of the records, by count or by time.
    Flush(Reason),
}

/// As which records the process finds its own output in its telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnLogs {
    /// `extension`: it is an external extension.
    Extension,
    /// `function`: it is an internal extension, in the process of the runtime.
    Function,
}

/// The state of an extension with telemetry: its [`Barrier`], its [`Deliveries`] and what it has
/// lost. The [module](self) shows how it is used.
///
/// # Own log lines
///
/// An extension that has subscribed to the records of its own log, and logs a line for each of them,
/// never comes to an end: each line comes back as a record. Records do not say which extension has
/// written them. So a collector withholds such records once it has handed out as many as the
/// [limit](TelemetryOptions::own_log_limit) allows, until the next event of the environment, the
/// next `platform.start` on default capacity, or for [`OWN_LOGS_PERIOD`]. A line that is not handed
/// out causes no other one, which ends the loop. Withheld records are
/// [counted](Losses::withheld_records), and a warning tells of the first.
///
/// # SHUTDOWN
///
/// | the extension has read | it waits after SHUTDOWN until |
/// |---|---|
/// | INVOKE, and gets records of the platform | every invocation has its `platform.report` |
/// | no INVOKE, as an extension without invocations or on Managed Instances | the same for each `platform.start` on default capacity, and then until nothing has arrived for some time |
/// | no INVOKE, by the oldest schema of the Logs API | nothing has arrived for some time |
/// | anything, but gets no records of the platform | nothing has arrived for some time |
/// | that [no telemetry comes](Self::no_telemetry) | – |
///
/// This time is as long as Lambda may keep a record for its batch
/// ([`Buffering`](crate::subscription::Buffering::with_timeout)), and [`MAX_WAIT_FOR_BATCHES`] more
/// for the way. Each of these waits ends when only the [reserve](TelemetryOptions::reserve) is left
/// until the deadline.
///
/// An extension that gets telemetry also waits until each batch that it has asked for again was
/// taken, as far as it [remembers](crate::limits::MAX_REMEMBERED_BATCHES) them.
#[derive(Clone, Debug)]
pub struct Collector {
    deliveries: Deliveries,
    barrier: Barrier,
    reserve: Duration,
    /// The limit of the latest event.
    limit: Option<TimeLimit>,
    /// Batches that have begun and are not replied to.
    open_batches: u32,
    /// Those of them that are not decided.
    undecided_batches: u32,
    /// Those of them that tell the end of the current invocation, and of the next one.
    telling: Telling,
    /// The monotonic time until which these are waited for, once nothing else is.
    settling: Option<Duration>,
    ending: Ending,
    is_flush_due: bool,
    own_logs: OwnLogs,
    own_log_limit: u32,
    /// `platform.start` lets own logs be handed out again. It does not where invocations run at the
    /// same time: there would be no limit under traffic.
    renews_at_start: bool,
    /// How many of them were handed out in this period.
    own_logs_handed: u32,
    warnings: u32,
    /// When the period has begun.
    period: Duration,
    unlogged: u64,
}

impl Collector {
    /// The collector of an extension that has not registered.
    pub fn new(options: &TelemetryOptions, own_logs: OwnLogs) -> Self {
        let reserve = options.time_reserved();
        let mut barrier = Barrier::new(reserve);
        if !options.expects_reports() {
            barrier.no_telemetry();
        } else if !options.expects_runtime_done() {
            barrier.no_runtime_done();
        }
        let quiet_time = options.longest_wait().saturating_add(MAX_WAIT_FOR_BATCHES);
        let ending = Ending::new(options.expects_reports(), quiet_time);
        let default = match own_logs {
            OwnLogs::Extension => MAX_OWN_LOGS,
            OwnLogs::Function => MAX_FUNCTION_LOGS,
        };
        Self {
            deliveries: Deliveries::new(),
            barrier,
            reserve,
            limit: None,
            open_batches: 0,
            undecided_batches: 0,
            telling: Telling::default(),
            settling: None,
            ending,
            is_flush_due: false,
            own_logs,
            own_log_limit: options.most_own_logs().unwrap_or(default),
            renews_at_start: true,
            own_logs_handed: 0,
            warnings: 0,
            period: Duration::ZERO,
            unlogged: 0,
        }
    }

    /// Records an event of the environment, with the clocks when it was read.
    pub fn event(&mut self, event: &EnvironmentEvent<'_>, now: Clocks) {
        self.begin_period(now.monotonic);
        self.settling = None;
        match event {
            EnvironmentEvent::Invoke(invoke) => {
                self.limit = Some(self.barrier.limit(invoke.deadline, now));
                self.is_flush_due = true;
                self.ending.is_known = self.ending.expects_reports;
                self.telling.begin_invocation();
                self.barrier.invoke(invoke.request_id, invoke.deadline, now);
            }
            EnvironmentEvent::Shutdown(shutdown) => {
                self.limit = Some(self.barrier.limit(shutdown.deadline, now));
                self.is_flush_due = true;
                self.barrier.shutdown(shutdown.deadline, now);
            }
            EnvironmentEvent::Other { .. } => {}
        }
    }

    /// Records that [no telemetry comes](Barrier::no_telemetry), from now on.
    pub fn no_telemetry(&mut self) {
        self.ending.comes = false;
        self.barrier.no_telemetry();
    }

    /// Records that [no `platform.runtimeDone` comes](Barrier::no_runtime_done), as on Managed
    /// Instances.
    pub fn no_runtime_done(&mut self) {
        self.renews_at_start = false;
        self.barrier.no_runtime_done();
    }

    /// What the extension may do now. The batch that has told the end of an invocation is waited for,
    /// for [`MAX_WAIT_FOR_BATCHES`] at most. So is every batch that has begun
    /// [after SHUTDOWN](Self#shutdown); one that was asked for again is waited for until the reserve.
    pub fn check(&mut self, now: Clocks) -> Passage {
        let passage = self.barrier.check(now);
        if !self.is_flush_due {
            return passage;
        }
        let open_batches = match passage {
            Passage::Wait { .. } => return passage,
            Passage::Ask(_) => self.telling.current,
            Passage::End(Reason::DeadlineNear) => 0,
            Passage::End(_) if self.ending.comes && self.deliveries.awaits_batch() => {
                return match self.until_end(now) {
                    Duration::ZERO => Passage::End(Reason::DeadlineNear),
                    at_most => Passage::Wait { at_most },
                };
            }
            Passage::End(_) if self.ending.comes && !self.ending.is_known => {
                return self.await_quiet(now);
            }
            Passage::End(_) => self.open_batches,
        };
        if open_batches == 0 {
            return passage;
        }
        let end = now.monotonic.saturating_add(MAX_WAIT_FOR_BATCHES);
        let end = *self.settling.get_or_insert(end);
        let left = end.saturating_sub(now.monotonic);
        let at_most = self.until_reserve(now).map_or(left, |until| left.min(until));
        if at_most.is_zero() { passage } else { Passage::Wait { at_most } }
    }

    fn await_quiet(&mut self, now: Clocks) -> Passage {
        let most = self.until_end(now);
        if most.is_zero() {
            return Passage::End(Reason::DeadlineNear);
        }
        match self.ending.until_quiet(now.monotonic).min(most) {
            Duration::ZERO => Passage::End(Reason::Quiet),
            at_most => Passage::Wait { at_most },
        }
    }

    /// The longest wait after SHUTDOWN.
    fn until_end(&self, now: Clocks) -> Duration {
        self.until_reserve(now).unwrap_or_default()
    }

    /// Whether the handler is to be called with [`Telemetry::Flush`], which is due once after each
    /// INVOKE and SHUTDOWN.
    pub fn take_flush(&mut self) -> bool {
        core::mem::take(&mut self.is_flush_due)
    }

    /// Records that the handler failed to flush, or was too busy to.
    pub fn flush_failed(&mut self) {
        let losses = self.deliveries.losses_mut();
        losses.failed_flushes = losses.failed_flushes.saturating_add(1);
    }

    /// Records that a connection was refused with [`BUSY`](crate::telemetry::BUSY), because there are
    /// as many as the listener serves.
    pub fn connection_refused(&mut self) {
        let losses = self.deliveries.losses_mut();
        losses.refused_connections = losses.refused_connections.saturating_add(1);
    }

    /// Whether a line about telemetry may be logged: [`MAX_WARNINGS`] may between two events, or
    /// within [`OWN_LOGS_PERIOD`]. Further ones are counted, because a hostile client could otherwise
    /// fill the log.
    pub fn may_log(&mut self, now: Clocks) -> bool {
        self.renew_period(now.monotonic);
        let may_log = self.warnings < MAX_WARNINGS;
        if may_log {
            self.warnings = self.warnings.saturating_add(1);
        } else {
            self.unlogged = self.unlogged.saturating_add(1);
        }
        may_log
    }

    /// How long a flush may wait for a handler that is busy: until the deadline of the latest event,
    /// less half of the reserve. An event without a plausible deadline is taken
    /// to have one after 1 s and the reserve. Zero before the first event.
    pub fn time_left(&self, now: Clocks) -> Duration {
        // A division of a duration could panic in the eyes of the compiler.
        let half = u64::try_from(self.reserve.as_millis() / 2).unwrap_or(u64::MAX);
        let half = Duration::from_millis(half);
        self.until_deadline(now).unwrap_or_default().saturating_sub(half)
    }

    /// What was lost until now.
    pub const fn losses(&self) -> Losses {
        self.deliveries.losses()
    }

    /// What there is to say at the end; `None` if nothing was lost, no report is missing
    /// and no batch is open.
    pub fn summary(&self) -> Option<Summary<'_>> {
        let open = self.undecided_batches;
        let summary = Summary::new(&self.barrier, self.losses(), open, self.unlogged);
        summary.is_needed().then_some(summary)
    }

    fn until_deadline(&self, now: Clocks) -> Option<Duration> {
        self.limit.and_then(|limit| limit.remaining(now))
    }

    /// The same less the reserve.
    fn until_reserve(&self, now: Clocks) -> Option<Duration> {
        self.until_deadline(now).map(|until| until.saturating_sub(self.reserve))
    }

    fn begin_period(&mut self, now: Duration) {
        self.own_logs_handed = 0;
        self.warnings = 0;
        self.period = now;
    }

    /// Begins a new period if the last one has lasted for long enough.
    fn renew_period(&mut self, now: Duration) {
        if now.saturating_sub(self.period) >= OWN_LOGS_PERIOD {
            self.begin_period(now);
        }
    }

    /// Notes a record that arrived at this time, and says whether it may be handed out.
    fn admit(&mut self, record: &Record<'_>, now: Duration) -> Admission {
        let is_own = match record.record_type {
            RecordType::ExtensionLog => self.own_logs == OwnLogs::Extension,
            RecordType::FunctionLog => self.own_logs == OwnLogs::Function,
            RecordType::Start => {
                if self.renews_at_start {
                    self.own_logs_handed = 0;
                }
                false
            }
            _ => false,
        };
        if !is_own {
            return Admission::Hand;
        }
        self.renew_period(now);
        if self.own_logs_handed < self.own_log_limit {
            self.own_logs_handed = self.own_logs_handed.saturating_add(1);
            return Admission::Hand;
        }
        let losses = self.deliveries.losses_mut();
        losses.withheld_records = losses.withheld_records.saturating_add(1);
        if self.own_logs_handed == self.own_log_limit {
            // So that only the first one is told.
            self.own_logs_handed = self.own_logs_handed.saturating_add(1);
            return Admission::WithholdFirst { limit: self.own_log_limit };
        }
        Admission::Withhold
    }

    /// Notes what a record says. Returns the number of the invocation whose end it tells, if that is
    /// the current or the next one.
    fn note(&mut self, fact: &Fact) -> Option<u32> {
        let end = match fact {
            Fact::Nothing => EndOf::Other,
            Fact::Started(id) => {
                self.barrier.started_of(id.as_ref());
                EndOf::Other
            }
            Fact::RuntimeDone(id) => self.barrier.runtime_done_of(id.as_ref()),
            Fact::Reported(id) => self.barrier.report_of(id.as_ref()),
        };
        match end {
            EndOf::Current => Some(self.telling.invocation),
            EndOf::Coming => Some(self.telling.invocation.wrapping_add(1)),
            EndOf::Other => None,
        }
    }

    /// Records that the handler gets a record, which says this.
    fn hand(&mut self, fact: Fact) -> Fact {
        self.ending.in_hand = self.ending.in_hand.saturating_add(1);
        fact
    }

    /// Records that it has returned.
    fn put_down(&mut self) {
        self.ending.in_hand = self.ending.in_hand.saturating_sub(1);
        self.ending.arrives();
    }

    fn batch_begins(&mut self) {
        self.ending.arrives();
        self.open_batches = self.open_batches.saturating_add(1);
        self.undecided_batches = self.undecided_batches.saturating_add(1);
    }

    /// Records that an open batch tells the end of this invocation.
    fn batch_tells(&mut self, invocation: u32) {
        if let Some(count) = self.telling.count(invocation) {
            *count = count.saturating_add(1);
        }
    }

    fn batch_is_decided(&mut self) {
        self.undecided_batches = self.undecided_batches.saturating_sub(1);
    }

    fn batch_ends(&mut self, told: Option<u32>) {
        self.ending.arrives();
        self.open_batches = self.open_batches.saturating_sub(1);
        if let Some(count) = told.and_then(|invocation| self.telling.count(invocation)) {
            *count = count.saturating_sub(1);
        }
    }
}

enum Admission {
    Hand,
    Withhold,
    /// The first one that is withheld.
    WithholdFirst {
        limit: u32,
    },
}
