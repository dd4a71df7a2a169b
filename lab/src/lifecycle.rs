//! The lifecycle of an environment's processes: start, freeze, restore and end.

mod processes;
mod shutdown;
mod snapshot;
mod start;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::answer::{FailureKind, FunctionFailure};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::log::LogStream;
use crate::output::{Done, Outputs};
use crate::place::Place;
use crate::process::{describe_exit, describe_exit_of_extension};
use crate::settings::Settings;
use crate::telemetry::Telemetry;

pub(crate) use processes::{Ended, Processes};
pub(crate) use shutdown::Reason;
pub(crate) use snapshot::INIT_TIMEOUT;
pub(crate) use start::{LaunchError, StartFailure};

/// The processes of one environment.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    settings: Arc<Settings>,
    clock: Clock,
    place: Arc<Place>,
    broker: Arc<Broker>,
    log: Arc<LogStream>,
    telemetry: Arc<Telemetry>,
    outputs: Outputs,
    processes: Mutex<Option<Arc<Processes>>>,
    /// The result of the last start for a snapshot, until an invocation takes it.
    snapshot: Mutex<Option<Result<(), StartFailure>>>,
    /// No further process is started.
    is_stopping: watch::Sender<bool>,
    /// The last process has ended.
    is_stopped: watch::Sender<bool>,
}

/// Where the runtime is.
pub(crate) enum Running {
    Here(Arc<Processes>),
    /// The lab does not start the runtime.
    Elsewhere,
    Not,
}

/// How long a runtime may take to exit that reported that it cannot continue.
const EXIT: Duration = Duration::from_secs(1);

/// How long a process that has ended is listened to.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl Lifecycle {
    pub(crate) fn new(
        settings: Arc<Settings>,
        clock: Clock,
        place: Arc<Place>,
        broker: Arc<Broker>,
        log: Arc<LogStream>,
    ) -> Self {
        let telemetry = Arc::clone(broker.telemetry());
        let is_shared = settings.concurrency.is_some();
        let outputs = Outputs::new(Arc::clone(&log), Arc::clone(&telemetry), is_shared);
        let (processes, snapshot) = (Mutex::new(None), Mutex::new(None));
        let (is_stopping, is_stopped) = (watch::Sender::new(false), watch::Sender::new(false));
        Self {
            settings,
            clock,
            place,
            broker,
            log,
            telemetry,
            outputs,
            processes,
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
            Some(processes) if processes.are_running() && !self.broker.is_terminal() => {
                Running::Here(Arc::clone(processes))
            }
            _ => Running::Not,
        }
    }

    /// Ends the processes, if there are any. The runtime is ended first: with SIGTERM and its part
    /// of the shutdown timeout if there is an extension, otherwise with SIGKILL. The external
    /// extensions follow, with SHUTDOWN and the rest of the time if they have registered for it.
    pub(crate) async fn end(&self, reason: Reason) {
        let processes = self.lock().take();
        match processes.filter(|it| !it.are_none()) {
            Some(processes) => {
                self.shut_down(&processes, reason).await;
                // Limited, as other processes can connect to the same address.
                let _ = timeout(LAST_WORDS, self.broker.hear_last_words()).await;
            }
            // There may be extensions that the lab has not started.
            None => self.flush_now().await,
        }
        self.outputs.close();
        self.telemetry.end();
    }

    /// Passes on what the processes have written so far; if they have ended, that is all. `done` says
    /// whose lines have ended. Returns whether there was anything.
    pub(crate) fn pass_output(&self, processes: &Arc<Processes>, done: Done) -> bool {
        // Under the lock, so that the pipes are not those of other processes yet.
        let current = self.lock();
        let has_written = self.outputs.drain(done);
        if processes.have_ended()
            && current.as_ref().is_some_and(|current| Arc::ptr_eq(processes, current))
        {
            self.outputs.close();
        }
        has_written
    }

    /// Waits until there is room for more output, unless it is not read.
    pub(crate) async fn room_for_output(&self) {
        self.outputs.room().await;
    }

    /// Waits until everything that a process sent before it ended by itself has been read.
    ///
    /// The wait is limited, as other processes can connect to the same address.
    pub(crate) async fn hear_last_words(&self, ended: &Ended) {
        let hear = async {
            match ended {
                Ended::Runtime(_) => self.broker.hear_runtime().await,
                Ended::Extension { name, .. } => self.broker.hear_extension(name).await,
                Ended::NotStarted(_) => {}
            }
        };
        let _ = timeout(LAST_WORDS, hear).await;
    }

    /// Waits a moment for a runtime that reported that it cannot continue: it may send more before
    /// it ends.
    pub(crate) async fn await_exit(&self, processes: &Processes) {
        if let Some(runtime) = processes.runtime() {
            let _ = timeout(EXIT, runtime.wait()).await;
        }
    }

    /// Whether these are the current processes, which run or ran last.
    pub(crate) fn are_current(&self, processes: &Arc<Processes>) -> bool {
        self.lock().as_ref().is_some_and(|current| Arc::ptr_eq(processes, current))
    }

    /// The failure for the caller when a process has ended by itself; `id` is empty without an
    /// invocation.
    ///
    /// Source: emulator, `rapid/handlers.go`, for the error types.
    pub(crate) fn failure(&self, id: &str, ended: &Ended) -> FunctionFailure {
        let reported = self.broker.failed_extension();
        let (error_type, reason) = match ended {
            Ended::Runtime(status) => {
                (reported.unwrap_or("Runtime.ExitError"), describe_exit(*status))
            }
            Ended::Extension { status, .. } => {
                (reported.unwrap_or("Extension.Crash"), describe_exit_of_extension(*status))
            }
            Ended::NotStarted(error) => return error.failure(id),
        };
        let reason = match id {
            "" => reason,
            id => format!("RequestId: {id} Error: {reason}"),
        };
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

    /// Prevents further starts. [`end`](Self::end) ends those that run.
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

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Processes>>> {
        self.processes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
