//! Builds the library and what uses it, once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lambda_interop::c_programs::{self, program, run};
use lambda_interop::fetch;

/// Finds undefined behaviour and wrong use of memory, and ends the process then.
pub(crate) const SANITIZERS: [&str; 3] =
    ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// The folder where the library is installed.
pub(crate) fn prefix() -> &'static Path {
    c_programs::library().unwrap()
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
    c_programs::folder().unwrap()
}

/// The folder of the sources.
pub(crate) fn capi() -> PathBuf {
    c_programs::sources()
}

/// Compiles sources of `capi/` in C99 with `flags`, and links them with the static library.
pub(crate) fn c<S: AsRef<Path>>(
    compiler: &str,
    name: &str,
    files: &[S],
    flags: &[&str],
) -> PathBuf {
    c_programs::compile(compiler, name, files, flags).unwrap_or_else(|error| panic!("{error}"))
}

/// Compiles a source of `capi/` in C++17.
pub(crate) fn cpp(name: &str, source: &str) -> PathBuf {
    let program = program(name).unwrap();
    let mut command = Command::new("g++");
    command.args(["-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2"]);
    command.arg("-I").arg(prefix().join("include")).arg(capi().join(source));
    command.arg(prefix().join("lib/liblambda_proto.a")).arg("-o").arg(&program);
    run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    program
}

pub(crate) fn zig(name: &str) -> PathBuf {
    let program = program(name).unwrap();
    let compiler = fetch::zig().unwrap();
    let cache = folder().join("zig");
    let mut command = Command::new(compiler);
    command.args(["build-exe", "-lc", "--name", name]);
    command.arg("-I").arg(prefix().join("include")).arg(capi().join("users/zig/bootstrap.zig"));
    command.arg(prefix().join("lib/liblambda_proto.a"));
    command.env("ZIG_GLOBAL_CACHE_DIR", &cache).env("ZIG_LOCAL_CACHE_DIR", &cache);
    command.arg(format!("-femit-bin={}", program.display()));
    run(&mut command).unwrap_or_else(|error| panic!("{error}"));
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
