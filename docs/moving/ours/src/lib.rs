//! The functions of `docs/moving-from-lambda-runtime.md`, for what compares them: their names,
//! events and answers.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A function that is written twice: in `ours/src/bin` and in `theirs/src/bin`.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The name of its files, and of the feature that it needs.
    pub name: &'static str,
    /// Its heading in the document.
    pub title: &'static str,
    /// An event that succeeds.
    pub event: &'static str,
    /// The start of the answer to it.
    pub answer: &'static str,
}

/// How a function is written, and for which runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// For lambda-proto-tokio.
    Ours,
    /// For lambda_runtime.
    Theirs,
    /// For lambda_runtime, with changed imports.
    Moved,
}

impl Side {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Theirs, Self::Moved];

    /// The word with which the names of its programs begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
            Self::Moved => "moved",
        }
    }

    /// The package with its programs.
    pub fn package(self) -> &'static str {
        match self {
            Self::Ours | Self::Moved => "lambda-moving",
            Self::Theirs => "lambda-moving-theirs",
        }
    }

    /// The folder of the package.
    pub fn folder(self) -> PathBuf {
        let folder = match self {
            Self::Ours | Self::Moved => "ours",
            Self::Theirs => "theirs",
        };
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)
    }
}

impl Pair {
    /// Whether it works on this side: not all functions move by their imports alone.
    pub fn is_on(&self, side: Side) -> bool {
        side != Side::Moved || !matches!(self.name, "axum" | "background_work" | "extension")
    }

    /// The program on this side.
    pub fn program(&self, side: Side) -> String {
        format!("{}-{}", side.name(), self.name)
    }

    /// The code of the program.
    pub fn code(&self, side: Side) -> PathBuf {
        let side = if side == Side::Moved { Side::Theirs } else { side };
        side.folder().join("src/bin").join(self.name).with_extension("rs")
    }

    /// How many lines the program has, without those that are blank, comments or imports.
    ///
    /// # Panics
    ///
    /// If its code cannot be read.
    pub fn lines(&self, side: Side) -> usize {
        let code = std::fs::read_to_string(self.code(side)).expect("it has been compiled");
        let lines =
            code.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with("//"));
        let mut is_import = false;
        let is_counted = |line: &&str| {
            let was_import = is_import || line.starts_with("use ");
            is_import = was_import && !line.ends_with(';');
            !was_import
        };
        lines.filter(is_counted).count()
    }

    /// How many crates the program is built from, itself included, if it stood alone. What stands in
    /// for its changed imports is none of them.
    ///
    /// # Errors
    ///
    /// As [`cargo`](Self::cargo).
    pub fn crates(&self, side: Side) -> io::Result<u64> {
        let tree =
            self.cargo(side, &["tree", "--locked", "--edges", "normal", "--prefix", "none"])?;
        // Lines such as `memchr v2.7.1 (*)`.
        let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let is_one = |it: &String| !it.is_empty() && !it.starts_with("lambda-moving-imports ");
        let names: BTreeSet<_> = tree.lines().map(name).filter(is_one).collect();
        Ok(names.len() as u64)
    }

    /// What Cargo prints for this function, as if it stood alone.
    ///
    /// # Errors
    ///
    /// If Cargo cannot be run, fails, or prints what is not UTF-8.
    pub fn cargo(&self, side: Side, arguments: &[&str]) -> io::Result<String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(arguments).args(["--package", side.package(), "--no-default-features"]);
        command.args(["--features", self.name]);
        if side == Side::Moved {
            command.args(["--features", "imports"]);
        }
        let output = command.current_dir(side.folder()).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            let arguments = arguments.join(" ");
            let what = format!("cargo {arguments} for {}: {}", self.name, output.status);
            return Err(io::Error::other(what));
        }
        String::from_utf8(output.stdout).map_err(io::Error::other)
    }
}

const NAME: &str = r#"{"name":"Ada"}"#;
const GREETING: &str = r#""Hello, Ada!""#;

/// All pairs, in the order of the document.
pub const PAIRS: [Pair; 10] = [
    Pair { name: "json", title: "JSON", event: NAME, answer: r#"{"greeting":"Hello, Ada!"}"# },
    Pair { name: "errors", title: "Errors", event: r#"{"order":"17"}"#, answer: "2" },
    Pair { name: "shared_client", title: "A shared client", event: "{}", answer: "\"call " },
    Pair {
        name: "streaming",
        title: "A streamed response",
        event: r#"{"lines":3}"#,
        answer: r#"{"statusCode":200,"headers":{"content-type":"text/plain"},"cookies":[]}"#,
    },
    Pair { name: "axum", title: "axum", event: include_str!("function_url.json"), answer: "{" },
    Pair {
        name: "sqs_batch",
        title: "A batch of SQS messages",
        event: include_str!("sqs.json"),
        answer: r#"{"batchItemFailures":[{"itemIdentifier":"2e1424d4-"#,
    },
    Pair {
        name: "background_work",
        title: "Background work",
        event: r#"{"customer":"Ada"}"#,
        answer: r#""accepted""#,
    },
    Pair { name: "tracing", title: "Tracing", event: NAME, answer: GREETING },
    Pair { name: "shutdown", title: "Shutdown", event: "{}", answer: r#""done""# },
    Pair { name: "extension", title: "An internal extension", event: NAME, answer: GREETING },
];
