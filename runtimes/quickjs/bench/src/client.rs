//! The programs that are compared.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lambda_interop::aws_clients::Node;

/// A program that is the `bootstrap` of a function.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// The handler that is measured.
    pub(crate) handler: &'static str,
    /// By which factor to measure fewer invocations.
    pub(crate) slowness: usize,
    /// Whether it does the work; otherwise it answers with its event.
    pub(crate) works: bool,
}

/// The folder of the function in JavaScript.
pub(crate) fn functions() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/functions"))
}

/// The names of the clients.
pub(crate) const OURS: &str = "lambda-quickjs";
pub(crate) const NODE: &str = "Node.js";

impl Client {
    /// This runtime as this program, and Node.js if it is there.
    pub(crate) fn all(ours: &Path, node: Option<&Node>) -> Vec<Self> {
        const HANDLER: &str = "work.handler";
        let client = |name, about, program: &Path, arguments| Self {
            name,
            about,
            program: program.to_owned(),
            arguments,
            variables: &[],
            handler: HANDLER,
            slowness: 1,
            works: true,
        };
        let mut clients = vec![client(OURS, "this runtime", ours, vec![])];
        if let Some(node) = node {
            let arguments = vec![node.client.clone().into(), HANDLER.into()];
            let about = "Node.js with AWS's client, aws-lambda-ric";
            clients.push(client(NODE, about, &node.program, arguments));
        }
        clients
    }
}
