//! The log of one environment.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use super::plain::{Line, Plain};
use super::tail::Tail;
use super::{Log, Report, Route, Sink, VERSION};

/// The log of one environment: all lines about it, and all output of its processes, pass here.
#[derive(Debug)]
pub(crate) struct LogStream {
    lab: Option<Sink>,
    function: Route,
    /// While an invocation runs whose caller has asked for it.
    tail: Mutex<Option<Tail>>,
}

impl LogStream {
    pub(crate) fn new(log: &Log) -> Self {
        /// The lab itself is number 0.
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Relaxed);
        let function = match &log.function {
            Route::Together(sink) => Route::Together(sink.as_ref().map(|sink| sink.of(number))),
            Route::Apart { stdout, stderr } => {
                Route::Apart { stdout: stdout.of(number), stderr: stderr.of(number) }
            }
        };
        Self { lab: log.lab.clone(), function, tail: Mutex::default() }
    }

    /// Where the output of the function goes.
    pub(crate) fn function(&self) -> &Route {
        &self.function
    }

    /// Adds a line of the lab, in which control characters are escaped.
    pub(crate) fn line(&self, line: impl Display) {
        self.lines(&[&line]);
    }

    fn lines(&self, lines: &[&dyn Display]) {
        let mut tail = self.tail();
        if self.lab.is_none() && tail.is_none() {
            return;
        }
        let lines: String = lines.iter().map(|line| Line(line).to_string()).collect();
        if let Some(tail) = &mut *tail {
            tail.add_lines(&lines);
        }
        if let Some(sink) = &self.lab {
            sink.push_own(lines.into_bytes());
        }
    }

    /// Adds output of the function, as it arrives. [`pass`](Self::pass) writes it.
    pub(crate) fn hear(&self, output: &[u8]) {
        if let Some(tail) = &mut *self.tail() {
            tail.add(output);
        }
    }

    /// Writes output of the function: whole lines, or what a line has so far.
    pub(crate) fn pass(&self, output: Vec<u8>, sink: &Sink) {
        sink.push_output(output);
    }

    /// Begins the log of an invocation with its START line, and its tail if the caller has asked
    /// for that.
    pub(crate) fn start(&self, request_id: &str, has_tail: bool) {
        *self.tail() = has_tail.then(Tail::default);
        self.line(format_args!("START RequestId: {} Version: {VERSION}", Plain(request_id)));
    }

    /// Ends the log of an invocation with its END and REPORT lines. Returns its tail, if there is
    /// one.
    pub(crate) fn end(&self, report: &Report<'_>) -> Option<Vec<u8>> {
        self.lines(&[&format_args!("END RequestId: {}", Plain(report.request_id)), report]);
        Some(self.tail().take()?.into_bytes())
    }

    /// Whether this log has a reader.
    pub(crate) fn is_heard(&self) -> bool {
        self.lab.is_some() || self.tail().is_some()
    }

    fn tail(&self) -> MutexGuard<'_, Option<Tail>> {
        self.tail.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
