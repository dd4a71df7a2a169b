//! The log: the lab's own lines, and the output of the function.
//!
//! ```text
//!  process ── pipe ─┐ output
//!  process ── pipe ─┴─ LogStream, one for each environment ──┬─ Queue ── thread ── standard error
//!  the lab's lines ────┘                └─ tail              └─ Queue ── thread ── standard output
//! ```

mod level;
mod lines;
mod plain;
mod queue;
mod stream;
mod tail;

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use crate::settings::Output;
use plain::Line;
use queue::{Destination, Queue};

pub use level::{LogFormat, LogLevel};
pub(crate) use lines::{InitReport, Metrics, Millis, Report, Status, VERSION};
pub(crate) use plain::Plain;
pub(crate) use queue::Sink;
pub(crate) use stream::LogStream;
pub(crate) use tail::{LOG_RESULT, log_result};

/// Where the lab's own lines and the output of functions go.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// `None` if the lab's lines are discarded.
    lab: Option<Sink>,
    function: Route,
}

/// Where the output of a function goes.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Both standard output and standard error, through one pipe, so that they keep their order.
    Together(Option<Sink>),
    Apart {
        stdout: Sink,
        stderr: Sink,
    },
}

impl Log {
    pub(crate) fn discarded() -> Self {
        Self { lab: None, function: Route::Together(None) }
    }

    /// # Errors
    ///
    /// An error if a thread that writes cannot be started.
    pub(crate) fn new(output: Output) -> io::Result<Self> {
        if output == Output::Discarded {
            return Ok(Self::discarded());
        }
        let (stdout, stderr) = standard()?;
        let is_same = Arc::ptr_eq(stdout.queue(), stderr.queue());
        let function = if output == Output::Stderr || is_same {
            Route::Together(Some(stderr.clone()))
        } else {
            Route::Apart { stdout, stderr: stderr.clone() }
        };
        Ok(Self { lab: Some(stderr), function })
    }

    /// Writes lines of the lab, between which no others come; see [`Line`] for what becomes of
    /// control characters.
    pub(crate) fn lines(&self, lines: &[&dyn Display]) {
        if let Some(sink) = &self.lab {
            let lines: String = lines.iter().map(|line| Line(line).to_string()).collect();
            sink.push_own(lines.into_bytes());
        }
    }

    /// Ends the line that a function has left unfinished, if there is one.
    pub(crate) fn end_line(&self) {
        self.lines(&[]);
    }

    /// Waits until everything has been written, unless it is not read.
    pub(crate) fn flush(&self) {
        let function = match &self.function {
            Route::Together(sink) => sink.as_ref(),
            Route::Apart { stdout, .. } => Some(stdout),
        };
        for sink in function.into_iter().chain(&self.lab) {
            sink.queue().flush();
        }
    }
}

/// Standard output and standard error of this program. If both are the same file, they share a
/// queue.
fn standard() -> io::Result<(Sink, Sink)> {
    /// One for all labs of a program, so that their lines do not mix.
    static QUEUES: Mutex<Option<(Arc<Queue>, Arc<Queue>)>> = Mutex::new(None);
    let mut queues = QUEUES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (stdout, stderr) = match &*queues {
        Some(queues) => queues,
        None => {
            let stderr = Queue::start(Destination::Stderr)?;
            let stdout = match is_one_file() {
                true => Arc::clone(&stderr),
                false => Queue::start(Destination::Stdout)?,
            };
            queues.insert((stdout, stderr))
        }
    };
    Ok((Sink::of_lab(Arc::clone(stdout)), Sink::of_lab(Arc::clone(stderr))))
}

/// Whether standard output and standard error are one file, such as a terminal.
fn is_one_file() -> bool {
    let file = |stream: &dyn AsFd| {
        let file = File::from(stream.as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
        Some((file.dev(), file.ino()))
    };
    let stdout = file(&io::stdout());
    stdout.is_some() && stdout == file(&io::stderr())
}
