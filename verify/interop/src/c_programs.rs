//! Builds the C library, and programs on it as their users build them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{Error, Result, programs};

/// The flags that the C sources of this workspace are clean under.
const FLAGS: [&str; 6] = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2"];

/// A layer of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The client without I/O.
    One,
    /// The blocking runtime over it.
    Two,
}

/// The folder of the C interface, `capi`.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../capi")
}

/// The folder to which the library is installed, with `include`, `lib` and `share`. Installs it once.
///
/// # Errors
///
/// An [`Error`] if `capi/install` fails.
pub fn library() -> Result<&'static Path> {
    static PREFIX: OnceLock<Result<PathBuf>> = OnceLock::new();
    let prefix = PREFIX.get_or_init(|| {
        let prefix = folder()?.join("installed");
        run(Command::new(sources().join("install")).arg(&prefix))?;
        Ok(prefix)
    });
    prefix.as_deref().map_err(Clone::clone)
}

/// The path of a program of this name that is built here.
///
/// # Errors
///
/// An [`Error`] if the folder cannot be made.
pub fn program(name: &str) -> Result<PathBuf> {
    let folder = folder()?.join("programs");
    std::fs::create_dir_all(&folder)
        .map_err(|error| Error::new(format!("cannot make {}: {error}", folder.display())))?;
    Ok(folder.join(name))
}

/// Compiles sources of `capi/` in C99 with `flags`, and links them with the static library.
///
/// # Errors
///
/// An [`Error`] with the messages of the compiler.
pub fn compile<S: AsRef<Path>>(
    compiler: &str,
    name: &str,
    files: &[S],
    flags: &[&str],
) -> Result<PathBuf> {
    let (program, prefix) = (program(name)?, library()?);
    let mut command = Command::new(compiler);
    command.args(FLAGS).arg("-I").arg(prefix.join("include"));
    command.args(files.iter().map(|file| sources().join(file)));
    command.arg(prefix.join("lib/liblambda_proto.a"));
    run(command.arg("-pthread").args(flags).arg("-o").arg(&program))?;
    Ok(program)
}

/// These sources with those of layer two, to compile it with other flags than the library's. It is
/// then used in place of the one in the library.
///
/// # Errors
///
/// An [`Error`] if the folder cannot be read.
pub fn with_layer_two(files: &[&str]) -> Result<Vec<PathBuf>> {
    let folder = sources().join("blocking");
    let error = |error| Error::new(format!("cannot read {}: {error}", folder.display()));
    let mut all: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
    for entry in std::fs::read_dir(&folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            all.push(path);
        }
    }
    Ok(all)
}

/// The function for the conformance vectors on a layer, compiled with `flags`.
///
/// # Errors
///
/// As [`compile`].
pub fn vectors(layer: Layer, name: &str, flags: &[&str]) -> Result<PathBuf> {
    let sources = |files: &[&'static str]| {
        let shared = ["tests/vectors/act.c", "tests/vectors/json.c"];
        [files, &shared].concat()
    };
    match layer {
        Layer::One => {
            let [function, socket] = ["tests/vectors/function.c", "tests/vectors/socket.c"];
            compile("gcc", name, &sources(&["tests/vectors/client.c", function, socket]), flags)
        }
        Layer::Two => {
            let files = with_layer_two(&sources(&["tests/vectors/runtime.c"]))?;
            compile("gcc", name, &files, flags)
        }
    }
}

/// Runs a command of a build.
///
/// # Errors
///
/// An [`Error`] with its messages.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().map_err(|error| {
        Error::new(format!(
            "cannot start {command:?}: {error}; `.ci/setup` installs what is missing"
        ))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{command:?} failed ({}):\n{text}", output.status)))
}

/// Where everything here is built, in Cargo's target folder.
///
/// # Errors
///
/// An [`Error`] if `cargo metadata` fails.
pub fn folder() -> Result<PathBuf> {
    Ok(programs::target_folder()?.join("interop/c"))
}
