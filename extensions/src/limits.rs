//! The limits of this crate; those of HTTP and JSON are [`lambda_proto::limits`].

use core::ops::RangeInclusive;
use core::time::Duration;

/// Bytes of the identifier that the service gives to an extension or to one of its events.
///
/// The identifiers are UUIDs of 36 bytes.
pub const MAX_EXTENSION_ID: usize = 64;

/// Bytes of the name of an extension: usually a file name, which may be this long.
pub const MAX_EXTENSION_NAME: usize = 255;

/// Records of one batch, if a subscription limits them [Lambda Developer Guide: Telemetry API
/// reference].
pub const BATCH_RECORDS: RangeInclusive<u32> = 1_000..=10_000;

/// Bytes of one batch, if a subscription limits them.
pub const BATCH_BYTES: RangeInclusive<u32> = 262_144..=1_048_576;

/// How long a record may wait for its batch, if a subscription limits it.
pub const BATCH_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(25)..=Duration::from_millis(30_000);

/// The same if a subscription does not limit it.
pub const DEFAULT_BATCH_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a request id that a [`Barrier`](crate::barrier::Barrier) can match.
///
/// Request ids are UUIDs of 36 bytes.
pub const MAX_REQUEST_ID: usize = 64;

/// Invocations that a [`Barrier`](crate::barrier::Barrier) can name.
///
/// Usually only the report of the last one is outstanding.
pub const MAX_OUTSTANDING: usize = 16;

/// How long a [`Barrier`](crate::barrier::Barrier) waits if it knows no deadline: as long as the
/// service collects records for a batch by default.
pub const MAX_WAIT_WITHOUT_DEADLINE: Duration = Duration::from_secs(1);

// ---- Telemetry

/// Batches that were taken or sent back and are remembered, so that a further delivery of them is
/// recognised.
///
/// Lambda sends a batch again before it sends many others: it buffers few [Lambda Developer Guide:
/// Telemetry API].
pub const MAX_REMEMBERED_BATCHES: usize = 32;

/// Batches that cannot be read and are remembered until Lambda is told to forget them. Further ones
/// are accepted at once, as lost.
pub const MAX_UNREADABLE_BATCHES: usize = 8;

// ---- What an extension does with telemetry

/// The time that a [`Collector`](crate::collector::Collector) leaves before a deadline, unless set.
pub const RESERVE: Duration = Duration::from_millis(200);

/// How long the end of an invocation waits for the batch that told of it, and the end of the
/// environment for all batches that have begun, so that their last records arrive and the reply to
/// them leaves. At SHUTDOWN, it is also the time that a batch has from Lambda to the extension.
pub const MAX_WAIT_FOR_BATCHES: Duration = Duration::from_millis(100);

/// How often a batch is delivered to a handler that fails, at most.
pub const MAX_DELIVERIES: u32 = 3;

/// Log records that may be the extension's own and are handed to its handler between two events of
/// the environment, or within [`OWN_LOGS_PERIOD`], unless set. On default capacity, `platform.start`
/// begins the count again, too.
pub const MAX_OWN_LOGS: u32 = 1_000;

/// The same in a process that is a runtime, too, whose own log is that of the function. More than
/// Lambda usually delivers of an invocation.
pub const MAX_FUNCTION_LOGS: u32 = 10_000;

/// How long own log records and warnings are counted before the counts start again, where no event
/// does that earlier, as on Managed Instances.
pub const OWN_LOGS_PERIOD: Duration = Duration::from_secs(60);

/// Log lines about deliveries between two events of the environment, or within
/// [`OWN_LOGS_PERIOD`]; further ones are counted.
pub const MAX_WARNINGS: u32 = 16;

/// Connections that a listener for telemetry serves at once. Lambda uses one or two.
pub const MAX_TELEMETRY_CONNECTIONS: usize = 64;

/// How long a request to a listener for telemetry may take, without the time of the handler.
pub const MAX_REQUEST_TIME: Duration = Duration::from_secs(30);

/// How long an idle connection is kept once the listener serves as many as it may.
pub const MAX_IDLE_TIME: Duration = Duration::from_secs(1);
