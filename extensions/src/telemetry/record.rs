//! Records: what Lambda tells about an environment, one event at a time.

use core::fmt;

use lambda_proto::json::JsonStr;
use lambda_proto::limits::MAX_JSON_DEPTH;

use super::field::{Cursor, Failed, Unreadable};
use super::outline::{Event, Outline};
use super::platform::{FromFields, FunctionFacts};
use super::reader::trim;
use super::{
    Done, ExtensionState, InitReport, InitRuntimeDone, InitStart, Json, LogsDropped, RestoreDone,
    Start, Subscribed, Timestamp,
};

/// One event of the Telemetry API or the Logs API, in any of their schemas.
///
/// Everything borrows from the event. Source of all types and fields: Lambda Developer Guide,
/// "Telemetry API schema" and "Logs API"; emulator, `interop/events_api.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// When it happened.
    pub time: Timestamp<'a>,
    /// Its type.
    pub record_type: RecordType<'a>,
    /// What it says.
    pub body: Body<'a>,
    raw: &'a str,
}

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordType<'a> {
    /// `platform.initStart`
    InitStart,
    /// `platform.initRuntimeDone`
    InitRuntimeDone,
    /// `platform.initReport`
    InitReport,
    /// `platform.start`
    Start,
    /// `platform.runtimeDone`
    RuntimeDone,
    /// `platform.report`
    Report,
    /// `platform.end`, of the Logs API
    End,
    /// `platform.restoreStart`
    RestoreStart,
    /// `platform.restoreRuntimeDone`
    RestoreRuntimeDone,
    /// `platform.restoreReport`
    RestoreReport,
    /// `platform.extension`
    Extension,
    /// `platform.telemetrySubscription`
    TelemetrySubscription,
    /// `platform.logsSubscription`, of the Logs API
    LogsSubscription,
    /// `platform.logsDropped`
    LogsDropped,
    /// `platform.fault`, of the Logs API
    Fault,
    /// `function`
    FunctionLog,
    /// `extension`
    ExtensionLog,
    /// A type unknown to this crate.
    Other(JsonStr<'a>),
}

/// What a record says, by its [type](RecordType).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body<'a> {
    /// An init begins.
    InitStart(InitStart<'a>),
    /// The runtime has finished its init.
    InitRuntimeDone(InitRuntimeDone<'a>),
    /// An init is over.
    InitReport(InitReport<'a>),
    /// An invocation begins.
    Start(Start<'a>),
    /// The runtime has finished an invocation.
    RuntimeDone(Done<'a>),
    /// An invocation is over.
    Report(Done<'a>),
    /// An invocation is over; the Logs API says no more than its request id.
    End(Done<'a>),
    /// A restore from a snapshot begins.
    RestoreStart(FunctionFacts<'a>),
    /// The runtime is restored.
    RestoreRuntimeDone(RestoreDone<'a>),
    /// A restore is over.
    RestoreReport(RestoreDone<'a>),
    /// The state of an extension.
    Extension(ExtensionState<'a>),
    /// An extension has subscribed to telemetry.
    TelemetrySubscription(Subscribed<'a>),
    /// An extension has subscribed to logs.
    LogsSubscription(Subscribed<'a>),
    /// Lambda has dropped records.
    LogsDropped(LogsDropped<'a>),
    /// The environment has failed, with this text.
    Fault(JsonStr<'a>),
    /// A line that the function has logged.
    FunctionLog(Log<'a>),
    /// A line that an extension has logged.
    ExtensionLog(Log<'a>),
    /// The record of a type unknown to this crate.
    Other(Json<'a>),
}

/// A log record.
///
/// With JSON logging and a schema from 2022-12-13 on, a line that is a JSON object arrives as one;
/// any other line is text [Lambda Developer Guide: Telemetry API schema].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log<'a> {
    /// The line as text.
    Text(JsonStr<'a>),
    /// The line as JSON, an object.
    Json(Json<'a>),
}

impl<'a> Record<'a> {
    /// Reads an event, which is one JSON object.
    ///
    /// # Errors
    ///
    /// [`Unread`] with the event and the [`Reason`].
    pub fn parse(event: &'a [u8]) -> Result<Self, Unread<'a>> {
        let unread = |reason| Unread::new(event, reason);
        let raw = core::str::from_utf8(trim(event)).map_err(|_| unread(Reason::NotUtf8))?;
        Self::build(event, raw, Event::read(raw).map_err(unread)?)
    }

    /// Reads an event whose outline is known.
    pub(super) fn of(outline: &Outline, event: &'a [u8]) -> Result<Self, Unread<'a>> {
        let raw = core::str::from_utf8(event).map_err(|_| Unread::new(event, Reason::NotUtf8))?;
        Self::build(event, raw, outline.parts(raw))
    }

    fn build(sent: &'a [u8], raw: &'a str, event: Event<'a>) -> Result<Self, Unread<'a>> {
        let Some(kind) = event.kind else { return Err(Unread::new(sent, Reason::NoType)) };
        let record_type = RecordType::of(kind);
        // Also if the time is wrong, the record tells which invocation it is about.
        let (body, time) = (Body::read(record_type, event.record), event.time);
        let failed = match (&body, time) {
            (Ok(body), Ok(time)) => {
                return Ok(Self { time: Timestamp::new(time), record_type, body: *body, raw });
            }
            (Ok(body), Err(reason)) => Failed { reason, request_id: body.request_id() },
            (Err(failed), Err(reason)) => Failed { reason, ..*failed },
            (Err(failed), Ok(_)) => *failed,
        };
        let Failed { reason, request_id } = failed;
        Err(Unread { raw: sent, reason, record_type: Some(record_type), request_id })
    }

    /// The whole event as it was sent: a JSON object with all fields, also those unknown to this
    /// crate.
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// The request id of the invocation that a record of the platform is about; `None` for other
    /// records, and if the id is missing.
    pub fn request_id(&self) -> Option<JsonStr<'a>> {
        let id = self.body.request_id();
        (!id.is_empty()).then_some(id)
    }
}

impl<'a> RecordType<'a> {
    fn of(text: JsonStr<'a>) -> Self {
        match text.as_escaped() {
            "platform.initStart" => Self::InitStart,
            "platform.initRuntimeDone" => Self::InitRuntimeDone,
            "platform.initReport" => Self::InitReport,
            "platform.start" => Self::Start,
            "platform.runtimeDone" => Self::RuntimeDone,
            "platform.report" => Self::Report,
            "platform.end" => Self::End,
            "platform.restoreStart" => Self::RestoreStart,
            "platform.restoreRuntimeDone" => Self::RestoreRuntimeDone,
            "platform.restoreReport" => Self::RestoreReport,
            "platform.extension" => Self::Extension,
            "platform.telemetrySubscription" => Self::TelemetrySubscription,
            "platform.logsSubscription" => Self::LogsSubscription,
            "platform.logsDropped" => Self::LogsDropped,
            "platform.fault" => Self::Fault,
            "function" => Self::FunctionLog,
            "extension" => Self::ExtensionLog,
            _ => Self::Other(text),
        }
    }
}

/// The type as the service writes it.
impl fmt::Display for RecordType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InitStart => "platform.initStart",
            Self::InitRuntimeDone => "platform.initRuntimeDone",
            Self::InitReport => "platform.initReport",
            Self::Start => "platform.start",
            Self::RuntimeDone => "platform.runtimeDone",
            Self::Report => "platform.report",
            Self::End => "platform.end",
            Self::RestoreStart => "platform.restoreStart",
            Self::RestoreRuntimeDone => "platform.restoreRuntimeDone",
            Self::RestoreReport => "platform.restoreReport",
            Self::Extension => "platform.extension",
            Self::TelemetrySubscription => "platform.telemetrySubscription",
            Self::LogsSubscription => "platform.logsSubscription",
            Self::LogsDropped => "platform.logsDropped",
            Self::Fault => "platform.fault",
            Self::FunctionLog => "function",
            Self::ExtensionLog => "extension",
            Self::Other(text) => return text.fmt(f),
        })
    }
}

impl<'a> Body<'a> {
    fn read(record_type: RecordType<'a>, record: Json<'a>) -> Result<Self, Failed<'a>> {
        Ok(match record_type {
            RecordType::InitStart => Self::InitStart(object(record)?),
            RecordType::InitRuntimeDone => Self::InitRuntimeDone(object(record)?),
            RecordType::InitReport => Self::InitReport(object(record)?),
            RecordType::Start => Self::Start(object(record)?),
            RecordType::RuntimeDone => Self::RuntimeDone(object(record)?),
            RecordType::Report => Self::Report(object(record)?),
            RecordType::End => Self::End(object(record)?),
            RecordType::RestoreStart => Self::RestoreStart(object(record)?),
            RecordType::RestoreRuntimeDone => Self::RestoreRuntimeDone(object(record)?),
            RecordType::RestoreReport => Self::RestoreReport(object(record)?),
            RecordType::Extension => Self::Extension(object(record)?),
            RecordType::TelemetrySubscription => Self::TelemetrySubscription(object(record)?),
            RecordType::LogsSubscription => Self::LogsSubscription(object(record)?),
            RecordType::LogsDropped => Self::LogsDropped(object(record)?),
            RecordType::Fault => Self::Fault(record.to_text().ok_or_else(wrong_record)?),
            RecordType::FunctionLog => Self::FunctionLog(Log::of(record)),
            RecordType::ExtensionLog => Self::ExtensionLog(Log::of(record)),
            RecordType::Other(_) => Self::Other(record),
        })
    }

    /// Empty if it has none.
    fn request_id(&self) -> JsonStr<'a> {
        match self {
            Self::Start(start) => start.request_id,
            Self::RuntimeDone(done) | Self::Report(done) | Self::End(done) => done.request_id,
            _ => JsonStr::default(),
        }
    }
}

fn object<'a, T: FromFields<'a>>(record: Json<'a>) -> Result<T, Failed<'a>> {
    // An absent record says nothing, and that can be read.
    if !record.is_object() && !record.is_null() {
        return Err(wrong_record().into());
    }
    T::read(&mut Cursor::new(record))
}

fn wrong_record<'a>() -> Unreadable<'a> {
    Reason::WrongField { name: JsonStr::from_field(Some("record")) }
}

impl<'a> Log<'a> {
    fn of(record: Json<'a>) -> Self {
        record.to_text().map_or(Self::Json(record), Self::Text)
    }
}

/// The line: text without its escapes, or JSON as it was sent.
impl fmt::Display for Log<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Json(json) => json.fmt(f),
        }
    }
}

/// A record that cannot be read, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread<'a> {
    /// The bytes of the record, without white space around them; empty if it is
    /// [too long](Reason::TooLong).
    pub raw: &'a [u8],
    /// Why it cannot be read.
    pub reason: Reason<'a>,
    record_type: Option<RecordType<'a>>,
    request_id: JsonStr<'a>,
}

impl<'a> Unread<'a> {
    pub(crate) fn new(raw: &'a [u8], reason: Reason<'a>) -> Self {
        Self { raw, reason, record_type: None, request_id: JsonStr::default() }
    }

    /// The type of a record of which only a field cannot be read; `None` for anything else.
    pub const fn record_type(&self) -> Option<RecordType<'a>> {
        self.record_type
    }

    /// The request id of such a record, as [`Record::request_id`].
    pub fn request_id(&self) -> Option<JsonStr<'a>> {
        (!self.request_id.is_empty()).then_some(self.request_id)
    }
}

impl fmt::Display for Unread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a telemetry record cannot be read: {}", self.reason)
    }
}

impl core::error::Error for Unread<'_> {}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason<'a> {
    /// It is not UTF-8.
    NotUtf8,
    /// It is not JSON.
    NotJson,
    /// It nests deeper than [`MAX_JSON_DEPTH`].
    TooDeep,
    /// It is JSON, but not an object.
    NotAnObject,
    /// It has no type.
    NoType,
    /// A field has the wrong JSON type.
    WrongField {
        /// The name of the field.
        name: JsonStr<'a>,
    },
    /// It is longer than the memory of the receiver; its bytes were skipped.
    TooLong {
        /// Its length in bytes.
        bytes: u64,
    },
    /// It does not fit the memory that other connections leave; its bytes were skipped. There may be
    /// room for it when its batch is delivered again.
    MemoryInUse {
        /// Its length in bytes.
        bytes: u64,
    },
    /// The batch ends in it, or before its array is closed.
    CutOff,
    /// It follows the end of the array that a batch is.
    AfterTheArray,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::NotJson => f.write_str("not JSON"),
            Self::TooDeep => write!(f, "nested deeper than {MAX_JSON_DEPTH}"),
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::NoType => f.write_str("no type"),
            Self::WrongField { name } => {
                f.write_str("the field \"")?;
                // A name comes from the sender, and this is one line of a log.
                name.chars().take(64).try_for_each(|character| {
                    write!(f, "{}", if character.is_control() { ' ' } else { character })
                })?;
                f.write_str("\" has the wrong JSON type")
            }
            Self::TooLong { bytes } => write!(f, "its {bytes} bytes do not fit the memory"),
            Self::MemoryInUse { bytes } => {
                write!(f, "its {bytes} bytes do not fit the memory that other connections leave")
            }
            Self::CutOff => f.write_str("the batch ends before the record does"),
            Self::AfterTheArray => f.write_str("it follows the end of the batch"),
        }
    }
}
