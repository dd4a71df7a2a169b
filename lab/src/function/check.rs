//! Refuses settings that are out of range, or that exclude each other.

use std::path::absolute;
use std::time::Duration;

use super::Function;
use crate::browser;
use crate::invoke_api::MAX_NAME;
use crate::lab::StartError;
use crate::log::LogFormat;
use crate::process::obstacle;
use crate::program::Program;
use crate::settings::Settings;
use crate::variables::RUNTIME_API;

impl Function {
    /// # Errors
    ///
    /// [`StartError::Setting`], which names the first setting that cannot be used.
    pub(super) fn check(&self) -> Result<(), StartError> {
        self.check_times()?;
        self.check_origins()?;
        self.check_name()?;
        self.check_sizes()?;
        self.check_counts()?;
        self.check_lifecycle()?;
        self.check_place()?;
        if let Some(program) = &self.settings.program {
            let path = self.settings.path();
            Program::of(program, path).check(path).map_err(StartError::Setting)?;
        }
        self.check_extensions()?;
        self.check_variables()
    }

    /// More extensions than Lambda allows are not refused: they fail as there, in init.
    fn check_extensions(&self) -> Result<(), StartError> {
        let refuse = |reason: String| Err(StartError::Setting(reason));
        let path = self.settings.path();
        for (index, file) in self.settings.extensions.iter().enumerate() {
            // A name without a slash is a file in the working folder, and is not looked up in PATH.
            let is_file = absolute(file).map(|it| obstacle::check(it.as_os_str(), path));
            match is_file {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => return refuse(format!("extension: {reason}")),
                Err(error) => {
                    return refuse(format!("extension {}: {error}", file.display()));
                }
            }
            let others = &self.settings.extensions[..index];
            if let Some(other) = others.iter().find(|it| it.file_name() == file.file_name()) {
                return refuse(format!(
                    "{} and {} have the same file name, which is the name of an extension: rename \
                     one",
                    other.display(),
                    file.display()
                ));
            }
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), StartError> {
        let Settings { program, environments, concurrency, .. } = &self.settings;
        let most = 10_000;
        for (count, what) in
            [(*environments, "environments"), (concurrency.unwrap_or(1), "invocations at a time")]
        {
            if count == 0 || count > most {
                return Err(StartError::Setting(format!(
                    "{count} {what}: use a number from 1 to {most}"
                )));
            }
        }
        if program.is_none() && *environments > 1 {
            return Err(StartError::Setting(
                "several environments apply only to a program that the lab starts: give the program"
                    .into(),
            ));
        }
        Ok(())
    }

    /// Checks what external runtimes and managed instances do not have.
    fn check_lifecycle(&self) -> Result<(), StartError> {
        let Settings { program, concurrency, .. } = &self.settings;
        if concurrency.is_some() && self.settings.log_format == Some(LogFormat::Text) {
            return Err(StartError::Setting(
                "the log format Text is not available with managed instances: use JSON".into(),
            ));
        }
        let lifecycle = [
            (self.settings.snapstart.is_some(), "SnapStart"),
            (self.settings.freeze.is_some(), "freezing"),
            (self.settings.init_timeout.is_some() && program.is_none(), "an init timeout"),
        ];
        let why_not = match (program, concurrency) {
            (None, _) => Some("applies only to a program that the lab starts: give the program"),
            (_, Some(_)) => Some("is not available with managed instances"),
            _ => None,
        };
        let set = lifecycle.iter().find(|(is_set, _)| *is_set);
        if let (Some((_, what)), Some(why_not)) = (set, why_not) {
            return Err(StartError::Setting(format!("{what} {why_not}")));
        }
        Ok(())
    }

    fn check_variables(&self) -> Result<(), StartError> {
        for (variable, value) in &self.settings.variables {
            let is_invalid = variable.is_empty()
                || variable.as_encoded_bytes().contains(&b'=')
                || variable.as_encoded_bytes().contains(&0)
                || value.as_encoded_bytes().contains(&0);
            if is_invalid {
                return Err(StartError::Setting(format!(
                    "invalid environment variable {variable:?}: NUL is not allowed, nor = in the name"
                )));
            }
            if variable == RUNTIME_API {
                return Err(StartError::Setting(format!(
                    "the lab itself sets {RUNTIME_API}: remove the variable"
                )));
            }
        }
        Ok(())
    }

    fn check_origins(&self) -> Result<(), StartError> {
        let mut origins = self.settings.allowed_origins.iter();
        match origins.find(|origin| browser::origin(origin).is_none()) {
            Some(origin) => Err(StartError::Setting(format!(
                "invalid origin {origin:?}: write it as https://app.example or \
                 http://localhost:3000, without a path, or * for all web pages"
            ))),
            None => Ok(()),
        }
    }

    /// Checks the folders, and the address of the Runtime API.
    fn check_place(&self) -> Result<(), StartError> {
        let Settings { program, task_root, is_watched, is_env_clean, environments, .. } =
            &self.settings;
        let refuse = |reason: String| Err(StartError::Setting(reason));
        if let Some(folder) = task_root.as_deref().filter(|it| !it.is_dir()) {
            return refuse(format!(
                "no folder {}: the task root is the folder with the function's code",
                folder.display()
            ));
        }
        let needs_program = [
            (*is_watched, "watching"),
            (*is_env_clean, "a clean environment"),
            (task_root.is_some(), "a task root"),
            (self.settings.log_level.is_some(), "a log level"),
            (self.settings.log_format.is_some(), "a log format"),
            (!self.settings.extensions.is_empty(), "an external extension"),
        ];
        if let (None, Some((_, what))) = (program, needs_program.iter().find(|(is_set, _)| *is_set))
        {
            return refuse(format!(
                "{what} applies only to a program that the lab starts: give the program"
            ));
        }
        let address = self.settings.runtime_api;
        if address.port() != 0 && *environments > 1 {
            return refuse(format!(
                "{environments} environments cannot share the Runtime API at {address}: use one \
                 environment, or port 0 for free ports"
            ));
        }
        Ok(())
    }

    /// Source: Lambda API Reference, "CreateFunction", `FunctionName`.
    fn check_name(&self) -> Result<(), StartError> {
        let name = &self.settings.name;
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_of_name) {
            return Ok(());
        }
        Err(StartError::Setting(format!(
            "invalid function name {name:?}: use up to {MAX_NAME} letters, digits, - and _"
        )))
    }

    /// Source: Lambda Developer Guide, "Lambda quotas".
    fn check_sizes(&self) -> Result<(), StartError> {
        let Settings { memory, storage, .. } = self.settings;
        for (what, size, least) in
            [("a memory size", Some(memory), 128), ("an ephemeral storage", storage, 512)]
        {
            let most = 10_240;
            if let Some(size) = size.filter(|size| !(least..=most).contains(size)) {
                return Err(StartError::Setting(format!(
                    "{what} of {size} MB is out of range: use {least} to {most}"
                )));
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), StartError> {
        let Settings { timeout, init_timeout, shutdown_timeout, snapstart, freeze, .. } =
            self.settings;
        let (moment, minute) = (Duration::from_millis(1), Duration::from_secs(60));
        let day = 24 * 60 * minute;
        let long = (moment..=day, "1 ms to 1 day");
        for (what, time, (range, words), example) in [
            ("a timeout", Some(timeout), long.clone(), "3s"),
            ("an init timeout", init_timeout, long.clone(), "10s"),
            (
                "a shutdown timeout",
                shutdown_timeout,
                (Duration::ZERO..=minute, "up to 1 minute"),
                "500ms",
            ),
            ("a restore timeout", snapstart.map(|it| it.restore_timeout), long, "10s"),
            (
                "a pause after the snapshot",
                snapstart.map(|it| it.pause),
                (Duration::ZERO..=day, "up to 1 day"),
                "3s",
            ),
            ("a freeze", freeze, (Duration::ZERO..=366 * day, "up to 366 days"), "10m"),
        ] {
            if let Some(time) = time.filter(|time| !range.contains(time)) {
                return Err(StartError::Setting(format!(
                    "{what} cannot be {time:?}: use {words}, such as {example}"
                )));
            }
        }
        Ok(())
    }
}
