//! The events of the platform, and their records.

use std::fmt::Write;
use std::time::Duration;

use super::schema::{Api, Kind, Schema};
use super::time::Rfc3339;
use crate::answer::{ErrorType, Origin};
use crate::go_json::quoted;
use crate::log::{Metrics, Millis, Status, VERSION};

/// What happens to an environment.
///
/// Source: Lambda Developer Guide, "Lambda Telemetry API `Event` schema reference" and "Using the
/// Lambda Logs API"; emulator, `interop/events_api.go`.
#[derive(Clone, Debug)]
pub(crate) enum Platform {
    InitStart(Phase),
    InitRuntimeDone(Phase, Outcome),
    InitReport(Phase, Outcome, Duration),
    RestoreStart,
    RestoreRuntimeDone(Outcome),
    RestoreReport(Outcome, Duration),
    Start(Request),
    RuntimeDone {
        request: Request,
        outcome: Outcome,
        /// From the event to the runtime's following `next`.
        duration: Duration,
        /// The size of the answer.
        produced: u64,
        spans: Vec<Span>,
    },
    Report {
        request: Request,
        outcome: Outcome,
        metrics: Metrics,
        spans: Vec<Span>,
    },
    /// The state of an extension at the end of init.
    Extension {
        name: String,
        state: &'static str,
        events: Vec<&'static str>,
        error_type: Option<String>,
    },
    Subscription {
        api: Api,
        name: String,
        types: Vec<Kind>,
    },
    /// The runtime or the environment has failed. The text is that of the log.
    Fault(String),
}

/// What is the same in all events of an environment.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: String,
    /// In MB.
    pub(crate) memory: u32,
    pub(crate) initialization_type: &'static str,
    /// The name of the log stream, if the environment has one.
    ///
    /// Source: emulator, `rapid/handlers.go`, `sendInitStartLogEvent`.
    pub(crate) instance_id: Option<&'static str>,
    pub(crate) is_managed: bool,
}

/// When a process is initialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Init,
    /// Again, within the invocation.
    Invoke,
    /// For a snapshot.
    SnapStart,
}

/// How a phase ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    status: &'static str,
    error_type: Option<String>,
}

/// What all events of an invocation say of it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) function_arn: String,
    /// The trace id; empty if there is none.
    pub(crate) trace_id: String,
    pub(crate) tenant_id: Option<String>,
}

/// A part of an invocation.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: &'static str,
    /// Since the Unix epoch.
    pub(crate) start: Duration,
    pub(crate) duration: Duration,
}

impl Platform {
    /// The type of the event and its record, if the schema has it.
    ///
    /// The documentation of the Logs API has fewer events, with fewer members, and the older
    /// versions of the Telemetry API have no status in `platform.initReport`.
    pub(super) fn render(&self, facts: &Facts, schema: Schema) -> Option<(&'static str, String)> {
        let is_logs = schema.api() == Api::Logs;
        let mut record = Record::default();
        let event_type = match self {
            Self::InitStart(_) | Self::RestoreRuntimeDone(_) if is_logs => return None,
            Self::InitStart(phase) => {
                record.text("initializationType", facts.initialization_type);
                record.text("phase", phase.name());
                record.function(facts);
                "platform.initStart"
            }
            Self::InitRuntimeDone(phase, outcome) => {
                record.text("initializationType", facts.initialization_type);
                if !is_logs {
                    record.text("phase", phase.name());
                }
                record.outcome(outcome, !is_logs);
                "platform.initRuntimeDone"
            }
            Self::InitReport(phase, outcome, duration) => {
                record.text("initializationType", facts.initialization_type);
                if !is_logs {
                    record.text("phase", phase.name());
                }
                if !is_logs && schema != Schema::Telemetry20220701 {
                    record.outcome(outcome, true);
                }
                record.duration(*duration);
                "platform.initReport"
            }
            Self::RestoreStart => {
                if !is_logs {
                    record.function(facts);
                }
                "platform.restoreStart"
            }
            Self::RestoreRuntimeDone(outcome) => {
                record.outcome(outcome, true);
                "platform.restoreRuntimeDone"
            }
            Self::RestoreReport(outcome, duration) => {
                if !is_logs {
                    record.outcome(outcome, true);
                }
                record.duration(*duration);
                "platform.restoreReport"
            }
            Self::Start(request) => {
                record.text("requestId", &request.id);
                if !is_logs {
                    record.text("version", VERSION);
                    if facts.is_managed {
                        record.text("functionArn", &request.function_arn);
                    }
                    record.trace_and_tenant(request);
                }
                "platform.start"
            }
            Self::RuntimeDone { .. } if schema == Schema::Logs20200815 => return None,
            Self::RuntimeDone { request, outcome, duration, produced, spans } => {
                record.text("requestId", &request.id);
                record.outcome(outcome, !is_logs);
                if !is_logs {
                    let duration = Millis(*duration);
                    let metrics =
                        format!("{{\"durationMs\":{duration},\"producedBytes\":{produced}}}");
                    record.json("metrics", &metrics);
                    record.spans(spans);
                    record.trace_and_tenant(request);
                }
                "platform.runtimeDone"
            }
            Self::Report { request, outcome, metrics, spans } => {
                record.text("requestId", &request.id);
                if !is_logs {
                    record.outcome(outcome, true);
                }
                record.json("metrics", &rendered(metrics, facts));
                if !is_logs {
                    record.spans(spans);
                    record.trace_and_tenant(request);
                }
                "platform.report"
            }
            Self::Extension { name, state, events, error_type } => {
                record.text("name", name);
                record.text("state", state);
                record.texts("events", events.iter().copied());
                if let Some(error_type) = error_type {
                    record.text("errorType", error_type);
                }
                "platform.extension"
            }
            Self::Subscription { api, .. } if *api != schema.api() => return None,
            Self::Subscription { api, name, types } => {
                record.text("name", name);
                record.text("state", "Subscribed");
                record.texts("types", types.iter().map(|kind| kind.name()));
                match api {
                    Api::Telemetry => "platform.telemetrySubscription",
                    Api::Logs => "platform.logsSubscription",
                }
            }
            Self::Fault(text) if is_logs => return Some(("platform.fault", quoted(text))),
            Self::Fault(_) => return None,
        };
        Some((event_type, record.end()))
    }

    /// The record of a second event that only the Logs API has: the end of an invocation, before
    /// its report.
    pub(super) fn end(&self, schema: Schema) -> Option<(&'static str, String)> {
        match self {
            Self::Report { request, .. } if schema.api() == Api::Logs => {
                let mut record = Record::default();
                record.text("requestId", &request.id);
                Some(("platform.end", record.end()))
            }
            _ => None,
        }
    }
}

/// The metrics of a report. Those of managed instances are the duration alone.
///
/// Source: emulator, `lambda-managed-instances/interop/events_api.go`, `ReportMetrics`.
fn rendered(metrics: &Metrics, facts: &Facts) -> String {
    let duration = Millis(metrics.duration);
    if facts.is_managed {
        return format!("{{\"durationMs\":{:.3}}}", metrics.duration.as_secs_f64() * 1000.0);
    }
    let (billed, size) = (metrics.billed_millis(), metrics.memory);
    // AWS's emulator does not measure it either, and says the size.
    let used = metrics.memory_used.unwrap_or_else(|| size.into());
    let mut text = format!(
        "{{\"durationMs\":{duration},\"billedDurationMs\":{billed},\"memorySizeMB\":{size},\
         \"maxMemoryUsedMB\":{used}"
    );
    let optional = [("initDurationMs", metrics.init), ("restoreDurationMs", metrics.restore)];
    for (name, duration) in optional {
        if let Some(duration) = duration {
            let _ = write!(text, ",\"{name}\":{}", Millis(duration));
        }
    }
    text.push('}');
    text
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Invoke => "invoke",
            Self::SnapStart => "snap-start",
        }
    }
}

impl Outcome {
    pub(crate) fn success() -> Self {
        Self { status: "success", error_type: None }
    }

    /// Managed instances name the type of a timeout.
    ///
    /// Source: emulator, `lambda-managed-instances/invoke/metrics.go`, `buildErrorTypePointer`.
    pub(crate) fn managed_timeout() -> Self {
        Self { status: "timeout", error_type: Some("Sandbox.Timedout".into()) }
    }

    /// A restore that took too long. The invocation that caused it ends with this error type, and
    /// within its own deadline.
    ///
    /// Source: Lambda Developer Guide, "Lambda Telemetry API `Event` schema reference", `Status`;
    /// emulator, `fatalerror/fatalerror.go`, for the type.
    pub(crate) fn restore_timeout() -> Self {
        Self { status: "timeout", error_type: Some(RESTORE_TIMEOUT.into()) }
    }

    /// A failure of the service is one. A failure of the runtime or of an extension that the service
    /// has found is an error, and so is what the runtime has reported, whatever its type.
    ///
    /// Source: emulator, `rapid/handlers.go`, `handleReset`.
    pub(crate) fn error(ErrorType { name, origin }: &ErrorType) -> Self {
        match origin {
            Origin::Runtime => Self::reported(name),
            Origin::Service if name.starts_with("Sandbox.") => {
                Self { status: "failure", error_type: Some(name.clone()) }
            }
            Origin::Service => Self::typed(name.clone()),
        }
    }

    /// An error of this type, which the function has reported.
    ///
    /// AWS's emulator of on-demand functions tells it as a success.
    ///
    /// Source: Lambda Developer Guide, "Lambda Telemetry API `Event` schema reference", `Status`.
    pub(crate) fn reported(error_type: &str) -> Self {
        Self::typed(normalised(error_type))
    }

    fn typed(error_type: String) -> Self {
        Self { status: "error", error_type: Some(error_type) }
    }
}

/// The error type of an invocation whose restore took too long.
pub(crate) const RESTORE_TIMEOUT: &str = "Runtime.RestoreHookUserTimeout";

impl From<&Status> for Outcome {
    fn from(status: &Status) -> Self {
        match status {
            Status::Success => Self::success(),
            Status::Timeout => Self { status: "timeout", error_type: None },
            Status::Error(error_type) => Self::error(error_type),
        }
    }
}

/// The type of an error of the function, as the service records it.
///
/// Source: emulator, `fatalerror/fatalerror.go`.
fn normalised(error_type: &str) -> String {
    if ["Runtime.", "Function."].iter().any(|category| has_reason(error_type, category)) {
        error_type.to_owned()
    } else if error_type.starts_with("Function.") {
        "Function.Unknown".to_owned()
    } else {
        "Runtime.Unknown".to_owned()
    }
}

/// The type of an error as an extension reported it, or this one if that is not well-formed.
///
/// Source: emulator, `lambda-managed-instances/rapid/model/error_types.go`.
pub(crate) fn of_extension(error_type: &str, default: &str) -> String {
    let is_well_formed = has_reason(error_type, "Extension.");
    if is_well_formed { error_type } else { default }.to_owned()
}

/// Whether two letters, the first of them a capital, follow this category somewhere in the type.
fn has_reason(error_type: &str, category: &str) -> bool {
    error_type.match_indices(category).any(|(at, _)| {
        let reason = &error_type.as_bytes()[at + category.len()..];
        matches!(reason, [b'A'..=b'Z', b'a'..=b'z' | b'A'..=b'Z', ..])
    })
}

/// A JSON object that is being written.
#[derive(Debug, Default)]
struct Record(String);

impl Record {
    fn text(&mut self, name: &str, value: &str) {
        self.json(name, &quoted(value));
    }

    fn texts<'t>(&mut self, name: &str, values: impl Iterator<Item = &'t str>) {
        let values: Vec<_> = values.map(quoted).collect();
        self.json(name, &format!("[{}]", values.join(",")));
    }

    fn json(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        let _ = write!(self.0, "\"{name}\":{value}");
    }

    fn function(&mut self, facts: &Facts) {
        self.text("functionName", &facts.name);
        self.text("functionVersion", VERSION);
        if let Some(id) = facts.instance_id {
            self.text("instanceId", id);
        }
        // In MB in the examples of the documentation, in bytes under the emulator of managed
        // instances (`telemetry/events.go`).
        let unit = if facts.is_managed { 1024 * 1024 } else { 1 };
        self.json("instanceMaxMemory", &(u64::from(facts.memory) * unit).to_string());
    }

    fn outcome(&mut self, outcome: &Outcome, has_type: bool) {
        self.text("status", outcome.status);
        if let Some(error_type) = outcome.error_type.as_ref().filter(|_| has_type) {
            self.text("errorType", error_type);
        }
    }

    fn duration(&mut self, duration: Duration) {
        self.json("metrics", &format!("{{\"durationMs\":{}}}", Millis(duration)));
    }

    fn spans(&mut self, spans: &[Span]) {
        let spans: Vec<_> = spans
            .iter()
            .map(|Span { name, start, duration }| {
                let (start, duration) = (Rfc3339(*start), Millis(*duration));
                format!("{{\"name\":\"{name}\",\"start\":\"{start}\",\"durationMs\":{duration}}}")
            })
            .collect();
        if !spans.is_empty() {
            self.json("spans", &format!("[{}]", spans.join(",")));
        }
    }

    fn trace_and_tenant(&mut self, request: &Request) {
        if !request.trace_id.is_empty() {
            let value = quoted(&request.trace_id);
            self.json("tracing", &format!("{{\"type\":\"X-Amzn-Trace-Id\",\"value\":{value}}}"));
        }
        if let Some(tenant_id) = &request.tenant_id {
            self.text("tenantId", tenant_id);
        }
    }

    fn end(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests;
