//! The lifecycle of the function's process: start, freeze, restore and end.

mod shutdown;
mod snapshot;
mod start;

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::answer::{FailureKind, FunctionFailure};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::log::LogStream;
use crate::output::Outputs;
use crate::place::Place;
use crate::process::{Process, describe_exit};
use crate::settings::Settings;

pub(crate) use shutdown::Reason;
pub(crate) use start::StartFailure;

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
