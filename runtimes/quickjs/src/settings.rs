//! The settings of the runtime, from environment variables.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use lambda_proto_host::environment::{self, Environment, INVALID_CONFIGURATION};
use lambda_proto_host::policy::Policy;
use lambda_proto_std::{Error, Failure};

/// What the handler gets and returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Values, which are JSON outside.
    #[default]
    Json,
    /// Bytes.
    Raw,
}

/// Where the console writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Output {
    /// To the log, a record for each call.
    #[default]
    Log,
    /// To standard output, byte for byte.
    Raw,
}

/// How long one-shot timers are waited for after the answer, unless a variable says otherwise.
const GRACE: Duration = Duration::from_secs(1);

/// The longest such time: no function runs longer.
const MAX_GRACE_MS: u64 = 900_000;

/// The settings of the runtime.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) output: Output,
    /// The value of `_HANDLER`.
    pub(crate) handler: String,
    pub(crate) task_root: PathBuf,
    pub(crate) slots: usize,
    /// The limit of the memory of each JavaScript runtime, in bytes.
    pub(crate) memory: Option<usize>,
    /// What becomes of work that is open after the answer.
    pub(crate) policy: Policy,
    pub(crate) grace: Duration,
}

impl Settings {
    /// Reads the settings from the environment of this process.
    ///
    /// # Errors
    ///
    /// If the number of slots is invalid; the failure inside names another invalid variable.
    pub(crate) fn from_env() -> Result<Result<Self, Failure>, Error> {
        let slots = environment::concurrency()?;
        let lookup = |name: &str| env::var(name).ok();
        let settings = environment::options().and_then(|options| {
            Self::with_slots(slots, options.work(), Environment::of_process(), &lookup)
        });
        Ok(settings)
    }

    fn with_slots(
        slots: usize,
        policy: Policy,
        environment: &Environment,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        // A quarter is for what is not JavaScript's: code, buffers, libraries.
        let memory = environment
            .memory_size_mb()
            .map(|megabytes| megabytes as usize * 1024 * 1024 / 4 * 3 / slots.max(1));
        let modes = [("json", Mode::Json), ("raw", Mode::Raw)];
        let outputs = [("log", Output::Log), ("raw", Output::Raw)];
        Ok(Self {
            mode: choose(lookup, "LAMBDA_QUICKJS_MODE", &modes)?,
            output: choose(lookup, "LAMBDA_QUICKJS_OUTPUT", &outputs)?,
            handler: environment.handler().unwrap_or_default().to_owned(),
            task_root: environment.task_root().unwrap_or(".").into(),
            slots,
            memory,
            policy,
            grace: grace(lookup)?,
        })
    }
}

/// The value that a variable names; the default if it is unset or empty.
fn choose<T: Copy + Default>(
    lookup: &dyn Fn(&str) -> Option<String>,
    variable: &str,
    choices: &[(&str, T)],
) -> Result<T, Failure> {
    let Some(name) = lookup(variable).filter(|name| !name.is_empty()) else {
        return Ok(T::default());
    };
    let chosen = choices.iter().find(|(choice, _)| *choice == name);
    chosen.map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|&(name, _)| name).collect();
        let message = format!("{variable} is {name:?}, and must be one of {}", names.join(", "));
        Failure::new(INVALID_CONFIGURATION, message)
    })
}

fn grace(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Duration, Failure> {
    const VARIABLE: &str = "LAMBDA_QUICKJS_GRACE_MS";
    let Some(text) = lookup(VARIABLE).filter(|text| !text.is_empty()) else { return Ok(GRACE) };
    match text.parse() {
        Ok(millis @ 0..=MAX_GRACE_MS) => Ok(Duration::from_millis(millis)),
        _ => {
            let message = format!(
                "{VARIABLE} is {text:?}, and must be a number of milliseconds from 0 to {MAX_GRACE_MS}"
            );
            Err(Failure::new(INVALID_CONFIGURATION, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        let lookup = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|&(_, value)| value.to_owned())
        };
        let environment = Environment::from_lookup(&|name| lookup(name).map(Into::into));
        Settings::with_slots(2, Policy::default(), &environment, &lookup)
    }

    #[test]
    fn unset_and_empty_variables_mean_the_defaults() {
        for variables in [&[][..], &[("LAMBDA_QUICKJS_MODE", ""), ("LAMBDA_QUICKJS_GRACE_MS", "")]]
        {
            let settings = settings(variables).unwrap();
            assert_eq!((settings.mode, settings.output), (Mode::Json, Output::Log));
            assert_eq!((settings.grace, settings.memory), (GRACE, None));
        }
    }

    #[test]
    fn the_memory_of_the_function_is_shared_by_its_slots() {
        let settings = settings(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")]).unwrap();
        assert_eq!(settings.memory, Some(48 * 1024 * 1024));
    }

    #[test]
    fn an_invalid_value_is_refused_with_its_variable_and_the_choices() {
        let message = |name, value| settings(&[(name, value)]).unwrap_err().message().to_owned();
        assert_eq!(
            message("LAMBDA_QUICKJS_MODE", "Raw"),
            "LAMBDA_QUICKJS_MODE is \"Raw\", and must be one of json, raw"
        );
        assert_eq!(
            message("LAMBDA_QUICKJS_GRACE_MS", "1s"),
            "LAMBDA_QUICKJS_GRACE_MS is \"1s\", and must be a number of milliseconds from 0 to 900000"
        );
        assert!(settings(&[("LAMBDA_QUICKJS_GRACE_MS", "900001")]).is_err());
    }
}
