use core::time::Duration;

use crate::limits::{BATCH_TIMEOUT, RESERVE};
use crate::subscription::{
    Buffering, Destination, Listener, LogsSchema, Subscription, TelemetrySchema, TelemetryTypes,
};

/// Which telemetry an extension wants, and how it takes it.
///
/// ```
/// use core::time::Duration;
/// use lambda_proto_extension::collector::TelemetryOptions;
/// use lambda_proto_extension::subscription::TelemetryTypes;
///
/// let options = TelemetryOptions::new(TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION))
///     .port(4243)
///     .reserve(Duration::from_millis(500));
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetryOptions {
    types: TelemetryTypes,
    api: Api,
    buffering: Buffering,
    port: u16,
    reserve: Duration,
    own_log_limit: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Telemetry(TelemetrySchema),
    Logs(LogsSchema),
}

impl TelemetryOptions {
    /// These types from the Telemetry API, in the newest schema, at any free port. A batch is sent
    /// after 25 ms, the shortest time: the end of an invocation may wait for it.
    ///
    /// Without [`PLATFORM`](TelemetryTypes::PLATFORM), no `platform.runtimeDone` comes, so no
    /// invocation is waited for: its last records come with the next one, or [after
    /// SHUTDOWN](super::Collector#shutdown).
    pub fn new(types: TelemetryTypes) -> Self {
        Self {
            types,
            api: Api::Telemetry(TelemetrySchema::default()),
            buffering: Buffering::DEFAULT.with_timeout(*BATCH_TIMEOUT.start()).unwrap_or_default(),
            port: 0,
            reserve: RESERVE,
            own_log_limit: None,
        }
    }

    /// Sets the schema of the Telemetry API. Managed Instances have only the newest.
    #[must_use]
    pub const fn schema(mut self, schema: TelemetrySchema) -> Self {
        self.api = Api::Telemetry(schema);
        self
    }

    /// Uses the Logs API, which the Telemetry API has superseded. Managed Instances do not have it.
    #[must_use]
    pub const fn logs(mut self, schema: LogsSchema) -> Self {
        self.api = Api::Logs(schema);
        self
    }

    /// Sets when a batch is sent.
    #[must_use]
    pub const fn buffering(mut self, buffering: Buffering) -> Self {
        self.buffering = buffering;
        self
    }

    /// Sets the port to listen on; 0, the default, is any that is free.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets the time that the extension needs before a deadline, to flush and to ask for its next
    /// event; [`RESERVE`] unless set.
    #[must_use]
    pub const fn reserve(mut self, reserve: Duration) -> Self {
        self.reserve = reserve;
        self
    }

    /// Sets how many log records that [may be its own](super::Collector#own-log-lines) the extension
    /// gets between two events, or in a minute without any; [`MAX_OWN_LOGS`](crate::limits::MAX_OWN_LOGS) unless set.
    #[must_use]
    pub const fn own_log_limit(mut self, records: u32) -> Self {
        self.own_log_limit = Some(records);
        self
    }

    /// The port to listen on.
    pub const fn listening_port(&self) -> u16 {
        self.port
    }

    /// The subscription, for a listener.
    pub const fn subscription<'l>(&self, listener: Listener<'l>) -> Subscription<'l> {
        let destination = Destination::http(listener);
        let subscription = match self.api {
            Api::Telemetry(schema) => Subscription::telemetry_in(schema, self.types, destination),
            Api::Logs(schema) => Subscription::logs(schema, self.types, destination),
        };
        subscription.with_buffering(self.buffering)
    }

    /// Whether the records of the platform come.
    pub(super) const fn expects_reports(&self) -> bool {
        self.types.contains(TelemetryTypes::PLATFORM)
    }

    /// Whether `platform.runtimeDone` comes, on default capacity.
    pub(super) const fn expects_runtime_done(&self) -> bool {
        self.expects_reports() && !matches!(self.api, Api::Logs(LogsSchema::V2020_08_15))
    }

    /// How long Lambda may keep a record.
    pub(super) fn longest_wait(&self) -> Duration {
        self.buffering.longest_wait()
    }

    pub(super) const fn time_reserved(&self) -> Duration {
        self.reserve
    }

    pub(super) const fn most_own_logs(&self) -> Option<u32> {
        self.own_log_limit
    }
}

impl From<TelemetryTypes> for TelemetryOptions {
    fn from(types: TelemetryTypes) -> Self {
        Self::new(types)
    }
}
