use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::log::{Log, VERSION};

/// What the output of a runtime's process becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Its standard output and standard error are those of this program.
    Inherited,
    /// Both go to the standard error of this program.
    Stderr,
    /// It is thrown away, and so are the lab's own lines.
    Discarded,
}

/// Everything that was asked for, for all environments.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `None`: somebody else starts the runtime.
    pub(crate) program: Option<OsString>,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: Vec<(OsString, OsString)>,
    pub(crate) listen: SocketAddr,
    pub(crate) timeout: Duration,
    pub(crate) memory: u32,
    pub(crate) name: String,
    pub(crate) handler: String,
    pub(crate) environments: usize,
    /// How many invocations an environment has at a time: `None` for one, without managed instances.
    pub(crate) concurrency: Option<usize>,
    pub(crate) output: Output,
    pub(crate) log: Log,
}

/// The variable that tells a runtime where the service is.
pub(crate) const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

impl Settings {
    /// Source: emulator, `rie/handlers.go`, for region and account.
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:lambda:us-east-1:012345678912:function:{}", self.name)
    }

    /// The command that starts a runtime which finds the service at this address.
    ///
    /// The variables are those of Lambda Developer Guide, "Using Lambda environment variables". All
    /// else comes from this program's environment, but for what would tell a runtime about another
    /// Lambda than this one.
    pub(crate) fn command(&self, program: &OsString, runtime_api: SocketAddr) -> Command {
        let mut command = Command::new(program);
        command.args(&self.arguments);
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("AWS_LAMBDA_") || name_text.starts_with("_X_AMZN_") {
                command.env_remove(name);
            }
        }
        for (name, value) in [("AWS_REGION", "us-east-1"), ("AWS_DEFAULT_REGION", "us-east-1")] {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        if let Ok(folder) = std::env::current_dir() {
            command.env("LAMBDA_TASK_ROOT", &folder).env("LAMBDA_RUNTIME_DIR", folder);
        }
        match self.concurrency {
            None => command.env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            Some(most) => command
                .env("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances")
                .env("AWS_LAMBDA_MAX_CONCURRENCY", most.to_string())
                .env("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        };
        command
            .env("AWS_LAMBDA_FUNCTION_NAME", &self.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", VERSION)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory.to_string())
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.name))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", VERSION)
            .env("TZ", ":UTC")
            .env("_HANDLER", &self.handler)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env(RUNTIME_API, runtime_api.to_string());
        match self.output {
            Output::Inherited => {}
            Output::Stderr => {
                command.stdout(std::io::stderr());
            }
            Output::Discarded => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
        }
        command
    }
}
