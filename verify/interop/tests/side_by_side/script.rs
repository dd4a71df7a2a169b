//! The input for both services: a function, and the requests of a caller, one after the other.

use std::ffi::OsString;
use std::path::PathBuf;

use lambda_interop::programs;

use crate::http::Request;

/// A function and the requests of its caller.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) timeout_seconds: u32,
    pub(crate) steps: Vec<Step>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) request: Request,
    pub(crate) end: End,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The function responds.
    Answered,
    /// The function responds with a description of its process and the invocation.
    Described,
    /// The function streams its response.
    Streamed,
    /// The function fails.
    Failed,
    /// The function takes too long.
    TimedOut,
    /// One of the services does not invoke the function.
    Refused,
}

/// The path on which functions are invoked.
pub(crate) const PATH: &str = "/2015-03-31/functions/function/invocations";

/// The event for which `misbehave` describes its process and the invocation.
pub(crate) const DESCRIBE: &str = r#"{"do":"describe"}"#;

/// The beginning of bootstraps in shell: `next` waits for an event, and `post` sends an answer to
/// it.
const SHELL: &str = r#"
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
next() {
    event=$(curl -sS -i "$api/invocation/next" | tr -d '\r')
    id=$(printf '%s' "$event" | sed -n 's/^Lambda-Runtime-Aws-Request-Id: //p')
}
post() {
    what=$1; shift
    curl -sS -o /dev/null "$api/invocation/$id/$what" "$@"
}
"#;

impl Script {
    /// A script for this program, with a timeout of 20 s.
    pub(crate) fn new(name: &'static str, program: impl Into<PathBuf>) -> Self {
        Self {
            name,
            program: program.into(),
            arguments: Vec::new(),
            timeout_seconds: 20,
            steps: Vec::new(),
        }
    }

    pub(crate) fn misbehave(name: &'static str) -> Self {
        Self::new(name, programs::misbehave(programs::Profile::Unwind).unwrap())
    }

    pub(crate) fn echo(name: &'static str) -> Self {
        Self::new(name, programs::example("echo").unwrap())
    }

    /// A script for a bootstrap in shell, with curl as its client.
    pub(crate) fn shell(name: &'static str, text: &str) -> Self {
        Self::new(name, "/bin/sh").argument("-c").argument(format!("{SHELL}{text}"))
    }

    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn timeout_seconds(mut self, seconds: u32) -> Self {
        self.timeout_seconds = seconds;
        self
    }

    /// Adds an event.
    pub(crate) fn event(self, name: &'static str, end: End, event: impl Into<Vec<u8>>) -> Self {
        self.request(name, end, "POST", PATH, &[], event)
    }

    /// Adds an event for which the function describes itself, which shows whether its process was
    /// restarted.
    pub(crate) fn describe(self) -> Self {
        self.event("describe", End::Described, DESCRIBE)
    }

    pub(crate) fn request(
        mut self,
        name: &'static str,
        end: End,
        method: &'static str,
        path: &'static str,
        headers: &[(&'static str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let request = Request { method, path, headers, body: body.into() };
        self.steps.push(Step { name, request, end });
        self
    }
}
