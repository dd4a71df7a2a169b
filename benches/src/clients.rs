//! The clients that are measured.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::programs::{Programs, benches};

/// A program that echoes events, or answers HTTP requests.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) kind: Kind,
    pub(crate) slots: usize,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: Vec<(&'static str, OsString)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Floor,
    FloorPipelined,
    Echo,
    EchoPipelined,
    Pool,
    AsyncEcho,
    AsyncEchoPipelined,
    AsyncEchoParallel,
    AsyncService,
    CEcho,
    LambdaRuntime,
    LambdaRuntimeThreads,
    LambdaRuntimeConcurrent,
    LambdaRuntimeConcurrentThreads,
    Awslambdaric,
    Nolibc,
    AsyncAxum,
    LambdaHttp,
}

impl Kind {
    pub(crate) const ALL: [Self; 18] = [
        Self::Floor,
        Self::FloorPipelined,
        Self::Echo,
        Self::EchoPipelined,
        Self::Pool,
        Self::AsyncEcho,
        Self::AsyncEchoPipelined,
        Self::AsyncEchoParallel,
        Self::AsyncService,
        Self::CEcho,
        Self::LambdaRuntime,
        Self::LambdaRuntimeThreads,
        Self::LambdaRuntimeConcurrent,
        Self::LambdaRuntimeConcurrentThreads,
        Self::Awslambdaric,
        Self::Nolibc,
        Self::AsyncAxum,
        Self::LambdaHttp,
    ];

    /// Its name in options and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::FloorPipelined => "floor-pipelined",
            Self::Echo => "echo",
            Self::EchoPipelined => "echo-pipelined",
            Self::Pool => "pool",
            Self::AsyncEcho => "async_echo",
            Self::AsyncEchoPipelined => "async_echo-pipelined",
            Self::AsyncEchoParallel => "async_echo-parallel",
            Self::AsyncService => "async_service",
            Self::CEcho => "c_echo",
            Self::LambdaRuntime => "lambda_runtime",
            Self::LambdaRuntimeThreads => "lambda_runtime-threads",
            Self::LambdaRuntimeConcurrent => "lambda_runtime-concurrent",
            Self::LambdaRuntimeConcurrentThreads => "lambda_runtime-concurrent-threads",
            Self::Awslambdaric => "awslambdaric",
            Self::Nolibc => "nolibc",
            Self::AsyncAxum => "async_axum",
            Self::LambdaHttp => "lambda_http",
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(format!("\"{name}\" is not a client; choose from {names}"))
        })
    }

    /// Whether it is measured with several slots.
    pub(crate) fn has_slots(self) -> bool {
        matches!(
            self,
            Self::Pool
                | Self::AsyncEcho
                | Self::AsyncEchoParallel
                | Self::LambdaRuntimeConcurrent
                | Self::LambdaRuntimeConcurrentThreads
        )
    }

    /// Whether it answers HTTP requests with axum, instead of echoing events.
    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::AsyncAxum | Self::LambdaHttp)
    }

    /// Whether it is measured with one slot and bodies of several lengths. `nolibc` takes only
    /// small bodies; only its size and its start are of interest.
    pub(crate) fn has_bodies(self) -> bool {
        match self {
            Self::Pool | Self::AsyncEcho | Self::AsyncEchoParallel => true,
            Self::Nolibc => false,
            _ => !self.has_slots() && !self.is_http(),
        }
    }

    /// Whether it always uses the same connection, so that blocking calls can serve it. With
    /// tokio's threads it does not: every few hundred invocations a thread sends a request before
    /// another has returned the connection to the pool, and opens a new one.
    pub(crate) fn keeps_its_connection(self) -> bool {
        !matches!(self, Self::LambdaRuntimeThreads | Self::LambdaRuntimeConcurrentThreads)
    }

    /// The floor that makes the same system calls.
    pub(crate) fn floor(self) -> Self {
        match self {
            Self::EchoPipelined | Self::AsyncEchoPipelined => Self::FloorPipelined,
            _ => Self::Floor,
        }
    }

    /// By which factor to reduce the number of invocations, because each takes longer.
    pub(crate) fn slowness(self) -> usize {
        match self {
            Self::Awslambdaric => 8,
            Self::AsyncEchoParallel
            | Self::LambdaRuntimeThreads
            | Self::LambdaRuntimeConcurrentThreads => 2,
            _ => 1,
        }
    }
}

/// The number of tokio's worker threads: as many as the processors of a function with up to 3 GB.
/// tokio's default in a pinned process would be one, unlike in a real function.
const TOKIO_WORKERS: &str = "2";

impl Client {
    /// A client, which is built if needed; `None`, with a line on standard error, if this machine
    /// lacks it.
    pub(crate) fn find(
        kind: Kind,
        slots: usize,
        python: Option<&Path>,
        programs: &mut Programs,
    ) -> Result<Option<Self>> {
        let (program, arguments): (PathBuf, &[&str]) = match kind {
            Kind::Floor => (programs.floor()?, &[]),
            Kind::FloorPipelined => (programs.floor()?, &["pipelined"]),
            Kind::Echo => (programs.ours("lambda-proto-std", "echo")?, &[]),
            Kind::EchoPipelined => (programs.ours("lambda-proto-std", "echo")?, &["--pipelined"]),
            Kind::Pool => (programs.ours("lambda-proto-mio", "pool")?, &[]),
            Kind::AsyncEcho => (async_echo(programs)?, &[]),
            Kind::AsyncEchoPipelined => (async_echo(programs)?, &["--pipelined"]),
            Kind::AsyncEchoParallel => (async_echo(programs)?, &["--parallel"]),
            Kind::AsyncService => (programs.ours_with("tower", "async_service")?, &[]),
            Kind::AsyncAxum => (programs.ours_with("http", "async_axum")?, &[]),
            Kind::CEcho => (programs.c_echo()?, &[]),
            Kind::LambdaHttp => (programs.peer_with("http", "peer-lambda-http")?, &[]),
            Kind::LambdaRuntime => (peer(programs)?, &["one-thread", "single"]),
            Kind::LambdaRuntimeThreads => (peer(programs)?, &["threads", "single"]),
            Kind::LambdaRuntimeConcurrent => (peer(programs)?, &["one-thread", "concurrent"]),
            Kind::LambdaRuntimeConcurrentThreads => (peer(programs)?, &["threads", "concurrent"]),
            Kind::Nolibc => (programs.nolibc()?, &[]),
            Kind::Awslambdaric => {
                let Some(python) = Python::find(python) else {
                    eprintln!(
                        "skipping awslambdaric: python3 cannot import it; \
                         pip install awslambdaric==4.2.2, or choose another Python with --python"
                    );
                    return Ok(None);
                };
                return Ok(Some(python.client(slots)));
            }
        };
        let arguments = arguments.iter().map(OsString::from).collect();
        let variables = vec![("TOKIO_WORKER_THREADS", TOKIO_WORKERS.into())];
        Ok(Some(Self { kind, slots, program, arguments, variables }))
    }

    /// A label such as `pool, 64 slots`.
    pub(crate) fn label(&self) -> String {
        match self.slots {
            1 => self.kind.name().to_owned(),
            slots => format!("{}, {slots} slots", self.kind.name()),
        }
    }
}

fn async_echo(programs: &mut Programs) -> Result<PathBuf> {
    programs.ours("lambda-proto-tokio", "async_echo")
}

fn peer(programs: &mut Programs) -> Result<PathBuf> {
    programs.peer("peer-lambda-runtime")
}

/// A Python that can import awslambdaric.
pub(crate) struct Python {
    executable: PathBuf,
    /// The folder of the package, if it is not installed in this Python.
    folder: Option<PathBuf>,
    /// The version of the package.
    pub(crate) version: String,
}

impl Python {
    /// Finds awslambdaric for the requested Python or `python3`: installed, or fetched by
    /// `interop`.
    pub(crate) fn find(wished: Option<&Path>) -> Option<Self> {
        let python = wished.unwrap_or(Path::new("python3"));
        let fetched = std::fs::read_dir(benches().join("../target/interop")).into_iter().flatten();
        let fetched = fetched.flatten().map(|entry| entry.path());
        let is_ours = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("python-clients-"))
        };
        let folders = std::iter::once(None).chain(fetched.filter(is_ours).map(Some));
        folders.into_iter().find_map(|folder| Self::look(python, folder))
    }

    fn look(python: &Path, folder: Option<PathBuf>) -> Option<Self> {
        let script = "import sys, importlib.metadata, awslambdaric\n\
            print(sys.executable)\nprint(importlib.metadata.version('awslambdaric'))";
        let mut command = Command::new(python);
        command.args(["-c", script]).env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(folder) = &folder {
            command.env("PYTHONPATH", folder);
        }
        let output = command.output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (executable, version) = text.trim().split_once('\n')?;
        Some(Self { executable: executable.into(), folder, version: version.to_owned() })
    }

    fn client(self, slots: usize) -> Client {
        let folders = self.folder.into_iter().chain([benches().join("peers")]);
        let paths = std::env::join_paths(folders).unwrap_or_default();
        Client {
            kind: Kind::Awslambdaric,
            slots,
            program: self.executable,
            arguments: ["-m", "awslambdaric", "echo.handler"].map(OsString::from).into(),
            variables: vec![("PYTHONPATH", paths), ("PYTHONDONTWRITEBYTECODE", "1".into())],
        }
    }
}
