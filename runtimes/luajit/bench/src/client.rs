//! The programs that are compared, and how they are started, measured and ended.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::usage;

/// The variables with which Lambda starts a function; `_HANDLER` and the address come to them.
pub(crate) const VARIABLES: [(&str, &str); 7] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "work"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/work"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
    ("AWS_REGION", "us-east-1"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
];

/// A program that is the `bootstrap` of a function.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// The handler that is measured.
    pub(crate) handler: &'static str,
    /// The handlers for the failures: one that fails as its event says, and one for responses that
    /// need not be JSON. `None` for functions in Rust.
    pub(crate) faults: Option<(&'static str, &'static str)>,
    /// By which factor to measure fewer invocations.
    pub(crate) slowness: usize,
    /// Whether it does the work; otherwise it answers with its event.
    pub(crate) works: bool,
}

/// The folder of the functions in Lua.
pub(crate) fn functions() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/functions"))
}

impl Client {
    /// All clients. The programs in Rust lie beside this one.
    pub(crate) fn all(programs: &Path) -> Vec<Self> {
        let base = Self {
            name: "",
            about: "",
            program: PathBuf::new(),
            arguments: &[],
            variables: &[],
            handler: "work.handle",
            faults: None,
            slowness: 1,
            works: true,
        };
        vec![
            Self {
                name: OURS,
                about: "this runtime, a function of values",
                program: programs.join("lambda-luajit"),
                faults: Some(("faults.handle", "raw_faults.handle")),
                ..base.clone()
            },
            Self {
                name: "lambda-luajit, script",
                about: "this runtime, the script of the common guide's form",
                program: programs.join("lambda-luajit"),
                variables: &[("LAMBDA_LUAJIT_MODE", "script")],
                handler: "script.lua",
                faults: Some(("script_faults.lua", "script_faults.lua")),
                slowness: 20,
                ..base.clone()
            },
            Self {
                name: GUIDE,
                about: "`functions/shell.sh`: a shell, curl, and Debian's luajit for each event",
                program: functions().join("shell.sh"),
                handler: "script.lua",
                faults: Some(("script_faults.lua", "script_faults.lua")),
                slowness: 100,
                ..base.clone()
            },
            Self {
                name: "by hand",
                about: "`functions/by_hand.lua`: Debian's luajit, lua-socket and lua-cjson",
                program: "luajit".into(),
                arguments: &[concat!(env!("CARGO_MANIFEST_DIR"), "/functions/by_hand.lua")],
                faults: Some(("faults.handle", "raw_faults.handle")),
                ..base.clone()
            },
            Self {
                name: RUST,
                about: "`lambda-proto-std` and serde_json, with types",
                program: programs.join("rust_function"),
                ..base.clone()
            },
            Self {
                name: "Rust, values",
                about: "the same with `serde_json::Value`",
                program: programs.join("rust_function"),
                arguments: &["value"],
                ..base.clone()
            },
            Self {
                name: EMPTY,
                about: "`lambda-proto-std`, the event is the response",
                program: programs.join("empty_function"),
                works: false,
                ..base
            },
        ]
    }
}

/// The clients that targets name.
pub(crate) const OURS: &str = "lambda-luajit";
pub(crate) const GUIDE: &str = "guide's form";
pub(crate) const RUST: &str = "Rust";
pub(crate) const EMPTY: &str = "empty Rust";

/// A client that runs. Dropping it ends it with all its processes.
pub(crate) struct Running {
    child: Child,
    /// When it was started.
    pub(crate) began: Instant,
    _temporary: TempDir,
}

impl Running {
    /// Starts a client.
    ///
    /// # Errors
    ///
    /// The reason, with the path of the program.
    pub(crate) fn start(client: &Client, address: &str) -> Result<Self, String> {
        let cannot = |error| format!("cannot start {}: {error}", client.program.display());
        let temporary = tempfile::tempdir().map_err(cannot)?;
        let errors = File::create(temporary.path().join("errors")).map_err(cannot)?;
        let mut command = Command::new(&client.program);
        command
            .args(client.arguments)
            .env_clear()
            .envs(VARIABLES)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("LAMBDA_TASK_ROOT", functions())
            .env("_HANDLER", client.handler)
            .env("TMPDIR", temporary.path())
            .envs(client.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .process_group(0);
        let began = Instant::now();
        let child = command.spawn().map_err(cannot)?;
        Ok(Self { child, began, _temporary: temporary })
    }

    /// The processor time of the client and of its processes that have ended.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        usage::cpu(self.child.id())
    }

    /// The resident memory of the client and of its processes, in KiB.
    pub(crate) fn memory(&self) -> Result<u64, String> {
        usage::memory_of_all(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
