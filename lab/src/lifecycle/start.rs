//! Starts the processes of an environment.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Lifecycle;
use super::processes::{ExtensionProcess, Processes};
use crate::answer::{FailureKind, FunctionFailure};
use crate::output::Writer;
use crate::process::{Orphans, Process, obstacle};
use crate::refusal::MAX_EXTENSIONS;
use crate::settings::extension_name;
use crate::watch::{BUILD_PATIENCE, PAUSE};

/// Why there is no process for an invocation.
#[derive(Clone, Debug)]
pub(crate) enum StartFailure {
    Stopped,
    Failed(FunctionFailure),
}

/// The runtime or an extension cannot be started.
#[derive(Clone, Debug)]
pub(crate) struct LaunchError {
    error_type: &'static str,
    reason: String,
}

impl LaunchError {
    /// The program of the function cannot be started.
    pub(crate) fn of_runtime(reason: &str) -> Self {
        Self { error_type: "Runtime.InvalidEntrypoint", reason: reason.to_owned() }
    }

    /// Source: emulator, `fatalerror/fatalerror.go`.
    fn of_extension(reason: &str) -> Self {
        Self { error_type: "Extension.LaunchError", reason: reason.to_owned() }
    }

    /// The failure for the caller; `id` is empty without an invocation.
    pub(crate) fn failure(&self, id: &str) -> FunctionFailure {
        let reason = match id {
            "" => self.reason.clone(),
            id => format!("RequestId: {id} Error: {}", self.reason),
        };
        FunctionFailure::of_service(id, FailureKind::Exit, self.error_type, &reason)
    }
}

/// What is started.
#[derive(Clone, Copy, Debug)]
enum What<'a> {
    Runtime,
    Extension(&'a Path),
}

/// How long a program is waited for that is still not being executed when the lab stops.
const START_PATIENCE: Duration = Duration::from_secs(2);

impl Lifecycle {
    /// Starts the external extensions and the runtime. Earlier processes must have been
    /// [ended](Self::end). With external extensions, the runtime is started later, when all of them
    /// have registered.
    ///
    /// Returns also when the start began that succeeded or failed. If it failed, some extensions
    /// may run, and have to be [ended](Self::end).
    pub(crate) async fn start(self: &Arc<Self>) -> (Instant, Result<Arc<Processes>, LaunchError>) {
        self.outputs.close();
        let processes = Arc::new(Processes::default());
        // If the lab stops, it ends these processes, too.
        *self.lock() = Some(Arc::clone(&processes));
        let extensions = &self.settings.extensions;
        if extensions.len() > MAX_EXTENSIONS {
            // The text is that of the emulator, `rapid/handlers.go`.
            return (Instant::now(), Err(LaunchError::of_extension("ErrTooManyExtensions")));
        }
        let mut began = None;
        for file in extensions {
            let (at, started) = self.start_when_written(&processes, What::Extension(file)).await;
            match started {
                Ok(process) => {
                    began.get_or_insert(at);
                    let (name, process) = (extension_name(file).into(), Arc::new(process));
                    processes.add_extension(ExtensionProcess { name, process });
                }
                Err(error) => {
                    self.broker.cannot_launch(&extension_name(file));
                    return (at, Err(LaunchError::of_extension(&error.to_string())));
                }
            }
        }
        if let Some(began) = began {
            let task = Arc::clone(self).start_runtime(Arc::clone(&processes));
            processes.start_runtime_in(tokio::spawn(task));
            return (began, Ok(processes));
        }
        let (began, started) = self.start_when_written(&processes, What::Runtime).await;
        match started {
            Ok(process) => {
                processes.add_runtime(Ok(process));
                (began, Ok(processes))
            }
            Err(error) => (began, Err(LaunchError::of_runtime(&error.to_string()))),
        }
    }

    /// Starts the runtime when all external extensions have registered, unless the processes are
    /// ended before.
    async fn start_runtime(self: Arc<Self>, processes: Arc<Processes>) {
        tokio::select! {
            biased;
            () = processes.ending() => return,
            () = self.broker.registered() => {}
        }
        let started = self.start_when_written(&processes, What::Runtime).await.1;
        processes.add_runtime(started.map_err(|error| LaunchError::of_runtime(&error.to_string())));
    }

    /// Starts a process as soon as its file is not open for writing, as by linkers and copies. This
    /// is waited for, 10 s at most.
    ///
    /// Returns also when the start began that succeeded or failed.
    async fn start_when_written(
        &self,
        processes: &Processes,
        what: What<'_>,
    ) -> (Instant, io::Result<Process>) {
        let first = Instant::now();
        loop {
            let began = Instant::now();
            match self.start_now(what).await {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy
                        && first.elapsed() < BUILD_PATIENCE
                        && !self.is_stopping()
                        && !processes.is_ending() =>
                {
                    sleep(PAUSE).await;
                }
                started => return (began, started),
            }
        }
    }

    /// Starts a process.
    ///
    /// If the program is still not being executed a moment after the lab has begun to stop, it is
    /// left to itself, and killed when it is.
    async fn start_now(&self, what: What<'_>) -> io::Result<Process> {
        let stopped = || io::Error::other("the lab has been stopped");
        if self.is_stopping() {
            return Err(stopped());
        }
        let (settings, runtime_api) = (&self.settings, self.place.runtime_api);
        let launch = self.place.launch(settings)?;
        let (file, mut command, writer, orphans) = match what {
            What::Runtime => {
                let command = settings.command(&launch, runtime_api);
                (launch.file.as_path(), command, Writer::Function, Orphans::Measured)
            }
            What::Extension(file) => {
                let command = settings.extension_command(file, &launch, runtime_api);
                let writer = Writer::Extension(extension_name(file).into());
                (file, command, writer, Orphans::LeftOut)
            }
        };
        let log = settings.log.clone();
        let started = match self.outputs.connect(&mut command, &writer) {
            Err(error) => Err(error),
            Ok(readings) => {
                // On another thread, as it takes long if the file system is slow.
                let starting = spawn_blocking(move || Process::start(&mut command, orphans, &log));
                let hurry = async {
                    self.stopping().await;
                    sleep(START_PATIENCE).await;
                };
                let started = tokio::select! {
                    biased;
                    started = starting => started.unwrap_or_else(|error| Err(error.into())),
                    () = hurry => return Err(stopped()),
                };
                if started.is_ok() {
                    self.outputs.add(readings);
                }
                started
            }
        };
        started.map_err(|error| {
            let reason = obstacle::explain(file.as_os_str(), settings.path(), &error);
            let file = file.display();
            io::Error::new(
                error.kind(),
                match what {
                    What::Runtime => format!("cannot start {file}: {reason}"),
                    What::Extension(_) => format!("cannot start the extension {file}: {reason}"),
                },
            )
        })
    }
}
