//! The environment variables that the function and its extensions see.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use crate::log::{LogFormat, VERSION};
use crate::place::Launch;
use crate::region;
use crate::settings::Settings;

/// The variable that tells a runtime where the service is.
pub(crate) const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// The variable that says where temporary files belong.
pub(crate) const TEMPORARY: &str = "TMPDIR";

/// How the names of variables begin that describe another Lambda than this one, for instance when
/// the lab runs in a function, in its image, or under AWS's emulator.
const FOREIGN_PREFIXES: [&str; 5] =
    ["AWS_LAMBDA_", "AWS_XRAY_", "_AWS_XRAY_", "_LAMBDA_", "_X_AMZN_"];

/// Further variables that describe another Lambda.
const FOREIGN: [&str; 4] =
    ["AWS_EXECUTION_ENV", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_HANDLER"];

/// Variables that extensions do not see, beside those whose name begins with `_`.
const OF_RUNTIME: [&str; 7] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

impl Settings {
    /// All variables of a runtime that is launched like this, with the Runtime API at this address.
    ///
    /// `AWS_EXECUTION_ENV` is not among them: Lambda does not set it for OS-only runtimes.
    ///
    /// Source: Lambda Developer Guide, "Using Lambda environment variables".
    pub(crate) fn variables_of(
        &self,
        launch: &Launch,
        runtime_api: SocketAddr,
    ) -> BTreeMap<OsString, OsString> {
        let mut variables: BTreeMap<_, _> =
            std::env::vars_os().filter(|(name, _)| self.passes_on(name)).collect();
        let mut set = |name: &str, value: &OsStr| {
            variables.insert(name.into(), value.into());
        };
        if let Some(folder) = &launch.working_folder {
            set("PWD", folder.as_os_str());
        }
        set("LAMBDA_TASK_ROOT", launch.task_root.as_os_str());
        set("LAMBDA_RUNTIME_DIR", launch.runtime_folder.as_os_str());
        set(TEMPORARY, launch.temporary.as_os_str());
        if let Some(most) = self.concurrency {
            set("AWS_LAMBDA_MAX_CONCURRENCY", most.to_string().as_ref());
            set("AWS_LAMBDA_LOG_FORMAT", LogFormat::Json.as_str().as_ref());
        }
        if let Some(format) = self.log_format {
            set("AWS_LAMBDA_LOG_FORMAT", format.as_str().as_ref());
        }
        if let Some(level) = self.log_level {
            set("AWS_LAMBDA_LOG_LEVEL", level.as_str().as_ref());
        }
        if let Some(stream) = self.log_stream() {
            set("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.name).as_ref());
            set("AWS_LAMBDA_LOG_STREAM_NAME", stream.as_ref());
        }
        set("AWS_LAMBDA_FUNCTION_NAME", self.name.as_ref());
        set("AWS_LAMBDA_FUNCTION_VERSION", VERSION.as_ref());
        set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory.to_string().as_ref());
        set("AWS_LAMBDA_INITIALIZATION_TYPE", self.initialization_type().as_ref());
        set("TZ", ":UTC".as_ref());
        set("_HANDLER", self.handler.as_ref());
        variables.extend(self.variables.iter().cloned());
        variables.extend(region::VARIABLES.map(|name| (name.into(), self.region.clone().into())));
        variables.insert(RUNTIME_API.into(), runtime_api.to_string().into());
        variables
    }

    /// All variables of an external extension: those of the runtime, but for what describes the
    /// runtime itself.
    ///
    /// Source: emulator, `rapidcore/env/environment.go` and `rapidcore/env/constants.go`.
    pub(crate) fn variables_of_extension(
        &self,
        launch: &Launch,
        runtime_api: SocketAddr,
    ) -> BTreeMap<OsString, OsString> {
        // It is started in the folder of this program.
        let launch = Launch { working_folder: None, ..launch.clone() };
        let mut variables = self.variables_of(&launch, runtime_api);
        variables.retain(|name, _| {
            !name.as_encoded_bytes().starts_with(b"_")
                && !OF_RUNTIME.iter().any(|of_runtime| name == of_runtime)
        });
        variables
    }

    /// The value of a variable of this program that the function sees, too.
    pub(crate) fn passed_on(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name).filter(|_| self.passes_on(OsStr::new(name)))
    }

    /// Whether the function sees this variable of this program.
    fn passes_on(&self, name: &OsStr) -> bool {
        if self.is_env_clean {
            // Without it, neither an interpreter nor a command of a script is found.
            return name == "PATH";
        }
        let name = name.as_encoded_bytes();
        !FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
            && !FOREIGN.iter().any(|foreign| name == foreign.as_bytes())
    }
}
