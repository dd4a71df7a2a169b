//! The settings of the runtime, from environment variables.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use lambda_proto_host::environment::{self, Environment, INVALID_CONFIGURATION};
use lambda_proto_host::policy::Policy;
use lambda_proto_std::{Error, Failure};

use crate::json::Integers;

/// What the handler gets and returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A function of values, which are JSON outside.
    #[default]
    Json,
    /// A function of strings.
    Raw,
    /// A script that is run for each event: the event is its argument, its output is the response.
    Script,
}

/// Where `print` and `io.write` write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Output {
    /// To the log, a record for each line.
    #[default]
    Log,
    /// To standard output, byte for byte.
    Raw,
}

/// The settings of the runtime.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) integers: Integers,
    pub(crate) output: Output,
    /// The value of `_HANDLER`.
    pub(crate) handler: String,
    pub(crate) task_root: PathBuf,
    pub(crate) slots: usize,
    /// The limit of the memory of each Lua state, in bytes.
    pub(crate) memory: Option<usize>,
    /// How long before the deadline work after the response ends.
    pub(crate) reserve: Duration,
}

impl Settings {
    /// Reads the settings from the environment of this process.
    ///
    /// # Errors
    ///
    /// If the number of slots is invalid.
    pub(crate) fn from_env() -> Result<Result<Self, Failure>, Error> {
        let slots = environment::concurrency()?;
        Ok(Self::with_slots(slots, Environment::of_process(), &|name| env::var(name).ok()))
    }

    fn with_slots(
        slots: usize,
        environment: &Environment,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        // A quarter is for what is not Lua's: code, buffers, libraries, the machine code of LuaJIT.
        let memory = environment
            .memory_size_mb()
            .map(|megabytes| megabytes as usize * 1024 * 1024 / 4 * 3 / slots.max(1));
        let modes = [("json", Mode::Json), ("raw", Mode::Raw), ("script", Mode::Script)];
        let integers =
            [("error", Integers::Error), ("text", Integers::Text), ("cdata", Integers::Cdata)];
        let outputs = [("log", Output::Log), ("raw", Output::Raw)];
        // Invalid options fail the start of the runtime, which names them.
        let policy = environment::options().unwrap_or_default().work();
        let reserve = match policy {
            Policy::Drain { reserve } => reserve,
            _ => Policy::DRAIN_RESERVE,
        };
        Ok(Self {
            mode: choose(lookup, "LAMBDA_LUAJIT_MODE", &modes)?,
            integers: choose(lookup, "LAMBDA_LUAJIT_INTEGERS", &integers)?,
            output: choose(lookup, "LAMBDA_LUAJIT_OUTPUT", &outputs)?,
            handler: environment.handler().unwrap_or_default().to_owned(),
            task_root: environment.task_root().unwrap_or(".").into(),
            slots,
            memory,
            reserve,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        let lookup = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|&(_, value)| value.to_owned())
        };
        let environment = Environment::from_lookup(&|name| lookup(name).map(Into::into));
        Settings::with_slots(2, &environment, &lookup)
    }

    #[test]
    fn unset_and_empty_variables_mean_the_defaults() {
        for variables in [&[][..], &[("LAMBDA_LUAJIT_MODE", "")]] {
            let settings = settings(variables).unwrap();
            assert_eq!((settings.mode, settings.output), (Mode::Json, Output::Log));
            assert_eq!((settings.integers, settings.memory), (Integers::Error, None));
        }
    }

    #[test]
    fn the_memory_of_the_function_is_shared_by_its_slots() {
        let settings = settings(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")]).unwrap();
        assert_eq!(settings.memory, Some(48 * 1024 * 1024));
    }

    #[test]
    fn an_unknown_value_is_refused_with_its_variable_and_the_choices() {
        let failure = settings(&[("LAMBDA_LUAJIT_INTEGERS", "Text")]).unwrap_err();
        assert_eq!(failure.reported_type(), INVALID_CONFIGURATION);
        assert_eq!(
            failure.message(),
            "LAMBDA_LUAJIT_INTEGERS is \"Text\", and must be one of error, text, cdata"
        );
    }
}
