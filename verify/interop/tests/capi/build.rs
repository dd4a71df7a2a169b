//! Builds the library and what uses it, once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lambda_interop::fetch;

/// A C compiler with the flags that the sources promise to be clean under.
const C: [&str; 6] = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2"];

/// Finds undefined behaviour and wrong use of memory, and ends the process then.
pub(crate) const SANITIZERS: [&str; 3] =
    ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// The folder of the sources.
pub(crate) fn capi() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../capi")
}

/// The folder where the library is installed.
pub(crate) fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = folder().join("installed");
        run(Command::new(capi().join("install")).arg(&prefix));
        prefix
    })
}

/// What a layer brings: the library under its soname, without the link that compilers want, and the
/// declarations.
pub(crate) fn layer() -> &'static Path {
    static LAYER: OnceLock<PathBuf> = OnceLock::new();
    LAYER.get_or_init(|| {
        let layer = folder().join("layer");
        for file in ["lib/liblambda_proto.so.1", "share/lambda_proto/lambda_proto.cdef"] {
            let place = layer.join(file);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::copy(prefix().join(file), place).unwrap();
        }
        layer
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi")
}

/// The place of a program that is built here.
fn program(name: &str) -> PathBuf {
    let folder = folder().join("programs");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Compiles sources of `capi/` in C99 with `flags`, and links them with the static library.
pub(crate) fn c<S: AsRef<Path>>(
    compiler: &str,
    name: &str,
    sources: &[S],
    flags: &[&str],
) -> PathBuf {
    let program = program(name);
    let mut command = Command::new(compiler);
    command.args(C).arg("-I").arg(prefix().join("include"));
    command.args(sources.iter().map(|source| capi().join(source)));
    command.arg(prefix().join("lib/liblambda_proto.a"));
    run(command.arg("-pthread").args(flags).arg("-o").arg(&program));
    program
}

/// These sources with those of layer two, to compile it with other flags than the library's. It is
/// then used in place of the one in the library.
pub(crate) fn with_layer_two(sources: &[&str]) -> Vec<String> {
    let files = std::fs::read_dir(capi().join("blocking")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "c"));
    let layer_two = files.map(|path| path.display().to_string());
    sources.iter().map(|&source| source.to_owned()).chain(layer_two).collect()
}

/// Compiles a source of `capi/` in C++17.
pub(crate) fn cpp(name: &str, source: &str) -> PathBuf {
    let program = program(name);
    let mut command = Command::new("g++");
    command.args(["-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2"]);
    command.arg("-I").arg(prefix().join("include")).arg(capi().join(source));
    run(command.arg(prefix().join("lib/liblambda_proto.a")).arg("-o").arg(&program));
    program
}

pub(crate) fn zig(name: &str) -> PathBuf {
    let program = program(name);
    let compiler = fetch::zig().unwrap();
    let cache = folder().join("zig");
    let mut command = Command::new(compiler);
    command.args(["build-exe", "-lc", "--name", name]);
    command.arg("-I").arg(prefix().join("include")).arg(capi().join("users/zig/bootstrap.zig"));
    command.arg(prefix().join("lib/liblambda_proto.a"));
    command.env("ZIG_GLOBAL_CACHE_DIR", &cache).env("ZIG_LOCAL_CACHE_DIR", &cache);
    run(command.arg(format!("-femit-bin={}", program.display())));
    program
}

/// A Python that has cffi: that of the environment, or Debian's.
pub(crate) fn python_with_cffi() -> PathBuf {
    let has_cffi = |python: &&str| {
        let tried = Command::new(python).args(["-c", "import cffi"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(has_cffi);
    interpreter(python.expect("no Python with cffi: `.ci/setup` installs it"))
}

/// The path of an interpreter, which must be installed.
pub(crate) fn interpreter(name: &str) -> PathBuf {
    let found = Command::new("sh").args(["-c", "command -v -- \"$0\"", name]).output().unwrap();
    let path = String::from_utf8(found.stdout).unwrap();
    assert!(found.status.success(), "{name} is missing: `.ci/setup` installs it");
    path.trim_end().into()
}

fn run(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| {
        panic!("cannot start {command:?}: {error}; `.ci/setup` installs what is missing")
    });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({}):\n{text}", output.status);
}
