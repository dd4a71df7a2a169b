//! Lines for what somebody should know.

#[cfg(feature = "log")]
mod facade;
mod frame;
mod level;
mod record;
mod time;
#[cfg(feature = "tracing")]
mod tracing_layer;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;

use lambda_proto::api::Call;
use lambda_proto::client::{Warning, WarningKind};

use crate::environment::{Variable, log_format};
pub use level::{Format, Level, NoLevel};
use record::Form;
pub(crate) use record::put_escaped;
pub use record::{Fields, Record};
#[cfg(feature = "tracing")]
pub use tracing_layer::TracingLayer;

/// Where log lines go, of the runtime itself and of functions that want it; clones go to the same place.
///
/// As [`from_env`](Self::from_env) makes it, it writes what the function's logging configuration wants
/// (Lambda Developer Guide, "Log and monitor Lambda functions"): JSON lines, or text such as
/// `WARN lambda-proto: …`, on standard error, which Lambda reads as it reads standard output; or where
/// Lambda names a descriptor for that, in frames, which keep together what has several lines. A line or a
/// frame is written in one piece, so those of several threads never mix.
///
/// A record below the [level](Self::level) costs a comparison. Writing one takes memory for its line.
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
/// By the feature `log` it is a `log::Log`; by the feature `tracing` it makes a layer for
/// `tracing_subscriber`, `Log::tracing_layer`. Both take the request id from [`current`](crate::current)
/// where the record has none.
#[derive(Clone, Default)]
pub struct Log {
    level: Level,
    form: Form,
    /// Other than standard error.
    sink: Option<Sink>,
}

type Sink = Arc<dyn Fn(&Record<'_>) + Send + Sync>;

/// The logger of the runtime's own records.
pub(crate) const OWN: &str = "lambda-proto";

impl Log {
    /// A log as the environment of this process wants it; see [`from_lookup`](Self::from_lookup).
    pub fn from_env() -> Self {
        Self::from_lookup(&|name| env::var_os(name))
    }

    /// A log as an environment wants it whose variables `lookup` knows.
    ///
    /// The format is JSON if `AWS_LAMBDA_LOG_FORMAT` says so in any case of letters, and always on managed
    /// instances; else text. The level is that of `AWS_LAMBDA_LOG_LEVEL`. In text it does not count, as in
    /// AWS's own runtimes, and where none is named or none counts, it is INFO.
    ///
    /// If `_LAMBDA_TELEMETRY_LOG_FD` names a descriptor for frames, it is opened a second time by way of
    /// `/proc/self/fd`, since the first one cannot be had without unsafe code. That can be done with pipes
    /// and files, but not with sockets, nor with what belongs to another user. If it fails, the log says
    /// so in its first line, on standard error, where it then stays; a program that has the descriptor
    /// gives it to [`framed`](Self::framed).
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
            // At the end of what it is, should it be a file.
            match OpenOptions::new().append(true).open(format!("/proc/self/fd/{descriptor}")) {
                Ok(file) => return log.framed(file),
                Err(error) => log.warn(format_args!(
                    "descriptor {descriptor} for log frames cannot be opened ({error}): they go to standard error"
                )),
            }
        }
        log
    }

    /// A text log whose records go to `write`, which displays them: one call a line without its end.
    pub fn to(write: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Self {
        Self::default().with_writer(write)
    }

    /// The same in frames to a file, pipe or socket, one write a frame. What it refuses goes to standard
    /// error.
    #[must_use]
    pub fn framed(self, file: File) -> Self {
        self.with_writer(move |record| {
            // The same time in the header and in the line.
            let record = record.at(record.time());
            let line = record.line();
            let frame = frame::frame(&record, &line);
            // Another log of this process may have opened the same pipe, which takes large frames in
            // pieces; so all of them share a lock.
            let standard_error = io::stderr().lock();
            if (&file).write_all(&frame).is_err() {
                drop(standard_error);
                write_line(line);
            }
        })
    }

    /// The same to another place.
    #[must_use]
    pub fn with_writer(self, write: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Self {
        Self { sink: Some(Arc::new(write)), ..self }
    }

    /// The same for records of this level and above.
    #[must_use]
    pub fn with_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The same in another format.
    #[must_use]
    pub fn with_format(self, format: Format) -> Self {
        Self { form: Form::of(format), ..self }
    }

    /// The least level that is written.
    pub fn level(&self) -> Level {
        self.level
    }

    /// How lines look.
    pub fn format(&self) -> Format {
        self.form.format
    }

    /// Whether records of this level are written.
    #[inline]
    pub fn is_enabled(&self, level: Level) -> bool {
        level >= self.level
    }

    /// Writes a record, if its level is [enabled](Self::is_enabled), at the time of now unless it has one.
    pub fn write(&self, record: &Record<'_>) {
        if !self.is_enabled(record.level()) {
            return;
        }
        let record = record.form(self.form);
        match &self.sink {
            Some(write) => write(&record),
            None => write_line(record.line()),
        }
    }

    /// Writes a line of the runtime's own: something has mended.
    pub fn info(&self, line: fmt::Arguments<'_>) {
        self.write_own(Level::Info, "", line);
    }

    /// Writes a line of the runtime's own: kind that goes on.
    pub fn warn(&self, line: fmt::Arguments<'_>) {
        self.write_own(Level::Warn, "", line);
    }

    /// Writes a line of the runtime's own: something that loses an answer, or ends a slot or the process.
    pub fn error(&self, line: fmt::Arguments<'_>) {
        self.write_own(Level::Error, "", line);
    }

    /// Writes what a slot wants somebody to know.
    pub fn warning(&self, warning: &Warning<'_>) {
        // The record has the id in a place of its own.
        let line = Warning { request_id: "", ..*warning };
        self.write_own(level_of(&warning.kind), warning.request_id, format_args!("{line}"));
    }

    fn write_own(&self, level: Level, request_id: &str, line: fmt::Arguments<'_>) {
        self.write(&Record::new(level, line).logger(OWN).request_id(request_id));
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

/// Writes a line in one piece, for others write there too; and not by `eprintln!`, which panics where
/// nobody reads standard error any more.
fn write_line(mut line: String) {
    line.push('\n');
    let _nobody_reads = io::stderr().write_all(line.as_bytes());
}

/// What loses an invocation or its answer is an error; the rest is kind that goes on.
fn level_of(kind: &WarningKind<'_>) -> Level {
    match kind {
        WarningKind::Refused { outcome, .. } if outcome.call() == Call::Next => Level::Warn,
        WarningKind::InvalidReply(_)
        | WarningKind::SentAgain
        | WarningKind::FailedAfterAnswer { .. } => Level::Warn,
        _ => Level::Error,
    }
}
