//! A function and its settings.

mod check;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{PathBuf, absolute};
use std::time::Duration;

use crate::browser;
use crate::lab::{Lab, StartError};
use crate::log::{Log, LogFormat, LogLevel};
use crate::region;
use crate::settings::{Output, Settings};

/// A function and the settings with which a [`Lab`] runs it.
#[derive(Clone, Debug)]
pub struct Function {
    settings: Settings,
}

/// The default memory size in MB. Source: emulator, `rie/handlers.go`.
pub(crate) const DEFAULT_MEMORY: u32 = 3008;

impl Function {
    /// A function whose bootstrap is this program: a path, or a name that is looked up in `PATH`.
    /// It must exist when the lab [starts](Self::start).
    ///
    /// A folder, or a zip archive (feature `zip`), is a task root as it is deployed to Lambda. Each
    /// environment unpacks the archive for itself, and starts `bootstrap` in the task root.
    ///
    /// The defaults are those of AWS's emulator: a timeout of 300 s, 3,008 MB, the name
    /// `test_function`, and one environment. Init has 10 s, as on Lambda.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self::with(Some(program.into()))
    }

    /// A function whose runtime you start yourself, in a debugger or on a thread of this program,
    /// with [`Lab::runtime_api`] as `AWS_LAMBDA_RUNTIME_API`.
    ///
    /// A timeout ends the invocation but not the runtime. If the runtime ends while it waits for an
    /// event, an invocation that it had got fails, and another runtime may be started. If it ends
    /// in its handler, the lab does not notice that; another runtime gets the same event.
    ///
    /// This lets a test call its handler through the Runtime API, within one process:
    ///
    /// ```
    /// use lambda_lab::Function;
    /// use lambda_proto_std::{Endpoint, Failure, Invocation, Responder, Runtime, Sent};
    ///
    /// fn shout<'i>(event: Invocation<'i>, responder: Responder<'i>) -> Result<Sent<'i>, Failure> {
    ///     Ok(responder.send(std::str::from_utf8(event.body())?.to_uppercase()))
    /// }
    ///
    /// let lab = Function::external().start()?;
    /// let runtime = Runtime::new(Endpoint::parse(&lab.runtime_api())?);
    /// let stop = runtime.stop_handle();
    /// let running = std::thread::spawn(|| runtime.run(shout));
    /// assert_eq!(lab.invoke("hello")?.text(), "HELLO");
    ///
    /// // A failure of the handler is an error of `invoke`.
    /// let failure = lab.invoke(b"\xff".to_vec()).unwrap_err();
    /// assert!(failure.to_string().contains("invalid utf-8"), "{failure}");
    ///
    /// stop.stop();
    /// running.join().expect("it does not panic")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn external() -> Self {
        Self::with(None)
    }

    fn with(program: Option<OsString>) -> Self {
        Self {
            settings: Settings {
                program,
                arguments: Vec::new(),
                extensions: Vec::new(),
                variables: Vec::new(),
                is_env_clean: false,
                task_root: None,
                is_watched: false,
                listen: (Ipv4Addr::LOCALHOST, 0).into(),
                allowed_origins: Vec::new(),
                runtime_api: (Ipv4Addr::LOCALHOST, 0).into(),
                timeout: Duration::from_secs(300),
                init_timeout: None,
                shutdown_timeout: None,
                snapstart: None,
                freeze: None,
                memory: DEFAULT_MEMORY,
                storage: None,
                name: "test_function".into(),
                handler: String::new(),
                region: String::new(),
                environments: 1,
                concurrency: None,
                log_level: None,
                log_format: None,
                has_telemetry: true,
                output: Output::Stderr,
                log: Log::discarded(),
            },
        }
    }

    /// Adds an argument of the bootstrap.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.settings.arguments.push(argument.into());
        self
    }

    /// Adds an external extension: an executable file, whose name is the name under which it has to
    /// register. The lab starts it in each environment, without arguments and in this program's
    /// working folder, before the runtime, which starts when all external extensions have
    /// registered.
    ///
    /// An extension has the environment of the function, but for what describes the runtime, such
    /// as `_HANDLER` and `LAMBDA_TASK_ROOT`. Its output goes where the standard error of the
    /// function goes. If it cannot be started, or ends by itself, the invocation fails with
    /// `Extension.LaunchError`, `Extension.Crash`, `Extension.InitError` or `Extension.ExitError`,
    /// and all processes are started again for the next one.
    ///
    /// Only a function that the lab starts has external extensions. Lambda allows 10.
    #[must_use]
    pub fn extension(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.extensions.push(path.into());
        self
    }

    /// Adds an environment variable, also in the place of one that the lab sets, except for
    /// `AWS_LAMBDA_RUNTIME_API`.
    ///
    /// `AWS_REGION`, or else `AWS_DEFAULT_REGION`, sets the region; without them it is that of this
    /// program's environment, or `us-east-1`. The function sees both variables with that region,
    /// which is part of its ARN, too.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.settings.variables.push((name.into(), value.into()));
        self
    }

    /// Starts the function without the variables of this program, except for `PATH`.
    ///
    /// Otherwise it inherits them, credentials included, without those that describe another
    /// Lambda, such as `AWS_LAMBDA_…` and `AWS_EXECUTION_ENV`.
    #[must_use]
    pub fn clean_env(mut self) -> Self {
        self.settings.is_env_clean = true;
        self
    }

    /// Sets the folder with the function's code: `LAMBDA_TASK_ROOT`, and the working folder of the
    /// process.
    ///
    /// Without it, `LAMBDA_TASK_ROOT` is the folder of the program, or this program's working
    /// folder if the program was found in `PATH`, and the process has this program's working
    /// folder.
    #[must_use]
    pub fn task_root(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.task_root = Some(folder.into());
        self
    }

    /// Starts a new environment for the next invocation after the program has been built again, or
    /// a file among its arguments or in its task root has changed. A program that is being written
    /// is waited for, 10 s at most.
    ///
    /// Folders called `node_modules`, `__pycache__` or `target`, and those whose name begins with a
    /// dot, are not looked into.
    #[must_use]
    pub fn watch(mut self) -> Self {
        self.settings.is_watched = true;
        self
    }

    /// Sets the timeout, from a millisecond to a day; Lambda allows 15 minutes. Init does not
    /// count, except for a second one after [`init_timeout`](Self::init_timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets the limit for init, from a millisecond to a day. The default is 10 s.
    ///
    /// If init takes longer, the process is ended and started again, now within the timeout of the
    /// invocation. With [`snapstart`](Self::snapstart) or [`concurrency`](Self::concurrency), an
    /// init that takes longer fails, and the default is the timeout, but at least 130 s and at most
    /// 900 s.
    #[must_use]
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.settings.init_timeout = Some(timeout);
        self
    }

    /// Sets the time between SIGTERM and SIGKILL, at most a minute.
    ///
    /// The default is 500 ms, or 600 ms with [`concurrency`](Self::concurrency). Only a function
    /// that has an extension gets SIGTERM; others are killed immediately.
    ///
    /// With [external extensions](Self::extension) this is the time for the whole shutdown, and 2 s
    /// by default. The runtime has 15 % of it; 25 % if it has registered an extension, too; 30 %
    /// with [`concurrency`](Self::concurrency). The external extensions that registered for
    /// SHUTDOWN get this event when the runtime has ended, and SIGKILL at the end. The others are
    /// killed as soon as the runtime has ended.
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.settings.shutdown_timeout = Some(timeout);
        self
    }

    /// Enables SnapStart. The function starts together with the lab. When it calls `restore/next`,
    /// the lab takes a snapshot: it stops the process and cuts its connections to the Runtime API.
    /// The next invocation restores the function: the lab continues the process and replies to
    /// `restore/next`, on a connection that takes no further request.
    ///
    /// A runtime that calls `next` instead has no restore hooks: it is stopped and continued there.
    #[must_use]
    pub fn snapstart(mut self) -> Self {
        self.settings.snapstart.get_or_insert_default();
        self
    }

    /// Enables [`snapstart`](Self::snapstart), and sets the least time between the snapshot and the
    /// restore, at most a day.
    #[must_use]
    pub fn snapshot_pause(mut self, pause: Duration) -> Self {
        self.settings.snapstart.get_or_insert_default().pause = pause;
        self
    }

    /// Enables [`snapstart`](Self::snapstart), and sets the limit for a restore, from a millisecond
    /// to a day. A restore lasts until the `next` that follows it. The default is 10 s.
    #[must_use]
    pub fn restore_timeout(mut self, timeout: Duration) -> Self {
        self.settings.snapstart.get_or_insert_default().restore_timeout = timeout;
        self
    }

    /// Freezes the function between its invocations. When the runtime, and each extension that gets
    /// invocations, has asked for the next event, and none waits, the lab sends SIGSTOP to its
    /// processes, and SIGCONT before the next event.
    #[must_use]
    pub fn freeze(mut self) -> Self {
        self.settings.freeze.get_or_insert_default();
        self
    }

    /// Enables [`freeze`](Self::freeze), and pretends that each freeze lasted `duration` longer
    /// than it did, at most 366 days.
    ///
    /// Nothing waits for it. At every thaw [`Lab::now`] moves forward by `duration`, and with it
    /// the deadlines of events and the `Date` of every reply. The function's own clocks do not
    /// move, so a deadline seems that much further away to it. Timeouts keep their length, and so
    /// do the durations in reports.
    #[must_use]
    pub fn freeze_for(mut self, duration: Duration) -> Self {
        self.settings.freeze = Some(duration);
        self
    }

    /// Sets the size of the ephemeral storage in MB, from 512 to 10,240. It is not enforced.
    #[must_use]
    pub fn ephemeral_storage(mut self, megabytes: u32) -> Self {
        self.settings.storage = Some(megabytes);
        self
    }

    /// Sets the memory size in MB, from 128 to 10,240. The function sees it, but it is not
    /// enforced. A log line says once when the function's processes have used more.
    #[must_use]
    pub fn memory(mut self, megabytes: u32) -> Self {
        self.settings.memory = megabytes;
        self
    }

    /// Sets the name of the function, which is also part of its ARN: up to 64 letters, digits, `-`
    /// and `_`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Sets the handler: the `_HANDLER` variable, for runtimes that can run several functions.
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.settings.handler = handler.into();
        self
    }

    /// Sets how many environments may run at most, each with its own process. Another one starts
    /// when all others are busy. Further callers queue.
    #[must_use]
    pub fn environments(mut self, most: usize) -> Self {
        self.settings.environments = most;
        self
    }

    /// Runs the function as on Lambda Managed Instances: each environment takes up to `most`
    /// invocations at a time, and its runtime asks for them in parallel.
    ///
    /// The runtime finds the number in `AWS_LAMBDA_MAX_CONCURRENCY`. A timeout ends the invocation
    /// but not the process.
    #[must_use]
    pub fn concurrency(mut self, most: usize) -> Self {
        self.settings.concurrency = Some(most);
        self
    }

    /// Sets the address at which callers invoke the function. The default is a free port of
    /// 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.settings.listen = address;
        self
    }

    /// Sets the address of the Runtime API, for a runtime that is started by hand or in a
    /// container. The default is a free port of 127.0.0.1. With several environments the port has
    /// to be 0.
    #[must_use]
    pub fn runtime_api(mut self, address: SocketAddr) -> Self {
        self.settings.runtime_api = address;
        self
    }

    /// Sets the lowest level that the function logs: `AWS_LAMBDA_LOG_LEVEL`. It is up to the
    /// runtime; those of AWS filter JSON lines only.
    #[must_use]
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.settings.log_level = Some(level);
        self
    }

    /// Sets the format in which the function logs: `AWS_LAMBDA_LOG_FORMAT`. The lab's own lines
    /// stay text. With [`concurrency`](Self::concurrency) the format is always JSON.
    #[must_use]
    pub fn log_format(mut self, format: LogFormat) -> Self {
        self.settings.log_format = Some(format);
        self
    }

    /// Leaves out the Telemetry API and the Logs API.
    ///
    /// Subscriptions are answered with 202 and `Telemetry.NotSupported` or `Logs.NotSupported`, as
    /// by AWS's emulator for on-demand functions, and nothing is delivered.
    #[must_use]
    pub fn without_telemetry(mut self) -> Self {
        self.settings.has_telemetry = false;
        self
    }

    /// Lets the web pages of this origin invoke the function, for instance `https://app.example`;
    /// `*` stands for all pages, and `null` for those without an origin, such as files.
    ///
    /// Without it, only pages that this machine serves may: those of `http://localhost`,
    /// `http://127.0.0.1` and `http://[::1]`, on every port, with `https` too. Programs that are
    /// not browsers are not affected.
    #[must_use]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.settings.allowed_origins.push(origin.into());
        self
    }

    /// Sets where the output of the function goes. The default is standard error.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.settings.output = output;
        self
    }

    #[cfg(test)]
    pub(crate) fn settings(self) -> Settings {
        self.settings
    }

    pub(crate) fn is_external(&self) -> bool {
        self.settings.program.is_none()
    }

    /// Whether a runtime on another machine can reach the Runtime API.
    pub(crate) fn is_runtime_api_open(&self) -> bool {
        !self.settings.runtime_api.ip().is_loopback()
    }

    /// Starts a lab. The function itself starts with the first invocation, or immediately with
    /// [`snapstart`](Self::snapstart).
    ///
    /// # Errors
    ///
    /// A [`StartError`] if the lab cannot listen, a setting is out of range, or the program cannot
    /// be started: it does not exist, is not executable, or its interpreter is missing.
    pub fn start(mut self) -> Result<Lab, StartError> {
        self.check()?;
        for file in &mut self.settings.extensions {
            // The working folder may change before an environment starts.
            *file = absolute(&*file).map_err(|error| {
                StartError::System(format!("cannot find the extension {}: {error}", file.display()))
            })?;
        }
        self.settings.log = Log::new(self.settings.output).map_err(|error| {
            let remedy = crate::process::obstacle::remedy(&error).unwrap_or_default();
            StartError::System(format!("cannot start the log thread: {error}{remedy}"))
        })?;
        let region = region::of(&self.settings.variables, |name| self.settings.passed_on(name));
        self.settings.region = region.map_err(|(name, value)| {
            StartError::Setting(format!(
                "{value:?} in {name} is not a region: set a region such as us-east-1"
            ))
        })?;
        for origin in &mut self.settings.allowed_origins {
            // Cannot be `None`: it has been checked.
            *origin = browser::origin(origin).unwrap_or_default();
        }
        Lab::start(self.settings)
    }
}
