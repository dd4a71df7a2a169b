//! A client under the service, and the end of it.

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
use crate::service::{PATIENCE, Service};

/// Where service and client run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) service: usize,
    pub(crate) client: usize,
}

impl Cores {
    /// Those that this process may use.
    pub(crate) fn allowed() -> Result<Vec<usize>> {
        let set = sched_getaffinity(None).during("the cores cannot be asked for")?;
        Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
    }
}

/// A client that waits for events, killed and reaped when it is dropped.
pub(crate) struct Running {
    pub(crate) service: Service,
    child: Child,
    /// What it has said.
    errors: File,
    can_block: bool,
}

impl Running {
    /// Starts it, behind the words of a command such as `strace -o FILE` if there are any, and waits until all
    /// its slots wait for an event.
    pub(crate) fn start(
        client: &Client,
        body: usize,
        cores: Cores,
        before: &[&str],
    ) -> Result<Self> {
        let ours = std::env::current_exe().during("this program does not know where it is")?;
        let mut command = Command::new(ours);
        command.arg(BECOME).args(before).arg(&client.program);
        let mut this = Self::spawn(command, client, body, cores)?;
        this.under_watch(|service| service.wait_for_slots(client.slots))?;
        Ok(this)
    }

    /// The time from the start of a client to its first `next`.
    pub(crate) fn time_start(client: &Client, cores: Cores) -> Result<Duration> {
        // By itself: becoming it takes longer than what is measured here.
        let command = Command::new(&client.program);
        let began = Instant::now();
        let mut this = Self::spawn(command, client, 128, cores)?;
        this.under_watch(|service| service.wait_for_slots(client.slots).map(|()| began.elapsed()))
    }

    /// Starts it by a command that lacks its arguments and variables.
    fn spawn(mut command: Command, client: &Client, body: usize, cores: Cores) -> Result<Self> {
        let service = Service::start(body)?;
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
            .stderr(errors.try_clone().during("no file for what the client says")?);
        // As for ordinary functions, for which `lambda_runtime` would warn of it.
        command.env_remove("AWS_LAMBDA_MAX_CONCURRENCY");
        if client.slots > 1 {
            command.env("AWS_LAMBDA_MAX_CONCURRENCY", client.slots.to_string());
        }
        // A process starts on the cores of the thread that starts it.
        pin(cores.client)?;
        let child = command.spawn();
        pin(cores.service)?;
        let child = child.during(&format!("cannot start {}", client.program.display()))?;
        let can_block = client.slots == 1 && client.kind.keeps_its_connection();
        Ok(Self { service, child, errors, can_block })
    }

    /// See [`Service::become_fast`]; only where it can be.
    pub(crate) fn become_fast(&mut self, may_block: bool) -> Result<()> {
        self.service.become_fast(may_block && self.can_block)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives so many events; see [`Service::serve`].
    pub(crate) fn serve(&mut self, invocations: usize) -> Result<Duration> {
        self.under_watch(|service| service.serve(invocations))
    }

    /// Does something with the service that blocks for as long as the client likes: a client that likes too
    /// long is killed, which the service sees.
    fn under_watch<T>(&mut self, act: impl FnOnce(&mut Service) -> Result<T>) -> Result<T> {
        let watch = Watch::start(self.child.id());
        let result = act(&mut self.service);
        let was_killed = watch.end();
        result.map_err(|error| {
            let mut said = vec![0; 64 * 1024];
            let length = self.errors.read_at(&mut said, 0).unwrap_or_default();
            let said = String::from_utf8_lossy(&said[..length]);
            let said =
                said.lines().last().map_or_else(String::new, |line| format!("; it says: {line}"));
            let killed = if was_killed { " (it was killed as it took too long)" } else { "" };
            Error::new(format!("{error}{killed}{said}"))
        })
    }

    /// Ends what `strace` traces, so that this writes what it has counted and ends too.
    pub(crate) fn end_traced(self) -> Result<()> {
        let traced = proc::child_of(self.child.id());
        self.end_process(traced.ok_or_else(|| Error::new("strace has no child to end"))?)
    }

    /// Ends the client as Lambda does, so that a tool that it runs under writes what it has counted.
    pub(crate) fn end(self) -> Result<()> {
        let pid = self.child.id();
        self.end_process(pid)
    }

    fn end_process(mut self, pid: u32) -> Result<()> {
        kill(pid, Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.child.try_wait().during("the client cannot be waited for")?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        // A child of `strace` would go on without it.
        kill(pid, Signal::KILL);
        Err(Error::new(format!("process {pid} does not end on SIGTERM")))
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

/// The first argument of this program when it shall become a client.
pub(crate) const BECOME: &str = "become";

/// Becomes the program of these words, so that nothing of this one is left but that the new one is killed when
/// the thread that has started it ends, however that ends.
pub(crate) fn become_client(words: &[OsString]) -> Error {
    let Some((program, arguments)) = words.split_first() else {
        return Error::new(format!("\"{BECOME}\" is for this program itself"));
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Error::new(format!("a client cannot be bound to its parent: {error}"));
    }
    let error = Command::new(program).args(arguments).exec();
    Error::new(format!("cannot start {}: {error}", program.display()))
}

/// A file that is gone when nobody has it open.
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

/// A connection of each of 1,024 slots at both ends is more than the 1,024 files that many systems allow at
/// first. What is started has the same limit.
pub(crate) fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused the run fails for want of files, and says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Keeps this thread, and what it starts, on this core.
fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
        .map_err(|error| Error::new(format!("core {core} cannot be used: {error}; see --cores")))
}

/// Kills a process that has not done what it shall in time. The process must not be reaped before the end.
struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watch {
    /// Under valgrind, with the largest events and on a machine with much else to do.
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

    /// Whether it had to kill.
    fn end(self) -> bool {
        drop(self.stop);
        self.thread.join().unwrap_or(false)
    }
}
