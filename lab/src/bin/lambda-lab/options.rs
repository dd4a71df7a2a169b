//! The options of a function, which both commands share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lambda_lab::{Function, LogFormat, LogLevel};

use crate::times::{Time, TimeAboveZero};
use crate::{hints, numbers};

/// What describes the function and the Lambda that it runs on.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option without a value")]
pub(crate) struct Options {
    /// An environment variable for the function; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable, help_heading = FUNCTION)]
    env: Vec<(String, String)>,
    /// An external extension to start with the function: an executable file; may be repeated
    ///
    /// It registers under the name of its file. The function is started when all extensions have
    /// registered.
    #[arg(long, value_name = "PATH", help_heading = FUNCTION)]
    extension: Vec<PathBuf>,
    /// Pass on none of this shell's variables but PATH
    ///
    /// Otherwise the function sees them, credentials included.
    #[arg(long, help_heading = FUNCTION)]
    clean_env: bool,
    /// The handler, for runtimes that ask for one
    #[arg(long, default_value = "", hide_default_value = true, help_heading = FUNCTION)]
    handler: String,
    /// The name of the function: up to 64 letters, digits, - and _
    #[arg(long, default_value = "test_function", help_heading = FUNCTION)]
    name: String,
    /// The folder with the function's code, where the program is started
    ///
    /// LAMBDA_TASK_ROOT names it. Without this option, LAMBDA_TASK_ROOT is the program's folder,
    /// and the program is started in the current folder.
    #[arg(long, value_name = "FOLDER", help_heading = FUNCTION)]
    task_root: Option<PathBuf>,
    /// How long an invocation may take: 3, 0.5, 500ms or 10m; plain numbers are seconds
    ///
    /// Lambda allows 15 minutes at most; longer times are for debugging.
    #[arg(long, value_name = "TIME", default_value = "300", help_heading = LIMITS)]
    timeout: TimeAboveZero,
    /// How long init may take [default: 10]
    ///
    /// An init that takes longer is repeated within the invocation. With --snapstart or --concurrency
    /// it fails, and the default is the timeout, but at least 130 s and at most 900 s.
    #[arg(long, value_name = "TIME", help_heading = LIMITS)]
    init_timeout: Option<TimeAboveZero>,
    /// How long the function has from SIGTERM to SIGKILL [default: 500ms]
    ///
    /// Only a function that has an extension gets SIGTERM. With --concurrency the default is 600ms.
    /// With --extension it is the time for the function and its extensions together, and the
    /// default is 2s, of which the function has 300ms. Lambda allows 2 s at most.
    #[arg(long, value_name = "TIME", help_heading = LIMITS)]
    shutdown_timeout: Option<Time>,
    /// The memory size in MB, from 128 to 10240; the function sees it, but it is not enforced
    #[arg(
        long,
        value_name = "MB",
        default_value_t = 3008,
        value_parser = numbers::memory,
        help_heading = LIMITS
    )]
    memory: u32,
    /// The ephemeral storage in MB, from 512 to 10240; it is not enforced
    #[arg(long, value_name = "MB", value_parser = numbers::storage, help_heading = LIMITS)]
    ephemeral_storage: Option<u32>,
    /// Stop the function's processes between invocations
    #[arg(long, help_heading = FREEZE)]
    freeze: bool,
    /// Stop them, and pretend that each freeze lasted this much longer
    ///
    /// Deadlines and the dates of replies move forward, without waiting.
    #[arg(long, value_name = "TIME", help_heading = FREEZE)]
    freeze_for: Option<Time>,
    /// Start the function now, stop it as in a snapshot, and restore it for the first invocation
    #[arg(long, help_heading = FREEZE)]
    snapstart: bool,
    /// The minimum time between snapshot and restore
    #[arg(long, value_name = "TIME", requires = "snapstart", help_heading = FREEZE)]
    snapshot_pause: Option<Time>,
    /// How long a restore may take, including the function's hooks [default: 10]
    #[arg(long, value_name = "TIME", requires = "snapstart", help_heading = FREEZE)]
    restore_timeout: Option<TimeAboveZero>,
    /// The lowest level that the function logs: TRACE, DEBUG, INFO, WARN, ERROR or FATAL
    #[arg(long, value_name = "LEVEL", value_parser = log_level, help_heading = FUNCTION)]
    log_level: Option<LogLevel>,
    /// The format in which the function logs: JSON or Text [default with --concurrency: JSON]
    #[arg(long, value_name = "FORMAT", value_parser = log_format, help_heading = FUNCTION)]
    log_format: Option<LogFormat>,
    /// Answer subscriptions to telemetry and logs as AWS's emulator does, and deliver nothing
    ///
    /// Extensions get 202 with Telemetry.NotSupported or Logs.NotSupported, and go on without.
    #[arg(long, help_heading = FUNCTION)]
    no_telemetry: bool,
}

const FUNCTION: &str = "Function";
const LIMITS: &str = "Limits";
const FREEZE: &str = "Freeze and snapshot";

type Set = fn(Function, Duration) -> Function;

impl Options {
    /// The function with these options of this command.
    ///
    /// # Errors
    ///
    /// A text that names the word of the command line that is wrong.
    pub(crate) fn function(
        self,
        command: &str,
        bootstrap: Vec<OsString>,
    ) -> Result<Function, String> {
        let mut words = bootstrap.into_iter();
        let program = words.next();
        if let Some(problem) = program.as_deref().and_then(|it| hints::option(it, command)) {
            return Err(problem);
        }
        let function = program.map_or_else(Function::external, Function::new);
        let function = words.fold(function, Function::argument);
        let function = self.extension.into_iter().fold(function, Function::extension);
        let function = self
            .env
            .into_iter()
            .fold(function, |function, (name, value)| function.variable(name, value));
        let function = function.timeout(self.timeout.0).handler(self.handler);
        let function = function.memory(self.memory).name(self.name);
        let function = match self.log_level {
            Some(level) => function.log_level(level),
            None => function,
        };
        let function = match self.log_format {
            Some(format) => function.log_format(format),
            None => function,
        };
        let function = if self.no_telemetry { function.without_telemetry() } else { function };
        let function = if self.snapstart { function.snapstart() } else { function };
        let function = if self.freeze { function.freeze() } else { function };
        let function = if self.clean_env { function.clean_env() } else { function };
        let function = match self.task_root {
            Some(folder) => function.task_root(folder),
            None => function,
        };
        let function = match self.ephemeral_storage {
            Some(size) => function.ephemeral_storage(size),
            None => function,
        };
        let times: [(_, Set); 5] = [
            (self.init_timeout.map(|it| it.0), Function::init_timeout),
            (self.shutdown_timeout.map(|it| it.0), Function::shutdown_timeout),
            (self.snapshot_pause.map(|it| it.0), Function::snapshot_pause),
            (self.restore_timeout.map(|it| it.0), Function::restore_timeout),
            (self.freeze_for.map(|it| it.0), Function::freeze_for),
        ];
        Ok(times.into_iter().fold(function, |function, (time, set)| match time {
            Some(time) => set(function, time),
            None => function,
        }))
    }
}

fn log_level(text: &str) -> Result<LogLevel, String> {
    let found = LogLevel::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "write TRACE, DEBUG, INFO, WARN, ERROR or FATAL".to_owned())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    let mut formats = LogFormat::ALL.into_iter();
    let found = formats.find(|format| format.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "write JSON or Text".to_owned())
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            format!("\"{text}\" is not KEY=VALUE: write a name, an equals sign and the value")
        })?;
    Ok((name.to_owned(), value.to_owned()))
}
