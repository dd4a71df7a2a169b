//! AWS's clients for Python and Node.js, built from their sources on `capi/aws-lambda-cpp`.
//!
//! Their sources are pinned and unchanged. So is what they are built with: setuptools in
//! `python-build.txt`, node-gyp and node-addon-api in `node-client/package-lock.json`. What is built is
//! kept in `target/interop`, under a name with the checksums of the library and of the pins, so it is
//! built again when one of them changes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use crate::fetch::{self, new_folder, run, sha256};
use crate::{Error, Result, programs};

/// The file with the pin of the sources in Python.
const PYTHON_SOURCE: &str = include_str!("../awslambdaric-source.txt");

/// The files that npm installs the client from.
const NODE: [(&str, &str); 2] = [
    ("package.json", include_str!("../node-client/package.json")),
    ("package-lock.json", include_str!("../node-client/package-lock.json")),
];

/// The folder in which `capi/aws-lambda-cpp/install` has installed the library. It is built once in a
/// process.
///
/// # Errors
///
/// An [`Error`] that says what is missing or wrong.
pub fn library() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf>> = OnceLock::new();
    let build = || {
        let prefix = programs::target_folder()?.join("interop/aws-lambda-cpp");
        // Another test program may be building it, and a reader must not see half of it.
        let new = new_folder("library")?;
        let install =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../capi/aws-lambda-cpp/install");
        run(Command::new(install).arg(&new).env("CXXFLAGS", "-Werror"))?;
        let archive = read(&new.join(ARCHIVE))?;
        let prefix = prefix.with_extension(&sha256(&archive)[..16]);
        keep(&new, &prefix)?;
        Ok(prefix)
    };
    BUILT.get_or_init(build).clone()
}

const ARCHIVE: &str = "lib/libaws-lambda-runtime.a";

/// The folders for `PYTHONPATH` with awslambdaric on the library, and what it needs.
///
/// # Errors
///
/// As [`library`].
pub fn python() -> Result<OsString> {
    let paths = std::env::join_paths([python_folder()?, fetch::python_clients()?]);
    paths.map_err(|error| Error::new(format!("the path of this workspace has a colon: {error}")))
}

/// The folder with awslambdaric on the library.
///
/// # Errors
///
/// As [`library`].
pub fn python_folder() -> Result<PathBuf> {
    let pins = [PYTHON_SOURCE, fetch::PYTHON_BUILD_PINS].concat();
    let kept = place("awslambdaric", pins.as_bytes())?;
    once(&kept, |folder| build_python(folder, Some(&library()?)))?;
    Ok(kept)
}

/// The native module of awslambdaric in this folder.
///
/// # Errors
///
/// As [`library`].
pub fn python_module(folder: &Path) -> Result<PathBuf> {
    only_file_that(folder, |path| path.extension().is_some_and(|it| it == "so"))
}

/// Builds awslambdaric on this library, or on curl.
fn build_python(folder: &Path, library: Option<&Path>) -> Result<PathBuf> {
    let (pins, sources) = (folder.join("pins.txt"), folder.join("sources"));
    write(&pins, PYTHON_SOURCE.as_bytes())?;
    // With isolation, pip would build it with the latest release of setuptools. What is pinned takes the
    // place of that, and builds it as pip's isolation would, which some versions of pip do only on demand.
    let tools = fetch::python_build()?;
    let pip = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-m", "pip", arguments[0], "--disable-pip-version-check", "--quiet"]);
        command.args(&arguments[1..]).args(["--no-deps", "--no-build-isolation"]);
        command.env("PYTHONPATH", &tools).env("PIP_USE_PEP517", "true");
        command
    };
    // With this variable, its setup script does not build curl.
    const ON_LIBRARY: (&str, &str) = ("BUILD", "true");
    let download = &mut pip(&["download", "--no-binary", ":all:", "--require-hashes"]);
    download.env(ON_LIBRARY.0, ON_LIBRARY.1).arg("--requirement").arg(&pins);
    run(download.arg("--dest").arg(&sources))?;
    let archive = only_file(&sources)?;
    run(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&sources))?;
    let unpacked = only_file_that(&sources, |path| path.is_dir())?;
    let target = folder.join("built");
    let install = &mut pip(&["install"]);
    if let Some(library) = library {
        copy(library, &unpacked.join("deps/artifacts"))?;
        install.env(ON_LIBRARY.0, ON_LIBRARY.1);
    }
    run(install.arg("--target").arg(&target).arg(&unpacked))?;
    Ok(target)
}

/// Node.js, and the client on it.
#[derive(Clone, Debug)]
pub struct Node {
    /// The program `node`.
    pub program: PathBuf,
    /// The module to start, which is the client.
    pub client: PathBuf,
}

/// Node.js with aws-lambda-ric on the library.
///
/// # Errors
///
/// As [`library`].
pub fn node() -> Result<Node> {
    let wheel = fetch::node()?;
    let kept = place("aws-lambda-ric", &node_pins())?;
    once(&kept, |folder| build_node(folder, &wheel, Some(&library()?)))?;
    Ok(Node { program: wheel.join("bin/node"), client: kept.join(NODE_CLIENT).join("index.mjs") })
}

/// Node.js with aws-lambda-ric as it is published. Its scripts build curl and aws-lambda-cpp, with
/// CMake, autoconf, automake and libtool, for minutes.
///
/// # Errors
///
/// As [`library`].
pub fn node_as_published() -> Result<Node> {
    let wheel = fetch::node()?;
    let name = format!("aws-lambda-ric-published-{}", &sha256(&node_pins())[..16]);
    let kept = programs::target_folder()?.join("interop").join(name);
    once(&kept, |folder| build_node(folder, &wheel, None))?;
    Ok(Node { program: wheel.join("bin/node"), client: kept.join(NODE_CLIENT).join("index.mjs") })
}

/// Builds aws-lambda-ric on this library, or on curl.
fn build_node(folder: &Path, wheel: &Path, library: Option<&Path>) -> Result<PathBuf> {
    NODE.iter().try_for_each(|(name, text)| write(&folder.join(name), text.as_bytes()))?;
    let Some(library) = library else {
        run(npm(wheel, folder, &NPM_INSTALL)?.env("npm_config_nodedir", wheel))?;
        return Ok(folder.to_owned());
    };
    run(&mut npm(wheel, folder, &[&NPM_INSTALL[..], &["--ignore-scripts"]].concat())?)?;
    let client = folder.join(NODE_CLIENT);
    let build = &mut npm(wheel, &client, &["run", "build:gyp", "--"])?;
    run(build.arg(format!("--nodedir={}", wheel.display())).env("DEPS_PREFIX", library))?;
    let built = client.join("src/native/build/Release/rapid-client.node");
    fs::copy(&built, client.join("rapid-client.node")).map_err(|error| failed(&built, &error))?;
    Ok(folder.to_owned())
}

/// One of the clients, built from its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// awslambdaric on curl.
    Python,
    /// awslambdaric on the library.
    PythonOnOurs,
    /// aws-lambda-ric on curl.
    Node,
    /// aws-lambda-ric on the library.
    NodeOnOurs,
}

/// Builds a client from its sources, and what it is built on, in a new folder, which is removed. So
/// its cost can be measured.
///
/// # Errors
///
/// As [`library`].
pub fn build_afresh(source: Source) -> Result<()> {
    let wheel = fetch::node()?;
    let folder = new_folder("afresh")?;
    let build = || {
        let library = match source {
            Source::PythonOnOurs | Source::NodeOnOurs => Some(folder.join("library")),
            Source::Python | Source::Node => None,
        };
        if let Some(library) = &library {
            run(install(library).env("CARGO_TARGET_DIR", folder.join("target")))?;
        }
        let client = folder.join("client");
        fs::create_dir(&client).map_err(|error| failed(&client, &error))?;
        match source {
            Source::Python | Source::PythonOnOurs => build_python(&client, library.as_deref()),
            Source::Node | Source::NodeOnOurs => build_node(&client, &wheel, library.as_deref()),
        }
    };
    let result = build();
    let _best_effort = fs::remove_dir_all(&folder);
    result.map(drop)
}

/// The command that installs the library.
fn install(prefix: &Path) -> Command {
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../capi/aws-lambda-cpp/install");
    let mut command = Command::new(install);
    command.arg(prefix);
    command
}

/// Where npm installs the client.
const NODE_CLIENT: &str = "node_modules/aws-lambda-ric";

const NPM_INSTALL: [&str; 3] = ["ci", "--no-audit", "--no-fund"];

fn node_pins() -> Vec<u8> {
    NODE.map(|(_, text)| text.as_bytes()).concat()
}

/// A command of the npm of this Node.js.
fn npm(wheel: &Path, folder: &Path, arguments: &[&str]) -> Result<Command> {
    // Scripts start both by their names, and the `npm` of the wheel does not find its modules.
    let (node, npm) = (wheel.join("bin/node"), wheel.join("lib/node_modules/npm/bin/npm-cli.js"));
    let tools = wheel.with_file_name("tools");
    fs::create_dir_all(&tools).map_err(|error| failed(&tools, &error))?;
    for (name, target) in [("node", &node), ("npm", &npm)] {
        let link = tools.join(name);
        if let Err(error) = std::os::unix::fs::symlink(target, &link)
            && !link.exists()
        {
            return Err(failed(&link, &error));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path)));
    let mut command = Command::new(&node);
    command.arg(&npm).args(arguments).current_dir(folder).env("PATH", paths.unwrap_or(path));
    Ok(command)
}

/// Where something is kept that is built from the library and these pins.
fn place(name: &str, pins: &[u8]) -> Result<PathBuf> {
    let archive = read(&library()?.join(ARCHIVE))?;
    let tag = "import sys; print(sys.implementation.cache_tag)";
    let tag = run(Command::new("python3").args(["-c", tag]))?;
    let name = format!("{name}-{}-{}-{}", tag.trim(), &sha256(pins)[..8], &sha256(&archive)[..16]);
    Ok(programs::target_folder()?.join("interop").join(name))
}

/// Builds in a new folder what is to be kept, unless it is there. `build` returns what to keep.
fn once(kept: &Path, build: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if kept.is_dir() {
        return Ok(());
    }
    eprintln!("building {}", kept.display());
    let folder = new_folder("build")?;
    let result = build(&folder).and_then(|built| keep(&built, kept));
    let _best_effort = fs::remove_dir_all(&folder);
    result
}

/// Moves a folder to its final place, unless another process has been faster.
fn keep(new: &Path, kept: &Path) -> Result<()> {
    let Err(error) = fs::rename(new, kept) else { return Ok(()) };
    let _best_effort = fs::remove_dir_all(new);
    if kept.is_dir() { Ok(()) } else { Err(failed(kept, &error)) }
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    only_file_that(folder, |_| true)
}

fn only_file_that(folder: &Path, is_it: fn(&Path) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    let paths = entries.filter_map(std::result::Result::ok).map(|entry| entry.path());
    let mut paths = paths.filter(|path| is_it(path));
    match (paths.next(), paths.next()) {
        (Some(path), None) => Ok(path),
        _ => Err(Error::new(format!("not exactly one entry in {}", folder.display()))),
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|error| failed(to, &error))?;
    for entry in fs::read_dir(from).map_err(|error| failed(from, &error))? {
        let path = entry.map_err(|error| failed(from, &error))?.path();
        let place = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &place)?;
        } else {
            fs::copy(&path, &place).map_err(|error| failed(&place, &error))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| failed(path, &error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("{}: {error}", path.display()))
}
