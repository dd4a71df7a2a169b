//! The records of the platform.
//!
//! Absent fields are empty or `None`, as is a field that is `null`; unknown fields are in the
//! [raw record](super::Record::raw). Source of all of them: Lambda Developer Guide, "Telemetry API
//! schema" and "Logs API"; emulator, `interop/events_api.go`.

use lambda_proto::json::JsonStr;

use super::field::{Cursor, Failed, Field, List, Unreadable};
use super::{InitPhase, InitializationType, Milliseconds, Number, Status, Timestamp};

/// `platform.initStart`: an init begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitStart<'a> {
    /// Why the environment is initialized.
    pub initialization_type: Option<InitializationType<'a>>,
    /// The phase in which it is.
    pub phase: Option<InitPhase<'a>>,
    /// The function.
    pub function: FunctionFacts<'a>,
    /// Its ARN, which AWS's emulator sends.
    pub function_arn: JsonStr<'a>,
    /// The trace of the invocation in which the init is repeated.
    pub tracing: Tracing<'a>,
}

/// What `platform.initStart` and `platform.restoreStart` say about the function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionFacts<'a> {
    /// Its name.
    pub name: JsonStr<'a>,
    /// Its version.
    pub version: JsonStr<'a>,
    /// The id of the instance.
    pub instance_id: JsonStr<'a>,
    /// The memory of the instance, in bytes.
    pub instance_max_memory: Option<Number<'a>>,
    /// The version of the managed runtime.
    pub runtime_version: JsonStr<'a>,
    /// The ARN of that version.
    pub runtime_version_arn: JsonStr<'a>,
}

/// `platform.initRuntimeDone`: the runtime has finished its init.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitRuntimeDone<'a> {
    /// Why the environment is initialized.
    pub initialization_type: Option<InitializationType<'a>>,
    /// The phase in which it is.
    pub phase: Option<InitPhase<'a>>,
    /// How it ended.
    pub status: Option<Status<'a>>,
    /// The type of the error, if it failed.
    pub error_type: JsonStr<'a>,
    /// Parts of it.
    pub spans: Spans<'a>,
}

/// `platform.initReport`: an init is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitReport<'a> {
    /// Why the environment is initialized.
    pub initialization_type: Option<InitializationType<'a>>,
    /// The phase in which it is.
    pub phase: Option<InitPhase<'a>>,
    /// How it ended; absent in older schemas.
    pub status: Option<Status<'a>>,
    /// The type of the error, if it failed.
    pub error_type: JsonStr<'a>,
    /// How long it took.
    pub metrics: Metrics<'a>,
    /// Parts of it.
    pub spans: Spans<'a>,
}

/// `platform.start`: an invocation begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Start<'a> {
    /// The request id of the invocation.
    pub request_id: JsonStr<'a>,
    /// The version of the function.
    pub version: JsonStr<'a>,
    /// The ARN of the function, on Managed Instances.
    pub function_arn: JsonStr<'a>,
    /// The trace of the invocation.
    pub tracing: Tracing<'a>,
    /// The tenant of the invocation.
    pub tenant_id: JsonStr<'a>,
}

/// The end of an invocation: `platform.runtimeDone`, when the runtime has answered and asked for
/// the next one, and `platform.report`, when the extensions have asked, too.
///
/// `platform.runtimeDone` is never sent on Managed Instances [Lambda Developer Guide: Telemetry API
/// schema]. The Logs API sends `platform.report` without a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Done<'a> {
    /// The request id of the invocation.
    pub request_id: JsonStr<'a>,
    /// How it ended.
    pub status: Option<Status<'a>>,
    /// The type of the error, if it failed.
    pub error_type: JsonStr<'a>,
    /// What it took.
    pub metrics: Metrics<'a>,
    /// Parts of it.
    pub spans: Spans<'a>,
    /// The trace of the invocation.
    pub tracing: Tracing<'a>,
    /// The tenant of the invocation.
    pub tenant_id: JsonStr<'a>,
}

/// `platform.restoreRuntimeDone` and `platform.restoreReport`: the runtime is restored from a
/// snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreDone<'a> {
    /// How it ended.
    pub status: Option<Status<'a>>,
    /// The type of the error, if it failed.
    pub error_type: JsonStr<'a>,
    /// How long it took; only the report says that.
    pub metrics: Metrics<'a>,
    /// Parts of it.
    pub spans: Spans<'a>,
}

/// `platform.extension`: the state of an extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtensionState<'a> {
    /// Its name.
    pub name: JsonStr<'a>,
    /// Its state, such as `Ready`.
    pub state: JsonStr<'a>,
    /// The events that it has subscribed to.
    pub events: Texts<'a>,
    /// The type of its error.
    pub error_type: JsonStr<'a>,
}

/// `platform.telemetrySubscription` and `platform.logsSubscription`: an extension has subscribed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscribed<'a> {
    /// Its name.
    pub name: JsonStr<'a>,
    /// The state of the subscription, such as `Subscribed`.
    pub state: JsonStr<'a>,
    /// The types of records that it has subscribed to.
    pub types: Texts<'a>,
}

/// `platform.logsDropped`: Lambda has dropped records that it could not deliver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogsDropped<'a> {
    /// Why.
    pub reason: JsonStr<'a>,
    /// The number of records.
    pub records: Option<Number<'a>>,
    /// Their size in bytes.
    pub bytes: Option<Number<'a>>,
}

/// What a phase or an invocation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics<'a> {
    /// How long it took.
    pub duration: Option<Milliseconds<'a>>,
    /// The time that is billed.
    pub billed_duration: Option<Milliseconds<'a>>,
    /// How long the init before it took.
    pub init_duration: Option<Milliseconds<'a>>,
    /// How long the restore before it took.
    pub restore_duration: Option<Milliseconds<'a>>,
    /// The memory of the function, in MB.
    pub memory_size_mb: Option<Number<'a>>,
    /// The most memory that was used, in MB.
    pub max_memory_used_mb: Option<Number<'a>>,
    /// The size of the response, in bytes.
    pub produced_bytes: Option<Number<'a>>,
}

/// The trace that an invocation belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tracing<'a> {
    /// The id of the span.
    pub span_id: JsonStr<'a>,
    /// The kind of the trace: `X-Amzn-Trace-Id`.
    pub kind: JsonStr<'a>,
    /// The value of that header; empty if there is no trace.
    pub value: JsonStr<'a>,
}

/// A part of a phase or an invocation, such as `responseLatency`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span<'a> {
    /// Its name.
    pub name: JsonStr<'a>,
    /// When it began.
    pub start: Timestamp<'a>,
    /// How long it took.
    pub duration: Option<Milliseconds<'a>>,
}

/// The spans of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans<'a>(pub(super) List<'a>);

/// The texts in a list of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts<'a>(pub(super) List<'a>);

impl<'a> Spans<'a> {
    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Span<'a>> + Clone + use<'a> {
        self.0.elements().filter_map(|element| Span::read(&mut Cursor::new(element)).ok())
    }
}

impl<'a> Texts<'a> {
    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = JsonStr<'a>> + Clone + use<'a> {
        self.0.elements().filter_map(|element| element.to_text())
    }
}

/// A body that is read from the members of an object.
pub(super) trait FromFields<'a>: Default {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>>;

    /// The request id, if a body of this kind has one.
    fn request_id(&self) -> JsonStr<'a> {
        JsonStr::default()
    }

    /// The last of several members with one name counts. What follows a wrong one is read as well:
    /// the request id may be among it.
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Failed<'a>> {
        let (mut body, mut wrong) = (Self::default(), None);
        cursor.each_member(|field| {
            if let Err(reason) = body.note(field) {
                wrong.get_or_insert(reason);
            }
        });
        match wrong {
            None => Ok(body),
            Some(reason) => Err(Failed { reason, request_id: body.request_id() }),
        }
    }
}

impl<'a> FromFields<'a> for InitStart<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "initializationType" => self.initialization_type = field.word()?,
            "phase" => self.phase = field.word()?,
            "functionArn" => self.function_arn = field.text()?,
            "tracing" => self.tracing = field.object()?,
            _ => self.function.note(field)?,
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for FunctionFacts<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "functionName" => self.name = field.text()?,
            "functionVersion" => self.version = field.text()?,
            "instanceId" => self.instance_id = field.text()?,
            "instanceMaxMemory" => self.instance_max_memory = field.number()?,
            "runtimeVersion" => self.runtime_version = field.text()?,
            "runtimeVersionArn" => self.runtime_version_arn = field.text()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for InitRuntimeDone<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "initializationType" => self.initialization_type = field.word()?,
            "phase" => self.phase = field.word()?,
            "status" => self.status = field.word()?,
            "errorType" => self.error_type = field.text()?,
            "spans" => self.spans = field.spans()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for InitReport<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "initializationType" => self.initialization_type = field.word()?,
            "phase" => self.phase = field.word()?,
            "status" => self.status = field.word()?,
            "errorType" => self.error_type = field.text()?,
            "metrics" => self.metrics = field.object()?,
            "spans" => self.spans = field.spans()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for Start<'a> {
    fn request_id(&self) -> JsonStr<'a> {
        self.request_id
    }

    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "requestId" => self.request_id = field.text()?,
            "version" => self.version = field.text()?,
            "functionArn" => self.function_arn = field.text()?,
            "tracing" => self.tracing = field.object()?,
            "tenantId" => self.tenant_id = field.text()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for Done<'a> {
    fn request_id(&self) -> JsonStr<'a> {
        self.request_id
    }

    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "requestId" => self.request_id = field.text()?,
            "status" => self.status = field.word()?,
            "errorType" => self.error_type = field.text()?,
            "metrics" => self.metrics = field.object()?,
            "spans" => self.spans = field.spans()?,
            "tracing" => self.tracing = field.object()?,
            "tenantId" => self.tenant_id = field.text()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for RestoreDone<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "status" => self.status = field.word()?,
            "errorType" => self.error_type = field.text()?,
            "metrics" => self.metrics = field.object()?,
            "spans" => self.spans = field.spans()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for ExtensionState<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "name" => self.name = field.text()?,
            "state" => self.state = field.text()?,
            "events" => self.events = field.texts()?,
            "errorType" => self.error_type = field.text()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for Subscribed<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "name" => self.name = field.text()?,
            "state" => self.state = field.text()?,
            "types" => self.types = field.texts()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for LogsDropped<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "reason" => self.reason = field.text()?,
            "droppedRecords" => self.records = field.number()?,
            "droppedBytes" => self.bytes = field.number()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for Metrics<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "durationMs" => self.duration = field.milliseconds()?,
            "billedDurationMs" => self.billed_duration = field.milliseconds()?,
            "initDurationMs" => self.init_duration = field.milliseconds()?,
            "restoreDurationMs" => self.restore_duration = field.milliseconds()?,
            "memorySizeMB" => self.memory_size_mb = field.number()?,
            "maxMemoryUsedMB" => self.max_memory_used_mb = field.number()?,
            "producedBytes" => self.produced_bytes = field.number()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for Tracing<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "spanId" => self.span_id = field.text()?,
            "type" => self.kind = field.text()?,
            "value" => self.value = field.text()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> FromFields<'a> for Span<'a> {
    fn note(&mut self, field: Field<'a, '_>) -> Result<(), Unreadable<'a>> {
        match field.name() {
            "name" => self.name = field.text()?,
            "start" => self.start = Timestamp::new(field.text()?),
            "durationMs" => self.duration = field.milliseconds()?,
            _ => {}
        }
        Ok(())
    }
}
