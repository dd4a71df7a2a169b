//! The options of a function, which both commands share.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use lambda_lab::{Function, LogFormat, LogLevel};

/// What describes the function and the Lambda that it runs on.
#[derive(Args)]
pub(crate) struct Options {
    /// How long an invocation may take: 3, 0.5, 500ms or 10m; plain numbers are seconds
    #[arg(long, value_name = "TIME", default_value = "300", value_parser = time_above_zero)]
    timeout: Duration,
    /// How long init may take; a longer one is repeated within the invocation, or fails with
    /// --snapstart [default: 10; with --snapstart the timeout, but from 130 to 900]
    #[arg(long, value_name = "TIME", value_parser = time_above_zero)]
    init_timeout: Option<Duration>,
    /// How long the function has from SIGTERM to SIGKILL if it registered an extension
    /// [default: 500ms; with --concurrency 600ms]
    #[arg(long, value_name = "TIME", value_parser = time)]
    shutdown_timeout: Option<Duration>,
    /// Start the function now, stop it as in a snapshot, and restore it for the first invocation
    #[arg(long)]
    snapstart: bool,
    /// The least time from the snapshot to the restore
    #[arg(long, value_name = "TIME", value_parser = time, requires = "snapstart")]
    snapshot_pause: Option<Duration>,
    /// How long a restore may take, including the function's hooks [default: 10]
    #[arg(long, value_name = "TIME", value_parser = time_above_zero, requires = "snapstart")]
    restore_timeout: Option<Duration>,
    /// Stop the function's processes between invocations
    #[arg(long)]
    freeze: bool,
    /// Stop them, and pretend that each freeze lasted this much longer: deadlines and the dates of
    /// replies move forward, without waiting
    #[arg(long, value_name = "TIME", value_parser = time)]
    freeze_for: Option<Duration>,
    /// An environment variable for the function; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// The handler, for runtimes that ask for one
    #[arg(long, default_value = "")]
    handler: String,
    /// The memory size in MB; the function sees it, but it is not enforced
    #[arg(long, value_name = "MB", default_value_t = 3008)]
    memory: u32,
    /// The lowest level that the function logs: TRACE, DEBUG, INFO, WARN, ERROR or FATAL
    #[arg(long, value_name = "LEVEL", value_parser = log_level)]
    log_level: Option<LogLevel>,
    /// The format in which the function logs: JSON or Text [default with --concurrency: JSON]
    #[arg(long, value_name = "FORMAT", value_parser = log_format)]
    log_format: Option<LogFormat>,
    /// The name of the function
    #[arg(long, default_value = "test_function")]
    name: String,
}

type Set = fn(Function, Duration) -> Function;

impl Options {
    /// The function with these options.
    ///
    /// # Errors
    ///
    /// A text that names the word of the command line that is wrong.
    pub(crate) fn function(self, bootstrap: Vec<OsString>) -> Result<Function, String> {
        let mut words = bootstrap.into_iter();
        let program = words.next();
        if let Some(option) =
            program.as_deref().filter(|it| it.as_encoded_bytes().starts_with(b"-"))
        {
            return Err(format!(
                "unknown option {}: see --help; to start a program of that name, give its path",
                option.display()
            ));
        }
        let function = program.map_or_else(Function::external, Function::new);
        let function = words.fold(function, Function::argument);
        let function = self
            .env
            .into_iter()
            .fold(function, |function, (name, value)| function.variable(name, value));
        let function = function.timeout(self.timeout).handler(self.handler);
        let function = function.memory(self.memory).name(self.name);
        let function = match self.log_level {
            Some(level) => function.log_level(level),
            None => function,
        };
        let function = match self.log_format {
            Some(format) => function.log_format(format),
            None => function,
        };
        let function = if self.snapstart { function.snapstart() } else { function };
        let function = if self.freeze { function.freeze() } else { function };
        let times: [(_, Set); 5] = [
            (self.init_timeout, Function::init_timeout),
            (self.shutdown_timeout, Function::shutdown_timeout),
            (self.snapshot_pause, Function::snapshot_pause),
            (self.restore_timeout, Function::restore_timeout),
            (self.freeze_for, Function::freeze_for),
        ];
        Ok(times.into_iter().fold(function, |function, (time, set)| match time {
            Some(time) => set(function, time),
            None => function,
        }))
    }
}

fn time_above_zero(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time above 0: write 3, 0.5, 500ms, 3s, 10m or 1h");
    time(text).ok().filter(|it| !it.is_zero()).ok_or_else(wrong)
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time: write 3, 0.5, 500ms, 3s, 10m or 1h");
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, seconds) = found.ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
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
            format!("\"{text}\" is not KEY=VALUE: write an equals sign after the name")
        })?;
    Ok((name.to_owned(), value.to_owned()))
}
