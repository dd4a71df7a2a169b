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
//!
//! let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
//! let mut collector = Collector::new(&options, OwnLogs::Extension);
//! let mut memory = [0; 1024];
//! let mut intake = Intake::new(&mut memory[..]);
//!
//! let posted = b"POST / HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 38\r\n\r\n\
//!     [{\"type\":\"function\",\"record\":\"hello\"}]";
//! intake.room()[..posted.len()].copy_from_slice(posted);
//! intake.received(posted.len());
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
//! | fails, deliveries 1 and 2 | comes again | is skipped, and comes again | 503 |
//! | fails, delivery [3](crate::limits::MAX_DELIVERIES) | is lost, and counted | is skipped, lost and counted | 200 |
//!
//! So a handler gets a record at least once. It gets records again that came before one with which
//! it failed, and those of a batch whose reply was lost, unless it has a `Sequence-Id`.
//!
//! `platform.runtimeDone` counts as soon as it was read, even if the handler failed: the function
//! must not wait until a batch comes again. A `platform.report` counts when it was handled. Both count
//! also if they are handed out as [unread](Telemetry::Unread) because another field is wrong.

mod intake;
mod options;
mod summary;
mod warning;

use core::time::Duration;

use lambda_proto::json::JsonStr;
use lambda_proto::lifecycle::{Clocks, TimeLimit};

use crate::EnvironmentEvent;
use crate::barrier::{Barrier, Passage, Reason, RequestId};
use crate::limits::{MAX_FUNCTION_LOGS, MAX_OWN_LOGS, MAX_WAIT_FOR_BATCHES, MAX_WARNINGS};
use crate::telemetry::{Deliveries, Losses, Record, RecordType, Unread};

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
/// [limit](TelemetryOptions::own_log_limit) allows, until the next event of the environment or the
/// next `platform.start`. A line that is not handed out causes no other one, which ends the loop.
/// Withheld records are [counted](Losses::withheld_records), and a warning tells of the first.
#[derive(Clone, Debug)]
pub struct Collector {
    deliveries: Deliveries,
    barrier: Barrier,
    reserve: Duration,
    /// The limit of the latest event.
    limit: Option<TimeLimit>,
    /// Batches that have begun and are not replied to.
    open_batches: u32,
    /// The monotonic time until which these are waited for, once nothing else is.
    settling: Option<Duration>,
    is_flush_due: bool,
    own_logs: OwnLogs,
    own_log_limit: u32,
    /// How many of them were handed out since the last event.
    own_logs_handed: u32,
    warnings: u32,
    unlogged: u64,
}

impl Collector {
    /// The collector of an extension that has not registered.
    pub fn new(options: &TelemetryOptions, own_logs: OwnLogs) -> Self {
        let reserve = options.time_reserved();
        let mut barrier = Barrier::new(reserve);
        if !options.expects_runtime_done() {
            barrier.no_telemetry();
        }
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
            settling: None,
            is_flush_due: false,
            own_logs,
            own_log_limit: options.most_own_logs().unwrap_or(default),
            own_logs_handed: 0,
            warnings: 0,
            unlogged: 0,
        }
    }

    /// Records an event of the environment, with the clocks when it was read.
    pub fn event(&mut self, event: &EnvironmentEvent<'_>, now: Clocks) {
        self.begin_period();
        self.settling = None;
        match event {
            EnvironmentEvent::Invoke(invoke) => {
                self.limit = Some(TimeLimit::on_arrival(invoke.deadline, now));
                self.is_flush_due = true;
                self.barrier.invoke(invoke.request_id, invoke.deadline, now);
            }
            EnvironmentEvent::Shutdown(shutdown) => {
                self.limit = Some(TimeLimit::on_arrival(shutdown.deadline, now));
                self.is_flush_due = true;
                self.barrier.shutdown(shutdown.deadline, now);
            }
            EnvironmentEvent::Other { .. } => {}
        }
    }

    /// Records that [no telemetry comes](Barrier::no_telemetry), from now on.
    pub fn no_telemetry(&mut self) {
        self.barrier.no_telemetry();
    }

    /// What the extension may do now. Batches that have begun are waited for, for
    /// [`MAX_WAIT_FOR_BATCHES`] at most.
    pub fn check(&mut self, now: Clocks) -> Passage {
        let passage = self.barrier.check(now);
        let is_over = !matches!(passage, Passage::Wait { .. });
        if !is_over || !self.is_flush_due || self.open_batches == 0 {
            return passage;
        }
        let end = now.monotonic.saturating_add(MAX_WAIT_FOR_BATCHES);
        let end = *self.settling.get_or_insert(end);
        let left = end.saturating_sub(now.monotonic);
        let at_most = match self.until_deadline(now) {
            Some(until) => left.min(until.saturating_sub(self.reserve)),
            None => left,
        };
        if at_most.is_zero() { passage } else { Passage::Wait { at_most } }
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

    /// Whether a line about telemetry may be logged: [`MAX_WARNINGS`] may between two events.
    /// Further ones are counted, because a hostile client could otherwise fill the log.
    pub fn may_log(&mut self) -> bool {
        let may_log = self.warnings < MAX_WARNINGS;
        if may_log {
            self.warnings = self.warnings.saturating_add(1);
        } else {
            self.unlogged = self.unlogged.saturating_add(1);
        }
        may_log
    }

    /// How long a flush may wait for a handler that is busy: until the deadline of the latest event,
    /// less half of the reserve. Zero if it has no deadline.
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

    /// What there is to say at the end; `None` if nothing was lost and no report is missing.
    pub fn summary(&self) -> Option<Summary<'_>> {
        let summary = Summary::new(&self.barrier, self.losses(), self.unlogged);
        summary.is_needed().then_some(summary)
    }

    fn until_deadline(&self, now: Clocks) -> Option<Duration> {
        self.limit.and_then(|limit| limit.remaining(now))
    }

    fn begin_period(&mut self) {
        self.own_logs_handed = 0;
        self.warnings = 0;
    }

    /// Notes a record that was read, and says whether it may be handed out.
    fn admit(&mut self, record: &Record<'_>) -> Admission {
        let is_own = match record.record_type {
            RecordType::ExtensionLog => self.own_logs == OwnLogs::Extension,
            RecordType::FunctionLog => self.own_logs == OwnLogs::Function,
            RecordType::Start => {
                self.begin_period();
                false
            }
            _ => false,
        };
        if !is_own {
            return Admission::Hand;
        }
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

    fn note(&mut self, fact: &Fact) {
        match fact {
            Fact::Nothing => {}
            Fact::RuntimeDone(id) => self.barrier.runtime_done_of(id.as_ref()),
            Fact::Reported(id) => self.barrier.report_of(id.as_ref()),
        }
    }

    fn batch_begins(&mut self) {
        self.open_batches = self.open_batches.saturating_add(1);
    }

    fn batch_ends(&mut self) {
        self.open_batches = self.open_batches.saturating_sub(1);
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

/// What the barrier needs of a record.
#[derive(Clone, Debug, Default)]
enum Fact {
    #[default]
    Nothing,
    RuntimeDone(Option<RequestId>),
    Reported(Option<RequestId>),
}

impl Fact {
    fn of(record: &Record<'_>) -> Self {
        Self::new(record.record_type, record.request_id())
    }

    /// A record with a field that cannot be read is still a record of its type.
    fn of_unread(unread: &Unread<'_>) -> Self {
        unread.type_and_request_id().map(|(kind, id)| Self::new(kind, id)).unwrap_or_default()
    }

    fn new(record_type: RecordType<'_>, id: Option<JsonStr<'_>>) -> Self {
        match record_type {
            RecordType::RuntimeDone => Self::RuntimeDone(id.and_then(RequestId::new)),
            RecordType::Report => Self::Reported(id.and_then(RequestId::new)),
            _ => Self::Nothing,
        }
    }
}
