//! The lifecycle of the function's process: start, freeze, restore and end.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::answer::{FailureKind, FunctionFailure};
use crate::broker::{Broker, Started};
use crate::clock::Clock;
use crate::log::{InitReport, LogStream, Status};
use crate::output::Outputs;
use crate::place::Place;
use crate::process::{KILL_PATIENCE, Process, describe_exit, obstacle, unyielding};
use crate::settings::Settings;
use crate::watch::{BUILD_PATIENCE, PAUSE};

/// The process of one environment.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    settings: Arc<Settings>,
    clock: Clock,
    place: Arc<Place>,
    broker: Arc<Broker>,
    log: Arc<LogStream>,
    outputs: Outputs,
    process: Mutex<Option<Arc<Process>>>,
    /// The result of the last start for a snapshot, until an invocation takes it.
    snapshot: Mutex<Option<Result<(), StartFailure>>>,
    /// No further process is started.
    is_stopping: watch::Sender<bool>,
    /// The last process has ended.
    is_stopped: watch::Sender<bool>,
}

/// Where the runtime is.
pub(crate) enum Running {
    Here(Arc<Process>),
    /// The lab does not start the runtime.
    Elsewhere,
    Not,
}

/// Why a process is ended.
///
/// Source: Lambda Developer Guide, "Using the Lambda Extensions API to create extensions".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The lab stops.
    Spindown,
    Timeout,
    Failure,
}

/// Why there is no process for an invocation.
#[derive(Clone, Debug)]
pub(crate) enum StartFailure {
    Stopped,
    Failed(FunctionFailure),
}

impl StartFailure {
    /// The program of the function cannot be started.
    pub(crate) fn of_program(id: &str, reason: &str) -> Self {
        let (kind, error_type) = (FailureKind::Exit, "Runtime.InvalidEntrypoint");
        Self::Failed(FunctionFailure::of_service(id, kind, error_type, reason))
    }
}

/// How long a program is waited for that is still not being executed when the lab stops.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// The error type of an init that takes too long.
const INIT_TIMEOUT: &str = "Sandbox.Timedout";

impl Lifecycle {
    pub(crate) fn new(
        settings: Arc<Settings>,
        clock: Clock,
        place: Arc<Place>,
        broker: Arc<Broker>,
        log: Arc<LogStream>,
    ) -> Self {
        let outputs = Outputs::new(Arc::clone(&log), settings.concurrency.is_some());
        let (process, snapshot) = (Mutex::new(None), Mutex::new(None));
        let (is_stopping, is_stopped) = (watch::Sender::new(false), watch::Sender::new(false));
        Self {
            settings,
            clock,
            place,
            broker,
            log,
            outputs,
            process,
            snapshot,
            is_stopping,
            is_stopped,
        }
    }

    /// Where the runtime is.
    pub(crate) fn running(&self) -> Running {
        if self.settings.program.is_none() {
            return Running::Elsewhere;
        }
        match &*self.lock() {
            Some(process) if process.exit_status().is_none() && !self.broker.is_terminal() => {
                Running::Here(Arc::clone(process))
            }
            _ => Running::Not,
        }
    }

    /// Starts the process. An earlier process must have been [ended](Self::end).
    ///
    /// If the program is still not being executed a moment after the lab has begun to stop, it is
    /// left to itself, and killed when it is.
    async fn start(&self) -> io::Result<Arc<Process>> {
        let stopped = || io::Error::other("the lab has been stopped");
        if self.is_stopping() {
            return Err(stopped());
        }
        let launch = self.place.launch(&self.settings)?;
        let mut command = self.settings.command(&launch, self.place.runtime_api);
        let log = self.settings.log.clone();
        let started = match self.outputs.connect(&mut command) {
            Err(error) => Err(error),
            Ok(()) => {
                // On another thread, as it takes long if the file system is slow.
                let starting = spawn_blocking(move || Process::start(&mut command, &log));
                let hurry = async {
                    self.stopping().await;
                    sleep(START_PATIENCE).await;
                };
                tokio::select! {
                    biased;
                    started = starting => started.unwrap_or_else(|error| Err(error.into())),
                    () = hurry => return Err(stopped()),
                }
            }
        };
        let started = started.map_err(|error| {
            let file = launch.file.as_os_str();
            let reason = obstacle::explain(file, self.settings.path(), &error);
            io::Error::new(error.kind(), format!("cannot start {}: {reason}", file.display()))
        })?;
        // If the lab stops, it ends this process, too, as it waits for the start.
        Ok(Arc::clone(self.lock().insert(Arc::new(started))))
    }

    /// Starts the process as soon as its file is not open for writing, as by linkers and copies.
    /// This is waited for, 10 s at most.
    ///
    /// Returns also when the start began that succeeded or failed.
    pub(crate) async fn start_when_written(&self) -> (Instant, io::Result<Arc<Process>>) {
        let first = Instant::now();
        loop {
            let began = Instant::now();
            match self.start().await {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy
                        && first.elapsed() < BUILD_PATIENCE
                        && !self.is_stopping() =>
                {
                    sleep(PAUSE).await;
                }
                started => return (began, started),
            }
        }
    }

    /// Starts the process, waits until it is ready for its snapshot, and stops it there.
    ///
    /// The result is kept for the next invocation, which [takes](Self::take_snapshot) it.
    pub(crate) async fn prepare_snapshot(&self) {
        let began = Instant::now();
        self.broker.start_anew();
        let result = match self.start_when_written().await.1 {
            Err(_) if self.is_stopping() => Err(StartFailure::Stopped),
            Err(error) => Err(StartFailure::of_program("", &error.to_string())),
            Ok(process) => self.await_snapshot(&process, began).await,
        };
        self.outputs.drain();
        let log = &self.log;
        match &result {
            Ok(()) | Err(StartFailure::Stopped) => {}
            Err(StartFailure::Failed(failure)) => {
                let status = match failure.error_type().unwrap_or_default() {
                    error_type if error_type == INIT_TIMEOUT => Status::Timeout,
                    error_type => Status::Error(error_type),
                };
                log.line(InitReport { duration: began.elapsed(), status: &status });
                log.line(format_args!("lambda-lab: cannot take a snapshot: {failure}"));
            }
        }
        *self.snapshot.lock().unwrap_or_else(|it| it.into_inner()) = Some(result);
    }

    async fn await_snapshot(&self, process: &Process, began: Instant) -> Result<(), StartFailure> {
        let limit = self.settings.init_timeout();
        let failure = tokio::select! {
            biased;
            () = self.stopping() => return Err(StartFailure::Stopped),
            started = self.broker.started() => match started {
                Started::Ready => {
                    process.freeze();
                    self.broker.cut_connections();
                    self.outputs.drain();
                    let millis = began.elapsed().as_secs_f64() * 1000.0;
                    self.log.line(format_args!(
                        "lambda-lab: snapshot taken, Init Duration: {millis:.2} ms"
                    ));
                    if let Some(snapstart) = &self.settings.snapstart {
                        tokio::select! {
                            () = self.stopping() => {}
                            () = sleep(snapstart.pause) => {}
                        }
                    }
                    return Ok(());
                }
                Started::Failed(failure) => {
                    self.await_exit(process).await;
                    self.end(Reason::Failure).await;
                    failure
                }
            },
            status = process.wait() => {
                self.hear_last_words().await;
                self.broker.start_failure().unwrap_or_else(|| self.exit(None, status))
            }
            () = sleep(limit) => {
                self.end(Reason::Timeout).await;
                let seconds = limit.as_secs_f64();
                let reason = format!("Init timed out after {seconds:.2} seconds");
                FunctionFailure::of_service("", FailureKind::Init, INIT_TIMEOUT, &reason)
            }
        };
        Err(StartFailure::Failed(failure))
    }

    /// Takes the result of the start for a snapshot, if there is one.
    pub(crate) fn take_snapshot(&self) -> Option<Result<(), StartFailure>> {
        self.snapshot.lock().unwrap_or_else(|it| it.into_inner()).take()
    }

    /// Stops the process between two invocations.
    pub(crate) fn freeze(&self) {
        if let Running::Here(process) = self.running() {
            process.freeze();
        }
    }

    /// Continues the process for an invocation.
    pub(crate) fn thaw(&self, process: &Process) {
        let Some(frozen) = process.thaw() else { return };
        let millis = frozen.as_secs_f64() * 1000.0;
        let pretended = self.settings.freeze.unwrap_or_default();
        self.clock.advance(pretended);
        if pretended.is_zero() {
            self.log.line(format_args!("lambda-lab: thawed after {millis:.2} ms"));
        } else {
            self.log.line(format_args!(
                "lambda-lab: thawed after {millis:.2} ms; moved the clock forward by {} s",
                pretended.as_secs_f64()
            ));
        }
    }

    /// Continues the process after its snapshot. Returns whether it had called `restore/next`.
    pub(crate) fn restore(&self, process: &Process) -> bool {
        let is_restored = self.broker.restore();
        process.thaw();
        is_restored
    }

    /// Ends the process, if there is one: with SIGTERM and the shutdown timeout if it has
    /// registered an extension, otherwise with SIGKILL.
    pub(crate) async fn end(&self, reason: Reason) {
        let process = self.lock().take();
        if let Some(process) = process {
            self.shut_down(&process, reason).await;
            self.hear_last_words().await;
        }
        self.outputs.close();
    }

    /// Passes on what the process has written so far; if it has ended, that is all. Returns whether
    /// there was anything.
    pub(crate) fn pass_output(&self, process: &Arc<Process>) -> bool {
        // Under the lock, so that the pipes are not those of another process yet.
        let current = self.lock();
        let has_written = self.outputs.drain();
        if process.exit_status().is_some()
            && current.as_ref().is_some_and(|current| Arc::ptr_eq(process, current))
        {
            self.outputs.close();
        }
        has_written
    }

    /// Waits until there is room for more output, unless it is not read.
    pub(crate) async fn room_for_output(&self) {
        self.outputs.room().await;
    }

    async fn shut_down(&self, process: &Process, reason: Reason) {
        if process.exit_status().is_some() {
            return;
        }
        self.broker.is_ending();
        let began = Instant::now();
        let most = self.settings.shutdown_timeout();
        let (how, status) = if !self.broker.has_extensions() {
            self.kill(process).await;
            ("SIGKILL, as no extension is registered".to_owned(), String::new())
        } else {
            process.terminate();
            match timeout(most, process.wait()).await {
                Ok(status) => ("SIGTERM".to_owned(), format!(", {status}")),
                Err(_) => {
                    self.kill(process).await;
                    (format!("SIGTERM, and SIGKILL after {} ms", most.as_millis()), String::new())
                }
            }
        };
        let millis = began.elapsed().as_secs_f64() * 1000.0;
        let ended = match process.exit_status() {
            Some(_) => "ended",
            None => "not ended",
        };
        // Its last words come before the line that says that it has ended.
        self.outputs.close();
        self.log.line(format_args!(
            "lambda-lab: shutdown ({reason}): {how}; {ended} after {millis:.2} ms{status}"
        ));
    }

    /// Kills the process, and waits for its end for a limited time, as it may be in an
    /// uninterruptible call, or belong to another user.
    async fn kill(&self, process: &Process) {
        process.kill();
        if timeout(KILL_PATIENCE, process.wait()).await.is_err() {
            process.leave();
            self.log.line(unyielding(process.id(), ""));
        }
    }

    /// Waits until everything that a process sent before it ended has been read.
    ///
    /// The wait is limited, as other processes can connect to the same address.
    pub(crate) async fn hear_last_words(&self) {
        let _ = timeout(Duration::from_millis(100), self.broker.hear_last_words()).await;
    }

    /// Waits a moment for a process that reported that it cannot continue: it may send more before
    /// it ends.
    pub(crate) async fn await_exit(&self, process: &Process) {
        let _ = timeout(Duration::from_millis(300), process.wait()).await;
    }

    /// Whether this is the current process, which runs or ran last.
    pub(crate) fn is_current(&self, process: &Arc<Process>) -> bool {
        self.lock().as_ref().is_some_and(|current| Arc::ptr_eq(process, current))
    }

    /// The failure for the caller when a process has ended; `id` is `None` without an invocation.
    pub(crate) fn exit(&self, id: Option<&str>, status: ExitStatus) -> FunctionFailure {
        let error_type = self.broker.failed_extension().unwrap_or("Runtime.ExitError");
        let reason = describe_exit(status);
        let reason = id.map_or(reason.clone(), |id| format!("RequestId: {id} Error: {reason}"));
        let id = id.unwrap_or_default();
        FunctionFailure::of_service(id, FailureKind::Exit, error_type, &reason)
    }

    /// Whether the lab is stopping, and no further process is started.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.is_stopping.borrow()
    }

    /// Waits until the lab stops.
    pub(crate) async fn stopping(&self) {
        // Cannot fail: the sender is a field of `self`.
        let _ = self.is_stopping.subscribe().wait_for(|is_stopping| *is_stopping).await;
    }

    /// Prevents further starts. [`end`](Self::end) ends the process that runs.
    pub(crate) fn begin_to_stop(&self) {
        self.is_stopping.send_replace(true);
    }

    /// Records that the last process has ended.
    pub(crate) fn has_stopped(&self) {
        self.is_stopped.send_replace(true);
    }

    /// A channel that says whether the last process has ended.
    pub(crate) fn is_stopped(&self) -> watch::Receiver<bool> {
        self.is_stopped.subscribe()
    }

    /// Waits until the last process has ended.
    pub(crate) async fn stopped(&self) {
        // Cannot fail: the sender is a field of `self`.
        let _ = self.is_stopped.subscribe().wait_for(|is_stopped| *is_stopped).await;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        })
    }
}
