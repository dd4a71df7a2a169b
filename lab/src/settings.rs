use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::log::{Log, LogFormat, LogLevel, VERSION};
use crate::place::Launch;
use crate::region;

/// Where the output of a runtime's process goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Its standard output goes to this program's standard output, its standard error to this
    /// program's standard error.
    Inherited,
    /// Both go to the standard error of this program.
    Stderr,
    /// It is discarded, and so are the lab's own lines. A caller can still have the tail of the
    /// log.
    Discarded,
}

/// The settings of a function, for all its environments.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `None` for an external runtime, which the lab does not start.
    pub(crate) program: Option<OsString>,
    pub(crate) arguments: Vec<OsString>,
    /// The files of the external extensions, as absolute paths once the function is started.
    pub(crate) extensions: Vec<PathBuf>,
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Whether the function sees none of this program's variables but `PATH`.
    pub(crate) is_env_clean: bool,
    /// The folder with the function's code; `None` for that of the program.
    pub(crate) task_root: Option<PathBuf>,
    /// Whether a program that has been built again is started for the next invocation.
    pub(crate) is_watched: bool,
    pub(crate) listen: SocketAddr,
    /// Normalised by [`browser::origin`](crate::browser::origin).
    pub(crate) allowed_origins: Vec<String>,
    /// Where the first environment's Runtime API listens. All others have free ports.
    pub(crate) runtime_api: SocketAddr,
    pub(crate) timeout: Duration,
    pub(crate) init_timeout: Option<Duration>,
    pub(crate) shutdown_timeout: Option<Duration>,
    pub(crate) snapstart: Option<SnapStart>,
    /// The time that each freeze adds to the clock; `None` without freezing.
    pub(crate) freeze: Option<Duration>,
    pub(crate) memory: u32,
    /// The ephemeral storage in MB, if it was set.
    pub(crate) storage: Option<u32>,
    pub(crate) name: String,
    pub(crate) handler: String,
    /// Set by [`Function::start`](crate::Function::start), from the variables.
    pub(crate) region: String,
    pub(crate) environments: usize,
    /// How many invocations an environment of managed instances takes at a time; `None` on demand.
    pub(crate) concurrency: Option<usize>,
    pub(crate) log_level: Option<LogLevel>,
    pub(crate) log_format: Option<LogFormat>,
    /// Whether extensions may subscribe to telemetry and logs.
    pub(crate) has_telemetry: bool,
    pub(crate) output: Output,
    pub(crate) log: Log,
}

/// How a function is restored from its snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapStart {
    /// The minimum time between snapshot and restore.
    pub(crate) pause: Duration,
    /// How long a restore may take, including the function's hooks.
    pub(crate) restore_timeout: Duration,
}

/// Source: Lambda Developer Guide, "Implement Lambda SnapStart hooks".
impl Default for SnapStart {
    fn default() -> Self {
        Self { pause: Duration::ZERO, restore_timeout: Duration::from_secs(10) }
    }
}

/// The account of every function.
///
/// Source: emulator, `rie/handlers.go`.
pub(crate) const ACCOUNT: &str = "012345678912";

impl Settings {
    /// How long init may take.
    ///
    /// Source: Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
    pub(crate) fn init_timeout(&self) -> Duration {
        self.init_timeout.unwrap_or(match self.initialization_type() {
            "on-demand" => Duration::from_secs(10),
            _ => self.timeout.clamp(Duration::from_secs(130), Duration::from_secs(900)),
        })
    }

    /// How long a shutdown may take with an extension: with internal ones only, from SIGTERM to
    /// SIGKILL; with external ones, until those are killed.
    ///
    /// Source: Lambda Developer Guide, "Using the Lambda Extensions API to create extensions";
    /// emulator, `lambda-managed-instances/rapid/shutdown.go`, for managed instances.
    pub(crate) fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout.unwrap_or(match self.concurrency {
            _ if !self.extensions.is_empty() => Duration::from_secs(2),
            None => Duration::from_millis(500),
            Some(_) => Duration::from_millis(600),
        })
    }

    /// How much of a shutdown the runtime may take, from SIGTERM to SIGKILL: with external
    /// extensions 300 ms of 2 s, or 500 ms if there is an internal one, too; 600 ms for managed
    /// instances. If the shutdown has another length, the shares are the same.
    ///
    /// The sources differ on demand: the emulator, `rapid/shutdown.go`, gives the runtime 30 %, and
    /// so 600 ms. This follows the Lambda Developer Guide, "Understanding the Lambda execution
    /// environment lifecycle", which describes the service itself.
    pub(crate) fn shutdown_timeout_of_runtime(&self, has_internal_extension: bool) -> Duration {
        let whole = self.shutdown_timeout();
        match (self.concurrency, has_internal_extension) {
            _ if self.extensions.is_empty() => whole,
            (Some(_), _) => whole * 3 / 10,
            (None, true) => whole / 4,
            (None, false) => whole * 3 / 20,
        }
    }

    /// The names of the external extensions: those of their files.
    pub(crate) fn extension_names(&self) -> Vec<String> {
        self.extensions.iter().map(|file| extension_name(file)).collect()
    }

    /// What kind of environment it is.
    ///
    /// Source: Lambda Developer Guide, "Using Lambda environment variables".
    pub(crate) fn initialization_type(&self) -> &'static str {
        match (self.concurrency, self.snapstart) {
            (None, None) => "on-demand",
            (None, Some(_)) => "snap-start",
            (Some(_), _) => "lambda-managed-instances",
        }
    }

    /// The name of the log stream. A snapshot has none, as it is restored many times, with a log
    /// stream each.
    pub(crate) fn log_stream(&self) -> Option<&'static str> {
        self.snapstart.is_none().then_some(VERSION)
    }

    /// Whether the function logs JSON, as the functions of managed instances always do.
    pub(crate) fn logs_json(&self) -> bool {
        self.concurrency.is_some() || self.log_format == Some(LogFormat::Json)
    }

    /// The `PATH` of the function, if it is not the one of this program.
    pub(crate) fn path(&self) -> Option<&OsStr> {
        let is_path = |(name, _): &&(OsString, OsString)| name == "PATH";
        self.variables.iter().rev().find(is_path).map(|(_, value)| value.as_os_str())
    }

    /// The ARN of the function.
    pub(crate) fn arn(&self) -> String {
        let (region, name) = (&self.region, &self.name);
        let partition = region::partition(region);
        format!("arn:{partition}:lambda:{region}:{ACCOUNT}:function:{name}")
    }

    /// The command that starts a runtime with the Runtime API at this address.
    pub(crate) fn command(&self, launch: &Launch, runtime_api: SocketAddr) -> Command {
        let mut command = Command::new(&launch.file);
        command.args(&self.arguments);
        command.env_clear().envs(self.variables_of(launch, runtime_api));
        if let Some(folder) = &launch.working_folder {
            command.current_dir(folder);
        }
        command
    }

    /// The command that starts an external extension.
    ///
    /// Source: emulator, `rapid/handlers.go`: it has no arguments, and the working folder of the
    /// service.
    pub(crate) fn extension_command(
        &self,
        file: &Path,
        launch: &Launch,
        runtime_api: SocketAddr,
    ) -> Command {
        let mut command = Command::new(file);
        command.env_clear().envs(self.variables_of_extension(launch, runtime_api));
        command
    }
}

/// The name of an external extension: that of its file.
///
/// Source: Lambda Developer Guide, "Using the Lambda Extensions API to create extensions".
pub(crate) fn extension_name(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}
