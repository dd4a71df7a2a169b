//! Starts a client under the service, and ends it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getrlimit, kill_process, set_parent_process_death_signal,
    setrlimit,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::clients::Client;
use crate::error::{During, Error, Result};
use crate::proc;
use crate::service::{Exchange, PATIENCE, Service};

/// The cores of service and client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) service: usize,
    pub(crate) client: usize,
}

impl Cores {
    /// The cores that this process may use.
    pub(crate) fn allowed() -> Result<Vec<usize>> {
        let set = sched_getaffinity(None).during("cannot get the cores of this process")?;
        Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
    }
}

/// A client that waits for events. It is killed and reaped on drop.
pub(crate) struct Running {
    pub(crate) service: Service,
    child: Child,
    /// The standard error of the client.
    errors: File,
    can_block: bool,
}

impl Running {
    /// Starts the client, and waits until all its slots wait for an event, which has `body` bytes
    /// unless it is an HTTP request. `before` is a command that runs the client, such as
    /// `strace -o FILE`, or empty.
    pub(crate) fn start(
        client: &Client,
        body: usize,
        cores: Cores,
        before: &[&str],
    ) -> Result<Self> {
        let ours = std::env::current_exe().during("cannot find this program's own path")?;
        let mut command = Command::new(ours);
        command.arg(BECOME).args(before).arg(&client.program);
        let mut this = Self::spawn(command, client, body, cores)?;
        this.under_watch(|service| service.wait_for_slots(client.slots))?;
        Ok(this)
    }

    /// The time from the start of a client to its first `next`.
    pub(crate) fn time_start(client: &Client, cores: Cores) -> Result<Duration> {
        // Started directly: the detour through `become_client` takes longer than the measured time.
        let command = Command::new(&client.program);
        let began = Instant::now();
        let mut this = Self::spawn(command, client, 128, cores)?;
        this.under_watch(|service| service.wait_for_slots(client.slots).map(|()| began.elapsed()))
    }

    /// Starts the client with a command to which its arguments and variables are added.
    fn spawn(mut command: Command, client: &Client, body: usize, cores: Cores) -> Result<Self> {
        let exchange = if client.kind.is_http() { Exchange::Http } else { Exchange::Echo(body) };
        let service = Service::start(exchange)?;
        let errors = nameless_file()?;
        command
            .args(&client.arguments)
            .env("AWS_LAMBDA_RUNTIME_API", service.address()?.to_string())
            // `lambda_runtime` and awslambdaric do not start without these.
            .env("AWS_LAMBDA_FUNCTION_NAME", "echo")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/echo")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "benches")
            .env("AWS_REGION", "us-east-1")
            .env("_HANDLER", "echo.handler")
            .env("LAMBDA_TASK_ROOT", ".")
            .env_remove("AWS_LAMBDA_LOG_FORMAT")
            .envs(client.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.try_clone().during("no file for the client's standard error")?);
        // Not set for one slot, as for ordinary functions; `lambda_runtime` would log a warning.
        command.env_remove("AWS_LAMBDA_MAX_CONCURRENCY");
        if client.slots > 1 {
            command.env("AWS_LAMBDA_MAX_CONCURRENCY", client.slots.to_string());
        }
        // A process inherits the cores of the thread that starts it.
        pin(cores.client)?;
        let child = command.spawn();
        pin(cores.service)?;
        let child = child.during(&format!("cannot start {}", client.program.display()))?;
        let can_block = client.slots == 1 && client.kind.keeps_its_connection();
        Ok(Self { service, child, errors, can_block })
    }

    /// See [`Service::become_fast`]; blocking only if the client allows it.
    pub(crate) fn become_fast(&mut self, may_block: bool) -> Result<()> {
        self.service.become_fast(may_block && self.can_block)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Serves this many events; see [`Service::serve`].
    pub(crate) fn serve(&mut self, invocations: usize) -> Result<Duration> {
        self.under_watch(|service| service.serve(invocations))
    }

    /// Runs a blocking call of the service. If the client takes too long, it is killed, so that the
    /// call fails.
    fn under_watch<T>(&mut self, act: impl FnOnce(&mut Service) -> Result<T>) -> Result<T> {
        let watch = Watch::start(self.child.id());
        let result = act(&mut self.service);
        let was_killed = watch.end();
        result.map_err(|error| {
            let mut said = vec![0; 64 * 1024];
            let length = self.errors.read_at(&mut said, 0).unwrap_or_default();
            let said = String::from_utf8_lossy(&said[..length]);
            let said = said
                .lines()
                .last()
                .map_or_else(String::new, |line| format!("; its output: {line}"));
            let killed = if was_killed { " (killed because it took too long)" } else { "" };
            Error::new(format!("{error}{killed}{said}"))
        })
    }

    /// Ends the program under `strace`, so that `strace` writes its counts and ends, too.
    pub(crate) fn end_traced(self) -> Result<()> {
        let traced = proc::child_of(self.child.id());
        self.end_process(traced.ok_or_else(|| Error::new("strace has no child to end"))?)
    }

    /// Ends the client with SIGTERM, as Lambda does, so that a tool around it writes its counts.
    pub(crate) fn end(self) -> Result<()> {
        let pid = self.child.id();
        self.end_process(pid)
    }

    fn end_process(mut self, pid: u32) -> Result<()> {
        kill(pid, Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.child.try_wait().during("cannot wait for the client")?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        // A program under `strace` would outlive it.
        kill(pid, Signal::KILL);
        Err(Error::new(format!("process {pid} did not end on SIGTERM")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let traced = proc::child_of(self.child.id());
        let _has_ended = self.child.kill();
        let _has_ended = self.child.wait();
        if let Some(traced) = traced {
            kill(traced, Signal::KILL);
        }
    }
}

/// The first argument with which this program turns into a client.
pub(crate) const BECOME: &str = "become";

/// Replaces this process by the given command, and binds it to its parent: it is killed when the
/// thread that started it ends for any reason.
pub(crate) fn become_client(words: &[OsString]) -> Error {
    let Some((program, arguments)) = words.split_first() else {
        return Error::new(format!("\"{BECOME}\" is for internal use only; see --help"));
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Error::new(format!("cannot bind a client to its parent: {error}"));
    }
    let error = Command::new(program).args(arguments).exec();
    Error::new(format!("cannot start {}: {error}", program.display()))
}

/// An unlinked temporary file, which exists only while it is open.
fn nameless_file() -> Result<File> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("lambda-benches-{}-{number}.log", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.during(&format!("cannot write {}", path.display()))?;
    fs::remove_file(&path).during(&format!("cannot remove {}", path.display()))?;
    Ok(file)
}

fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _has_ended = kill_process(pid, signal);
    }
}

/// Raises the limit of open files, which is 1,024 by default on many systems, for 1,024
/// connections. Child processes inherit it.
pub(crate) fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If the system refuses, the run fails with an error about open files.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Binds this thread, and the processes that it starts, to this core.
fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
        .map_err(|error| Error::new(format!("cannot use core {core}: {error}; see --cores")))
}

/// Kills a process unless it is stopped in time. The process must not be reaped before `end`.
struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watch {
    /// Enough under valgrind, with the largest events and on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(180);

    fn start(pid: u32) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let is_late = stopped.recv_timeout(Self::PATIENCE) == Err(RecvTimeoutError::Timeout);
            if is_late {
                kill(pid, Signal::KILL);
            }
            is_late
        });
        Self { stop, thread }
    }

    /// Stops the watch; returns whether it killed the process.
    fn end(self) -> bool {
        drop(self.stop);
        self.thread.join().unwrap_or(false)
    }
}
