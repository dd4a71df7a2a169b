//! Builds the functions to run: the examples, `misbehave` and the other programs of this package.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde::Deserialize;

use crate::{Error, Result, fetch};

/// Optimized, without what takes most of the time of a build.
const QUICK: &str = "--profile=quick";

/// The packages with examples, and the features that these need.
const EXAMPLES: [&str; 6] = [
    "-p=lambda-proto",
    "-p=lambda-proto-std",
    "-p=lambda-proto-mio",
    "-p=lambda-proto-tokio",
    "-p=lambda-lab",
    "--features=lambda-proto/alloc,lambda-proto/embedded-io,lambda-proto/embedded-io-async,lambda-proto-tokio/http",
];

/// How `misbehave` is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A panic unwinds.
    Unwind,
    /// A panic ends the process.
    Abort,
}

/// Builds the example of this name, optimized, and returns its path.
///
/// # Errors
///
/// An [`Error`] if the build fails, or with the names of all examples if there is none of this
/// name.
pub fn example(name: &str) -> Result<PathBuf> {
    build(&[&[QUICK, "--examples"], &EXAMPLES[..]].concat(), name)
}

/// A folder for `/opt`, with these examples as external extensions.
///
/// # Errors
///
/// As [`example`], and if the folder cannot be written.
pub fn opt_with(extensions: &[&str]) -> Result<Opt> {
    let opt = Opt(fetch::new_folder("opt")?);
    let folder = opt.0.join("extensions");
    let error = |error| Error::new(format!("cannot write {}: {error}", folder.display()));
    fs::create_dir(&folder).map_err(error)?;
    for name in extensions {
        // A hard link, because a file that this process has just written cannot be executed if
        // another thread forked while it was open.
        fs::hard_link(example(name)?, folder.join(name)).map_err(error)?;
    }
    Ok(opt)
}

/// A folder that is removed on drop.
#[derive(Debug)]
pub struct Opt(PathBuf);

impl Opt {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Opt {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.0);
    }
}

/// The function that does what its event says, `misbehave`.
///
/// # Errors
///
/// As [`example`].
pub fn misbehave(profile: Profile) -> Result<PathBuf> {
    let profile = match profile {
        Profile::Unwind => "--profile=quick",
        Profile::Abort => "--profile=abort",
    };
    let arguments =
        [profile, "-p", "lambda-interop", "--no-default-features", "--bin", "misbehave"];
    build(&arguments, "misbehave")
}

/// The program `lambda-lab`.
///
/// # Errors
///
/// As [`example`].
pub fn lab() -> Result<PathBuf> {
    build(&["--workspace", "--bin", "lambda-lab"], "lambda-lab")
}

/// The function on `lambda_runtime`, the client that AWS publishes for Rust.
///
/// # Errors
///
/// As [`example`].
pub fn peer_lambda_runtime() -> Result<PathBuf> {
    peer("peer-lambda-runtime")
}

/// An echo on `run_concurrent` of `lambda_runtime`.
///
/// # Errors
///
/// As [`example`].
pub fn peer_concurrent() -> Result<PathBuf> {
    peer("peer-concurrent")
}

/// The function for the conformance vectors on `lambda_runtime`.
///
/// # Errors
///
/// As [`example`].
pub fn peer_vectors() -> Result<PathBuf> {
    peer("peer-vectors")
}

/// An external extension on `lambda-extension`, the crate that AWS publishes for Rust.
///
/// # Errors
///
/// As [`example`].
pub fn peer_extension() -> Result<PathBuf> {
    peer("peer-extension")
}

/// The function for the conformance vectors on a layer of this workspace: `std`, `mio`, `tokio` or
/// `socket`.
///
/// # Errors
///
/// As [`example`].
pub fn vectors(layer: &str) -> Result<PathBuf> {
    build(&[QUICK, "-p", "lambda-conformance", "--bins"], &format!("function-{layer}"))
}

/// The test extension that the vectors are played to, with raw sockets.
///
/// # Errors
///
/// As [`example`].
pub fn extension_vectors() -> Result<PathBuf> {
    build(&[QUICK, "-p", "lambda-conformance", "--bins"], "extension-socket")
}

/// The runtime for a language, `luajit` or `quickjs`, which is a workspace of its own.
///
/// # Errors
///
/// As [`example`].
pub fn language(name: &str) -> Result<PathBuf> {
    let build = ["build", "--message-format=json-render-diagnostics", "--release", "--locked"];
    // The folder may have settings of the C compiler.
    let messages = cargo_in(&format!("runtimes/{name}"), &build)?;
    let program = executables(&messages).remove(&*format!("lambda-{name}"));
    program.ok_or_else(|| Error::new(format!("no program lambda-{name} in runtimes/{name}")))
}

fn peer(name: &str) -> Result<PathBuf> {
    let peers = ["--no-default-features", "--features", "peers"];
    build(&[&[QUICK, "-p", "lambda-interop", "--bin", name], &peers[..]].concat(), name)
}

/// Programs by their names.
type Programs = HashMap<String, PathBuf>;

/// Cargo's target folder, `target` unless configured otherwise.
///
/// # Errors
///
/// An [`Error`] if `cargo metadata` fails.
pub(crate) fn target_folder() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    static KNOWN: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(folder) = &*known {
        return Ok(folder.clone());
    }
    let metadata = cargo(&["metadata", "--no-deps", "--offline", "--format-version=1"])?;
    let metadata: Metadata = serde_json::from_slice(&metadata).map_err(|error| {
        Error::new(format!("cannot read the target folder from cargo metadata: {error}"))
    })?;
    Ok(known.insert(metadata.target_directory).clone())
}

/// Builds once for each set of arguments, and returns the path of one of the programs.
fn build(arguments: &[&str], name: &str) -> Result<PathBuf> {
    static BUILT: Mutex<Option<HashMap<String, Result<Programs>>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let built = built.get_or_insert_default();
    let key = arguments.join(" ");
    let programs = built.entry(key).or_insert_with_key(|key| {
        eprintln!("cargo build {key}");
        let build = ["build", "--message-format=json-render-diagnostics"];
        Ok(executables(&cargo(&[&build, arguments].concat())?))
    });
    // A failed build is kept, too, so that not every test repeats it.
    let programs = programs.as_ref().map_err(Clone::clone)?;
    programs.get(name).cloned().ok_or_else(|| {
        let mut names: Vec<_> = programs.keys().map(String::as_str).collect();
        names.sort_unstable();
        Error::new(format!("no program \"{name}\"; choose one of {}", names.join(", ")))
    })
}

/// The programs that Cargo reports as built, by their names.
fn executables(messages: &[u8]) -> Programs {
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
        .collect()
}

/// Runs Cargo on this workspace; its progress and errors go to standard error.
fn cargo(arguments: &[&str]) -> Result<Vec<u8>> {
    cargo_in(".", arguments)
}

/// The same in this folder of the repository.
fn cargo_in(folder: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(workspace).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command
        .output()
        .map_err(|error| Error::new(format!("cannot start {command:?}: {error}; install Rust")))?;
    if !output.status.success() {
        return Err(Error::new(format!(
            "cargo {} failed ({}); see its messages above",
            arguments.join(" "),
            output.status
        )));
    }
    Ok(output.stdout)
}
