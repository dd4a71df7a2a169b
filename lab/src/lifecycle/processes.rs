//! The processes of one start of an environment: its external extensions and its runtime.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::start::LaunchError;
use crate::process::Process;

/// The processes of one start.
///
/// The external extensions are started first. The runtime follows when all of them have
/// registered, which a task waits for.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    members: Mutex<Members>,
    /// Wakes tasks that wait for an end: there is another process, or none could be started.
    changed: Notify,
    /// What ended first.
    first: OnceLock<Ended>,
    /// Together they have used more memory than the function has.
    has_passed: AtomicBool,
}

#[derive(Debug, Default)]
struct Members {
    extensions: Vec<Arc<ExtensionProcess>>,
    runtime: Option<Arc<Process>>,
    /// Starts the runtime, if that has to wait for extensions.
    starting: Option<JoinHandle<()>>,
    /// Why the runtime could not be started.
    failure: Option<LaunchError>,
    /// No further process is added.
    is_ending: bool,
}

/// The process of an external extension.
#[derive(Debug)]
pub(crate) struct ExtensionProcess {
    pub(crate) name: Arc<str>,
    pub(crate) process: Arc<Process>,
}

/// What has ended by itself.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    Runtime(ExitStatus),
    Extension {
        name: Arc<str>,
        status: ExitStatus,
    },
    /// The runtime could not be started after the extensions had registered.
    NotStarted(LaunchError),
}

type Waiting = Pin<Box<dyn Future<Output = Ended> + Send>>;

impl Processes {
    pub(super) fn add_extension(&self, extension: ExtensionProcess) {
        self.lock().extensions.push(Arc::new(extension));
        self.changed.notify_waiters();
    }

    /// Adds the runtime, or why it could not be started. If the processes are being ended, the
    /// runtime is killed instead.
    pub(super) fn add_runtime(&self, started: Result<Process, LaunchError>) {
        let mut members = self.lock();
        match started {
            _ if members.is_ending => {}
            Ok(process) => members.runtime = Some(Arc::new(process)),
            Err(error) => members.failure = Some(error),
        }
        drop(members);
        self.changed.notify_waiters();
    }

    /// This task starts the runtime.
    pub(super) fn start_runtime_in(&self, task: JoinHandle<()>) {
        self.lock().starting = Some(task);
    }

    /// Prevents that the runtime is started, or waits until it is.
    pub(super) async fn end_start(&self) {
        let starting = {
            let mut members = self.lock();
            members.is_ending = true;
            members.starting.take()
        };
        self.changed.notify_waiters();
        if let Some(starting) = starting {
            // Fails only if the task panicked, which would be a bug.
            let _ = starting.await;
        }
    }

    /// Waits until the runtime has been started, or will not be. It may have made calls before.
    pub(crate) async fn started(&self) {
        self.until(|members| {
            members.runtime.is_some() || members.failure.is_some() || members.is_ending
        })
        .await;
    }

    /// Whether the processes are being ended.
    pub(super) fn is_ending(&self) -> bool {
        self.lock().is_ending
    }

    /// Waits until the processes are being ended.
    pub(super) async fn ending(&self) {
        self.until(|members| members.is_ending).await;
    }

    async fn until(&self, is_so: impl Fn(&Members) -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the check below, so that no change after it is missed.
            changed.as_mut().enable();
            if is_so(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// The runtime, once it is started.
    pub(crate) fn runtime(&self) -> Option<Arc<Process>> {
        self.lock().runtime.clone()
    }

    pub(super) fn extensions(&self) -> Vec<Arc<ExtensionProcess>> {
        self.lock().extensions.clone()
    }

    /// Whether all of them run, as far as they are started yet.
    pub(super) fn are_running(&self) -> bool {
        let members = self.lock();
        let is_running = |process: &Process| process.exit_status().is_none();
        let runtime_runs = match &members.runtime {
            Some(process) => is_running(process),
            None => members.starting.is_some() && members.failure.is_none(),
        };
        runtime_runs && members.extensions.iter().all(|it| is_running(&it.process))
    }

    /// Whether none has been started.
    pub(super) fn are_none(&self) -> bool {
        self.all().is_empty()
    }

    /// Whether none of them runs.
    pub(super) fn have_ended(&self) -> bool {
        self.all().iter().all(|process| process.exit_status().is_some())
    }

    /// Waits until one of them ends. The first end counts, whenever this is called.
    pub(crate) async fn ended(&self) -> Ended {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the look at the processes, so that none after it is missed.
            changed.as_mut().enable();
            if let Some(first) = self.first.get() {
                return first.clone();
            }
            let mut waiting = self.waiting();
            let ended = poll_fn(|context| {
                let mut ready =
                    waiting.iter_mut().filter_map(|it| match it.as_mut().poll(context) {
                        Poll::Ready(ended) => Some(ended),
                        Poll::Pending => None,
                    });
                ready.next().map_or(Poll::Pending, Poll::Ready)
            });
            tokio::select! {
                biased;
                ended = ended => return self.first.get_or_init(|| ended).clone(),
                () = changed => {}
            }
        }
    }

    fn waiting(&self) -> Vec<Waiting> {
        let members = self.lock();
        let mut waiting: Vec<Waiting> = Vec::with_capacity(1 + members.extensions.len());
        if let Some(runtime) = members.runtime.clone() {
            waiting.push(Box::pin(async move { Ended::Runtime(runtime.wait().await) }));
        }
        if let Some(error) = members.failure.clone() {
            waiting.push(Box::pin(async move { Ended::NotStarted(error) }));
        }
        for extension in members.extensions.iter().cloned() {
            waiting.push(Box::pin(async move {
                let status = extension.process.wait().await;
                Ended::Extension { name: Arc::clone(&extension.name), status }
            }));
        }
        waiting
    }

    /// Stops them, as Lambda freezes an environment.
    pub(super) fn freeze(&self) {
        self.all().iter().for_each(|process| process.freeze());
    }

    /// Continues them. Returns how long they were stopped, if they were.
    pub(super) fn thaw(&self) -> Option<Duration> {
        self.all().iter().filter_map(|process| process.thaw()).max()
    }

    /// Measures the memory of all processes.
    pub(crate) fn sample_memory(&self) {
        self.all().iter().for_each(|process| process.sample_memory());
    }

    /// The peak memory of all processes together, in MiB, rounded up. `None` if the system does not
    /// report it.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let peaks: Vec<_> = self.all().iter().filter_map(|it| it.peak_memory()).collect();
        (!peaks.is_empty()).then(|| peaks.iter().sum::<u64>().div_ceil(1024))
    }

    /// Whether the peak memory is above this limit, in MiB, for the first time.
    pub(crate) fn has_passed(&self, limit: u32) -> bool {
        let measured: u64 = self.all().iter().map(|it| it.measured_memory()).sum();
        measured > u64::from(limit) * 1024 && !self.has_passed.swap(true, Relaxed)
    }

    fn all(&self) -> Vec<Arc<Process>> {
        let members = self.lock();
        let extensions = members.extensions.iter().map(|it| Arc::clone(&it.process));
        members.runtime.iter().cloned().chain(extensions).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
