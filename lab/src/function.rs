use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::lab::{Lab, StartError};
use crate::log::Log;
use crate::settings::{Output, RUNTIME_API, Settings};

/// A function and how it is to run, for a [`Lab`].
#[derive(Clone, Debug)]
pub struct Function {
    settings: Settings,
}

impl Function {
    /// A function whose bootstrap is this program: a path, or a name that is looked up in `PATH`.
    /// It must exist when the lab [starts](Self::start).
    ///
    /// Without further words it has what AWS's emulator gives to it: a timeout of 300 s, 3,008 MB, the
    /// name `test_function`, and one environment; and 10 s for its start, as on Lambda.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self::with(Some(program.into()))
    }

    /// A function whose runtime somebody else starts, with [`Lab::runtime_api`] as the
    /// `AWS_LAMBDA_RUNTIME_API`: a debugger, or a thread of this program.
    ///
    /// A timeout ends the invocation and not the runtime, and the end of the runtime is not noticed.
    ///
    /// So a handler is tested as the service calls it, in the process of its test:
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
    /// // What it fails with is there, too.
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
                variables: Vec::new(),
                listen: (Ipv4Addr::LOCALHOST, 0).into(),
                timeout: Duration::from_secs(300),
                init_timeout: None,
                shutdown_timeout: None,
                snapstart: None,
                freeze: None,
                memory: 3008,
                name: "test_function".into(),
                handler: String::new(),
                environments: 1,
                concurrency: None,
                output: Output::Stderr,
                log: Log::discarded(),
            },
        }
    }

    /// The same with one more argument of the bootstrap.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.settings.arguments.push(argument.into());
        self
    }

    /// The same with one more environment variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.settings.variables.push((name.into(), value.into()));
        self
    }

    /// The same with another timeout, of a millisecond at least and a day at most. The start of the
    /// runtime does not count, but for one that is done again, see [`init_timeout`](Self::init_timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// The same with another limit for its start than 10 s: a millisecond at least and a day at most.
    ///
    /// A start that takes longer is ended, and done again within the invocation and its timeout. With
    /// [`snapstart`](Self::snapstart) it fails; its limit there is the timeout, or 130 s if that is
    /// less, or 900 s if that is more. With [`concurrency`](Self::concurrency) there is no such limit:
    /// invocations that wait for the start time out.
    #[must_use]
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.settings.init_timeout = Some(timeout);
        self
    }

    /// The same with another time between SIGTERM and SIGKILL: a minute at most.
    ///
    /// Without this it is 500 ms, or 600 ms with [`concurrency`](Self::concurrency). Only a function
    /// that has registered an extension is sent SIGTERM; others are killed at once.
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.settings.shutdown_timeout = Some(timeout);
        self
    }

    /// The same with SnapStart: it starts together with the lab, up to its `restore/next`, and is
    /// stopped there, as a snapshot is. The next invocation restores it: it is continued, all its
    /// connections to the Runtime API are dead, and its `restore/next` is answered.
    ///
    /// A runtime that asks for `next` instead takes no part: it is stopped and continued there.
    #[must_use]
    pub fn snapstart(mut self) -> Self {
        self.settings.snapstart.get_or_insert_default();
        self
    }

    /// The same with [`snapstart`](Self::snapstart), and so much time at least between the snapshot and
    /// the restore: a day at most.
    #[must_use]
    pub fn snapshot_pause(mut self, pause: Duration) -> Self {
        self.settings.snapstart.get_or_insert_default().pause = pause;
        self
    }

    /// The same with [`snapstart`](Self::snapstart), and another limit than 10 s for a restore up to
    /// the `next` behind it: a millisecond at least and a day at most.
    #[must_use]
    pub fn restore_timeout(mut self, timeout: Duration) -> Self {
        self.settings.snapstart.get_or_insert_default().restore_timeout = timeout;
        self
    }

    /// The same, stopped between its invocations: when the runtime, and each extension that gets
    /// invocations, has asked for the next event, SIGSTOP goes to its process group, and SIGCONT before
    /// the next event.
    #[must_use]
    pub fn freeze(mut self) -> Self {
        self.settings.freeze.get_or_insert_default();
        self
    }

    /// The same with [`freeze`](Self::freeze), as if each freeze had lasted so much longer than it did:
    /// 366 days at most.
    ///
    /// Nothing waits for it. [`Lab::now`] is moved on by so much at every thaw, and with it what the
    /// function and its callers are told of the time: the deadlines of events, and the `Date` of every
    /// answer. The function's own clocks are not, so it sees a deadline that is that much further away;
    /// nor are timeouts and the durations of reports.
    #[must_use]
    pub fn freeze_for(mut self, duration: Duration) -> Self {
        self.settings.freeze = Some(duration);
        self
    }

    /// The same with another memory size in MB, which is told to the function and not enforced.
    #[must_use]
    pub fn memory(mut self, megabytes: u32) -> Self {
        self.settings.memory = megabytes;
        self
    }

    /// The same with another name, which the function and the ARN get.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// The same with a handler: the `_HANDLER` of runtimes that run several functions.
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.settings.handler = handler.into();
        self
    }

    /// The same with up to so many environments, each with a process of its own, which are started
    /// when all others are busy; further callers queue.
    #[must_use]
    pub fn environments(mut self, most: usize) -> Self {
        self.settings.environments = most;
        self
    }

    /// The same as a function of Lambda Managed Instances: each environment has up to so many
    /// invocations at a time, and its runtime asks for them in parallel.
    ///
    /// The runtime is told by `AWS_LAMBDA_MAX_CONCURRENCY`. A timeout ends the invocation and not the
    /// process.
    #[must_use]
    pub fn concurrency(mut self, most: usize) -> Self {
        self.settings.concurrency = Some(most);
        self
    }

    /// The same, invoked at another address than a free port of 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.settings.listen = address;
        self
    }

    /// The same with its output going elsewhere than to standard error.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.settings.output = output;
        self
    }

    pub(crate) fn is_external(&self) -> bool {
        self.settings.program.is_none()
    }

    /// Starts a lab for it. The function itself starts with the first invocation, or now with
    /// [`snapstart`](Self::snapstart).
    ///
    /// # Errors
    ///
    /// A [`StartError`] if the lab cannot listen, a setting is out of its range, or there is no such
    /// program.
    pub fn start(mut self) -> Result<Lab, StartError> {
        self.check()?;
        if self.settings.output != Output::Discarded {
            self.settings.log = Log::stderr()
                .map_err(|error| StartError::System(format!("no thread for the log: {error}")))?;
        }
        Lab::start(self.settings)
    }

    fn check(&self) -> Result<(), StartError> {
        let Settings { program, variables, name, environments, concurrency, .. } = &self.settings;
        self.check_times()?;
        let is_named = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !is_named {
            return Err(StartError::Setting(format!(
                "the name {name:?}: it must consist of letters, digits, - and _"
            )));
        }
        let most = 10_000;
        for (count, what) in
            [(*environments, "environments"), (concurrency.unwrap_or(1), "invocations at a time")]
        {
            if count == 0 || count > most {
                return Err(StartError::Setting(format!(
                    "{count} {what}: it must be 1 at least and {most} at most"
                )));
            }
        }
        if program.is_none() && *environments > 1 {
            return Err(StartError::Setting(
                "several environments: a runtime that somebody else starts has just one".into(),
            ));
        }
        let lifecycle = [
            (self.settings.snapstart.is_some(), "SnapStart"),
            (self.settings.freeze.is_some(), "freezing"),
            (self.settings.init_timeout.is_some(), "a timeout for the start"),
        ];
        let why_not = match (program, concurrency) {
            (None, _) => Some("for a runtime that somebody else starts: give the lab its program"),
            (_, Some(_)) => Some("together with managed instances, which have no such thing"),
            _ => None,
        };
        let set = lifecycle.iter().find(|(is_set, _)| *is_set);
        if let (Some((_, what)), Some(why_not)) = (set, why_not) {
            return Err(StartError::Setting(format!("{what} {why_not}")));
        }
        if let Some(program) = program.as_deref().filter(|it| which::which(it).is_err()) {
            let program = program.display().to_string();
            let remedy = if program.contains('/') {
                "give the path of a file that is executable, and build it first".to_owned()
            } else {
                format!("it is not in PATH; write ./{program} if it is in this folder")
            };
            return Err(StartError::Setting(format!("no program {program}: {remedy}")));
        }
        for (variable, value) in variables {
            let is_invalid = variable.is_empty()
                || variable.as_encoded_bytes().contains(&b'=')
                || variable.as_encoded_bytes().contains(&0)
                || value.as_encoded_bytes().contains(&0);
            if is_invalid {
                return Err(StartError::Setting(format!("{variable:?} cannot name a variable")));
            }
            if variable == RUNTIME_API {
                return Err(StartError::Setting(format!(
                    "the variable {RUNTIME_API} is the lab's own"
                )));
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), StartError> {
        let Settings { timeout, init_timeout, shutdown_timeout, snapstart, freeze, .. } =
            self.settings;
        let least = Duration::from_millis(1);
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));
        for (what, time, least, most) in [
            ("a timeout", Some(timeout), least, day),
            ("a timeout for the start", init_timeout, least, day),
            ("a timeout for the shutdown", shutdown_timeout, Duration::ZERO, minute),
            ("a timeout for the restore", snapstart.map(|it| it.restore_timeout), least, day),
            ("a pause behind the snapshot", snapstart.map(|it| it.pause), Duration::ZERO, day),
            ("a freeze", freeze, Duration::ZERO, 366 * day),
        ] {
            if let Some(time) = time.filter(|time| !(least..=most).contains(time)) {
                return Err(StartError::Setting(format!(
                    "{what} of {time:?}: it must be {} at most{}",
                    if most == day { "a day".to_owned() } else { format!("{most:?}") },
                    if least.is_zero() { "" } else { ", and 1 ms at least" },
                )));
            }
        }
        Ok(())
    }
}
