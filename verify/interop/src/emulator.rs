use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lambda_conformance::service::Port;

use crate::processes::Process;
use crate::proxy::CountingProxy;
use crate::{Answer, Caller, Error, Result, fetch};

/// A program to run as a function.
#[derive(Clone, Debug)]
pub struct Function {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    timeout: u32,
    is_counted: bool,
    opt: Option<PathBuf>,
}

/// AWS's emulator with one function, on loopback. Dropping it ends it and all its processes.
#[derive(Debug)]
pub struct Emulator {
    caller: Caller,
    address: SocketAddr,
    runtime_api: SocketAddr,
    proxy: Option<CountingProxy>,
    // Declared before the folder that it runs in, so that it is dropped first.
    process: Process,
    _folder: Option<Folder>,
    /// Claimed as long as the emulator may listen there.
    _ports: [Port; 2],
}

/// For callers, and for the Runtime API.
fn ports() -> Result<[Port; 2]> {
    Ok([Port::claim().map_err(Error::new)?, Port::claim().map_err(Error::new)?])
}

/// A folder that is removed on drop.
#[derive(Debug)]
struct Folder(PathBuf);

/// How long an emulator may take to listen.
const START: Duration = Duration::from_secs(20);

/// Replaces the address of the Runtime API by the proxy's and starts the function.
const THROUGH_PROXY: &str = "export AWS_LAMBDA_RUNTIME_API=127.0.0.1:$0; exec \"$@\"";

/// Mounts folders, and goes into one: that, then each folder and its place, `--`, and the command.
const WITH_FOLDERS: &str = "\
while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" || exit; shift 2; done; \
shift; cd \"$0\" && exec \"$@\"";

impl Function {
    /// A function that is this program, with a timeout of 20 s.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            timeout: 20,
            is_counted: false,
            opt: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets the timeout.
    #[must_use]
    pub fn timeout_seconds(mut self, seconds: u32) -> Self {
        self.timeout = seconds;
        self
    }

    /// Counts the function's [connections](Emulator::connections).
    #[must_use]
    pub fn count_connections(mut self) -> Self {
        self.is_counted = true;
        self
    }

    /// Sets the folder that the emulator sees as `/opt`, in a mount namespace that only the
    /// emulator has; this needs root. The programs in its folder `extensions` are external
    /// extensions.
    #[must_use]
    pub fn opt(mut self, folder: impl Into<PathBuf>) -> Self {
        self.opt = Some(folder.into());
        self
    }

    /// Starts the emulator in its on-demand mode. The function itself starts with the first
    /// invocation.
    ///
    /// # Errors
    ///
    /// An [`Error`] that says what is missing, with the emulator's output.
    pub fn start(&self) -> Result<Emulator> {
        self.check()?;
        let emulator = fetch::emulator()?;
        let ports = ports()?;
        let proxy = self.is_counted.then(|| CountingProxy::start(ports[1].number())).transpose()?;
        let mut command = self.command(&emulator, &ports);
        if self.opt.is_some() {
            command = self.with_folders(&command, ".", &[])?;
        }
        if let Some(proxy) = &proxy {
            command.args(["/bin/sh", "-c", THROUGH_PROXY]).arg(proxy.port().to_string());
        }
        command.arg(&self.program).args(&self.arguments);
        Emulator::start(&mut command, ports, proxy, None)
    }

    /// Starts the emulator in its multi-concurrency mode (managed instances), with this many slots.
    ///
    /// In this mode the emulator runs a bootstrap without arguments, only from `/var/task`, and
    /// under another user. So the function is put there in a mount namespace that only the emulator
    /// has, and this needs root.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_concurrent(&self, slots: u32) -> Result<Emulator> {
        self.check()?;
        let emulator = fetch::emulator()?;
        let folder = Folder(fetch::new_folder("var")?);
        let task = folder.0.join("task");
        // Hard links instead of copies: a file that this process has just written cannot be
        // executed if another thread forked while it was open.
        fs::create_dir(&task)
            .and_then(|()| fs::hard_link(&self.program, task.join("bootstrap")))
            .and_then(|()| fs::hard_link(&emulator, task.join("emulator")))
            .map_err(|error| Error::new(format!("cannot link to {}: {error}", task.display())))?;

        let ports = ports()?;
        let inner = self.command(Path::new("/var/task/emulator"), &ports);
        let mut command = self.with_folders(&inner, "/var/task", &[(&folder.0, "/var")])?;
        command.env("AWS_LAMBDA_MAX_CONCURRENCY", slots.to_string());
        Emulator::start(&mut command, ports, None, Some(folder))
    }

    fn check(&self) -> Result<()> {
        if self.program.is_absolute() && self.program.is_file() {
            return Ok(());
        }
        let program = self.program.display();
        Err(Error::new(format!("{program} is not the absolute path of a program: build it first")))
    }

    /// The same command in this folder, in a mount namespace that only it has, with these folders at
    /// these places. Nothing remains of it.
    fn with_folders(
        &self,
        inner: &Command,
        at: &str,
        folders: &[(&Path, &str)],
    ) -> Result<Command> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::new(
                "the emulator gets folders of its own (unshare, mount), and in its multi-concurrency \
                 mode starts the function as another user (setgroups), which only root may do: run \
                 this test as root, best in a container, with util-linux and CAP_SYS_ADMIN",
            ));
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "/bin/sh", "-c", WITH_FOLDERS, at]);
        let opt = self.opt.as_deref().map(|folder| (folder, "/opt"));
        for (folder, place) in folders.iter().copied().chain(opt) {
            command.arg(folder).arg(place);
        }
        command.arg("--").arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Ok(command)
    }

    /// Always passes both addresses: without them the emulator listens on all interfaces.
    fn command(&self, emulator: &Path, [invoke, api]: &[Port; 2]) -> Command {
        let mut command = Command::new(emulator);
        command.args(["--log-level", "error"]);
        command.arg("--runtime-interface-emulator-address").arg(invoke.address().to_string());
        command.arg("--runtime-api-address").arg(api.address().to_string());
        clean(&mut command);
        command.envs(self.environment.iter().cloned());
        command.env("AWS_LAMBDA_FUNCTION_TIMEOUT", self.timeout.to_string());
        command
    }
}

/// Removes this process's `AWS_` variables: the emulator reads its settings from the environment
/// and passes it on to the function.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
    }
}

impl Emulator {
    fn start(
        command: &mut Command,
        ports: [Port; 2],
        proxy: Option<CountingProxy>,
        folder: Option<Folder>,
    ) -> Result<Self> {
        let [address, runtime_api] = ports.each_ref().map(Port::address);
        let mut process = Process::start(command)?;
        let began = Instant::now();
        // It listens for callers first, and loses an invocation that arrives before its Runtime API
        // listens.
        while [address, runtime_api].iter().any(|it| TcpStream::connect(it).is_err()) {
            if let Some(status) = process.exit_status() {
                let output = process.output();
                return Err(Error::new(format!(
                    "the emulator ended while starting ({status}); its output:\n{output}"
                )));
            }
            if began.elapsed() > START {
                let output = process.output();
                return Err(Error::new(format!(
                    "the emulator does not listen on {address} and {runtime_api}; its output:\n{output}"
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
        let caller =
            Caller::new(format!("http://{address}/2015-03-31/functions/function/invocations"));
        Ok(Self { caller, address, runtime_api, proxy, process, _folder: folder, _ports: ports })
    }

    /// Invokes the function and waits for its answer, 30 s at most.
    ///
    /// It takes `&mut self` because in its on-demand mode two concurrent callers crash the
    /// emulator.
    ///
    /// # Errors
    ///
    /// An [`Error`] with the emulator's output if there is no answer.
    pub fn invoke(&mut self, event: impl AsRef<[u8]>) -> Result<Answer> {
        let answer = self.caller.invoke(event.as_ref());
        answer.map_err(|error| {
            Error::new(format!("{error}; the emulator's output:\n{}", self.output()))
        })
    }

    /// Another caller, for concurrent invocations.
    pub fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// The address on which the emulator listens for callers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the Runtime API.
    pub fn runtime_api(&self) -> SocketAddr {
        self.runtime_api
    }

    /// How many times the function has connected.
    ///
    /// # Panics
    ///
    /// If the function was not started with [`Function::count_connections`].
    pub fn connections(&self) -> usize {
        self.proxy.as_ref().expect("count_connections was not asked for").connections()
    }

    /// The output of the emulator and the function so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Sends SIGTERM to the emulator, which may have ended.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until the emulator or the function has written this text, 20 s at most.
    ///
    /// # Errors
    ///
    /// An [`Error`] with the output if it does not.
    pub fn wait_for_output(&self, text: &str) -> Result<()> {
        self.process.wait_for_output(text)
    }

    /// The process ids of the emulator and the function.
    pub fn family(&self) -> Vec<i32> {
        self.process.family()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.0);
    }
}
