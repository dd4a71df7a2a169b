//! AWS's clients for Python and Node.js, as programs that play the vectors for clients of
//! `conformance/`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use lambda_conformance::client::{self, Call, End, Patience, Report, Request, Step, Vector};

use crate::aws_clients::Node;
use crate::{Error, Result};

/// A client with a function for the vectors, and how to start it.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub file: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub variables: Vec<(String, String)>,
}

/// The abilities of the functions for AWS's clients.
pub const AWS_CAN: [&str; 3] = ["fail", "panic", "start"];

/// The folder of the functions for other clients.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

impl Program {
    /// A program without arguments.
    pub fn plain(file: PathBuf) -> Self {
        Self { file, arguments: Vec::new(), variables: Vec::new() }
    }

    /// `peers/vectors.py` on awslambdaric, which is in these folders.
    pub fn awslambdaric(mut folders: OsString) -> Self {
        folders.push(":");
        folders.push(PEERS);
        let arguments = ["-m", "awslambdaric", "vectors.handler"].map(str::to_owned).into();
        let variables = vec![
            ("PYTHONPATH".into(), folders.to_string_lossy().into_owned()),
            ("PYTHONDONTWRITEBYTECODE".into(), "1".into()),
            ("LAMBDA_TASK_ROOT".into(), PEERS.into()),
        ];
        Self { file: "python3".into(), arguments, variables }
    }

    /// `peers/vectors.mjs` on aws-lambda-ric.
    pub fn aws_lambda_ric(node: &Node) -> Self {
        let handler = "vectors.handler";
        let arguments = vec![node.client.to_string_lossy().into_owned(), handler.into()];
        // It does not start without these.
        let variables = [
            ("LAMBDA_TASK_ROOT", PEERS),
            ("_HANDLER", handler),
            ("AWS_LAMBDA_FUNCTION_NAME", "vectors"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/vectors"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "vectors"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { file: node.program.clone(), arguments, variables }
    }

    /// Adds its arguments and variables to a command that starts it.
    pub fn complete(&self, command: &mut Command) {
        command.args(&self.arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// Plays a vector against it.
    ///
    /// # Errors
    ///
    /// An [`Error`] that names the file if it cannot be started.
    pub fn play(&self, vector: &Vector, patience: Patience) -> Result<Report> {
        let mut command = Command::new(&self.file);
        self.complete(&mut command);
        client::play(vector, command, patience)
            .map_err(|error| Error::new(format!("cannot start {}: {error}", self.file.display())))
    }
}

/// What a client did wrong, in one word.
pub fn word(report: &Report) -> Option<&'static str> {
    let deviation = report.deviation.as_ref()?;
    // A client that uses a processor for half of the time is not waiting.
    let has_spun = report.usage.is_some_and(|usage| {
        report.elapsed > Duration::from_secs(1) && usage.cpu * 2 > report.elapsed
    });
    Some(match report.end {
        _ if report.has_panicked() => "panicked",
        End::Exited(None) => "killed",
        End::Exited(Some(_)) => "exited",
        End::Running if has_spun => "spun",
        End::Running if deviation.what.contains("nothing came") => "hung",
        End::Running => "otherwise",
    })
}

/// Whether AWS's clients send something of this vector over HTTP of their own, past the class that
/// they are built on: init errors, the calls of a snapshot, streamed responses.
pub fn is_past_the_class(vector: &Vector) -> bool {
    vector.needs.iter().any(|need| need == "stream" || need == "http")
        || vector.steps.iter().any(is_step_past_the_class)
}

fn is_step_past_the_class(step: &Step) -> bool {
    match step {
        Step::Read(Request { call, .. }) | Step::ReadHead(Request { call, .. }) => {
            matches!(call, Call::InitError | Call::RestoreNext | Call::RestoreError)
        }
        Step::Either(ways) => ways.iter().flatten().any(is_step_past_the_class),
        _ => false,
    }
}
