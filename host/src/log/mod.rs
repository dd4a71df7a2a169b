//! The log of a runtime and its function.

#[cfg(feature = "log")]
mod facade;
mod frame;
mod level;
mod queue;
mod record;
mod time;
#[cfg(feature = "tracing")]
mod tracing_layer;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use lambda_proto::api::Call;
use lambda_proto::client::{Warning, WarningKind};

use crate::Failure;
use crate::environment::{Variable, log_format};
use crate::failure::{causes, frames};
pub use level::{Format, Level, NoLevel};
use queue::{Destination, Line, QUEUE};
use record::Form;
pub(crate) use record::put_escaped;
pub use record::{Fields, Record};
#[cfg(feature = "tracing")]
pub use tracing_layer::TracingLayer;

/// The log of the runtime, which functions may use too. Clones write to the same place.
///
/// [`from_env`](Self::from_env) makes one that follows the function's logging configuration (Lambda
/// Developer Guide, "Log and monitor Lambda functions"). It writes JSON lines, or text such as
/// `WARN lambda-proto: …`, to standard error, which Lambda reads like standard output. If Lambda
/// names a file descriptor for logs, it writes frames to that descriptor instead; a frame keeps the
/// lines of one record together. Each line or frame is written in one piece, so those of several
/// threads never mix.
///
/// A background thread writes the lines; the first line starts it. [`write`](Self::write) returns
/// once its line has been written, so before the environment is frozen and before the process ends,
/// but after 100 ms at the latest. After such a timeout, calls return without waiting until the
/// queue has drained. The queue holds up to 1 MiB or 4,096 lines; further lines are dropped, and a
/// line says how many. So a log that nobody reads blocks neither an event loop nor a slot. A
/// [custom writer](Self::to) is called directly, and may block its caller. If it panics, the record
/// goes to standard error.
///
/// A record below the [level](Self::level) costs one comparison. A record that is written allocates
/// its line.
///
/// ```
/// use lambda_proto_host::{Format, Level, Log, Record};
/// use std::sync::mpsc::channel;
///
/// let (lines, written) = channel();
/// let log = Log::to(move |line| lines.send(line.to_string()).unwrap()).with_format(Format::Json);
/// log.write(&Record::new(Level::Debug, format_args!("below what is wanted")));
/// log.write(&Record::new(Level::Warn, format_args!("no \"users\"")).request_id("8476a536"));
/// drop(log);
///
/// let lines: Vec<String> = written.iter().collect();
/// assert_eq!(lines.len(), 1);
/// let rest = r#""level":"WARN","message":"no \"users\"","requestId":"8476a536"}"#;
/// assert!(lines[0].starts_with(r#"{"timestamp":"20"#) && lines[0].ends_with(rest), "{}", lines[0]);
/// ```
///
/// With the feature `log`, it implements `log::Log`; with the feature `tracing`,
/// `Log::tracing_layer` makes a layer for `tracing_subscriber`. Both take the request id from
/// [`current`](crate::current) if the record has none.
#[derive(Clone, Default)]
pub struct Log {
    level: Level,
    form: Form,
    sink: Sink,
}

/// Where records go.
#[derive(Clone)]
enum Sink {
    Queue(Destination),
    Program(Arc<dyn Fn(&Record<'_>) + Send + Sync>),
}

impl Default for Sink {
    fn default() -> Self {
        Self::Queue(Destination::StandardError)
    }
}

/// The logger name of the runtime's own records.
pub(crate) const OWN: &str = "lambda-proto";

impl Log {
    /// A log configured by the environment of this process; see [`from_lookup`](Self::from_lookup).
    pub fn from_env() -> Self {
        Self::from_lookup(&|name| env::var_os(name))
    }

    /// A log configured by the environment variables that `lookup` returns.
    ///
    /// The format is JSON if `AWS_LAMBDA_LOG_FORMAT` is `JSON` in any letter case, and always on
    /// managed instances; otherwise it is text. The level of a JSON log is that of
    /// `AWS_LAMBDA_LOG_LEVEL`, or INFO if the variable names none. A text log ignores the variable,
    /// as in AWS's own runtimes, and its level is INFO.
    ///
    /// If `_LAMBDA_TELEMETRY_LOG_FD` names a descriptor for frames, it is opened a second time
    /// through `/proc/self/fd`, since using the descriptor itself needs unsafe code. That works for
    /// pipes and files, but not for sockets, nor for files of another user. If it fails, the first
    /// line of the log says so, and lines go to standard error; a program that owns the descriptor
    /// can pass it to [`framed`](Self::framed).
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let mut log = Self::default();
        let initialization_type = Variable::InitializationType.text(lookup);
        let format = Variable::LogFormat.text(lookup);
        log.form = Form::of(log_format(initialization_type.as_deref(), format.as_deref()));
        if log.format() == Format::Json
            && let Some(level) = Variable::LogLevel.text(lookup)
        {
            log.level = level.parse().unwrap_or_default();
        }
        if let Some(descriptor) = Variable::TelemetryLogFd.text(lookup)
            && let Ok(descriptor) = descriptor.parse::<u32>()
        {
            // A file must be appended to.
            match OpenOptions::new().append(true).open(format!("/proc/self/fd/{descriptor}")) {
                Ok(file) => return log.framed(file),
                Err(error) => log.warn(format_args!(
                    "descriptor {descriptor} for log frames cannot be opened ({error}): log lines go to standard error"
                )),
            }
        }
        log
    }

    /// A text log that calls `write` for each record. The record displays as its line, without the
    /// newline.
    pub fn to(write: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Self {
        Self::default().with_writer(write)
    }

    /// The same log, writing frames to a file, pipe or socket, one write per frame. If a frame
    /// cannot be written, its line goes to standard error.
    #[must_use]
    pub fn framed(self, file: File) -> Self {
        Self { sink: Sink::Queue(Destination::Frames(Arc::new(file))), ..self }
    }

    /// The same log with another writer; see [`to`](Self::to).
    #[must_use]
    pub fn with_writer(self, write: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Self {
        Self { sink: Sink::Program(Arc::new(write)), ..self }
    }

    /// The same log for records of this level and above.
    #[must_use]
    pub fn with_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The same log in another format.
    #[must_use]
    pub fn with_format(self, format: Format) -> Self {
        Self { form: Form::of(format), ..self }
    }

    /// The lowest level that is written.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The format of its lines.
    pub fn format(&self) -> Format {
        self.form.format
    }

    /// Whether records of this level are written.
    #[inline]
    pub fn is_enabled(&self, level: Level) -> bool {
        level >= self.level
    }

    /// Writes a record if its level is [enabled](Self::is_enabled). A record without a time gets
    /// the current time.
    pub fn write(&self, record: &Record<'_>) {
        if !self.is_enabled(record.level()) {
            return;
        }
        let record = record.form(self.form);
        let destination = match &self.sink {
            Sink::Queue(destination) => destination.clone(),
            // A panic in the writer would unwind into the code that logs, which may be unwinding
            // already.
            Sink::Program(write) => match catch_unwind(AssertUnwindSafe(|| write(&record))) {
                Ok(()) => return,
                Err(_) => Destination::StandardError,
            },
        };
        QUEUE.write(Line::new(destination, &record));
    }

    /// Waits until every queued line has been written, but not longer than a second. It returns
    /// immediately if the queue is empty, or if no line was written since an earlier call timed
    /// out.
    pub fn flush(&self) {
        QUEUE.flush(Duration::from_secs(1));
    }

    /// Writes a line of the runtime itself at level INFO, such as that a problem is over.
    pub fn info(&self, line: fmt::Arguments<'_>) {
        self.write_own(Level::Info, "", line);
    }

    /// Writes a line of the runtime itself at level WARN: a problem that the runtime survives.
    pub fn warn(&self, line: fmt::Arguments<'_>) {
        self.write_own(Level::Warn, "", line);
    }

    /// Writes a line of the runtime itself at level ERROR: an answer is lost, or a slot or the
    /// process ends.
    pub fn error(&self, line: fmt::Arguments<'_>) {
        self.write_own(Level::Error, "", line);
    }

    /// Writes a client's warning, at the level that fits its kind.
    pub fn warning(&self, warning: &Warning<'_>) {
        let (level, request_id) = (level_of(&warning.kind), warning.request_id);
        // The record has its own field for the id.
        let line = Warning { request_id: "", ..*warning };
        match warning.kind {
            WarningKind::Failed { error_type, message, stack_trace }
            | WarningKind::FailedAfterAnswer { error_type, message, stack_trace } => {
                let error = LoggedError { error_type, message, stack_trace };
                self.write_error(level, request_id, format_args!("{line}"), error);
            }
            _ => self.write_own(level, request_id, format_args!("{line}")),
        }
    }

    /// Writes a line of the runtime itself about a failure: what happened, then the type, message
    /// and causes of the failure, then the frames of its stack trace.
    pub fn failure(
        &self,
        level: Level,
        request_id: &str,
        what: fmt::Arguments<'_>,
        failure: &Failure,
    ) {
        let error = failure.as_logged();
        let LoggedError { error_type, message, .. } = error;
        let line = format_args!("{what}: {error_type}: {}", one_line(message));
        self.write_error(level, request_id, line, error);
    }

    /// Writes a line of the runtime itself about an error. In text, the causes and the stack trace
    /// follow the line; in JSON they are fields, as AWS's own runtimes write them
    /// (aws-lambda-nodejs-runtime-interface-client, `LogPatch.js`).
    pub(crate) fn write_error(
        &self,
        level: Level,
        request_id: &str,
        line: fmt::Arguments<'_>,
        error: LoggedError<'_>,
    ) {
        let add = |fields: &mut Fields<'_>| error.add_to(fields);
        let record = Record::new(level, line).logger(OWN).request_id(request_id);
        match self.format() {
            Format::Json => self.write(&record.fields(&add)),
            Format::Text => self.write(&record.with_message(format_args!("{line}{error}"))),
        }
    }

    fn write_own(&self, level: Level, request_id: &str, line: fmt::Arguments<'_>) {
        self.write(&Record::new(level, line).logger(OWN).request_id(request_id));
    }
}

/// A message as one line, because the lines after it are its causes or frames.
pub(crate) fn one_line(message: &str) -> String {
    message.replace(['\n', '\r'], " ")
}

/// An error, as a record shows it.
#[derive(Clone, Copy)]
pub(crate) struct LoggedError<'a> {
    pub(crate) error_type: &'a str,
    pub(crate) message: &'a str,
    pub(crate) stack_trace: &'a str,
}

impl LoggedError<'_> {
    fn add_to(&self, fields: &mut Fields<'_>) {
        fields.text("errorType", format_args!("{}", self.error_type));
        fields.text("errorMessage", format_args!("{}", self.message));
        if !self.stack_trace.is_empty() {
            fields.texts("stackTrace", &mut self.stack_trace.lines());
        }
    }
}

/// The part after the type and the message: the causes on the same line, and the frames below.
impl fmt::Display for LoggedError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        causes(self.stack_trace).try_for_each(|cause| write!(f, ": {cause}"))?;
        frames(self.stack_trace).try_for_each(|frame| write!(f, "\n    {frame}"))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (level, format) = (self.level, self.format());
        f.debug_struct("Log")
            .field("level", &level)
            .field("format", &format)
            .finish_non_exhaustive()
    }
}

/// A lost invocation or answer is an error; the rest are problems that the runtime survives.
fn level_of(kind: &WarningKind<'_>) -> Level {
    match kind {
        WarningKind::Refused { outcome, .. } if outcome.call() == Call::Next => Level::Warn,
        WarningKind::InvalidReply(_)
        | WarningKind::SentAgain
        | WarningKind::FailedAfterAnswer { .. } => Level::Warn,
        _ => Level::Error,
    }
}
