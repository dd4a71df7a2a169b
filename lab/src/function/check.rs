//! Refuses settings that are out of range, or that exclude each other.

use std::time::Duration;

use super::Function;
use crate::browser;
use crate::lab::StartError;
use crate::log::LogFormat;
use crate::program::Program;
use crate::settings::Settings;
use crate::variables::RUNTIME_API;

impl Function {
    /// # Errors
    ///
    /// [`StartError::Setting`], which names the first setting that cannot be used.
    pub(super) fn check(&self) -> Result<(), StartError> {
        let Settings { program, variables, name, environments, concurrency, .. } = &self.settings;
        self.check_times()?;
        self.check_origins()?;
        let is_named = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !is_named {
            return Err(StartError::Setting(format!(
                "invalid function name {name:?}: use letters, digits, - and _"
            )));
        }
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
                "several environments need a runtime that the lab starts: give the program".into(),
            ));
        }
        let lifecycle = [
            (self.settings.snapstart.is_some(), "SnapStart"),
            (self.settings.freeze.is_some(), "freezing"),
            (self.settings.init_timeout.is_some(), "an init timeout"),
        ];
        let why_not = match (program, concurrency) {
            (None, _) => Some("needs a runtime that the lab starts: give the program"),
            (_, Some(_)) => Some("is not available with managed instances"),
            _ => None,
        };
        if concurrency.is_some() && self.settings.log_format == Some(LogFormat::Text) {
            return Err(StartError::Setting(
                "the log format Text is not available with managed instances: use JSON".into(),
            ));
        }
        let set = lifecycle.iter().find(|(is_set, _)| *is_set);
        if let (Some((_, what)), Some(why_not)) = (set, why_not) {
            return Err(StartError::Setting(format!("{what} {why_not}")));
        }
        self.check_place()?;
        if let Some(program) = program {
            Program::of(program).check(self.settings.path()).map_err(StartError::Setting)?;
        }
        for (variable, value) in variables {
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
            (*is_watched, "watching the program"),
            (*is_env_clean, "a clean environment"),
            (task_root.is_some(), "a task root"),
            (self.settings.log_level.is_some(), "a log level"),
            (self.settings.log_format.is_some(), "a log format"),
        ];
        if let (None, Some((_, what))) = (program, needs_program.iter().find(|(is_set, _)| *is_set))
        {
            return refuse(format!("{what} needs a runtime that the lab starts: give the program"));
        }
        let address = self.settings.runtime_api;
        if address.port() != 0 && *environments > 1 {
            return refuse(format!(
                "{environments} environments cannot share the Runtime API at {address}: use one \
                 environment, or port 0 for free ports"
            ));
        }
        if let Some(storage) = self.settings.storage.filter(|it| !(512..=10_240).contains(it)) {
            return refuse(format!(
                "an ephemeral storage of {storage} MB is out of range: use 512 to 10240"
            ));
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
            ("an init timeout", init_timeout, least, day),
            ("a shutdown timeout", shutdown_timeout, Duration::ZERO, minute),
            ("a restore timeout", snapstart.map(|it| it.restore_timeout), least, day),
            ("a pause after the snapshot", snapstart.map(|it| it.pause), Duration::ZERO, day),
            ("a freeze", freeze, Duration::ZERO, 366 * day),
        ] {
            if let Some(time) = time.filter(|time| !(least..=most).contains(time)) {
                return Err(StartError::Setting(format!(
                    "{what} of {time:?} is out of range: use {} at most{}",
                    if most == day { "a day".to_owned() } else { format!("{most:?}") },
                    if least.is_zero() { "" } else { ", and 1 ms at least" },
                )));
            }
        }
        Ok(())
    }
}
