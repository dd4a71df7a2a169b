//! Reads the output of the processes of an environment from pipes.

use std::io::{self, ErrorKind, PipeWriter};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::io::{ioctl_fionread, read, retry_on_intr};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::log::{LogStream, Route, Sink};
use crate::telemetry::{Lines, Source, Telemetry};

/// The pipes from the processes of one environment.
///
/// The processes have no other output. So a process that inherits it, such as a daemon, does not hold
/// the output of the lab open.
#[derive(Debug)]
pub(crate) struct Outputs {
    log: Arc<LogStream>,
    telemetry: Arc<Telemetry>,
    /// Whether the function has several invocations at once, and may be writing a line for one when
    /// another ends.
    is_shared: bool,
    pipes: Mutex<Vec<Reading>>,
}

/// Whose output it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Function,
    /// The external extension of this name.
    Extension(Arc<str>),
}

/// Whose part of an invocation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Runtime,
    /// That of the runtime and of the extensions.
    All,
}

impl Writer {
    fn source(&self) -> Source {
        match self {
            Self::Function => Source::Function,
            Self::Extension(_) => Source::Extension,
        }
    }
}

/// A pipe that is being read, until every write end is closed.
#[derive(Debug)]
pub(crate) struct Reading {
    pipe: Arc<Pipe>,
    task: JoinHandle<()>,
}

/// The read end of a pipe.
#[derive(Debug)]
struct Pipe {
    writer: Writer,
    end: Receiver,
    log: Arc<LogStream>,
    telemetry: Arc<Telemetry>,
    sink: Option<Sink>,
    /// Locked while bytes are read and passed on, which keeps their order.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Empty until there is something to read.
    buffer: Vec<u8>,
    /// What has been read of a line that has not ended.
    unfinished: Vec<u8>,
    /// When that is passed on all the same.
    due: Option<Instant>,
    /// The lines for telemetry, which are always whole.
    lines: Lines,
}

/// How long the rest of a line may take before its beginning, such as a prompt, is passed on.
const MOMENT: Duration = Duration::from_millis(100);

/// The most bytes that are read at a time.
const READ: usize = 16 * 1024;

/// A longer line is passed on in parts, between which lines of other environments may come.
const LONG: usize = 64 * 1024;

impl Outputs {
    pub(crate) fn new(log: Arc<LogStream>, telemetry: Arc<Telemetry>, is_shared: bool) -> Self {
        Self { log, telemetry, is_shared, pipes: Mutex::default() }
    }

    /// Gives the command pipes as its standard output and standard error, and begins to read them.
    /// If the command starts, they have to be [added](Self::add).
    ///
    /// The output of an extension goes where the standard error of the function goes.
    ///
    /// # Errors
    ///
    /// An error if the system has no pipe to give.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub(crate) fn connect(
        &self,
        command: &mut Command,
        writer: &Writer,
    ) -> io::Result<Vec<Reading>> {
        let sink = match (self.log.function(), writer) {
            (Route::Together(sink), _) => sink.clone(),
            (Route::Apart { stderr, .. }, Writer::Extension(_)) => Some(stderr.clone()),
            (Route::Apart { stdout, stderr }, Writer::Function) => {
                let (out, stdout) = self.open(writer, Some(stdout.clone()))?;
                let (err, stderr) = self.open(writer, Some(stderr.clone()))?;
                command.stdout(stdout).stderr(stderr);
                return Ok(vec![out, err]);
            }
        };
        let (reading, end) = self.open(writer, sink)?;
        command.stdout(end.try_clone()?).stderr(end);
        Ok(vec![reading])
    }

    fn open(&self, writer: &Writer, sink: Option<Sink>) -> io::Result<(Reading, PipeWriter)> {
        let (end, write_end) = io::pipe()?;
        let end = Receiver::from_owned_fd(OwnedFd::from(end))?;
        let (log, telemetry) = (Arc::clone(&self.log), Arc::clone(&self.telemetry));
        let (writer, state) = (writer.clone(), Mutex::default());
        let pipe = Arc::new(Pipe { writer, end, log, telemetry, sink, state });
        let task = tokio::spawn(Arc::clone(&pipe).read_all());
        Ok((Reading { pipe, task }, write_end))
    }

    /// Adds the pipes of a process that has been started.
    pub(crate) fn add(&self, readings: Vec<Reading>) {
        self.lock().extend(readings);
    }

    /// Passes on what the processes have written so far, and ends the lines of those that are done.
    /// Returns whether there was anything.
    ///
    /// This does not wait, so [`room`](Self::room) should be awaited afterwards.
    pub(crate) fn drain(&self, done: Done) -> bool {
        let mut has_written = false;
        if self.log.is_heard() || self.telemetry.hears_output() {
            for Reading { pipe, .. } in &*self.lock() {
                has_written |= pipe.drain();
                // Others may be in the middle of a line.
                if !self.is_shared && (pipe.writer == Writer::Function || done == Done::All) {
                    pipe.end_line();
                }
            }
        }
        has_written
    }

    /// Waits until there is room for more output, unless it is not read.
    pub(crate) async fn room(&self) {
        let pipes: Vec<_> = self.lock().iter().map(|it| Arc::clone(&it.pipe)).collect();
        for pipe in pipes {
            pipe.room().await;
        }
    }

    /// Passes on what the processes had written when they ended, and closes the pipes, even if
    /// other processes still have the other end.
    pub(crate) fn close(&self) {
        self.close_those(|_| true);
    }

    /// Like [`close`](Self::close), for the pipes of one process.
    pub(crate) fn close_of(&self, writer: &Writer) {
        self.close_those(|it| it == writer);
    }

    fn close_those(&self, is_meant: impl Fn(&Writer) -> bool) {
        let closed: Vec<_> = self.lock().extract_if(.., |it| is_meant(&it.pipe.writer)).collect();
        for Reading { pipe, task } in closed {
            pipe.drain();
            pipe.end_line();
            task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reading>> {
        self.pipes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Pipe {
    /// Passes on all output until every write end is closed.
    async fn read_all(self: Arc<Self>) {
        loop {
            self.room().await;
            let due = self.lock().due;
            tokio::select! {
                biased;
                readable = self.end.readable() => {
                    match readable.and_then(|()| self.read_some(|to| self.end.try_read(to))) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Ok(0) | Err(_) => return self.end_line(),
                        // Others wait for this thread, too.
                        Ok(_) => tokio::task::yield_now().await,
                    }
                }
                () = until(due) => {
                    // The rest may be in the pipe, though the runtime has not heard of it yet.
                    if self.read_now() == usize::MAX {
                        self.pass_unfinished();
                    }
                }
            }
        }
    }

    /// Passes on the lines that are in the pipe now. Returns whether there was anything.
    fn drain(&self) -> bool {
        // Counted first, as the process may go on writing. What is not there any more, the task has
        // read.
        let waiting = self.waiting();
        let mut left = waiting;
        while left > 0 {
            left = left.saturating_sub(self.read_now());
        }
        waiting > 0
    }

    /// Reads what there is, even if the runtime has not heard of it yet. Returns the number of
    /// bytes; if there is nothing, the largest number.
    fn read_now(&self) -> usize {
        let read = |to: &mut [u8]| retry_on_intr(|| read(&self.end, &mut *to)).map_err(Into::into);
        self.read_some(read).ok().filter(|count| *count > 0).unwrap_or(usize::MAX)
    }

    /// Reads once, and passes on the lines that have ended. Returns the number of bytes, which is 0
    /// at the end.
    fn read_some(&self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let mut state = self.lock();
        let State { buffer, unfinished, due, lines } = &mut *state;
        buffer.resize(READ, 0);
        let count = read(buffer)?;
        let new = &buffer[..count];
        self.log.hear(new);
        if self.telemetry.hears_output() {
            lines.take(new, |line| self.telemetry.output(self.writer.source(), line));
        }
        let Some(sink) = &self.sink else { return Ok(count) };
        let end = match new.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if unfinished.len() >= LONG => new.len(),
            None => 0,
        };
        let (lines, rest) = new.split_at(end);
        if !lines.is_empty() {
            let lines = [unfinished, lines].concat();
            unfinished.clear();
            *due = None;
            self.log.pass(lines, sink);
        }
        if !rest.is_empty() {
            unfinished.extend_from_slice(rest);
            due.get_or_insert_with(|| Instant::now() + MOMENT);
        }
        Ok(count)
    }

    /// Passes on what has been read of a line, which counts as a whole one for telemetry.
    fn end_line(&self) {
        self.lock().lines.end(|line| self.telemetry.output(self.writer.source(), line));
        self.pass_unfinished();
    }

    /// Passes on what has been read of a line.
    fn pass_unfinished(&self) {
        let mut state = self.lock();
        state.due = None;
        if let Some(sink) = self.sink.as_ref().filter(|_| !state.unfinished.is_empty()) {
            self.log.pass(std::mem::take(&mut state.unfinished), sink);
        }
    }

    async fn room(&self) {
        if let Some(sink) = &self.sink {
            sink.queue().room().await;
        }
    }

    /// How many bytes the pipe holds.
    fn waiting(&self) -> usize {
        ioctl_fionread(&self.end).map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
