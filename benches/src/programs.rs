//! Builds the programs to measure: release builds of the main workspace's examples, of the floor,
//! of `ours` and of the peers, each as its users build it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::{During, Error, Result};

/// The folder of the benches.
pub(crate) fn benches() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The programs that Cargo has built, by their names.
#[derive(Default)]
pub(crate) struct Programs(HashMap<String, PathBuf>);

impl Programs {
    /// An example of the main workspace.
    pub(crate) fn ours(&mut self, package: &str, example: &str) -> Result<PathBuf> {
        let main = benches().join("..");
        self.build(&main, &["--release", "-p", package, "--example", example], example)
    }

    pub(crate) fn floor(&mut self) -> Result<PathBuf> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            return Err(Error::new("the floor runs only on x86_64 Linux; run the benches there"));
        }
        self.build(&benches(), &["--profile", "floor", "-p", "lambda-floor"], "floor")
    }

    pub(crate) fn nolibc(&mut self) -> Result<PathBuf> {
        self.build(&benches().join("../examples/nolibc"), &["--release"], "nolibc")
    }

    /// The bootstrap in C over the C interface, as its users build it.
    pub(crate) fn c_echo(&mut self) -> Result<PathBuf> {
        let main = benches().join("..");
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let prefix = target.unwrap_or_else(|| main.join("target")).join("capi-benches");
        let program = prefix.join("c_echo");
        if self.0.contains_key("c_echo") {
            return Ok(program);
        }
        run(Command::new(main.join("capi/install")).arg(&prefix))?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut compiler = Command::new(compiler);
        compiler.args(["-std=c99", "-O2", "-I"]).arg(prefix.join("include"));
        compiler.arg(main.join("capi/users/c/bootstrap.c"));
        run(compiler.arg(prefix.join("lib/liblambda_proto.a")).arg("-o").arg(&program))?;
        self.0.insert("c_echo".to_owned(), program.clone());
        Ok(program)
    }

    pub(crate) fn peer(&mut self, name: &str) -> Result<PathBuf> {
        let arguments = ["--release", "-p", "lambda-benches-peers", "--bin", name];
        self.build(&benches(), &arguments, name)
    }

    /// A peer that has dependencies of its own, enabled by this feature.
    pub(crate) fn peer_with(&mut self, feature: &str, name: &str) -> Result<PathBuf> {
        self.with("lambda-benches-peers", feature, name)
    }

    /// A program on `lambda-proto-tokio` with this feature.
    pub(crate) fn ours_with(&mut self, feature: &str, name: &str) -> Result<PathBuf> {
        self.with("lambda-benches-ours", feature, name)
    }

    fn with(&mut self, package: &str, feature: &str, name: &str) -> Result<PathBuf> {
        let arguments = ["--release", "-p", package, "--features", feature, "--bin", name];
        self.build(&benches(), &arguments, name)
    }

    pub(crate) fn bare_httparse(&mut self) -> Result<PathBuf> {
        let arguments = ["--release", "-p", "lambda-benches", "--bin", "bare-httparse"];
        self.build(&benches(), &arguments, "bare-httparse")
    }

    fn build(&mut self, workspace: &Path, arguments: &[&str], name: &str) -> Result<PathBuf> {
        if let Some(path) = self.0.get(name) {
            return Ok(path.clone());
        }
        eprintln!("cargo build {}", arguments.join(" "));
        let build = ["build", "--locked", "--message-format=json-render-diagnostics"];
        let messages = cargo(workspace, &[&build, arguments].concat())?;
        self.0.extend(executables(&messages));
        self.0.get(name).cloned().ok_or_else(|| {
            Error::new(format!("cargo build {} did not build \"{name}\"", arguments.join(" ")))
        })
    }
}

/// The programs that Cargo reports as built, by their names.
fn executables(messages: &[u8]) -> impl Iterator<Item = (String, PathBuf)> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        target: Option<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let lines = messages.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .filter_map(|message| Some((message.target?.name, message.executable?)))
}

/// Runs Cargo in this workspace; its progress and errors go to standard error.
pub(crate) fn cargo(workspace: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(workspace).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().during("cannot start cargo; install Rust")?;
    if !output.status.success() {
        return Err(Error::new(format!(
            "cargo {} in {} failed ({}); see its messages above",
            arguments.join(" "),
            workspace.display(),
            output.status
        )));
    }
    Ok(output.stdout)
}

/// Runs a command that builds something; what it prints goes to standard error.
fn run(command: &mut Command) -> Result<()> {
    eprintln!("{command:?}");
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let status = output.during("cannot start the command above")?.status;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!("the command above failed ({status}); see its messages")))
}

/// Whether a command can be started, tested with `--version`.
pub(crate) fn has(command: &str) -> bool {
    let mut command = Command::new(command);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
